//! The api's side of the simulation: who is in what, reads by seq, membership changes, and two persisters.
//!
//! The persisters are what they are in the product: followers that store and then move W, of which a later one may take over
//! while the earlier one still runs. Reads know the log's end, as the api does through its Tail, but serve events from the
//! archive only, so that clients meet a store that lags. Start reading at [`Office::work`].

use std::{collections::BTreeMap, sync::Arc};

use backplane::{
    AppendError, Archive, Batch, Envelope, Key, Lease, Log, Membership, StoredEvent, Verdict,
    memory_archive::MemoryArchive,
    sequencer::EPOCH_SKIP,
    sim::{Random, SimLog, Ticket},
};
use bytes::Bytes;
use loadtest::{
    history::{Delivery, Slot},
    stamp::Stamp,
};
use protocol::{
    ConversationId, EventKind, Pos, Producer, Role, UserId,
    body::{CreatedBody, HistoryAccess, MemberBody, MemberChange, MessageBody, canonical},
};

use crate::{
    Mutant,
    node::pick,
    world::{Around, at_once},
};

/// The name of the persisters among the nodes of the log.
pub(crate) const OFFICE: u64 = 1 << 32;
/// Users; the first one owns every group and stays.
pub(crate) const USERS: u64 = 6;
const GROUPS: u64 = 3;
const OWNER: UserId = UserId(1);
/// Wait between tries of an append without verdicts.
const RETRY_MS: u64 = 30;
/// Batches that a persister stores at a time.
const STORE_MAX: u64 = 4;

/// An answer of `GET …/events?after=`.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) slots: Vec<Delivery>,
    /// Of the conversation, as the log has it.
    pub(crate) head: u64,
}

/// Where the log stands, whatever the store has.
#[derive(Default)]
struct Directory {
    heads: BTreeMap<ConversationId, u64>,
    members: BTreeMap<(ConversationId, UserId), Membership>,
}

struct Operation {
    envelope: Envelope,
    ticket: Option<Ticket>,
    not_before_ms: u64,
}

pub(crate) struct Office {
    /// Direct ones and groups.
    pub(crate) conversations: Vec<ConversationId>,
    operations: Vec<Operation>,
    /// Taken by the log, and not stored yet when last looked at.
    kept: Vec<(Pos, Envelope)>,
    run: u64,
    /// By verdicts.
    told_of: Pos,
    produced: u64,
    persisters: [Option<Lease>; 2],
    /// The Tail of the api: what it has stored and may have to give back.
    tail: Vec<Arc<Batch>>,
    /// Who was added last, so that the world can make them connect just then.
    pub(crate) added: Option<UserId>,
}

impl Office {
    /// What stands in for the office while it works itself.
    pub(crate) fn vacant() -> Self {
        Self {
            conversations: Vec::new(),
            operations: Vec::new(),
            kept: Vec::new(),
            run: 0,
            told_of: Pos::default(),
            produced: 0,
            persisters: [None; 2],
            tail: Vec::new(),
            added: None,
        }
    }

    /// Everything is created at the start of the run, through the log.
    pub(crate) fn new(random: &mut Random) -> Self {
        let mut office = Self::vacant();
        for (a, b) in [(1, 2), (2, 3), (3, 3), (4, 1)] {
            let id = ConversationId::direct(UserId(a), UserId(b));
            office.create(id, vec![UserId(a), UserId(b)]);
        }
        for number in 0..GROUPS {
            let mut members = vec![OWNER];
            members.extend((2..=USERS).map(UserId).filter(|_| random.per_mille(500)));
            office.create(ConversationId::group(u128::from(number)), members);
        }
        office
    }

    fn create(&mut self, conversation: ConversationId, mut users: Vec<UserId>) {
        users.dedup();
        let role = |user: UserId| if user == OWNER { Role::Owner } else { Role::Member };
        let change = |user: UserId| MemberChange { user, role: Some(role(user)), since: 1 };
        let members = users.into_iter().map(change).collect();
        let body = CreatedBody { title: None, history: HistoryAccess::Joined, members };
        let from = conversation.direct_members().map_or(OWNER, |(a, _)| a);
        self.conversations.push(conversation);
        self.ask(conversation, from, EventKind::Created, canonical(&body));
    }

    /// An append over HTTP: a fresh producer, with no = 1.
    fn ask(&mut self, conversation: ConversationId, user: UserId, kind: EventKind, body: Vec<u8>) {
        self.produced += 1;
        let key = Key { conversation, user, producer: Producer(self.produced), no: 1 };
        let envelope = Envelope::new(key, 0, kind, Bytes::from(body));
        self.operations.push(Operation { envelope, ticket: None, not_before_ms: 0 });
    }

    pub(crate) fn work(&mut self, around: &mut Around<'_>) {
        match around.random.below(8) {
            0..=2 => self.append(around),
            3 if !around.settles && self.operations.is_empty() => self.change_members(around),
            4..=7 => self.persist(around.random.below(2) as usize, around),
            _ => {}
        }
    }

    pub(crate) fn work_all(&mut self, around: &mut Around<'_>) {
        (0..6).for_each(|_| self.append(around));
        (0..4).for_each(|_| self.persist(0, around));
    }

    fn rejoin(&mut self, around: &Around<'_>) {
        let (log, stored) = (around.log, around.archive.stored());
        let unheard = around.mutant == Mutant::PersisterUnheard;
        let seen = if unheard { Pos::default() } else { self.told_of.max(stored) };
        let Ok(admitted) = at_once(log.rejoin(0, OFFICE, seen, log.watermark())) else { return };
        let tail = || self.tail.iter().filter(|batch| batch.pos.epoch == stored.epoch).cloned();
        let restore = |lease| at_once(log.restore(0, tail().collect(), lease));
        let restored = admitted.restore.map(restore);
        if restored.is_none_or(|restored| restored.is_ok()) && !log.is_fenced() {
            self.run = log.run();
            self.ask_again(log.end().epoch);
        }
    }

    /// What an epoch that is over may have lost is appended again before anything else (`api/src/appender.rs`).
    fn ask_again(&mut self, epoch: u32) {
        let (lost, rest) = self.kept.drain(..).partition(|(pos, _)| pos.epoch < epoch);
        self.kept = rest;
        let lost: Vec<(Pos, Envelope)> = lost;
        let again = |(_, envelope)| Operation { envelope, ticket: None, not_before_ms: 0 };
        // What is under way stays under way: it is the first.
        let at = self.operations.iter().take_while(|operation| operation.ticket.is_some()).count();
        self.operations.splice(at..at, lost.into_iter().map(again));
    }

    fn append(&mut self, around: &mut Around<'_>) {
        let (log, now_ms) = (around.log, around.now.mono_ms);
        if self.run != log.run() {
            return self.rejoin(around);
        }
        let Some(operation) = self.operations.first_mut() else { return };
        let Some(ticket) = operation.ticket else {
            if operation.not_before_ms <= now_ms {
                let envelope = std::slice::from_ref(&operation.envelope);
                operation.ticket = Some(log.submit(self.run, envelope));
            }
            return;
        };
        let Some(answer) = log.take(ticket) else { return };
        operation.ticket = None;
        operation.not_before_ms = now_ms + RETRY_MS;
        match answer.map(|verdicts| verdicts[0]) {
            // The api authorises again, and finds that it may: the owner stays.
            Ok(Verdict::StaleMembership { mver })
                if operation.envelope.kind != EventKind::Created =>
            {
                operation.envelope.mver = mver;
            }
            Ok(verdict) => {
                if let Verdict::Stored { pos, .. } | Verdict::Dup { pos, .. } = verdict {
                    self.told_of = self.told_of.max(pos);
                    self.kept.push((pos, operation.envelope.clone()));
                }
                self.operations.remove(0);
            }
            Err(AppendError::Unknown | AppendError::NotStored { .. }) => {}
            Err(AppendError::Fenced { .. }) => self.rejoin(around),
        }
    }

    /// Somebody is added, removed, or given another role; now and then two at once.
    fn change_members(&mut self, around: &mut Around<'_>) {
        let Some(directory) = self.directory(around.log, around.archive) else { return };
        let groups: Vec<_> = self.conversations.iter().filter(|id| id.is_group()).collect();
        let Some(&&group) = pick(&groups, around.random) else { return };
        // One group shows everything to whoever joins, the others what comes after.
        let since = u64::from(group == ConversationId::group(0));
        let mut changes: Vec<MemberChange> = Vec::new();
        for _ in 0..1 + around.random.below(2) {
            let user = UserId(2 + around.random.below(USERS - 1));
            let known = directory.members.get(&(group, user)).and_then(|known| known.role);
            let role = match known {
                Some(_) if around.random.per_mille(800) => None,
                Some(_) => Some(Role::Admin),
                None => Some(Role::Member),
            };
            if changes.iter().all(|change| change.user != user) {
                changes.push(MemberChange { user, role, since });
                if known.is_none() {
                    self.added = Some(user);
                }
            }
        }
        self.ask(group, OWNER, EventKind::Member, canonical(&MemberBody { changes }));
    }

    fn persist(&mut self, who: usize, around: &mut Around<'_>) {
        let (log, archive) = (around.log, around.archive);
        if around.store_away || log.is_fenced() || self.run != log.run() {
            return;
        }
        let Some(lease) = self.persisters[who] else {
            if self.persisters[1 - who].is_none() || around.random.per_mille(100) {
                self.persisters[who] = at_once(log.lease(0)).ok();
            }
            return;
        };
        let count = 1 + around.random.below(STORE_MAX) as usize;
        let stored = archive.stored();
        self.kept.retain(|(pos, _)| pos.epoch != stored.epoch || pos.n > stored.n);
        let page = at_once(log.read(0, archive.stored(), usize::MAX)).unwrap_or_default();
        for batch in page.iter().take(count) {
            archive.store(batch);
            self.tail.push(Arc::clone(batch));
        }
        let stored = archive.stored();
        if stored.epoch == log.end().epoch && around.random.per_mille(600) {
            // A zombie is refused; it has changed nothing.
            if at_once(log.advance(0, stored, lease)).is_err() {
                self.persisters[who] = None;
            }
            if around.random.per_mille(200) {
                let upto = at_once(log.trimmable(0)).unwrap_or_default();
                let _ = at_once(log.trim(0, upto));
            }
        }
    }

    /// The store, and what of the log is not stored yet. `None`: the store is away.
    fn directory(&self, log: &SimLog, archive: &MemoryArchive) -> Option<Directory> {
        let mut directory = Directory::default();
        for conversation in &self.conversations {
            if let Some(head) = at_once(archive.head(*conversation)).ok()? {
                directory.heads.insert(*conversation, head.seq);
            }
        }
        for user in (1..=USERS).map(UserId) {
            for membership in at_once(archive.view(user)).ok()?.groups {
                directory.members.insert((membership.conversation, user), membership);
            }
        }
        let news = at_once(log.read(0, archive.stored(), usize::MAX)).ok()?;
        for event in news.iter().flat_map(|batch| &batch.events) {
            let conversation = event.envelope.conversation;
            let head = directory.heads.entry(conversation).or_default();
            if *head >= event.seq {
                continue;
            }
            *head = event.seq;
            if !conversation.is_group() {
                continue;
            }
            for change in event.membership_changes() {
                let known = directory.members.get(&(conversation, change.user));
                let since = match known {
                    Some(known) if known.role.is_some() => known.since.min(change.since),
                    _ => change.since,
                };
                let (role, mver) = (change.role, event.seq);
                let membership = Membership { conversation, role, since, mver, group: None };
                directory.members.insert((conversation, change.user), membership);
            }
        }
        Some(directory)
    }

    /// `GET /api/conversations`: the user's own, with their heads.
    pub(crate) fn heads(
        &self,
        user: UserId,
        log: &SimLog,
        archive: &MemoryArchive,
    ) -> Option<Vec<(ConversationId, u64)>> {
        let directory = self.directory(log, archive)?;
        let mine = |id: &ConversationId| since(&directory, *id, user).is_some();
        Some(
            directory
                .heads
                .iter()
                .map(|(id, head)| (*id, *head))
                .filter(|(id, _)| mine(id))
                .collect(),
        )
    }

    /// `GET …/events?after=`: the contiguous slots from `after` + 1 that the store has. `Some(None)`: not a member.
    pub(crate) fn events(
        &self,
        user: UserId,
        conversation: ConversationId,
        after: u64,
        log: &SimLog,
        archive: &MemoryArchive,
    ) -> Option<Option<Page>> {
        let directory = self.directory(log, archive)?;
        let Some(since) = since(&directory, conversation, user) else { return Some(None) };
        let head = directory.heads.get(&conversation).copied().unwrap_or(0);
        let mut slots = Vec::new();
        if after + 1 < since {
            slots.push(Delivery { epoch: 1, seq: after + 1, slot: Slot::HoleTo(since - 1) });
        }
        let from = since.max(after + 1);
        let events = at_once(archive.range(conversation, from, u64::MAX)).ok()?;
        slots.extend(slots_of(from, &events));
        Some(Some(Page { slots, head }))
    }

    pub(crate) fn busy(&self, around: &Around<'_>) -> bool {
        !self.operations.is_empty() || around.archive.stored() != around.log.watermark()
    }
}

fn since(directory: &Directory, conversation: ConversationId, user: UserId) -> Option<u64> {
    if !conversation.is_group() {
        return conversation.names(user).then_some(1);
    }
    let membership = directory.members.get(&(conversation, user))?;
    membership.role.map(|_| membership.since)
}

/// Stored events as slots, from `next` on. What a new epoch left out is a hole; nothing else is.
pub(crate) fn slots_of(mut next: u64, events: &[StoredEvent]) -> Vec<Delivery> {
    let mut slots = Vec::new();
    for event in events {
        let (epoch, seq) = (event.epoch, event.seq);
        if seq > EPOCH_SKIP && seq - next >= EPOCH_SKIP - 1 {
            slots.push(Delivery { epoch, seq: next, slot: Slot::HoleTo(seq - 1) });
        }
        let slot = match event.kind {
            None => Slot::HoleTo(seq),
            Some(EventKind::Message) => {
                let body = serde_json::from_slice::<MessageBody<'_>>(&event.body).ok();
                let stamp = body.and_then(|body| Stamp::parse(&body.text));
                stamp.map_or(Slot::Corrupt, |stamp| Slot::Message(stamp.id))
            }
            Some(_) => Slot::Other,
        };
        slots.push(Delivery { epoch, seq, slot });
        next = seq + 1;
    }
    slots
}
