//! Figures of several sides in turns, each time on fresh servers: what differs is the sides, not the hour.
//!
//! Owns: the rounds, the lines of the result, medians and ratios. Never does: start or measure by itself.
//! Talks to: the scenarios `sides` and `pairs`. Start reading at: [`run`].

use std::path::PathBuf;

use anyhow::ensure;
use loadtest::{
    cluster::programs::Programs,
    procfs::Environment,
    scenario::{
        pairs::{self, PairsResult},
        sides::{Place, Side},
    },
};
use serde::Serialize;

use crate::{PairsOptions, partners, write_line};

/// How to compare.
#[derive(Debug, clap::Args)]
pub(crate) struct CompareOptions {
    #[command(flatten)]
    pairs: PairsOptions,
    /// Runs of each side: A, B, A, B …
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// What is compared, at least one; ratios are to the first. `ours` with +everysec, +single (one message in an append),
    /// +stored (else the persister counts only), +logs=N, +shards=N; `node` (XADD, then PUBLISH; everysec) with +always,
    /// +volatile.
    #[arg(long = "side", default_values = ["ours", "node"])]
    sides: Vec<Side>,
    /// Where the other make is, installed with `npm ci`.
    #[arg(long, default_value = "loadtest/peers/node-ws")]
    peer_folder: PathBuf,
}

/// One run of one side.
#[derive(Debug, Serialize)]
struct Run<'a> {
    side: &'a str,
    round: usize,
    result: Option<PairsResult>,
    /// Why there is no result.
    error: Option<String>,
    /// Load average right before: whether the machine was ours.
    load_average: String,
}

/// The middle one of a side's runs, and how far they are apart.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Spread {
    runs: usize,
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let (low, high) = ((values.len() - 1) / 2, values.len() / 2);
        let median = f64::midpoint(values[low], values[high]);
        Some(Self { runs: values.len(), median, min, max })
    }
}

/// A side over all rounds.
#[derive(Debug, Serialize)]
struct Summary {
    side: String,
    cpu_us_per_message: Option<Spread>,
    /// Of the servers of log and live state, or the other make's one.
    redis_cpu_us_per_message: Option<Spread>,
    delivered_per_s: Option<Spread>,
    messages_per_append: Option<Spread>,
    delivery_p50_us: Option<Spread>,
    delivery_p99_us: Option<Spread>,
    /// This side's CPU per message ÷ the first side's, round by round.
    cpu_ratio: Vec<f64>,
    cpu_ratio_spread: Option<Spread>,
    /// The first side's throughput ÷ this side's, round by round.
    throughput_ratio: Vec<f64>,
    throughput_ratio_spread: Option<Spread>,
    failed: usize,
}

/// What a result counts of Redis.
fn redis_cpu(result: &PairsResult) -> f64 {
    let redis = |name: &str| ["log", "live", "redis"].iter().any(|kind| name.starts_with(kind));
    let by_process = result.cost.cpu_us_by_process.iter();
    by_process.filter(|(name, _)| redis(name)).map(|(_, us)| us).sum()
}

/// Runs all rounds. False: a run failed.
pub(crate) async fn run(
    options: CompareOptions,
    cores: Option<String>,
    environment: Environment,
    out: Option<PathBuf>,
) -> anyhow::Result<bool> {
    let people = options.pairs.people;
    ensure!(people.is_multiple_of(2) && people > 0, "--people: an even number");
    let place = Place { programs: Programs::default(), cores, peer: options.peer_folder.clone() };
    let names: Vec<String> = options.sides.iter().map(ToString::to_string).collect();
    if let Some(path) = &out {
        write_line(path, &serde_json::json!({ "environment": environment, "sides": names }))?;
    }
    let mut runs = Vec::new();
    for round in 1..=options.rounds {
        for (side, name) in options.sides.iter().zip(&names) {
            let load_average = Environment::read().load_average;
            let found = one(*side, &place, &options.pairs).await;
            let (result, error) = match found {
                Ok(result) => (Some(result), None),
                Err(error) => (None, Some(format!("{error:#}"))),
            };
            let run = Run { side: name, round, result, error, load_average };
            eprintln!("{}", told(&run));
            if let Some(path) = &out {
                write_line(path, &run)?;
            }
            runs.push(run);
        }
    }
    let summaries: Vec<Summary> =
        names.iter().map(|name| summary(name, &names[0], &runs)).collect();
    println!("{}", serde_json::to_string_pretty(&summaries)?);
    if let Some(path) = &out {
        write_line(path, &serde_json::json!({ "summaries": summaries }))?;
    }
    Ok(runs.iter().all(|run| run.error.is_none()))
}

async fn one(side: Side, place: &Place, options: &PairsOptions) -> anyhow::Result<PairsResult> {
    let running = side.start(place, options.people).await?;
    let partners = partners(&running.population)?;
    pairs::run(options.plan(), running.address, &partners, &running.servers).await
}

/// A line for whoever waits.
fn told(run: &Run<'_>) -> String {
    let Run { side, round, result, error, load_average } = run;
    match (result, error) {
        (Some(result), _) => format!(
            "round {round}, {side}: {:.1} us/message (Redis {:.1}), {:.0}/s, load {load_average}",
            result.cost.cpu_us_per_message,
            redis_cpu(result),
            result.delivered_per_s
        ),
        (None, error) => format!("round {round}, {side}: {}", error.as_deref().unwrap_or("?")),
    }
}

fn summary(side: &str, first: &str, runs: &[Run<'_>]) -> Summary {
    let result_of = |name: &str, round: usize| {
        let run = runs.iter().find(|run| run.side == name && run.round == round)?;
        run.result.as_ref()
    };
    let own = || runs.iter().filter(|run| run.side == side);
    let spread = |value: &dyn Fn(&PairsResult) -> Option<f64>| {
        Spread::of(own().filter_map(|run| value(run.result.as_ref()?)))
    };
    // A round in which one of the two failed has no ratio.
    let ratios = |value: &dyn Fn(&PairsResult) -> f64| -> Vec<f64> {
        let ratio =
            |run: &Run<'_>| Some(value(run.result.as_ref()?) / value(result_of(first, run.round)?));
        own().filter_map(ratio).collect()
    };
    let cpu_ratio = ratios(&|result| result.cost.cpu_us_per_message);
    let throughput_ratio = ratios(&|result| 1.0 / result.delivered_per_s);
    Summary {
        side: side.to_owned(),
        cpu_us_per_message: spread(&|result| Some(result.cost.cpu_us_per_message)),
        redis_cpu_us_per_message: spread(&|result| Some(redis_cpu(result))),
        delivered_per_s: spread(&|result| Some(result.delivered_per_s)),
        messages_per_append: spread(&|result| result.cost.messages_per_append),
        delivery_p50_us: spread(&|result| Some(result.delivery.p50_us)),
        delivery_p99_us: spread(&|result| Some(result.delivery.p99_us)),
        cpu_ratio_spread: Spread::of(cpu_ratio.iter().copied()),
        cpu_ratio,
        throughput_ratio_spread: Spread::of(throughput_ratio.iter().copied()),
        throughput_ratio,
        failed: own().filter(|run| run.error.is_some()).count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_even_number_is_between_two() {
        let spread = Spread::of([4.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!((spread.median, spread.min, spread.max, spread.runs), (2.5, 1.0, 4.0, 4));
        assert_eq!(Spread::of([7.0]).unwrap().median, 7.0);
        assert!(Spread::of([]).is_none());
    }
}
