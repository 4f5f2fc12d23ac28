//! Fan-out and membership. Owns: rules R15, R20–R24, R30–R33. Never does: appends. Talks to: the harness.
//! Start reading at: the top.

use backplane::{ArchiveError, Cursors, GroupSize, NodeId, PresenceChange, Signal};
use protocol::event::UserChange;

use super::*;

#[test]
fn r15_every_connection_of_both_people_gets_the_event_with_its_key() {
    let mut node = Node::new();
    let ids = [ADA, ADA, BOB, CY].map(|user| node.online(user, View::default()));
    node.batch(vec![message(direct(), ADA, 1)]);
    let heard: Vec<_> = ids.map(|id| node.read(id)).to_vec();
    assert!(heard[0] == heard[1] && heard[1] == heard[2] && heard[3].is_empty());
    assert_eq!((&heard[0][0]["no"], &heard[0][0]["at"]), (&1.into(), &"1-0".into()));
    assert_eq!(heard[0][0]["producer"], Producer(9).to_string());
}

#[test]
fn r21_what_a_blocked_person_writes_is_a_hole_and_what_they_administer_is_not() {
    let mut node = Node::new();
    let ada = node.online(ADA, in_group(1));
    let bob = node.online(BOB, View { blocked: vec![ADA], ..in_group(1) });
    node.batch(vec![message(group(), ADA, 2), member(3, CY, Some(Role::Member))]);
    assert_eq!(kinds(&node.read(ada)), ["message", "member"]);
    let frames = node.read(bob);
    assert_eq!(kinds(&frames), ["hole", "member"]);
    assert_eq!((&frames[0]["from"], &frames[0]["to"]), (&2.into(), &2.into()));
    // What they take away is gone for all, as it is in the api's pages.
    let body = canonical(&DeleteBody { target: 3 });
    node.batch(vec![event(group(), ADA, 4, EventKind::Delete, body)]);
    assert_eq!(kinds(&node.read(bob)), ["delete"]);
}

#[test]
fn r23_joining_and_leaving_take_effect_at_their_seq() {
    let mut node = Node::new();
    let ada = node.online(ADA, in_group(1));
    let bob = node.online(BOB, View::default());
    node.batch(vec![message(group(), ADA, 2)]);
    node.batch(vec![
        message(group(), ADA, 3),
        member(4, BOB, Some(Role::Member)),
        message(group(), ADA, 5),
        member(6, BOB, None),
        message(group(), ADA, 7),
    ]);
    assert_eq!(seqs(&node.read(ada)), [2, 3, 4, 5, 6, 7]);
    let frames = node.read(bob);
    assert_eq!(kinds(&frames), ["hole", "member", "message", "member"]);
    assert_eq!((seqs(&frames), &frames[0]["to"]), (vec![4, 5, 6], &3.into()));
}

#[test]
fn r23_who_joins_late_hears_nothing_about_messages_from_before() {
    let mut node = Node::new();
    let ada = node.online(ADA, in_group(1));
    let bob = node.online(BOB, View::default());
    node.batch(vec![
        message(group(), ADA, 2),
        member(3, BOB, Some(Role::Member)),
        message(group(), ADA, 4),
        edit(5, 2),
        edit(6, 4),
    ]);
    assert_eq!(kinds(&node.read(ada)), ["message", "member", "message", "edit", "edit"]);
    let frames = node.read(bob);
    assert_eq!(kinds(&frames), ["hole", "member", "message", "hole", "edit"]);
    assert_eq!((&frames[3]["from"], &frames[3]["to"]), (&5.into(), &5.into()));
}

#[test]
fn r20_added_to_a_group_while_connecting_misses_nothing() {
    let run = |mutation| {
        let mut node = Node::with(|config| config.mutation = mutation);
        let bob = node.connect(BOB);
        let ticket = node.hello(bob, None);
        // The view was read before this; nobody of the group is connected here.
        node.batch(vec![member(4, BOB, Some(Role::Member))]);
        node.answer(ticket, View { as_of: vec![Pos::new(1, 0)], ..View::default() });
        node.batch(vec![message(group(), ADA, 5)]);
        seqs(&node.read(bob))
    };
    assert_eq!(run(None), [5]);
    let mutant = crate::config::Mutation::ConnectWithoutMembersRecent;
    assert_eq!(run(Some(mutant)), [0u64; 0], "the mutant is seen by this test");
}

/// The store was behind by more than a minute. When it had the event at last, the shard forgot it at once, and a view that was
/// read just before had it neither from the store nor from the shard (simulator seeds 3742 and 16733).
#[test]
fn r20_added_long_before_the_store_heard_of_it_misses_nothing_either() {
    let mut node = Node::new();
    node.batch(vec![member(4, BOB, Some(Role::Member))]);
    node.pass(300_000);
    let bob = node.connect(BOB);
    let ticket = node.hello(bob, None);
    // The view was read before this.
    node.shard.on_watermark(0, Pos::new(1, 1));
    node.pass(1_000);
    node.answer(ticket, View { as_of: vec![Pos::new(1, 0)], ..View::default() });
    node.batch(vec![message(group(), ADA, 5)]);
    assert_eq!(seqs(&node.read(bob)), [5]);
    for _ in 0..2 {
        node.pass(60_000);
    }
    assert!(node.shard.members_recent.is_empty(), "a minute after W has passed nobody needs it");
}

#[test]
fn r23_removed_while_connecting_hears_nothing() {
    let mut node = Node::new();
    let bob = node.connect(BOB);
    let ticket = node.hello(bob, None);
    node.batch(vec![member(4, BOB, None)]);
    node.answer(ticket, in_group(1));
    node.batch(vec![message(group(), ADA, 5)]);
    assert_eq!(kinds(&node.read(bob)), ["welcome"]);
    node.publish(bob, group(), 1);
    let (ticket, _) = node.appends().remove(0);
    node.verdict(ticket, Verdict::StaleMembership { mver: 4 });
    assert_eq!(node.read(bob)[0]["code"], "forbidden");
}

#[test]
fn r23_a_view_ahead_of_the_ring_shows_nothing_early() {
    let mut node = Node::new();
    let mut view = in_group(4);
    view.groups[0].since = 4;
    let bob = node.online(BOB, view);
    node.batch(vec![message(group(), ADA, 3), member(4, BOB, Some(Role::Member))]);
    node.batch(vec![message(group(), ADA, 5)]);
    assert_eq!(seqs(&node.read(bob)), [4, 5]);
}

#[test]
fn r30_typing_goes_to_watching_members_until_its_message_is_there() {
    let mut node = Node::new();
    let (ada, bob, cy) = (
        node.online(ADA, View::default()),
        node.online(BOB, View::default()),
        node.online(CY, View::default()),
    );
    let watch = format!("{{\"type\":\"watch\",\"conversations\":[\"{}\"]}}", direct());
    for id in [ada, bob, cy] {
        node.say(id, &watch);
        assert_eq!(kinds(&node.read(id)), ["ok"]);
    }
    let typing = Signal::Typing { conversation: direct(), user: ADA, producer: Producer(9), no: 0 };
    node.shard.on_signals(std::slice::from_ref(&typing), node.now, &mut node.actions);
    assert_eq!(kinds(&node.read(bob)), ["typing"]);
    assert!(node.read(ada).is_empty() && node.read(cy).is_empty());
    node.batch(vec![message(direct(), ADA, 1)]);
    node.shard.on_signals(&[typing], node.now, &mut node.actions);
    assert_eq!(kinds(&node.read(bob)), ["message"]);
}

#[test]
fn r31_receipts_merge_and_never_pass_the_head() {
    let mut node = Node::new();
    let ada = node.online(ADA, View::default());
    let flags = UserFlags { receipts_off: true, ..UserFlags::default() };
    let shy = node.online(BOB, View { flags, ..View::default() });
    node.batch(vec![message(direct(), ADA, 1), message(direct(), ADA, 2)]);
    let receipt = |read: u64| {
        format!("{{\"type\":\"receipt\",\"conversation\":\"{}\",\"read\":{read}}}", direct())
    };
    for read in [2, 1] {
        node.say(ada, &receipt(read));
    }
    node.read(ada);
    node.say(ada, &receipt(3));
    assert_eq!(node.read(ada)[0]["code"], "invalid");
    node.say(shy, &receipt(1));
    node.pass(1_000);
    let actions = node.take(|action| Some(action.clone()));
    let merged = actions.iter().filter_map(|action| match action {
        Action::MergeReceipt(_, user, cursors) => Some((*user, *cursors)),
        _ => None,
    });
    assert!(merged.eq([(ADA, Cursors { delivered: 0, read: 2 })]));
    // Their own unread counts live from it, here and on their other devices.
    let own: Vec<Signal> = actions.iter().filter_map(own_receipt).collect();
    let cursors = Cursors { delivered: 0, read: 1 };
    assert_eq!(own, [Signal::OwnReceipt { conversation: direct(), user: BOB, cursors }]);
    let other = node.online(BOB, View { flags, ..View::default() });
    let watch = format!("{{\"type\":\"watch\",\"conversations\":[\"{}\"]}}", direct());
    node.say(ada, &watch);
    node.read(ada);
    node.read(shy);
    node.shard.on_signals(&own, node.now, &mut node.actions);
    assert_eq!(node.read(other)[0]["read"], 1);
    assert_eq!(kinds(&node.read(shy)), ["receipt"]);
    assert!(node.read(ada).is_empty(), "who gives none gives none");
}

fn own_receipt(action: &Action) -> Option<Signal> {
    match action {
        Action::Publish(signal @ Signal::OwnReceipt { .. }) => Some(signal.clone()),
        _ => None,
    }
}

#[test]
fn r32_presence_comes_after_watch_and_then_once_a_second() {
    let mut node = Node::new();
    let ada = node.online(ADA, View::default());
    node.say(ada, &format!("{{\"type\":\"watch\",\"people\":[\"{BOB}\"]}}"));
    let frames = node.read(ada);
    assert_eq!(
        (kinds(&frames), &frames[1]["people"][0]["online"]),
        (vec!["ok", "presence"], &false.into())
    );
    let changes = vec![PresenceChange { user: BOB, online: true, as_of: 7 }];
    node.shard.presence.apply(NodeId(2), &changes);
    let signal = Signal::Presence { node: NodeId(2), version: 1, changes };
    node.shard.on_signals(&[signal.clone(), signal], node.now, &mut node.actions);
    assert!(node.read(ada).is_empty());
    node.pass(1_000);
    let frames = node.read(ada);
    assert_eq!((frames.len(), &frames[0]["people"][0]["online"]), (1, &true.into()));
}

#[test]
fn r32_where_only_contacts_may_be_watched_others_are_as_good_as_unknown() {
    let mut node = Node::new();
    let flags = UserFlags { contacts_only: true, ..UserFlags::default() };
    let ada = node.online(ADA, View { flags, ..View::default() });
    let online = |node: &mut Node, user, online, as_of| {
        let changes = vec![PresenceChange { user, online, as_of }];
        node.shard.presence.apply(NodeId(2), &changes);
        let signal = Signal::Presence { node: NodeId(2), version: 1, changes };
        node.shard.on_signals(&[signal], node.now, &mut node.actions);
        node.pass(1_000);
    };
    online(&mut node, BOB, true, 7);
    online(&mut node, CY, true, 7);
    let watch = format!("{{\"type\":\"watch\",\"people\":[\"{BOB}\",\"{CY}\"]}}");
    let asked = |node: &mut Node| {
        let asked = node.take(|action| match action {
            Action::LoadContacts { ticket, people, .. } => Some((*ticket, people.clone())),
            _ => None,
        });
        assert!(asked.len() <= 1, "one question at a time");
        asked.into_iter().next()
    };
    node.say(ada, &watch);
    let (late, people) = asked(&mut node).unwrap();
    node.say(ada, &watch);
    assert_eq!(kinds(&node.read(ada)), ["ok", "ok"], "nothing is told before the answer");
    assert_eq!(asked(&mut node), None);
    node.shard.on_contacts(late, &people, Ok(people.clone()), node.now, &mut node.actions);
    assert!(node.read(ada).is_empty(), "the answer to an earlier list");
    let (ticket, _) = asked(&mut node).unwrap();
    node.shard.on_contacts(ticket, &people, Ok(vec![BOB]), node.now, &mut node.actions);
    assert_eq!(asked(&mut node), None);
    let told = node.read(ada).remove(0);
    let of = |index: usize| {
        (told["people"][index]["online"].as_bool(), told["people"][index]["since"].as_u64())
    };
    assert_eq!((of(0), of(1)), ((Some(true), Some(7)), (Some(false), None)));
    online(&mut node, CY, false, 8);
    assert!(node.read(ada).is_empty(), "and no change of theirs is told");
    online(&mut node, BOB, false, 8);
    assert_eq!(kinds(&node.read(ada)), ["presence"]);
    // They leave the last group that they have in common.
    node.batch(vec![member(1, BOB, None)]);
    let (ticket, _) = asked(&mut node).unwrap();
    online(&mut node, BOB, true, 9);
    assert_eq!(kinds(&node.read(ada)), ["presence"], "not known yet");
    node.shard.on_presence(&[BOB]);
    node.shard.on_contacts(ticket, &people, Ok(vec![]), node.now, &mut node.actions);
    assert_eq!(node.read(ada)[0]["people"][0]["online"], false);
    node.pass(1_000);
    assert!(node.read(ada).is_empty(), "a change from before the answer");
    online(&mut node, BOB, false, 10);
    assert!(node.read(ada).is_empty(), "not theirs to know");
    // Without an answer nobody is watched.
    node.say(ada, &watch);
    let (ticket, _) = asked(&mut node).unwrap();
    node.shard.on_contacts(ticket, &people, Ok(vec![CY]), node.now, &mut node.actions);
    node.batch(vec![member(2, CY, None)]);
    let (ticket, _) = asked(&mut node).unwrap();
    node.read(ada);
    let away = Err(ArchiveError("away".into()));
    node.shard.on_contacts(ticket, &people, away, node.now, &mut node.actions);
    online(&mut node, CY, true, 11);
    assert!(node.read(ada).is_empty(), "nobody says that they may");
}

#[test]
fn r32_a_closed_connection_has_a_grace_and_hidden_people_are_never_announced() {
    let mut node = Node::new();
    let announced = |node: &mut Node| {
        node.take(|a| match a {
            Action::Announce(change) => Some((change.user, change.online)),
            _ => None,
        })
    };
    let ada = node.online(ADA, View::default());
    assert_eq!(announced(&mut node), [(ADA, true)]);
    node.shard.on_disconnect(ada, node.now);
    node.pass(4_000);
    let ada = node.online(ADA, View::default());
    node.pass(9_000);
    assert!(announced(&mut node).is_empty());
    node.shard.on_disconnect(ada, node.now);
    node.pass(5_000);
    assert_eq!(announced(&mut node), [(ADA, false)]);
    let flags = UserFlags { hidden: true, ..UserFlags::default() };
    let shy = node.online(BOB, View { flags, ..View::default() });
    node.shard.on_disconnect(shy, node.now);
    node.pass(9_000);
    assert!(announced(&mut node).is_empty());
}

#[test]
fn r33_a_changed_block_list_works_before_the_client_is_told() {
    let mut node = Node::new();
    let bob = node.online(BOB, View::default());
    let signal = Signal::UserChanged { user: BOB, what: UserChange::Blocked };
    node.shard.on_signals(&[signal], node.now, &mut node.actions);
    let ticket = node.take(|a| match a {
        Action::LoadView { ticket, .. } => Some(*ticket),
        _ => None,
    })[0];
    node.answer(ticket, View { blocked: vec![ADA], ..View::default() });
    node.batch(vec![message(direct(), ADA, 1)]);
    assert_eq!(kinds(&node.read(bob)), ["user_changed", "hole"]);
}

#[test]
fn r32_a_new_watch_list_is_told_nothing_of_the_old_one() {
    let mut node = Node::new();
    let ada = node.online(ADA, View::default());
    node.pass(1_000);
    for user in [BOB, CY] {
        node.say(ada, &format!("{{\"type\":\"watch\",\"people\":[\"{user}\"]}}"));
        assert_eq!(kinds(&node.read(ada)), ["ok", "presence"]);
        node.shard.on_presence(&[BOB]);
    }
    node.pass(1_000);
    assert!(node.read(ada).is_empty());
}

#[test]
fn r31_in_a_large_group_the_socket_names_nobody_and_when_somebody_goes_it_does() {
    let mut node = Node::new();
    let view = |mver, large| {
        let mut view = in_group(1);
        view.groups[0].group = Some(GroupSize { mver, large });
        view
    };
    let ada = node.online(ADA, view(1, true));
    let receipt = |user, read| {
        let cursors = Cursors { delivered: 0, read };
        Signal::Receipt { conversation: group(), user, cursors }
    };
    let watch = format!("{{\"type\":\"watch\",\"conversations\":[\"{}\"]}}", group());
    node.say(ada, &watch);
    node.read(ada);
    let heard = |node: &mut Node, user| {
        node.shard.on_signals(&[receipt(user, 1)], node.now, &mut node.actions);
        kinds(&node.read(ada)).len()
    };
    assert_eq!((heard(&mut node, BOB), heard(&mut node, ADA)), (0, 1), "one's own always");
    node.batch(vec![member(2, CY, None)]);
    node.read(ada);
    assert_eq!(heard(&mut node, BOB), 1, "it may be small now");
    node.online(CY, view(1, true));
    assert_eq!(heard(&mut node, BOB), 1, "a view from before");
    node.online(BOB, view(2, true));
    assert_eq!(heard(&mut node, BOB), 0);
}
