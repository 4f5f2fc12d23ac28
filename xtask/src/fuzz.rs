//! The long form of the fuzzer; the short one is a test of the package `fuzz`.
//!
//! Owns: how it is built and called. Never does: judge a case. Talks to: cargo. Start reading at: [`run`].

use crate::{
    report::Outcome,
    steps::{self, cargo},
};

/// Options of `cargo xtask fuzz`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// The first seed; drawn at random, and printed, if there is none.
    #[arg(long)]
    seed: Option<u64>,
    /// One target only: codec, command or upgrade.
    #[arg(long)]
    only: Option<String>,
}

/// Built without `--release` on purpose: overflows and debug assertions are findings.
pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let minutes = args.minutes.to_string();
    let mut command = cargo(&["run", "--locked", "--package", "fuzz", "--", "--minutes", &minutes]);
    if let Some(seed) = args.seed {
        command.args(["--seed", &seed.to_string()]);
    }
    if let Some(only) = &args.only {
        command.args(["--only", only]);
    }
    Ok(steps::run("a fuzz case failed; the line above repeats it", &mut command))
}
