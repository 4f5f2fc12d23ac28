//! Ways to keep who is online where, for one writer and a reader per shard: the candidates of ADR 0001.
//!
//! Owns: the candidates, and the workload both benches share. Never does: product work (that is `broker::presence`).
//! Talks to: papaya, dashmap, arc-swap, std. Start reading at: [`Candidate`].

use std::{
    collections::HashMap,
    fmt,
    hash::BuildHasher,
    sync::{Arc, PoisonError, RwLock},
};

use arc_swap::ArcSwap;
use backplane::{NodeId, PresenceChange};
use broker::presence::PresenceMap;
use foldhash::fast::RandomState;
use protocol::{UserId, event::PresenceState};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use smallvec::SmallVec;

/// Users of the workload.
pub const USERS: u64 = 100_000;
/// People on one watch list: the most that the protocol allows.
pub const PEOPLE: usize = protocol::limits::WATCH_MAX;
/// Changes per batch of the live task: a thousand a second (P11), announced every 250 ms.
pub const CHANGES: usize = 250;

/// The same record as in `broker::presence`.
#[derive(Debug, Clone, Default)]
struct Entry {
    nodes: SmallVec<[(NodeId, u64); 1]>,
    since: u64,
}

impl Entry {
    fn change(&mut self, node: NodeId, change: &PresenceChange) {
        self.nodes.retain(|(known, _)| *known != node);
        if change.online {
            self.nodes.push((node, change.as_of));
        }
        self.since = self.since.max(change.as_of);
    }
}

fn state(user: UserId, entry: Option<&Entry>) -> PresenceState {
    PresenceState {
        user,
        online: entry.is_some_and(|e| !e.nodes.is_empty()),
        since: entry.map(|e| e.since),
    }
}

/// One way.
pub trait Candidate: Send + Sync + fmt::Debug {
    /// The states of `people`, as a flush to one watcher needs them.
    fn flush(&self, people: &[UserId]) -> Vec<PresenceState>;
    /// Applies one node's changes. One writer.
    fn apply(&self, node: NodeId, changes: &[PresenceChange]);
}

/// Name and maker.
pub type Maker = (&'static str, fn() -> Box<dyn Candidate>);

/// All candidates.
pub const CANDIDATES: [Maker; 6] = [
    ("papaya", || Box::<Product>::default()),
    ("papaya-pin-each", || Box::<PinEach>::default()),
    ("dashmap", || Box::<Dash>::default()),
    ("rwlock-stripes", || Box::<Stripes>::default()),
    ("snapshot", || Box::<Snapshot>::default()),
    ("snapshot-stripes", || Box::<SnapshotStripes>::default()),
];

/// What the broker has: papaya, entered once per flush.
#[derive(Debug, Default)]
struct Product(PresenceMap);

impl Candidate for Product {
    fn flush(&self, people: &[UserId]) -> Vec<PresenceState> {
        self.0.states(people)
    }

    fn apply(&self, node: NodeId, changes: &[PresenceChange]) {
        self.0.apply(node, changes);
    }
}

/// What it had before: papaya, entered for each person.
#[derive(Debug, Default)]
struct PinEach(PresenceMap);

impl Candidate for PinEach {
    fn flush(&self, people: &[UserId]) -> Vec<PresenceState> {
        people.iter().map(|user| self.0.state(*user)).collect()
    }

    fn apply(&self, node: NodeId, changes: &[PresenceChange]) {
        self.0.apply(node, changes);
    }
}

/// Striped read-write locks, somebody else's.
#[derive(Debug, Default)]
struct Dash(dashmap::DashMap<UserId, Entry, RandomState>);

impl Candidate for Dash {
    fn flush(&self, people: &[UserId]) -> Vec<PresenceState> {
        people.iter().map(|user| state(*user, self.0.get(user).as_deref())).collect()
    }

    fn apply(&self, node: NodeId, changes: &[PresenceChange]) {
        for change in changes {
            self.0.entry(change.user).or_default().change(node, change);
        }
    }
}

type Plain = HashMap<UserId, Entry, RandomState>;

/// Stripes of [`Stripes`]: enough that a reader and the writer seldom meet.
const STRIPES: usize = 64;
/// Stripes of [`SnapshotStripes`]: about a hundred users in each, so that a change copies little.
const SNAPSHOT_STRIPES: usize = 1_024;

fn stripe(hasher: &RandomState, user: UserId, stripes: usize) -> usize {
    (hasher.hash_one(user) >> 32) as usize % stripes
}

/// Striped read-write locks of the standard library.
#[derive(Debug)]
struct Stripes {
    hasher: RandomState,
    stripes: Vec<RwLock<Plain>>,
}

impl Default for Stripes {
    fn default() -> Self {
        Self {
            hasher: RandomState::default(),
            stripes: (0..STRIPES).map(|_| RwLock::default()).collect(),
        }
    }
}

impl Candidate for Stripes {
    fn flush(&self, people: &[UserId]) -> Vec<PresenceState> {
        let shown = |user: &UserId| {
            let stripe = &self.stripes[stripe(&self.hasher, *user, STRIPES)];
            state(*user, stripe.read().unwrap_or_else(PoisonError::into_inner).get(user))
        };
        people.iter().map(shown).collect()
    }

    fn apply(&self, node: NodeId, changes: &[PresenceChange]) {
        for change in changes {
            let stripe = &self.stripes[stripe(&self.hasher, change.user, STRIPES)];
            let mut users = stripe.write().unwrap_or_else(PoisonError::into_inner);
            users.entry(change.user).or_default().change(node, change);
        }
    }
}

/// One map that is never changed: each batch publishes a new one.
#[derive(Debug, Default)]
struct Snapshot(ArcSwap<Plain>);

impl Candidate for Snapshot {
    fn flush(&self, people: &[UserId]) -> Vec<PresenceState> {
        let users = self.0.load();
        people.iter().map(|user| state(*user, users.get(user))).collect()
    }

    fn apply(&self, node: NodeId, changes: &[PresenceChange]) {
        let mut users = Plain::clone(&self.0.load());
        for change in changes {
            users.entry(change.user).or_default().change(node, change);
        }
        self.0.store(Arc::new(users));
    }
}

/// The same in stripes: each batch copies those that it touches.
#[derive(Debug)]
struct SnapshotStripes {
    hasher: RandomState,
    stripes: Vec<ArcSwap<Plain>>,
}

impl Default for SnapshotStripes {
    fn default() -> Self {
        Self {
            hasher: RandomState::default(),
            stripes: (0..SNAPSHOT_STRIPES).map(|_| ArcSwap::default()).collect(),
        }
    }
}

impl Candidate for SnapshotStripes {
    fn flush(&self, people: &[UserId]) -> Vec<PresenceState> {
        let shown = |user: &UserId| {
            let users = self.stripes[stripe(&self.hasher, *user, SNAPSHOT_STRIPES)].load();
            state(*user, users.get(user))
        };
        people.iter().map(shown).collect()
    }

    fn apply(&self, node: NodeId, changes: &[PresenceChange]) {
        let place = |change: &PresenceChange| stripe(&self.hasher, change.user, SNAPSHOT_STRIPES);
        let mut sorted: Vec<(usize, &PresenceChange)> =
            changes.iter().map(|change| (place(change), change)).collect();
        sorted.sort_by_key(|(place, _)| *place);
        for run in sorted.chunk_by(|(a, _), (b, _)| a == b) {
            let stripe = &self.stripes[run[0].0];
            let mut users = Plain::clone(&stripe.load());
            for (_, change) in run {
                users.entry(change.user).or_default().change(node, change);
            }
            stripe.store(Arc::new(users));
        }
    }
}

/// Fills a candidate: everybody is known, two thirds are online, on one of four nodes.
pub fn fill(candidate: &dyn Candidate) {
    for node in 0..4 {
        let mine = (1..=USERS).filter(|user| user % 4 == node);
        let changes: Vec<PresenceChange> = mine
            .map(|user| PresenceChange { user: UserId(user), online: user % 3 != 0, as_of: user })
            .collect();
        candidate.apply(NodeId(node), &changes);
    }
}

/// Random people and changes, the same for every candidate.
#[derive(Debug)]
pub struct Workload(Pcg64Mcg);

impl Workload {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(Pcg64Mcg::seed_from_u64(seed))
    }

    fn user(&mut self) -> UserId {
        UserId(self.0.random_range(1..=USERS))
    }

    /// One watch list.
    pub fn people(&mut self) -> Vec<UserId> {
        (0..PEOPLE).map(|_| self.user()).collect()
    }

    /// One batch of one node.
    pub fn changes(&mut self) -> (NodeId, Vec<PresenceChange>) {
        let node = NodeId(self.0.random_range(0..4));
        let change = |work: &mut Self| PresenceChange {
            user: work.user(),
            online: work.0.random(),
            as_of: work.0.random_range(0..1_000_000),
        };
        (node, (0..CHANGES).map(|_| change(self)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_candidates_say_the_same() {
        let (mut work, mut first) = (Workload::new(1), None);
        let batches: Vec<_> = (0..20).map(|_| work.changes()).collect();
        let people = work.people();
        for (name, make) in CANDIDATES {
            let candidate = make();
            fill(&*candidate);
            batches.iter().for_each(|(node, changes)| candidate.apply(*node, changes));
            let out = candidate.flush(&people);
            assert_eq!(first.get_or_insert_with(|| out.clone()), &out, "{name}");
        }
    }
}
