//! Micro-benches (`cargo bench -p benches`) and the inputs they share.
//!
//! Owns: inputs, and the candidates of ADR 0001. Never does: assert times. Talks to: broker, backplane, protocol.
//! Start reading at: `README.md`, then `benches/`.

pub mod input;
pub mod presence;
