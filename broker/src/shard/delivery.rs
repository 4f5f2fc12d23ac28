//! Fan-out: from a followed batch to the outboxes of those who may see it.
//!
//! Owns: the loop over recipients, and when a membership change takes effect. Never does: the log.
//! Talks to: outboxes. Start reading at: [`Shard::on_batch`].

use std::sync::Arc;

use backplane::{Batch, Logged, Membership, Partition};
use bytes::Bytes;
use protocol::{
    CloseCode, ConversationId, EventKind, Pos, ServerFrame, UserId, body::target_of,
    event::encode_event,
};
use smallvec::SmallVec;

use super::{
    Actions, Now, Shard, encode,
    records::{Recent, Stage},
};
use crate::websocket::encode::{begin, finish_text};

/// A hole as a frame.
pub(super) fn hole(
    conversation: ConversationId,
    epoch: u32,
    from: u64,
    to: u64,
    at: &str,
) -> Bytes {
    encode(&ServerFrame::Hole { conversation, epoch, from, to, at: at.to_owned() })
}

/// Whether a block hides it: what people write, never what the conversation is, nor that something was taken away.
pub(super) fn may_be_withheld(event: &Logged) -> bool {
    matches!(event.envelope.kind, EventKind::Message | EventKind::Edit | EventKind::Reaction)
}

/// Whether an event about the message `target` is about one that somebody who sees from `since` on may not see: the new
/// words of an old message are as old as it is.
pub(super) fn is_about_before(target: Option<u64>, since: u64) -> bool {
    target.is_some_and(|target| target < since)
}

impl Shard {
    /// The next batch of a partition, in order, each once. The partition's Tail already has it.
    pub fn on_batch(
        &mut self,
        partition: Partition,
        batch: &Arc<Batch>,
        now: Now,
        actions: &mut Actions,
    ) {
        // Tokens name the place before the batch: a client cut off within it gets the whole of it again.
        let at = self.cursor.to_string();
        for event in &batch.events {
            if event.envelope.kind.changes_membership() {
                self.on_membership_event(partition, batch, event, &at, now, actions);
            } else {
                self.fan_out(batch, event, &at, &[], now, actions);
            }
        }
        self.cursor.0[partition as usize] = batch.pos;
        self.retry_held(now, actions);
    }

    /// Adds before the delivery, removes after it: who is removed still sees their own removal.
    fn on_membership_event(
        &mut self,
        partition: Partition,
        batch: &Batch,
        event: &Logged,
        at: &str,
        now: Now,
        actions: &mut Actions,
    ) {
        let conversation = event.envelope.conversation;
        let changes = event.membership_changes();
        let mut named: SmallVec<[UserId; 4]> = SmallVec::new();
        for change in &changes {
            let membership = Membership {
                conversation,
                role: change.role,
                since: change.since,
                mver: event.seq,
                group: None,
            };
            named.push(change.user);
            let (user, pos) = (change.user, batch.pos);
            self.remember(Recent { user, partition, pos, membership });
            self.follow_replays(user, &membership);
            let index = self.user_index.get(&user).copied();
            let joined = membership.role.is_some()
                && index.is_some_and(|index| self.apply_membership(index, &membership));
            if joined && change.since > 1 {
                let frame = hole(conversation, batch.pos.epoch, 1, change.since - 1, at);
                for slot in self.live_connections(user) {
                    self.push(slot, frame.clone(), false, now, actions);
                }
            }
        }
        if let Some(group) = self.group_index.get(&conversation) {
            let group = &mut self.groups[*group as usize];
            group.mver = group.mver.max(event.seq);
            group.large &= changes.iter().all(|change| change.role.is_some());
        }
        self.fan_out(batch, event, at, &named, now, actions);
        for change in changes.iter().filter(|change| change.role.is_none()) {
            if let Some(index) = self.user_index.get(&change.user).copied() {
                let (since, mver) = (change.since, event.seq);
                let membership = Membership { conversation, role: None, since, mver, group: None };
                self.apply_membership(index, &membership);
            }
            self.review_contacts(change.user, actions);
        }
    }

    /// Replays of the user go by the same windows as the live way.
    fn follow_replays(&mut self, user: UserId, membership: &Membership) {
        for slot in self.connections_of(user) {
            let stage = &mut self.connections[slot as usize].stage;
            let Stage::Catching(catch_up) = stage else { continue };
            let known = catch_up.groups.iter_mut().find(|(id, ..)| *id == membership.conversation);
            match (known, membership.role) {
                (Some((_, _, until)), None) if *until == u64::MAX => *until = membership.mver,
                (Some((_, since, until)), Some(_)) if *until != u64::MAX => {
                    (*since, *until) = (membership.since, u64::MAX);
                }
                (None, Some(_)) => {
                    catch_up.groups.push((membership.conversation, membership.since, u64::MAX));
                }
                _ => {}
            }
        }
    }

    fn live_connections(&self, user: UserId) -> SmallVec<[u32; 2]> {
        let mut slots = self.connections_of(user);
        slots.retain(|slot| matches!(self.connections[*slot as usize].stage, Stage::Live));
        slots
    }

    /// Encodes once, then one loop over recipients that does not look at the event's kind.
    fn fan_out(
        &mut self,
        batch: &Batch,
        event: &Logged,
        at: &str,
        named: &[UserId],
        now: Now,
        actions: &mut Actions,
    ) {
        let recipients = self.recipients(event, named);
        if recipients.is_empty() {
            return;
        }
        let (conversation, epoch) = (event.envelope.conversation, batch.pos.epoch);
        let mut json = Vec::with_capacity(event.envelope.body.len() + 256);
        begin(&mut json);
        encode_event(&mut json, &event.head(epoch, batch.ts), &event.envelope.body, at);
        let frame = finish_text(&mut json);
        self.metrics.delivered.add(recipients.len() as u64);
        self.node_metrics.fanout_recipients.observe(recipients.len() as u64);
        let mut withheld = None;
        for (slot, hide) in recipients {
            let frame = if hide {
                let make = || hole(conversation, epoch, event.seq, event.seq, at);
                withheld.get_or_insert_with(make).clone()
            } else {
                frame.clone()
            };
            self.push(slot, frame, false, now, actions);
        }
    }

    /// Live connections that get the event, and whether they get a hole instead.
    fn recipients(&self, event: &Logged, named: &[UserId]) -> Vec<(u32, bool)> {
        let conversation = event.envelope.conversation;
        let target = target_of(event.envelope.kind, &event.envelope.body);
        // Each with whether the event is about a message from before their time.
        let mut users: SmallVec<[(u32, bool); 8]> = SmallVec::new();
        match conversation.direct_members() {
            Some((a, b)) => {
                let both = [Some(a), (a != b).then_some(b)].into_iter().flatten();
                let known = both.filter_map(|user| self.user_index.get(&user));
                users.extend(known.map(|index| (*index, false)));
            }
            None => {
                if let Some(group) = self.group_index.get(&conversation) {
                    let here = &self.groups[*group as usize].here;
                    let here = here.iter().filter(|h| h.since <= event.seq);
                    users.extend(here.map(|h| (h.user, is_about_before(target, h.since))));
                }
                for index in named.iter().filter_map(|user| self.user_index.get(user)) {
                    if !users.iter().any(|(user, _)| user == index) {
                        users.push((*index, false));
                    }
                }
            }
        }
        let hideable = may_be_withheld(event);
        let mut out = Vec::with_capacity(users.len());
        for (index, before) in users {
            let user = &self.users[index as usize];
            let hide = before || (hideable && user.blocks(event.envelope.from));
            let live = |slot: &&u32| matches!(self.connections[**slot as usize].stage, Stage::Live);
            out.extend(user.connections.iter().filter(live).map(|slot| (*slot, hide)));
        }
        out
    }

    /// The ring went around this shard: it does not know what its connections missed. They are closed with 4408, come
    /// back, and resume from the Tail or the api; `members_recent` is void, so views read before this are read again.
    /// `cursor`: where the reader is now.
    pub fn on_ring_lost(&mut self, cursor: Vec<Pos>, actions: &mut Actions) {
        let slots: Vec<u32> = self.connections.iter().map(|(slot, _)| slot as u32).collect();
        for slot in slots {
            self.close(slot, CloseCode::SlowConsumer, actions);
        }
        self.metrics.ring_lost.add(1);
        self.members_recent.clear();
        self.recent_order.clear();
        self.views.clear();
        self.cursor.0 = cursor;
    }
}
