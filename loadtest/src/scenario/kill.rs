//! The kill test: senders at full speed, `kill -9` at random moments, and at the end nothing is lost or doubled.
//!
//! Owns: the order of events of the run. Never does: judge (the checker does). Talks to: a server of its own.
//! Start reading at: [`run`].

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, ensure};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::{
    scenario::{
        fleet::{Fleet, FleetPlan, Judged},
        world::World,
    },
    server::{Options, Server},
};

/// A kill test's settings.
#[derive(Debug, Clone, Serialize)]
pub struct KillPlan {
    /// How often the server is killed.
    pub kills: u32,
    /// Connections in all.
    pub connections: usize,
    /// People; each has `connections / people` devices.
    pub people: usize,
    /// Members of a group.
    pub group_size: usize,
    /// Messages in flight per device.
    pub window: usize,
    /// Bytes of a text.
    pub text_bytes: usize,
    /// Milliseconds between the first ack after a start and the next kill.
    pub between_ms: (u64, u64),
    /// Milliseconds until acks flow again after a restart, and until everything is answered and read at the end.
    pub heal_ms: u64,
    /// Of everything random.
    pub seed: u64,
}

impl Default for KillPlan {
    fn default() -> Self {
        Self {
            kills: 5,
            connections: 200,
            people: 20,
            group_size: 4,
            window: 4,
            text_bytes: 128,
            between_ms: (300, 2_000),
            heal_ms: 90_000,
            seed: 1,
        }
    }
}

impl KillPlan {
    fn fleet(&self) -> FleetPlan {
        let Self { connections, window, text_bytes, heal_ms, .. } = *self;
        let heal = Duration::from_millis(heal_ms);
        FleetPlan { connections, window, text_bytes, per_second: 0, heal }
    }
}

/// One kill and what came after it.
#[derive(Debug, Clone, Serialize)]
pub struct Kill {
    /// Acks before it, in all.
    pub acked: u64,
    /// Publishes that were in flight.
    pub unacked: usize,
    /// From the kill until the new process said that it is ready.
    pub ready_ms: u128,
    /// From there to the next ack.
    pub first_ack_ms: u128,
}

/// The result.
#[derive(Debug, Clone, Serialize)]
pub struct KillResult {
    /// As planned.
    pub plan: KillPlan,
    /// Each kill.
    pub kills: Vec<Kill>,
    /// Seconds of sending, kills included.
    pub seconds: f64,
    /// What came out.
    #[serde(flatten)]
    pub judged: Judged,
}

impl KillResult {
    /// Whether everything holds.
    pub fn holds(&self) -> bool {
        self.judged.holds()
    }
}

/// What is killed: a process of our own, or a fake of one.
pub trait Victim: Send {
    /// Where it listens, the same after each restart.
    fn address(&self) -> SocketAddr;
    /// Ends it without a warning.
    fn kill(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
    /// Starts it again and waits until it is ready.
    fn start_again(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

impl Victim for Server {
    fn address(&self) -> SocketAddr {
        self.address
    }

    async fn kill(&mut self) -> anyhow::Result<()> {
        ensure!(self.is_running(), "the server ended by itself");
        Self::kill(self)
    }

    async fn start_again(&mut self) -> anyhow::Result<()> {
        self.spawn_again()?;
        self.wait_ready().await
    }
}

/// Runs a kill test on a server of its own. Errors: the server or the harness failed; anomalies are in the result.
pub async fn run(plan: KillPlan, options: Options) -> anyhow::Result<KillResult> {
    let mut server = Server::start(options).await?;
    run_on(plan, &mut server).await
}

/// Runs a kill test on a victim. Errors: the victim or the harness failed; anomalies are in the result.
pub async fn run_on(plan: KillPlan, victim: &mut impl Victim) -> anyhow::Result<KillResult> {
    let mut rng = Pcg64Mcg::seed_from_u64(plan.seed);
    let prefix = format!("kill{:x}-", plan.seed & 0xff_ffff);
    let world = World::build(victim.address(), &prefix, plan.people, plan.group_size)
        .await
        .context("world")?;
    let fleet = Fleet::launch(&plan.fleet(), &[vec![victim.address()]], &world, &mut rng);
    fleet.send();
    let begun = Instant::now();
    fleet.wait_for_acks(plan.connections as u64).await.context("before the first kill")?;
    let mut kills = Vec::new();
    for n in 0..plan.kills {
        sleep(Duration::from_millis(rng.random_range(plan.between_ms.0..=plan.between_ms.1))).await;
        let kill = kill_once(victim, &fleet).await;
        kills.push(kill.with_context(|| format!("kill {} of {}", n + 1, plan.kills))?);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let judged = fleet.finish(&world).await?;
    Ok(KillResult { plan, kills, seconds, judged })
}

async fn kill_once(victim: &mut impl Victim, fleet: &Fleet) -> anyhow::Result<Kill> {
    victim.kill().await?;
    let (acked, unacked) = (fleet.acked(), fleet.unacked());
    let killed = Instant::now();
    victim.start_again().await?;
    let ready_ms = killed.elapsed().as_millis();
    let ready = Instant::now();
    fleet.wait_for_acks(1).await?;
    Ok(Kill { acked, unacked, ready_ms, first_ack_ms: ready.elapsed().as_millis() })
}
