//! Tokens that are none: forged, of another kind, of another key, over.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use protocol::{SessionId, UserId};
use serde_json::{Value, json};
use token::{Audience, Claims, Keyring};

use crate::{
    client::{Answer, Client, Raw},
    harness::Server,
    person::Person,
};

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn claims(of: &Person, audience: Audience, now: u64) -> Claims {
    let user: UserId = of.id.parse().unwrap();
    let session: SessionId = of.session().parse().unwrap();
    Claims::new(audience, user, session, now)
}

async fn with_cookie(browser: &Client, token: &str) -> Answer {
    browser.set_cookie("webchat_access", token);
    browser.get("/api/me").await
}

async fn with_bearer(browser: &Client, token: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    browser.raw(Raw::new("GET", "/api/me").with("authorization", &bearer)).await
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let server = Server::spawn().await;
    let ada = server.person("ada").await;
    let good = ada.cookie("webchat_access").unwrap();
    let parts: Vec<&str> = good.split('.').collect();
    let now = server.clock.now_seconds();
    let body = serde_json::to_value(claims(&ada, Audience::Access, now)).unwrap();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[0]).unwrap()).unwrap();
    let kid = header["kid"].as_str().unwrap();
    let jwks = server.client().get("/.well-known/jwks.json").await.ok();
    let public = URL_SAFE_NO_PAD.decode(jwks["keys"][0]["x"].as_str().unwrap()).unwrap();
    let hs256 = |key: &[u8]| {
        let signed = format!(
            "{}.{}",
            encode(&json!({"alg": "HS256", "typ": "JWT", "kid": kid})),
            encode(&body)
        );
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    };
    let none =
        |alg: &str| format!("{}.{}.", encode(&json!({"alg": alg, "kid": kid})), encode(&body));
    let mut other_user = body.clone();
    other_user["sub"] = json!("00000000000000ff");
    let folder = server.folder.join("other-keys");
    let other_key = Keyring::open(&folder).unwrap();
    let foreign = other_key.sign(&claims(&ada, Audience::Access, now));
    let foreign_signature = foreign.rsplit('.').next().unwrap().to_owned();
    for (what, token) in [
        ("empty", String::new()),
        ("text", "x".to_owned()),
        ("dots", "..".to_owned()),
        ("alg none", none("none")),
        ("alg None", none("None")),
        ("the public key as a secret", hs256(&public)),
        ("no secret", hs256(b"")),
        ("other claims", format!("{}.{}.{}", parts[0], encode(&other_user), parts[2])),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("another key", foreign),
        ("another key's signature", format!("{}.{}.{foreign_signature}", parts[0], parts[1])),
    ] {
        let stranger = server.client();
        let answer = with_cookie(&stranger, &token).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{what}");
        assert_eq!(with_bearer(&server.client(), &token).await.status, 401, "{what}");
    }
    with_cookie(&server.client(), &good).await.ok();
}

#[tokio::test]
async fn a_token_of_one_kind_is_no_good_as_the_other() {
    let server = Server::spawn().await;
    let ada = server.person("ada").await;
    let (access, socket) =
        (ada.cookie("webchat_access").unwrap(), ada.reply["socket_token"].as_str().unwrap());
    with_bearer(&server.client(), socket).await.ok();
    with_bearer(&server.client(), &access).await.refused(401, "unauthorized");
    with_cookie(&server.client(), socket).await.refused(401, "unauthorized");
    let refresh = ada.cookie("webchat_refresh").unwrap();
    with_cookie(&server.client(), &refresh).await.refused(401, "unauthorized");
    // A bad bearer token is not made good by a cookie beside it.
    with_bearer(&ada, "x").await.refused(401, "unauthorized");
}

#[tokio::test]
async fn tokens_end_and_do_not_begin_in_the_future() {
    let server = Server::spawn().await;
    let ada = server.person("ada").await;
    let now = server.clock.now_seconds();
    let signed = |at: u64| server.keyring.sign(&claims(&ada, Audience::Access, at));
    with_cookie(&server.client(), &signed(now)).await.ok();
    with_cookie(&server.client(), &signed(now - 616)).await.refused(401, "unauthorized");
    with_cookie(&server.client(), &signed(now + 60)).await.refused(401, "unauthorized");
    // A token of a session that never was, from before this process.
    let mut unknown = claims(&ada, Audience::Access, now - 60);
    unknown.sid = SessionId(7);
    let unknown = server.keyring.sign(&unknown);
    with_cookie(&server.client(), &unknown).await.refused(401, "unauthorized");
    server.clock.advance_ms(616_000);
    ada.get("/api/me").await.refused(401, "unauthorized");
    ada.post("/api/auth/refresh", json!({})).await.ok();
    ada.get("/api/me").await.ok();
}

#[tokio::test]
async fn the_public_keys_verify_what_this_server_signs() {
    let server = Server::spawn().await;
    let ada = server.person("ada").await;
    let document = server.client().get("/.well-known/jwks.json").await;
    assert_eq!(document.header("content-type"), Some("application/json"));
    let text = String::from_utf8(document.body.to_vec()).unwrap();
    assert!(!text.contains("\"d\""), "no private part");
    let verifier = token::Verifier::from_jwks(&text).unwrap();
    let socket = ada.reply["socket_token"].as_str().unwrap();
    let claims = verifier.verify(socket, Audience::Socket, server.clock.now_seconds()).unwrap();
    assert_eq!(claims.sid.to_string(), ada.session());
}
