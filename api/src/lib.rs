//! The api: accounts, conversations, history. It holds no socket.
//!
//! Owns: everything over HTTP. Never does: sockets. Talks to: `Log`, `Live`, the store. Start reading at: `app/`.

pub mod app;
pub mod appender;
pub mod auth;
pub mod clock;
pub mod config;
pub mod metrics;
pub mod projection;
pub mod rate_limit;
pub mod store;
