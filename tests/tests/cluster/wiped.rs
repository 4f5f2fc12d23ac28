//! The log server's disk is gone while everything is down: history is in the store, and numbers go on above it.

use crate::{
    client::Person,
    servers::{Plan, ready},
};

/// F7 of a whole cluster that starts again. Its numbers began again at 1, below what the store had.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_starts_on_an_empty_log_goes_on_above_its_history() {
    let plan = Plan::new();
    let (log, _live) = (plan.log_server(), plan.live_server());
    let (mut api, mut broker) = (plan.api(), plan.broker());
    ready(broker.address("admin").await).await;
    let at = api.address("webchat-api").await;
    let (mut ada, mut bob) = (Person::register(at, "ada").await, Person::register(at, "bob").await);
    let direct = ada.account.direct(bob.user()).await.unwrap();
    let here = broker.address("webchat-broker").await;
    ada.connect(here).await;
    let before = ada.say(direct, "before").await;
    ada.next("persisted", |frame| frame["seq"].as_u64() >= Some(before)).await;

    // All at once, and the log's disk with it.
    drop((api, broker, log));
    std::fs::remove_dir_all(plan.folder.0.join("log")).unwrap();

    let _log = plan.log_server();
    let (mut api, mut broker) = (plan.api(), plan.broker());
    ready(broker.address("admin").await).await;
    let at = api.address("webchat-api").await;
    let here = broker.address("webchat-broker").await;
    bob.account = loadtest::http::Account::new(at, None);
    bob.account.login("bob", crate::client::PASSWORD).await.unwrap();
    ada.connect(here).await;
    bob.connect(here).await;
    let after = ada.say(direct, "after").await;
    assert!(after > before, "{after} after {before}");
    assert_eq!(bob.hears("after").await, after);
    let page = bob.account.all_events(direct, 0).await.unwrap();
    assert_eq!(page.head, after, "and nothing in between is missing");
}
