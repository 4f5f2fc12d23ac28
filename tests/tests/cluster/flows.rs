//! What people do on a cluster, over two brokers.

use std::time::Duration;

use hyper::Method;
use serde_json::json;
use token::keys;

use crate::{
    client::Person,
    servers::{Plan, http, readiness, ready},
    until,
};

/// The order of the start is the worst one: everybody before what they need.
#[tokio::test(flavor = "multi_thread")]
async fn people_on_two_brokers_talk_see_each_other_and_log_out_whatever_started_first() {
    let plan = Plan::new();
    let (mut first, mut second) = (plan.broker(), plan.broker());
    let (first_admin, second_admin) = (first.address("admin").await, second.address("admin").await);
    let missing = readiness(first_admin).await;
    for name in ["keys", "log server", "durability", "accepting"] {
        assert_eq!(missing.get(name), Some(&'-'), "{name}: {missing:?}");
    }
    let mut api = plan.api();
    let api_admin = api.address("admin").await;
    // Keys and archive are there before the log is.
    until("keys", || async { readiness(first_admin).await.get("keys") == Some(&'+') }).await;
    assert_eq!(readiness(api_admin).await.get("log"), Some(&'-'));
    let (_live, _log) = (plan.live_server(), plan.log_server());
    for admin in [first_admin, second_admin, api_admin] {
        ready(admin).await;
    }
    let told = http(first_admin, "/readyz?verbose").await;
    assert!(told.contains("[+] archive") && told.contains("[+] live"), "{told}");
    let said = first.said();
    for need in ["keys", "log", "live"] {
        let times = said.matches(&format!("waiting need=\"{need}\"")).count();
        // What came while the first try was still under way is not told.
        assert!(times <= 1, "{need} is told once: {said}");
    }
    assert!(said.contains("waiting need=\"log\""), "{said}");

    let at = api.address("webchat-api").await;
    let (here, there) =
        (first.address("webchat-broker").await, second.address("webchat-broker").await);
    let (mut ada, mut bob) = (Person::register(at, "ada").await, Person::register(at, "bob").await);
    ada.connect(here).await;
    bob.connect(there).await;
    let direct = ada.account.direct(bob.user()).await.unwrap();
    let seq = ada.say(direct, "across").await;
    assert_eq!(bob.hears("across").await, seq);
    assert_eq!(bob.say(direct, "and back").await, seq + 1);
    assert_eq!(ada.hears("and back").await, seq + 1);
    ada.watch(bob.user());
    ada.sees(bob.user(), true).await;
    let page = ada.account.all_events(direct, 0).await.unwrap();
    assert_eq!((page.head, page.slots.len() as u64), (seq + 1, seq + 1), "in history, too");
    assert!(http(api_admin, "/metrics").await.contains("api_messages_appended_total"));

    // Logging out at the api ends the socket on the other broker; nothing of it lingers.
    bob.account.json(Method::POST, "/api/auth/logout", Some(&json!({}))).await.unwrap();
    let (code, _) = bob.closed(Duration::from_secs(1)).await;
    assert_eq!(code, Some(4401));
    ada.sees(bob.user(), false).await;

    keys_that_are_new_to_a_broker(&plan, &mut api, here).await;

    // A planned stop warns first.
    first.term();
    assert_eq!(ada.closed(Duration::from_secs(10)).await, (Some(1012), true));
    assert!(first.ends_within(Duration::from_secs(10)).await.success(), "{}", first.said());
    api.term();
    assert!(api.ends_within(Duration::from_secs(15)).await.success(), "{}", api.said());
}

/// A key that an api signs with at once, because it was there before the api's start: brokers fetch it when they meet it.
async fn keys_that_are_new_to_a_broker(
    plan: &Plan,
    api: &mut crate::servers::Process,
    broker: std::net::SocketAddr,
) {
    api.term();
    assert!(api.ends_within(Duration::from_secs(15)).await.success(), "{}", api.said());
    keys::create_key(&plan.folder.0.join("data/keys"), "0002").unwrap();
    *api = plan.api();
    let at = api.address("webchat-api").await;
    let mut cy = Person::register(at, "cyd").await;
    cy.connect(broker).await;
}
