//! Developer commands: `cargo xtask …`. What is longer than a few lines of shell lives here.
//!
//! Owns: the order of the test run, tidy, conformance, the browser. Never does: product work.
//! Talks to: cargo, npm, the codec's echo server. Start reading at: [`Task`].

mod browser;
mod cluster;
mod conformance;
mod deps;
mod fuzz;
mod report;
mod steps;
mod tidy;

use clap::Parser;

/// Commands for people who work on WebChat.
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Task {
    /// Runs every test, as ./test does after installing what they need.
    Test,
    /// Formatting, lints, tidy and dependency rules: nothing that starts a server.
    Check,
    /// The rules of the house that no lint knows.
    Tidy,
    /// The Autobahn core cases against the codec.
    Conformance,
    /// Builds the page and the server, and runs the browser tests: all, or those whose path contains the word.
    E2e {
        /// Part of a spec's path.
        filter: Option<String>,
    },
    /// The long kill test: `kill -9` at random moments; prints what was checked.
    Kill {
        /// How often.
        #[arg(long, default_value_t = 30)]
        kills: u32,
    },
    /// A cluster on this machine, as plain processes: up, status, kill NAME, restart NAME, down.
    Cluster(cluster::ClusterArgs),
    /// The long fault campaign on a cluster of its own; prints the verdict as JSON.
    Faults(cluster::FaultsArgs),
    /// Hostile bytes for everything that the broker reads from strangers, until the time is over or something breaks.
    Fuzz(fuzz::Args),
}

fn main() -> anyhow::Result<()> {
    std::env::set_current_dir(steps::root())?;
    match Task::parse() {
        Task::Test => steps::test(),
        Task::Check => steps::check(),
        Task::Tidy => tidy::run().finish(),
        Task::Conformance => conformance::run()?.finish(),
        Task::E2e { filter } => steps::e2e(filter.as_deref()),
        Task::Kill { kills } => steps::kill(kills),
        Task::Cluster(args) => cluster::operate(&args),
        Task::Faults(args) => cluster::faults(&args),
        Task::Fuzz(args) => fuzz::run(&args)?.finish(),
    }
}
