//! An archive in memory, for tests of whatever asks one.
//!
//! Owns: heads, views and keys that a test sets, or that batches stored as the persister stores them leave behind.
//! Never does: run in a product. Talks to: nobody. Start reading at: [`MemoryArchive`].

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use protocol::{ConversationId, Pos, SessionId, UserId, limits};

use crate::{
    Archive, ArchiveError, Batch, BoxFuture, Earlier, Envelope, Found, Head, Key, Logged,
    Membership, ProducerState, StoredEvent, View, sequencer::ProducerKey,
};

/// By `no`.
type Numbers = BTreeMap<u64, Earlier>;

#[derive(Debug, Default)]
struct State {
    views: HashMap<UserId, View>,
    heads: HashMap<ConversationId, Head>,
    found: HashMap<Key, Found>,
    stored: Pos,
    producers: HashMap<ProducerKey, Numbers>,
    events: BTreeMap<(ConversationId, u64), StoredEvent>,
    away: bool,
}

impl State {
    fn store(&mut self, batch: &Batch, event: &Logged) {
        let (e, epoch) = (&event.envelope, batch.pos.epoch);
        let numbers = self.producers.entry((e.conversation, e.from, e.producer)).or_default();
        let Envelope { no, hash, .. } = *e;
        let (seq, pos, ts) = (event.seq, Pos::new(epoch, 0), batch.ts);
        let first = *numbers.entry(no).or_insert(Earlier { no, hash, seq, pos, ts });
        let stored = StoredEvent {
            conversation: e.conversation,
            epoch,
            seq: event.seq,
            ordinal: event.ordinal,
            from: e.from,
            producer: e.producer,
            no: e.no,
            ts: batch.ts,
            kind: (first.seq == event.seq).then_some(e.kind),
            body: e.body.clone(),
        };
        self.events.entry((e.conversation, event.seq)).or_insert(stored);
        let head = self.heads.entry(e.conversation).or_default();
        if head.seq >= event.seq {
            return;
        }
        let changes = e.kind.changes_membership() && e.conversation.is_group();
        let mver = if changes { event.seq } else { head.mver };
        *head = Head { seq: event.seq, ordinal: event.ordinal, mver, epoch };
        if changes {
            self.project(event);
        }
    }

    /// Another role keeps the right to what was visible before; removals are tombstones.
    fn project(&mut self, event: &Logged) {
        let conversation = event.envelope.conversation;
        for change in event.membership_changes() {
            let groups = &mut self.views.entry(change.user).or_default().groups;
            let (role, mver) = (change.role, event.seq);
            match groups.iter_mut().find(|known| known.conversation == conversation) {
                Some(known) => {
                    let since = match (known.role, role) {
                        (Some(_), Some(_)) => known.since.min(change.since),
                        (_, None) => known.since,
                        (None, Some(_)) => change.since,
                    };
                    *known = Membership { conversation, role, since, mver, group: None };
                }
                None => {
                    let since = change.since;
                    groups.push(Membership { conversation, role, since, mver, group: None });
                }
            }
        }
    }
}

/// Clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryArchive(Arc<Mutex<State>>);

impl MemoryArchive {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets a user's view.
    pub fn set_view(&self, user: UserId, view: View) {
        self.state().views.insert(user, view);
    }

    /// Sets a head.
    pub fn set_head(&self, conversation: ConversationId, head: Head) {
        self.state().heads.insert(conversation, head);
    }

    /// Sets the answer for a key.
    pub fn set_found(&self, key: Key, found: Found) {
        self.state().found.insert(key, found);
    }

    /// Makes every call fail, or none.
    pub fn set_away(&self, away: bool) {
        self.state().away = away;
    }

    /// How far [`MemoryArchive::store`] has come: the persister's cursor.
    pub fn stored(&self) -> Pos {
        self.state().stored
    }

    /// Stores a batch as the persister does: events, then heads and memberships, then the cursor. A batch again changes
    /// nothing, under whichever epoch; a key that is taken keeps its first event, and the later one is a hole.
    pub fn store(&self, batch: &Batch) {
        let mut state = self.state();
        if batch.pos <= state.stored {
            return;
        }
        for event in &batch.events {
            state.store(batch, event);
        }
        state.stored = batch.pos;
    }

    fn answer<'a, T: Send + 'a>(
        &self,
        value: impl FnOnce(&State) -> T,
    ) -> BoxFuture<'a, Result<T, ArchiveError>> {
        let state = self.state();
        let result =
            if state.away { Err(ArchiveError("away".to_owned())) } else { Ok(value(&state)) };
        Box::pin(std::future::ready(result))
    }
}

fn found_of(state: &State, key: Key) -> Found {
    if let Some(found) = state.found.get(&key) {
        return found.clone();
    }
    let Some(numbers) = state.producers.get(&(key.conversation, key.user, key.producer)) else {
        return Found::default();
    };
    let mut recent: Vec<Earlier> =
        numbers.values().rev().take(limits::DEDUPE_WINDOW).copied().collect();
    recent.reverse();
    let last = recent.last().map_or(0, |earlier| earlier.no);
    Found { stored: numbers.get(&key.no).copied(), producer: Some(ProducerState { last, recent }) }
}

impl Archive for MemoryArchive {
    fn view(&self, user: UserId) -> BoxFuture<'_, Result<View, ArchiveError>> {
        self.answer(|state| {
            let mut view = state.views.get(&user).cloned().unwrap_or_default();
            if view.as_of.is_empty() {
                view.as_of = vec![state.stored];
            }
            view
        })
    }

    fn head(
        &self,
        conversation: ConversationId,
    ) -> BoxFuture<'_, Result<Option<Head>, ArchiveError>> {
        self.answer(|state| state.heads.get(&conversation).copied())
    }

    fn find(&self, key: Key) -> BoxFuture<'_, Result<Found, ArchiveError>> {
        self.answer(|state| found_of(state, key))
    }

    /// By the groups of the views; whom one shares a direct conversation with is not kept here.
    fn contacts(
        &self,
        user: UserId,
        people: Vec<UserId>,
    ) -> BoxFuture<'_, Result<Vec<UserId>, ArchiveError>> {
        self.answer(|state| {
            let groups = |user: &UserId| {
                let groups = state.views.get(user).into_iter().flat_map(|view| &view.groups);
                groups.filter(|m| m.role.is_some()).map(|m| m.conversation).collect::<Vec<_>>()
            };
            let own = groups(&user);
            let shares = |other: &UserId| {
                *other == user || groups(other).iter().any(|group| own.contains(group))
            };
            people.into_iter().filter(shares).collect()
        })
    }

    /// Sessions are not kept here: none is over.
    fn ended(
        &self,
        _: Vec<(UserId, SessionId)>,
    ) -> BoxFuture<'_, Result<Vec<SessionId>, ArchiveError>> {
        self.answer(|_| Vec::new())
    }

    fn range(
        &self,
        conversation: ConversationId,
        from: u64,
        to: u64,
    ) -> BoxFuture<'_, Result<Vec<StoredEvent>, ArchiveError>> {
        self.answer(|state| {
            let (first, last) = ((conversation, from), (conversation, to.max(from)));
            let page = state.events.range(first..=last).take(limits::PAGE_MAX);
            page.map(|(_, event)| event.clone()).collect()
        })
    }
}
