//! What travels on the log: envelopes before they are numbered, and batches of numbered ones.
//!
//! Owns: [`Envelope`], [`Logged`], [`Batch`]. Never does: decide an order (the sequencer does).
//! Talks to: protocol. Start reading at: [`Envelope`].

use bytes::Bytes;
use protocol::{
    ConversationId, EventKind, Pos, Producer, UserId,
    body::{CreatedBody, MemberBody, MemberChange, content_hash},
    event::EventHead,
};

/// The idempotency key of a publish (LOG.md §1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Where.
    pub conversation: ConversationId,
    /// Who.
    pub user: UserId,
    /// Which tab or tool of theirs.
    pub producer: Producer,
    /// 1, 2, 3 … per producer and conversation.
    pub no: u64,
}

/// One durable event that somebody asks the log to take.
///
/// Shape: `body` is canonical JSON of the kind's body type, shared, never parsed on the way of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Where.
    pub conversation: ConversationId,
    /// Who.
    pub from: UserId,
    /// Half of the key.
    pub producer: Producer,
    /// The other half.
    pub no: u64,
    /// The membership version under which it was authorised; 0 in direct conversations (and for `created`).
    pub mver: u64,
    /// What kind.
    pub kind: EventKind,
    /// [`content_hash`] of kind and body.
    pub hash: u64,
    /// Canonical JSON.
    pub body: Bytes,
}

impl Envelope {
    /// An envelope with its hash computed.
    pub fn new(key: Key, mver: u64, kind: EventKind, body: Bytes) -> Self {
        let hash = content_hash(kind, &body);
        let Key { conversation, user, producer, no } = key;
        Self { conversation, from: user, producer, no, mver, kind, hash, body }
    }

    /// Its idempotency key.
    pub fn key(&self) -> Key {
        Key {
            conversation: self.conversation,
            user: self.from,
            producer: self.producer,
            no: self.no,
        }
    }

    /// Bytes that count against batch, ring and queue limits: the body and a flat charge for the head.
    pub fn cost(&self) -> usize {
        self.body.len() + 96
    }
}

/// An envelope with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// Dense within conversation and epoch.
    pub seq: u64,
    /// Messages up to and including this event.
    pub ordinal: u64,
    /// What was asked.
    pub envelope: Envelope,
}

impl Logged {
    /// The membership changes of a `created` or `member` event, with `since` filled in (0 → the event's own seq;
    /// in `created` 0 → 1). Empty for every other kind. Parses the body: only for kinds that change membership.
    pub fn membership_changes(&self) -> Vec<MemberChange> {
        let body = &self.envelope.body;
        let (mut changes, own) = match self.envelope.kind {
            EventKind::Created => {
                let parsed = serde_json::from_slice::<CreatedBody<'_>>(body).map(|b| b.members);
                (parsed.unwrap_or_default(), 1)
            }
            EventKind::Member => {
                let parsed = serde_json::from_slice::<MemberBody>(body).map(|b| b.changes);
                (parsed.unwrap_or_default(), self.seq)
            }
            _ => return Vec::new(),
        };
        for change in &mut changes {
            if change.since == 0 {
                change.since = own;
            }
        }
        changes
    }

    /// The head of the wire event.
    pub fn head(&self, epoch: u32, ts: u64) -> EventHead {
        let e = &self.envelope;
        EventHead {
            kind: e.kind,
            conversation: e.conversation,
            epoch,
            seq: self.seq,
            ordinal: self.ordinal,
            from: e.from,
            producer: e.producer,
            no: e.no,
            ts,
        }
    }
}

/// What one append wrote: all of its stored envelopes under one position.
///
/// Shape: shared as `Arc<Batch>` by ring, Tail, persister and every shard. Events of one conversation are in seq order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its place; `pos.n` is the previous batch's + 1 within an epoch.
    pub pos: Pos,
    /// Unix milliseconds when it was written.
    pub ts: u64,
    /// In order.
    pub events: Vec<Logged>,
}

impl Batch {
    /// Bytes that count against ring and Tail limits.
    pub fn cost(&self) -> usize {
        self.events.iter().map(|e| e.envelope.cost()).sum::<usize>() + 64
    }
}

#[cfg(test)]
mod tests {
    use protocol::Role;

    use super::*;

    #[test]
    fn r24_membership_changes_name_the_first_seq_that_each_person_may_see() {
        let key = Key {
            conversation: ConversationId::group(9),
            user: UserId(1),
            producer: Producer(1),
            no: 1,
        };
        let changes = |kind, body: &'static str| {
            let envelope = Envelope::new(key, 0, kind, Bytes::from_static(body.as_bytes()));
            let logged = Logged { seq: 7, ordinal: 0, envelope };
            logged
                .membership_changes()
                .iter()
                .map(|c| (c.user.0, c.role, c.since))
                .collect::<Vec<_>>()
        };
        let joins = r#"{"changes":[{"user":"0000000000000002","role":"member"},{"user":"0000000000000003","role":"admin","since":1},{"user":"0000000000000004","role":null}]}"#;
        let expected = [(2, Some(Role::Member), 7), (3, Some(Role::Admin), 1), (4, None, 7)];
        assert_eq!(changes(EventKind::Member, joins), expected);
        let born = r#"{"members":[{"user":"0000000000000001","role":"owner"}]}"#;
        assert_eq!(changes(EventKind::Created, born), [(1, Some(Role::Owner), 1)]);
        assert!(changes(EventKind::Message, joins).is_empty());
    }
}
