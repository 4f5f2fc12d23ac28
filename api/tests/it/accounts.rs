//! Registering, logging in and out, and who may register.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    client::Answer,
    harness::{PASSWORD, Server},
    logs,
};

fn attributes(answer: &Answer, name: &str) -> Vec<String> {
    let lines = answer.cookies();
    let line = lines.iter().find(|line| line.starts_with(&format!("{name}=")));
    let line = line.unwrap_or_else(|| panic!("no {name} in {lines:?}"));
    let mut attributes: Vec<String> = line.split("; ").skip(1).map(str::to_owned).collect();
    attributes.sort();
    attributes
}

#[tokio::test]
async fn registering_logs_in_and_logging_out_ends_it() {
    let server = Server::spawn().await;
    let browser = server.client();
    assert_eq!(browser.get("/api/instance").await.ok()["has_users"], false);
    let body = json!({ "username": "Ada", "password": PASSWORD, "display_name": "Ada L." });
    let answer = browser.post("/api/auth/register", body).await;
    assert_eq!(answer.status, 201);
    let reply = answer.json();
    assert_eq!(reply["user"]["username"], "ada");
    assert_eq!(reply["user"]["display_name"], "Ada L.");
    assert_eq!(reply["user"]["admin"], true, "the first one administers");
    let now = server.clock.now_ms();
    let expires = reply["expires_at"].as_u64().unwrap();
    assert!(expires > now + 590_000 && expires <= now + 600_000, "ten minutes");
    let http_only = ["HttpOnly", "Max-Age=600", "Path=/", "SameSite=Lax"];
    assert_eq!(attributes(&answer, "webchat_access"), http_only);
    let refresh = ["HttpOnly", "Max-Age=2592000", "Path=/api/auth", "SameSite=Strict"];
    assert_eq!(attributes(&answer, "webchat_refresh"), refresh);
    assert_eq!(browser.get("/api/me").await.ok(), reply["user"]);
    assert_eq!(browser.get("/api/instance").await.ok()["has_users"], true);

    let old = browser.copy();
    let answer = browser.post("/api/auth/logout", json!({})).await;
    assert_eq!((answer.status, answer.cookies().len()), (204, 2));
    assert!(browser.jar.lock().unwrap().is_empty(), "both cookies are taken away");
    browser.get("/api/me").await.refused(401, "unauthorized");
    old.get("/api/me").await.refused(401, "unauthorized");
    old.post("/api/auth/refresh", json!({})).await.refused(401, "unauthorized");
    assert_eq!(old.post("/api/auth/logout", json!({})).await.status, 204, "again is no error");
}

#[tokio::test]
async fn over_https_cookies_are_secure_and_prefixed() {
    let server = Server::spawn_with(|config| config.secure = true).await;
    let browser = server.client();
    let body = json!({ "username": "ada", "password": PASSWORD });
    let answer = browser.post("/api/auth/register", body).await;
    let access = ["HttpOnly", "Max-Age=600", "Path=/", "SameSite=Lax", "Secure"];
    assert_eq!(attributes(&answer, "__Host-webchat_access"), access);
    let refresh = ["HttpOnly", "Max-Age=2592000", "Path=/api/auth", "SameSite=Strict", "Secure"];
    assert_eq!(attributes(&answer, "__Secure-webchat_refresh"), refresh);
    browser.get("/api/me").await.ok();
    browser.post("/api/auth/refresh", json!({})).await.ok();
    assert!(answer.header("strict-transport-security").is_some());
    // A name without its prefix could have been set by a neighbour: it counts for nothing.
    let stray = server.client();
    stray.set_cookie("webchat_access", &browser.cookie("__Host-webchat_access").unwrap());
    stray.get("/api/me").await.refused(401, "unauthorized");
}

#[tokio::test]
async fn a_wrong_name_and_a_wrong_password_look_the_same() {
    let server = Server::spawn().await;
    server.person("ada").await;
    let browser = server.client();
    let login = async |username: &str, password: &str| {
        let body = json!({ "username": username, "password": password });
        browser.post("/api/auth/login", body).await
    };
    assert_eq!(login("ADA", PASSWORD).await.status, 200, "case of a name does not matter");
    let wrong = login("ada", "wrong password").await;
    let unknown = login("nobody", "wrong password").await;
    wrong.refused(401, "bad_credentials");
    assert_eq!(wrong.body, unknown.body);
    assert!(wrong.cookies().is_empty());
    login("", "").await.refused(401, "bad_credentials");
    login(&"x".repeat(10_000), PASSWORD).await.refused(401, "bad_credentials");
}

#[tokio::test]
async fn an_unknown_name_takes_as_long_as_a_wrong_password() {
    // Expensive enough to stand out from everything else in a login.
    let server = Server::spawn_with(|config| config.bcrypt_cost = 9).await;
    server.person("ada").await;
    let browser = server.client();
    // The quickest of several: noise only ever adds.
    let quickest = async |name: &str| {
        let mut best = Duration::MAX;
        for _ in 0..5 {
            let begun = Instant::now();
            let body = json!({ "username": name, "password": "wrong password" });
            browser.post("/api/auth/login", body).await.refused(401, "bad_credentials");
            best = best.min(begun.elapsed());
        }
        best
    };
    let (known, unknown) = (quickest("ada").await, quickest("nobody").await);
    assert!(unknown * 2 > known && known * 2 > unknown, "known {known:?}, unknown {unknown:?}");
}

#[tokio::test]
async fn every_byte_of_a_password_counts() {
    let server = Server::spawn().await;
    let browser = server.client();
    for (name, right, wrong) in [
        ("long", format!("{}a", "x".repeat(72)), format!("{}b", "x".repeat(72))),
        ("zero", "abcd\0efgh".to_owned(), "abcd\0efgi".to_owned()),
        ("crab", "🦀".repeat(64), format!("{}🦐", "🦀".repeat(63))),
        ("case", "Capital Letters".to_owned(), "capital letters".to_owned()),
    ] {
        let body = json!({ "username": name, "password": right });
        assert_eq!(browser.post("/api/auth/register", body.clone()).await.status, 201, "{name}");
        browser.post("/api/auth/login", body).await.ok();
        let body = json!({ "username": name, "password": wrong });
        browser.post("/api/auth/login", body).await.refused(401, "bad_credentials");
    }
    for (password, what) in [("1234567", "too_short"), (&"x".repeat(257), "too_long")] {
        let body = json!({ "username": "short", "password": password });
        let answer = browser.post("/api/auth/register", body).await;
        answer.refused(400, "invalid_fields");
        assert_eq!(answer.json()["fields"], json!({ "password": what }));
    }
}

#[tokio::test]
async fn names_are_checked_and_belong_to_one() {
    let server = Server::spawn().await;
    server.person("ada").await;
    let browser = server.client();
    let register = async |username: &str, display: &str| {
        let body = json!({ "username": username, "password": PASSWORD, "display_name": display });
        browser.post("/api/auth/register", body).await
    };
    let taken = register("ADA", "x").await;
    taken.refused(409, "username_taken");
    assert_eq!(taken.json()["fields"], json!({ "username": "taken" }));
    for (username, display, field) in [
        ("ab", "x", "username"),
        ("a b c", "x", "username"),
        ("ädäm", "x", "username"),
        ("bob", " ", "display_name"),
        ("bob", "a\u{202e}b", "display_name"),
        ("bob", &"x".repeat(65), "display_name"),
    ] {
        let answer = register(username, display).await;
        answer.refused(400, "invalid_fields");
        assert!(answer.json()["fields"][field].is_string(), "{username} {display}");
    }
    let bob = register("bob", "Bob").await;
    assert_eq!((bob.status, &bob.json()["user"]["admin"]), (201, &json!(false)));
}

#[tokio::test]
async fn two_who_register_one_name_at_once_get_one_account() {
    let server = Server::spawn().await;
    let (a, b) = (server.client(), server.client());
    let body = json!({ "username": "ada", "password": PASSWORD });
    let both = tokio::join!(
        a.post("/api/auth/register", body.clone()),
        b.post("/api/auth/register", body.clone())
    );
    let mut statuses = [both.0.status, both.1.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
}

#[tokio::test]
async fn closed_means_closed_and_tells_no_names() {
    let server = Server::spawn().await;
    let ada = server.person("ada").await;
    let rule = async |registration: &str| {
        let body = json!({ "registration": registration });
        ada.patch("/api/admin/settings", body).await.ok();
    };
    let browser = server.client();
    let register = async |username: &str, invite: Option<&str>| {
        let body = json!({ "username": username, "password": PASSWORD, "invite": invite });
        browser.post("/api/auth/register", body).await
    };
    rule("closed").await;
    assert_eq!(browser.get("/api/instance").await.ok()["registration"], "closed");
    for name in ["bob", "ada"] {
        register(name, None).await.refused(403, "registration_closed");
    }
    rule("invite").await;
    let invite = ada.post("/api/admin/invites", json!({})).await.ok();
    let code = invite["code"].as_str().unwrap();
    for name in ["bob", "ada"] {
        register(name, None).await.refused(403, "registration_closed");
        register(name, Some("AAAAAAAAAAAAAAAAAAAAAA")).await.refused(403, "registration_closed");
    }
    register("ada", Some(code)).await.refused(409, "username_taken");
    assert_eq!(register("bob", Some(code)).await.status, 201);
    register("cyd", Some(code)).await.refused(403, "registration_closed");
    rule("open").await;
    assert_eq!(register("cyd", None).await.status, 201);
}

#[tokio::test]
async fn nothing_secret_is_logged_but_requests_are() {
    let server = Server::spawn().await;
    let ada = server.person("ada").await;
    ada.get("/api/me").await.ok();
    let logged = logs::text();
    assert!(logged.contains("/api/auth/register") && logged.contains("/api/me"), "{logged}");
    assert!(logs::known_secrets() >= 4, "password, two cookies, socket token");
    logs::hold_no_secret();
}
