//! What brokers ask of an api on its internal port: the archive, and the public keys.
//!
//! Owns: the wire form of both sides, the shared secret, the client. Never does: answer (the api does), or judge an answer.
//! Talks to: an api over HTTP/1.1. Start reading at: [`HttpArchive`], then `wire.rs`.

mod archive;
mod keys;
mod peers;
pub mod secret;
pub mod wire;

pub use archive::HttpArchive;
pub use keys::KeyKeeper;
pub use peers::{Address, CallError, Peers, PeersOptions};
pub use secret::Secret;
