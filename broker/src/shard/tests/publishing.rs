//! Publish, verdicts, deadlines. Owns: rules R10–R18. Never does: delivery. Talks to: the harness.
//! Start reading at: the top.

use backplane::{ArchiveError, Earlier, Found, Head, ProducerState};

use super::*;

fn stored(seq: u64, n: u64) -> Verdict {
    Verdict::Stored { seq, pos: Pos::new(1, n), ts: 5 }
}

#[test]
fn r10_ack_comes_once_and_only_after_the_verdict() {
    let mut node = Node::new();
    let ada = node.online(ADA, View::default());
    node.publish(ada, direct(), 1);
    assert!(node.read(ada).is_empty());
    let (ticket, envelope) = node.appends().remove(0);
    assert_eq!((envelope.conversation, envelope.mver, envelope.no), (direct(), 0, 1));
    node.verdict(ticket, stored(12, 1));
    node.verdict(ticket, stored(12, 1));
    let frames = node.read(ada);
    assert_eq!((kinds(&frames), seqs(&frames)), (vec!["ack"], vec![12]));
    assert_eq!(node.shard.n_unacked(), 0);
}

#[test]
fn r10_the_mutant_that_acks_before_the_append_is_seen() {
    let mut node = Node::with(|c| c.mutation = Some(crate::config::Mutation::AckBeforeAppend));
    let ada = node.online(ADA, View::default());
    node.publish(ada, direct(), 1);
    assert_eq!(kinds(&node.read(ada)), ["ack"]);
}

/// A re-send was acked with the time of the re-send when the Tail did not have the event.
#[test]
fn r11_r17_a_duplicate_gets_the_same_ack_and_the_same_persisted() {
    let mut node = Node::new();
    let ada = node.online(ADA, View::default());
    let mut round = |verdict: Verdict| {
        node.publish(ada, direct(), 1);
        let (ticket, _) = node.appends().remove(0);
        node.verdict(ticket, verdict);
        let ack = node.read(ada).remove(0);
        node.pass(1_000);
        assert!(node.read(ada).is_empty(), "W is at 6");
        node.shard.on_watermark(0, Pos::new(1, 7));
        node.pass(1_000);
        let persisted = node.read(ada).remove(0);
        node.shard.watermark.0[0] = Pos::new(1, 6);
        (ack, persisted)
    };
    let (pos, ts) = (Pos::new(1, 7), 5);
    let first = round(Verdict::Stored { seq: 12, pos, ts });
    assert_eq!(
        (first.0["type"].as_str(), first.1["type"].as_str()),
        (Some("ack"), Some("persisted"))
    );
    assert_eq!(round(Verdict::Dup { seq: 12, pos, ts }), first);
}

#[test]
fn r12_r13_r18_refusals_carry_what_the_client_needs() {
    let mut node = Node::new();
    let ada = node.online(ADA, View::default());
    let cases = [
        (Verdict::Reused { seq: 4 }, "reused", "seq", 4),
        (Verdict::OutOfOrder { expected: 3 }, "out_of_order", "expected", 3),
        (Verdict::UnknownConversation, "unknown_conversation", "no", 1),
    ];
    for (verdict, code, field, value) in cases {
        node.publish(ada, direct(), 1);
        let (ticket, _) = node.appends().remove(0);
        node.verdict(ticket, verdict);
        let frame = node.read(ada).remove(0);
        assert_eq!((frame["code"].as_str(), frame[field].as_u64()), (Some(code), Some(value)));
    }
}

#[test]
fn r14_a_publish_without_an_answer_is_unknown_and_a_late_verdict_changes_nothing() {
    let mut node = Node::new();
    let ada = node.online(ADA, View::default());
    node.publish(ada, direct(), 1);
    let (ticket, _) = node.appends().remove(0);
    node.pass(4_999);
    assert!(node.read(ada).is_empty());
    node.pass(1);
    assert_eq!(node.read(ada)[0]["code"], "unknown");
    node.verdict(ticket, stored(1, 1));
    assert!(node.read(ada).is_empty());
}

#[test]
fn r41_not_stored_is_unavailable_with_the_time_to_wait() {
    let mut node = Node::new();
    let ada = node.online(ADA, View::default());
    node.publish(ada, direct(), 1);
    let (ticket, _) = node.appends().remove(0);
    let outcome = AppendOutcome::NotStored { retry_after_ms: 70 };
    node.shard.on_verdicts(&[(ticket, outcome)], node.now, &mut node.actions);
    let frame = node.read(ada).remove(0);
    assert_eq!(
        (frame["code"].as_str(), frame["retry_after_ms"].as_u64()),
        (Some("unavailable"), Some(70))
    );
}

#[test]
fn r41_a_connection_has_64_publishes_in_flight_at_most() {
    let mut node = Node::new();
    let ada = node.online(ADA, View::default());
    for no in 1..=65 {
        node.publish(ada, direct(), no);
    }
    assert_eq!(node.appends().len(), 64);
    assert_eq!(node.read(ada)[0]["code"], "too_many_unacked");
}

#[test]
fn r14_stale_membership_waits_for_the_ring_and_goes_out_again() {
    let mut node = Node::new();
    let ada = node.online(ADA, in_group(2));
    node.publish(ada, group(), 1);
    let (ticket, envelope) = node.appends().remove(0);
    assert_eq!(envelope.mver, 2);
    node.verdict(ticket, Verdict::StaleMembership { mver: 5 });
    assert!(node.appends().is_empty() && node.read(ada).is_empty());
    node.batch(vec![member(5, BOB, Some(Role::Member))]);
    let (again, envelope) = node.appends().remove(0);
    assert_eq!((again, envelope.mver), (ticket, 5));
}

#[test]
fn r14_stale_membership_of_somebody_removed_is_forbidden() {
    let mut node = Node::new();
    let ada = node.online(ADA, in_group(2));
    node.publish(ada, group(), 1);
    let (ticket, _) = node.appends().remove(0);
    node.verdict(ticket, Verdict::StaleMembership { mver: 5 });
    node.batch(vec![member(5, ADA, None)]);
    let frames = node.read(ada);
    assert_eq!(
        (kinds(&frames), frames[1]["code"].as_str()),
        (vec!["member", "error"], Some("forbidden"))
    );
    assert!(node.appends().is_empty());
}

#[test]
fn r14_in_a_group_that_was_quiet_for_long_the_archive_tells_the_version() {
    let mut node = Node::new();
    let ada = node.online(ADA, in_group(2));
    let bob = node.online(BOB, in_group(1));
    node.publish(ada, group(), 1);
    let (ticket, _) = node.appends().remove(0);
    node.verdict(ticket, Verdict::StaleMembership { mver: 5 });
    let asked = node.take(|a| matches!(a, Action::LoadAuthority { .. }).then_some(()));
    assert_eq!(asked.len(), 1);
    let head = Head { seq: 9, ordinal: 9, mver: 5, epoch: 1 };
    let answer = Ok((Some(head), in_group(2)));
    node.shard.on_authority(ticket, answer, node.now, &mut node.actions);
    assert_eq!(node.appends().remove(0).1.mver, 5);
    // What the archive said of Ada proves nothing about Bob, whose removal may be what the ring has not shown yet.
    node.publish(bob, group(), 1);
    assert_eq!(node.appends().remove(0).1.mver, 1);
}

#[test]
fn r14_who_was_just_added_over_http_is_not_refused_before_the_news_is_here() {
    let mut node = Node::new();
    let ada = node.online(ADA, View::default());
    node.publish(ada, group(), 1);
    node.pass(500);
    assert!(node.appends().is_empty() && node.read(ada).is_empty());
    node.batch(vec![member(1, ADA, Some(Role::Owner))]);
    assert_eq!(node.appends().remove(0).1.mver, 1);
    // And a stranger is, a second later, when the log does not know their publish either.
    let bob = node.online(BOB, View::default());
    node.publish(bob, group(), 1);
    node.pass(1_000);
    let (ticket, envelope) = node.appends().remove(0);
    assert_eq!(envelope.mver, 0, "a version at which nothing is stored");
    node.verdict(ticket, Verdict::StaleMembership { mver: 1 });
    assert_eq!(node.read(bob)[0]["code"], "forbidden");
    assert!(node.appends().is_empty());
}

/// The ack was lost, then the member was removed: the re-send was refused although the message was stored.
#[test]
fn r11_who_was_removed_gets_the_ack_of_what_was_stored_before_and_nothing_else() {
    let mut node = Node::new();
    let ada = node.online(ADA, in_group(2));
    node.batch(vec![member(5, ADA, None)]);
    node.read(ada);
    let ask = |node: &mut Node, verdict: Verdict| {
        node.publish(ada, group(), 1);
        let (ticket, envelope) = node.appends().remove(0);
        assert_eq!(envelope.mver, 0, "a version at which nothing is stored");
        node.verdict(ticket, verdict);
        (ticket, envelope)
    };
    let (pos, ts) = (Pos::new(1, 1), 5);
    ask(&mut node, Verdict::Dup { seq: 4, pos, ts });
    let ack = node.read(ada).remove(0);
    assert_eq!(
        (ack["type"].as_str(), ack["seq"].as_u64(), ack["ts"].as_u64()),
        (Some("ack"), Some(4), Some(5))
    );
    ask(&mut node, Verdict::Reused { seq: 4 });
    assert_eq!(node.read(ada)[0]["code"], "reused");
    let unknown = [
        Verdict::StaleMembership { mver: 5 },
        Verdict::OutOfOrder { expected: 1 },
        Verdict::UnknownConversation,
    ];
    for verdict in unknown {
        ask(&mut node, verdict);
        assert_eq!(node.read(ada)[0]["code"], "forbidden", "{verdict:?}");
    }
    let (ticket, envelope) = ask(&mut node, Verdict::OldId);
    let Envelope { no, hash, .. } = envelope;
    let earlier = Earlier { no, hash, seq: 4, pos: Pos::new(1, 0), ts: 5 };
    let found = |stored| Ok(Found { stored, producer: None });
    node.shard.on_found(ticket, found(Some(earlier)), node.now, &mut node.actions);
    assert_eq!(node.read(ada).remove(0), ack, "from the archive");
    let (ticket, _) = ask(&mut node, Verdict::OldId);
    node.shard.on_found(ticket, found(None), node.now, &mut node.actions);
    assert_eq!(node.read(ada)[0]["code"], "forbidden");
    // Added again while the log was asked.
    node.publish(ada, group(), 1);
    let (ticket, _) = node.appends().remove(0);
    node.batch(vec![member(6, ADA, Some(Role::Member))]);
    node.verdict(ticket, Verdict::StaleMembership { mver: 6 });
    assert_eq!(node.appends().remove(0).1.mver, 6);
}

#[test]
fn r11_an_id_older_than_the_logs_memory_is_found_in_the_archive() {
    let mut node = Node::new();
    let ada = node.online(ADA, View::default());
    node.publish(ada, direct(), 3);
    let (ticket, envelope) = node.appends().remove(0);
    let old = |node: &mut Node, answer: Result<Found, ArchiveError>| {
        node.verdict(ticket, Verdict::OldId);
        let keys = node.take(|a| match a {
            Action::FindOld { key, .. } => Some(*key),
            _ => None,
        });
        assert_eq!(keys, [envelope.key()]);
        node.shard.on_found(ticket, answer, node.now, &mut node.actions);
    };
    let producer = Some(ProducerState { last: 2, recent: vec![] });
    old(&mut node, Ok(Found { stored: None, producer }));
    assert_eq!(node.appends().len(), 1, "installed: the log can tell now");
    let hash = envelope.hash;
    let earlier = Earlier { no: 3, hash, seq: 8, pos: Pos::new(1, 0), ts: 5 };
    old(&mut node, Ok(Found { stored: Some(earlier), producer: None }));
    let frames = node.read(ada);
    assert_eq!((kinds(&frames), seqs(&frames)), (vec!["ack"], vec![8]));
    assert_eq!(frames[0]["ts"], 5, "the time of the first");
    node.shard.on_watermark(0, Pos::new(2, 1));
    node.pass(1_000);
    assert_eq!(kinds(&node.read(ada)), ["persisted"], "the store has it, whatever W says");
}

/// A re-send of what an earlier epoch stored was acked under that epoch: for a client that had an ack of the present one
/// already, the place was in doubt again, and no `persisted` of the present epoch settled it.
#[test]
fn r11_r17_what_an_earlier_epoch_stored_is_acked_under_the_present_one() {
    let mut node = Node::new();
    let ada = node.online(ADA, View::default());
    node.shard.cursor.0[0] = Pos::new(3, 1);
    node.publish(ada, direct(), 1);
    let (ticket, Envelope { no, hash, .. }) = node.appends().remove(0);
    let earlier = Earlier { no, hash, seq: 8, pos: Pos::new(1, 0), ts: 5 };
    let found = Found { stored: Some(earlier), producer: None };
    node.shard.on_found(ticket, Ok(found), node.now, &mut node.actions);
    node.pass(1_000);
    let frames = node.read(ada);
    assert_eq!((kinds(&frames), seqs(&frames)), (vec!["ack", "persisted"], vec![8, 8]));
    assert_eq!((&frames[0]["epoch"], &frames[1]["epoch"]), (&3.into(), &3.into()));
}

#[test]
fn r17_persisted_comes_when_w_passes_once_per_conversation() {
    let mut node = Node::new();
    let ada = node.online(ADA, View::default());
    for no in 1..=3 {
        node.publish(ada, direct(), no);
        let (ticket, _) = node.appends().remove(0);
        node.verdict(ticket, stored(no, no));
    }
    node.read(ada);
    node.shard.on_watermark(0, Pos::new(1, 2));
    node.pass(1_000);
    let frames = node.read(ada);
    assert_eq!((kinds(&frames), seqs(&frames)), (vec!["persisted"], vec![2]));
    node.pass(1_000);
    assert!(node.read(ada).is_empty());
    node.shard.on_watermark(0, Pos::new(1, 3));
    node.pass(1_000);
    assert_eq!(seqs(&node.read(ada)), [3]);
}
