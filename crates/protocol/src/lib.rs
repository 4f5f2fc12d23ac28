//! The language of WebChat: ids, commands, replies, events, error and close codes, limits.
//!
//! Owns: the wire types of `webchat.v1` and their JSON form. Never does: IO, clocks, async, randomness.
//! Talks to: nobody; every other crate talks in its words. Start reading at: `command.rs`, then `event.rs`.

pub mod body;
pub mod close;
pub mod command;
pub mod error;
pub mod event;
pub mod id;
pub mod limits;
pub mod network;
pub mod position;

pub use body::{EventKind, Role};
pub use close::CloseCode;
pub use command::Command;
pub use error::ErrorCode;
pub use event::ServerFrame;
pub use id::{ConversationId, Producer, SessionId, UserId};
pub use network::Network;
pub use position::{Pos, Token};

/// The sub-protocol name that both sides must agree on in the upgrade (RFC 6455 §1.9).
pub const SUBPROTOCOL: &str = "webchat.v1";
