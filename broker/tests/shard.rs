//! The shard's core, driven by hand: what a connection sees of publishes, batches, absences and removals.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up fails")]

use std::sync::Arc;

use backplane::{
    Batch, Envelope, Key, LogInfo, Logged, Membership, Revocation, Signal, UserFlags, Verdict,
    View, tail::SharedTail,
};
use broker::{
    config::ShardConfig,
    presence::PresenceMap,
    shard::{
        Action, Actions, AppendOutcome, AppendTicket, ConnectionId, Now, Principal, Shard,
        ViewTicket,
    },
};
use bytes::Bytes;
use protocol::{CloseCode, ConversationId, EventKind, Pos, Producer, Role, SessionId, UserId};
use serde_json::{Value, json};

const ADA: UserId = UserId(1);
const BOB: UserId = UserId(2);
const START: Now = Now { mono_ms: 1_000_000, wall_ms: 1_764_000_000_000 };

struct Bench {
    shard: Shard,
    tail: SharedTail,
    n: u64,
    closed: Vec<(ConnectionId, CloseCode)>,
    appends: Vec<(AppendTicket, Envelope)>,
    views: Vec<ViewTicket>,
}

impl Bench {
    fn new() -> Self {
        let log = LogInfo {
            partitions: 1,
            durability: "fsync".to_owned(),
            batch_envelopes_max: 1_024,
            batch_bytes_max: 256 * 1024,
        };
        let tail = SharedTail::default();
        tail.write().start(Pos::new(1, 0));
        let shard = Shard::new(
            ShardConfig::new("node".to_owned(), log),
            vec![tail.clone()],
            vec![Pos::new(1, 0)],
            Arc::new(PresenceMap::default()),
            Arc::new(|_, _| Err(token::TokenRefused)),
            7,
        );
        Self { shard, tail, n: 0, closed: vec![], appends: vec![], views: vec![] }
    }

    fn take(&mut self, actions: Actions) {
        for action in actions {
            match action {
                Action::Append { ticket, envelope, .. } => self.appends.push((ticket, envelope)),
                Action::LoadView { ticket, .. } => self.views.push(ticket),
                Action::Close { connection, code } => self.closed.push((connection, code)),
                _ => {}
            }
        }
    }

    fn step(&mut self, work: impl FnOnce(&mut Shard, &mut Actions)) {
        let mut actions = Actions::new();
        work(&mut self.shard, &mut actions);
        self.take(actions);
    }

    fn send(&mut self, connection: ConnectionId, command: &Value) {
        let mut text = command.to_string().into_bytes();
        self.step(|shard, actions| shard.on_text(connection, &mut text, START, actions));
    }

    /// Says hello; the view is answered by [`Self::answer_view`].
    fn hello(&mut self, user: UserId, resume: Option<&str>) -> ConnectionId {
        let principal = Principal {
            user,
            session: SessionId(u128::from(user.0)),
            expires_at_ms: START.wall_ms + 600_000,
            issued_at_ms: START.wall_ms,
            trusted: false,
        };
        let connection = self.shard.on_connect(principal, START);
        let mut hello = json!({"type": "hello"});
        if let Some(token) = resume {
            hello["resume"] = token.into();
        }
        self.send(connection, &hello);
        connection
    }

    fn answer_view(&mut self, view: View) {
        let ticket = self.views.pop().unwrap();
        self.step(|shard, actions| shard.on_view(ticket, Ok(view), START, actions));
    }

    fn connect(
        &mut self,
        user: UserId,
        groups: Vec<Membership>,
        resume: Option<&str>,
    ) -> ConnectionId {
        let connection = self.hello(user, resume);
        self.answer_view(view(groups));
        connection
    }

    fn batch(&mut self, events: Vec<Logged>) {
        self.n += 1;
        let batch = Arc::new(Batch { pos: Pos::new(1, self.n), ts: START.wall_ms, events });
        self.tail.write().push(Arc::clone(&batch));
        self.step(|shard, actions| shard.on_batch(0, &batch, START, actions));
    }

    /// Everything queued for a connection, as JSON.
    fn read(&mut self, connection: ConnectionId) -> Vec<Value> {
        let mut frames = Vec::new();
        loop {
            let mut out = Vec::new();
            self.step(|shard, actions| {
                shard.take_output(connection, 64 * 1024, &mut out, START, actions);
            });
            if out.is_empty() {
                return frames;
            }
            frames.extend(out.iter().map(|frame| {
                let begin = frame.iter().position(|byte| *byte == b'{').unwrap();
                serde_json::from_slice::<Value>(&frame[begin..]).unwrap()
            }));
        }
    }

    fn types(&mut self, connection: ConnectionId) -> Vec<String> {
        let frames = self.read(connection);
        frames.iter().map(|frame| frame["type"].as_str().unwrap().to_owned()).collect()
    }
}

fn view(groups: Vec<Membership>) -> View {
    View { as_of: vec![Pos::new(1, 0)], groups, blocked: vec![], flags: UserFlags::default() }
}

fn direct() -> ConversationId {
    ConversationId::direct(ADA, BOB)
}

fn group() -> ConversationId {
    ConversationId::group(9)
}

fn member(role: Role) -> Membership {
    Membership { conversation: group(), role: Some(role), since: 1, mver: 1, group: None }
}

fn event(
    conversation: ConversationId,
    from: UserId,
    seq: u64,
    kind: EventKind,
    body: &Value,
) -> Logged {
    let key = Key { conversation, user: from, producer: Producer(5), no: seq };
    let envelope = Envelope::new(key, 0, kind, Bytes::from(body.to_string()));
    Logged { seq, ordinal: seq, envelope }
}

fn message(conversation: ConversationId, from: UserId, seq: u64) -> Logged {
    event(conversation, from, seq, EventKind::Message, &json!({"text": format!("m{seq}")}))
}

fn publish(conversation: ConversationId, no: u64) -> Value {
    json!({"type": "publish", "id": no, "conversation": conversation,
        "producer": "0000000000000005", "no": no, "body": {"text": "hi"}})
}

#[test]
fn r6_hello_is_answered_by_welcome_and_nothing_works_before_it() {
    let mut bench = Bench::new();
    let connection = bench.hello(ADA, None);
    bench.send(connection, &publish(direct(), 1));
    assert_eq!(bench.read(connection)[0]["code"], "not_expected");
    bench.answer_view(view(vec![]));
    let welcome = &bench.read(connection)[0];
    assert_eq!((&welcome["type"], &welcome["resume"]), (&json!("welcome"), &json!("fresh")));
    assert!(bench.appends.is_empty());
}

#[test]
fn r9_text_that_is_no_command_is_answered_and_the_eleventh_ends_it() {
    let mut bench = Bench::new();
    let connection = bench.connect(ADA, vec![], None);
    bench.read(connection);
    for _ in 0..10 {
        bench.send(connection, &json!({"type": "subscribe"}));
        assert_eq!(bench.read(connection)[0]["code"], "invalid");
    }
    assert!(bench.closed.is_empty());
    bench.send(connection, &json!(["not", "an", "object"]));
    assert_eq!(bench.closed, [(connection, CloseCode::BadCommands)]);
}

#[test]
fn r18_a_conversation_that_was_never_created_is_a_final_error() {
    let mut bench = Bench::new();
    let connection = bench.connect(ADA, vec![], None);
    bench.read(connection);
    bench.send(connection, &publish(direct(), 1));
    let (ticket, _) = bench.appends.pop().unwrap();
    let verdicts = [(ticket, AppendOutcome::Verdict(Verdict::UnknownConversation))];
    bench.step(|shard, actions| shard.on_verdicts(&verdicts, START, actions));
    assert_eq!(bench.read(connection)[0]["code"], "unknown_conversation");
}

#[test]
fn r35_a_connection_without_a_byte_for_65_seconds_is_closed() {
    let mut bench = Bench::new();
    let (silent, alive) = (bench.connect(ADA, vec![], None), bench.connect(BOB, vec![], None));
    for elapsed in (0..=66_000).step_by(250) {
        let now = Now { mono_ms: START.mono_ms + elapsed, wall_ms: START.wall_ms + elapsed };
        bench.shard.on_bytes_received(alive, now);
        bench.step(|shard, actions| shard.on_tick(now, actions));
        assert!(elapsed >= 65_000 || bench.closed.is_empty(), "closed after {elapsed} ms");
    }
    assert_eq!(bench.closed, [(silent, CloseCode::PingTimeout)]);
}

#[test]
fn r10_an_ack_is_sent_only_after_the_log_has_answered() {
    let mut bench = Bench::new();
    let connection = bench.connect(ADA, vec![], None);
    bench.read(connection);
    bench.send(connection, &publish(direct(), 1));
    assert!(bench.read(connection).is_empty(), "nothing is promised yet");
    let (ticket, envelope) = bench.appends.pop().unwrap();
    assert_eq!((envelope.no, envelope.mver, envelope.from), (1, 0, ADA));
    let stored = Verdict::Stored { seq: 4, pos: Pos::new(1, 1), ts: 99 };
    let verdicts = [(ticket, AppendOutcome::Verdict(stored))];
    bench.step(|shard, actions| shard.on_verdicts(&verdicts, START, actions));
    let ack = &bench.read(connection)[0];
    assert_eq!((&ack["type"], &ack["seq"], &ack["no"]), (&json!("ack"), &json!(4), &json!(1)));
    bench.step(|shard, actions| shard.on_verdicts(&verdicts, START, actions));
    assert!(bench.read(connection).is_empty(), "acked once");
}

#[test]
fn r14_what_the_log_did_not_store_is_a_retryable_error() {
    let mut bench = Bench::new();
    let connection = bench.connect(ADA, vec![], None);
    bench.read(connection);
    for (outcome, code) in [
        (AppendOutcome::NotStored { retry_after_ms: 50 }, "unavailable"),
        (AppendOutcome::Unknown, "unknown"),
    ] {
        bench.send(connection, &publish(direct(), 1));
        let (ticket, _) = bench.appends.pop().unwrap();
        bench.step(|shard, actions| shard.on_verdicts(&[(ticket, outcome)], START, actions));
        let error = &bench.read(connection)[0];
        assert_eq!(
            (&error["code"], &error["no"], &error["id"]),
            (&json!(code), &json!(1), &json!(1))
        );
    }
}

#[test]
fn r15_every_connection_of_both_people_gets_the_event_once_and_strangers_nothing() {
    let mut bench = Bench::new();
    let (first, second) = (bench.connect(ADA, vec![], None), bench.connect(ADA, vec![], None));
    let (bob, cy) = (bench.connect(BOB, vec![], None), bench.connect(UserId(3), vec![], None));
    for connection in [first, second, bob, cy] {
        bench.read(connection);
    }
    bench.batch(vec![message(direct(), ADA, 1), message(direct(), BOB, 2)]);
    for connection in [first, second, bob] {
        let seqs: Vec<_> = bench.read(connection).iter().map(|f| f["seq"].clone()).collect();
        assert_eq!(seqs, [json!(1), json!(2)]);
    }
    assert!(bench.read(cy).is_empty());
}

#[test]
fn r20_someone_added_while_connecting_gets_everything_from_then_on() {
    let mut bench = Bench::new();
    let bob = bench.hello(BOB, None);
    let joins = json!({"changes": [{"user": BOB, "role": "member"}]});
    bench.batch(vec![event(group(), ADA, 5, EventKind::Member, &joins)]);
    // The store did not know of it yet when the view was read.
    bench.answer_view(view(vec![]));
    bench.read(bob);
    bench.batch(vec![message(group(), ADA, 6)]);
    assert_eq!(bench.types(bob), ["message"]);
}

#[test]
fn r21_a_blocked_senders_messages_are_holes() {
    let mut bench = Bench::new();
    let connection = bench.hello(ADA, None);
    bench.answer_view(View { blocked: vec![BOB], ..view(vec![]) });
    bench.read(connection);
    bench.batch(vec![message(direct(), BOB, 1)]);
    let hole = &bench.read(connection)[0];
    assert_eq!((&hole["type"], &hole["from"], &hole["to"]), (&json!("hole"), &json!(1), &json!(1)));
}

#[test]
fn r23_a_removed_member_gets_the_removal_and_nothing_after_it() {
    let mut bench = Bench::new();
    let ada = bench.connect(ADA, vec![member(Role::Owner)], None);
    let bob = bench.connect(BOB, vec![member(Role::Member)], None);
    bench.read(ada);
    bench.read(bob);
    let removal = json!({"changes": [{"user": BOB, "role": null}]});
    bench.batch(vec![
        message(group(), ADA, 2),
        event(group(), ADA, 3, EventKind::Member, &removal),
        message(group(), ADA, 4),
    ]);
    assert_eq!(bench.types(bob), ["message", "member"]);
    assert_eq!(bench.types(ada), ["message", "member", "message"]);
}

#[test]
fn r27_absences_of_ten_and_of_ten_thousand_events_are_replayed_in_order() {
    for absent in [10u64, 10_000] {
        let mut bench = Bench::new();
        let connection = bench.connect(BOB, vec![], None);
        let token = bench.read(connection)[0]["at"].as_str().unwrap().to_owned();
        bench.shard.on_disconnect(connection, START);
        for seq in 1..=absent {
            bench.batch(vec![message(direct(), ADA, seq)]);
        }
        let again = bench.connect(BOB, vec![], Some(&token));
        let frames = bench.read(again);
        assert_eq!(frames[0]["resume"], "resumed");
        let messages = frames.iter().filter(|f| f["type"] == "message");
        let seqs: Vec<u64> = messages.map(|f| f["seq"].as_u64().unwrap()).collect();
        assert_eq!(seqs, (1..=absent).collect::<Vec<_>>(), "{absent}");
        assert_eq!(frames.last().unwrap()["type"], "resumed");
        bench.batch(vec![message(direct(), ADA, absent + 1)]);
        assert_eq!(bench.types(again), ["message"], "live again");
    }
}

#[test]
fn r28_a_token_that_memory_does_not_cover_is_a_reset() {
    let mut bench = Bench::new();
    bench.batch(vec![message(direct(), ADA, 1)]);
    let connection = bench.connect(BOB, vec![], Some("7-9"));
    assert_eq!(bench.read(connection)[0]["resume"], "reset");
}

#[test]
fn r37_a_revoked_session_is_closed_and_others_stay() {
    let mut bench = Bench::new();
    let (ada, bob) = (bench.connect(ADA, vec![], None), bench.connect(BOB, vec![], None));
    let revoked = [Signal::Revoked(Revocation::Session(SessionId(1)))];
    bench.step(|shard, actions| shard.on_signals(&revoked, START, actions));
    assert_eq!(bench.closed, [(ada, CloseCode::Unauthorized)]);
    bench.send(bob, &json!({"type": "ping", "id": 3}));
    assert_eq!(bench.read(bob).last().unwrap(), &json!({"type": "ok", "id": 3}));
}

#[test]
fn r38_a_reader_that_never_reads_is_closed_as_slow_and_others_are_not() {
    let mut bench = Bench::new();
    let (ada, bob) = (bench.connect(ADA, vec![], None), bench.connect(BOB, vec![], None));
    for seq in 1..=6_000 {
        bench.batch(vec![message(direct(), ADA, seq)]);
        bench.read(ada);
    }
    assert_eq!(bench.closed, [(bob, CloseCode::SlowConsumer)]);
}
