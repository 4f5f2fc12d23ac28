//! The node's own tasks: one per link to the backplane.
//!
//! Owns: their list. Never does: sockets. Talks to: `Log`, `Live`, the shards' mailboxes. Start reading at: [`append`].

pub(crate) mod append;
pub(crate) mod follow;
pub(crate) mod live;
mod roll;
pub(crate) mod watermark;
