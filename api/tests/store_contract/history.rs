//! History and search.

use super::*;

pub(super) async fn pages_fold_and_go_both_ways(store: Any) {
    let mut world = World::default();
    let mut acts = vec![born(group(), &[ADA, BOB])];
    acts.extend((2..=10).map(|seq| say(group(), ADA, &format!("m{seq}"))));
    acts.push(edit(group(), ADA, 3, "edited"));
    acts.push(react(group(), BOB, 3, "🎉", true));
    acts.push(delete(group(), ADA, 4));
    acts.push(rename(group(), ADA, "New"));
    let batch = world.batch(acts);
    ingest(&*store, &[batch]).await;
    let get = |anchor, limit| store.page(group(), viewer(), anchor, limit);
    let newest = get(Anchor::Newest, 3).await.unwrap();
    assert_eq!((seqs(&newest.items), newest.head.seq), (vec![9, 10, 14], 14));
    assert!(newest.more_before && !newest.more_after);
    let before = get(Anchor::Before(5), 10).await.unwrap();
    assert_eq!(seqs(&before.items), [1, 2, 3, 4]);
    assert!(!before.more_before && before.more_after);
    let after = get(Anchor::After(2), 2).await.unwrap();
    assert_eq!(seqs(&after.items), [3, 4]);
    assert!(after.more_before && after.more_after);
    let edited = after.items[0].message().unwrap();
    assert_eq!((edited.text.as_str(), edited.edited_ts.is_some()), ("edited", true));
    assert_eq!(edited.reactions[0].users, [BOB]);
    let gone = MessageState { deleted: true, ..MessageState::default() };
    assert_eq!(after.items[1].message(), Some(&gone));
    let around = get(Anchor::Around(6), 4).await.unwrap();
    assert_eq!(seqs(&around.items), [4, 5, 6, 7]);
    let end = get(Anchor::After(99), 4).await.unwrap();
    assert!(end.items.is_empty() && end.more_before && !end.more_after);
    let items = store.items(group(), vec![3, 12, 77], vec![BOB]).await.unwrap();
    assert_eq!(seqs(&items), [3]);
    assert!(items[0].message().unwrap().reactions.is_empty(), "of somebody blocked");
}

pub(super) async fn what_a_viewer_may_not_see_is_not_in_the_page(store: Any) {
    let mut world = World::default();
    let mut acts = vec![born(group(), &[ADA, BOB, CY])];
    acts.extend((2..=7).map(|i| say(group(), if i % 2 == 0 { ADA } else { BOB }, &format!("{i}"))));
    acts.push(react(group(), BOB, 6, "👎", true));
    ingest(&*store, &[world.batch(acts)]).await;
    let viewer = Viewer { since: 4, blocked: vec![BOB] };
    let page = store.page(group(), viewer.clone(), Anchor::Newest, 9).await.unwrap();
    assert_eq!(seqs(&page.items), [4, 6]);
    assert!(!page.more_before && page.items[1].message().unwrap().reactions.is_empty());
    let after = store.page(group(), viewer, Anchor::After(0), 1).await.unwrap();
    assert_eq!(seqs(&after.items), [4]);
    assert!(after.more_after && !after.more_before);
}

pub(super) async fn deleted_words_are_gone_from_the_store(store: Any) {
    let mut world = World::default();
    let first = world.batch([
        born(direct(), &[ADA, BOB]),
        say(direct(), ADA, "secret one"),
        edit(direct(), ADA, 2, "secret two"),
    ]);
    let key = first.events[1].envelope.key();
    ingest(&*store, &[first]).await;
    assert_eq!(found(&*store, "secret", &[(direct(), 1)]).await, [2]);
    ingest(&*store, &[world.batch([delete(direct(), ADA, 2), edit(direct(), ADA, 2, "secret 3")])])
        .await;
    let events = store.events(direct(), 1, 9).await.unwrap();
    assert!(events.iter().all(|e| !String::from_utf8_lossy(&e.body).contains("secret")));
    assert_eq!(events.len(), 5);
    assert!(found(&*store, "secret", &[(direct(), 1)]).await.is_empty());
    assert!(store.find(key).await.unwrap().stored.is_some(), "a re-send is still known");
    assert!(store.own_messages(ADA, None, 9).await.unwrap().is_empty());
}

pub(super) async fn own_messages_come_in_pages(store: Any) {
    let mut world = World::default();
    let batch = world.batch([
        born(direct(), &[ADA, BOB]),
        say(direct(), ADA, "a1"),
        say(direct(), BOB, "b1"),
        say(direct(), ADA, "a2"),
        born(group(), &[ADA, BOB]),
        say(group(), ADA, "a3"),
        delete(direct(), ADA, 2),
        say(direct(), ADA, "a4"),
    ]);
    ingest(&*store, &[batch]).await;
    let (mut after, mut texts) = (None, Vec::new());
    loop {
        let page = store.own_messages(ADA, after, 1).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some((last.conversation, last.seq));
        texts.extend(page.into_iter().map(|message| message.text));
    }
    texts.sort();
    assert_eq!(texts, ["a2", "a3", "a4"]);
}

pub(super) async fn search_finds_words_prefixes_and_cjk_substrings(store: Any) {
    let mut world = World::default();
    let said = [
        "Meet me at the Café tomorrow",
        "release-2026 notes",
        "我爱北京天安门",
        "来週、東京で会いましょう",
        "안녕하세요 여러분",
        "nothing to see",
    ];
    let mut acts = vec![born(direct(), &[ADA, BOB])];
    acts.extend(said.iter().map(|text| say(direct(), BOB, text)));
    ingest(&*store, &[world.batch(acts)]).await;
    let all = [(direct(), 1)];
    for (query, expected) in [
        ("cafe", vec![2]),
        ("tomor caf", vec![2]),
        ("2026", vec![3]),
        ("北京", vec![4]),
        ("天安门", vec![4]),
        ("门", vec![4]),
        ("京安", vec![]),
        ("東京", vec![5]),
        ("안녕", vec![6]),
        ("러분", vec![6]),
        ("me nothing", vec![]),
        ("\"* OR", vec![]),
        ("", vec![]),
    ] {
        assert_eq!(found(&*store, query, &all).await, expected, "{query}");
    }
}

pub(super) async fn search_follows_edits_and_stays_within_what_one_may_see(store: Any) {
    let mut world = World::default();
    let batch = world.batch([
        born(group(), &[ADA, BOB]),
        say(group(), ADA, "apple one"),
        say(group(), BOB, "apple two"),
        say(group(), ADA, "apple three"),
        born(direct(), &[ADA, BOB]),
        say(direct(), ADA, "apple elsewhere"),
    ]);
    ingest(&*store, &[batch]).await;
    assert_eq!(found(&*store, "apple", &[(group(), 1)]).await, [4, 3, 2]);
    assert_eq!(found(&*store, "apple", &[(group(), 3)]).await, [4, 3]);
    assert!(found(&*store, "apple", &[]).await.is_empty());
    ingest(&*store, &[world.batch([edit(group(), ADA, 4, "pear three")])]).await;
    assert_eq!(found(&*store, "apple", &[(group(), 1)]).await, [3, 2]);
    assert_eq!(found(&*store, "pear", &[(group(), 1)]).await, [4]);
    let scopes = vec![Scope { conversation: group(), since: 1 }];
    let blocked = vec![BOB];
    let search = Search { text: "apple".into(), scopes, blocked, before: None, limit: 9 };
    let hits = store.search(search).await.unwrap();
    assert_eq!(hits.iter().map(|hit| hit.place.seq).collect::<Vec<_>>(), [2]);
}

pub(super) async fn search_pages_are_newest_first_over_all_conversations(store: Any) {
    let mut world = World::default();
    let mut batches = vec![world.batch([born(group(), &[ADA]), born(direct(), &[ADA, BOB])])];
    for i in 0..30 {
        let at = if i % 3 == 0 { direct() } else { group() };
        batches.push(world.batch([say(at, ADA, "word")]));
    }
    ingest(&*store, &batches).await;
    let scope = |conversation| Scope { conversation, since: 1 };
    let mut search = Search {
        text: "wor".into(),
        scopes: vec![scope(direct()), scope(group())],
        blocked: vec![],
        before: None,
        limit: 7,
    };
    let mut all = Vec::new();
    loop {
        let page = store.search(search.clone()).await.unwrap();
        let Some(last) = page.last() else { break };
        search.before = Some(last.place);
        all.extend(page.iter().map(|hit| hit.place));
    }
    assert_eq!(all.len(), 30);
    assert!(all.is_sorted_by(|a, b| a > b), "newest first, each once");
}
