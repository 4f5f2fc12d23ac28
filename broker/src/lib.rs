//! The broker: sockets, shards, fan-out.
//!
//! Owns: connections. Never does: databases. Talks to: `Log`, `Live`, `Archive`. Start reading at: `shard/mod.rs`.

pub mod budget;
pub mod config;
pub mod handshake;
pub mod metrics;
pub mod outbox;
pub mod presence;
pub mod route;
pub mod shard;
pub mod websocket;
