//! Tests that cross processes and crates.
//!
//! Owns: what no single crate can test. Never does: product work. Talks to: all crates. Start reading at: `tests/`.
