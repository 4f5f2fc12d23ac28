//! Publishing, receiving, coming back.

use std::sync::atomic::Ordering::Relaxed;

use backplane::{Key, Live, Log, Signal};
use protocol::{ConversationId, EventKind, Producer, event::UserChange, limits};
use serde_json::json;

use crate::harness::{ADA, BOB, Broker, direct, now_ms, until};

#[tokio::test]
async fn r6_hello_is_answered_by_welcome_and_nothing_works_before_it() {
    let broker = Broker::spawn().await;
    let mut ada = broker.connect(ADA).await;
    ada.say("{\"type\":\"ping\",\"id\":3}").await;
    let refused = ada.next("error").await;
    assert_eq!((&refused["code"], &refused["id"]), (&json!("not_expected"), &json!(3)));
    ada.say("{\"type\":\"hello\",\"client\":\"test/1\"}").await;
    let welcome = ada.next("welcome").await;
    assert_eq!(welcome["protocol"], "webchat.v1");
    assert_eq!(welcome["user"], ADA.to_string());
    assert_eq!(welcome["durability"], "fsync");
}

#[tokio::test]
async fn r10_r15_r20_a_publish_is_acked_and_reaches_both_people_in_order() {
    let broker = Broker::spawn().await;
    let (mut ada, mut phone, mut bob) =
        (broker.join(ADA).await, broker.join(ADA).await, broker.join(BOB).await);
    for no in 1..=20 {
        ada.publish(no, "hi").await;
    }
    for client in [&mut phone, &mut bob] {
        for no in 1..=20 {
            let event = client.next("message").await;
            assert_eq!((&event["no"], &event["seq"]), (&json!(no), &json!(no + 1)));
            assert_eq!(event["from"], ADA.to_string());
        }
    }
    let (mut acks, mut events) = (Vec::new(), Vec::new());
    while acks.len() + events.len() < 40 {
        let frame = ada.any().await;
        let list = if frame["type"] == "ack" { &mut acks } else { &mut events };
        list.push(frame["seq"].as_u64().unwrap());
    }
    let all: Vec<u64> = (2..=21).collect();
    assert_eq!((acks, events), (all.clone(), all));
}

#[tokio::test]
async fn r11_r12_r13_a_resend_gets_its_ack_a_reused_key_and_a_gap_are_told() {
    let broker = Broker::spawn().await;
    let mut ada = broker.join(ADA).await;
    ada.publish(1, "one").await;
    let first = ada.next("ack").await;
    until("the next millisecond", || first["ts"].as_u64() < Some(now_ms())).await;
    ada.publish(1, "one").await;
    assert_eq!(ada.next("ack").await, first);
    ada.publish(1, "other").await;
    assert_eq!(ada.next("error").await["code"], "reused");
    ada.publish(5, "five").await;
    let gap = ada.next("error").await;
    assert_eq!((&gap["code"], &gap["expected"]), (&json!("out_of_order"), &json!(2)));
}

/// The ack was lost, then the member was removed: the re-send was refused although the message was stored.
#[tokio::test]
async fn r11_who_was_removed_gets_the_ack_of_what_was_stored_before() {
    let broker = Broker::spawn().await;
    let group = ConversationId::group(7);
    let key = |no| Key { conversation: group, user: BOB, producer: Producer(5), no };
    let members = [json!({"user": BOB, "role": "owner"}), json!({"user": ADA, "role": "member"})];
    let created = json!({"members": members});
    broker.append(key(1), 0, EventKind::Created, created).await;
    let (mut ada, mut bob) = (broker.join(ADA).await, broker.join(BOB).await);
    ada.publish_to(group, 1, "one").await;
    let first = ada.next("ack").await;
    bob.next("message").await;
    let removed = json!({"changes": [{"user": ADA, "role": null}]});
    broker.append(key(2), 1, EventKind::Member, removed).await;
    ada.next("member").await;
    ada.publish_to(group, 1, "one").await;
    assert_eq!(ada.next("ack").await, first);
    ada.publish_to(group, 2, "two").await;
    assert_eq!(ada.next("error").await["code"], "forbidden");
    let mut again = broker.join(ADA).await;
    again.publish_to(group, 1, "one").await;
    assert_eq!(again.next("ack").await, first, "on a connection that has not heard of the group");
    let end = broker.log.end(0).await.unwrap();
    assert_eq!(end.n, 3, "created, message, removal: nothing was stored after them");
}

/// The log has forgotten what it was told 15 minutes ago: of a producer's last 32 it hears from the archive, and for older ones
/// the broker asks there.
#[tokio::test]
async fn r11_r17_an_id_of_fifteen_minutes_ago_gets_the_ack_of_the_first_from_the_archive() {
    let broker = Broker::spawn().await;
    let mut ada = broker.join(ADA).await;
    let mut acks = Vec::new();
    for no in 1..=40 {
        ada.publish(no, "said").await;
        acks.push(ada.next("ack").await);
    }
    broker.persist().await;
    while ada.next("persisted").await["seq"] != acks[39]["seq"] {}
    // Producers are forgotten with the second generation after theirs.
    for no in 1..=2 {
        broker.log_ahead_ms.fetch_add(limits::DEDUPE_MS, Relaxed);
        let key = Key { conversation: direct(), user: BOB, producer: Producer(5), no };
        broker.append(key, 0, EventKind::Message, json!({"text": "time goes on"})).await;
    }
    broker.archive.set_away(true);
    ada.publish(40, "said").await;
    assert_eq!(ada.next("error").await["code"], "unavailable", "nobody else can tell");
    broker.archive.set_away(false);
    for no in [40, 1] {
        ada.publish(no, "said").await;
        let first = &acks[no as usize - 1];
        assert_eq!(&ada.next("ack").await, first);
        assert_eq!(ada.next("persisted").await["seq"], first["seq"]);
    }
    ada.publish(1, "something else").await;
    assert_eq!(ada.next("error").await["code"], "reused");
    assert_eq!(broker.log.end(0).await.unwrap().n, 42, "nothing was stored twice");
}

#[tokio::test]
async fn r17_persisted_comes_when_it_is_stored() {
    let broker = Broker::spawn().await;
    let mut ada = broker.join(ADA).await;
    ada.publish(1, "one").await;
    let ack = ada.next("ack").await;
    broker.store_all().await;
    let persisted = ada.next("persisted").await;
    assert_eq!(
        (&persisted["seq"], &persisted["conversation"]),
        (&ack["seq"], &ack["conversation"])
    );
}

#[tokio::test]
async fn r26_r27_who_comes_back_gets_what_was_missed_also_over_a_restart() {
    let broker = Broker::spawn().await;
    let mut ada = broker.join(ADA).await;
    let mut bob = broker.join(BOB).await;
    ada.publish(1, "one").await;
    let seen = bob.next("message").await;
    drop(bob);
    ada.publish(2, "two").await;
    ada.next("ack").await;
    ada.next("ack").await;
    let broker = broker.restart().await;
    let mut bob = broker.connect(BOB).await;
    let hello = json!({"type": "hello", "resume": seen["at"]}).to_string();
    bob.say(&hello).await;
    assert_eq!(bob.next("welcome").await["resume"], "resumed");
    // The token names the place before its batch: what is known comes once more.
    let mut missed = Vec::new();
    loop {
        let frame = bob.any().await;
        if frame["type"] == "resumed" {
            break;
        }
        missed.push(frame["seq"].as_u64().unwrap());
    }
    assert_eq!(missed, [2, 3]);
    let mut ada = broker.join(ADA).await;
    ada.publish(3, "three").await;
    assert_eq!(bob.next("message").await["seq"], 4, "live again");
}

#[tokio::test]
async fn r30_r31_r32_r33_signals_reach_those_who_watch() {
    let broker = Broker::spawn().await;
    let mut ada = broker.join(ADA).await;
    let watch = json!({"type": "watch", "id": 1, "people": [BOB], "conversations": [direct()]});
    ada.say(&watch.to_string()).await;
    assert_eq!(ada.next("ok").await["id"], 1);
    assert_eq!(ada.next("presence").await["people"][0]["online"], false);
    let mut bob = broker.join(BOB).await;
    assert_eq!(ada.next("presence").await["people"][0]["online"], true);
    let typing = json!({"type": "typing", "conversation": direct(), "producer": "00000000000000aa", "no": 0});
    bob.say(&typing.to_string()).await;
    assert_eq!(ada.next("typing").await["user"], BOB.to_string());
    ada.publish(1, "hi").await;
    let seq = bob.next("message").await["seq"].clone();
    bob.say(&json!({"type": "receipt", "conversation": direct(), "read": seq}).to_string()).await;
    assert_eq!(ada.next("receipt").await["read"], seq);
    let signal = Signal::UserChanged { user: ADA, what: UserChange::Profile };
    broker.live.publish(vec![signal]).await.unwrap();
    ada.next("user_changed").await;
    drop(bob);
    assert_eq!(ada.next("presence").await["people"][0]["online"], false, "after the grace");
}
