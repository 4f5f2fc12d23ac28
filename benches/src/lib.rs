//! Micro-benches: `cargo bench -p benches`.
//!
//! Owns: criterion benches in `benches/`. Never does: assert times. Talks to: broker, backplane, protocol.
//! Start reading at: `benches/`.
