//! Heads, members, summaries.

use super::*;

pub(super) async fn members_merge_and_tombstones_stay(store: Any) {
    people(&*store).await;
    let mut world = World::default();
    ingest(&*store, &[world.batch([born(group(), &[ADA, BOB]), say(group(), ADA, "x")])]).await;
    let changes = vec![change(BOB, None), change(CY, Some(Role::Admin))];
    ingest(&*store, &[world.batch([members(group(), ADA, changes)])]).await;
    let records = store.members(group()).await.unwrap();
    let short: Vec<_> = records.iter().map(|m| (m.user, m.role, m.since, m.mver)).collect();
    assert_eq!(
        short,
        [(ADA, Some(Role::Owner), 1, 1), (BOB, None, 3, 3), (CY, Some(Role::Admin), 3, 3)]
    );
    assert_eq!(store.member(group(), BOB).await.unwrap().unwrap().role, None);
    assert_eq!(store.member(group(), UserId(99)).await.unwrap(), None);
    let conversation = store.conversation(group()).await.unwrap().unwrap();
    assert_eq!((conversation.members, conversation.head.mver), (2, 3));
    let view = store.view(CY, 1).await.unwrap();
    assert_eq!(view.as_of, [store.stored(0).await.unwrap()]);
    assert_eq!((view.groups.len(), view.groups[0].since), (1, 3));
    assert!(!view.flags.disabled);
    let bob = store.view(BOB, 1).await.unwrap();
    assert_eq!(bob.groups[0].role, None, "removals are tombstones");
    let size = |mver, large| Some(GroupSize { mver, large });
    assert_eq!(bob.groups[0].group, size(3, false));
    let thirty_more = (100..130).map(|id| change(UserId(id), Some(Role::Member)));
    ingest(&*store, &[world.batch([members(group(), ADA, thirty_more.collect())])]).await;
    assert_eq!(store.view(CY, 1).await.unwrap().groups[0].group, size(4, false), "32 members");
    let one_more = vec![change(BOB, Some(Role::Member))];
    ingest(&*store, &[world.batch([members(group(), ADA, one_more)])]).await;
    assert_eq!(store.view(CY, 1).await.unwrap().groups[0].group, size(5, true));
    let nobody = store.view(UserId(99), 2).await.unwrap();
    assert!(nobody.flags.disabled && nobody.groups.is_empty() && nobody.as_of.len() == 2);
}

pub(super) async fn direct_conversations_are_in_summaries_not_in_views(store: Any) {
    people(&*store).await;
    let mut world = World::default();
    ingest(&*store, &[world.batch([born(direct(), &[ADA, BOB])])]).await;
    assert!(store.view(ADA, 1).await.unwrap().groups.is_empty());
    let summaries = store.summaries(BOB, vec![]).await.unwrap();
    assert_eq!(summaries.len(), 1);
    assert_eq!((summaries[0].conversation.id, summaries[0].conversation.head.mver), (direct(), 0));
    assert!(store.summaries(CY, vec![]).await.unwrap().is_empty());
    let also = store.summaries(CY, vec![direct()]).await.unwrap();
    assert_eq!((also.len(), also[0].member), (1, None));
}

pub(super) async fn summaries_count_what_is_unread(store: Any) {
    people(&*store).await;
    let mut world = World::default();
    let batch = world.batch([
        born(group(), &[ADA, BOB]),
        say(group(), ADA, "1"),
        say(group(), ADA, "2"),
        react(group(), BOB, 3, "x", true),
        say(group(), BOB, "3"),
        say(group(), ADA, "4"),
    ]);
    ingest(&*store, &[batch]).await;
    let summary = async |user| store.summary(user, group()).await.unwrap().unwrap();
    let bob = summary(BOB).await;
    assert_eq!((bob.conversation.head.ordinal, bob.unread), (4, 1), "own ones are read");
    assert_eq!(bob.cursors, Cursors { delivered: 5, read: 5 });
    let last = bob.last_message.unwrap();
    assert_eq!((last.seq, last.message().unwrap().text.as_str()), (6, "4"));
    let cursors = Cursors { delivered: 6, read: 6 };
    store.merge_cursors(vec![(group(), BOB, cursors)]).await.unwrap();
    let lower = Cursors { delivered: 1, read: 2 };
    store.merge_cursors(vec![(group(), BOB, lower)]).await.unwrap();
    assert_eq!(summary(BOB).await.unread, 0);
    let mut all = store.cursors(group()).await.unwrap();
    all.sort_by_key(|(user, _)| *user);
    assert_eq!(all, [(ADA, Cursors { delivered: 6, read: 6 }), (BOB, cursors)]);
    ingest(&*store, &[world.batch([members(group(), ADA, vec![change(CY, Some(Role::Member))])])])
        .await;
    let cy = summary(CY).await;
    assert_eq!((cy.unread, cy.last_message.is_none()), (0, true), "begins at their joining");
    assert!(cy.conversation.activity_ts > summary(BOB).await.conversation.activity_ts);
    ingest(&*store, &[world.batch([say(group(), ADA, "5"), say(group(), CY, "6")])]).await;
    assert_eq!(summary(BOB).await.unread, 2);
    store.set_blocked(BOB, ADA, true, T0).await.unwrap();
    assert_eq!(summary(BOB).await.unread, 1, "nobody counts what is not shown to them");
    store.set_blocked(BOB, CY, true, T0).await.unwrap();
    let hidden = summary(BOB).await.last_message.unwrap();
    assert_eq!(hidden.seq, 5, "the last of somebody who is not blocked");
}

pub(super) async fn what_is_mine_is_kept_field_by_field_even_before_the_birth(store: Any) {
    people(&*store).await;
    let muted = MineChange { muted: Some(true), draft: Some("hm".into()), ..Default::default() };
    store.change_mine(ADA, group(), muted).await.unwrap();
    assert_eq!(store.conversation(group()).await.unwrap(), None, "not born yet");
    let pinned = MineChange { pinned: Some(true), muted: Some(false), ..Default::default() };
    store.change_mine(ADA, group(), pinned).await.unwrap();
    let mut world = World::default();
    ingest(&*store, &[world.batch([born(group(), &[ADA, BOB]), rename(group(), ADA, "Title")])])
        .await;
    let ada = store.summary(ADA, group()).await.unwrap().unwrap();
    assert!(ada.mine.pinned && !ada.mine.muted && ada.mine.draft == "hm");
    assert_eq!(ada.conversation.title.as_deref(), Some("Title"));
    let bob = store.summary(BOB, group()).await.unwrap().unwrap();
    assert_eq!(bob.mine, api::store::Mine::default());
}
