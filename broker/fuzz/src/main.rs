//! Runs cases until the time is over: `cargo xtask fuzz --minutes 10`.
//!
//! Owns: the command line, the count, the closing line. Never does: judge. Talks to: the targets. Start reading at: [`main`].

use std::time::{Duration, Instant};

use clap::Parser;
use fuzz::{Target, allocation::Counting};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Fuzzes what the broker reads from strangers.
#[derive(Parser)]
struct Args {
    /// How long.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// The first seed; each case takes the next one. A failure prints its own.
    #[arg(long)]
    seed: Option<u64>,
    /// One target only.
    #[arg(long)]
    only: Option<Target>,
    /// So many cases of each target, however long it takes.
    #[arg(long)]
    cases: Option<u64>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let first = args.seed.unwrap_or_else(rand::random);
    let targets: Vec<Target> = args.only.map_or(Target::ALL.to_vec(), |only| vec![only]);
    let (begun, limit) = (Instant::now(), Duration::from_secs_f64(args.minutes.max(0.0) * 60.0));
    let mut counts = vec![0u64; targets.len()];
    println!("fuzz: seed {first}, {targets:?}");
    let mut said = begun;
    loop {
        let enough = |count: u64| args.cases.is_some_and(|cases| count >= cases);
        let over = args.cases.is_none() && begun.elapsed() >= limit;
        if over || counts.iter().all(|count| enough(*count)) {
            break;
        }
        for (target, count) in targets.iter().zip(&mut counts) {
            for _ in 0..target.cases_per_turn() {
                if enough(*count) {
                    break;
                }
                run(*target, first.wrapping_add(*count))?;
                *count += 1;
            }
        }
        if said.elapsed() >= Duration::from_secs(60) {
            said = Instant::now();
            println!("fuzz: {} s, {}", begun.elapsed().as_secs(), table(&targets, &counts));
        }
    }
    println!(
        "fuzz: no case failed; seed {first}, {} s, {}",
        begun.elapsed().as_secs(),
        table(&targets, &counts)
    );
    Ok(())
}

fn run(target: Target, seed: u64) -> anyhow::Result<()> {
    target.run(seed).map_err(|broken| {
        let name = target.name();
        anyhow::anyhow!(
            "{name}: {broken}\nagain: cargo run -p fuzz -- --only {name} --seed {seed} --cases 1"
        )
    })
}

fn table(targets: &[Target], counts: &[u64]) -> String {
    let parts =
        targets.iter().zip(counts).map(|(target, count)| format!("{} {count}", target.name()));
    parts.collect::<Vec<_>>().join(", ")
}
