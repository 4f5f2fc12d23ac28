//! The core driven by hand: batches, verdicts and time in, frames and actions out.
//!
//! Owns: the harness [`Node`]. Never does: tasks, sockets. Talks to: the shard. Start reading at: [`Node`].

mod delivering;
mod publishing;
mod returning;
mod staying;

use std::sync::Arc;

use backplane::{
    Batch, Envelope, Key, LogInfo, Logged, Membership, UserFlags, Verdict, View, tail::SharedTail,
};
use bytes::Bytes;
use protocol::{
    CloseCode, ConversationId, EventKind, Pos, Producer, Role, SessionId, UserId,
    body::{DeleteBody, EditBody, MemberBody, MemberChange, MessageBody, canonical},
};
use serde_json::Value;
use token::{Audience, Claims, TokenRefused};

use super::*;

const ADA: UserId = UserId(1);
const BOB: UserId = UserId(2);
const CY: UserId = UserId(3);
const START_MS: u64 = 1_764_000_000_000;
const LIFE_MS: u64 = 600_000;

fn group() -> ConversationId {
    ConversationId::group(7)
}

fn direct() -> ConversationId {
    ConversationId::direct(ADA, BOB)
}

/// One shard of one partition with a Tail, a clock, and what the edge would have done.
struct Node {
    shard: Shard,
    tail: SharedTail,
    now: Now,
    actions: Actions,
    n: u64,
}

impl Node {
    fn new() -> Self {
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut ShardConfig)) -> Self {
        let info = LogInfo {
            partitions: 1,
            durability: "fsync".into(),
            batch_envelopes_max: 1_024,
            batch_bytes_max: 262_144,
        };
        let mut config = ShardConfig::new("test".into(), info);
        change(&mut config);
        let tail = SharedTail::default();
        tail.write().start(Pos::new(1, 0));
        let verify: VerifyToken = Arc::new(|text, now_seconds| match text {
            "good" => Ok(Claims::new(Audience::Socket, ADA, SessionId(1), now_seconds)),
            "foreign" => Ok(Claims::new(Audience::Socket, ADA, SessionId(99), now_seconds)),
            _ => Err(TokenRefused),
        });
        let (tails, cursor) = (vec![tail.clone()], vec![Pos::new(1, 0)]);
        let shard = Shard::new(config, tails, cursor, Arc::default(), verify, 42);
        let now = Now { mono_ms: 1_000_000, wall_ms: START_MS };
        Self { shard, tail, now, actions: Actions::new(), n: 0 }
    }

    fn connect(&mut self, user: UserId) -> ConnectionId {
        self.connect_from(user, false)
    }

    fn connect_from(&mut self, user: UserId, trusted: bool) -> ConnectionId {
        let principal = Principal {
            user,
            session: SessionId(u128::from(user.0)),
            expires_at_ms: self.now.wall_ms + LIFE_MS,
            issued_at_ms: self.now.wall_ms,
            trusted,
        };
        self.shard.on_connect(principal, self.now)
    }

    fn hello(&mut self, id: ConnectionId, resume: Option<&str>) -> ViewTicket {
        let resume = resume.map(|token| format!(",\"resume\":\"{token}\"")).unwrap_or_default();
        self.say(id, &format!("{{\"type\":\"hello\"{resume}}}"));
        let loads = self.take(|action| match action {
            Action::LoadView { ticket, .. } => Some(*ticket),
            _ => None,
        });
        loads[0]
    }

    fn answer(&mut self, ticket: ViewTicket, view: View) {
        self.shard.on_view(ticket, Ok(view), self.now, &mut self.actions);
    }

    /// Connects, and swallows the welcome.
    fn online(&mut self, user: UserId, view: View) -> ConnectionId {
        let id = self.connect(user);
        let ticket = self.hello(id, None);
        self.answer(ticket, view);
        assert_eq!(kinds(&self.read(id)), ["welcome"]);
        id
    }

    fn say(&mut self, id: ConnectionId, text: &str) {
        let mut bytes = text.as_bytes().to_vec();
        self.shard.on_text(id, &mut bytes, self.now, &mut self.actions);
    }

    fn publish(&mut self, id: ConnectionId, conversation: ConversationId, no: u64) {
        self.say(id, &format!(
            "{{\"type\":\"publish\",\"conversation\":\"{conversation}\",\"producer\":\"{}\",\"no\":{no},\"body\":{{\"text\":\"hi\"}}}}",
            Producer(9)
        ));
    }

    /// Appends that the edge was asked for.
    fn appends(&mut self) -> Vec<(AppendTicket, Envelope)> {
        self.take(|action| match action {
            Action::Append { ticket, envelope, .. } => Some((*ticket, envelope.clone())),
            _ => None,
        })
    }

    fn verdict(&mut self, ticket: AppendTicket, verdict: Verdict) {
        let outcome = AppendOutcome::Verdict(verdict);
        self.shard.on_verdicts(&[(ticket, outcome)], self.now, &mut self.actions);
    }

    fn take<T>(&mut self, pick: impl Fn(&Action) -> Option<T>) -> Vec<T> {
        let picked = self.actions.iter().filter_map(&pick).collect();
        self.actions.retain(|action| pick(action).is_none());
        picked
    }

    fn closed(&mut self) -> Vec<(ConnectionId, CloseCode)> {
        self.take(|action| match action {
            Action::Close { connection, code } => Some((*connection, *code)),
            _ => None,
        })
    }

    /// What the follower does: first the Tail, then the ring.
    fn batch(&mut self, events: Vec<Logged>) -> Arc<Batch> {
        let batch = self.tail_only(events);
        self.shard.on_batch(0, &batch, self.now, &mut self.actions);
        batch
    }

    fn tail_only(&mut self, events: Vec<Logged>) -> Arc<Batch> {
        self.n += 1;
        let batch = Arc::new(Batch { pos: Pos::new(1, self.n), ts: self.now.wall_ms, events });
        self.tail.write().push(Arc::clone(&batch));
        batch
    }

    fn pass(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.wall_ms += ms;
        self.shard.on_tick(self.now, &mut self.actions);
    }

    /// Text frames that a socket would have carried, up to so many bytes.
    fn read_some(&mut self, id: ConnectionId, bytes_max: usize) -> Vec<Value> {
        let mut out = Vec::new();
        self.shard.take_output(id, bytes_max, &mut out, self.now, &mut self.actions);
        out.iter().filter_map(json).collect()
    }

    fn read(&mut self, id: ConnectionId) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let mut out = Vec::new();
            if self.shard.take_output(id, 65_536, &mut out, self.now, &mut self.actions) == 0 {
                return all;
            }
            all.extend(out.iter().filter_map(json));
        }
    }
}

fn json(frame: &Bytes) -> Option<Value> {
    // A beat comes in one piece with its ping.
    let frame = frame.strip_prefix(&[0x89, 0]).filter(|rest| !rest.is_empty()).unwrap_or(frame);
    let header = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    (frame[0] == 0x81).then(|| serde_json::from_slice(&frame[header..]).unwrap())
}

fn kinds(frames: &[Value]) -> Vec<&str> {
    frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect()
}

fn seqs(frames: &[Value]) -> Vec<u64> {
    frames.iter().filter_map(|frame| frame["seq"].as_u64()).collect()
}

fn event(
    conversation: ConversationId,
    from: UserId,
    seq: u64,
    kind: EventKind,
    body: Vec<u8>,
) -> Logged {
    let key = Key { conversation, user: from, producer: Producer(9), no: seq };
    Logged { seq, ordinal: seq, envelope: Envelope::new(key, 0, kind, body.into()) }
}

fn message(conversation: ConversationId, from: UserId, seq: u64) -> Logged {
    let body = MessageBody { text: "hi".into(), reply_to: None, attachments: vec![] };
    event(conversation, from, seq, EventKind::Message, canonical(&body))
}

fn edit(seq: u64, target: u64) -> Logged {
    let body = EditBody { target, text: "new".into() };
    event(group(), ADA, seq, EventKind::Edit, canonical(&body))
}

fn member(seq: u64, user: UserId, role: Option<Role>) -> Logged {
    let changes = vec![MemberChange { user, role, since: 0 }];
    event(group(), ADA, seq, EventKind::Member, canonical(&MemberBody { changes }))
}

fn in_group(mver: u64) -> View {
    let role = Some(Role::Member);
    let membership = Membership { conversation: group(), role, since: 1, mver, group: None };
    View { as_of: vec![Pos::new(1, 0)], groups: vec![membership], ..View::default() }
}
