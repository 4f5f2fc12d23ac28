//! Publishes on their way: from the command to the one place that answers them.
//!
//! Owns: tickets, holds, deadlines, acks. Never does: the log. Talks to: the edge by tickets.
//! Start reading at: [`Shard::publish`], then [`Shard::on_verdicts`].

use backplane::{ArchiveError, Earlier, Envelope, Found, Head, Key, Verdict, View};
use bytes::Bytes;
use protocol::{
    Command, ConversationId, ErrorCode, EventKind, Pos, ServerFrame, body::canonical, limits,
};

use super::{
    Action, Actions, AppendOutcome, AppendTicket, ConnectionId, Now, Shard,
    connections::{PublishKey, error, published},
    members::Here,
    records::Unstored,
};
use crate::{metrics::Published, route::Standing};

/// A group that the shard has not heard of the user joining may have been made a moment ago over HTTP: wait this long.
const UNHEARD_MS: u64 = 1_000;
/// Rounds of "authorise again" and "find old" before a publish is refused with `unavailable`.
const TRIES_MAX: u8 = 8;
/// The membership version under which nobody may publish into a group: its `created` has seq 1. An append that names it
/// stores nothing, and tells whether its key is stored already: a member who was removed meanwhile gets the ack of what
/// they published before (R11).
pub(super) const NOBODY: u64 = 0;
/// Publishes of one connection that wait for `persisted`; beyond, the oldest is settled by a later one.
const UNSTORED_MAX: usize = 4_096;

/// A publish that is not answered yet.
#[derive(Debug)]
pub(super) struct Unacked {
    connection: ConnectionId,
    id: Option<u32>,
    envelope: Envelope,
    begun_ms: u64,
    /// Was given to the log: past the deadline the outcome is `unknown`.
    submitted: bool,
    tries: u8,
    wait: Wait,
}

impl Unacked {
    /// Only asks whether it is stored already.
    fn recognises(&self) -> bool {
        self.submitted && self.envelope.conversation.is_group() && self.envelope.mver == NOBODY
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// For the edge's answer.
    Answer,
    /// For the ring to reach this membership version.
    Version(u64),
    /// For news that the user joined; until then (monotone ms).
    Joining(u64),
}

/// How a publish ends.
enum Answer {
    /// `pos.n` = 0: the store has it.
    Ack {
        seq: u64,
        pos: Pos,
        ts: u64,
    },
    Refuse {
        code: ErrorCode,
        retry_after_ms: Option<u64>,
        expected: Option<u64>,
        seq: Option<u64>,
    },
}

impl From<ErrorCode> for Answer {
    fn from(code: ErrorCode) -> Self {
        Self::Refuse { code, retry_after_ms: None, expected: None, seq: None }
    }
}

impl Shard {
    /// Takes a publish that may go out (`mver`), or whose author's membership is still to be heard of (`None`).
    pub(super) fn publish(
        &mut self,
        slot: u32,
        command: &Command<'_>,
        id: Option<u32>,
        mver: Option<u64>,
        now: Now,
        actions: &mut Actions,
    ) {
        let Command::Publish { conversation, producer, no, body } = command else { return };
        #[cfg(any(test, feature = "mutants"))]
        if self.config.mutation == Some(crate::config::Mutation::PanicAt(*no)) {
            panic!("put in on purpose");
        }
        let connection = &mut self.connections[slot as usize];
        let key: PublishKey = (*conversation, *producer, *no);
        let refused = if usize::from(connection.unacked) >= limits::UNACKED_PER_CONNECTION_MAX {
            Some(ErrorCode::TooManyUnacked)
        } else if self.unacked.len() >= self.config.unacked_max {
            Some(ErrorCode::Overloaded)
        } else {
            None
        };
        if let Some(code) = refused {
            self.metrics.published[published(code) as usize].add(1);
            return self.send(slot, &error(id, code, Some(key)), now, actions);
        }
        connection.unacked += 1;
        let (connection, user) = (connection.id, connection.principal.user);
        let key = Key { conversation: *conversation, user, producer: *producer, no: *no };
        let body = Bytes::from(canonical(body));
        let envelope = Envelope::new(key, mver.unwrap_or(0), EventKind::Message, body);
        let ticket = AppendTicket(self.ticket());
        let wait = match mver {
            Some(_) => Wait::Answer,
            None => Wait::Joining(now.mono_ms + UNHEARD_MS),
        };
        let begun_ms = now.mono_ms;
        let unacked =
            Unacked { connection, id, envelope, begun_ms, submitted: false, tries: 0, wait };
        self.unacked.insert(ticket, unacked);
        self.deadlines.push_back((now.mono_ms + limits::APPEND_DEADLINE_MS, ticket));
        match mver {
            Some(mver) => self.submit(ticket, mver, now, actions),
            None => self.held.push(ticket),
        }
    }

    fn submit(&mut self, ticket: AppendTicket, mver: u64, now: Now, actions: &mut Actions) {
        let Some(unacked) = self.unacked.get_mut(&ticket) else { return };
        unacked.tries += 1;
        if unacked.tries > TRIES_MAX {
            return self.settle(ticket, ErrorCode::Unavailable.into(), now, actions);
        }
        unacked.envelope.mver = mver;
        unacked.submitted = true;
        unacked.wait = Wait::Answer;
        let envelope = unacked.envelope.clone();
        let partition = self.partition_of(envelope.conversation);
        actions.push(Action::Append { ticket, partition, envelope });
        #[cfg(any(test, feature = "mutants"))]
        if self.config.mutation == Some(crate::config::Mutation::AckBeforeAppend) {
            let (pos, ts) = (self.cursor.0[0], now.wall_ms);
            self.settle(ticket, Answer::Ack { seq: 1, pos, ts }, now, actions);
        }
    }

    /// What became of appends. Answers for tickets that are not waited for any more are ignored.
    pub fn on_verdicts(
        &mut self,
        verdicts: &[(AppendTicket, AppendOutcome)],
        now: Now,
        actions: &mut Actions,
    ) {
        for (ticket, outcome) in verdicts {
            self.on_verdict(*ticket, *outcome, now, actions);
        }
    }

    fn on_verdict(
        &mut self,
        ticket: AppendTicket,
        outcome: AppendOutcome,
        now: Now,
        actions: &mut Actions,
    ) {
        let Some(unacked) = self.unacked.get(&ticket) else { return };
        let recognises = unacked.recognises();
        let refuse = |code| Answer::from(code);
        let answer = match outcome {
            AppendOutcome::NotStored { retry_after_ms } => Answer::Refuse {
                code: ErrorCode::Unavailable,
                retry_after_ms: Some(retry_after_ms),
                expected: None,
                seq: None,
            },
            AppendOutcome::Unknown => refuse(ErrorCode::Unknown),
            AppendOutcome::Verdict(verdict) => match verdict {
                Verdict::Stored { seq, pos, ts } | Verdict::Dup { seq, pos, ts } => {
                    Answer::Ack { seq, pos, ts }
                }
                Verdict::Reused { seq } => reused(seq),
                Verdict::StaleMembership { .. } if recognises => {
                    return self.refuse_unless_joined(ticket, now, actions);
                }
                Verdict::OutOfOrder { .. } | Verdict::UnknownConversation if recognises => {
                    refuse(ErrorCode::Forbidden)
                }
                Verdict::OutOfOrder { expected } => out_of_order(expected),
                Verdict::UnknownConversation => refuse(ErrorCode::UnknownConversation),
                Verdict::StaleMembership { mver } => {
                    return self.hold_for_version(ticket, mver, now, actions);
                }
                Verdict::OldId => {
                    let key = unacked.envelope.key();
                    return actions.push(Action::FindOld { ticket, key });
                }
            },
        };
        self.settle(ticket, answer, now, actions);
    }

    /// The log does not know it. News that came while it was asked count.
    fn refuse_unless_joined(&mut self, ticket: AppendTicket, now: Now, actions: &mut Actions) {
        let Some(unacked) = self.unacked.get(&ticket) else { return };
        match self.standing(unacked.envelope.from, unacked.envelope.conversation) {
            Standing::Member { mver } => self.submit(ticket, mver, now, actions),
            _ => self.settle(ticket, ErrorCode::Forbidden.into(), now, actions),
        }
    }

    fn hold_for_version(
        &mut self,
        ticket: AppendTicket,
        mver: u64,
        now: Now,
        actions: &mut Actions,
    ) {
        let Some(unacked) = self.unacked.get_mut(&ticket) else { return };
        unacked.wait = Wait::Version(mver);
        let (conversation, user) = (unacked.envelope.conversation, unacked.envelope.from);
        self.held.push(ticket);
        self.retry_held(now, actions);
        if self.held.contains(&ticket) {
            // The event may be on the ring, or long gone by: a group that was quiet since before its members came here.
            actions.push(Action::LoadAuthority { ticket, conversation, user });
        }
    }

    /// The answer to [`Action::LoadAuthority`]. The view was read after the head, so it includes the head's membership.
    pub fn on_authority(
        &mut self,
        ticket: AppendTicket,
        answer: Result<(Option<Head>, View), ArchiveError>,
        now: Now,
        actions: &mut Actions,
    ) {
        let Some(unacked) = self.unacked.get(&ticket) else { return };
        let (conversation, user) = (unacked.envelope.conversation, unacked.envelope.from);
        // An error, or a store that is behind the log: the ring brings the event, or the deadline comes.
        let Ok((Some(head), view)) = answer else { return };
        self.refresh(user, None, view, now, actions);
        self.prove(user, conversation, head.mver);
        let answered = matches!(self.unacked.get(&ticket).map(|u| u.wait),
            Some(Wait::Version(wanted)) if head.mver >= wanted);
        if answered && !matches!(self.standing(user, conversation), Standing::Member { .. }) {
            self.held.retain(|held| *held != ticket);
            return self.settle(ticket, ErrorCode::Forbidden.into(), now, actions);
        }
        self.retry_held(now, actions);
    }

    /// A user that is a member by a view as of `mver` or later is one at `mver`.
    fn prove(&mut self, user: protocol::UserId, conversation: ConversationId, mver: u64) {
        let Some(group) = self.group_index.get(&conversation) else { return };
        let Some(user) = self.user_index.get(&user) else { return };
        let here = &mut self.groups[*group as usize].here;
        if let Some(known) = here.find(*user).filter(|known| known.mver < mver) {
            here.put(Here { mver, ..known });
        }
    }

    /// Publishes whose membership question the news has answered go out, or are refused.
    pub(super) fn retry_held(&mut self, now: Now, actions: &mut Actions) {
        if self.held.is_empty() {
            return;
        }
        for ticket in std::mem::take(&mut self.held) {
            let Some(unacked) = self.unacked.get(&ticket) else { continue };
            let (conversation, user) = (unacked.envelope.conversation, unacked.envelope.from);
            let wait = unacked.wait;
            let seen = self
                .group_index
                .get(&conversation)
                .map_or(0, |group| self.groups[*group as usize].mver);
            match (self.standing(user, conversation), wait) {
                (Standing::Member { mver }, Wait::Joining(_)) => {
                    self.submit(ticket, mver, now, actions);
                }
                (Standing::Member { mver }, Wait::Version(wanted)) if mver >= wanted => {
                    self.submit(ticket, mver, now, actions);
                }
                // The log has said that it does not know this publish.
                (Standing::Removed | Standing::Stranger, Wait::Version(_)) => {
                    self.settle(ticket, ErrorCode::Forbidden.into(), now, actions);
                }
                (Standing::Removed | Standing::Stranger, Wait::Joining(_)) => {
                    self.submit(ticket, NOBODY, now, actions);
                }
                (Standing::Unheard, Wait::Version(wanted)) if seen >= wanted => {
                    self.settle(ticket, ErrorCode::Forbidden.into(), now, actions);
                }
                (_, Wait::Joining(until)) if until <= now.mono_ms => {
                    self.submit(ticket, NOBODY, now, actions);
                }
                (_, Wait::Answer) => {}
                _ => self.held.push(ticket),
            }
        }
    }

    /// The answer to [`Action::FindOld`].
    pub fn on_found(
        &mut self,
        ticket: AppendTicket,
        answer: Result<Found, ArchiveError>,
        now: Now,
        actions: &mut Actions,
    ) {
        let Some(unacked) = self.unacked.get(&ticket) else { return };
        let Envelope { conversation, hash, mver, .. } = unacked.envelope;
        let answer = match answer {
            Err(_) => ErrorCode::Unavailable.into(),
            Ok(Found { stored: Some(earlier), .. }) if earlier.hash == hash => {
                // Stored under an earlier epoch, it stands in this one.
                let here = self.cursor.0[usize::from(self.partition_of(conversation))];
                let Earlier { seq, pos, ts, .. } = earlier;
                Answer::Ack { seq, pos: Pos::new(pos.epoch.max(here.epoch), 0), ts }
            }
            Ok(Found { stored: Some(Earlier { seq, .. }), .. }) => reused(seq),
            // Its producer is installed in the log now: the log can tell.
            Ok(Found { producer: Some(_), .. }) => {
                return self.submit(ticket, mver, now, actions);
            }
            Ok(_) if unacked.recognises() => ErrorCode::Forbidden.into(),
            Ok(_) => out_of_order(1),
        };
        self.settle(ticket, answer, now, actions);
    }

    /// Answers a publish. The one place that sends an ack (A9), and only with what the log or the archive has said.
    fn settle(&mut self, ticket: AppendTicket, answer: Answer, now: Now, actions: &mut Actions) {
        let Some(unacked) = self.unacked.remove(&ticket) else { return };
        let result = match &answer {
            Answer::Ack { .. } => Published::Ok,
            Answer::Refuse { code, .. } => published(*code),
        };
        self.metrics.published[result as usize].add(1);
        let Some(slot) = self.slot(unacked.connection) else { return };
        self.connections[slot as usize].unacked -= 1;
        let Envelope { conversation, producer, no, .. } = unacked.envelope;
        let frame = match answer {
            Answer::Ack { seq, pos, ts } => {
                let waited_ms = now.mono_ms.saturating_sub(unacked.begun_ms);
                self.node_metrics.ack_seconds.observe(waited_ms * 1_000);
                let partition = self.partition_of(conversation);
                self.await_store(slot, Unstored { conversation, partition, pos, seq });
                ServerFrame::Ack { conversation, producer, no, epoch: pos.epoch, seq, ts }
            }
            Answer::Refuse { code, retry_after_ms, expected, seq } => {
                let mut frame = error(unacked.id, code, Some((conversation, producer, no)));
                if let ServerFrame::Error { retry_after_ms: r, expected: e, seq: s, .. } =
                    &mut frame
                {
                    (*r, *e, *s) = (retry_after_ms, expected, seq);
                }
                frame
            }
        };
        self.send(slot, &frame, now, actions);
    }

    fn await_store(&mut self, slot: u32, unstored: Unstored) {
        let queue = self.connections[slot as usize].unstored.get_or_insert_default();
        if queue.len() >= UNSTORED_MAX {
            queue.pop_front();
        }
        queue.push_back(unstored);
        self.unstored.insert(slot);
    }

    /// Past its deadline a publish is `unknown` if the log may have it, else `unavailable`.
    pub(super) fn expire_publishes(&mut self, now: Now, actions: &mut Actions) {
        while let Some((due, ticket)) = self.deadlines.front().copied() {
            if due > now.mono_ms {
                return;
            }
            self.deadlines.pop_front();
            if let Some(unacked) = self.unacked.get(&ticket) {
                let asked = unacked.submitted && unacked.wait == Wait::Answer;
                let code = if asked { ErrorCode::Unknown } else { ErrorCode::Unavailable };
                self.settle(ticket, code.into(), now, actions);
                self.held.retain(|held| *held != ticket);
            }
        }
    }

    /// W of a partition moved.
    pub fn on_watermark(&mut self, partition: backplane::Partition, watermark: Pos) {
        let known = &mut self.watermark.0[usize::from(partition)];
        *known = (*known).max(watermark);
    }

    /// Tells connections what of theirs is stored now: one frame per conversation and epoch. An ack of an earlier epoch is
    /// not settled by a later one: what it stands for may be lost.
    pub(super) fn flush_persisted(&mut self, now: Now, actions: &mut Actions) {
        let slots: Vec<u32> = self.unstored.iter().copied().collect();
        for slot in slots {
            let Some(queue) = &mut self.connections[slot as usize].unstored else { continue };
            let mut done: Vec<Unstored> = Vec::new();
            let watermark = &self.watermark;
            queue.retain(|u| {
                let watermark = watermark.0[usize::from(u.partition)];
                // W of a later epoch says nothing of what an earlier one acked; what the archive knows needs no W.
                let passed = watermark.epoch == u.pos.epoch && watermark.n >= u.pos.n;
                let stored = passed || u.pos.n == 0;
                if stored {
                    let key = |u: &Unstored| (u.conversation, u.pos.epoch);
                    let same = |d: &&mut Unstored| key(d) == key(u);
                    match done.iter_mut().find(same) {
                        Some(d) if d.seq < u.seq => *d = *u,
                        Some(_) => {}
                        None => done.push(*u),
                    }
                }
                !stored
            });
            if queue.is_empty() {
                self.connections[slot as usize].unstored = None;
                self.unstored.remove(&slot);
            }
            for Unstored { conversation, pos, seq, .. } in done {
                let frame = ServerFrame::Persisted { conversation, epoch: pos.epoch, seq };
                self.send(slot, &frame, now, actions);
            }
        }
    }
}

fn reused(seq: u64) -> Answer {
    let seq = (seq > 0).then_some(seq);
    Answer::Refuse { code: ErrorCode::Reused, retry_after_ms: None, expected: None, seq }
}

fn out_of_order(expected: u64) -> Answer {
    let (code, expected) = (ErrorCode::OutOfOrder, Some(expected));
    Answer::Refuse { code, retry_after_ms: None, expected, seq: None }
}
