//! Devices that write at full speed while something happens to the servers, and the judgement of what they saw.
//!
//! Owns: the devices and the order of the end: settle, read everything, let everybody catch up, judge.
//! Never does: hurt a server (its callers do). Talks to: brokers and apis. Start reading at: [`Fleet::launch`].

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context, ensure};
use protocol::{ConversationId, Producer};
use rand::RngExt;
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
    http::end_of,
    scenario::world::World,
    session::Session,
};

/// Between two looks at the progress.
const POLL: Duration = Duration::from_millis(10);

/// What the devices do.
#[derive(Debug, Clone)]
pub struct FleetPlan {
    /// Connections in all; each person has an equal part of them.
    pub connections: usize,
    /// Messages in flight per device.
    pub window: usize,
    /// Bytes of a text.
    pub text_bytes: usize,
    /// New messages per device and second; 0 = as many as the window allows.
    pub per_second: u32,
    /// For acks to flow again after a fault, and for everything to be answered and read at the end.
    pub heal: Duration,
}

/// Devices that run, and what steers them.
#[derive(Debug)]
pub struct Fleet {
    heal: Duration,
    devices: JoinSet<Session>,
    phase: watch::Sender<Phase>,
    /// What they have done so far.
    pub progress: Arc<Progress>,
}

/// What came out.
#[derive(Debug, Clone, Serialize)]
pub struct Judged {
    /// Connections lost over the run.
    pub losses: u64,
    /// Pendings that never became `persisted`.
    pub unsettled: usize,
    /// Devices that did not reach every head in time.
    pub behind: usize,
    /// Error replies by code.
    pub errors: BTreeMap<String, u64>,
    /// The judgement.
    pub report: Report,
}

impl Judged {
    /// Whether everything holds.
    pub fn holds(&self) -> bool {
        self.report.holds() && self.unsettled == 0 && self.behind == 0 && self.report.acked > 0
    }
}

async fn wait(limit: Duration, condition: impl Fn() -> bool) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !condition() {
        ensure!(begun.elapsed() < limit, "not within {limit:?}");
        sleep(POLL).await;
    }
    Ok(())
}

impl Fleet {
    /// Connects everybody, who are silent for now. `routes`: addresses that a device moves between; the devices of one
    /// person take them in turn.
    pub fn launch(
        plan: &FleetPlan,
        routes: &[Vec<SocketAddr>],
        world: &World,
        rng: &mut Pcg64Mcg,
    ) -> Self {
        let (phase, receiver) = watch::channel(Phase::Idle);
        let (clock, progress) = (Clock::start(), Arc::new(Progress::default()));
        let mut devices = JoinSet::new();
        let people = world.people.len().max(1);
        for n in 0..plan.connections {
            let person = &world.people[n % people];
            // Not from the seed: it must not meet what an earlier run on the same server left.
            let producer = Producer(rand::random());
            let mut session = Session::new(format!("{}/{n}", person.user), producer);
            for conversation in &person.conversations {
                session.follow(*conversation, 0, 0);
            }
            let place = Place {
                targets: routes[n / people % routes.len()].clone(),
                source: Some(person.source),
                account: person.account.clone(),
                clock,
                progress: progress.clone(),
            };
            let sends = Plan {
                conversations: person.conversations.clone(),
                window: plan.window,
                text_bytes: plan.text_bytes,
                per_second: plan.per_second,
            };
            devices.spawn(Device::new(place, session, sends, rng.random()).run(receiver.clone()));
        }
        Self { heal: plan.heal, devices, phase, progress }
    }

    /// Everybody writes from now on.
    pub fn send(&self) {
        self.phase.send_replace(Phase::Send);
    }

    /// Acks so far.
    pub fn acked(&self) -> u64 {
        self.progress.acked.load(Relaxed)
    }

    /// Publishes without an ack.
    pub fn unacked(&self) -> usize {
        self.progress.unacked.load(Relaxed)
    }

    /// Waits for so many more acks.
    pub async fn wait_for_acks(&self, more: u64) -> anyhow::Result<()> {
        let before = self.acked();
        let flows = wait(self.heal, || self.acked() >= before + more).await;
        let got = || format!("{} of {more} acks", self.acked() - before);
        flows.with_context(got)
    }

    /// Ends the run: no new messages, every answer, the server's word on everything, every device up to it; the judgement.
    /// Errors: publishes stay without an answer, or the history cannot be read.
    pub async fn finish(mut self, world: &World) -> anyhow::Result<Judged> {
        self.phase.send_replace(Phase::Settle);
        let all_answered = wait(self.heal, || self.unacked() == 0).await;
        all_answered.context("publishes without an answer at the end")?;
        let last = read_all(world).await?;
        let (sessions, behind) = self.converge(&last).await?;
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
        let losses = self.progress.losses.load(Relaxed);
        Ok(Judged { losses, unsettled, behind, errors, report })
    }

    /// Lets every device catch up with the heads. Returns the memories and how many devices did not make it.
    async fn converge(
        &mut self,
        last: &HashMap<ConversationId, Final>,
    ) -> anyhow::Result<(Vec<Session>, usize)> {
        let head = |f: &Final| f.slots.last().map_or(0, |d| end_of(*d));
        let heads: HashMap<_, _> = last.iter().map(|(c, f)| (*c, head(f))).collect();
        self.phase.send_replace(Phase::Converge(Arc::new(heads)));
        let mut sessions = Vec::new();
        let collect = async {
            while let Some(session) = self.devices.join_next().await {
                sessions.push(session?);
            }
            anyhow::Ok(())
        };
        if let Ok(done) = timeout(self.heal, collect).await {
            done?;
            return Ok((sessions, 0));
        }
        let behind = self.devices.len();
        self.phase.send_replace(Phase::Stop);
        while let Some(session) = self.devices.join_next().await {
            sessions.push(session?);
        }
        Ok((sessions, behind))
    }
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
