//! Who is in a group, by one order: a removal is the end of what somebody writes, an addition the beginning of what they hear.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use hyper::Method;
use protocol::{ConversationId, ErrorCode, UserId};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::{LIMIT, client::Person, until, whole::Whole};

/// Times that somebody is removed in the middle of writing.
const REMOVALS: usize = 6;
/// Times that somebody is added in the middle of connecting.
const ADDITIONS: usize = 30;
/// Publishes in flight.
const WINDOW: u64 = 32;

async fn add(person: &mut Person, group: ConversationId, user: UserId) -> u64 {
    let path = format!("/api/conversations/{group}/members");
    let body = json!({"users": [user.to_string()]});
    let answer = person.account.json(Method::POST, &path, Some(&body)).await.unwrap();
    answer["seq"].as_u64().unwrap()
}

async fn remove(person: &mut Person, group: ConversationId, user: UserId) -> u64 {
    let path = format!("/api/conversations/{group}/members/{user}");
    let answer = person.account.json(Method::DELETE, &path, None).await.unwrap();
    answer["seq"].as_u64().unwrap()
}

/// Writes as fast as the window allows until it is refused for good. Returns the person and the highest seq that was acked.
fn write_until_refused(
    mut person: Person,
    group: ConversationId,
    acked: Arc<AtomicU64>,
) -> JoinHandle<(Person, u64)> {
    tokio::spawn(async move {
        let (mut made, mut answered, mut highest) = (0, 0, 0);
        person.new_producer();
        loop {
            while made < answered + WINDOW {
                made += 1;
                person.publish(group, made, "as fast as can be");
            }
            // Answers come in the order of the publishes.
            answered += 1;
            match person.answer(answered, LIMIT).await {
                Ok(seq) => {
                    highest = highest.max(seq);
                    acked.fetch_add(1, Relaxed);
                }
                Err((ErrorCode::Forbidden, _)) => return (person, highest),
                Err((code, _)) => panic!("{code:?}"),
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_removed_has_a_seq_after_their_removal_and_the_added_hear_all() {
    let whole = Whole::up(3, false, false).await;
    let brokers = whole.brokers();
    let mut ada = Person::register(whole.api(), "ada").await;
    let mut bob = Person::register(whole.api(), "bob").await;
    let cy = Person::register(whole.api(), "cyd").await;
    let id = bob.user();
    ada.connect(brokers[0]).await;
    let group = ada.account.group("all", &[id]).await.unwrap();
    bob.connect(brokers[1]).await;

    let mut removals = Vec::new();
    let mut written = 0;
    for _ in 0..REMOVALS {
        let acked = Arc::new(AtomicU64::new(0));
        let writing = write_until_refused(bob, group, Arc::clone(&acked));
        until("they are in full swing", || async { acked.load(Relaxed) > 200 }).await;
        let removed = remove(&mut ada, group, id).await;
        let (back, highest) = writing.await.unwrap();
        bob = back;
        assert!(highest < removed, "acked {highest} after the removal {removed}");
        written += acked.load(Relaxed);
        // Back in, on whichever broker: a message of theirs is told again once they are.
        let added = add(&mut ada, group, id).await;
        bob = bob.another();
        bob.connect(brokers[removals.len() % 3]).await;
        removals.push((removed, added));
    }
    let events = ada.events(group).await;
    for event in events.iter().filter(|event| event["type"] == "message") {
        let (seq, from) = (event["seq"].as_u64().unwrap(), event["from"].as_str().unwrap());
        let outside = removals.iter().any(|(removed, added)| (*removed..*added).contains(&seq));
        assert!(from != id.to_string() || !outside, "{event}: {removals:?}");
    }
    println!("{REMOVALS} removals amid {written} acked messages: none after its removal");

    for round in 0..ADDITIONS {
        let mut new = cy.another();
        let adding = async { add(&mut ada, group, cy.user()).await };
        let (added, ()) = tokio::join!(adding, new.connect(brokers[round % 3]));
        let text = format!("round {round}");
        let seq = ada.say(group, &text).await;
        assert_eq!(new.hears(&text).await, seq, "added at {added}");
        remove(&mut ada, group, cy.user()).await;
    }
    println!("{ADDITIONS} additions while connecting: the next message is heard each time");
}
