//! Load tests and correctness tests of a running WebChat, as a library: client, history, checker, figures.
//!
//! Owns: a client of its own down to the frames, and the judge. Never does: use the broker's or the api's code, only
//! `protocol`'s words, so that one mistake cannot hide another. Talks to: a server over TCP, and /proc.
//! Start reading at: `device.rs` for the client, `checker.rs` for the judge, `scenario/` for what is run.

pub mod checker;
pub mod clock;
pub mod cluster;
pub mod device;
pub mod driver;
pub mod faults;
pub mod frame;
pub mod history;
pub mod http;
pub mod procfs;
pub mod scenario;
pub mod server;
pub mod session;
pub mod socket;
pub mod stamp;
pub mod wire;
