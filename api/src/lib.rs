//! The api: accounts, conversations, history. It holds no socket.
//!
//! Owns: everything over HTTP. Never does: sockets. Talks to: `Log`, `Live`, the store.
//! Start reading at: [`Api::start`], then `http/mod.rs` for the routes and `app/` for what they do.

pub mod app;
pub mod appender;
pub mod archive;
pub mod auth;
pub mod clock;
pub mod config;
pub mod history;
pub mod http;
pub mod internal_port;
mod kept;
pub mod metrics;
pub mod persister;
pub mod projection;
pub mod rate_limit;
pub mod seed;
pub mod serve;
mod start;
pub mod store;

pub use archive::StoreArchive;
pub use config::ApiConfig;
pub use persister::Persister;
pub use start::{Api, Seams};
