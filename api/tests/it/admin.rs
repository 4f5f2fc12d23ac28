//! What administrators do: settings, accounts, reports.

use serde_json::{Value, json};

use crate::{
    harness::{PASSWORD, Server},
    person::message,
};

#[tokio::test]
async fn settings_are_changed_field_by_field_and_seen_by_all() {
    let server = Server::spawn().await;
    let ada = server.person("ada").await;
    let path = "/api/admin/settings";
    let changed = ada.patch(path, json!({ "name": "Engine Room" })).await.ok();
    let expected = json!({ "name": "Engine Room", "registration": "open", "directory": "open" });
    assert_eq!(changed, expected);
    assert_eq!(ada.get(path).await.ok(), expected);
    assert_eq!(server.client().get("/api/instance").await.ok()["name"], "Engine Room");
    ada.patch(path, json!({ "name": " " })).await.refused(400, "invalid_fields");
    ada.patch(path, json!({ "registration": "perhaps" })).await.refused(400, "bad_request");
    assert_eq!(ada.get(path).await.ok(), expected);
}

#[tokio::test]
async fn a_disabled_account_is_out_until_it_is_enabled() {
    let server = Server::spawn().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let at = ada.direct(&bob).await;
    let path = format!("/api/admin/users/{}", bob.id);
    assert_eq!(ada.patch(&path, json!({ "disabled": true })).await.status, 204);
    bob.get("/api/me").await.refused(401, "unauthorized");
    let token = format!("Bearer {}", bob.reply["socket_token"].as_str().unwrap());
    let raw = crate::client::Raw::new("GET", "/api/me").with("authorization", &token);
    server.client().raw(raw).await.refused(401, "unauthorized");
    bob.post("/api/auth/refresh", json!({})).await.refused(401, "unauthorized");
    let login = async |password: &str| {
        let body = json!({ "username": "bob", "password": password });
        server.client().post("/api/auth/login", body).await
    };
    login(PASSWORD).await.refused(403, "disabled");
    login("wrong password").await.refused(401, "bad_credentials");
    assert_eq!(ada.get("/api/users?q=bob").await.ok()["users"], json!([]));
    ada.say(&at, "what was said stays").await;
    let listed = ada.get("/api/admin/users?q=bob").await.ok();
    assert_eq!(listed["users"][0]["disabled"], true);
    ada.patch(&path, json!({ "disabled": false })).await.ok();
    let bob = server.login("bob").await;
    assert_eq!(bob.texts(&at).await, ["what was said stays"]);
}

#[tokio::test]
async fn a_password_set_by_an_administrator_ends_all_sessions() {
    let server = Server::spawn().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let path = format!("/api/admin/users/{}", bob.id);
    ada.patch(&path, json!({ "password": "short" })).await.refused(400, "invalid_fields");
    ada.patch(&path, json!({ "password": "given by ada" })).await.ok();
    bob.get("/api/me").await.refused(401, "unauthorized");
    let browser = server.client();
    let body = json!({ "username": "bob", "password": "given by ada" });
    browser.post("/api/auth/login", body).await.ok();
    browser.get("/api/me").await.ok();
    let path = "/api/admin/users/00000000000000ff";
    ada.patch(path, json!({ "disabled": true })).await.refused(404, "not_found");
}

#[tokio::test]
async fn there_is_always_an_administrator() {
    let server = Server::spawn().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let path = |id: &str| format!("/api/admin/users/{id}");
    for change in [json!({ "admin": false }), json!({ "disabled": true })] {
        ada.patch(&path(&ada.id), change).await.refused(409, "conflict");
    }
    bob.get("/api/admin/users").await.refused(403, "forbidden");
    ada.patch(&path(&bob.id), json!({ "admin": true })).await.ok();
    assert_eq!(bob.get("/api/me").await.ok()["admin"], true);
    bob.patch(&path(&ada.id), json!({ "admin": false })).await.ok();
    ada.get("/api/admin/users").await.refused(403, "forbidden");
    bob.get("/api/admin/users").await.ok();
}

#[tokio::test]
async fn accounts_are_listed_in_pages_each_once() {
    let server = Server::spawn().await;
    let ada = server.person("ada").await;
    for n in 0..6 {
        server.person(&format!("user{n}")).await;
    }
    for q in ["", "user"] {
        let (mut names, mut next) = (Vec::new(), String::new());
        for _ in 0..9 {
            let page = ada.get(&format!("/api/admin/users?q={q}&limit=2{next}")).await.ok();
            for user in page["users"].as_array().unwrap() {
                names.push(user["username"].as_str().unwrap().to_owned());
                assert!(user["last_seen"].as_u64().unwrap() > 0);
            }
            let Some(after) = page["next"].as_str() else { break };
            next = format!("&after={after}");
        }
        names.sort();
        let mut expected: Vec<String> = (0..6).map(|n| format!("user{n}")).collect();
        if q.is_empty() {
            expected.insert(0, "ada".to_owned());
        }
        assert_eq!(names, expected, "{q}");
    }
}

/// A revocation of the person as a whole took the login of that same second with it: its tokens were void from the start.
#[tokio::test]
async fn who_is_enabled_again_may_log_in_within_the_same_second() {
    let server = Server::spawn().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let path = format!("/api/admin/users/{}", bob.id);
    let clock = &server.clock;
    clock.advance_ms(1_000 - clock.now_ms() % 1_000);
    ada.patch(&path, json!({ "disabled": true })).await.ok();
    bob.get("/api/me").await.refused(401, "unauthorized");
    ada.patch(&path, json!({ "disabled": false })).await.ok();
    let again = server.login("bob").await;
    again.get("/api/me").await.ok();
    bob.get("/api/me").await.refused(401, "unauthorized");
}

#[tokio::test]
async fn reports_reach_administrators_with_the_words_of_that_time() {
    let server = Server::spawn().await;
    let [ada, bob, cyd] = server.people(["ada", "bob", "cyd"]).await;
    let at = bob.direct(&cyd).await;
    let seq = bob.say(&at, "rude words").await;
    let path = format!("{}/report", message(&at, seq));
    for reason in ["", "  ", &"x".repeat(1_001)] {
        cyd.post(&path, json!({ "reason": reason })).await.refused(400, "invalid_fields");
    }
    for _ in 0..2 {
        assert_eq!(cyd.post(&path, json!({ "reason": "they are rude" })).await.status, 204);
    }
    ada.post(&path, json!({ "reason": "not mine to see" })).await.refused(404, "not_found");
    bob.edit(&at, seq, "kind words").await.ok();
    bob.get("/api/admin/reports").await.refused(403, "forbidden");
    let list = async || ada.get("/api/admin/reports").await.ok()["reports"].clone();
    let reports = list().await;
    assert_eq!(reports.as_array().unwrap().len(), 1, "twice is once");
    let report = &reports[0];
    for (field, value) in [
        ("conversation", json!(at)),
        ("seq", json!(seq)),
        ("from", json!(bob.id)),
        ("text", json!("rude words")),
        ("reason", json!("they are rude")),
        ("closed", json!(false)),
    ] {
        assert_eq!(report[field], value, "{field}");
    }
    assert_eq!(report["by"]["id"], json!(cyd.id));
    let close = format!("/api/admin/reports/{}/close", report["id"].as_str().unwrap());
    assert_eq!(ada.post(&close, json!({})).await.status, 204);
    assert_eq!(list().await[0]["closed"], Value::Bool(true));
    ada.post("/api/admin/reports/999/close", json!({})).await.refused(404, "not_found");
    ada.post("/api/admin/reports/x/close", json!({})).await.refused(404, "not_found");
}
