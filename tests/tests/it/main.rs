//! The real binary, killed, left alone and attacked.
//!
//! Owns: what only whole processes can show. Never does: look inside. Talks to: `webchat` over TCP, through `loadtest`.
//! Start reading at: `kill.rs`.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up fails")]

mod away;
mod hostile;
mod kill;
mod operate;
mod python;
