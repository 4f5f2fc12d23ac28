//! The fault campaign: people write through a whole cluster while a nemesis works on it, and at the end nothing is lost.
//!
//! Owns: the order of the run, the counts. Never does: judge (the checker does), choose faults (the plan does).
//! Talks to: a cluster of its own. Start reading at: [`run`].

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Context;
use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use serde::Serialize;
use tokio::time::sleep;

use crate::{
    checker::{Anomaly, Report},
    cluster::{
        starter::{Cluster, Options},
        topology::{Kind, Topology},
    },
    faults::{
        nemesis::Nemesis,
        plan::{Bounds, Code, Fault, Plan, Step},
        trace,
    },
    scenario::{
        fleet::{Fleet, FleetPlan, Judged},
        world::World,
    },
};

/// A campaign's settings.
#[derive(Debug, Clone, Serialize)]
pub struct FaultsPlan {
    /// Of everything random but what the machine adds.
    pub seed: u64,
    /// Ends after so many faults.
    pub faults: u64,
    /// Or after so many seconds, whichever is later.
    pub seconds: u64,
    /// Brokers.
    pub brokers: usize,
    /// Connections in all: half of each person's through nginx, half straight to the brokers, moving when one dies.
    pub connections: usize,
    /// People.
    pub people: usize,
    /// Members of a group.
    pub group_size: usize,
    /// Messages in flight per connection.
    pub window: usize,
    /// New messages per connection and second.
    pub per_second: u32,
    /// The longest pause and partition.
    pub longest_ms: u64,
    /// The longest calm between two faults.
    pub calm_ms: u64,
    /// Seconds for acks to flow again, and for everything to be answered and read at the end.
    pub heal_s: u64,
    /// Kinds that are drawn.
    pub codes: Vec<Code>,
}

impl Default for FaultsPlan {
    /// The short form: each kind about twice.
    fn default() -> Self {
        Self {
            seed: 1,
            faults: 26,
            seconds: 0,
            brokers: 3,
            connections: 40,
            people: 10,
            group_size: 5,
            window: 4,
            per_second: 20,
            longest_ms: 3_000,
            calm_ms: 500,
            heal_s: 60,
            codes: Code::ALL.to_vec(),
        }
    }
}

/// One fault and what came after it.
#[derive(Debug, Clone, Serialize)]
pub struct Struck {
    /// What.
    #[serde(flatten)]
    pub fault: Fault,
    /// When it began, in milliseconds of the run.
    pub at_ms: u128,
    /// Acks in all by then.
    pub acked: u64,
    /// From the first blow until nothing hurt any more.
    pub hurt_ms: u128,
    /// From there until every process said that it is ready.
    pub ready_ms: u128,
    /// From there until everybody could have been acked again.
    pub acks_ms: u128,
}

/// The result. The first lines are the verdict.
#[derive(Debug, Clone, Serialize)]
pub struct FaultsResult {
    /// `holds`, or what does not.
    pub verdict: String,
    /// Repeats the plan of faults; the machine's own timing is not in it.
    pub seed: u64,
    /// Faults done, by kind.
    pub faults: BTreeMap<Code, u64>,
    /// Publishes that were acked.
    pub acked: u64,
    /// Acked and gone, or never handed to a device that stayed, or seen and gone.
    pub lost: u64,
    /// Twice in the history, or handed over twice.
    pub doubled: u64,
    /// In another order than they were made, acked or handed over.
    pub reordered: u64,
    /// Other anomalies.
    pub other: u64,
    /// Seconds of sending.
    pub seconds: f64,
    /// Panics of any process, which the clients may not have noticed.
    pub panics: Vec<String>,
    /// As planned.
    pub plan: FaultsPlan,
    /// Each fault.
    pub struck: Vec<Struck>,
    /// What came out.
    #[serde(flatten)]
    pub judged: Judged,
}

impl FaultsResult {
    /// Whether everything holds.
    pub fn holds(&self) -> bool {
        self.judged.holds() && self.panics.is_empty() && !self.struck.is_empty()
    }

    fn new(
        plan: FaultsPlan,
        seconds: f64,
        struck: Vec<Struck>,
        panics: Vec<String>,
        judged: Judged,
    ) -> Self {
        let mut faults = BTreeMap::new();
        for one in &struck {
            *faults.entry(one.fault.code()).or_insert(0) += 1;
        }
        let [lost, doubled, reordered, other] = counts(&judged.report);
        let mut result = Self {
            verdict: String::new(),
            seed: plan.seed,
            faults,
            acked: judged.report.acked,
            lost,
            doubled,
            reordered,
            other,
            seconds,
            panics,
            plan,
            struck,
            judged,
        };
        result.verdict = result.words();
        result
    }

    fn words(&self) -> String {
        if self.holds() {
            return "holds".to_owned();
        }
        let Judged { unsettled, behind, .. } = &self.judged;
        let Self { lost, doubled, reordered, other, panics, .. } = self;
        format!(
            "fails: {lost} lost, {doubled} doubled, {reordered} reordered, {other} other, {unsettled} never persisted, \
             {behind} devices behind, {} panics, {} acked, {} faults",
            panics.len(),
            self.acked,
            self.struck.len()
        )
    }
}

/// Lost, doubled, reordered, other.
fn counts(report: &Report) -> [u64; 4] {
    let mut counts = [0; 4];
    for (anomaly, found) in &report.anomalies {
        let class = match anomaly {
            Anomaly::LostWrite
            | Anomaly::MissedDelivery
            | Anomaly::SkippedPoll
            | Anomaly::UndeclaredGap
            | Anomaly::Phantom => 0,
            Anomaly::Duplicate => 1,
            Anomaly::InvertedPoll | Anomaly::SenderReordered | Anomaly::RealTimeReordered => 2,
            Anomaly::DivergentOffset
            | Anomaly::Unsent
            | Anomaly::Corrupt
            | Anomaly::AbortedRead
            | Anomaly::StaleRead
            | Anomaly::NonMonotonic => 3,
        };
        counts[class] += found.count;
    }
    counts
}

/// Runs a campaign on a cluster of its own. Errors: the cluster or the harness failed, or a fault could not be done;
/// anomalies are in the result. `options`: programs and folder; the rest is the plan's.
pub async fn run(mut plan: FaultsPlan, options: Options) -> anyhow::Result<FaultsResult> {
    if !trace::is_there() {
        // Named in the result by their absence.
        plan.codes.retain(|code| !code.needs_trace());
    }
    let options = Options {
        topology: Topology { brokers: plan.brokers, ..Topology::default() },
        arguments: trusting(options.arguments),
        proxied: true,
        detached: false,
        seed: plan.seed,
        ..options
    };
    let mut cluster = Cluster::up(options).await?;
    let mut rng = Pcg64Mcg::seed_from_u64(plan.seed);
    let [nginx, brokers] = routes(&cluster)?;
    let prefix = format!("faults{:x}-", plan.seed & 0xff_ffff);
    let world = World::build(nginx[0], &prefix, plan.people, plan.group_size).await;
    let world = world.context("world")?;
    let fleet = Fleet::launch(&plan.fleet(), &[nginx, brokers], &world, &mut rng);
    fleet.send();
    let begun = Instant::now();
    fleet.wait_for_acks(plan.connections as u64).await.context("before the first fault")?;
    let struck = strike(&plan, &mut cluster, &fleet, begun).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let judged = fleet.finish(&world).await.with_context(|| format!("seed {}", plan.seed))?;
    Ok(FaultsResult::new(plan, seconds, struck, cluster.panics(), judged))
}

/// Limits per address and connection are no part of this: everybody comes from this machine.
fn trusting(mut arguments: Vec<String>) -> Vec<String> {
    arguments.extend(["--trusted-source".to_owned(), "127.0.0.0/8".to_owned()]);
    arguments
}

/// Through nginx, and straight to the brokers.
fn routes(cluster: &Cluster) -> anyhow::Result<[Vec<SocketAddr>; 2]> {
    let of = |kind| cluster.of_kind(kind).iter().map(|row| row.address()).collect::<Vec<_>>();
    let routes = [of(Kind::Nginx), of(Kind::Broker)];
    anyhow::ensure!(routes.iter().all(|route| !route.is_empty()), "no nginx or no broker");
    Ok(routes)
}

impl FaultsPlan {
    fn fleet(&self) -> FleetPlan {
        FleetPlan {
            connections: self.connections,
            window: self.window,
            text_bytes: 128,
            per_second: self.per_second,
            heal: Duration::from_secs(self.heal_s),
        }
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            codes: self.codes.clone(),
            brokers: self.brokers,
            longest_ms: self.longest_ms,
            calm_ms: self.calm_ms,
        }
    }
}

async fn strike(
    plan: &FaultsPlan,
    cluster: &mut Cluster,
    fleet: &Fleet,
    begun: Instant,
) -> anyhow::Result<Vec<Struck>> {
    let mut struck: Vec<Struck> = Vec::new();
    for Step { calm_ms, fault } in Plan::new(plan.seed, plan.bounds()) {
        let enough = struck.len() as u64 >= plan.faults;
        if enough && begun.elapsed() >= Duration::from_secs(plan.seconds) {
            break;
        }
        sleep(Duration::from_millis(calm_ms)).await;
        let one = strike_once(plan, cluster, fleet, fault, begun).await;
        let n = struck.len() + 1;
        struck.push(one.with_context(|| format!("seed {}, fault {n}: {fault:?}", plan.seed))?);
    }
    Ok(struck)
}

async fn strike_once(
    plan: &FaultsPlan,
    cluster: &mut Cluster,
    fleet: &Fleet,
    fault: Fault,
    begun: Instant,
) -> anyhow::Result<Struck> {
    let (at_ms, acked) = (begun.elapsed().as_millis(), fleet.acked());
    let start = Instant::now();
    Nemesis::new(cluster).strike(&fault).await?;
    let hurt_ms = start.elapsed().as_millis();
    let start = Instant::now();
    cluster.wait_all_ready(fault.heals_within()).await?;
    let ready_ms = start.elapsed().as_millis();
    let start = Instant::now();
    fleet.wait_for_acks(plan.connections as u64).await?;
    let acks_ms = start.elapsed().as_millis();
    Ok(Struck { fault, at_ms, acked, hurt_ms, ready_ms, acks_ms })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::checker::Found;

    fn judged(anomalies: &[(Anomaly, u64)]) -> Judged {
        let found = |count| Found { count, examples: Vec::new() };
        let anomalies = anomalies.iter().map(|(a, count)| (*a, found(*count))).collect();
        let report = Report { acked: 5, anomalies, ..Report::default() };
        Judged { losses: 0, unsettled: 0, behind: 0, errors: BTreeMap::new(), report }
    }

    fn result(judged: Judged, panics: &[&str]) -> FaultsResult {
        let fault = Fault::Roll;
        let one = Struck { fault, at_ms: 0, acked: 0, hurt_ms: 0, ready_ms: 0, acks_ms: 0 };
        let panics = panics.iter().map(|line| (*line).to_owned()).collect();
        FaultsResult::new(FaultsPlan::default(), 1.0, vec![one.clone(), one], panics, judged)
    }

    #[test]
    fn the_verdict_counts_what_is_wrong_and_a_panic_is() {
        let good = result(judged(&[]), &[]);
        assert!(good.holds() && good.verdict == "holds");
        assert_eq!(good.faults, BTreeMap::from([(Code::F19, 2)]));
        assert!(!result(judged(&[]), &["broker-1: panicked at x"]).holds());
        assert!(!result(Judged { behind: 1, ..judged(&[]) }, &[]).holds());
        let wrong = [
            (Anomaly::LostWrite, 1),
            (Anomaly::Phantom, 2),
            (Anomaly::Duplicate, 4),
            (Anomaly::SenderReordered, 8),
            (Anomaly::StaleRead, 16),
        ];
        let bad = result(judged(&wrong), &[]);
        assert!(!bad.holds() && bad.verdict.starts_with("fails: 3 lost"), "{}", bad.verdict);
        assert_eq!((bad.lost, bad.doubled, bad.reordered, bad.other), (3, 4, 8, 16));
        let json = serde_json::to_value(&bad).unwrap();
        assert_eq!((&json["faults"]["F19"], &json["seed"]), (&2.into(), &1.into()));
        assert_eq!(json["struck"][0]["fault"], "roll");
    }
}
