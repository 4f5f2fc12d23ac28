//! A shard that panics: its connections end with 1012 and come back, others hear nothing of it.

use std::time::Duration;

use broker::config::Mutation;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    client::{Client, get, request},
    harness::{ADA, BOB, Broker, until},
};

/// The publish that its shard does not survive.
const POISON: u64 = 999;

async fn broker() -> Broker {
    Broker::spawn_with(|config| config.mutation = Some(Mutation::PanicAt(POISON))).await
}

async fn livez(broker: &Broker) -> u16 {
    request(broker.admin, &get("/livez", &[])).await.0
}

/// Within the second that the supervisor has (`RESTART_AFTER` and the time to connect).
async fn come_back(broker: &Broker, token: &Value) -> Client {
    let back = async {
        let mut client = broker.connect(ADA).await;
        client.say(&json!({"type": "hello", "resume": token}).to_string()).await;
        assert_eq!(client.next("welcome").await["resume"], "resumed");
        client
    };
    timeout(Duration::from_secs(1), back).await.expect("back within a second")
}

/// Passes over what was said before the news went round.
async fn ada_is_online(bob: &mut Client, online: bool) {
    while bob.next("presence").await["people"][0]["online"] != online {}
}

#[tokio::test]
async fn r26_r27_a_shard_that_panics_is_back_within_a_second_and_nothing_is_lost() {
    let broker = broker().await;
    // The least loaded shard takes the next one, so these two have one each.
    let (mut ada, mut bob) = (broker.join(ADA).await, broker.join(BOB).await);
    ada.publish(1, "one").await;
    let seen = ada.next("message").await;
    bob.publish(1, "while she is here").await;
    ada.publish(2, "its ack never comes").await;
    ada.publish(POISON, "boom").await;
    assert_eq!(ada.closed().await, 1012);
    bob.publish(2, "while she is away").await;
    let mut ada = come_back(&broker, &seen["at"]).await;
    let mut events = vec![seen["seq"].as_u64().unwrap()];
    loop {
        let frame = ada.any().await;
        match frame["type"].as_str() {
            Some("resumed") => break,
            Some("message") => events.push(frame["seq"].as_u64().unwrap()),
            _ => {}
        }
    }
    ada.publish(2, "its ack never comes").await;
    ada.publish(3, "and on").await;
    let mut acks = Vec::new();
    while acks.len() < 2 || events.iter().max() < Some(&6) {
        let frame = ada.any().await;
        let list = if frame["type"] == "ack" { &mut acks } else { &mut events };
        list.push(frame["seq"].as_u64().unwrap());
    }
    events.sort_unstable();
    events.dedup();
    assert_eq!(events, [2, 3, 4, 5, 6], "three of hers, two of his, each in its place");
    let mut heard = Vec::new();
    while heard.len() < 5 {
        heard.push(bob.next("message").await["seq"].as_u64().unwrap());
    }
    assert_eq!(heard, events, "the other shard went on");
    assert_eq!(livez(&broker).await, 200);
}

#[tokio::test]
async fn r32_nobody_stays_online_by_a_shard_that_panicked() {
    let broker = broker().await;
    let (mut ada, mut bob) = (broker.join(ADA).await, broker.join(BOB).await);
    bob.say(&json!({"type": "watch", "people": [ADA], "conversations": []}).to_string()).await;
    ada_is_online(&mut bob, true).await;
    ada.publish(POISON, "boom").await;
    assert_eq!(ada.closed().await, 1012);
    // She does not come back, and then she does.
    ada_is_online(&mut bob, false).await;
    let mut ada = broker.join(ADA).await;
    ada_is_online(&mut bob, true).await;
    ada.publish(POISON, "boom").await;
    assert_eq!(ada.closed().await, 1012);
    ada_is_online(&mut bob, false).await;
}

#[tokio::test]
async fn three_restarts_within_a_minute_end_liveness() {
    let broker = broker().await;
    for left in (0..3).rev() {
        assert_eq!(livez(&broker).await, 200, "{left} more to come");
        let mut ada = broker.join(ADA).await;
        ada.publish(POISON, "boom").await;
        assert_eq!(ada.closed().await, 1012);
        let metrics = broker.node.metrics.clone();
        until("nobody counted", move || {
            metrics.shards.iter().all(|shard| shard.connections.get() == 0)
        })
        .await;
        let node = broker.node.clone();
        until("the restart counted", move || node.is_live() == (left > 0)).await;
    }
    assert_eq!(livez(&broker).await, 503);
}
