//! Hostile bytes for everything of the broker that reads what a stranger sends: frames, commands, the upgrade.
//!
//! Owns: generators, mutations, and the invariants they are judged by. Never does: sockets, time (cases make up their own).
//! Talks to: the broker's codec and handshake, the protocol's parser. Start reading at: [`Target::run`].

pub mod allocation;
mod codec;
mod command;
mod frames;
mod mutate;
mod reference;
mod upgrade;

use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;

/// The generator of a case. One seed makes one case, for ever.
pub(crate) type Random = Pcg64Mcg;

/// What was broken, for a person.
pub type Broken = String;

/// What is fuzzed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Target {
    /// Client frames against a reference decoder, in any split and at any pace; server frames back.
    Codec,
    /// Text messages through the command parser, against a second JSON parser and through print and parse again.
    Command,
    /// Requests through the upgrade check, cookies, ids and resume tokens.
    Upgrade,
}

impl Target {
    /// All of them.
    pub const ALL: [Target; 3] = [Self::Codec, Self::Command, Self::Upgrade];

    /// Name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Codec => "codec",
            Self::Command => "command",
            Self::Upgrade => "upgrade",
        }
    }

    /// Cases that take about as long as one case of the slowest target.
    pub const fn cases_per_turn(self) -> u64 {
        match self {
            Self::Codec | Self::Command => 16,
            Self::Upgrade => 4,
        }
    }

    /// Runs the case of a seed. Errors: the invariant that does not hold; a panic counts as one.
    pub fn run(self, seed: u64) -> Result<(), Broken> {
        let mut random = Random::seed_from_u64(seed);
        let caught = catch_unwind(AssertUnwindSafe(|| match self {
            Self::Codec => codec::case(&mut random),
            Self::Command => command::case(&mut random),
            Self::Upgrade => upgrade::case(&mut random),
        }));
        caught.unwrap_or_else(|_| Err("it panicked; the message is above".to_owned()))
    }
}

/// Runs bytes that somebody else made up: a coverage-guided fuzzer, or a file that was kept. Errors: as [`Target::run`], but a
/// panic goes through.
pub fn run_bytes(target: Target, bytes: &[u8]) -> Result<(), Broken> {
    match target {
        Target::Codec => codec::bytes(bytes),
        Target::Command => command::bytes(bytes),
        Target::Upgrade => upgrade::bytes(bytes),
    }
}

/// Errors with the text unless the condition holds.
pub(crate) fn ensure(holds: bool, broken: impl FnOnce() -> Broken) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(broken()) }
}
