//! To whoever is not in a conversation it does not exist: on every route that names one. The routes are those of the
//! OpenAPI document, so none can be forgotten.

use serde_json::{Value, json};

use crate::{
    client::Raw,
    harness::Server,
    person::Person,
    routes::{Operation, operations},
};

/// A body that would be right if the sender were an owner.
fn body(operation: &Operation, other: &str) -> Value {
    let path = operation.path.trim_start_matches("/api/conversations/{id}");
    match (operation.method.as_str(), path) {
        ("PATCH", "") => json!({ "title": "Mine now" }),
        ("PATCH", "/mine") => json!({ "muted": true }),
        ("POST", "/members") => json!({ "users": [other] }),
        ("PUT", "/members/{user}") => json!({ "role": "owner" }),
        ("POST", "/messages") | ("PUT", "/messages/{seq}") => json!({ "text": "let me in" }),
        ("POST", "/messages/{seq}/report") => json!({ "reason": "let me in" }),
        ("POST", "/invite") | ("PUT", "/messages/{seq}/reactions/{emoji}") => json!({}),
        ("GET" | "DELETE", _) => Value::Null,
        other => panic!("a new route needs a body here: {other:?}"),
    }
}

/// What every route that names this conversation answers somebody.
async fn knock(who: &Person, at: &str, target: &Person) -> Vec<(String, Vec<u8>)> {
    let mut answers = Vec::new();
    for operation in operations().await {
        if !operation.path.starts_with("/api/conversations/{id}") {
            continue;
        }
        let path = operation.path.replace("{id}", at).replace("{user}", &target.id);
        let path = path.replace("{seq}", "2").replace("{emoji}", "%F0%9F%91%8D");
        let body = body(&operation, &target.id);
        let raw = Raw::new(&operation.method, &path).own();
        let raw = if body.is_null() { raw } else { raw.json(&body) };
        let answer = who.raw(raw).await;
        answer.refused(404, "not_found");
        answers.push((format!("{} {}", operation.method, operation.path), answer.body.to_vec()));
    }
    assert!(answers.len() >= 18, "only {} routes", answers.len());
    answers
}

#[tokio::test]
async fn outsiders_cannot_tell_a_conversation_from_none() {
    let server = Server::spawn().await;
    let [ada, bob, eve] = server.people(["ada", "bob", "eve"]).await;
    let group = ada.group(&[&bob], "all").await;
    let direct = ada.direct(&bob).await;
    for at in [&group, &direct] {
        ada.say(at, "hello").await;
    }
    let none = format!("f{}", "0".repeat(31));
    let nothing = knock(&eve, &none, &bob).await;
    assert_eq!(knock(&eve, &group, &bob).await, nothing);
    assert_eq!(knock(&eve, &direct, &bob).await, nothing);
    let search = format!("/api/search?q=hello&conversation={group}");
    eve.get(&search).await.refused(404, "not_found");
    assert_eq!(ada.texts(&group).await, ["hello"]);
    assert_eq!(ada.conversation(&group).await["members_count"], 2);
}

#[tokio::test]
async fn who_was_removed_or_left_is_an_outsider_on_every_route() {
    let server = Server::spawn().await;
    let [ada, bob, cyd] = server.people(["ada", "bob", "cyd"]).await;
    let at = ada.group(&[&bob, &cyd], "all").await;
    bob.say(&at, "hello").await;
    ada.remove(&at, &bob).await.ok();
    cyd.remove(&at, &cyd).await.ok();
    knock(&bob, &at, &ada).await;
    knock(&cyd, &at, &ada).await;
    assert_eq!(ada.conversation(&at).await["members_count"], 1);
}
