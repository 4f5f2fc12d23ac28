//! Developer commands: `cargo xtask …`. What is longer than a few lines of shell lives here.
//!
//! Owns: the order of the test run, tidy, conformance, browser tests, long campaigns. Never does: product work.
//! Talks to: cargo, npm, the built binaries. Start reading at: [`Task`].

mod browser;
mod conformance;
mod deps;
mod report;
mod server;
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
    /// Browser tests against the real server.
    E2e {
        /// Only specs whose path contains this.
        filter: Option<String>,
    },
    /// The long kill test: the real process, killed at random moments.
    Kill {
        /// How many times.
        #[arg(long, default_value_t = 30)]
        kills: u32,
        /// Connections that send all the while.
        #[arg(long, default_value_t = 200)]
        connections: u32,
    },
    /// The long simulator campaign.
    Sim {
        /// How many seeds.
        #[arg(long, default_value_t = 10_000)]
        seeds: u64,
        /// The first one.
        #[arg(long, default_value_t = 1)]
        from: u64,
    },
}

fn main() -> anyhow::Result<()> {
    std::env::set_current_dir(steps::root())?;
    match Task::parse() {
        Task::Test => steps::test(),
        Task::Check => steps::check(),
        Task::Tidy => tidy::run().finish(),
        Task::Conformance => conformance::run()?.finish(),
        Task::E2e { filter } => browser::run(filter.as_deref())?.finish(),
        Task::Kill { kills, connections } => steps::kill(kills, connections),
        Task::Sim { seeds, from } => steps::simulate(from, seeds),
    }
}
