//! The comparison behind ADR 0001: every candidate in every round, readers and a writer at once.
//!
//! Owns: the rounds, the raw table on stdout, the summary on stderr. Never does: judge. Talks to: `benches::presence`.
//! Start reading at: [`main`].

use std::{
    collections::BTreeMap,
    process::Command,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use benches::presence::{CANDIDATES, CHANGES, Candidate, PEOPLE, Workload, fill};
use clap::Parser;
use rustix::time::{ClockId, clock_gettime};

/// Compares presence maps. Raw table on stdout, summary on stderr.
#[derive(Parser)]
struct Args {
    /// Rounds; each runs every candidate in every scenario, in an order that turns.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Milliseconds of one measurement.
    #[arg(long, default_value_t = 500)]
    milliseconds: u64,
    /// Prints the resident memory of one candidate, and ends.
    #[arg(long)]
    memory: Option<String>,
}

/// Who reads and how fast the one writer writes.
#[derive(Debug, Clone, Copy)]
struct Scenario {
    name: &'static str,
    readers: usize,
    /// Between two batches of changes; `None`: no writer at all.
    pause: Option<Duration>,
}

/// One shard at rest; two shards with the thousand changes a second of P11; a reconnect storm that never ends.
const SCENARIOS: [Scenario; 3] = [
    Scenario { name: "quiet", readers: 1, pause: None },
    Scenario { name: "calm", readers: 2, pause: Some(Duration::from_millis(250)) },
    Scenario { name: "storm", readers: 2, pause: Some(Duration::ZERO) },
];

/// One thread's share of a measurement.
#[derive(Debug, Default)]
struct Share {
    /// Flushes or batches.
    count: u64,
    cpu_ns: u64,
    /// Wall time of each, in nanoseconds.
    walls: Vec<u64>,
}

fn cpu_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

impl Share {
    fn of(mut work: impl FnMut(), over: impl Fn() -> bool) -> Self {
        let (begun, mut share) = (cpu_ns(), Share::default());
        while !over() {
            let at = Instant::now();
            work();
            share.walls.push(at.elapsed().as_nanos() as u64);
            share.count += 1;
        }
        share.cpu_ns = cpu_ns() - begun;
        share.walls.sort_unstable();
        share
    }

    fn percentile(&self, percent: f64) -> u64 {
        let at = (self.walls.len() as f64 * percent / 100.0) as usize;
        self.walls.get(at.min(self.walls.len().saturating_sub(1))).copied().unwrap_or(0)
    }
}

fn read(candidate: &dyn Candidate, seed: u64, over: impl Fn() -> bool) -> Share {
    let mut work = Workload::new(seed);
    let lists: Vec<_> = (0..64).map(|_| work.people()).collect();
    let mut turn = 0;
    let flush = || {
        std::hint::black_box(candidate.flush(&lists[turn % lists.len()]));
        turn += 1;
    };
    Share::of(flush, over)
}

fn write(candidate: &dyn Candidate, pause: Duration, over: impl Fn() -> bool) -> Share {
    let mut work = Workload::new(99);
    let batches: Vec<_> = (0..64).map(|_| work.changes()).collect();
    let mut turn = 0;
    let apply = || {
        let (node, changes) = &batches[turn % batches.len()];
        candidate.apply(*node, changes);
        turn += 1;
        thread::sleep(pause);
    };
    Share::of(apply, over)
}

/// Readers and the writer of one scenario at once.
fn measure(
    candidate: &dyn Candidate,
    scenario: Scenario,
    time: Duration,
) -> (Vec<Share>, Option<Share>) {
    let (over, start) = (AtomicBool::new(false), Barrier::new(scenario.readers + 1));
    thread::scope(|scope| {
        let (over, start) = (&over, &start);
        let readers: Vec<_> = (0..scenario.readers as u64)
            .map(|seed| {
                scope.spawn(move || {
                    start.wait();
                    read(candidate, seed, || over.load(Relaxed))
                })
            })
            .collect();
        let writer = scenario
            .pause
            .map(|pause| scope.spawn(move || write(candidate, pause, || over.load(Relaxed))));
        start.wait();
        thread::sleep(time);
        over.store(true, Relaxed);
        let ended = "invariant: candidates do not panic";
        let readers = readers.into_iter().map(|r| r.join().expect(ended)).collect();
        (readers, writer.map(|w| w.join().expect(ended)))
    })
}

fn resident_kib() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).context("no figure")?.parse()?)
}

/// Resident memory of a filled map, and after 500,000 changes.
fn memory(name: &str) -> anyhow::Result<()> {
    let (_, make) = CANDIDATES.iter().find(|(n, _)| *n == name).context("no such candidate")?;
    let mut work = Workload::new(5);
    let batches: Vec<_> = (0..64).map(|_| work.changes()).collect();
    let before = resident_kib()?;
    let candidate = make();
    fill(&*candidate);
    let full = resident_kib()? - before;
    for turn in 0..2_000 {
        let (node, changes) = &batches[turn % batches.len()];
        candidate.apply(*node, changes);
    }
    println!("{name},{full},{}", resident_kib()? - before);
    drop(candidate);
    Ok(())
}

/// (scenario, candidate, figure) → its value in each round.
type Table = BTreeMap<(&'static str, &'static str, &'static str), Vec<f64>>;

fn row(
    table: &mut Table,
    round: usize,
    scenario: Scenario,
    name: &'static str,
    shares: &(Vec<Share>, Option<Share>),
) {
    let (readers, writer) = shares;
    let flushes: u64 = readers.iter().map(|r| r.count).sum();
    let cpu: u64 = readers.iter().map(|r| r.cpu_ns).sum();
    let read_ns = cpu as f64 / (flushes.max(1) as f64 * PEOPLE as f64);
    let worst =
        |percent| readers.iter().map(|r| r.percentile(percent)).max().unwrap_or(0) as f64 / 1_000.0;
    let (p50, p99, max) = (worst(50.0), worst(99.0), worst(100.0));
    let (batches, change_ns) = writer.as_ref().map_or((0, 0.0), |w| {
        (w.count, w.cpu_ns as f64 / (w.count.max(1) as f64 * CHANGES as f64))
    });
    println!(
        "{round},{},{name},{flushes},{read_ns:.2},{p50:.2},{p99:.2},{max:.1},{batches},{change_ns:.1}",
        scenario.name
    );
    for (figure, value) in [
        ("read ns", read_ns),
        ("flush p99 us", p99),
        ("flush max us", max),
        ("change ns", change_ns),
    ] {
        table.entry((scenario.name, name, figure)).or_default().push(value);
    }
}

fn summary(table: &Table) {
    eprintln!(
        "scenario, candidate, figure: median (range); ratio to papaya in the same round, median (range)"
    );
    for ((scenario, name, figure), values) in table {
        if values.iter().all(|value| *value == 0.0) {
            continue;
        }
        let base = &table[&(*scenario, "papaya", *figure)];
        let ratios = values.iter().zip(base).map(|(value, base)| value / base).collect();
        let (middle, low, high) = spread(values.clone());
        let (ratio, least, most) = spread(ratios);
        eprintln!(
            "{scenario}, {name}, {figure}: {middle:.1} ({low:.1} - {high:.1}); {ratio:.2} ({least:.2} - {most:.2})"
        );
    }
}

fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_unstable_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(name) = &args.memory {
        return memory(name);
    }
    let maps: Vec<_> = CANDIDATES.iter().map(|(name, make)| (*name, make())).collect();
    maps.iter().for_each(|(_, map)| fill(&**map));
    println!(
        "round,scenario,candidate,flushes,read_cpu_ns_per_person,flush_p50_us,flush_p99_us,flush_max_us,batches,write_cpu_ns_per_change"
    );
    let (mut table, time) = (Table::new(), Duration::from_millis(args.milliseconds));
    for round in 0..args.rounds.max(1) {
        for scenario in SCENARIOS {
            for place in 0..maps.len() {
                let (name, map) = &maps[(place + round) % maps.len()];
                row(&mut table, round, scenario, name, &measure(&**map, scenario, time));
            }
        }
    }
    summary(&table);
    eprintln!("resident KiB: candidate,filled,after 500000 changes");
    for (name, _) in CANDIDATES {
        let output = Command::new(std::env::current_exe()?).args(["--memory", name]).output()?;
        eprint!("{}", String::from_utf8_lossy(&output.stdout));
    }
    Ok(())
}
