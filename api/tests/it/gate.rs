//! Before every handler: who, from where, by which page. Over all routes of the OpenAPI document.

use serde_json::json;

use crate::{client::Raw, harness::Server, routes::operations};

#[tokio::test]
async fn without_a_login_every_route_but_six_is_401() {
    let server = Server::spawn().await;
    server.person("ada").await;
    let nobody = server.client();
    let mut public = 0;
    for operation in operations().await {
        if operation.is_public() {
            public += 1;
            continue;
        }
        let raw = Raw::new(&operation.method, &operation.filled()).own().json(&json!({}));
        let answer = nobody.raw(raw).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (401, "unauthorized"),
            "{}",
            operation.name()
        );
        // Malformed ids are no way to learn anything either.
        let raw = Raw::new(&operation.method, &operation.path.replace(['{', '}'], "x")).own();
        assert_eq!(nobody.raw(raw).await.status, 401, "{}", operation.name());
    }
    assert_eq!(public, 6);
}

#[tokio::test]
async fn no_other_site_can_change_anything() {
    let server = Server::spawn().await;
    let ada = server.person("ada").await;
    let (own, json_type) = ("http://chat.test", ("content-type", "application/json"));
    for operation in operations().await.iter().filter(|operation| operation.method != "GET") {
        let raw = || Raw::new(&operation.method, &operation.filled()).body("{}");
        let marked = || raw().with("x-webchat", "1");
        for (what, raw) in [
            ("a form", raw().with("content-type", "application/x-www-form-urlencoded")),
            ("a simple request", raw().with("content-type", "text/plain")),
            ("no header", raw().with(json_type.0, json_type.1).with("origin", own)),
            ("another value", raw().with("x-webchat", "true").with(json_type.0, json_type.1)),
            ("no type", marked().with("origin", own)),
            ("a wrong type", marked().with("content-type", "text/json")),
            (
                "a foreign origin",
                marked().with(json_type.0, json_type.1).with("origin", "http://evil.test"),
            ),
            (
                "a suffix",
                marked().with(json_type.0, json_type.1).with("origin", "http://chat.test.evil"),
            ),
            (
                "another scheme",
                marked().with(json_type.0, json_type.1).with("origin", "https://chat.test"),
            ),
            ("null", marked().with(json_type.0, json_type.1).with("origin", "null")),
            (
                "a realm's password",
                raw().with("authorization", "Basic eDp4").with(json_type.0, json_type.1),
            ),
        ] {
            let answer = ada.raw(raw).await;
            let seen = (answer.status, answer.code());
            assert_eq!(seen, (403, "csrf".to_owned()), "{what}: {}", operation.name());
        }
    }
    ada.get("/api/me").await.ok();
}

#[tokio::test]
async fn a_get_changes_nothing_and_other_methods_are_405() {
    let server = Server::spawn().await;
    let ada = server.person("ada").await;
    for path in ["/api/auth/logout", "/api/auth/login", "/api/admin/invites"] {
        ada.get(path).await.refused(405, "bad_request");
    }
    for method in ["OPTIONS", "TRACE", "PUT"] {
        let answer = ada.raw(Raw::new(method, "/api/auth/login").own()).await;
        answer.refused(405, "bad_request");
    }
    ada.get("/api/nothing").await.refused(404, "not_found");
    ada.get("/api").await.refused(404, "not_found");
    ada.raw(Raw::new("POST", "/somewhere").own()).await.refused(405, "bad_request");
    assert_eq!(
        ada.get("/somewhere").await.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    ada.get("/api/me").await.ok();
}

#[tokio::test]
async fn behind_a_realms_password_the_page_still_works() {
    let server = Server::spawn().await;
    let ada = server.person("ada").await;
    let basic = ("authorization", "Basic eDp4");
    ada.raw(Raw::new("GET", "/api/me").with(basic.0, basic.1)).await.ok();
    let change = Raw::new("PATCH", "/api/me").own().with(basic.0, basic.1);
    ada.raw(change.json(&json!({ "about": "hi" }))).await.ok();
}

#[tokio::test]
async fn programs_use_the_socket_token_and_need_no_origin() {
    let server = Server::spawn().await;
    let ada = server.person("ada").await;
    let bearer = format!("Bearer {}", ada.reply["socket_token"].as_str().unwrap());
    let bot = server.client();
    let change = Raw::new("PATCH", "/api/me").with("authorization", &bearer);
    let me = bot.raw(change.json(&json!({ "about": "a bot" }))).await.ok();
    assert_eq!(me["about"], "a bot");
}

#[tokio::test]
async fn only_administrators_administer() {
    let server = Server::spawn().await;
    let [_, bob] = server.people(["ada", "bob"]).await;
    let mut routes = 0;
    for operation in operations().await {
        if !operation.path.starts_with("/api/admin/") {
            continue;
        }
        routes += 1;
        let raw = Raw::new(&operation.method, &operation.filled()).own();
        let raw = if operation.method == "GET" { raw } else { raw.json(&json!({})) };
        let answer = bob.raw(raw).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (403, "forbidden"),
            "{}",
            operation.name()
        );
    }
    assert!(routes >= 7);
}
