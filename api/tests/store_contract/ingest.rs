//! How the persister writes.

use super::*;

pub(super) async fn events_are_kept_as_they_came_and_heads_follow(store: Any) {
    let mut world = World::default();
    let batch = world.batch([
        born(direct(), &[ADA, BOB]),
        say(direct(), ADA, "one"),
        edit(direct(), ADA, 2, "uno"),
        born(group(), &[ADA]),
    ]);
    assert_eq!(store.head(direct()).await.unwrap(), None);
    let claim = ingest(&*store, std::slice::from_ref(&batch)).await;
    assert_eq!((claim.stored, store.stored(0).await.unwrap()), (batch.pos, batch.pos));
    let head = Head { seq: 3, ordinal: 1, mver: 0, epoch: 1 };
    assert_eq!(store.head(direct()).await.unwrap(), Some(head));
    assert_eq!(store.head(group()).await.unwrap().unwrap().mver, 1);
    let stored = store.events(direct(), 2, 9).await.unwrap();
    assert_eq!(stored.iter().map(|e| (e.seq, e.ordinal)).collect::<Vec<_>>(), [(2, 1), (3, 1)]);
    assert_eq!(stored[0].body, batch.events[1].envelope.body);
    assert_eq!((stored[0].producer, stored[0].no), (batch.events[1].envelope.producer, 2));
    assert_eq!((stored[1].kind, stored[1].ts), (Some(EventKind::Edit), batch.ts));
    assert!(store.events(direct(), 3, 2).await.unwrap().is_empty());
    assert!(store.events(ConversationId::direct(CY, CY), 0, 9).await.unwrap().is_empty());
}

pub(super) async fn repeating_any_phase_changes_nothing(store: Any) {
    let mut world = World::default();
    let batches = vec![
        world.batch([born(group(), &[ADA, BOB]), say(group(), ADA, "hello")]),
        world.batch([react(group(), BOB, 2, "👍", true), edit(group(), ADA, 2, "hallo")]),
        world.batch([say(group(), BOB, "there"), delete(group(), BOB, 5), say(group(), ADA, "x")]),
    ];
    ingest(&*store, &batches).await;
    let before = (page(&*store, group()).await, store.events(group(), 1, 99).await.unwrap());
    let summary = store.summary(ADA, group()).await.unwrap();
    let none = Arc::new(Holes::new());
    for batches in [&batches[..1], &batches[1..], &batches[..]] {
        let holes = store.insert_events(batches.to_vec(), Arc::clone(&none)).await.unwrap();
        assert!(holes.is_empty());
        store.project(batches.to_vec(), Arc::new(holes)).await.unwrap();
    }
    let after = (page(&*store, group()).await, store.events(group(), 1, 99).await.unwrap());
    assert_eq!(before, after);
    assert_eq!(summary, store.summary(ADA, group()).await.unwrap());
    assert_eq!(found(&*store, "hallo", &[(group(), 1)]).await, [2]);
}

pub(super) async fn only_the_owner_of_the_cursor_moves_it(store: Any) {
    let old = store.claim(0).await.unwrap();
    let new = store.claim(0).await.unwrap();
    assert_eq!(old.stored, new.stored);
    let to = Pos::new(1, 5);
    assert_eq!(store.move_cursor(0, old, to).await, Err(StoreError::Fenced));
    let moved = store.move_cursor(0, new, to).await.unwrap();
    assert_eq!((moved.stored, moved.lease), (to, new.lease));
    assert_eq!(
        store.move_cursor(0, new, Pos::new(1, 6)).await,
        Err(StoreError::Fenced),
        "moved on"
    );
    assert_eq!(store.stored(0).await.unwrap(), to);
    assert_eq!(store.stored(1).await.unwrap(), Pos::default());
    assert_eq!(store.claim(0).await.unwrap().stored, to);
}

pub(super) async fn a_key_that_is_taken_leaves_a_hole(store: Any) {
    let mut world = World::default();
    let first = world.batch([born(direct(), &[ADA, BOB]), say(direct(), ADA, "once")]);
    ingest(&*store, std::slice::from_ref(&first)).await;
    // The same publish under another seq: what a log that lost its memory would write.
    let twice = Logged { seq: 3, ordinal: 2, envelope: first.events[1].envelope.clone() };
    let batch = Arc::new(Batch { pos: Pos::new(1, 2), ts: T0, events: vec![twice] });
    for _ in 0..2 {
        let none = Arc::new(Holes::new());
        let holes = store.insert_events(vec![Arc::clone(&batch)], none).await.unwrap();
        assert_eq!(holes, Holes::from([(direct(), 3)]));
        store.project(vec![Arc::clone(&batch)], Arc::new(holes)).await.unwrap();
    }
    assert_eq!(store.head(direct()).await.unwrap().unwrap().seq, 3);
    assert_eq!(texts(&page(&*store, direct()).await), ["once"]);
    let events = store.events(direct(), 1, 9).await.unwrap();
    assert_eq!(events.iter().map(|e| e.kind.is_some()).collect::<Vec<_>>(), [true, true, false]);
    assert!(events[2].body.is_empty());
}

pub(super) async fn an_event_that_cannot_be_stored_is_named_and_can_be_buried(store: Any) {
    let mut world = World::default();
    let mut bad = Batch::clone(&world.batch([
        born(direct(), &[ADA, BOB]),
        say(direct(), ADA, "before"),
        say(direct(), ADA, "poison"),
        say(direct(), ADA, "after"),
    ]));
    bad.events[2].envelope.body = Bytes::from_static(b"{\"txt\":1}");
    let bad = Arc::new(bad);
    let none = Arc::new(Holes::new());
    let holes = store.insert_events(vec![Arc::clone(&bad)], none).await.unwrap();
    let rejected = store.project(vec![Arc::clone(&bad)], Arc::new(holes)).await.unwrap_err();
    assert!(
        matches!(rejected, StoreError::Rejected { conversation, seq: 3, .. } if conversation == direct())
    );
    assert_eq!(store.head(direct()).await.unwrap(), None, "nothing of the call was changed");
    for _ in 0..2 {
        let letter = api::store::DeadLetter {
            pos: bad.pos,
            ts: bad.ts,
            event: bad.events[2].clone(),
            reason: "malformed".into(),
        };
        store.bury(letter).await.unwrap();
    }
    let holes = Arc::new(Holes::from([(direct(), 3)]));
    let holes = Arc::new(store.insert_events(vec![Arc::clone(&bad)], holes).await.unwrap());
    store.project(vec![Arc::clone(&bad)], holes).await.unwrap();
    assert_eq!(texts(&page(&*store, direct()).await), ["before", "after"]);
    assert_eq!(store.events(direct(), 3, 3).await.unwrap()[0].kind, None);
    let dead = store.dead_letters(9).await.unwrap();
    assert_eq!(dead, [(direct(), 3, "malformed".to_owned())]);
}

pub(super) async fn a_dead_letter_never_takes_the_place_of_another_event(store: Any) {
    let mut world = World::default();
    let batch = world.batch([born(direct(), &[ADA, BOB]), say(direct(), ADA, "mine")]);
    ingest(&*store, std::slice::from_ref(&batch)).await;
    let body = br#"{"text":"other"}"#;
    let mut event = batch.events[1].clone();
    event.envelope = Envelope {
        body: Bytes::from_static(body),
        hash: content_hash(EventKind::Message, body),
        ..event.envelope
    };
    let other = Arc::new(Batch { events: vec![event.clone()], ..Batch::clone(&batch) });
    let none = Arc::new(Holes::new());
    let refused = store.insert_events(vec![other], none).await.unwrap_err();
    assert!(matches!(refused, StoreError::Rejected { seq: 2, .. }));
    let letter =
        api::store::DeadLetter { pos: batch.pos, ts: T0, event, reason: "numbered twice".into() };
    store.bury(letter).await.unwrap();
    assert_eq!(texts(&page(&*store, direct()).await), ["mine"]);
}

pub(super) async fn keys_are_found_with_what_is_known_of_their_producer(store: Any) {
    let mut world = World::default();
    let mut acts = vec![born(direct(), &[ADA, BOB])];
    acts.extend((0..40).map(|i| say(direct(), ADA, &format!("m{i}"))));
    let batch = world.batch(acts);
    ingest(&*store, std::slice::from_ref(&batch)).await;
    let key = batch.events[3].envelope.key();
    let found = store.find(key).await.unwrap();
    let earlier = |event: &Logged| backplane::Earlier {
        no: event.envelope.no,
        hash: event.envelope.hash,
        seq: event.seq,
        pos: Pos::new(batch.pos.epoch, 0),
        ts: batch.ts,
    };
    assert_eq!(found.stored, Some(earlier(&batch.events[3])));
    let producer = found.producer.unwrap();
    assert_eq!((producer.last, producer.recent.len()), (41, 32));
    let last = &batch.events[40];
    assert_eq!(producer.recent.last(), Some(&earlier(last)));
    assert_eq!(producer.recent[0].no, 10);
    let unknown = backplane::Key { user: CY, ..key };
    assert_eq!(store.find(unknown).await.unwrap(), backplane::Found::default());
    let next = backplane::Key { no: 42, ..key };
    let found = store.find(next).await.unwrap();
    assert!(found.stored.is_none() && found.producer.is_some());
}
