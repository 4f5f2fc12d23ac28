//! Commands over a cluster of real processes: built here, done by `loadtest`.
//!
//! Owns: what is built for them. Never does: start or end a process of the cluster. Talks to: cargo, `loadtest`.
//! Start reading at: [`operate`].

use std::{path::PathBuf, process::Command};

use crate::{
    report::Outcome,
    steps::{cargo, run, target_dir},
};

/// Options of `cargo xtask cluster`.
#[derive(Debug, clap::Args)]
pub(crate) struct ClusterArgs {
    /// up [--brokers 3] [--apis 1] [--dir FOLDER] | status | kill NAME | restart NAME | down
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Options of `cargo xtask faults`.
#[derive(Debug, clap::Args)]
pub(crate) struct FaultsArgs {
    /// How long.
    #[arg(long, default_value_t = 60.0)]
    minutes: f64,
    /// Of the plan; drawn at random, and printed, if there is none.
    #[arg(long)]
    seed: Option<u64>,
    /// Also adds the result to this file, one line.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Further options of `loadtest faults`.
    #[arg(last = true)]
    rest: Vec<String>,
}

/// One package at a time: the features of one do not reach the programs of another.
fn build() -> Outcome {
    let mut outcome = Outcome::default();
    for (package, features) in [("broker", "cluster"), ("api", "cluster"), ("loadtest", "")] {
        let build = ["build", "--locked", "--release", "--bins", "-p", package];
        let mut command = cargo(&build);
        outcome.add(run("cargo build", command.args(["--features", features])));
    }
    outcome
}

fn loadtest(subcommand: &str) -> Command {
    let mut command = Command::new(target_dir().join("release/loadtest"));
    command.arg(subcommand);
    command
}

/// One command over the cluster of a folder. Only what starts programs builds them first.
pub(crate) fn operate(args: &ClusterArgs) -> anyhow::Result<()> {
    let starts = matches!(args.words[0].as_str(), "up" | "restart");
    let mut outcome = if starts { build() } else { Outcome::default() };
    if outcome.failures.is_empty() {
        let mut command = loadtest("cluster");
        outcome.add(run("cluster", command.args(&args.words)));
    }
    if outcome.failures.is_empty() { Ok(()) } else { outcome.finish() }
}

/// The long campaign, on the release build.
pub(crate) fn faults(args: &FaultsArgs) -> anyhow::Result<()> {
    let mut outcome = build();
    if outcome.failures.is_empty() {
        let mut command = loadtest("faults");
        command.args(["--minutes", &args.minutes.to_string()]);
        if let Some(seed) = args.seed {
            command.args(["--seed", &seed.to_string()]);
        }
        if let Some(out) = &args.out {
            command.arg("--out").arg(out);
        }
        outcome.add(run("the fault campaign", command.args(&args.rest)));
    }
    outcome.finish()
}
