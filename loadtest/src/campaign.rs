//! Options of the fault campaign.
//!
//! Owns: how flags become a plan. Never does: run a fault. Talks to: the scenario. Start reading at: [`run`].

use std::path::PathBuf;

use loadtest::{
    cluster::starter::Options,
    faults::plan::Code,
    scenario::cluster::{self, FaultsPlan, FaultsResult},
};

/// The long form's longest pause and partition: well above a lease (10 s).
const LONGEST_MS: u64 = 60_000;
/// The long form's longest calm.
const CALM_MS: u64 = 4_000;
/// For acks to flow again after the longest of them.
const HEAL_S: u64 = 180;

/// A fault campaign.
#[derive(Debug, clap::Args)]
pub(crate) struct FaultsOptions {
    /// How long; 0 = only as long as the number of faults takes.
    #[arg(long, default_value_t = 0.0)]
    minutes: f64,
    /// At least so many faults.
    #[arg(long, default_value_t = 26)]
    faults: u64,
    /// 0 = random. It is in the result, and on stderr at the start.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[arg(long, default_value_t = 3)]
    brokers: usize,
    #[arg(long, default_value_t = 40)]
    connections: usize,
    #[arg(long, default_value_t = 10)]
    people: usize,
    /// New messages per connection and second.
    #[arg(long, default_value_t = 12)]
    per_second: u32,
    /// Only these kinds, such as F1,F2.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Code>,
    /// Keeps settings, logs and data here.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Runs it. Errors: the cluster or the harness failed; what is wrong with the messages is in the result.
pub(crate) async fn run(options: FaultsOptions) -> anyhow::Result<FaultsResult> {
    let FaultsOptions { faults, brokers, connections, people, per_second, .. } = options;
    let seed = if options.seed == 0 { rand::random() } else { options.seed };
    eprintln!("seed {seed}");
    let mut plan = FaultsPlan {
        seed,
        faults,
        brokers,
        connections,
        people,
        per_second,
        ..FaultsPlan::default()
    };
    if options.minutes > 0.0 {
        plan.seconds = (options.minutes * 60.0) as u64;
        (plan.longest_ms, plan.calm_ms, plan.heal_s) = (LONGEST_MS, CALM_MS, HEAL_S);
    }
    if !options.only.is_empty() {
        plan.codes = options.only;
    }
    cluster::run(plan, Options { folder: options.dir, ..Options::default() }).await
}
