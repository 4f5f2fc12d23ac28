//! The api over real HTTP. One module per promise; start reading at `harness.rs`, then `client.rs`.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up fails")]

mod accounts;
mod client;
mod harness;
mod logs;
mod person;
mod reading;
mod sessions;
mod writing;
