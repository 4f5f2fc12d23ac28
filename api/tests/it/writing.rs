//! Publishing, editing, deleting, reacting; keys that make it happen once; reads that see it at once.

use serde_json::{Value, json};

use crate::{
    harness::Server,
    person::{message, texts},
};

const KEY: &str = "00000000000000aa";

#[tokio::test]
async fn a_direct_conversation_is_made_once() {
    let server = Server::spawn().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let make = async |who: &crate::person::Person, with: &str| {
        who.post("/api/conversations/direct", json!({ "user": with })).await
    };
    let both = tokio::join!(make(&ada, &bob.id), make(&bob, &ada.id));
    let mut statuses = [both.0.status, both.1.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 201], "two who make it at once make it once");
    let (at, same) = (both.0.json()["id"].clone(), both.1.json()["id"].clone());
    assert_eq!(at, same);
    assert_eq!(make(&ada, &bob.id).await.status, 200);
    let seen = ada.conversation(at.as_str().unwrap()).await;
    assert_eq!(seen["head"], json!({ "epoch": 1, "seq": 1, "ordinal": 0 }));
    assert_eq!((&seen["kind"], &seen["other"]["id"]), (&json!("direct"), &json!(bob.id)));
    assert_eq!(seen["members_count"], 2);
    let own = make(&ada, &ada.id).await;
    assert_eq!(own.status, 201, "a talk with oneself");
    assert_eq!(own.json()["other"]["id"], json!(ada.id));
    assert_eq!(own.json()["members_count"], 1);
    make(&ada, "0000000000000001").await.refused(404, "not_found");
}

#[tokio::test]
async fn a_key_stores_once_and_refuses_other_content() {
    let server = Server::spawn().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let at = ada.direct(&bob).await;
    let path = format!("/api/conversations/{at}/messages");
    let publish = async |text: &str| ada.keyed(KEY, "POST", &path, &json!({ "text": text })).await;
    let first = publish("once").await.ok();
    for _ in 0..3 {
        assert_eq!(publish("once").await.ok(), first, "the same answer, its time too");
    }
    publish("other").await.refused(409, "conflict");
    assert_eq!(ada.texts(&at).await, ["once"]);
    let bobs = bob.keyed(KEY, "POST", &path, &json!({ "text": "other" })).await.ok();
    assert_eq!(bobs["seq"], 3, "a key belongs to who uses it");
    let server = server.restart().await;
    let again = server.client();
    again.jar.lock().unwrap().clone_from(&ada.jar.lock().unwrap());
    let repeated = again.keyed(KEY, "POST", &path, &json!({ "text": "once" })).await;
    assert_eq!(repeated.ok(), first, "known after a restart");
    for bad in ["", "x", "00000000000000AA", "00000000000000aaa"] {
        let body = json!({ "text": "x" });
        again.keyed(bad, "POST", &path, &body).await.refused(400, "bad_request");
    }
}

#[tokio::test]
async fn every_append_that_is_repeated_under_its_key_gets_the_same_answer() {
    let server = Server::spawn().await;
    let [ada, bob, cyd] = server.people(["ada", "bob", "cyd"]).await;
    let at = ada.group(&[&bob], "joined").await;
    let mine = ada.say(&at, "one").await;
    let group = format!("/api/conversations/{at}");
    let member = |who: &crate::person::Person| format!("{group}/members/{}", who.id);
    let steps = [
        ("PUT", message(&at, mine), json!({ "text": "uno" })),
        ("PUT", format!("{}/reactions/%F0%9F%91%8D", message(&at, mine)), json!({})),
        ("DELETE", format!("{}/reactions/%F0%9F%91%8D", message(&at, mine)), json!({})),
        ("DELETE", message(&at, mine), json!({})),
        ("PATCH", group.clone(), json!({ "title": "Other" })),
        ("POST", format!("{group}/members"), json!({ "users": [cyd.id] })),
        ("PUT", member(&bob), json!({ "role": "owner" })),
        ("DELETE", member(&cyd), json!({})),
        ("DELETE", member(&ada), json!({})),
    ];
    for (n, (method, path, body)) in steps.iter().enumerate() {
        let key = format!("{:016x}", n + 1);
        let first = ada.keyed(&key, method, path, body).await.ok();
        let again = ada.keyed(&key, method, path, body).await;
        assert_eq!(again.ok(), first, "{method} {path}");
    }
    let head = bob.conversation(&at).await["head"]["seq"].as_u64().unwrap();
    assert_eq!(head, mine + steps.len() as u64, "each once");
}

#[tokio::test]
async fn a_group_made_twice_under_one_key_is_one_group() {
    let server = Server::spawn().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let body = |title: &str| json!({ "title": title, "members": [bob.id] });
    let make = async |title: &str| ada.keyed(KEY, "POST", "/api/conversations", &body(title)).await;
    let first = make("Engines").await;
    assert_eq!(first.status, 201);
    assert_eq!(make("Engines").await.ok()["id"], first.json()["id"]);
    make("Other").await.refused(409, "conflict");
    let list = bob.get("/api/conversations").await.ok();
    assert_eq!(list["conversations"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn edits_deletes_and_reactions_fold_into_the_message() {
    let server = Server::spawn().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let at = ada.direct(&bob).await;
    let seq = ada.say(&at, "helo").await;
    let answered = bob.reply(&at, seq, "what?").await;
    let item = async |seq: u64| {
        let page = bob.page(&at, &format!("around={seq}&limit=2")).await;
        let items = page["items"].as_array().unwrap().clone();
        items.into_iter().find(|item| item["seq"] == seq).unwrap()
    };
    ada.edit(&at, seq, "hello").await.ok();
    let edited = item(seq).await;
    assert_eq!(edited["text"], "hello");
    assert!(edited["edited_ts"].as_u64().unwrap() >= edited["ts"].as_u64().unwrap());
    assert_eq!(item(answered).await["reply_to"]["text"], "hello");
    for who in [&ada, &bob] {
        who.react(&at, seq, "👍").await.ok();
    }
    bob.react(&at, seq, "👍").await.ok();
    let reactions = json!([{ "emoji": "👍", "users": [ada.id, bob.id] }]);
    assert_eq!(item(seq).await["reactions"], reactions);
    let path = format!("{}/reactions/%F0%9F%91%8D", message(&at, seq));
    bob.delete(&path).await.ok();
    assert_eq!(item(seq).await["reactions"][0]["users"], json!([ada.id]));

    bob.edit(&at, seq, "mine").await.refused(403, "forbidden");
    bob.erase(&at, seq).await.refused(403, "forbidden");
    ada.edit(&at, 1, "x").await.refused(404, "not_found");
    ada.edit(&at, 99, "x").await.refused(404, "not_found");
    ada.edit(&at, seq, "").await.refused(400, "invalid_fields");
    ada.react(&at, seq, "hello").await.refused(400, "invalid_fields");

    ada.erase(&at, seq).await.ok();
    let gone = item(seq).await;
    assert_eq!((&gone["deleted"], &gone["text"]), (&json!(true), &json!("")));
    assert_eq!(gone["reactions"], json!([]));
    let quote = json!({ "seq": seq, "from": ada.id, "text": "", "deleted": true });
    assert_eq!(item(answered).await["reply_to"], quote);
    ada.edit(&at, seq, "x").await.refused(409, "conflict");
    bob.react(&at, seq, "👍").await.refused(409, "conflict");
    let raw = bob.events(&at, "").await.to_string();
    assert!(!raw.contains("helo") && !raw.contains("hello"), "the words are gone: {raw}");
}

#[tokio::test]
async fn texts_have_limits() {
    let server = Server::spawn().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let at = ada.direct(&bob).await;
    let path = format!("/api/conversations/{at}/messages");
    let publish = async |text: &str| ada.post(&path, json!({ "text": text })).await;
    publish("").await.refused(400, "invalid_fields");
    publish("a\0b").await.refused(400, "invalid_fields");
    publish(&"x".repeat(16_384)).await.ok();
    publish(&"x".repeat(16_385)).await.refused(413, "too_large");
    publish("two\nlines\tand a tab 🦀").await.ok();
    assert_eq!(bob.texts(&at).await[1], "two\nlines\tand a tab 🦀");
}

#[tokio::test]
async fn whoever_has_an_answer_reads_what_it_says() {
    let server = Server::spawn().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let at = ada.direct(&bob).await;
    for n in 0..200u64 {
        let text = format!("m{n}");
        let seq = ada.say(&at, &text).await;
        match n % 4 {
            0 => assert_eq!(texts(&bob.page(&at, "limit=1").await), [text]),
            1 => {
                let events = bob.events(&at, &format!("after={}", seq - 1)).await;
                assert_eq!(events["events"][0]["body"]["text"], json!(text));
            }
            2 => {
                let list = bob.get("/api/conversations").await.ok();
                assert_eq!(list["conversations"][0]["last_message"]["text"], json!(text));
                assert_eq!(list["conversations"][0]["unread"], n + 1);
            }
            _ => assert_eq!(bob.found(&text).await, [text]),
        }
    }
}

#[tokio::test]
async fn many_who_write_at_once_all_get_places_of_their_own() {
    let server = Server::spawn().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let at = ada.group(&[&bob], "all").await;
    let mut seqs = Vec::new();
    for round in 0..10 {
        let (a, b) = (format!("a{round}"), format!("b{round}"));
        let said = tokio::join!(ada.say(&at, &a), bob.say(&at, &b), ada.say(&at, &a));
        seqs.extend([said.0, said.1, said.2]);
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (2..32).collect::<Vec<u64>>());
    assert_eq!(ada.texts(&at).await.len(), 30);
    let listed: Vec<Value> = ada.events(&at, "").await["events"].as_array().unwrap().clone();
    let ordinals: Vec<u64> = listed.iter().map(|e| e["ordinal"].as_u64().unwrap()).collect();
    assert_eq!(ordinals, (0..=30).collect::<Vec<u64>>());
}
