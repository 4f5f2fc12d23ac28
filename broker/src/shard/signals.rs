//! Signals: typing, receipts, presence, revocation. Loss is allowed.
//!
//! Owns: watch lists and what goes to them. Never does: durability. Talks to: the presence map.
//! Start reading at: [`Shard::on_signals`].

use backplane::{ArchiveError, Cursors, Revocation, Signal};
use protocol::{CloseCode, Command, ConversationId, ErrorCode, Producer, ServerFrame, UserId};
use smallvec::SmallVec;

use super::{
    Action, Actions, Now, Shard, WatchTicket,
    connections::error,
    encode,
    records::{Stage, Watch},
    users::Load,
};
use crate::route::Standing;

/// Newest events of a conversation that a typing signal is compared with.
const TYPING_LOOK_BACK: u64 = 16;
/// Cursors that wait for the next flush, per shard; beyond, a receipt is dropped (the client sends cursors again).
const RECEIPTS_MAX: usize = 65_536;

impl Shard {
    /// Cursors go to the store, the user's connections and the others with the next flush (≤ 1/s). With receipts off nobody
    /// else learns of them.
    pub(super) fn receipt(
        &mut self,
        slot: u32,
        command: &Command<'_>,
        id: Option<u32>,
        now: Now,
        actions: &mut Actions,
    ) {
        let Command::Receipt { conversation, delivered, read } = command else { return };
        let cursors = Cursors { delivered: delivered.unwrap_or(0), read: read.unwrap_or(0) };
        // Without a head in the Tail the conversation is older than it: the api clamps what it stores.
        let head = {
            let tail = self.tails[usize::from(self.partition_of(*conversation))].read();
            tail.last(*conversation).map(|place| place.event().seq)
        };
        if head.is_some_and(|head| cursors.delivered.max(cursors.read) > head) {
            return self.send(slot, &error(id, ErrorCode::Invalid, None), now, actions);
        }
        let user = self.connections[slot as usize].principal.user;
        let off = self
            .user_index
            .get(&user)
            .is_some_and(|index| self.users[*index as usize].flags.receipts_off);
        if self.receipts.len() < RECEIPTS_MAX {
            let merged = self.receipts.entry((*conversation, user, off)).or_default();
            merged.delivered = merged.delivered.max(cursors.delivered);
            merged.read = merged.read.max(cursors.read);
        }
    }

    pub(super) fn typing(&mut self, slot: u32, command: &Command<'_>, actions: &mut Actions) {
        let Command::Typing { conversation, producer, no } = command else { return };
        let user = self.connections[slot as usize].principal.user;
        let (conversation, producer, no) = (*conversation, *producer, *no);
        actions.push(Action::Publish(Signal::Typing { conversation, user, producer, no }));
    }

    /// Replaces both lists; answers `ok`, then the presence of all. Whether they are contacts is asked first where only
    /// contacts may be watched.
    pub(super) fn watch(
        &mut self,
        slot: u32,
        command: &Command<'_>,
        id: Option<u32>,
        now: Now,
        actions: &mut Actions,
    ) {
        let Command::Watch { people, conversations } = command else { return };
        self.unwatch(slot);
        let dedup = |mut list: Vec<_>| {
            list.sort_unstable();
            list.dedup();
            list
        };
        let people = dedup(people.clone());
        let mut conversations = conversations.clone();
        conversations.sort_unstable();
        conversations.dedup();
        for conversation in &conversations {
            self.watching.entry(*conversation).or_default().push(slot);
        }
        self.send(slot, &ServerFrame::Ok { id }, now, actions);
        let user = self.connections[slot as usize].principal.user;
        let index = self.user_index.get(&user);
        let contacts_only =
            index.is_some_and(|index| self.users[*index as usize].flags.contacts_only);
        let wanted = if contacts_only { people.as_slice().into() } else { Box::default() };
        if !people.is_empty() || !conversations.is_empty() {
            let watch = Watch { conversations: conversations.into(), wanted, ..Watch::default() };
            self.connections[slot as usize].watch = Some(Box::new(watch));
        }
        if contacts_only {
            self.ask_contacts(slot, actions);
        } else if !people.is_empty() {
            self.watch_people(slot, &people, &people, now, actions);
        }
    }

    /// Asks who may be watched of those who are wanted; while a question is open, after its answer.
    fn ask_contacts(&mut self, slot: u32, actions: &mut Actions) {
        let asked = self.ticket();
        let connection = &mut self.connections[slot as usize];
        let Some(watch) = connection.watch.as_mut().filter(|watch| !watch.wanted.is_empty()) else {
            return;
        };
        if std::mem::replace(&mut connection.asking, true) {
            watch.again = true;
            return;
        }
        (watch.asked, watch.again) = (asked, false);
        let (ticket, user) = (WatchTicket(connection.id, asked), connection.principal.user);
        actions.push(Action::LoadContacts { ticket, user, people: watch.wanted.to_vec() });
    }

    /// Somebody left a group: they and whoever watches them may not be contacts any more.
    pub(super) fn review_contacts(&mut self, user: UserId, actions: &mut Actions) {
        let mut slots = self.connections_of(user);
        slots.extend(self.watched.get(&user).into_iter().flatten().copied());
        slots.into_iter().for_each(|slot| self.ask_contacts(slot, actions));
    }

    /// The answer to [`Action::LoadContacts`]: others are as unknown as somebody who does not exist. Without one nothing is
    /// said of anybody; the next `watch` asks again.
    pub fn on_contacts(
        &mut self,
        ticket: WatchTicket,
        people: &[UserId],
        contacts: Result<Vec<UserId>, ArchiveError>,
        now: Now,
        actions: &mut Actions,
    ) {
        let WatchTicket(connection, asked) = ticket;
        let Some(slot) = self.slot(connection) else { return };
        let connection = &mut self.connections[slot as usize];
        connection.asking = false;
        let Some(watch) = &connection.watch else { return };
        let again = watch.again;
        match contacts {
            Ok(contacts) if watch.asked == asked => {
                self.watch_people(slot, people, &contacts, now, actions);
            }
            Ok(_) => {}
            Err(_) => self.unwatch_people(slot),
        }
        if again {
            self.ask_contacts(slot, actions);
        }
    }

    /// Watches `contacts`, and tells of all `people` how they are.
    fn watch_people(
        &mut self,
        slot: u32,
        people: &[UserId],
        contacts: &[UserId],
        now: Now,
        actions: &mut Actions,
    ) {
        self.unwatch_people(slot);
        let Some(watch) = &mut self.connections[slot as usize].watch else { return };
        watch.people = contacts.into();
        let mut states = self.presence.states(people);
        for state in states.iter_mut().filter(|state| !contacts.contains(&state.user)) {
            (state.online, state.since) = (false, None);
        }
        for user in contacts {
            self.watched.entry(*user).or_default().push(slot);
        }
        self.send(slot, &ServerFrame::Presence { people: states }, now, actions);
    }

    fn unwatch_people(&mut self, slot: u32) {
        let Some(watch) = &mut self.connections[slot as usize].watch else { return };
        for user in std::mem::take(&mut watch.people) {
            if let Some(slots) = self.watched.get_mut(&user) {
                slots.retain(|s| *s != slot);
                if slots.is_empty() {
                    self.watched.remove(&user);
                }
            }
        }
        // Changes of those who may not be watched any more; of the others all is told anew.
        watch.changed.clear();
        self.presence_changed.remove(&slot);
    }

    pub(super) fn unwatch(&mut self, slot: u32) {
        self.unwatch_people(slot);
        let Some(watch) = self.connections[slot as usize].watch.take() else { return };
        for conversation in &watch.conversations {
            if let Some(slots) = self.watching.get_mut(conversation) {
                slots.retain(|s| *s != slot);
                if slots.is_empty() {
                    self.watching.remove(conversation);
                }
            }
        }
    }

    /// What `Live` published. The presence map already has the presence changes.
    pub fn on_signals(&mut self, signals: &[Signal], now: Now, actions: &mut Actions) {
        for signal in signals {
            match signal {
                Signal::Typing { conversation, user, producer, no } => {
                    self.on_typing(*conversation, *user, *producer, *no, now, actions);
                }
                Signal::Receipt { conversation, user, cursors } => {
                    let watchers = self.receipt_watchers(*conversation, *user);
                    self.on_receipt(*conversation, *user, *cursors, watchers, now, actions);
                }
                Signal::OwnReceipt { conversation, user, cursors } => {
                    let nobody = SmallVec::new();
                    self.on_receipt(*conversation, *user, *cursors, nobody, now, actions);
                }
                Signal::Presence { changes, .. } => {
                    let users: Vec<UserId> = changes.iter().map(|change| change.user).collect();
                    self.on_presence(&users);
                }
                Signal::UserChanged { user, what } => {
                    if self.user_index.contains_key(user) {
                        self.load_view(Load::Refresh(*user, *what), *user, actions);
                    }
                }
                Signal::Revoked(revocation) => self.on_revoked(*revocation, actions),
                // The live task turns these into changes of the map, and those into `on_presence`.
                Signal::Heartbeat { .. } | Signal::NodeGone { .. } => {}
            }
        }
    }

    /// Members who have the conversation on screen, except `of` and those who blocked them.
    fn watchers(&self, conversation: ConversationId, of: UserId) -> SmallVec<[u32; 4]> {
        let Some(slots) = self.watching.get(&conversation) else { return SmallVec::new() };
        let sees = |slot: &u32| {
            let user = self.connections[*slot as usize].principal.user;
            user != of
                && matches!(self.standing(user, conversation), Standing::Member { .. })
                && !self
                    .user_index
                    .get(&user)
                    .is_some_and(|index| self.users[*index as usize].blocks(of))
        };
        slots.iter().copied().filter(sees).collect()
    }

    fn on_typing(
        &mut self,
        conversation: ConversationId,
        user: UserId,
        producer: Producer,
        no: u64,
        now: Now,
        actions: &mut Actions,
    ) {
        if self.ladder >= 1 {
            return;
        }
        let watchers = self.watchers(conversation, user);
        if watchers.is_empty() || self.is_over(conversation, user, producer, no) {
            return;
        }
        let frame = encode(&ServerFrame::Typing { conversation, user, producer, no });
        for slot in watchers {
            self.push(slot, frame.clone(), true, now, actions);
        }
    }

    /// Whether the message that ends a typing signal is already here.
    fn is_over(
        &self,
        conversation: ConversationId,
        user: UserId,
        producer: Producer,
        no: u64,
    ) -> bool {
        let tail = self.tails[usize::from(self.partition_of(conversation))].read();
        let Some(last) = tail.last(conversation) else { return false };
        let from = last.event().seq.saturating_sub(TYPING_LOOK_BACK);
        let newest = tail.after(conversation, from, TYPING_LOOK_BACK as usize);
        newest.iter().any(|place| {
            let envelope = &place.event().envelope;
            envelope.from == user && envelope.producer == producer && envelope.no > no
        })
    }

    /// Whom the cursors of `of` are told to. Who sends no receipts sees none; in a large group nobody does, and clients ask
    /// for counts (R31).
    fn receipt_watchers(&self, conversation: ConversationId, of: UserId) -> SmallVec<[u32; 4]> {
        let group = self.group_index.get(&conversation);
        if group.is_some_and(|group| self.groups[*group as usize].large) {
            return SmallVec::new();
        }
        let mut slots = self.watchers(conversation, of);
        slots.retain(|slot| {
            let reader = self.connections[*slot as usize].principal.user;
            let index = self.user_index.get(&reader);
            !index.is_some_and(|index| self.users[*index as usize].flags.receipts_off)
        });
        slots
    }

    /// To the user's own connections, and to `slots`.
    fn on_receipt(
        &mut self,
        conversation: ConversationId,
        user: UserId,
        cursors: Cursors,
        mut slots: SmallVec<[u32; 4]>,
        now: Now,
        actions: &mut Actions,
    ) {
        slots.extend(self.connections_of(user));
        if slots.is_empty() {
            return;
        }
        let frame = receipt_frame(conversation, user, cursors);
        for slot in slots {
            self.push(slot, frame.clone(), true, now, actions);
        }
    }

    /// The presence of these users changed in the map. Told at most once a second.
    pub fn on_presence(&mut self, users: &[UserId]) {
        for user in users {
            let Some(slots) = self.watched.get(user) else { continue };
            for slot in slots {
                if let Some(watch) = &mut self.connections[*slot as usize].watch
                    && !watch.changed.contains(user)
                {
                    watch.changed.push(*user);
                    self.presence_changed.insert(*slot);
                }
            }
        }
    }

    fn on_revoked(&mut self, revocation: Revocation, actions: &mut Actions) {
        self.close_matching(CloseCode::Unauthorized, actions, |principal| match revocation {
            Revocation::Session(session) => principal.session == session,
            Revocation::User { user, except } => {
                principal.user == user && Some(principal.session) != except
            }
        });
    }

    /// Once a second: presence to watchers, cursors to `Live`.
    pub(super) fn flush_signals(&mut self, now: Now, actions: &mut Actions) {
        // Shed cursors wait: nobody would send them again before the next welcome.
        if self.ladder < 2 {
            for ((conversation, user, off), cursors) in self.receipts.drain() {
                actions.push(if off {
                    Action::Publish(Signal::OwnReceipt { conversation, user, cursors })
                } else {
                    Action::MergeReceipt(conversation, user, cursors)
                });
            }
        }
        if self.ladder >= 1 {
            return;
        }
        let slots: Vec<u32> = self.presence_changed.drain().collect();
        for slot in slots {
            let connection = &mut self.connections[slot as usize];
            let Some(watch) = &mut connection.watch else { continue };
            // Falls away while the client reads slowly, and is told when it has caught up.
            if connection.outbox.bytes() * 2 >= self.config.outbox_bytes_max
                || connection.outbox.events() * 2 >= self.config.outbox_events_max
            {
                self.presence_changed.insert(slot);
                continue;
            }
            let changed = std::mem::take(&mut watch.changed);
            if matches!(connection.stage, Stage::Closing) {
                continue;
            }
            let people = self.presence.states(&changed);
            self.push(slot, encode(&ServerFrame::Presence { people }), true, now, actions);
        }
    }
}

fn receipt_frame(conversation: ConversationId, user: UserId, cursors: Cursors) -> bytes::Bytes {
    let some = |seq: u64| (seq > 0).then_some(seq);
    let (delivered, read) = (some(cursors.delivered), some(cursors.read));
    encode(&ServerFrame::Receipt { conversation, user, delivered, read })
}
