//! All brokers restarted one after the other while people write: nothing is lost, and who is sent away comes back spread.

use std::time::{Duration, Instant};

use loadtest::frame::Incoming;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::{LIMIT, client::Person, whole::Whole};

/// Rounds over all brokers. Ten is what is promised: `WEBCHAT_ROLLS=10`.
const ROLLS: u32 = 2;
/// Sockets that only wait to be sent away.
const IDLE: usize = 60;
/// Parts of the drain window that are compared.
const PARTS: usize = 5;

fn rolls() -> u32 {
    let told = std::env::var("WEBCHAT_ROLLS").ok();
    told.map_or(ROLLS, |text| text.parse().expect("WEBCHAT_ROLLS is a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_all_brokers_are_restarted_and_reconnects_are_spread() {
    let mut whole = Whole::up(3, true, false).await;
    let routes = [vec![whole.nginx()], whole.brokers()];
    let (world, fleet) = whole.people_who_write(&routes, 48).await;
    let begun = Instant::now();
    for _ in 0..rolls() {
        for broker in ["broker-1", "broker-2", "broker-3"] {
            assert!(whole.cluster.restart(broker).await.unwrap(), "{broker} drains in time");
            // Acks flow again before the next one goes.
            fleet.wait_for_acks(48).await.unwrap();
        }
    }
    let took = begun.elapsed();
    let judged = whole.holds(&world, fleet).await;
    println!(
        "{} rolls of 3 brokers in {took:?}: {} acked, 0 lost, {} reconnects",
        rolls(),
        judged.report.acked,
        judged.losses
    );
    // Half of the devices are on a broker that goes at least twice in each round of three; most more often.
    assert!(judged.losses >= u64::from(rolls()) * 24, "{judged:?}");
    reconnects_are_spread(&mut whole).await;
}

/// A slot as it was handed out, and when the close came, both since the `goaway`.
struct Sent {
    slot_ms: u64,
    closed_after: Duration,
}

async fn until_sent_away(mut person: Person) -> Sent {
    let mut told: Option<(u64, Instant)> = None;
    loop {
        match person.socket().next().await.expect("a close comes first") {
            Incoming::Text(text) => {
                let frame: Value = serde_json::from_slice(&text).unwrap();
                if frame["type"] == "goaway" {
                    let slot_ms = frame["reconnect_in_ms"].as_u64().unwrap();
                    assert!(told.replace((slot_ms, Instant::now())).is_none(), "told once");
                }
            }
            Incoming::Close(code, _) => {
                assert_eq!(code, Some(1012));
                let (slot_ms, at) = told.expect("a slot comes before the close");
                return Sent { slot_ms, closed_after: at.elapsed() };
            }
            Incoming::Ping(_) | Incoming::Pong => {}
        }
    }
}

/// Peak ÷ mean over the parts of the window, in tenths.
fn peak(of: impl Iterator<Item = u64>, window_ms: u64) -> usize {
    let mut parts = [0; PARTS];
    for ms in of {
        let part = (ms * PARTS as u64 / window_ms.max(1)) as usize;
        parts[part.min(PARTS - 1)] += 1;
    }
    parts.iter().max().unwrap() * 10 * PARTS / parts.iter().sum::<usize>()
}

/// The slots are what a client goes by: theirs is the spread that does not depend on this machine's other work.
async fn reconnects_are_spread(whole: &mut Whole) {
    let person = Person::register(whole.api(), "idle").await;
    let mut idle = JoinSet::new();
    for _ in 0..IDLE {
        let mut socket = person.another();
        socket.connect(whole.brokers()[0]).await;
        idle.spawn(until_sent_away(socket));
    }
    assert!(whole.cluster.end("broker-1").await.unwrap());
    let all = tokio::time::timeout(LIMIT, idle.join_all()).await.expect("all are sent away");
    let window_ms = all.iter().map(|one| one.slot_ms).max().unwrap() + 1;
    let slots = peak(all.iter().map(|one| one.slot_ms), window_ms);
    let closes = peak(all.iter().map(|one| one.closed_after.as_millis() as u64), window_ms);
    println!("drain of {IDLE} in {window_ms} ms: peak ÷ mean × 10: slots {slots}, closes {closes}");
    assert!(window_ms > 300, "a window, and not all at once");
    assert!(slots <= 15, "the fullest fifth has {slots} tenths of the mean");
}
