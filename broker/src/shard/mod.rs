//! One shard: everything it does is a synchronous function of its state, an input and the time.
//!
//! Owns: connections, local indexes, timers. Never does: IO, clocks, tasks. Talks to: the edge through [`Action`].
//! Start reading at: [`Shard`].

pub mod action;
mod catch_up;
mod connections;
mod delivery;
mod members;
mod publish;
mod records;
mod signals;
#[cfg(test)]
mod tests;
mod timers;
mod users;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    sync::Arc,
};

pub use action::{
    Action, Actions, AppendOutcome, AppendTicket, ConnectionId, Now, Principal, ViewTicket,
    WatchTicket,
};
use backplane::{Cursors, Partition, tail::SharedTail};
use bytes::Bytes;
use foldhash::fast::RandomState;
use protocol::{CloseCode, ConversationId, Pos, ServerFrame, Token, UserId, command::Parser};
use slab::Slab;
use smallvec::SmallVec;
use token::{Claims, TokenRefused};

use self::{
    publish::Unacked,
    records::{Connection, Group, Recent, Stage, User},
};
use crate::{
    config::ShardConfig,
    metrics::{Dropped, NodeMetrics, ShardMetrics},
    presence::PresenceMap,
    websocket::encode::text,
};

type Map<K, V> = HashMap<K, V, RandomState>;

/// Checks a socket token against the clock it is given (Unix seconds).
pub type VerifyToken = Arc<dyn Fn(&str, u64) -> Result<Claims, TokenRefused> + Send + Sync>;

/// One shard. Order of the edge's calls: everything that happened, then [`Self::on_tick`], then do the [`Actions`].
pub struct Shard {
    config: ShardConfig,
    metrics: Arc<ShardMetrics>,
    node_metrics: Arc<NodeMetrics>,
    /// One per partition; each is pushed to *before* the node's ring.
    tails: Vec<SharedTail>,
    presence: Arc<PresenceMap>,
    verify: VerifyToken,
    /// Away while a command that borrows from its buffers is carried out.
    parser: Option<Parser>,
    random: u64,
    generation: u32,
    connections: Slab<Connection>,
    users: Slab<User>,
    user_index: Map<UserId, u32>,
    groups: Slab<Group>,
    group_index: Map<ConversationId, u32>,
    /// What the ring was read up to, one per partition.
    cursor: Token,
    watermark: Token,
    /// W a while ago, and W at some time since, with that time: the former is behind every view that may be on its way.
    settled: Token,
    settling: (u64, Token),
    members_recent: Map<UserId, SmallVec<[Recent; 1]>>,
    /// Whose, in order.
    recent_order: VecDeque<UserId>,
    unacked: Map<AppendTicket, Unacked>,
    deadlines: VecDeque<(u64, AppendTicket)>,
    /// Publishes that wait for membership news.
    held: Vec<AppendTicket>,
    next_ticket: u64,
    views: Map<ViewTicket, users::Load>,
    watching: Map<ConversationId, SmallVec<[u32; 2]>>,
    watched: Map<UserId, SmallVec<[u32; 2]>>,
    presence_changed: HashSet<u32, RandomState>,
    /// Cursors that wait for the flush, and whether they are for the user alone.
    receipts: Map<(ConversationId, UserId, bool), Cursors>,
    unstored: HashSet<u32, RandomState>,
    /// Users in their grace, and until when.
    in_grace: Map<UserId, u64>,
    /// The same in order of time, with those who came back meanwhile.
    grace_order: VecDeque<(u64, UserId)>,
    wheel: timers::Wheel,
    flushed_ms: u64,
    drain: VecDeque<(u64, ConnectionId)>,
    draining: bool,
    ladder: u8,
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard")
            .field("connections", &self.connections.len())
            .finish_non_exhaustive()
    }
}

impl Shard {
    /// An empty shard whose ring reader starts after `cursor` (one position per partition). `seed`: of its jitter.
    pub fn new(
        config: ShardConfig,
        tails: Vec<SharedTail>,
        cursor: Vec<Pos>,
        presence: Arc<PresenceMap>,
        verify: VerifyToken,
        seed: u64,
    ) -> Self {
        Self {
            config,
            metrics: Arc::default(),
            node_metrics: Arc::default(),
            tails,
            presence,
            verify,
            parser: Some(Parser::default()),
            random: seed,
            generation: 0,
            connections: Slab::new(),
            users: Slab::new(),
            user_index: Map::default(),
            groups: Slab::new(),
            group_index: Map::default(),
            watermark: Token(vec![Pos::default(); cursor.len()]),
            settled: Token(vec![Pos::default(); cursor.len()]),
            settling: (0, Token(vec![Pos::default(); cursor.len()])),
            cursor: Token(cursor),
            members_recent: Map::default(),
            recent_order: VecDeque::new(),
            unacked: Map::default(),
            deadlines: VecDeque::new(),
            held: Vec::new(),
            next_ticket: 0,
            views: Map::default(),
            watching: Map::default(),
            watched: Map::default(),
            presence_changed: HashSet::default(),
            receipts: Map::default(),
            unstored: HashSet::default(),
            in_grace: Map::default(),
            grace_order: VecDeque::new(),
            wheel: timers::Wheel::default(),
            flushed_ms: 0,
            drain: VecDeque::new(),
            draining: false,
            ladder: 0,
        }
    }

    /// Counts into these from now on.
    pub fn with_metrics(mut self, shard: Arc<ShardMetrics>, node: Arc<NodeMetrics>) -> Self {
        self.metrics = shard;
        self.node_metrics = node;
        self
    }

    /// Open connections.
    pub fn n_connections(&self) -> usize {
        self.connections.len()
    }

    /// Publishes that wait for their outcome.
    pub fn n_unacked(&self) -> usize {
        self.unacked.len()
    }

    /// Who is connected, for the check of revocations that were missed.
    pub fn principals(&self) -> impl Iterator<Item = Principal> + '_ {
        self.connections.iter().map(|(_, connection)| connection.principal)
    }

    /// Gives up this shard's share in the presence of its users, for the supervisor of one that ended. Returns those
    /// whom nobody on the node has any more, and of whom others may know.
    pub fn abandon_presence(&self) -> Vec<UserId> {
        let here = self.users_with_names().map(|(user, record)| (user, record.flags.hidden));
        let in_grace = self.in_grace.keys().map(|user| (*user, false));
        let gone = here.chain(in_grace).filter(|(user, _)| self.presence.local_down(*user));
        gone.filter(|(_, hidden)| !hidden).map(|(user, _)| user).collect()
    }

    fn users_with_names(&self) -> impl Iterator<Item = (UserId, &User)> {
        self.user_index
            .iter()
            .filter_map(|(user, index)| Some((*user, self.users.get(*index as usize)?)))
    }

    /// Publishes that may wait at most.
    pub fn unacked_max(&self) -> usize {
        self.config.unacked_max
    }

    /// What the ring was read up to.
    pub fn cursor(&self) -> &[Pos] {
        &self.cursor.0
    }

    /// The step of the overload ladder.
    pub fn ladder(&self) -> u8 {
        self.ladder
    }

    /// Sets the overload ladder, 0–3.
    pub fn set_ladder(&mut self, step: u8) {
        self.ladder = step;
    }

    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// SplitMix64: jitter needs no more, and the simulator replays it from the seed.
    fn jitter(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below.max(1)
    }

    fn slot(&self, id: ConnectionId) -> Option<u32> {
        let slot = id.0 as u32;
        (self.connections.get(slot as usize)?.id == id).then_some(slot)
    }

    fn partition_of(&self, conversation: ConversationId) -> Partition {
        self.config.log.partition_of(conversation)
    }

    /// Queues a frame. The one place that closes for slowness.
    fn push(&mut self, slot: u32, frame: Bytes, droppable: bool, now: Now, actions: &mut Actions) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        if matches!(connection.stage, Stage::Closing) {
            return;
        }
        let (events, bytes) = (self.config.outbox_events_max, self.config.outbox_bytes_max);
        match connection.outbox.push(frame, droppable, events, bytes) {
            Ok(true) => {
                connection.said_ms = now.mono_ms;
                if !connection.woken {
                    connection.woken = true;
                    actions.push(Action::Wake(connection.id));
                }
            }
            Ok(false) => self.metrics.dropped[Dropped::QueueFull as usize].add(1),
            Err(_) => {
                self.metrics.dropped[Dropped::SlowConsumer as usize].add(1);
                self.close(slot, CloseCode::SlowConsumer, actions);
            }
        }
    }

    fn send(&mut self, slot: u32, frame: &ServerFrame, now: Now, actions: &mut Actions) {
        self.push(slot, encode(frame), false, now, actions);
    }

    fn close(&mut self, slot: u32, code: CloseCode, actions: &mut Actions) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        if !matches!(connection.stage, Stage::Closing) {
            connection.stage = Stage::Closing;
            actions.push(Action::Close { connection: connection.id, code });
        }
    }
}

/// Header and JSON of a frame that is not on the fan-out path.
fn encode(frame: &ServerFrame) -> Bytes {
    let json = serde_json::to_vec(frame)
        .expect("invariant: server frames are plain structs with string keys");
    text(&json)
}
