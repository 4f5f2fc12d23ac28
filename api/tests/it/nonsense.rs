//! Requests that make no sense are refused with a reason, and never with a part of what they said.

use serde_json::json;

use crate::{client::Raw, harness::Server, routes::operations};

#[tokio::test]
async fn bodies_that_are_no_json_or_have_other_fields_are_refused_everywhere() {
    let server = Server::spawn().await;
    let ada = server.person("ada").await;
    let mut routes = 0;
    for operation in operations().await.iter().filter(|operation| operation.has_body) {
        routes += 1;
        for body in [
            "",
            "{",
            "nonsense",
            "null",
            "[]",
            "{\"nonsense\":1}",
            "{\"username\":{\"$ne\":null}}",
            "\u{feff}{}",
            &format!("{}{}", "[".repeat(30_000), "]".repeat(30_000)),
        ] {
            let raw = Raw::new(&operation.method, &operation.filled()).own();
            let raw = raw.with("content-type", "application/json").body(body);
            let answer = ada.raw(raw).await;
            let seen = (answer.status, answer.code());
            let name = operation.name();
            // Without a body there is no type to check, and none is taken for an empty object.
            assert_eq!(
                seen,
                (400, "bad_request".to_owned()),
                "{name} {}",
                &body[..body.len().min(40)]
            );
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(!text.contains("nonsense"), "{text}");
        }
    }
    assert!(routes >= 15, "only {routes}");
    ada.get("/api/me").await.ok();
}

#[tokio::test]
async fn wrong_types_and_numbers_out_of_range_are_refused() {
    let server = Server::spawn().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let at = ada.direct(&bob).await;
    let messages = format!("/api/conversations/{at}/messages");
    for body in [
        json!({ "text": 5 }),
        json!({ "text": ["a"] }),
        json!({ "text": "a", "reply_to": -1 }),
        json!({ "text": "a", "reply_to": 1.5 }),
        json!({ "text": "a", "extra": true }),
    ] {
        ada.post(&messages, body).await.refused(400, "bad_request");
    }
    let twice = Raw::new("POST", &messages).own().with("content-type", "application/json");
    ada.raw(twice.body(r#"{"text":"a","text":"b"}"#)).await.refused(400, "bad_request");
    let broken = Raw::new("POST", &messages).own().with("content-type", "application/json");
    ada.raw(broken.body(b"{\"text\":\"\xff\"}".to_vec())).await.refused(400, "bad_request");
    for query in [
        "limit=-1",
        "limit=x",
        "limit=99999999999999999999",
        "before=",
        "nonsense=1",
        "limit=1&limit=2",
    ] {
        ada.get(&format!("{messages}?{query}")).await.refused(400, "bad_request");
    }
    assert!(ada.texts(&at).await.is_empty());
}

#[tokio::test]
async fn malformed_ids_are_refused() {
    let server = Server::spawn().await;
    let ada = server.person("ada").await;
    let long = "0".repeat(200);
    for id in
        ["x", "%00", "..%2F..%2Fme", "{}", "0", &long, &"G".repeat(32), &"A".repeat(32), "%F0%9F"]
    {
        for path in [
            format!("/api/conversations/{id}"),
            format!("/api/conversations/{id}/messages"),
            format!("/api/users/{id}"),
        ] {
            let answer = ada.get(&path).await;
            assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"), "{path}");
        }
        let direct = json!({ "user": id });
        ada.post("/api/conversations/direct", direct).await.refused(400, "bad_request");
    }
    ada.get("/api/users?ids=x").await.refused(400, "bad_request");
    let many = vec!["00000000000000ff"; 201].join(",");
    ada.get(&format!("/api/users?ids={many}")).await.refused(413, "too_large");
    let at = ada.direct(&ada).await;
    let path = format!("/api/conversations/{at}/messages/-1");
    ada.put(&path, json!({ "text": "x" })).await.refused(400, "bad_request");
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let server = Server::spawn().await;
    let ada = server.person("ada").await;
    let at = ada.direct(&ada).await;
    for path in [format!("/api/conversations/{at}/messages"), "/api/auth/login".to_owned()] {
        let body = json!({ "text": "x".repeat(70_000) });
        ada.post(&path, body).await.refused(413, "too_large");
    }
    ada.get("/api/me").await.ok();
}
