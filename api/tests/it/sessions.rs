//! Refreshing, listing and ending sessions; passwords that change.

use serde_json::{Value, json};

use crate::{
    client::{Client, Raw},
    harness::{PASSWORD, Server},
};

const ACCESS: &str = "webchat_access";
const REFRESH: &str = "webchat_refresh";

async fn refresh(browser: &Client) -> crate::client::Answer {
    browser.post("/api/auth/refresh", json!({})).await
}

#[tokio::test]
async fn a_refresh_rotates_and_parallel_tabs_share_a_grace() {
    let server = Server::spawn().await;
    let ada = server.person("ada").await;
    let first = ada.cookie(REFRESH).unwrap();
    let tab = ada.copy();
    let reply = refresh(&ada).await.ok();
    assert_eq!(reply["session"], ada.reply["session"], "the session stays");
    assert_ne!(ada.cookie(REFRESH).unwrap(), first, "the token is another one");
    // A tab that refreshed at the same moment with the token of before.
    server.clock.advance_ms(9_000);
    let answer = refresh(&tab).await;
    assert_eq!((answer.status, answer.cookies().len()), (200, 1), "a fresh access token alone");
    assert_eq!(tab.cookie(REFRESH).unwrap(), first);
    tab.get("/api/me").await.ok();
    refresh(&ada).await.ok();
}

#[tokio::test]
async fn an_old_refresh_token_after_the_grace_ends_the_session() {
    let server = Server::spawn().await;
    let ada = server.person("ada").await;
    let thief = ada.copy();
    refresh(&ada).await.ok();
    server.clock.advance_ms(10_001);
    let answer = refresh(&thief).await;
    answer.refused(401, "unauthorized");
    assert_eq!(answer.cookies().len(), 2, "its cookies are taken away");
    ada.get("/api/me").await.refused(401, "unauthorized");
    refresh(&ada).await.refused(401, "unauthorized");
}

#[tokio::test]
async fn nonsense_in_the_refresh_cookie_is_no_session() {
    let server = Server::spawn().await;
    let ada = server.person("ada").await;
    refresh(&server.client()).await.refused(401, "unauthorized");
    let access = ada.cookie(ACCESS).unwrap();
    for bad in ["", "x", &access, &"A".repeat(64)] {
        let browser = server.client();
        browser.set_cookie(REFRESH, bad);
        refresh(&browser).await.refused(401, "unauthorized");
    }
    refresh(&ada).await.ok();
}

#[tokio::test]
async fn a_session_ends_when_it_is_not_used_for_a_month() {
    let server = Server::spawn().await;
    let ada = server.person("ada").await;
    let day = 24 * 60 * 60 * 1_000;
    for _ in 0..3 {
        server.clock.advance_ms(29 * day);
        refresh(&ada).await.ok();
    }
    server.clock.advance_ms(30 * day + 1);
    refresh(&ada).await.refused(401, "unauthorized");
}

#[tokio::test]
async fn sessions_are_listed_and_ended_one_by_one_or_all() {
    let server = Server::spawn().await;
    let (laptop, phone, tablet) =
        (server.person("ada").await, server.login("ada").await, server.login("ada").await);
    let bob = server.person("bob").await;
    let sessions = async |of: &Client| {
        let list = of.get("/api/auth/sessions").await.ok();
        list["sessions"].as_array().unwrap().clone()
    };
    let list = sessions(&laptop).await;
    assert_eq!(list.len(), 3);
    let current: Vec<&Value> = list.iter().filter(|s| s["current"] == true).collect();
    assert_eq!(current.len(), 1);
    assert_eq!(current[0]["id"], laptop.reply["session"]);

    let path = format!("/api/auth/sessions/{}", phone.session());
    bob.delete(&path).await.refused(404, "not_found");
    phone.get("/api/me").await.ok();
    assert_eq!(laptop.delete(&path).await.status, 204);
    phone.get("/api/me").await.refused(401, "unauthorized");
    refresh(&phone).await.refused(401, "unauthorized");
    laptop.delete(&path).await.refused(404, "not_found");
    tablet.get("/api/me").await.ok();

    assert_eq!(laptop.delete("/api/auth/sessions").await.status, 204);
    tablet.get("/api/me").await.refused(401, "unauthorized");
    refresh(&tablet).await.refused(401, "unauthorized");
    assert_eq!(sessions(&laptop).await.len(), 1);
    bob.get("/api/me").await.ok();
    // At once, within the second of the revocation.
    let again = server.login("ada").await;
    again.get("/api/me").await.ok();
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions_and_lets_new_ones_in_at_once() {
    let server = Server::spawn().await;
    let (laptop, phone) = (server.person("ada").await, server.login("ada").await);
    let new = "another long password";
    let change = async |current: &str, new: &str| {
        laptop.post("/api/auth/password", json!({ "current": current, "new": new })).await
    };
    change("wrong password", new).await.refused(401, "bad_credentials");
    change(PASSWORD, "short").await.refused(400, "invalid_fields");
    phone.get("/api/me").await.ok();
    assert_eq!(change(PASSWORD, new).await.status, 204);
    laptop.get("/api/me").await.ok();
    refresh(&laptop).await.ok();
    phone.get("/api/me").await.refused(401, "unauthorized");
    refresh(&phone).await.refused(401, "unauthorized");
    let browser = server.client();
    let login = async |password: &str| {
        let body = json!({ "username": "ada", "password": password });
        browser.post("/api/auth/login", body).await
    };
    login(PASSWORD).await.refused(401, "bad_credentials");
    login(new).await.ok();
    browser.get("/api/me").await.ok();
}

#[tokio::test]
async fn a_logout_holds_over_a_restart() {
    let server = Server::spawn().await;
    let (ada, other) = (server.person("ada").await, server.login("ada").await);
    let (old, kept) = (ada.copy(), other.copy());
    ada.post("/api/auth/logout", json!({})).await.ok();
    let server = server.restart().await;
    let at = |browser: &Client| {
        let moved = server.client();
        moved.jar.lock().unwrap().clone_from(&browser.jar.lock().unwrap());
        moved
    };
    at(&kept).get("/api/me").await.ok();
    at(&old).get("/api/me").await.refused(401, "unauthorized");
}

#[tokio::test]
async fn logging_out_works_with_the_refresh_cookie_alone() {
    let server = Server::spawn().await;
    let (ada, other) = (server.person("ada").await, server.login("ada").await);
    let old = ada.copy();
    ada.jar.lock().unwrap().remove(ACCESS);
    assert_eq!(ada.post("/api/auth/logout", json!({})).await.status, 204);
    old.get("/api/me").await.refused(401, "unauthorized");
    refresh(&old).await.refused(401, "unauthorized");
    other.get("/api/me").await.ok();
}

#[tokio::test]
async fn one_user_has_fifty_sessions_and_the_one_used_longest_ago_gives_way() {
    let server = Server::spawn().await;
    let (oldest, second) = (server.person("ada").await, server.login("ada").await);
    server.clock.advance_ms(1_000);
    refresh(&oldest).await.ok();
    let mut newest = server.login("ada").await;
    for _ in 4..=50 {
        newest = server.login("ada").await;
    }
    oldest.get("/api/me").await.ok();
    second.get("/api/me").await.ok();
    server.login("ada").await;
    second.get("/api/me").await.refused(401, "unauthorized");
    oldest.get("/api/me").await.ok();
    let list = newest.get("/api/auth/sessions").await.ok();
    assert_eq!(list["sessions"].as_array().unwrap().len(), 50);
}

#[tokio::test]
async fn a_session_shows_what_the_browser_calls_itself_cut() {
    let server = Server::spawn().await;
    server.person("ada").await;
    let browser = server.client();
    let body = json!({ "username": "ada", "password": PASSWORD });
    let raw = Raw::new("POST", "/api/auth/login").own();
    let raw = raw.with("user-agent", &format!("Browser\t1 {}", "x".repeat(500))).json(&body);
    browser.raw(raw).await.ok();
    let list = browser.get("/api/auth/sessions").await.ok();
    let sessions = list["sessions"].as_array().unwrap().iter();
    let agents: Vec<&str> = sessions.map(|s| s["user_agent"].as_str().unwrap()).collect();
    assert!(agents.iter().any(|agent| agent.starts_with("Browser1 x") && agent.len() == 160));
}
