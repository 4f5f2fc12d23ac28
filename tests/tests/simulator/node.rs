//! One broker node of the simulation: real shards, Tail and ring; the edge around them done step by step.
//!
//! What `broker::host` and the node's tasks do on threads happens here one small job at a time, in an order that the seed
//! decides. Start reading at [`Node::work`].

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use backplane::{
    AppendError, Archive, ArchiveError, Envelope, Found, Gap, Head, Key, Log, Verdict, View,
    ring::{Reader, Ring},
    sim::{Random, SimFollower, Ticket},
    tail::SharedTail,
};
use broker::{
    config::{Mutation, ShardConfig},
    presence::PresenceMap,
    shard::{
        Action, Actions, AppendOutcome, AppendTicket, ConnectionId, Now, Principal, Shard,
        ViewTicket,
    },
};
use protocol::{CloseCode, ConversationId, Pos, SessionId, UserId};

use crate::{
    Mutant,
    world::{Around, at_once},
};

/// Shards of a node.
const SHARDS: usize = 2;
/// Small, so that shards do fall off it.
const RING_SLOTS: usize = 24;
/// Wait between tries of an append without verdicts.
const RETRY_MS: u64 = 50;
/// A tenth of the product's, as the leases are.
const YOUNG_MS: u64 = backplane::standing::YOUNG.as_millis() as u64 / 10;
/// A question that has no answer by then is answered with an error.
const LOOKUP_MS: u64 = 5_000;
/// An append request that is late arrives after the node has given up on it, in per mille.
const LATE: u16 = 30;
/// Tokens of the simulation do not expire.
const EXPIRES_MS: u64 = 1 << 45;

/// What comes down a connection.
#[derive(Debug)]
pub(crate) enum Down {
    Text(String),
    Close,
}

/// A connection and what is under way on it.
#[derive(Debug)]
pub(crate) struct Link {
    shard: usize,
    connection: ConnectionId,
    pub(crate) up: VecDeque<String>,
    pub(crate) down: VecDeque<Down>,
    /// The client left; the node has not noticed.
    pub(crate) gone: bool,
}

struct Request {
    shard: usize,
    ticket: AppendTicket,
    envelope: Envelope,
}

struct InFlight {
    requests: Vec<Request>,
    ticket: Option<Ticket>,
    unknown: bool,
    not_before_ms: u64,
}

enum Mail {
    Verdict(AppendTicket, AppendOutcome),
    Watermark(Pos),
    Reposition,
}

enum Ask {
    View(ViewTicket, UserId),
    Authority(AppendTicket, ConversationId, UserId, Option<Option<Head>>),
    Old(AppendTicket, Key),
}

type Answer<T> = Result<T, ArchiveError>;

enum Told {
    View(ViewTicket, Answer<View>),
    Authority(AppendTicket, Answer<(Option<Head>, View)>),
    Old(AppendTicket, Answer<Found>),
}

impl Told {
    /// What came too late.
    fn in_vain(self) -> Self {
        let late = || ArchiveError("no answer in time".to_owned());
        match self {
            Self::View(ticket, _) => Self::View(ticket, Err(late())),
            Self::Authority(ticket, _) => Self::Authority(ticket, Err(late())),
            Self::Old(ticket, _) => Self::Old(ticket, Err(late())),
        }
    }
}

struct Seat {
    shard: Shard,
    reader: Reader,
    mails: VecDeque<Mail>,
}

pub(crate) struct Node {
    pub(crate) id: u64,
    tail: SharedTail,
    ring: Arc<Ring>,
    follower: SimFollower,
    seats: Vec<Seat>,
    run: u64,
    told_of: Pos,
    /// The epoch of the log, and until when it is young: what it lost may come back.
    epoch: (u32, u64),
    queue: VecDeque<Request>,
    in_flight: Option<InFlight>,
    /// By shard, with the time at which they get no answer any more.
    asks: Vec<(usize, u64, Ask)>,
    told: Vec<(usize, u64, Told)>,
    pub(crate) links: BTreeMap<u64, Link>,
    by_connection: BTreeMap<(usize, ConnectionId), u64>,
    next_link: u64,
    pub(crate) paused_until_ms: u64,
    /// Of its wall clock.
    pub(crate) wall_offset_ms: i64,
}

impl Node {
    /// Reads the log into the Tail; each shard hears again what is above W.
    pub(crate) fn start(id: u64, mutation: Option<Mutation>, around: &mut Around<'_>) -> Self {
        let log = around.log;
        let tail = SharedTail::default();
        let mut after = at_once(log.first(0)).unwrap_or_default();
        tail.write().start(after);
        for batch in at_once(log.read(0, after, usize::MAX)).unwrap_or_default() {
            after = batch.pos;
            tail.write().push(batch);
        }
        tail.write().evict(log.watermark(), around.now.wall_ms);
        let ring = Ring::new(RING_SLOTS, usize::MAX);
        let mut config = ShardConfig::new(format!("{id:016x}"), log.info());
        config.mutation = mutation;
        let presence = Arc::<PresenceMap>::default();
        let mut seats = Vec::new();
        for number in 0..SHARDS {
            let reader = ring.reader();
            let shard = Shard::new(
                config.clone(),
                vec![tail.clone()],
                vec![tail.read().start_of_news()],
                Arc::clone(&presence),
                Arc::new(|_, _| Err(token::TokenRefused)),
                id + number as u64,
            );
            seats.push(Seat { shard, reader, mails: VecDeque::new() });
        }
        let mut node = Self {
            id,
            tail,
            ring,
            follower: log.follower(after),
            seats,
            run: 0,
            told_of: Pos::default(),
            epoch: (log.end().epoch, 0),
            queue: VecDeque::new(),
            in_flight: None,
            asks: Vec::new(),
            told: Vec::new(),
            links: BTreeMap::new(),
            by_connection: BTreeMap::new(),
            next_link: 0,
            paused_until_ms: 0,
            wall_offset_ms: 0,
        };
        (0..SHARDS).for_each(|s| node.hear_news(s, around.now));
        node.rejoin(around);
        node
    }

    /// The last position that this node may have shown to anybody.
    pub(crate) fn seen(&self) -> Pos {
        self.tail.read().end()
    }

    /// What of the log this node knows of: followed, or told by a verdict.
    pub(crate) fn knows_of(&self) -> Pos {
        self.told_of.max(self.seen())
    }

    /// A connection of a user, waiting for `hello`.
    pub(crate) fn accept(&mut self, user: UserId, around: &mut Around<'_>) -> u64 {
        let shard = around.random.below(SHARDS as u64) as usize;
        let principal = Principal {
            user,
            session: SessionId(u128::from(user.0)),
            expires_at_ms: EXPIRES_MS,
            issued_at_ms: around.now.wall_ms,
            trusted: false,
        };
        let now = self.now(around.now);
        let connection = self.seats[shard].shard.on_connect(principal, now);
        self.next_link += 1;
        let link =
            Link { shard, connection, up: VecDeque::new(), down: VecDeque::new(), gone: false };
        self.links.insert(self.next_link, link);
        self.by_connection.insert((shard, connection), self.next_link);
        self.next_link
    }

    fn now(&self, now: Now) -> Now {
        Now { wall_ms: now.wall_ms.saturating_add_signed(self.wall_offset_ms), ..now }
    }

    /// One small job, whichever.
    pub(crate) fn work(&mut self, around: &mut Around<'_>) {
        let shard = around.random.below(SHARDS as u64) as usize;
        match around.random.below(16) {
            0..=3 => {
                let links: Vec<u64> = self.links.keys().copied().collect();
                if let Some(id) = pick(&links, around.random) {
                    self.serve(*id, 1 + around.random.below(4) as usize, around.now);
                }
            }
            4..=6 => self.append(around),
            7..=8 => self.follow(around),
            9..=11 => self.run_shard(shard, 1 + around.random.below(3) as usize, around.now),
            12..=13 => self.look_up(around),
            14 => self.tick(shard, around.now),
            _ => self.look_around(around),
        }
    }

    /// Every job once.
    pub(crate) fn work_all(&mut self, around: &mut Around<'_>) {
        self.look_around(around);
        self.follower.probe();
        for _ in 0..8 {
            self.append(around);
            self.follow(around);
            self.look_up(around);
            self.look_up(around);
        }
        for shard in 0..SHARDS {
            self.run_shard(shard, 64, around.now);
            self.tick(shard, around.now);
        }
        for id in self.links.keys().copied().collect::<Vec<_>>() {
            self.serve(id, 64, around.now);
        }
    }

    fn step<R>(
        &mut self,
        shard: usize,
        now: Now,
        work: impl FnOnce(&mut Shard, Now, &mut Actions) -> R,
    ) -> R {
        let mut actions = Actions::new();
        let now = self.now(now);
        let result = work(&mut self.seats[shard].shard, now, &mut actions);
        for action in actions {
            self.perform(shard, action, now);
        }
        result
    }

    fn perform(&mut self, shard: usize, action: Action, now: Now) {
        match action {
            Action::Append { ticket, envelope, .. } => {
                self.queue.push_back(Request { shard, ticket, envelope });
            }
            Action::LoadView { ticket, user } => self.ask(shard, Ask::View(ticket, user), now),
            Action::LoadAuthority { ticket, conversation, user } => {
                self.ask(shard, Ask::Authority(ticket, conversation, user, None), now);
            }
            Action::FindOld { ticket, key } => self.ask(shard, Ask::Old(ticket, key), now),
            Action::Close { connection, code } => self.close(shard, connection, code, now),
            // Output is taken when its link is served; signals may get lost, and do.
            Action::Wake(_)
            | Action::LoadContacts { .. }
            | Action::Publish(_)
            | Action::MergeReceipt(..)
            | Action::Announce(_) => {}
        }
    }

    fn ask(&mut self, shard: usize, ask: Ask, now: Now) {
        self.asks.push((shard, now.mono_ms + LOOKUP_MS, ask));
    }

    fn close(&mut self, shard: usize, connection: ConnectionId, code: CloseCode, now: Now) {
        let Some(id) = self.by_connection.remove(&(shard, connection)) else { return };
        let (mut frames, mut actions) = (Vec::new(), Actions::new());
        let seat = &mut self.seats[shard];
        if code != CloseCode::SlowConsumer {
            while seat.shard.take_output(connection, 1 << 16, &mut frames, now, &mut actions) > 0 {}
        }
        seat.shard.on_disconnect(connection, now);
        if let Some(link) = self.links.get_mut(&id) {
            link.down.extend(frames.iter().filter_map(|frame| text_of(frame)).map(Down::Text));
            link.down.push_back(Down::Close);
        }
    }

    /// Commands in, frames out.
    fn serve(&mut self, id: u64, commands: usize, now: Now) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let (shard, connection) = (link.shard, link.connection);
        if link.gone {
            self.links.remove(&id);
            if self.by_connection.remove(&(shard, connection)).is_some() {
                self.step(shard, now, |shard, now, _| shard.on_disconnect(connection, now));
            }
            return;
        }
        for _ in 0..commands {
            let Some(text) = self.links.get_mut(&id).and_then(|link| link.up.pop_front()) else {
                break;
            };
            let mut bytes = text.into_bytes();
            self.step(shard, now, |shard, now, actions| {
                shard.on_frame(connection, now, actions);
                shard.on_text(connection, &mut bytes, now, actions);
            });
        }
        let mut frames = Vec::new();
        self.step(shard, now, |shard, now, actions| {
            shard.on_bytes_received(connection, now);
            shard.take_output(connection, 1 << 12, &mut frames, now, actions);
        });
        if let Some(link) = self.links.get_mut(&id) {
            link.down.extend(frames.iter().filter_map(|frame| text_of(frame)).map(Down::Text));
        }
    }

    fn append(&mut self, around: &mut Around<'_>) {
        let now_ms = around.now.mono_ms;
        let Some(flight) = &mut self.in_flight else {
            let count = (1 + around.random.below(6) as usize).min(self.queue.len());
            if count > 0 {
                let requests = self.queue.drain(..count).collect();
                let (ticket, unknown, not_before_ms) = (None, false, 0);
                self.in_flight = Some(InFlight { requests, ticket, unknown, not_before_ms });
            }
            return;
        };
        let Some(ticket) = flight.ticket else {
            if flight.not_before_ms > now_ms {
                return;
            }
            let envelopes: Vec<Envelope> =
                flight.requests.iter().map(|request| request.envelope.clone()).collect();
            if around.random.per_mille(around.rate(LATE)) {
                around.late.push((self.run, envelopes));
                flight.unknown = true;
                flight.not_before_ms = now_ms + RETRY_MS;
            } else {
                flight.ticket = Some(around.log.submit(self.run, &envelopes));
            }
            return;
        };
        let Some(answer) = around.log.take(ticket) else { return };
        let (id, requests) = (self.id, &flight.requests);
        around.trace(|| {
            let keys = requests.iter().map(|r| &r.envelope);
            let keys = keys.map(|e| (e.conversation, e.from, e.producer, e.no, e.mver));
            format!("node {id}: {:?} -> {answer:?}", keys.collect::<Vec<_>>())
        });
        flight.ticket = None;
        flight.not_before_ms = now_ms + RETRY_MS;
        let refused = match answer {
            Ok(verdicts) => {
                let told = verdicts.iter().filter_map(Verdict::pos);
                self.told_of = told.fold(self.told_of, Pos::max);
                let unknown = flight.unknown || now_ms < self.epoch.1;
                let outcome = |verdict| match verdict {
                    Verdict::UnknownConversation if unknown => AppendOutcome::Unknown,
                    verdict => AppendOutcome::Verdict(verdict),
                };
                return self.answer(verdicts.into_iter().map(outcome).collect());
            }
            Err(AppendError::Unknown) => {
                flight.unknown = true;
                None
            }
            Err(AppendError::NotStored { retry_after_ms }) => Some(retry_after_ms),
            Err(AppendError::Fenced { .. }) => Some(RETRY_MS),
        };
        if let (false, Some(retry_after_ms)) = (flight.unknown, refused) {
            let count = flight.requests.len();
            self.answer(vec![AppendOutcome::NotStored { retry_after_ms }; count]);
        }
    }

    fn answer(&mut self, outcomes: Vec<AppendOutcome>) {
        let Some(flight) = self.in_flight.take() else { return };
        for (request, outcome) in flight.requests.into_iter().zip(outcomes) {
            self.seats[request.shard].mails.push_back(Mail::Verdict(request.ticket, outcome));
        }
    }

    /// Tells the log what this node has seen; gives it back what it lost.
    fn rejoin(&mut self, around: &Around<'_>) {
        let (log, stored) = (around.log, around.log.watermark());
        let deaf = around.mutant == Mutant::SeenWithoutVerdicts;
        let seen = if deaf { self.seen() } else { self.knows_of() };
        let Ok(admitted) = at_once(log.rejoin(0, self.id, seen, stored)) else { return };
        if let Some(lease) = admitted.restore {
            let batches = self.tail.read().batches_after(stored.n);
            if at_once(log.restore(0, batches, lease)).is_err() {
                return;
            }
        }
        if !log.is_fenced() {
            self.run = log.run();
            let epoch = log.end().epoch;
            if epoch > self.epoch.0 {
                self.epoch = (epoch, around.now.mono_ms + YOUNG_MS);
            }
        }
    }

    fn follow(&mut self, around: &mut Around<'_>) {
        for _ in 0..1 + around.random.below(4) {
            match self.follower.try_next() {
                Ok(None) => return,
                Ok(Some(batch)) => {
                    let before = self.tail.read().end();
                    assert_eq!(batch.pos.n, before.n + 1, "node {} followed over a hole", self.id);
                    self.tail.write().push(Arc::clone(&batch));
                    self.ring.push(0, batch);
                }
                Err(gap) => {
                    let after = match gap {
                        Gap::Closed => return,
                        Gap::Trimmed { first } => Pos::new(first.epoch, first.n.saturating_sub(1)),
                        Gap::EpochChanged { epoch, .. } => Pos::new(epoch, 0),
                    };
                    self.tail.write().start(after);
                    self.follower = around.log.follower(after);
                    self.seats.iter_mut().for_each(|s| s.mails.push_back(Mail::Reposition));
                }
            }
        }
    }

    fn run_shard(&mut self, shard: usize, batches: usize, now: Now) {
        while let Some(mail) = self.seats[shard].mails.pop_front() {
            match mail {
                Mail::Verdict(ticket, outcome) => self.step(shard, now, |shard, now, actions| {
                    shard.on_verdicts(&[(ticket, outcome)], now, actions);
                }),
                Mail::Watermark(pos) => self.seats[shard].shard.on_watermark(0, pos),
                Mail::Reposition => self.reposition(shard, now),
            }
        }
        for _ in 0..batches {
            match self.seats[shard].reader.next() {
                Ok(None) => return,
                Ok(Some((_, batch))) => self.step(shard, now, |shard, now, actions| {
                    if batch.pos > shard.cursor()[0] {
                        shard.on_batch(0, &batch, now, actions);
                    }
                }),
                Err(backplane::ring::Lost) => self.reposition(shard, now),
            }
        }
    }

    fn reposition(&mut self, shard: usize, now: Now) {
        let from = self.tail.read().start_of_news();
        self.step(shard, now, |shard, _, actions| shard.on_ring_lost(vec![from], actions));
        self.hear_news(shard, now);
    }

    fn hear_news(&mut self, shard: usize, now: Now) {
        let from = self.seats[shard].shard.cursor()[0].n;
        let batches = self.tail.read().batches_after(from);
        for batch in &batches {
            self.step(shard, now, |shard, now, actions| shard.on_batch(0, batch, now, actions));
        }
    }

    /// One question is asked, or one answer comes.
    fn look_up(&mut self, around: &mut Around<'_>) {
        if !self.told.is_empty() && (self.asks.is_empty() || around.random.per_mille(500)) {
            let index = around.random.below(self.told.len() as u64) as usize;
            let (shard, deadline_ms, told) = self.told.swap_remove(index);
            let told = if deadline_ms < around.now.mono_ms { told.in_vain() } else { told };
            return self.step(shard, around.now, |shard, now, actions| match told {
                Told::View(ticket, view) => shard.on_view(ticket, view, now, actions),
                Told::Authority(ticket, answer) => {
                    shard.on_authority(ticket, answer, now, actions);
                }
                Told::Old(ticket, found) => shard.on_found(ticket, found, now, actions),
            });
        }
        if self.asks.is_empty() {
            return;
        }
        let index = around.random.below(self.asks.len() as u64) as usize;
        let (shard, deadline_ms, ask) = self.asks.swap_remove(index);
        let archive = around.archive;
        let told = match ask {
            Ask::View(ticket, user) => Told::View(ticket, at_once(archive.view(user))),
            // The head, *then* the view: time passes in between.
            Ask::Authority(ticket, conversation, user, None) => {
                match at_once(archive.head(conversation)) {
                    Err(error) => Told::Authority(ticket, Err(error)),
                    Ok(head) => {
                        let ask = Ask::Authority(ticket, conversation, user, Some(head));
                        return self.asks.push((shard, deadline_ms, ask));
                    }
                }
            }
            Ask::Authority(ticket, _, user, Some(head)) => {
                Told::Authority(ticket, at_once(archive.view(user)).map(|view| (head, view)))
            }
            Ask::Old(ticket, key) => {
                let found = at_once(archive.find(key));
                if let Ok(Found { producer: Some(producer), .. }) = &found {
                    let Key { conversation, user, producer: name, .. } = key;
                    let _ = at_once(around.log.install(conversation, user, name, producer.clone()));
                }
                Told::Old(ticket, found)
            }
        };
        self.told.push((shard, deadline_ms, told));
    }

    fn tick(&mut self, shard: usize, now: Now) {
        self.step(shard, now, |shard, now, actions| shard.on_tick(now, actions));
    }

    /// W, the probe of the follower, and whether the log has started again.
    fn look_around(&mut self, around: &mut Around<'_>) {
        let (log, now) = (around.log, self.now(around.now));
        if self.run != log.run() {
            self.rejoin(around);
        }
        let stored = log.watermark();
        self.tail.write().evict(stored, now.wall_ms);
        for seat in &mut self.seats {
            seat.mails.push_back(Mail::Watermark(stored));
        }
        if around.random.per_mille(300) {
            self.follower.probe();
        }
    }

    /// What is on its way to the log when the node dies may still arrive.
    pub(crate) fn kill(self, around: &mut Around<'_>) {
        around.log.vanish(self.id);
        let unsent = self.in_flight.filter(|flight| flight.ticket.is_none());
        if let Some(flight) = unsent {
            let envelopes = flight.requests.into_iter().map(|request| request.envelope).collect();
            around.late.push((self.run, envelopes));
        }
    }

    /// What has not come to rest.
    pub(crate) fn busy(&self) -> bool {
        !self.queue.is_empty()
            || self.in_flight.is_some()
            || !self.asks.is_empty()
            || !self.told.is_empty()
    }
}

/// The payload of a text frame; nothing for other frames.
fn text_of(frame: &[u8]) -> Option<String> {
    // A beat comes in one piece with its ping.
    let frame = frame.strip_prefix(&[0x89, 0]).unwrap_or(frame);
    let is_text = frame.first()? & 0x0f == 1;
    let begin = match frame.get(1)? {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    is_text.then(|| String::from_utf8_lossy(&frame[begin..]).into_owned())
}

/// One of a list.
pub(crate) fn pick<'a, T>(list: &'a [T], random: &mut Random) -> Option<&'a T> {
    list.get(random.below(list.len() as u64) as usize)
}
