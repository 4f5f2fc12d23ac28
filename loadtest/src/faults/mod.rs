//! Faults: what breaks between processes, what breaks the processes, and the plan of both.
//!
//! Owns: the list. Never does: judge (the checker does). Talks to: the modules below.
//! Start reading at: `plan.rs` for what may happen, `nemesis.rs` for how it is done, `proxy.rs` for the network.

pub mod nemesis;
pub mod plan;
pub mod proxy;
pub mod trace;
