//! Hello, heartbeats, expiry, revocation, drain. Owns: rules R6–R9, R34–R39. Never does: delivery.
//! Talks to: the harness. Start reading at: the top.

use backplane::{ArchiveError, Revocation, Signal};
use protocol::event::UserChange;

use super::*;
use crate::config::Rate;

#[test]
fn r6_hello_comes_first_and_once_and_in_time() {
    let mut node = Node::new();
    let ada = node.connect(ADA);
    node.say(ada, "{\"type\":\"ping\",\"id\":3}");
    let frame = node.read(ada).remove(0);
    assert_eq!((&frame["code"], &frame["id"]), (&"not_expected".into(), &3.into()));
    let ticket = node.hello(ada, None);
    node.say(ada, "{\"type\":\"hello\"}");
    assert_eq!(node.read(ada)[0]["code"], "not_expected");
    node.answer(ticket, View::default());
    let welcome = node.read(ada).remove(0);
    assert_eq!((&welcome["resume"], &welcome["at"]), (&"fresh".into(), &"1-0".into()));
    let silent = node.connect(BOB);
    node.pass(9_000);
    assert!(node.closed().is_empty());
    node.pass(2_000);
    assert_eq!(node.closed(), [(silent, CloseCode::HelloTimeout)]);
}

#[test]
fn r6_without_a_view_the_client_comes_back_later_and_a_disabled_account_does_not() {
    let mut node = Node::new();
    let ada = node.connect(ADA);
    let ticket = node.hello(ada, None);
    let error = Err(ArchiveError("down".into()));
    node.shard.on_view(ticket, error, node.now, &mut node.actions);
    assert_eq!(node.closed(), [(ada, CloseCode::TryAgainLater)]);
    let bob = node.connect(BOB);
    let ticket = node.hello(bob, None);
    let flags = UserFlags { disabled: true, ..UserFlags::default() };
    node.answer(ticket, View { flags, ..View::default() });
    assert_eq!(node.closed(), [(bob, CloseCode::Forbidden)]);
}

#[test]
fn r9_ten_bad_commands_are_answered_and_the_next_one_closes() {
    let mut node = Node::new();
    let ada = node.online(ADA, View::default());
    for _ in 0..10 {
        node.say(ada, "nonsense");
    }
    assert!(node.closed().is_empty());
    assert_eq!(node.read(ada).len(), 10);
    node.say(ada, "nonsense");
    assert_eq!(node.closed(), [(ada, CloseCode::BadCommands)]);
}

#[test]
fn r34_r35_pings_come_with_beats_no_silence_is_over_36_s_and_a_dead_client_is_closed() {
    let mut node = Node::new();
    let ada = node.online(ADA, View::default());
    let mut silent_ms = 0;
    for _ in 0..600 {
        node.pass(500);
        node.shard.on_bytes_received(ada, node.now);
        silent_ms += 500;
        if !node.read(ada).is_empty() {
            silent_ms = 0;
        }
        assert!(silent_ms <= 36_000);
    }
    assert!(node.closed().is_empty());
    for _ in 0..64 {
        node.pass(1_000);
    }
    assert_eq!(node.closed(), []);
    node.pass(2_000);
    assert_eq!(node.closed(), [(ada, CloseCode::PingTimeout)]);
}

#[test]
fn r36_the_connection_ends_with_its_token_unless_reauth_renews_it() {
    let mut node = Node::new();
    let (ada, bob) = (node.online(ADA, View::default()), node.online(BOB, View::default()));
    let step = |node: &mut Node, seconds: u64| {
        for _ in 0..seconds {
            node.pass(1_000);
            for id in [ada, bob] {
                node.shard.on_bytes_received(id, node.now);
            }
        }
    };
    step(&mut node, 500);
    node.read(ada);
    for (token, answer) in [("foreign", "error"), ("bad", "error"), ("good", "ok")] {
        node.say(ada, &format!("{{\"type\":\"reauth\",\"token\":\"{token}\"}}"));
        assert_eq!(kinds(&node.read(ada)), [answer], "{token}");
    }
    step(&mut node, 102);
    assert_eq!(node.closed(), [(bob, CloseCode::Unauthorized)]);
    step(&mut node, 499);
    assert_eq!(node.closed(), [(ada, CloseCode::Unauthorized)]);
}

#[test]
fn r37_revocation_ends_the_session_and_spares_the_excepted_one() {
    let mut node = Node::new();
    let (ada, bob) = (node.online(ADA, View::default()), node.online(BOB, View::default()));
    let revoke = |node: &mut Node, revocation| {
        node.shard.on_signals(&[Signal::Revoked(revocation)], node.now, &mut node.actions);
        node.closed()
    };
    let spared = Revocation::User { user: BOB, except: Some(SessionId(2)) };
    assert_eq!(revoke(&mut node, spared), []);
    let all = Revocation::User { user: BOB, except: None };
    assert_eq!(revoke(&mut node, all), [(bob, CloseCode::Unauthorized)]);
    let session = Revocation::Session(SessionId(1));
    assert_eq!(revoke(&mut node, session), [(ada, CloseCode::Unauthorized)]);
}

#[test]
fn r39_drain_answers_what_is_in_flight_refuses_the_rest_and_closes_in_slots() {
    let mut node = Node::new();
    let (ada, bob) = (node.online(ADA, View::default()), node.online(BOB, View::default()));
    node.publish(ada, direct(), 1);
    let (ticket, _) = node.appends().remove(0);
    node.shard.on_drain_begin(2_000, node.now, &mut node.actions);
    node.publish(bob, direct(), 1);
    let frames = node.read(bob);
    assert_eq!((kinds(&frames), &frames[1]["code"]), (vec!["goaway", "error"], &"draining".into()));
    node.pass(2_000);
    assert_eq!(node.closed(), [(bob, CloseCode::ServiceRestart)]);
    node.verdict(ticket, Verdict::Stored { seq: 1, pos: Pos::new(1, 1), ts: 5 });
    node.pass(100);
    assert_eq!(node.closed(), [(ada, CloseCode::ServiceRestart)]);
    assert_eq!(kinds(&node.read(ada)), ["goaway", "ack"]);
}

#[test]
fn a_late_call_for_a_closed_connection_does_not_hit_its_successor() {
    let mut node = Node::new();
    let ada = node.online(ADA, View::default());
    node.shard.on_disconnect(ada, node.now);
    let bob = node.online(BOB, View::default());
    assert_eq!(ada.0 as u32, bob.0 as u32, "same slot");
    node.say(ada, "{\"type\":\"ping\"}");
    node.shard.on_disconnect(ada, node.now);
    assert!(node.read(bob).is_empty());
    assert_eq!(node.shard.n_connections(), 1);
}

#[test]
fn r41_budgets_hold_for_people_and_not_for_a_load_test() {
    let mut node = Node::with(|config| {
        config.other = Rate { per_second: 1, burst: 2 };
        config.frames = Rate { per_second: 1, burst: 2 };
    });
    for (user, trusted) in [(ADA, false), (BOB, true)] {
        let id = node.connect_from(user, trusted);
        let ticket = node.hello(id, None);
        node.answer(ticket, View::default());
        node.read(id);
        (0..3).for_each(|_| node.say(id, "{\"type\":\"ping\"}"));
        let limited = node.read(id).iter().any(|frame| frame["code"] == "rate_limited");
        (0..3).for_each(|_| node.shard.on_frame(id, node.now, &mut node.actions));
        let closed = !node.closed().is_empty();
        assert_eq!((limited, closed), (!trusted, !trusted));
    }
}

/// What others hear of a user.
fn announced(node: &mut Node) -> Vec<(UserId, bool)> {
    node.take(|action| match action {
        Action::Announce(change) => Some((change.user, change.online)),
        _ => None,
    })
}

#[test]
fn who_comes_back_within_the_grace_never_went_and_who_hid_meanwhile_goes() {
    let mut node = Node::new();
    let first = node.online(ADA, View::default());
    assert_eq!(announced(&mut node), [(ADA, true)]);
    // Twice within one grace: the first leave's time must not end the second one's.
    node.shard.on_disconnect(first, node.now);
    node.pass(3_000);
    let second = node.online(ADA, View::default());
    node.shard.on_disconnect(second, node.now);
    node.pass(3_000);
    assert_eq!(announced(&mut node), []);
    node.pass(3_000);
    assert_eq!(announced(&mut node), [(ADA, false)]);

    let third = node.online(ADA, View::default());
    node.shard.on_disconnect(third, node.now);
    let flags = UserFlags { hidden: true, ..UserFlags::default() };
    node.online(ADA, View { flags, ..View::default() });
    assert_eq!(announced(&mut node), [(ADA, true), (ADA, false)]);
    node.pass(9_000);
    assert_eq!(announced(&mut node), []);
}

/// The view of a further connection was the first to tell of it, and was taken over without a word: others saw them online
/// until a node ended, since nobody announces that somebody hidden has gone.
#[test]
fn r32_who_hides_is_gone_for_others_whichever_view_tells_of_it_first() {
    let mut node = Node::new();
    node.online(ADA, View::default());
    assert_eq!(announced(&mut node), [(ADA, true)]);
    let flags = UserFlags { hidden: true, ..UserFlags::default() };
    node.online(ADA, View { flags, ..View::default() });
    assert_eq!(announced(&mut node), [(ADA, false)]);
    node.online(ADA, View::default());
    assert_eq!(announced(&mut node), [(ADA, true)]);
}

/// Another shard had them in its grace, with nobody to hear the change, and was not the last one when that ended.
#[test]
fn r32_who_hid_while_a_grace_ran_on_another_shard_is_gone_for_others() {
    let mut node = Node::new();
    node.shard.presence.local_up(ADA);
    let flags = UserFlags { hidden: true, ..UserFlags::default() };
    let ada = node.online(ADA, View { flags, ..View::default() });
    assert_eq!(announced(&mut node), [(ADA, false)]);
    assert!(!node.shard.presence.local_down(ADA), "this shard counts them too");
    node.shard.on_disconnect(ada, node.now);
    node.pass(9_000);
    assert_eq!(announced(&mut node), []);
}

/// Views are read beside the shard, and may come in another order than they were asked for: the older one undid a block.
#[test]
fn r21_an_older_view_does_not_undo_what_a_newer_one_told() {
    let mut node = Node::new();
    let first = node.online(ADA, View::default());
    let second = node.connect(ADA);
    let late = node.hello(second, None);
    let signal = Signal::UserChanged { user: ADA, what: UserChange::Blocked };
    node.shard.on_signals(&[signal], node.now, &mut node.actions);
    let asked = node.take(|action| match action {
        Action::LoadView { ticket, .. } => Some(*ticket),
        _ => None,
    });
    node.answer(asked[0], View { blocked: vec![BOB], ..View::default() });
    node.answer(late, View::default());
    node.batch(vec![message(direct(), BOB, 1)]);
    for id in [first, second] {
        assert_eq!(kinds(&node.read(id)).last(), Some(&"hole"));
    }
}

#[test]
fn r31_r41_what_is_shed_under_overload_waits_or_is_refused_and_comes_back() {
    let mut node = Node::new();
    let ada = node.online(ADA, View::default());
    let bob = node.online(BOB, View::default());
    let conversation = direct();
    node.say(
        bob,
        &format!("{{\"type\":\"watch\",\"people\":[],\"conversations\":[\"{conversation}\"]}}"),
    );
    node.read(bob);
    let typing = Signal::Typing { conversation, user: ADA, producer: Producer(1), no: 1 };
    let merges = |action: &Action| matches!(action, Action::MergeReceipt(..)).then_some(());

    node.shard.set_ladder(1);
    node.shard.on_signals(std::slice::from_ref(&typing), node.now, &mut node.actions);
    assert!(node.read(bob).is_empty(), "typing is shed");

    node.shard.set_ladder(2);
    node.say(
        ada,
        &format!("{{\"type\":\"receipt\",\"conversation\":\"{conversation}\",\"read\":1}}"),
    );
    node.pass(3_000);
    assert!(node.take(merges).is_empty(), "the cursor waits");

    node.shard.set_ladder(3);
    node.publish(ada, conversation, 1);
    let refused = node.read(ada).remove(0);
    assert_eq!(
        (&refused["code"], &refused["retry_after_ms"]),
        (&"overloaded".into(), &1_000.into())
    );

    node.shard.set_ladder(0);
    node.pass(1_000);
    assert_eq!(node.take(merges).len(), 1, "and is passed on");
    node.shard.on_signals(&[typing], node.now, &mut node.actions);
    assert_eq!(kinds(&node.read(bob)), ["typing"]);
    node.publish(ada, conversation, 1);
    let appends = node.take(|action| matches!(action, Action::Append { .. }).then_some(()));
    assert_eq!(appends.len(), 1);
}
