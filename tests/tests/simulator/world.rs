//! The world of the simulation: one thread, one seed, made-up time. It lets one actor do one small thing at a time, breaks
//! something now and then, and in the end stops breaking, lets everything settle, and hands the history to the judge.
//!
//! Start reading at [`run`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
};

use backplane::{
    Envelope,
    memory_archive::MemoryArchive,
    sequencer,
    sim::{Faults, LEASE_MS, Random, SimLog, SimOptions},
};
use broker::{config::Mutation, shard::Now};
use protocol::{ConversationId, Pos, UserId};

use crate::{
    Mutant,
    device::Device,
    judge,
    node::{Link, Node},
    office::{OFFICE, Office, USERS},
};

const NODES: usize = 3;
/// Steps with faults.
const STEPS: u64 = 6_000;
/// Publishes of one device.
const PUBLISHES: u32 = 14;
/// Rounds in which everything has to come to rest, of [`ROUND_MS`] each: two minutes.
const ROUNDS: u32 = 1_200;
const ROUND_MS: u64 = 100;
const RETENTION_MS: u64 = 4_000;
const START_MS: u64 = 1_764_000_000_000;

/// What an actor has at hand.
pub(crate) struct Around<'a> {
    pub(crate) random: &'a mut Random,
    pub(crate) now: Now,
    step: u64,
    pub(crate) log: &'a SimLog,
    pub(crate) archive: &'a MemoryArchive,
    /// Requests that arrive after their sender has given up on them: the connection they came on, and what they ask.
    pub(crate) late: &'a mut Vec<(u64, Vec<Envelope>)>,
    nodes: &'a mut Vec<Option<Node>>,
    pub(crate) office: &'a Office,
    pub(crate) settles: bool,
    pub(crate) store_away: bool,
    pub(crate) mutant: Mutant,
    traces: bool,
}

impl Around<'_> {
    /// The clock of the clients: no two steps are at the same time.
    pub(crate) fn now_ns(&self) -> u64 {
        self.now.mono_ms * 1_000_000 + self.step
    }

    /// A rate of faults, none while all settles.
    pub(crate) fn rate(&self, rate: u16) -> u16 {
        if self.settles { 0 } else { rate }
    }

    /// With `WEBCHAT_SIM_TRACE` set, a run tells what happens in it.
    pub(crate) fn trace(&self, what: impl FnOnce() -> String) {
        if self.traces {
            println!("{} ms: {}", self.now.mono_ms, what());
        }
    }

    pub(crate) fn alive(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|index| self.nodes[*index].is_some()).collect()
    }

    pub(crate) fn accept(&mut self, index: usize, user: UserId) -> Option<(u64, u64)> {
        let mut node = self.nodes[index].take()?;
        let accepted = (node.id, node.accept(user, self));
        self.nodes[index] = Some(node);
        Some(accepted)
    }

    /// A link, if that life of the node still has it.
    pub(crate) fn link(&mut self, index: usize, life: u64, link: u64) -> Option<&mut Link> {
        self.nodes[index].as_mut().filter(|node| node.id == life)?.links.get_mut(&link)
    }

    /// Where a user may want to write: the log decides whether they may.
    pub(crate) fn conversations_of(&self, user: UserId) -> Vec<ConversationId> {
        let possible = |id: &&ConversationId| id.is_group() || id.names(user);
        self.office.conversations.iter().filter(possible).copied().collect()
    }
}

/// The answer of a future of the simulated seams, which never waits.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> T {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a simulated seam made its caller wait"),
    }
}

/// What a run was like, so that it can be seen that it was not idle.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Stats {
    pub(crate) publishes: u64,
    pub(crate) acked: u64,
    pub(crate) refused: u64,
    pub(crate) deliveries: u64,
    pub(crate) epochs: u32,
    pub(crate) faults: u64,
    /// Of everything that devices were handed, in order: two runs of one seed have the same.
    pub(crate) fingerprint: u64,
}

struct World {
    random: Random,
    mutant: Mutant,
    step: u64,
    mono_ms: u64,
    wall: Arc<AtomicU64>,
    log: SimLog,
    archive: MemoryArchive,
    nodes: Vec<Option<Node>>,
    devices: Vec<Device>,
    office: Option<Office>,
    late: Vec<(u64, Vec<Envelope>)>,
    lives: u64,
    /// The furthest that anybody has followed the log: what a node that is gone may have shown.
    shown: Pos,
    /// What verdicts told nodes that are gone, with when their leases run out.
    told: Vec<(u64, Pos)>,
    settles: bool,
    store_back_ms: u64,
    faults: u64,
    traces: bool,
}

/// One run. `Err` says what is wrong with it.
pub(crate) fn run(seed: u64, mutant: Mutant) -> Result<Stats, String> {
    let mut world = World::new(seed, mutant);
    for _ in 0..STEPS {
        world.step();
    }
    let settled = world.settle();
    let moved: Vec<String> = world.devices.iter_mut().flat_map(|d| d.moved.drain(..)).collect();
    if !moved.is_empty() {
        return Err(moved.join("\n"));
    }
    settled?;
    let epoch = world.log.end().epoch;
    let World { devices, archive, office, .. } = &mut world;
    let office = office.as_ref().expect("the office is only away while it works");
    let logs = devices.iter_mut().map(|d| (d.user, std::mem::take(&mut d.session.log)));
    let mut stats = judge::judge(logs.collect(), &office.conversations, archive, epoch)?;
    (stats.epochs, stats.faults) = (epoch, world.faults);
    Ok(stats)
}

impl World {
    fn new(seed: u64, mutant: Mutant) -> Self {
        let mut random = Random::new(seed);
        let (archive, wall) = (MemoryArchive::default(), Arc::new(AtomicU64::new(START_MS)));
        let clock = Arc::clone(&wall);
        let mutation = match mutant {
            Mutant::DedupeOff => sequencer::Mutation::DedupeOff,
            Mutant::MverUnchecked => sequencer::Mutation::MverUnchecked,
            Mutant::LogAcksBeforeItStores => sequencer::Mutation::AckBeforeAppend,
            _ => sequencer::Mutation::None,
        };
        let options = SimOptions {
            clock: Arc::new(move || clock.load(SeqCst)),
            seed: random.next_u64(),
            faults: Faults::ALL,
            retention_ms: RETENTION_MS,
            swallow_sync: mutant == Mutant::FsyncRemoved,
            mutation,
        };
        let log = SimLog::new(Arc::new(archive.clone()), options);
        let office = Office::new(&mut random);
        let users = (1..=USERS).chain([1, 2]);
        let devices = users
            .zip(1..)
            .map(|(user, number)| Device::new(number, UserId(user), PUBLISHES, mutant));
        let mut world = Self {
            mutant,
            step: 0,
            mono_ms: 1_000_000,
            devices: devices.collect(),
            nodes: (0..NODES).map(|_| None).collect(),
            random,
            wall,
            log,
            archive,
            office: Some(office),
            late: Vec::new(),
            lives: 0,
            shown: Pos::default(),
            told: Vec::new(),
            settles: false,
            store_back_ms: 0,
            faults: 0,
            traces: std::env::var_os("WEBCHAT_SIM_TRACE").is_some(),
        };
        (0..NODES).for_each(|index| world.start(index));
        world
    }

    fn around<R>(&mut self, work: impl FnOnce(&mut Around<'_>, &mut Vec<Device>) -> R) -> R {
        let wall_ms = self.wall.load(SeqCst);
        let office = self.office.take().unwrap_or_else(Office::vacant);
        let mut around = Around {
            random: &mut self.random,
            now: Now { mono_ms: self.mono_ms, wall_ms },
            step: self.step,
            log: &self.log,
            archive: &self.archive,
            late: &mut self.late,
            nodes: &mut self.nodes,
            office: &office,
            settles: self.settles,
            store_away: self.store_back_ms > self.mono_ms,
            mutant: self.mutant,
            traces: self.traces,
        };
        let result = work(&mut around, &mut self.devices);
        if self.shown.epoch < self.log.end().epoch {
            // What the epoch begins with was shown in earlier ones.
            self.shown = self.log.end();
            self.told.clear();
            around.trace(|| format!("an epoch begins with {}", self.log.end()));
        }
        self.office = Some(office);
        result
    }

    fn with_node<R>(
        &mut self,
        index: usize,
        work: impl FnOnce(&mut Node, &mut Around<'_>) -> R,
    ) -> Option<R> {
        let mut node = self.nodes[index].take()?;
        let result = self.around(|around, _| work(&mut node, around));
        self.shown = self.shown.max(node.seen());
        self.nodes[index] = Some(node);
        Some(result)
    }

    fn with_office<R>(&mut self, work: impl FnOnce(&mut Office, &mut Around<'_>) -> R) -> R {
        let mut office = self.office.take().expect("the office is only away while it works");
        let result = self.around(|around, _| work(&mut office, around));
        self.office = Some(office);
        result
    }

    fn start(&mut self, index: usize) {
        self.lives += 1;
        let id = self.lives;
        let mutation = match self.mutant {
            Mutant::AckBeforeAppend => Some(Mutation::AckBeforeAppend),
            Mutant::ConnectWithoutMembersRecent => Some(Mutation::ConnectWithoutMembersRecent),
            _ => None,
        };
        let node = self.around(|around, _| Node::start(id, mutation, around));
        self.shown = self.shown.max(node.seen());
        self.nodes[index] = Some(node);
    }

    fn pass(&mut self, ms: u64) {
        self.mono_ms += ms;
        self.wall.fetch_add(ms, SeqCst);
    }

    /// One thing happens.
    fn step(&mut self) {
        self.step += 1;
        let ms = if self.random.per_mille(10) { 300 } else { self.random.below(6) };
        self.pass(ms);
        match self.random.below(100) {
            0..=33 => {
                let index = self.random.below(self.devices.len() as u64) as usize;
                self.around(|around, devices| devices[index].work(around));
            }
            34..=84 => {
                let index = self.random.below(NODES as u64) as usize;
                let now = self.mono_ms;
                self.with_node(index, |node, around| {
                    if node.paused_until_ms <= now {
                        node.work(around);
                    }
                });
            }
            // Nobody waits for the disk of that mutant, so it takes its time.
            85..=92
                if self.mutant == Mutant::LogAcksBeforeItStores
                    && !self.step.is_multiple_of(16) => {}
            85..=92 => self.log.sync(),
            93..=97 => self.with_office(Office::work),
            98 => self.arrive_late(),
            _ => self.misfortune(),
        }
        if let Some(user) = self.office.as_mut().and_then(|office| office.added.take()) {
            self.hurry(user);
        }
    }

    /// Somebody who is being added to a group connects just now.
    fn hurry(&mut self, user: UserId) {
        self.around(|around, devices| {
            for device in devices.iter_mut().filter(|device| device.user == user) {
                device.reconnect(around);
            }
        });
    }

    fn arrive_late(&mut self) {
        if !self.late.is_empty() {
            let index = self.random.below(self.late.len() as u64) as usize;
            let (run, envelopes) = self.late.swap_remove(index);
            self.around(|around, _| {
                let keys = envelopes.iter().map(|e| (e.conversation, e.from, e.no, e.mver));
                around.trace(|| format!("late on run {run}: {:?}", keys.collect::<Vec<_>>()));
            });
            self.log.submit(run, &envelopes);
        }
    }

    /// Something breaks.
    fn misfortune(&mut self) {
        self.faults += 1;
        let index = self.random.below(NODES as u64) as usize;
        let now = self.mono_ms;
        let kind = self.random.below(24);
        self.around(|around, _| around.trace(|| format!("misfortune {kind}, node at {index}")));
        match kind {
            0..=3 => self.kill(index),
            4..=8 if self.nodes[index].is_none() => self.start(index),
            4..=6 => {
                let until = now + 200 + self.random.below(3_000);
                self.with_node(index, |node, _| node.paused_until_ms = until);
            }
            7..=8 => {
                let hour = 3_600_000;
                let offset = self.random.below(2 * hour) as i64 - hour as i64;
                self.with_node(index, |node, _| node.wall_offset_ms = offset);
            }
            9..=11 => self.log.crash(0),
            12..=13 => self.fall_back(),
            14 => self.lose_power(),
            15..=16 => {
                self.store_back_ms = now + self.random.below(4_000);
                self.archive.set_away(self.random.per_mille(500));
            }
            17..=18 => self.archive.set_away(false),
            19..=20 => self.log.trim_hard(),
            // A laptop is opened again: dedupe state has moved to the archive, the Tail is short.
            21 if self.random.per_mille(200) => self.pass(16 * 60 * 1_000),
            _ => {}
        }
    }

    /// While the log asks who has seen what, nodes that have answered stay: they hold what it lost.
    fn kill(&mut self, index: usize) {
        if self.log.is_fenced() {
            return;
        }
        self.end(index);
    }

    fn end(&mut self, index: usize) {
        if let Some(node) = self.nodes[index].take() {
            self.told.push((self.mono_ms + LEASE_MS, node.knows_of()));
            self.around(|around, _| node.kill(around));
        }
    }

    /// A stale copy of the log takes over. What only nodes that are gone have shown is not lost: no system of this kind can
    /// give it back (RELIABILITY.md §2, last row of the failure analysis). Nor is what they were told, once their leases have
    /// run out: until then a loss begins a new epoch.
    fn fall_back(&mut self) {
        if self.log.is_fenced() {
            return;
        }
        let lapsed = self.told.iter().filter(|(until_ms, _)| *until_ms <= self.mono_ms);
        self.shown = lapsed.map(|(_, told)| *told).fold(self.shown, Pos::max);
        let living = self.nodes.iter().flatten().map(Node::seen).max().unwrap_or_default();
        let living = living.max(self.archive.stored());
        let end = self.log.end();
        let most = if living >= self.shown { end.n } else { end.n.saturating_sub(self.shown.n) };
        let lose = self.random.below(4).min(most);
        let shown = self.shown;
        self.around(|around, _| {
            around.trace(|| format!("falls back {lose} from {end}; seen {living}, shown {shown}"));
        });
        self.log.crash(lose);
    }

    /// Everything ends at once: all-in-one, which has no leases, and `kill -9`. What was answered must be on the disk.
    fn lose_power(&mut self) {
        if self.log.is_fenced() {
            return;
        }
        (0..NODES).for_each(|index| self.end(index));
        self.late.clear();
        self.log.expire(OFFICE);
        self.told.clear();
        self.log.crash(0);
        (0..NODES).for_each(|index| self.start(index));
    }

    /// Faults stop; everything has to come to rest.
    fn settle(&mut self) -> Result<(), String> {
        self.settles = true;
        self.archive.set_away(false);
        self.store_back_ms = 0;
        self.log.set_faults(Faults { hold_sync: true, ..Faults::default() });
        for index in 0..NODES {
            if self.nodes[index].is_none() {
                self.start(index);
            }
            self.with_node(index, |node, _| node.paused_until_ms = 0);
        }
        for _ in 0..ROUNDS {
            self.step += 1;
            self.pass(ROUND_MS);
            while !self.late.is_empty() {
                self.arrive_late();
            }
            self.log.sync();
            self.with_office(Office::work_all);
            for index in 0..NODES {
                self.with_node(index, Node::work_all);
            }
            for index in 0..self.devices.len() {
                self.around(|around, devices| devices[index].work_all(around));
            }
            if self.unrest().is_empty() {
                return Ok(());
            }
        }
        Err(format!("did not settle (H12): {}", self.unrest().join("; ")))
    }

    fn unrest(&mut self) -> Vec<String> {
        let mut unrest: Vec<String> = self.devices.iter().filter_map(Device::unrest).collect();
        let busy = self.nodes.iter().flatten().filter(|node| node.busy());
        unrest.extend(busy.map(|node| format!("node {} is busy", node.id)));
        if self.with_office(|office, around| office.busy(around)) {
            let (stored, watermark) = (self.archive.stored(), self.log.watermark());
            unrest.push(format!("the office is busy: stored {stored}, W {watermark}"));
        }
        unrest
    }
}
