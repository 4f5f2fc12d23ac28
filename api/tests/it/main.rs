//! The api over real HTTP. One module per promise; start reading at `harness.rs`, then `client.rs`.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up fails")]

mod accounts;
mod admin;
mod blocking;
mod client;
mod comings;
mod failing;
mod gate;
mod harness;
mod invites;
mod leaving;
mod limits;
mod logs;
mod membership;
mod nonsense;
mod openapi;
mod outsiders;
mod people;
mod person;
mod reading;
mod roles;
mod routes;
mod searching;
mod sessions;
mod tokens;
mod writing;
