//! Events by seq, pages of messages, the list of conversations.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{harness::Server, person::texts};

/// No seqs.
const NONE: std::ops::RangeInclusive<u64> = 0..=0;

fn seqs(list: &Value) -> Vec<u64> {
    list.as_array().unwrap().iter().map(|item| item["seq"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn events_are_contiguous_and_as_on_the_socket() {
    let server = Server::spawn().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let at = ada.direct(&bob).await;
    for n in 2..=10 {
        assert_eq!(ada.say(&at, &format!("m{n}")).await, n);
    }
    let all = bob.events(&at, "").await;
    assert_eq!((seqs(&all["events"]), &all["head"]), ((1..=10).collect(), &json!(10)));
    let event = &all["events"][1];
    for (field, value) in [
        ("type", json!("message")),
        ("conversation", json!(at)),
        ("epoch", json!(1)),
        ("ordinal", json!(1)),
        ("from", json!(ada.id)),
        ("no", json!(1)),
        ("body", json!({ "text": "m2" })),
    ] {
        assert_eq!(event[field], value, "{field}");
    }
    assert_eq!(event["producer"].as_str().unwrap().len(), 16);
    assert!(event.get("at").is_none(), "no resume token");
    assert_eq!(all["events"][0]["type"], "created");
    assert_eq!(seqs(&bob.events(&at, "after=3&limit=2").await["events"]), [4, 5]);
    assert_eq!(seqs(&bob.events(&at, "after=3&limit=0").await["events"]), [4]);
    assert_eq!(seqs(&bob.events(&at, "after=10").await["events"]), [0; 0]);
    assert_eq!(seqs(&bob.events(&at, "after=18446744073709551615").await["events"]), [0; 0]);
    assert_eq!(seqs(&bob.events(&at, "after=8&min_seq=10").await["events"]), [9, 10]);
}

#[tokio::test]
async fn at_most_two_hundred_events_come_at_once() {
    let server = Server::spawn().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let at = ada.direct(&bob).await;
    for n in 0..201 {
        ada.say(&at, &format!("m{n}")).await;
    }
    let first = bob.events(&at, "limit=5000").await;
    assert_eq!(seqs(&first["events"]), (1..=200).collect::<Vec<_>>());
    assert_eq!(seqs(&bob.events(&at, "after=200").await["events"]), [201, 202]);
    assert_eq!(bob.page(&at, "limit=5000").await["items"].as_array().unwrap().len(), 100);
    assert_eq!(bob.page(&at, "").await["items"].as_array().unwrap().len(), 50);
}

#[tokio::test]
async fn an_api_that_only_counts_says_so_to_whoever_needs_stored_messages() {
    let server = Server::spawn_with(|config| config.counts_only = true).await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let at = ada.direct(&bob).await;
    for path in ["messages", "events"].map(|kind| format!("/api/conversations/{at}/{kind}")) {
        ada.get(&path).await.refused(409, "conflict");
    }
    ada.get("/api/search?q=hello").await.refused(409, "conflict");
    ada.get("/api/conversations").await.ok();
}

#[tokio::test]
async fn what_is_not_there_yet_is_refused_as_retryable() {
    let mut server = Server::spawn().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let at = ada.direct(&bob).await;
    let seq = ada.say(&at, "stored").await;
    let path = format!("/api/conversations/{at}/events?min_seq={}", seq + 1);
    bob.get(&path).await.refused(503, "unavailable");
    server.stop_persister();
    // Written before the api can show it: the write succeeds, and no read pretends that it never was.
    ada.say(&at, "late").await;
    let refused = async |path: &str| {
        let begun = Instant::now();
        let answer = bob.get(&format!("/api/conversations/{at}{path}")).await;
        answer.refused(503, "unavailable");
        let waited = begun.elapsed();
        assert!(waited > Duration::from_millis(1_900), "{path}: it waited {waited:?}");
        assert!(waited < Duration::from_secs(8), "{path}: it waited {waited:?}");
    };
    tokio::join!(
        refused(""),
        refused("/events"),
        refused("/messages"),
        refused("/receipts"),
        refused("/members"),
    );
    bob.get("/api/conversations").await.refused(503, "unavailable");
    bob.get("/api/me").await.ok();
}

#[tokio::test]
async fn pages_go_both_ways_and_say_whether_there_is_more() {
    let server = Server::spawn().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let at = ada.direct(&bob).await;
    for n in 2..=10 {
        ada.say(&at, &format!("m{n}")).await;
    }
    ada.edit(&at, 3, "m3!").await.ok();
    for (query, expected, before, after) in [
        ("", 1..=10, false, false),
        ("limit=3", 8..=10, true, false),
        ("before=8&limit=3", 5..=7, true, true),
        ("before=3", 1..=2, false, true),
        ("before=1", NONE, false, true),
        ("after=8", 9..=10, true, false),
        ("after=2&limit=2", 3..=4, true, true),
        ("after=11", NONE, true, false),
        ("around=5&limit=4", 3..=6, true, true),
        ("around=1&limit=4", 1..=2, false, true),
        ("around=10&limit=4", 8..=10, true, false),
    ] {
        let page = bob.page(&at, query).await;
        let expected: Vec<u64> = expected.filter(|seq| *seq > 0).collect();
        assert_eq!(seqs(&page["items"]), expected, "{query}");
        assert_eq!(page["as_of"], 11, "{query}");
        assert_eq!(page["more_before"], before, "{query} before");
        assert_eq!(page["more_after"], after, "{query} after");
    }
    assert_eq!(texts(&bob.page(&at, "around=3&limit=1").await), ["m3!"]);
    let both = format!("/api/conversations/{at}/messages?before=3&after=1");
    bob.get(&both).await.refused(400, "bad_request");
}

#[tokio::test]
async fn applying_events_to_a_page_gives_the_page_of_later() {
    let server = Server::spawn().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let at = ada.direct(&bob).await;
    let first = ada.say(&at, "one").await;
    let early = bob.page(&at, "").await;
    let as_of = early["as_of"].as_u64().unwrap();
    ada.edit(&at, first, "uno").await.ok();
    ada.say(&at, "two").await;
    let later = bob.events(&at, &format!("after={as_of}")).await;
    let kinds: Vec<&str> =
        later["events"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["edit", "message"]);
    assert_eq!(later["events"][0]["body"], json!({ "target": first, "text": "uno" }));
    assert_eq!(bob.texts(&at).await, ["uno", "two"]);
}

#[tokio::test]
async fn the_list_shows_activity_unread_and_what_is_mine_alone() {
    let server = Server::spawn().await;
    let [ada, bob, cyd] = server.people(["ada", "bob", "cyd"]).await;
    let (first, second) = (ada.direct(&bob).await, ada.group(&[&bob, &cyd], "joined").await);
    bob.say(&second, "old").await;
    bob.say(&first, "new").await;
    let list = async || ada.get("/api/conversations").await.ok()["conversations"].clone();
    let ids = |list: &Value| -> Vec<String> {
        let ids = list.as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap().to_owned());
        ids.collect()
    };
    assert_eq!(ids(&list().await), [first.clone(), second.clone()]);
    let seen = list().await[0].clone();
    assert_eq!((&seen["unread"], &seen["last_message"]["text"]), (&json!(1), &json!("new")));
    assert_eq!(seen["last_message"]["from"], json!(bob.id));
    let seen = &list().await[1];
    assert_eq!((&seen["role"], &seen["title"]), (&json!("owner"), &json!("Engines")));
    assert_eq!(seen["members_count"], 3);
    // One's own message is read by oneself.
    ada.say(&first, "mine").await;
    assert_eq!(ada.conversation(&first).await["unread"], 0);

    let mine = format!("/api/conversations/{second}/mine");
    let flags =
        json!({ "muted": true, "pinned": true, "marked_unread": true, "draft": "hm, perhaps" });
    assert_eq!(ada.patch(&mine, flags.clone()).await.status, 204);
    let after = ada.conversation(&second).await;
    for (field, value) in flags.as_object().unwrap() {
        assert_eq!(&after[field], value, "{field}");
    }
    assert_eq!(after["hidden"], false, "what is not named stays");
    assert_eq!(bob.conversation(&second).await["draft"], "", "nobody else's");
    assert_eq!(bob.conversation(&second).await["muted"], false);
    ada.patch(&mine, json!({ "draft": "x".repeat(16_385) })).await.refused(413, "too_large");
    ada.patch(&mine, json!({ "muted": null, "draft": "" })).await.ok();
    assert_eq!(ada.conversation(&second).await["muted"], true);
}
