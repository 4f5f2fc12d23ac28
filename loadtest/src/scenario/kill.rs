//! The kill test: senders at full speed, `kill -9` at random moments, and at the end nothing is lost or doubled.
//!
//! Owns: the order of events of the run. Never does: judge (the checker does). Talks to: a server of its own.
//! Start reading at: [`run`].

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context, ensure};
use protocol::{ConversationId, Producer};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    checker::{Report, check},
    clock::Clock,
    device::{Device, Phase, Place, Plan, Progress},
    history::{Final, History},
    scenario::world::World,
    server::{Options, Server},
    session::Session,
};

/// Between two looks at the progress.
const POLL: Duration = Duration::from_millis(10);

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
    /// Connections lost over the run.
    pub losses: u64,
    /// Seconds of sending, kills included.
    pub seconds: f64,
    /// Pendings that never became `persisted`.
    pub unsettled: usize,
    /// Devices that did not reach every head in time.
    pub behind: usize,
    /// Error replies by code.
    pub errors: BTreeMap<String, u64>,
    /// The judgement.
    pub report: Report,
}

impl KillResult {
    /// Whether everything holds.
    pub fn holds(&self) -> bool {
        self.report.holds() && self.unsettled == 0 && self.behind == 0 && self.report.acked > 0
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

/// Devices that run, and what steers them.
struct Fleet {
    heal: Duration,
    devices: JoinSet<Session>,
    phase: watch::Sender<Phase>,
    progress: Arc<Progress>,
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
    let mut fleet = launch(&plan, victim.address(), &world, &mut rng);
    fleet.phase.send_replace(Phase::Send);
    let begun = Instant::now();
    wait_for_acks(&fleet, plan.connections as u64).await.context("before the first kill")?;
    let mut kills = Vec::new();
    for n in 0..plan.kills {
        sleep(Duration::from_millis(rng.random_range(plan.between_ms.0..=plan.between_ms.1))).await;
        let kill = kill_once(victim, &fleet).await;
        kills.push(kill.with_context(|| format!("kill {} of {}", n + 1, plan.kills))?);
    }
    let seconds = begun.elapsed().as_secs_f64();
    fleet.phase.send_replace(Phase::Settle);
    let all_answered = wait(fleet.heal, || fleet.progress.unacked.load(Relaxed) == 0).await;
    all_answered.context("publishes without an answer at the end")?;
    let last = read_all(&world).await?;
    let (sessions, behind) = converge(&mut fleet, &last).await?;
    Ok(judge(plan, kills, seconds, behind, sessions, last, &fleet))
}

fn launch(plan: &KillPlan, target: SocketAddr, world: &World, rng: &mut Pcg64Mcg) -> Fleet {
    let (phase, receiver) = watch::channel(Phase::Idle);
    let (clock, progress) = (Clock::start(), Arc::new(Progress::default()));
    let mut devices = JoinSet::new();
    for n in 0..plan.connections {
        let person = &world.people[n % world.people.len()];
        // Not from the seed: it must not meet what an earlier run on the same server left.
        let producer = Producer(rand::random());
        let mut session = Session::new(format!("{}/{n}", person.user), producer);
        for conversation in &person.conversations {
            session.follow(*conversation, 0, 0);
        }
        let place = Place {
            target,
            source: Some(person.source),
            account: person.account.clone(),
            clock,
            progress: progress.clone(),
        };
        let sends = Plan {
            conversations: person.conversations.clone(),
            window: plan.window,
            text_bytes: plan.text_bytes,
        };
        devices.spawn(Device::new(place, session, sends, rng.random()).run(receiver.clone()));
    }
    Fleet { heal: Duration::from_millis(plan.heal_ms), devices, phase, progress }
}

async fn wait(limit: Duration, condition: impl Fn() -> bool) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !condition() {
        ensure!(begun.elapsed() < limit, "not within {limit:?}");
        sleep(POLL).await;
    }
    Ok(())
}

async fn wait_for_acks(fleet: &Fleet, more: u64) -> anyhow::Result<()> {
    let before = fleet.progress.acked.load(Relaxed);
    let flows = wait(fleet.heal, || fleet.progress.acked.load(Relaxed) >= before + more).await;
    flows.with_context(|| format!("fewer than {more} acks"))
}

async fn kill_once(victim: &mut impl Victim, fleet: &Fleet) -> anyhow::Result<Kill> {
    victim.kill().await?;
    let acked = fleet.progress.acked.load(Relaxed);
    let unacked = fleet.progress.unacked.load(Relaxed);
    let killed = Instant::now();
    victim.start_again().await?;
    let ready_ms = killed.elapsed().as_millis();
    let ready = Instant::now();
    wait_for_acks(fleet, 1).await?;
    Ok(Kill { acked, unacked, ready_ms, first_ack_ms: ready.elapsed().as_millis() })
}

/// The server's own word on every conversation, read by a member.
pub async fn read_all(world: &World) -> anyhow::Result<HashMap<ConversationId, Final>> {
    let mut tasks = JoinSet::new();
    for (conversation, member) in world.conversations.clone() {
        let account = world.people[member].account.clone();
        tasks.spawn(async move {
            let page = account.lock().await.all_events(conversation, 0).await;
            (conversation, page)
        });
    }
    let mut all = HashMap::new();
    while let Some(done) = tasks.join_next().await {
        let (conversation, page) = done?;
        let page = page.with_context(|| format!("history of {conversation}"))?;
        all.insert(conversation, Final { slots: page.slots, first: 1 });
    }
    Ok(all)
}

/// Lets every device catch up with the heads. Returns the memories and how many devices did not make it.
async fn converge(
    fleet: &mut Fleet,
    last: &HashMap<ConversationId, Final>,
) -> anyhow::Result<(Vec<Session>, usize)> {
    let head = |f: &Final| f.slots.last().map_or(0, |d| crate::http::end_of(*d));
    let heads: HashMap<_, _> = last.iter().map(|(c, f)| (*c, head(f))).collect();
    fleet.phase.send_replace(Phase::Converge(Arc::new(heads)));
    let mut sessions = Vec::new();
    let collect = async {
        while let Some(session) = fleet.devices.join_next().await {
            sessions.push(session?);
        }
        anyhow::Ok(())
    };
    if let Ok(done) = timeout(fleet.heal, collect).await {
        done?;
        return Ok((sessions, 0));
    }
    let behind = fleet.devices.len();
    fleet.phase.send_replace(Phase::Stop);
    while let Some(session) = fleet.devices.join_next().await {
        sessions.push(session?);
    }
    Ok((sessions, behind))
}

fn judge(
    plan: KillPlan,
    kills: Vec<Kill>,
    seconds: f64,
    behind: usize,
    sessions: Vec<Session>,
    last: HashMap<ConversationId, Final>,
    fleet: &Fleet,
) -> KillResult {
    let unsettled = sessions.iter().map(Session::unsettled).sum();
    let mut errors = BTreeMap::new();
    let mut logs = Vec::new();
    for mut session in sessions {
        for (code, n) in &session.errors {
            *errors.entry(code.clone()).or_insert(0) += n;
        }
        session.log.complete = session.conversations();
        logs.push(session.log);
    }
    let report = check(&History { logs, last });
    let losses = fleet.progress.losses.load(Relaxed);
    KillResult { plan, kills, losses, seconds, unsettled, behind, errors, report }
}
