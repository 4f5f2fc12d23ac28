//! What the server sends: replies to one command, and events that nobody asked for.
//!
//! Owns: the frames of the server as types, and the one function that encodes a durable event.
//! Never does: decide who gets what. Talks to: serde. Start reading at: [`ServerFrame`].

use serde::{Deserialize, Serialize};

use crate::{
    ConversationId, ErrorCode, EventKind, Producer, SessionId, UserId,
    body::{
        CreatedBody, DeleteBody, EditBody, MemberBody, MessageBody, ReactionBody, SettingsBody,
    },
    id::push_hex,
};

/// A durable event as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event<B> {
    /// Where.
    pub conversation: ConversationId,
    /// Lifetime of the numbering; a higher one starts anew (PROTOCOL.md §5).
    pub epoch: u32,
    /// Dense within the epoch.
    pub seq: u64,
    /// Messages up to and including this event.
    pub ordinal: u64,
    /// Who.
    pub from: UserId,
    /// With `no`: the key of the pending that this event settles.
    pub producer: Producer,
    /// See `producer`.
    pub no: u64,
    /// Unix milliseconds when the log took it. For people, never for order.
    pub ts: u64,
    /// What.
    pub body: B,
    /// Resume token as of before this event's batch. Absent in answers of the api.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub at: String,
}

/// Whether, and since when, somebody can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceState {
    /// Who.
    pub user: UserId,
    /// Any connection anywhere.
    pub online: bool,
    /// Unix milliseconds of the last change known; absent = never seen since the node started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
}

/// What of a user's own affairs changed (another device, the api): refetch it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserChange {
    /// Name, avatar, about.
    Profile,
    /// Mute, pin, hide, mark unread, draft.
    Conversations,
    /// Block list.
    Blocked,
    /// Settings such as hidden presence and receipts.
    Settings,
    /// Sessions list.
    Sessions,
}

/// How a connection continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resume {
    /// No token was given: fetch what is needed from the api.
    Fresh,
    /// What was missed follows as ordinary events, then `resumed`.
    Resumed,
    /// Too long away for the memory of the node: fetch by seq from the api.
    Reset,
}

/// One text frame of the server. `"type"` is the variant in snake case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame {
    // Replies.
    /// Answer to `hello`.
    Welcome {
        /// `webchat.v1`.
        protocol: String,
        /// Who the token says you are.
        user: UserId,
        /// The login.
        session: SessionId,
        /// Which broker, for support.
        node: String,
        /// Unix milliseconds when the connection ends unless `reauth` came.
        expires_at: u64,
        /// Unix milliseconds now.
        server_time: u64,
        /// How the log makes an ack durable: `fsync` (all-in-one), `L2` … (RELIABILITY.md §1).
        durability: String,
        /// A frame comes at least this often.
        heartbeat_ms: u64,
        /// How this connection continues.
        resume: Resume,
        /// Resume token as of now.
        at: String,
    },
    /// Answer to `publish`: durable, here is its place.
    Ack {
        /// The key.
        conversation: ConversationId,
        /// The key.
        producer: Producer,
        /// The key.
        no: u64,
        /// Lifetime of the numbering.
        epoch: u32,
        /// Its place. Not a position: only contiguous events advance a position.
        seq: u64,
        /// Unix milliseconds when the log took it.
        ts: u64,
    },
    /// Answer to `watch`, `reauth`, `ping`.
    Ok {
        /// The command's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u32>,
    },
    /// Refusal of one command.
    Error {
        /// The command's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u32>,
        /// Row of the table.
        code: ErrorCode,
        /// For the developer of the client.
        message: String,
        /// Do not send it again earlier.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
        /// The publish's key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        conversation: Option<ConversationId>,
        /// The publish's key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        producer: Option<Producer>,
        /// The publish's key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        no: Option<u64>,
        /// `out_of_order`: the next `no`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expected: Option<u64>,
        /// `reused`: what is stored under the key, if known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
    },
    // Durable events.
    /// See [`CreatedBody`].
    Created(Event<CreatedBody<'static>>),
    /// See [`MessageBody`].
    Message(Event<MessageBody<'static>>),
    /// See [`EditBody`].
    Edit(Event<EditBody<'static>>),
    /// See [`DeleteBody`].
    Delete(Event<DeleteBody>),
    /// See [`ReactionBody`].
    Reaction(Event<ReactionBody<'static>>),
    /// See [`MemberBody`].
    Member(Event<MemberBody>),
    /// See [`SettingsBody`].
    Settings(Event<SettingsBody<'static>>),
    /// Slots that hold nothing for this client (withheld, skipped, or a late duplicate): the position moves over them.
    Hole {
        /// Where.
        conversation: ConversationId,
        /// Lifetime of the numbering.
        epoch: u32,
        /// First slot.
        from: u64,
        /// Last slot.
        to: u64,
        /// Resume token.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        at: String,
    },
    // Signals and the connection's own affairs.
    /// The replay after `resume: resumed` is complete: from here on everything is live.
    Resumed {
        /// Events that were replayed.
        events: u64,
        /// Resume token.
        at: String,
    },
    /// Somebody moved a cursor. Cursors only grow: take the larger one of each.
    Receipt {
        /// Where.
        conversation: ConversationId,
        /// Who.
        user: UserId,
        /// On a device up to here.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        delivered: Option<u64>,
        /// Seen up to here.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        read: Option<u64>,
    },
    /// Somebody types. Over after 6 s, or with the message (`producer`, `no` + 1).
    Typing {
        /// Where.
        conversation: ConversationId,
        /// Who.
        user: UserId,
        /// Whose next publish ends it.
        producer: Producer,
        /// Last used number.
        no: u64,
    },
    /// Presence of watched people: all of them after `watch`, then changes, at most once a second.
    Presence {
        /// The states.
        people: Vec<PresenceState>,
    },
    /// Something that only concerns this user changed elsewhere: refetch it.
    UserChanged {
        /// What.
        what: UserChange,
    },
    /// Everything of the conversation up to here is in the store: pendings up to it can be dropped.
    Persisted {
        /// Where.
        conversation: ConversationId,
        /// Lifetime of the numbering.
        epoch: u32,
        /// Up to here.
        seq: u64,
    },
    /// The connection lives, and this is the newest resume token.
    Beat {
        /// Resume token.
        at: String,
    },
    /// The node stops: reconnect after this long (each connection has a slot of its own).
    Goaway {
        /// Milliseconds from now.
        reconnect_in_ms: u64,
    },
}

/// The head of a durable event, for [`encode_event`].
#[derive(Debug, Clone, Copy)]
pub struct EventHead {
    /// What kind.
    pub kind: EventKind,
    /// Where.
    pub conversation: ConversationId,
    /// Lifetime of the numbering.
    pub epoch: u32,
    /// Its place.
    pub seq: u64,
    /// Messages up to it.
    pub ordinal: u64,
    /// Who.
    pub from: UserId,
    /// The key.
    pub producer: Producer,
    /// The key.
    pub no: u64,
    /// When.
    pub ts: u64,
}

/// Appends the JSON of a durable event to `out`. Shape: `body` is canonical JSON and is copied, never parsed.
/// The result equals what serde makes of the same [`Event`]; a test holds them together.
pub fn encode_event(out: &mut Vec<u8>, head: &EventHead, body: &[u8], at: &str) {
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(head.kind.as_str().as_bytes());
    out.extend_from_slice(b"\",\"conversation\":\"");
    push_hex::<32>(out, head.conversation.0);
    out.extend_from_slice(b"\",\"epoch\":");
    push_int(out, u64::from(head.epoch));
    out.extend_from_slice(b",\"seq\":");
    push_int(out, head.seq);
    out.extend_from_slice(b",\"ordinal\":");
    push_int(out, head.ordinal);
    out.extend_from_slice(b",\"from\":\"");
    push_hex::<16>(out, u128::from(head.from.0));
    out.extend_from_slice(b"\",\"producer\":\"");
    push_hex::<16>(out, u128::from(head.producer.0));
    out.extend_from_slice(b"\",\"no\":");
    push_int(out, head.no);
    out.extend_from_slice(b",\"ts\":");
    push_int(out, head.ts);
    out.extend_from_slice(b",\"body\":");
    out.extend_from_slice(body);
    if !at.is_empty() {
        out.extend_from_slice(b",\"at\":\"");
        out.extend_from_slice(at.as_bytes());
        out.push(b'"');
    }
    out.push(b'}');
}

/// Appends a decimal number.
pub fn push_int(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0u8; 20];
    let mut start = digits.len();
    let mut rest = value;
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::canonical;

    #[test]
    fn hand_written_encoding_equals_serde() {
        let body =
            MessageBody { text: "höi \"you\"\n".into(), reply_to: Some(3), attachments: vec![] };
        let event = Event {
            conversation: ConversationId::direct(UserId(1), UserId(2)),
            epoch: 1,
            seq: 12,
            ordinal: 7,
            from: UserId(1),
            producer: Producer(u64::MAX),
            no: 4,
            ts: 1_764_000_000_000,
            body: body.clone(),
            at: "1-88".into(),
        };
        let head = EventHead {
            kind: EventKind::Message,
            conversation: event.conversation,
            epoch: 1,
            seq: 12,
            ordinal: 7,
            from: event.from,
            producer: event.producer,
            no: 4,
            ts: event.ts,
        };
        let mut out = Vec::new();
        encode_event(&mut out, &head, &canonical(&body), "1-88");
        let serde = serde_json::to_string(&ServerFrame::Message(event)).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), serde);
    }
}
