//! The sequencer: validates envelopes and gives each its place. The pure model that every log implementation follows.
//!
//! Owns: heads, membership versions and idempotency state of one partition. Never does: IO, clocks (time is passed in).
//! Talks to: nobody. Start reading at: [`Sequencer::plan`].

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;
use protocol::{ConversationId, EventKind, Pos, Producer, UserId, limits};

use crate::{Batch, Earlier, Envelope, Head, Logged, ProducerState, Verdict};

/// A producer in a conversation: the unit of idempotency.
pub type ProducerKey = (ConversationId, UserId, Producer);

type Map<K, V> = HashMap<K, V, RandomState>;

/// Producers of one generation; one more starts the next early. 100,000 × (48 × 32 + 100) B = 164 MB at the very worst.
pub const PRODUCERS_MAX: usize = 100_000;

/// Seqs that a conversation leaves out at its first append in a later epoch: more than anybody can have seen of what was
/// lost, so that no number means two things.
pub const EPOCH_SKIP: u64 = 1 << 20;

/// A switch that a test throws to prove that the suites notice. Product code never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mutation {
    /// As it should be.
    #[default]
    None,
    /// Forgets what was published.
    DedupeOff,
    /// Takes envelopes whatever membership they were authorised under.
    MverUnchecked,
    /// Answers before the record is written.
    AckBeforeAppend,
    /// A follower steps over what is missing.
    GapUnchecked,
    /// Trim takes any position.
    TrimUnchecked,
    /// Takes a producer's publishes in any order: what becomes of two batches in flight, of which one is tried again.
    NumbersUnchecked,
    /// Appends to whatever data set is there.
    FenceOff,
}

#[derive(Debug, Clone, Copy)]
struct Conversation {
    seq: u64,
    ordinal: u64,
    mver: u64,
    /// Number of the batch that touched it last (0 = seeded): above W it must not be forgotten.
    n: u64,
}

#[derive(Debug, Clone, Default)]
struct Remembered {
    state: ProducerState,
    n: u64,
}

/// State of one partition.
#[derive(Debug, Default)]
pub struct Sequencer {
    epoch: u32,
    conversations: Map<ConversationId, Conversation>,
    /// Producers by the time of their last append: `young` since `rotated_ms`, `old` the generation before.
    young: Map<ProducerKey, Remembered>,
    old: Map<ProducerKey, Remembered>,
    rotated_ms: u64,
    /// In a later epoch: the conversations that have been numbered in it.
    numbered: Option<HashSet<ConversationId, RandomState>>,
    mutation: Mutation,
}

/// What [`Sequencer::plan`] decided. Nothing has happened until [`Sequencer::commit`].
#[derive(Debug)]
pub struct Plan {
    /// One per envelope, in order.
    pub verdicts: Vec<Verdict>,
    /// The batch to write; `None` when no envelope was good.
    pub batch: Option<Batch>,
    conversations: Map<ConversationId, Conversation>,
    producers: Map<ProducerKey, ProducerState>,
}

impl Sequencer {
    /// An empty state.
    pub fn new(epoch: u32, now_ms: u64) -> Self {
        Self { epoch, rotated_ms: now_ms, ..Self::default() }
    }

    /// For tests that prove that a suite catches a mutant.
    pub fn mutate(&mut self, mutation: Mutation) {
        self.mutation = mutation;
    }

    /// This is a later epoch: each conversation but those `numbered` in it already leaves [`EPOCH_SKIP`] seqs out at its
    /// first append.
    pub fn skip_before(&mut self, numbered: HashSet<ConversationId, RandomState>) {
        self.numbered = Some(numbered);
    }

    /// Lifetime of the numbering.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether the head of a conversation is known; if not, the archive has to be asked and [`Self::seed`] called.
    pub fn knows(&self, conversation: ConversationId) -> bool {
        self.conversations.contains_key(&conversation)
    }

    /// Installs a head that the archive knows. What is known already stays.
    pub fn seed(&mut self, conversation: ConversationId, head: Head) {
        let Head { seq, ordinal, mver, .. } = head;
        self.conversations.entry(conversation).or_insert(Conversation { seq, ordinal, mver, n: 0 });
    }

    /// Installs what the archive knows of a producer, if nothing is known here (compare-and-set).
    pub fn install(&mut self, key: ProducerKey, state: ProducerState) {
        if !self.old.contains_key(&key) {
            self.young.entry(key).or_insert(Remembered { state, n: 0 });
        }
    }

    /// Whether anything is known of a producer; if not, and its conversation exists, the archive may know it.
    pub fn knows_producer(&self, key: &ProducerKey) -> bool {
        self.producer(key).is_some()
    }

    fn producer(&self, key: &ProducerKey) -> Option<&ProducerState> {
        self.young.get(key).or_else(|| self.old.get(key)).map(|remembered| &remembered.state)
    }

    /// Validates all envelopes and numbers the good ones as batch `pos`. An envelope sees the effect of those before it.
    ///
    /// `created` of a conversation that exists (under another key) is `StaleMembership{mver}`: it is there, read it.
    /// A conversation that is not known and not born here is `UnknownConversation`: seed it first.
    pub fn plan(&self, envelopes: &[Envelope], pos: Pos, ts: u64) -> Plan {
        let mut plan = Plan {
            verdicts: Vec::with_capacity(envelopes.len()),
            batch: None,
            conversations: Map::default(),
            producers: Map::default(),
        };
        let mut events = Vec::with_capacity(envelopes.len());
        for envelope in envelopes {
            let verdict = self.judge(envelope, &mut plan, &mut events, pos, ts);
            plan.verdicts.push(verdict);
        }
        plan.batch = (!events.is_empty()).then_some(Batch { pos, ts, events });
        plan
    }

    fn judge(
        &self,
        envelope: &Envelope,
        plan: &mut Plan,
        events: &mut Vec<Logged>,
        pos: Pos,
        ts: u64,
    ) -> Verdict {
        let key = (envelope.conversation, envelope.from, envelope.producer);
        let known = plan.producers.get(&key).or_else(|| self.producer(&key));
        if self.mutation != Mutation::DedupeOff
            && let Some(verdict) = self.idempotency(envelope, known)
        {
            return verdict;
        }
        let current = plan
            .conversations
            .get(&envelope.conversation)
            .or_else(|| self.conversations.get(&envelope.conversation))
            .copied();
        let created = envelope.kind == EventKind::Created;
        let before = match (current, created) {
            (None, false) => return Verdict::UnknownConversation,
            (None, true) => Conversation { seq: 0, ordinal: 0, mver: 0, n: 0 },
            (Some(there), true) => return Verdict::StaleMembership { mver: there.mver },
            (Some(there), false)
                if there.mver != envelope.mver && self.mutation != Mutation::MverUnchecked =>
            {
                return Verdict::StaleMembership { mver: there.mver };
            }
            (Some(there), false) => there,
        };
        let mut after = before;
        let skips = self.numbered.as_ref().is_some_and(|numbered| {
            let conversation = &envelope.conversation;
            !numbered.contains(conversation) && !plan.conversations.contains_key(conversation)
        });
        after.seq += if skips && before.seq > 0 { 1 + EPOCH_SKIP } else { 1 };
        after.ordinal += u64::from(envelope.kind == EventKind::Message);
        after.n = pos.n;
        if envelope.kind.changes_membership() && envelope.conversation.is_group() {
            after.mver = after.seq;
        }
        let mut state = known.cloned().unwrap_or_default();
        let (no, hash, seq) = (envelope.no, envelope.hash, after.seq);
        remember(&mut state, Earlier { no, hash, seq, pos, ts });
        plan.conversations.insert(envelope.conversation, after);
        plan.producers.insert(key, state);
        events.push(Logged { seq: after.seq, ordinal: after.ordinal, envelope: envelope.clone() });
        Verdict::Stored { seq: after.seq, pos, ts }
    }

    /// The verdict if the envelope is not the producer's next one.
    fn idempotency(&self, envelope: &Envelope, known: Option<&ProducerState>) -> Option<Verdict> {
        let last = known.map_or(0, |state| state.last);
        if envelope.no == last + 1 {
            return None;
        }
        let Some(state) = known else { return Some(Verdict::OldId) };
        if envelope.no > last {
            return Some(Verdict::OutOfOrder { expected: last + 1 });
        }
        let found = state.recent.iter().rev().find(|earlier| earlier.no == envelope.no);
        Some(match found {
            None => Verdict::OldId,
            Some(&Earlier { hash, seq, pos, ts, .. }) if hash == envelope.hash => {
                // Stored under an earlier epoch, it stands in this one.
                Verdict::Dup { seq, pos: Pos::new(self.epoch, pos.n), ts }
            }
            Some(&Earlier { seq, .. }) => Verdict::Reused { seq },
        })
    }

    /// Makes a plan true. Call it only after the batch is durable.
    pub fn commit(&mut self, plan: Plan) {
        let n = plan.batch.as_ref().map_or(0, |batch| batch.pos.n);
        self.commit_at(plan, n);
    }

    /// Like [`Self::commit`], for a caller that took the batch out of the plan.
    pub fn commit_at(&mut self, plan: Plan, n: u64) {
        if let Some(numbered) = &mut self.numbered {
            numbered.extend(plan.conversations.keys());
        }
        self.conversations.extend(plan.conversations);
        for (key, state) in plan.producers {
            self.old.remove(&key);
            self.young.insert(key, Remembered { state, n });
        }
    }

    /// Takes over a batch that is in the log already (recovery). Batches come in order.
    pub fn replay(&mut self, batch: &Batch) {
        for event in &batch.events {
            let Envelope { conversation, from, producer, no, mver, kind, hash, .. } =
                event.envelope;
            let mver =
                if kind.changes_membership() && conversation.is_group() { event.seq } else { mver };
            let state =
                Conversation { seq: event.seq, ordinal: event.ordinal, mver, n: batch.pos.n };
            self.conversations.insert(conversation, state);
            let key = (conversation, from, producer);
            let mut remembered =
                self.old.remove(&key).or_else(|| self.young.remove(&key)).unwrap_or_default();
            let (seq, pos, ts) = (event.seq, batch.pos, batch.ts);
            remember(&mut remembered.state, Earlier { no, hash, seq, pos, ts });
            remembered.n = batch.pos.n;
            self.young.insert(key, remembered);
        }
    }

    /// Starts a new generation every [`limits::DEDUPE_MS`], or at [`PRODUCERS_MAX`]. What is dropped is wholly at or below W:
    /// the archive answers for it. Until W has passed the old generation, nothing is dropped.
    pub fn rotate(&mut self, now_ms: u64, watermark: Pos) {
        let due = now_ms.saturating_sub(self.rotated_ms) >= limits::DEDUPE_MS
            || self.young.len() >= PRODUCERS_MAX;
        let stored = |n: u64| n <= watermark.n;
        if !due || !self.old.values().all(|remembered| stored(remembered.n)) {
            return;
        }
        self.old = std::mem::take(&mut self.young);
        self.rotated_ms = now_ms;
        let old = &self.old;
        let named: std::collections::HashSet<ConversationId> =
            old.keys().map(|key| key.0).collect();
        self.conversations.retain(|id, state| !stored(state.n) || named.contains(id));
    }

    /// Producers and conversations remembered, for metrics.
    pub fn remembered(&self) -> (usize, usize) {
        (self.young.len() + self.old.len(), self.conversations.len())
    }
}

fn remember(state: &mut ProducerState, earlier: Earlier) {
    if state.recent.len() == limits::DEDUPE_WINDOW {
        state.recent.remove(0);
    }
    if state.recent.capacity() == 0 {
        // Most producers of a quiet hour have one: 48 bytes instead of the 192 that a vector begins with.
        state.recent.reserve_exact(1);
    }
    state.recent.push(earlier);
    state.last = state.last.max(earlier.no);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Key;

    const ADA: UserId = UserId(1);
    const BOB: UserId = UserId(2);

    fn envelope(
        conversation: ConversationId,
        no: u64,
        mver: u64,
        kind: EventKind,
        body: &str,
    ) -> Envelope {
        let key = Key { conversation, user: ADA, producer: Producer(5), no };
        Envelope::new(key, mver, kind, Bytes::copy_from_slice(body.as_bytes()))
    }

    struct Driver {
        sequencer: Sequencer,
        n: u64,
        ts: u64,
    }

    impl Driver {
        fn new() -> Self {
            Self { sequencer: Sequencer::new(1, 0), n: 0, ts: 77 }
        }

        fn append(&mut self, envelopes: &[Envelope]) -> Vec<Verdict> {
            let plan = self.sequencer.plan(envelopes, Pos::new(1, self.n + 1), self.ts);
            self.n += u64::from(plan.batch.is_some());
            let verdicts = plan.verdicts.clone();
            self.sequencer.commit(plan);
            verdicts
        }
    }

    fn stored(seq: u64, n: u64) -> Verdict {
        Verdict::Stored { seq, pos: Pos::new(1, n), ts: 77 }
    }

    fn dup(seq: u64, n: u64) -> Verdict {
        Verdict::Dup { seq, pos: Pos::new(1, n), ts: 77 }
    }

    #[test]
    fn a_conversation_is_born_by_created_and_numbered_densely() {
        let direct = ConversationId::direct(ADA, BOB);
        let mut driver = Driver::new();
        let early = envelope(direct, 1, 0, EventKind::Message, "a");
        assert_eq!(driver.append(&[early]), [Verdict::UnknownConversation]);
        let verdicts = driver.append(&[
            envelope(direct, 1, 0, EventKind::Created, "{}"),
            envelope(direct, 2, 0, EventKind::Message, "a"),
            envelope(direct, 3, 0, EventKind::Reaction, "b"),
        ]);
        assert_eq!(verdicts, [stored(1, 1), stored(2, 1), stored(3, 1)]);
        let again = envelope(direct, 4, 0, EventKind::Created, "{}");
        assert_eq!(driver.append(&[again]), [Verdict::StaleMembership { mver: 0 }]);
    }

    #[test]
    fn the_same_publish_is_a_duplicate_and_the_same_key_with_another_body_is_reused() {
        let direct = ConversationId::direct(ADA, BOB);
        let mut driver = Driver::new();
        driver.append(&[envelope(direct, 1, 0, EventKind::Created, "{}")]);
        let message = envelope(direct, 2, 0, EventKind::Message, "a");
        assert_eq!(driver.append(&[message.clone(), message.clone()]), [stored(2, 2), dup(2, 2)]);
        driver.ts += 9;
        assert_eq!(driver.append(&[message]), [dup(2, 2)]);
        let other = envelope(direct, 2, 0, EventKind::Message, "b");
        assert_eq!(driver.append(&[other]), [Verdict::Reused { seq: 2 }]);
        let gap = envelope(direct, 9, 0, EventKind::Message, "c");
        assert_eq!(driver.append(&[gap]), [Verdict::OutOfOrder { expected: 3 }]);
        assert_eq!(driver.n, 2, "refused envelopes take no place in the log");
    }

    #[test]
    fn a_publish_beyond_the_window_or_of_an_unknown_producer_asks_the_archive() {
        let direct = ConversationId::direct(ADA, BOB);
        let mut driver = Driver::new();
        driver.append(&[envelope(direct, 1, 0, EventKind::Created, "{}")]);
        for no in 2..=40 {
            driver.append(&[envelope(direct, no, 0, EventKind::Message, "m")]);
        }
        assert_eq!(
            driver.append(&[envelope(direct, 3, 0, EventKind::Message, "m")]),
            [Verdict::OldId]
        );
        let mut stranger = envelope(direct, 7, 0, EventKind::Message, "m");
        stranger.producer = Producer(6);
        assert_eq!(driver.append(std::slice::from_ref(&stranger)), [Verdict::OldId]);
        let earlier = Earlier { no: 6, hash: 1, seq: 3, pos: Pos::new(1, 0), ts: 7 };
        let known = ProducerState { last: 6, recent: vec![earlier] };
        driver.sequencer.install((direct, ADA, Producer(6)), known);
        assert_eq!(driver.append(&[stranger]), [stored(41, 41)]);
    }

    /// The ack named the epoch that the archive has, older than that of an ack before: for the client the place was in doubt
    /// again, and no `persisted` of the present epoch settled it (simulator seeds 1378 and 4718).
    #[test]
    fn what_the_archive_tells_of_an_earlier_epoch_is_a_duplicate_in_this_one() {
        let direct = ConversationId::direct(ADA, BOB);
        let mut driver = Driver::new();
        driver.sequencer = Sequencer::new(3, 0);
        driver.sequencer.seed(direct, Head { seq: 3, ordinal: 2, mver: 0, epoch: 1 });
        let message = envelope(direct, 1, 0, EventKind::Message, "m");
        let earlier = Earlier { no: 1, hash: message.hash, seq: 3, pos: Pos::new(1, 0), ts: 7 };
        let known = ProducerState { last: 1, recent: vec![earlier] };
        driver.sequencer.install((direct, ADA, Producer(5)), known);
        let again = Verdict::Dup { seq: 3, pos: Pos::new(3, 0), ts: 7 };
        assert_eq!(driver.append(&[message]), [again]);
    }

    #[test]
    fn a_membership_event_makes_every_older_authorisation_stale() {
        let group = ConversationId::group(9);
        let mut driver = Driver::new();
        driver.append(&[envelope(group, 1, 0, EventKind::Created, "{}")]);
        let verdicts = driver.append(&[
            envelope(group, 2, 1, EventKind::Message, "a"),
            envelope(group, 3, 1, EventKind::Member, "{}"),
            envelope(group, 4, 1, EventKind::Message, "late"),
            envelope(group, 4, 3, EventKind::Message, "right"),
        ]);
        assert_eq!(
            verdicts,
            [stored(2, 2), stored(3, 2), Verdict::StaleMembership { mver: 3 }, stored(4, 2)]
        );
    }

    #[test]
    fn replaying_the_log_gives_the_state_that_wrote_it() {
        let (direct, group) = (ConversationId::direct(ADA, BOB), ConversationId::group(9));
        let mut sequencer = Sequencer::new(1, 0);
        let mut replayed = Sequencer::new(1, 0);
        let batches = [
            vec![
                envelope(direct, 1, 0, EventKind::Created, "{}"),
                envelope(group, 1, 0, EventKind::Created, "{}"),
            ],
            vec![
                envelope(group, 2, 1, EventKind::Member, "{}"),
                envelope(direct, 2, 0, EventKind::Message, "a"),
            ],
            vec![envelope(group, 3, 2, EventKind::Message, "b")],
        ];
        for (i, envelopes) in batches.iter().enumerate() {
            let plan = sequencer.plan(envelopes, Pos::new(1, i as u64 + 1), 5);
            replayed.replay(plan.batch.as_ref().expect("all are good"));
            sequencer.commit(plan);
        }
        let probe = [
            envelope(group, 3, 2, EventKind::Message, "b"),
            envelope(group, 4, 2, EventKind::Message, "c"),
            envelope(direct, 3, 0, EventKind::Message, "d"),
        ];
        let pos = Pos::new(1, 4);
        assert_eq!(sequencer.plan(&probe, pos, 6).verdicts, replayed.plan(&probe, pos, 6).verdicts);
    }

    #[test]
    fn nothing_above_w_is_forgotten_and_what_is_forgotten_asks_the_archive() {
        let direct = ConversationId::direct(ADA, BOB);
        let mut driver = Driver::new();
        driver.append(&[envelope(direct, 1, 0, EventKind::Created, "{}")]);
        driver.append(&[envelope(direct, 2, 0, EventKind::Message, "a")]);
        let resend = envelope(direct, 2, 0, EventKind::Message, "a");
        let mut now = 0;
        for _ in 0..4 {
            now += limits::DEDUPE_MS;
            driver.sequencer.rotate(now, Pos::new(1, 1));
        }
        assert_eq!(driver.append(std::slice::from_ref(&resend)), [dup(2, 2)], "n 2 is above W");
        for _ in 0..2 {
            now += limits::DEDUPE_MS;
            driver.sequencer.rotate(now, Pos::new(1, 2));
        }
        assert!(!driver.sequencer.knows(direct));
        driver.sequencer.seed(direct, Head { seq: 2, ordinal: 1, mver: 0, epoch: 1 });
        assert_eq!(driver.append(&[resend]), [Verdict::OldId]);
    }
}
