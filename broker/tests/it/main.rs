//! The broker over real sockets: a local log on disk, an archive in memory, tokens of a real key folder.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up fails")]

mod chatting;
mod client;
mod ending;
mod harness;
mod hostile;
mod restarting;
mod upgrade;
