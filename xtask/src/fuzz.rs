//! The long form of the fuzzer; the short one is a test of the package `fuzz`.
//!
//! Owns: how it is built and called. Never does: judge a case. Talks to: cargo, rustup. Start reading at: [`run`].

use std::process::Command;

use crate::{
    report::Outcome,
    steps::{self, cargo},
};

/// Where the targets of cargo-fuzz are: a workspace of its own, for a nightly toolchain.
const COVERAGE: &str = "broker/fuzz/coverage";
const TARGETS: [&str; 3] = ["codec", "command", "upgrade"];

/// Options of `cargo xtask fuzz`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long, all targets together.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// The first seed; drawn at random, and printed, if there is none.
    #[arg(long, conflicts_with = "coverage")]
    seed: Option<u64>,
    /// One target only: codec, command or upgrade.
    #[arg(long)]
    only: Option<String>,
    /// Guided by coverage instead of by generators: needs a nightly toolchain and cargo-fuzz.
    #[arg(long)]
    coverage: bool,
}

/// Errors: a tool is missing. A case that fails is in the outcome.
pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    if args.coverage { coverage(args) } else { Ok(generators(args)) }
}

/// Built without `--release` on purpose: overflows and debug assertions are findings.
fn generators(args: &Args) -> Outcome {
    let minutes = args.minutes.to_string();
    let mut command = cargo(&["run", "--locked", "--package", "fuzz", "--", "--minutes", &minutes]);
    if let Some(seed) = args.seed {
        command.args(["--seed", &seed.to_string()]);
    }
    if let Some(only) = &args.only {
        command.args(["--only", only]);
    }
    steps::run("a fuzz case failed; the line above repeats it", &mut command)
}

fn coverage(args: &Args) -> anyhow::Result<Outcome> {
    let listed = Command::new("rustup").args(["toolchain", "list"]).output();
    let nightly = listed.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains("nightly"));
    anyhow::ensure!(nightly, "no nightly toolchain: rustup toolchain install nightly");
    let there = cargo(&["fuzz", "--version"]).output().is_ok_and(|o| o.status.success());
    anyhow::ensure!(there, "no cargo-fuzz: cargo install --locked cargo-fuzz");
    let chosen: Vec<&str> = TARGETS
        .into_iter()
        .filter(|t| args.only.as_deref().is_none_or(|only| only == *t))
        .collect();
    anyhow::ensure!(!chosen.is_empty(), "the targets are {TARGETS:?}");
    let seconds = (args.minutes * 60.0 / chosen.len() as f64).ceil();
    let mut outcome = Outcome::default();
    for target in chosen {
        // Not the pinned toolchain's cargo, whose path stands in the environment here: rustup's, which knows `+nightly`.
        let mut command = Command::new("cargo");
        command.env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
        command.args([
            "+nightly",
            "fuzz",
            "run",
            "--sanitizer",
            "none",
            "--fuzz-dir",
            COVERAGE,
            target,
            "--",
        ]);
        command.args([format!("-max_total_time={seconds}"), "-max_len=70000".into()]);
        outcome.add(steps::run(&format!("fuzz target {target}"), &mut command));
    }
    Ok(outcome)
}
