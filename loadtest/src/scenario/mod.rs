//! What is run: each scenario is a function from a plan to a serialisable result.
//!
//! Owns: the list. Never does: print (the binary does). Talks to: the modules below. Start reading at: `kill.rs`.

pub mod attacks;
pub mod cluster;
pub mod fanout;
pub mod fleet;
pub mod hostile;
pub mod idle;
pub mod kill;
pub mod link;
pub mod pairs;
pub mod population;
pub mod servers;
pub mod sides;
pub mod world;
