//! How often: by address before a login, by user after it, and never by what a header claims.

use api::{ApiConfig, rate_limit::Rate};
use serde_json::json;

use crate::{
    client::{Answer, Client, Raw},
    harness::{ORIGIN, PASSWORD, Server},
};

fn strict(config: &mut ApiConfig) {
    config.rates.login_per_address = Rate::per_minute(5);
    config.rates.login_per_account = Rate::per_minute(3);
    config.rates.register_per_address = Rate::per_minute(3);
}

async fn login(from: &Client, name: &str, password: &str) -> Answer {
    from.post("/api/auth/login", json!({ "username": name, "password": password })).await
}

async fn register(from: &Client, name: &str) -> Answer {
    from.post("/api/auth/register", json!({ "username": name, "password": PASSWORD })).await
}

#[tokio::test]
async fn guessing_passwords_is_slow_and_locks_nobody_else_out() {
    let server = Server::spawn_with(strict).await;
    server.person("ada").await;
    let guesser = server.client().coming_from("127.0.0.9");
    for _ in 0..3 {
        login(&guesser, "ada", "wrong password").await.refused(401, "bad_credentials");
    }
    let refused = login(&guesser, "ada", PASSWORD).await;
    refused.refused(429, "rate_limited");
    assert_eq!(refused.header("retry-after"), Some("20"), "a token every 20 s");
    let owner = server.client();
    login(&owner, "ada", PASSWORD).await.ok();
    // Other names from the same address: the address has a limit of its own.
    login(&guesser, "bob", PASSWORD).await.refused(401, "bad_credentials");
    login(&guesser, "cyd", PASSWORD).await.refused(429, "rate_limited");
    server.clock.advance_ms(60_000);
    login(&guesser, "ada", PASSWORD).await.ok();
}

#[tokio::test]
async fn unknown_names_are_limited_like_known_ones() {
    let server = Server::spawn_with(strict).await;
    let guesser = server.client();
    for _ in 0..3 {
        login(&guesser, "nobody", "wrong password").await.refused(401, "bad_credentials");
    }
    login(&guesser, "NOBODY", "wrong password").await.refused(429, "rate_limited");
}

#[tokio::test]
async fn registrations_of_one_address_are_few_whatever_it_claims() {
    let server = Server::spawn_with(strict).await;
    let browser = server.client();
    for name in ["one", "two", "three"] {
        assert_eq!(register(&browser, name).await.status, 201);
    }
    let refused = register(&browser, "four").await;
    refused.refused(429, "rate_limited");
    assert!(refused.json()["retry_after_ms"].as_u64().unwrap() <= 20_000);
    let body = json!({ "username": "five", "password": PASSWORD });
    for forwarded in ["10.1.1.1", "10.1.1.2"] {
        let raw = Raw::new("POST", "/api/auth/register").own().with("x-forwarded-for", forwarded);
        browser.raw(raw.json(&body)).await.refused(429, "rate_limited");
    }
    let elsewhere = server.client().coming_from("127.0.0.2");
    assert_eq!(register(&elsewhere, "six").await.status, 201);
}

#[tokio::test]
async fn behind_a_configured_proxy_the_client_it_names_counts() {
    let change = |config: &mut ApiConfig| {
        strict(config);
        config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    };
    let server = Server::spawn_with(change).await;
    let proxy = server.client();
    let through = async |client: &str, name: &str| {
        let body = json!({ "username": name, "password": PASSWORD });
        let raw = Raw::new("POST", "/api/auth/register").own().with("x-forwarded-for", client);
        proxy.raw(raw.json(&body)).await.status
    };
    for name in ["one", "two", "three"] {
        assert_eq!(through("10.1.1.1", name).await, 201);
    }
    assert_eq!(through("10.1.1.1", "four").await, 429);
    assert_eq!(through("9.9.9.9, 10.1.1.1", "four").await, 429, "what the client added is ignored");
    assert_eq!(through("10.1.1.2", "four").await, 201);
}

#[tokio::test]
async fn trusted_sources_have_no_limits() {
    let change = |config: &mut ApiConfig| {
        strict(config);
        config.trusted_sources = vec!["127.0.0.0/30".parse().unwrap()];
    };
    let server = Server::spawn_with(change).await;
    let tool = server.client();
    for n in 0..10 {
        assert_eq!(register(&tool, &format!("user{n}")).await.status, 201);
    }
    let other = server.client().coming_from("127.0.0.9");
    for n in 10..13 {
        assert_eq!(register(&other, &format!("user{n}")).await.status, 201);
    }
    register(&other, "user13").await.refused(429, "rate_limited");
}

#[tokio::test]
async fn one_user_has_one_budget_over_all_sessions() {
    let change = |config: &mut ApiConfig| {
        config.rates.requests_per_user = Rate::per_minute(4);
        config.rates.requests_per_address = Rate::per_minute(6);
    };
    let server = Server::spawn_with(change).await;
    let (laptop, phone) = (server.person("ada").await, server.login("ada").await);
    for _ in 0..2 {
        laptop.get("/api/me").await.ok();
        phone.get("/api/me").await.ok();
    }
    laptop.get("/api/me").await.refused(429, "rate_limited");
    phone.get("/api/me").await.refused(429, "rate_limited");
    // Without a login the address counts; two of six went into registering and logging in.
    let nobody = server.client();
    for _ in 0..4 {
        nobody.get("/api/instance").await.ok();
    }
    nobody.get("/api/instance").await.refused(429, "rate_limited");
}

#[tokio::test]
async fn appends_and_searches_have_budgets() {
    let change = |config: &mut ApiConfig| {
        config.rates.appends_per_user = Rate::per_minute(3);
        config.rates.searches_per_user = Rate::per_minute(2);
    };
    let server = Server::spawn_with(change).await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let at = ada.direct(&bob).await;
    ada.say(&at, "one").await;
    ada.say(&at, "two").await;
    let path = format!("/api/conversations/{at}/messages");
    ada.post(&path, json!({ "text": "three" })).await.refused(429, "rate_limited");
    bob.say(&at, "three").await;
    for _ in 0..2 {
        ada.get("/api/users?q=b").await.ok();
    }
    ada.get("/api/users?q=b").await.refused(429, "rate_limited");
    ada.get("/api/search?q=one").await.refused(429, "rate_limited");
}

#[tokio::test]
async fn the_right_origin_is_the_configured_one() {
    let server = Server::spawn_with(|config| config.origins = vec!["https://other".into()]).await;
    let body = json!({ "username": "ada", "password": PASSWORD });
    let raw = Raw::new("POST", "/api/auth/register").with("x-webchat", "1");
    let own = raw.clone().with("origin", "https://other").json(&body);
    server.client().raw(raw.with("origin", ORIGIN).json(&body)).await.refused(403, "csrf");
    assert_eq!(server.client().raw(own).await.status, 201);
}
