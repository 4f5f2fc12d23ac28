//! Faults: what breaks between processes, what breaks the processes, and the plan of both.
//!
//! Owns: the list. Never does: judge (the checker does). Talks to: the modules below.
//! Start reading at: `nemesis.rs` for the plan, `proxy.rs` for the network.

pub mod proxy;
