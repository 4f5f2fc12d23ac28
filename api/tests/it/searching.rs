//! Finding messages by words.

use serde_json::{Value, json};

use crate::{harness::Server, person::percent};

#[tokio::test]
async fn words_are_found_by_their_beginning_and_in_every_script() {
    let server = Server::spawn().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let at = ada.direct(&bob).await;
    for text in [
        "The analytical engine weaves",
        "Страница и страницы",
        "今日は良い天気です",
        "我们明天见面",
        "naïve café",
        "mail bob@example.org",
        "100% sure",
    ] {
        ada.say(&at, text).await;
    }
    for (words, expected) in [
        ("engine", 1),
        ("ENGINE", 1),
        ("eng", 1),
        ("ngine", 0),
        ("engine analytical", 1),
        ("engine loom", 0),
        ("страниц", 1),
        ("天気", 1),
        ("明天", 1),
        ("天", 2),
        ("気天", 0),
        ("café", 1),
        ("example", 1),
        ("\" OR 1=1 --", 0),
        ("engine*", 1),
        ("engine AND weaves", 0),
        ("NOT engine", 0),
        ("words:engine", 0),
        ("%", 0),
    ] {
        assert_eq!(bob.found(words).await.len(), expected, "{words}");
    }
    bob.get("/api/search?q=").await.refused(400, "invalid_fields");
    bob.get("/api/search").await.refused(400, "bad_request");
    bob.get(&format!("/api/search?q={}", percent(&"x".repeat(2_000)))).await.ok();
}

#[tokio::test]
async fn one_finds_what_a_message_says_now() {
    let server = Server::spawn().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let at = ada.direct(&bob).await;
    let seq = ada.say(&at, "the loom").await;
    ada.edit(&at, seq, "the engine").await.ok();
    assert!(bob.found("loom").await.is_empty());
    assert_eq!(bob.found("engine").await, ["the engine"]);
    ada.erase(&at, seq).await.ok();
    assert!(bob.found("engine").await.is_empty());
}

#[tokio::test]
async fn one_finds_only_in_ones_own_conversations_newest_first_in_pages() {
    let server = Server::spawn().await;
    let [ada, bob, cyd] = server.people(["ada", "bob", "cyd"]).await;
    let (direct, group) = (ada.direct(&bob).await, ada.group(&[&bob], "joined").await);
    let private = ada.direct(&cyd).await;
    ada.say(&private, "engine for cyd").await;
    let mut expected = Vec::new();
    for n in 0..7 {
        let at = if n % 2 == 0 { &direct } else { &group };
        let text = format!("engine {n}");
        ada.say(at, &text).await;
        expected.insert(0, text);
    }
    let mut found = Vec::new();
    let mut next = String::new();
    for _ in 0..4 {
        let page = bob.get(&format!("/api/search?q=engine&limit=3{next}")).await.ok();
        let hits = page["hits"].as_array().unwrap();
        found.extend(hits.iter().map(|hit| hit["text"].as_str().unwrap().to_owned()));
        let Some(before) = page["next"].as_str() else { break };
        next = format!("&before={before}");
    }
    assert_eq!(found, expected);
    let here = bob.get(&format!("/api/search?q=engine&conversation={group}")).await.ok();
    let hits: Vec<&Value> = here["hits"].as_array().unwrap().iter().collect();
    assert_eq!(hits.len(), 3);
    assert!(hits.iter().all(|hit| hit["conversation"] == json!(group)));
    let foreign = format!("/api/search?q=engine&conversation={private}");
    bob.get(&foreign).await.refused(404, "not_found");
    bob.get("/api/search?q=engine&before=x").await.refused(400, "invalid_fields");
    assert_eq!(cyd.found("engine").await, ["engine for cyd"]);
}
