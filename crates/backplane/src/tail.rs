//! The Tail: followed batches in memory, found again by conversation and by user.
//!
//! Owns: everything above W and a while behind it. Never does: IO, clocks (time is passed in). Talks to: nobody.
//! Start reading at: [`Tail::since`].

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use foldhash::fast::RandomState;
use protocol::{ConversationId, Pos, UserId, limits};

use crate::{Batch, Logged};

/// Bytes ([`Batch::cost`]) kept behind W.
pub const TAIL_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Milliseconds kept behind W.
pub const TAIL_MS_MAX: u64 = limits::DEDUPE_MS;

/// One event inside a shared batch.
#[derive(Debug, Clone)]
pub struct Place {
    /// The batch.
    pub batch: Arc<Batch>,
    /// Index into its events.
    pub index: usize,
}

impl Place {
    /// The event.
    pub fn event(&self) -> &Logged {
        &self.batch.events[self.index]
    }
}

/// Answer of [`Tail::since`].
#[derive(Debug)]
pub struct Page {
    /// In log order.
    pub events: Vec<Place>,
    /// Everything up to here is in `events` or is not theirs.
    pub reached: u64,
}

/// `(n of the batch, index in it)`, in order.
type Index = VecDeque<(u64, u32)>;

/// Followed batches of one partition.
#[derive(Debug, Default)]
pub struct Tail {
    epoch: u32,
    batches: VecDeque<Arc<Batch>>,
    bytes: usize,
    /// Everything after this is here.
    before: u64,
    end: u64,
    watermark: u64,
    conversations: HashMap<ConversationId, Index, RandomState>,
    /// Direct conversations by both people, and membership events by everyone they name.
    users: HashMap<UserId, Index, RandomState>,
}

/// The Tail as a process shares it. Readers clone `Arc`s and get out.
#[derive(Debug, Clone, Default)]
pub struct SharedTail(Arc<RwLock<Tail>>);

impl SharedTail {
    /// Many readers.
    pub fn read(&self) -> RwLockReadGuard<'_, Tail> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The follower.
    pub fn write(&self) -> RwLockWriteGuard<'_, Tail> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Users under whose name an event is found besides its conversation.
fn named_users(event: &Logged) -> Vec<UserId> {
    match event.envelope.conversation.direct_members() {
        Some((a, b)) if a == b => vec![a],
        Some((a, b)) => vec![a, b],
        None => event.membership_changes().iter().map(|change| change.user).collect(),
    }
}

impl Tail {
    /// Begins after `before`.
    pub fn start(&mut self, before: Pos) {
        *self = Self { epoch: before.epoch, before: before.n, end: before.n, ..Self::default() };
    }

    /// Adds the next batch.
    pub fn push(&mut self, batch: Arc<Batch>) {
        self.epoch = batch.pos.epoch;
        self.end = batch.pos.n;
        self.bytes += batch.cost();
        for (index, event) in batch.events.iter().enumerate() {
            let place = (batch.pos.n, index as u32);
            self.conversations.entry(event.envelope.conversation).or_default().push_back(place);
            for user in named_users(event) {
                self.users.entry(user).or_default().push_back(place);
            }
        }
        self.batches.push_back(batch);
    }

    /// Moves W and drops what is stored and old, or stored and too much. W of another epoch says nothing of what is here:
    /// numbers begin again with each, and whoever read it may have done so before the Tail began its own.
    pub fn evict(&mut self, watermark: Pos, now_ms: u64) {
        if watermark.epoch == self.epoch {
            self.watermark = self.watermark.max(watermark.n);
        }
        while let Some(front) = self.batches.front() {
            let stored = front.pos.n <= self.watermark;
            let old = front.ts.saturating_add(TAIL_MS_MAX) < now_ms;
            if !stored || !(old || self.bytes > TAIL_BYTES_MAX) {
                return;
            }
            let Some(front) = self.batches.pop_front() else { return };
            self.bytes -= front.cost();
            self.before = front.pos.n;
            for event in &front.events {
                let upto = front.pos.n;
                drop_until(&mut self.conversations, &event.envelope.conversation, upto);
                for user in named_users(event) {
                    drop_until(&mut self.users, &user, upto);
                }
            }
        }
    }

    /// Bytes held, for metrics.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The last batch.
    pub fn end(&self) -> Pos {
        Pos::new(self.epoch, self.end)
    }

    /// Whether everything after `pos` is here.
    pub fn covers(&self, pos: Pos) -> bool {
        pos.epoch == self.epoch && pos.n >= self.before && pos.n <= self.end
    }

    /// Where whoever has heard nothing begins: at W, or at the first batch that is here.
    pub fn start_of_news(&self) -> Pos {
        Pos::new(self.epoch, self.watermark.clamp(self.before, self.end))
    }

    /// All batches after batch `n`, in order.
    pub fn batches_after(&self, n: u64) -> Vec<Arc<Batch>> {
        let first = self.batches.partition_point(|batch| batch.pos.n <= n);
        self.batches.iter().skip(first).cloned().collect()
    }

    fn place(&self, (n, index): (u64, u32)) -> Option<Place> {
        let front = self.batches.front()?.pos.n;
        let batch = self.batches.get(n.checked_sub(front)? as usize)?;
        Some(Place { batch: Arc::clone(batch), index: index as usize })
    }

    /// Events of one conversation with a seq above `after`, at most `limit`, in order.
    pub fn after(&self, conversation: ConversationId, after: u64, limit: usize) -> Vec<Place> {
        let Some(index) = self.conversations.get(&conversation) else { return Vec::new() };
        let seq = |place: &(u64, u32)| self.place(*place).map_or(0, |p| p.event().seq);
        let begin = index.partition_point(|place| seq(place) <= after);
        index.iter().skip(begin).take(limit).filter_map(|place| self.place(*place)).collect()
    }

    /// The newest event of a conversation that is here.
    pub fn last(&self, conversation: ConversationId) -> Option<Place> {
        self.place(*self.conversations.get(&conversation)?.back()?)
    }

    /// How many events [`Self::since`] would return in all.
    pub fn count_since(
        &self,
        after: u64,
        user: UserId,
        groups: impl Iterator<Item = ConversationId>,
    ) -> usize {
        let newer = |index: &Index| index.len() - index.partition_point(|(n, _)| *n <= after);
        self.users.get(&user).map_or(0, newer)
            + groups.filter_map(|id| self.conversations.get(&id)).map(newer).sum::<usize>()
    }

    /// Everything for a user (direct conversations, membership events that name them, and the given groups) after batch
    /// `after` up to batch `upto`, in log order, in whole batches, until `bytes_max` is passed.
    pub fn since(
        &self,
        after: u64,
        upto: u64,
        user: UserId,
        groups: impl Iterator<Item = ConversationId>,
        bytes_max: usize,
    ) -> Page {
        let mut places: Vec<(u64, u32)> = Vec::new();
        let mut take = |index: &Index| {
            let begin = index.partition_point(|(n, _)| *n <= after);
            places.extend(index.iter().skip(begin).take_while(|(n, _)| *n <= upto));
        };
        self.users.get(&user).map(&mut take);
        groups.filter_map(|id| self.conversations.get(&id)).for_each(take);
        places.sort_unstable();
        places.dedup();
        let mut page = Page { events: Vec::new(), reached: upto };
        let mut bytes = 0;
        for place in places {
            if bytes > bytes_max
                && page.events.last().is_some_and(|last: &Place| last.batch.pos.n != place.0)
            {
                page.reached = place.0 - 1;
                return page;
            }
            if let Some(found) = self.place(place) {
                bytes += found.event().envelope.cost();
                page.events.push(found);
            }
        }
        page
    }
}

fn drop_until<K: std::hash::Hash + Eq>(
    map: &mut HashMap<K, Index, RandomState>,
    key: &K,
    upto: u64,
) {
    if let Some(index) = map.get_mut(key) {
        while index.front().is_some_and(|(n, _)| *n <= upto) {
            index.pop_front();
        }
        if index.is_empty() {
            map.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use protocol::{EventKind, Producer};

    use super::*;
    use crate::{Envelope, Key};

    const ADA: UserId = UserId(1);
    const BOB: UserId = UserId(2);
    const CY: UserId = UserId(3);

    fn event(
        conversation: ConversationId,
        seq: u64,
        kind: EventKind,
        body: &'static str,
    ) -> Logged {
        let key = Key { conversation, user: ADA, producer: Producer(1), no: seq };
        let envelope = Envelope::new(key, 0, kind, Bytes::from_static(body.as_bytes()));
        Logged { seq, ordinal: seq, envelope }
    }

    fn tail(batches: Vec<Vec<Logged>>) -> Tail {
        let mut tail = Tail::default();
        tail.start(Pos::new(1, 0));
        for (i, events) in batches.into_iter().enumerate() {
            tail.push(Arc::new(Batch {
                pos: Pos::new(1, i as u64 + 1),
                ts: 1_000 * i as u64,
                events,
            }));
        }
        tail
    }

    fn seqs(page: &Page) -> Vec<(u64, u64)> {
        page.events.iter().map(|p| (p.batch.pos.n, p.event().seq)).collect()
    }

    #[test]
    fn a_resume_finds_direct_talk_groups_and_what_names_the_user_in_log_order_each_once() {
        let (direct, group) = (ConversationId::direct(ADA, BOB), ConversationId::group(7));
        let joins = r#"{"changes":[{"user":"0000000000000002","role":"member"}]}"#;
        let tail = tail(vec![
            vec![
                event(direct, 1, EventKind::Message, "{}"),
                event(group, 4, EventKind::Message, "{}"),
            ],
            vec![event(group, 5, EventKind::Member, joins)],
            vec![
                event(direct, 2, EventKind::Message, "{}"),
                event(group, 6, EventKind::Message, "{}"),
            ],
        ]);
        let bob = tail.since(0, 3, BOB, [group].into_iter(), usize::MAX);
        assert_eq!(seqs(&bob), [(1, 1), (1, 4), (2, 5), (3, 2), (3, 6)]);
        let bob = tail.since(1, 2, BOB, std::iter::empty(), usize::MAX);
        assert_eq!(seqs(&bob), [(2, 5)], "the event that names him, without the group");
        assert!(tail.since(0, 3, CY, std::iter::empty(), usize::MAX).events.is_empty());
        assert_eq!(tail.count_since(1, BOB, std::iter::empty()), 2);
    }

    #[test]
    fn pages_end_at_whole_batches_and_go_on_where_they_ended() {
        let direct = ConversationId::direct(ADA, BOB);
        let batch = |first| {
            vec![
                event(direct, first, EventKind::Message, "{}"),
                event(direct, first + 1, EventKind::Message, "{}"),
            ]
        };
        let tail = tail(vec![batch(1), batch(3), batch(5)]);
        let first = tail.since(0, 3, ADA, std::iter::empty(), 1);
        assert_eq!((seqs(&first).len(), first.reached), (2, 1));
        let rest = tail.since(first.reached, 3, ADA, std::iter::empty(), usize::MAX);
        assert_eq!((seqs(&rest).len(), rest.reached), (4, 3));
    }

    /// W of epoch 1 that was read before the Tail began epoch 2, and W of epoch 2 that comes to a Tail still in epoch 1,
    /// took what is not stored for stored: dropped, and left out of what a shard hears again.
    #[test]
    fn w_of_another_epoch_says_nothing() {
        let direct = ConversationId::direct(ADA, BOB);
        let batch = |epoch, n| {
            let events = vec![event(direct, n, EventKind::Message, "{}")];
            Arc::new(Batch { pos: Pos::new(epoch, n), ts: 0, events })
        };
        for other in [1, 3] {
            let mut tail = Tail::default();
            tail.start(Pos::new(2, 0));
            (1..=3).for_each(|n| tail.push(batch(2, n)));
            tail.evict(Pos::new(2, 1), 0);
            tail.evict(Pos::new(other, 9), TAIL_MS_MAX * 9);
            assert_eq!(tail.start_of_news(), Pos::new(2, 1), "W of epoch {other}");
            assert!(tail.covers(Pos::new(2, 1)), "dropped by W of epoch {other}");
        }
    }

    #[test]
    fn only_what_is_stored_and_old_is_dropped() {
        let direct = ConversationId::direct(ADA, BOB);
        let mut tail =
            tail((1..=3).map(|seq| vec![event(direct, seq, EventKind::Message, "{}")]).collect());
        tail.evict(Pos::new(1, 0), TAIL_MS_MAX * 9);
        assert!(tail.covers(Pos::new(1, 0)), "nothing is stored yet");
        tail.evict(Pos::new(1, 2), TAIL_MS_MAX + 500);
        assert!(
            !tail.covers(Pos::new(1, 0)) && tail.covers(Pos::new(1, 1)),
            "only the first is old"
        );
        assert_eq!(
            tail.after(direct, 0, 9).iter().map(|p| p.event().seq).collect::<Vec<_>>(),
            [2, 3]
        );
        assert_eq!(tail.after(direct, 2, 9).len(), 1);
        assert_eq!(tail.last(direct).map(|p| p.event().seq), Some(3));
    }
}
