//! `loadtest`: figures and proofs about a server that it starts by itself.
//!
//! Owns: flags, files of results. Never does: touch a server that it did not start. Talks to: the scenarios.
//! Start reading at: [`Scenario`].
//!
//! Each run prints one JSON document (and writes it with `--out`): environment, plan, result. The exit code is 1 when a
//! proof fails: something lost, doubled, or answered otherwise than PROTOCOL.md says.

mod campaign;
mod compare;
mod operate;

use std::{
    fs::OpenOptions,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, ensure};
use clap::{Args, Parser, Subcommand};
use loadtest::{
    driver::Arrivals,
    procfs::Environment,
    scenario::{
        fanout::{self, FanoutPlan},
        hostile::{self, HostilePlan},
        idle::{self, IdlePlan},
        kill::{self, KillPlan},
        pairs::{self, PairsPlan, Partner},
        population::{Population, SeedPlan},
        servers::Servers,
    },
    server::{Options, Server},
};
use serde::Serialize;
use tokio::task::LocalSet;

/// Load tests of a WebChat of their own, on this machine.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version)]
struct Cli {
    #[command(flatten)]
    place: PlaceOptions,
    #[command(subcommand)]
    scenario: Scenario,
}

/// Which server, where.
#[derive(Debug, Args)]
struct PlaceOptions {
    /// The binary; without it WEBCHAT_BIN, or the one next to this program.
    #[arg(long, global = true)]
    binary: Option<PathBuf>,
    /// Cores of the server, as taskset takes them.
    #[arg(long, global = true)]
    server_cores: Option<String>,
    /// Further arguments of the server.
    #[arg(long = "server-arg", global = true, allow_hyphen_values = true)]
    server_arguments: Vec<String>,
    /// A server of another make that runs already, in place of one of ours: it takes a person's id as bearer (`peers/`).
    #[arg(long, global = true, requires = "peer_pids")]
    peer: Option<SocketAddr>,
    /// Its processes, whose CPU counts.
    #[arg(long = "peer-pid", global = true)]
    peer_pids: Vec<u32>,
    /// Also appends the result to this file, one line.
    #[arg(long, global = true)]
    out: Option<PathBuf>,
}

/// What to run.
#[derive(Debug, Subcommand)]
enum Scenario {
    /// Senders at full speed, kill -9 at random moments: nothing acknowledged may be lost, doubled or reordered.
    Kill(KillOptions),
    /// Pairs of people write to each other: throughput, latency, CPU per message.
    Pairs(PairsOptions),
    /// The same of a cluster beside a server of another make, or beside itself with other settings, in turns.
    Compare(compare::CompareOptions),
    /// One group, everybody connected: cost and latency of a delivery.
    Fanout(FanoutOptions),
    /// Connections that say nothing: memory and CPU of each.
    Idle(IdleOptions),
    /// Hostile input beside honest people.
    Hostile(HostileOptions),
    /// A whole cluster of its own, faults from a seed: nothing acknowledged may be lost, doubled or reordered.
    Faults(campaign::FaultsOptions),
    /// Starts, shows, hurts and ends a cluster on this machine.
    #[command(subcommand)]
    Cluster(operate::Operation),
}

#[derive(Debug, Args)]
struct KillOptions {
    #[arg(long, default_value_t = 30)]
    kills: u32,
    #[arg(long, default_value_t = 200)]
    connections: usize,
    #[arg(long, default_value_t = 20)]
    people: usize,
    /// Messages in flight per connection.
    #[arg(long, default_value_t = 4)]
    window: usize,
    /// 0 = random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, Clone, Args)]
struct PairsOptions {
    /// People; even.
    #[arg(long, default_value_t = 500)]
    people: usize,
    /// Messages per second over all of them, as independent arrivals.
    #[arg(long, conflicts_with = "window")]
    rate: Option<f64>,
    /// Closed loop with this many messages in flight per person: for the most throughput only.
    #[arg(long)]
    window: Option<usize>,
    #[arg(long, default_value_t = 128)]
    text_bytes: usize,
    #[arg(long, default_value_t = 5.0)]
    warmup_s: f64,
    #[arg(long, default_value_t = 20.0)]
    measure_s: f64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Args)]
struct FanoutOptions {
    /// Members of the group, each with one connection.
    #[arg(long, default_value_t = 1_000)]
    members: usize,
    /// Messages on their way at a time.
    #[arg(long, default_value_t = 4)]
    window: usize,
    #[arg(long, default_value_t = 128)]
    text_bytes: usize,
    #[arg(long, default_value_t = 500)]
    warmup: u64,
    #[arg(long, default_value_t = 5_000)]
    messages: u64,
    /// Milliseconds between two messages.
    #[arg(long, default_value_t = 0)]
    pause_ms: u64,
}

#[derive(Debug, Args)]
struct IdleOptions {
    #[arg(long, default_value_t = 8_000)]
    connections: usize,
    #[arg(long, default_value_t = 3)]
    waves: usize,
    #[arg(long, default_value_t = 60.0)]
    idle_s: f64,
    #[arg(long, default_value_t = 8.0)]
    calm_s: f64,
}

#[derive(Debug, Args)]
struct HostileOptions {
    #[arg(long, default_value_t = 500)]
    half_open: usize,
    #[arg(long, default_value_t = 20)]
    stalled: usize,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Record<R> {
    environment: Environment,
    result: R,
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    // One thread: the generator's own CPU is one number, and its lag shows.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let good = runtime.block_on(LocalSet::new().run_until(run(cli)))?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run(Cli { place, scenario }: Cli) -> anyhow::Result<bool> {
    let options = Options {
        binary: place.binary,
        cores: place.server_cores,
        arguments: place.server_arguments,
        data: None,
    };
    let environment = Environment::read();
    let out = place.out;
    let peer = place.peer.map(|address| (address, place.peer_pids));
    match scenario {
        Scenario::Kill(plan) => {
            let result = kill::run(plan.plan(), options).await?;
            let good = result.holds();
            print(environment, result, out).map(|()| good)
        }
        Scenario::Pairs(plan) => pairs(plan, options, peer, environment, out).await,
        Scenario::Compare(plan) => compare::run(plan, options.cores, environment, out).await,
        Scenario::Fanout(plan) => fanout(plan, options, peer, environment, out).await,
        Scenario::Faults(plan) => {
            let result = campaign::run(plan).await?;
            let good = result.holds();
            print(environment, result, out).map(|()| good)
        }
        Scenario::Cluster(operation) => operate::run(operation).await.map(|()| true),
        Scenario::Idle(plan) => idle(plan, options, environment, out).await,
        Scenario::Hostile(HostileOptions { half_open, stalled }) => {
            let plan = HostilePlan { half_open, stalled, ..HostilePlan::default() };
            let server = Server::start(options).await?;
            let result = hostile::run(plan, &server, Vec::new()).await?;
            let good = result.wrong().is_empty() && result.stalled_closed == stalled;
            print(environment, result, out).map(|()| good)
        }
    }
}

fn print(
    environment: Environment,
    result: impl Serialize,
    out: Option<PathBuf>,
) -> anyhow::Result<()> {
    let record = Record { environment, result };
    println!("{}", serde_json::to_string_pretty(&record)?);
    out.map_or(Ok(()), |path| write_line(&path, &record))
}

/// Appends one line of JSON to a file.
fn write_line(path: &Path, record: &impl Serialize) -> anyhow::Result<()> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    let mut file = file.with_context(|| format!("{}", path.display()))?;
    writeln!(file, "{}", serde_json::to_string(record)?)?;
    Ok(())
}

impl KillOptions {
    fn plan(self) -> KillPlan {
        let Self { kills, connections, people, window, seed } = self;
        let seed = if seed == 0 { rand::random() } else { seed };
        KillPlan { kills, connections, people, window, seed, ..KillPlan::default() }
    }
}

/// What a figure is taken of.
struct Target {
    address: SocketAddr,
    pids: Vec<u32>,
    population: Population,
    /// Ours, until the figure is taken.
    _server: Option<Server>,
}

/// The peer that was named, else a server of ours.
async fn target(
    options: Options,
    peer: Option<(SocketAddr, Vec<u32>)>,
    plan: SeedPlan,
) -> anyhow::Result<Target> {
    if let Some((address, pids)) = peer {
        let population = Population::unseeded(plan);
        return Ok(Target { address, pids, population, _server: None });
    }
    let (server, population) = seeded(options, plan).await?;
    let (address, pids) = (server.address, vec![server.pid()]);
    Ok(Target { address, pids, population, _server: Some(server) })
}

/// A server with people that were seeded into its data, and no limits per address for us.
async fn seeded(mut options: Options, plan: SeedPlan) -> anyhow::Result<(Server, Population)> {
    options.arguments.extend(["--trusted-source".to_owned(), "127.0.0.0/8".to_owned()]);
    let mut server = Server::start(options.clone()).await?;
    // The folder is the server's; seeding needs it free.
    server.kill()?;
    let population = Population::seed(&options, server.data(), plan)?;
    server.spawn_again()?;
    server.wait_ready().await?;
    Ok((server, population))
}

impl PairsOptions {
    fn plan(&self) -> PairsPlan {
        let Self { text_bytes, warmup_s, measure_s, seed, .. } = *self;
        let arrivals = match (self.rate, self.window) {
            (_, Some(window)) => Arrivals::Closed { window },
            (rate, None) => Arrivals::Open { rate: rate.unwrap_or(1_000.0) },
        };
        PairsPlan { arrivals, text_bytes, warmup_s, measure_s, seed }
    }
}

/// Everybody with the neighbour they write to.
fn partners(population: &Population) -> anyhow::Result<Vec<Partner>> {
    let partner = |i: usize| {
        let conversation = population.direct_of(i).context("a person without a partner")?;
        Ok(Partner { token: population.people[i].token.clone(), conversation })
    };
    (0..population.people.len()).map(partner).collect()
}

async fn pairs(
    plan: PairsOptions,
    options: Options,
    peer: Option<(SocketAddr, Vec<u32>)>,
    environment: Environment,
    out: Option<PathBuf>,
) -> anyhow::Result<bool> {
    ensure!(plan.people.is_multiple_of(2) && plan.people > 0, "--people: an even number");
    let seeds = SeedPlan { people: plan.people, groups_per_person: 0, group_size: 2 };
    let target = target(options, peer, seeds).await?;
    let population = &target.population;
    let (partners, servers) = (partners(population)?, Servers::unnamed(&target.pids));
    let result = pairs::run(plan.plan(), target.address, &partners, &servers).await?;
    print(environment, result, out).map(|()| true)
}

async fn fanout(
    plan: FanoutOptions,
    options: Options,
    peer: Option<(SocketAddr, Vec<u32>)>,
    environment: Environment,
    out: Option<PathBuf>,
) -> anyhow::Result<bool> {
    let FanoutOptions { members, window, text_bytes, warmup, messages, pause_ms } = plan;
    let seeds = SeedPlan { people: members, groups_per_person: 1, group_size: members };
    let target = target(options, peer, seeds).await?;
    let population = &target.population;
    let (group, _) = population.groups.first().context("no group was seeded")?;
    let tokens: Vec<String> = population.people.iter().map(|p| p.token.clone()).collect();
    let plan = FanoutPlan { window, text_bytes, warmup, messages, pause_ms };
    let result = fanout::run(plan, target.address, *group, &tokens, &target.pids).await?;
    print(environment, result, out).map(|()| true)
}

async fn idle(
    plan: IdleOptions,
    options: Options,
    environment: Environment,
    out: Option<PathBuf>,
) -> anyhow::Result<bool> {
    let IdleOptions { connections, waves, idle_s, calm_s } = plan;
    let seeds = SeedPlan { people: connections, groups_per_person: 10, group_size: 4 };
    let (server, population) = seeded(options, seeds).await?;
    let plan = IdlePlan { connections, waves, idle_s, calm_s, message_window: 64 };
    let result = idle::run(plan, server.address, &population, &[server.pid()]).await?;
    print(environment, result, out).map(|()| true)
}
