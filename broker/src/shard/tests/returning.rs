//! Resume. Owns: rules R26–R28, R38. Never does: appends. Talks to: the harness. Start reading at: the top.

use super::*;

fn resume(node: &mut Node, user: UserId, token: &str, view: View) -> ConnectionId {
    let id = node.connect(user);
    let ticket = node.hello(id, Some(token));
    node.answer(ticket, view);
    id
}

#[test]
fn r27_ten_missed_events_come_between_welcome_and_resumed() {
    let mut node = Node::new();
    for seq in 1..=12 {
        node.batch(vec![
            message(direct(), ADA, seq),
            message(ConversationId::direct(ADA, CY), CY, seq),
        ]);
    }
    let bob = resume(&mut node, BOB, "1-2", View::default());
    let frames = node.read(bob);
    assert_eq!(frames[0]["resume"], "resumed");
    assert_eq!(seqs(&frames), (3..=12).collect::<Vec<_>>());
    assert_eq!(frames[1]["at"], "1-2");
    let last = frames.last().unwrap();
    assert_eq!(
        (&last["type"], &last["events"], &last["at"]),
        (&"resumed".into(), &10.into(), &"1-12".into())
    );
    node.batch(vec![message(direct(), ADA, 13)]);
    assert_eq!(seqs(&node.read(bob)), [13]);
}

#[test]
fn r27_ten_thousand_events_come_in_pages_while_new_ones_arrive_and_each_comes_once() {
    let mut node = Node::new();
    for batch in 0..100 {
        node.batch((1..=100).map(|i| message(direct(), ADA, batch * 100 + i)).collect());
    }
    let bob = resume(&mut node, BOB, "1-0", View::default());
    let mut frames = Vec::new();
    let mut next = 10_001;
    while frames.last().is_none_or(|frame: &Value| frame["type"] != "resumed") {
        frames.extend(node.read_some(bob, 16_384));
        if next <= 10_050 {
            node.batch(vec![message(direct(), ADA, next)]);
            next += 1;
        }
        let connection = &node.shard.connections[0];
        assert!(connection.outbox.bytes() < node.shard.config.outbox_bytes_max);
    }
    frames.extend(node.read(bob));
    assert!(node.closed().is_empty());
    assert_eq!(seqs(&frames), (1..next).collect::<Vec<_>>());
}

#[test]
fn r28_a_token_that_the_tail_does_not_cover_is_reset_and_then_live() {
    let mut node = Node::new();
    node.batch(vec![message(direct(), ADA, 1)]);
    for token in ["2-0", "1-99", "nonsense", "1-0.1-0"] {
        let bob = resume(&mut node, BOB, token, View::default());
        let frames = node.read(bob);
        assert_eq!(
            (kinds(&frames), &frames[0]["resume"]),
            (vec!["welcome"], &"reset".into()),
            "{token}"
        );
    }
    let n = protocol::limits::RESUME_EVENTS_MAX as u64;
    node.batch((2..=n + 1).map(|seq| message(direct(), ADA, seq)).collect());
    let bob = resume(&mut node, BOB, "1-0", View::default());
    assert_eq!(node.read(bob)[0]["resume"], "reset", "too much to replay");
}

#[test]
fn r23_a_replay_shows_a_group_from_joining_to_leaving_and_no_more() {
    let mut node = Node::new();
    for seq in 1..=8 {
        let event = match seq {
            3 => member(3, BOB, Some(Role::Member)),
            6 => member(6, BOB, None),
            _ => message(group(), ADA, seq),
        };
        node.batch(vec![event]);
    }
    let mut view = in_group(6);
    view.groups[0].role = None;
    view.groups[0].since = 3;
    let bob = resume(&mut node, BOB, "1-0", view);
    let frames = node.read(bob);
    assert_eq!(seqs(&frames), [3, 4, 5, 6]);
    assert_eq!(kinds(&frames)[1..3], ["hole", "member"]);
}

#[test]
fn r23_a_replay_tells_nothing_about_messages_from_before() {
    let mut node = Node::new();
    node.batch(vec![
        message(group(), ADA, 2),
        member(3, BOB, Some(Role::Member)),
        message(group(), ADA, 4),
        edit(5, 2),
        edit(6, 4),
    ]);
    let mut view = in_group(3);
    view.groups[0].since = 3;
    let bob = resume(&mut node, BOB, "1-0", view);
    let frames = node.read(bob);
    assert_eq!(kinds(&frames)[1..6], ["hole", "member", "message", "hole", "edit"]);
}

#[test]
fn r38_typing_falls_first_and_a_full_outbox_closes_with_4408() {
    let mut node = Node::with(|config| config.outbox_events_max = 10);
    let bob = node.online(BOB, View::default());
    node.say(bob, &format!("{{\"type\":\"watch\",\"conversations\":[\"{}\"]}}", direct()));
    node.read(bob);
    node.batch((1..=5).map(|seq| message(direct(), ADA, seq)).collect());
    let signal = backplane::Signal::Typing {
        conversation: direct(),
        user: ADA,
        producer: Producer(9),
        no: 77,
    };
    node.shard.on_signals(&[signal], node.now, &mut node.actions);
    node.batch((6..=10).map(|seq| message(direct(), ADA, seq)).collect());
    assert!(node.closed().is_empty());
    node.batch((11..=12).map(|seq| message(direct(), ADA, seq)).collect());
    assert_eq!(node.closed(), [(bob, CloseCode::SlowConsumer)]);
    assert_eq!(kinds(&node.read(bob)), ["message"; 10]);
}

#[test]
fn r38_a_shard_that_fell_off_the_ring_sends_its_connections_to_resume() {
    let mut node = Node::new();
    let bob = node.online(BOB, View::default());
    node.tail_only(vec![message(direct(), ADA, 1)]);
    node.shard.on_ring_lost(vec![Pos::new(1, 1)], &mut node.actions);
    assert_eq!(node.closed(), [(bob, CloseCode::SlowConsumer)]);
    node.shard.on_disconnect(bob, node.now);
    let bob = resume(&mut node, BOB, "1-0", View::default());
    assert_eq!(kinds(&node.read(bob)), ["welcome", "message", "resumed"]);
}

#[test]
fn r26_one_wake_is_enough_until_the_outbox_is_empty() {
    let mut node = Node::new();
    let bob = node.online(BOB, View::default());
    node.actions.clear();
    let wakes = |node: &mut Node| node.take(|a| (*a == Action::Wake(bob)).then_some(())).len();
    node.batch((1..=3).map(|seq| message(direct(), ADA, seq)).collect());
    assert_eq!(wakes(&mut node), 1);
    node.read(bob);
    node.batch(vec![message(direct(), ADA, 4)]);
    assert_eq!(wakes(&mut node), 1);
}
