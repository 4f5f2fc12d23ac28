//! A cluster of real processes on this machine: what it is made of, and how each of them starts, dies and comes back.
//!
//! Owns: the list. Never does: know what a chat is. Talks to: the modules below.
//! Start reading at: `topology.rs` for what there is, `starter.rs` for what is done with it.

pub mod probe;
pub mod process;
pub mod programs;
pub mod settings;
pub mod starter;
pub mod topology;
