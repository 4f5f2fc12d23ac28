//! How connections end: expiry, revocation, slowness, drain.

use std::time::Duration;

use backplane::{Envelope, Key, Log};
use protocol::{EventKind, Producer};
use serde_json::json;
use token::Audience;
use tokio::time::timeout;

use crate::{
    client::{Client, frame, get, request},
    harness::{ADA, BOB, Broker, direct, until},
};

#[tokio::test]
async fn r36_a_token_ends_its_connection_unless_it_is_renewed_for_the_same_session() {
    let broker = Broker::spawn().await;
    let bearer = format!("Bearer {}", broker.token_for(Audience::Socket, ADA, 1, 3));
    let mut clients = Vec::new();
    for _ in 0..2 {
        let (status, _, mut client) =
            Client::upgrade(broker.address, &[("Authorization", &bearer)]).await;
        assert_eq!(status, 101);
        client.say("{\"type\":\"hello\"}").await;
        client.next("welcome").await;
        clients.push(client);
    }
    let foreign = broker.token(Audience::Socket, ADA, 2);
    clients[0].say(&json!({"type": "reauth", "token": foreign}).to_string()).await;
    assert_eq!(clients[0].next("error").await["code"], "unauthorized");
    let fresh = broker.token(Audience::Socket, ADA, 1);
    clients[0].say(&json!({"type": "reauth", "id": 5, "token": fresh}).to_string()).await;
    assert_eq!(clients[0].next("ok").await["id"], 5);
    assert_eq!(clients[1].closed().await, 4401);
    clients[0].say("{\"type\":\"ping\",\"id\":6}").await;
    assert_eq!(clients[0].next("ok").await["id"], 6, "renewed");
}

#[tokio::test]
async fn r37_a_revoked_session_ends_within_a_second() {
    let broker = Broker::spawn().await;
    let (mut ada, mut bob) = (broker.join(ADA).await, broker.join(BOB).await);
    broker.revoke(u128::from(ADA.0)).await;
    let code = timeout(Duration::from_secs(1), ada.closed()).await;
    assert_eq!(code.expect("within a second"), 4401);
    bob.say("{\"type\":\"ping\"}").await;
    bob.next("ok").await;
}

#[tokio::test]
async fn r38_who_does_not_read_is_closed_as_slow_and_others_are_not_held_up() {
    let broker = Broker::spawn().await;
    let mut ada = broker.join(ADA).await;
    let slow = broker.join(BOB).await;
    socket2::SockRef::from(&slow.stream).set_recv_buffer_size(4_096).unwrap();
    let text = "x".repeat(16_000);
    let metrics = broker.node.metrics.clone();
    let slow_closes = move || metrics.shards.iter().map(|s| s.closed[3].get()).sum::<u64>();
    let mut no = 1;
    // What the kernel takes for a socket that nobody reads (4 MiB by default), and the outbox.
    while no < 1_000 {
        ada.publish(no, &text).await;
        let answer = loop {
            let frame = ada.any().await;
            if frame["type"] == "ack" || frame["type"] == "error" {
                break frame;
            }
        };
        if slow_closes() > 0 {
            return;
        }
        match answer["retry_after_ms"].as_u64() {
            Some(wait) => tokio::time::sleep(Duration::from_millis(wait)).await,
            None => no += 1,
        }
    }
    panic!("never closed as slow");
}

#[tokio::test]
async fn r39_a_stopping_node_answers_says_goaway_and_closes_with_1012() {
    let mut broker = Broker::spawn_with(|config| config.drain_window_ms = 300).await;
    let (mut ada, mut bob) = (broker.join(ADA).await, broker.join(BOB).await);
    for no in 1..=30 {
        ada.publish(no, "hi").await;
    }
    let acks_before = ada.next("ack").await["no"].as_u64().unwrap();
    broker.begin_stop();
    let (mut answered, mut goaway) = (acks_before, false);
    loop {
        let (first, payload) = ada.frame().await.expect("a close frame before the end");
        if first == 0x88 {
            assert_eq!(u16::from_be_bytes([payload[0], payload[1]]), 1012);
            break;
        }
        let frame: serde_json::Value = serde_json::from_slice(&payload).unwrap_or_default();
        match frame["type"].as_str() {
            Some("ack") => answered += 1,
            Some("error") => {
                assert_eq!(frame["code"], "draining");
                answered += 1;
            }
            Some("goaway") => goaway = true,
            _ => {}
        }
    }
    assert!(goaway);
    assert_eq!(answered, 30, "nothing stays unanswered");
    assert_eq!(bob.closed().await, 1012);
    broker.stop().await;
    assert_eq!(broker.node.state(), broker::State::Stopped);
}

#[tokio::test]
async fn r4_r39_the_admin_port_drains_and_newcomers_are_sent_away() {
    let broker = Broker::spawn_with(|config| config.drain_window_ms = 2_000).await;
    let mut ada = broker.join(ADA).await;
    let bearer = broker.bearer(BOB);
    // Open before the drain: its listener is closed then.
    let drain = "POST /admin/drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(request(broker.admin, drain).await.0, 202);
    ada.next("goaway").await;
    let ready = request(broker.admin, &get("/readyz", &[])).await;
    assert_eq!(ready.0, 503);
    let late = tokio::net::TcpStream::connect(broker.address).await;
    assert!(late.is_err(), "{bearer}: the port is closed");
    assert_eq!(ada.closed().await, 1012);
    let node = broker.node.clone();
    until("stopped", move || node.state() == broker::State::Stopped).await;
}

/// All that was left of the replay was made in one step and kept in memory, past every bound of the outbox, for somebody who
/// had said that they go.
#[tokio::test]
async fn r38_who_goes_in_the_middle_of_a_replay_gets_what_was_queued_and_not_the_rest() {
    // 24 MB: far more than the kernel takes for a socket that nobody reads (4 MiB by default).
    const MESSAGES: u64 = 1_500;
    let broker = Broker::spawn().await;
    let body = serde_json::to_vec(&json!({ "text": "x".repeat(16_000) })).unwrap();
    let message = |no| {
        let key = Key { conversation: direct(), user: BOB, producer: Producer(5), no };
        Envelope::new(key, 0, EventKind::Message, body.clone().into())
    };
    let messages: Vec<Envelope> = (1..=MESSAGES).map(message).collect();
    let mut appender = broker.log.appender(0);
    for batch in messages.chunks(15) {
        appender.append(batch).await.unwrap();
    }
    let mut ada = broker.connect(ADA).await;
    socket2::SockRef::from(&ada.stream).set_recv_buffer_size(65_536).unwrap();
    ada.say("{\"type\":\"hello\",\"resume\":\"1-0\"}").await;
    assert_eq!(ada.next("welcome").await["resume"], "resumed");
    ada.raw(&frame(0x88, &1000u16.to_be_bytes())).await;
    let mut events = 0;
    loop {
        match ada.frame().await.expect("a close frame before the end") {
            (0x88, code) => break assert_eq!(code, 1000u16.to_be_bytes()),
            (first, _) => events += u64::from(first == 0x81),
        }
    }
    assert!(events < MESSAGES / 2, "{events} of {MESSAGES}");
}
