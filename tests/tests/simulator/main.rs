//! The simulator: several nodes, clients with pendings and an api over a log with faults, on one thread from one seed
//! (LOG.md §9). A seed that fails is printed with the command that runs it again.
//!
//! `WEBCHAT_SIM_SEED=n` runs one seed, `WEBCHAT_SIM_SEEDS=n` so many, from `WEBCHAT_SIM_FROM=n` on (1 if it is not set).
//! Start reading at `world.rs`.

#![expect(clippy::expect_used, reason = "a simulation that cannot go on fails")]

mod device;
mod judge;
mod node;
mod office;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use world::{Stats, run};

/// Seeds of every run of `./test`.
const SEEDS: u64 = 1_000;
/// Seeds that may fail before a run ends: each names itself, and one fault seldom shows in one seed only.
const FAILURES_MAX: usize = 10;
/// Seeds in which a mutant has to be caught: only such as pass without it, else another fault could be taken for it.
const MUTANT_SEEDS: u64 = SEEDS;

/// What is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutant {
    /// Nothing.
    None,
    /// The log forgets what was published.
    DedupeOff,
    /// The log acknowledges without syncing.
    FsyncRemoved,
    /// The broker acks with the append.
    AckBeforeAppend,
    /// The log answers with the write.
    LogAcksBeforeItStores,
    /// The log takes envelopes whatever membership they were authorised under.
    MverUnchecked,
    /// The client moves its position to the seq of an ack.
    AckTakenAsPosition,
    /// Nodes tell a log that comes back what they have followed, not what verdicts told them.
    SeenWithoutVerdicts,
    /// The persister does not tell it what it has stored.
    PersisterUnheard,
    /// The view of a new connection is not merged with what the ring told since.
    ConnectWithoutMembersRecent,
}

/// A panic (an overflow, an invariant of the product) is a failed run, too.
fn attempt(seed: u64, mutant: Mutant) -> Result<Stats, String> {
    let run = AssertUnwindSafe(|| run(seed, mutant));
    catch_unwind(run).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_seed_keeps_the_promise() {
    let seeds = match from_environment("WEBCHAT_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let from = from_environment("WEBCHAT_SIM_FROM").unwrap_or(1);
            from..from + from_environment("WEBCHAT_SIM_SEEDS").unwrap_or(SEEDS)
        }
    };
    let (begun, mut total) = (std::time::Instant::now(), Stats::default());
    let (count, mut failed) = (seeds.end - seeds.start, Vec::new());
    for seed in seeds {
        match attempt(seed, Mutant::None) {
            Ok(stats) => {
                total.publishes += stats.publishes;
                total.acked += stats.acked;
                total.refused += stats.refused;
                total.deliveries += stats.deliveries;
                total.faults += stats.faults;
                total.epochs += stats.epochs - 1;
            }
            Err(why) => failed.push(format!(
                "seed {seed} fails:\n{why}\n\nrun it again with\n    \
                 WEBCHAT_SIM_SEED={seed} cargo nextest run -p integration simulator\n"
            )),
        }
        if failed.len() == FAILURES_MAX {
            break;
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    println!("{count} seeds in {:?}: {total:?}", begun.elapsed());
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    for seed in 1..=3 {
        assert_eq!(attempt(seed, Mutant::None), attempt(seed, Mutant::None), "seed {seed}");
    }
}

/// Some seed within [`MUTANT_SEEDS`] fails, and for the reason that the mutant is there for.
fn caught(mutant: Mutant, reasons: &[&str]) {
    let mut others = Vec::new();
    for seed in 1..=MUTANT_SEEDS {
        let Err(why) = attempt(seed, mutant) else { continue };
        if reasons.iter().any(|reason| why.contains(reason)) {
            return println!("{mutant:?} is caught by seed {seed}: {why}");
        }
        others.push(why);
    }
    panic!("{mutant:?} is not caught in {MUTANT_SEEDS} seeds; other failures: {others:?}");
}

#[test]
fn dedupe_off_is_caught() {
    caught(Mutant::DedupeOff, &["Duplicate"]);
}

#[test]
fn fsync_removed_is_caught() {
    caught(Mutant::FsyncRemoved, &["LostWrite", "Phantom", "DivergentOffset", "moved"]);
}

#[test]
fn ack_before_append_is_caught() {
    caught(Mutant::AckBeforeAppend, &["LostWrite", "DivergentOffset"]);
    // Clients keep what is acked until it is persisted, and send it again: what shows is the api's appends that are lost.
    let reasons = ["LostWrite", "DivergentOffset", "Phantom", "moved", "(H10)"];
    caught(Mutant::LogAcksBeforeItStores, &reasons);
}

#[test]
fn mver_unchecked_is_caught() {
    caught(Mutant::MverUnchecked, &["no member at that place"]);
}

#[test]
fn ack_taken_as_position_is_caught() {
    caught(Mutant::AckTakenAsPosition, &["a fresh fetch has"]);
}

#[test]
fn seen_without_verdicts_is_caught() {
    caught(Mutant::SeenWithoutVerdicts, &["LostWrite", "moved", "DivergentOffset"]);
}

#[test]
fn persister_unheard_is_caught() {
    caught(Mutant::PersisterUnheard, &["LostWrite", "moved", "DivergentOffset", "did not settle"]);
}

#[test]
fn connect_view_without_members_recent_is_caught() {
    caught(Mutant::ConnectWithoutMembersRecent, &["a fresh fetch has", "did not settle", "(H10)"]);
}
