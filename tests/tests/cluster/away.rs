//! The log server away in three ways: what is written meanwhile is refused or unknown, never acked and lost.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use loadtest::{
    cluster::process::Signal,
    faults::proxy::{Flow, Mode},
    scenario::fleet::Fleet,
};
use protocol::{ConversationId, error::Retry, limits};

use crate::{SOON, client::Person, servers::readiness, until, whole::Whole};

/// A node's lease: with everybody there nobody has to wait for one.
const LEASE: Duration = Duration::from_secs(10);
/// An answer's deadline, and what a busy machine adds to it.
const ANSWER: Duration = Duration::from_millis(limits::APPEND_DEADLINE_MS + 3_000);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// `kill -9`, and a new start.
    Killed,
    /// SIGSTOP: it takes connections and says nothing.
    Stopped,
    /// Everything sent to it or by it is gone.
    Blackhole,
}

impl Way {
    fn away(self, whole: &mut Whole) {
        match self {
            Self::Killed => whole.cluster.kill("log").unwrap(),
            Self::Stopped => whole.cluster.signal("log", Signal::STOP).unwrap(),
            Self::Blackhole => {
                let gone = Flow { mode: Mode::Discard, ..Flow::default() };
                ways(whole, |proxy| proxy.set_both(gone));
            }
        }
    }

    /// Returns when it answered again.
    async fn back(self, whole: &mut Whole) -> Instant {
        match self {
            Self::Killed => whole.cluster.start("log").unwrap(),
            Self::Stopped => whole.cluster.signal("log", Signal::CONT).unwrap(),
            Self::Blackhole => ways(whole, |proxy| proxy.heal()),
        }
        whole.cluster.wait_ready("log", SOON).await.unwrap();
        Instant::now()
    }
}

fn ways(whole: &Whole, each: impl Fn(&loadtest::faults::proxy::FaultProxy)) {
    whole.cluster.links().iter().filter(|link| link.to == "log").for_each(|link| each(&link.proxy));
}

/// Tries one publish until it has an ack, as a client does (R14). Returns its seq and how often it was answered otherwise.
async fn say_until_acked(ada: &mut Person, direct: ConversationId, no: u64) -> (u64, u32) {
    let mut others = 0;
    loop {
        ada.publish(direct, no, &format!("kept {no}"));
        match ada.answer(no, ANSWER).await {
            Ok(seq) => return (seq, others),
            Err((code, _)) => {
                assert_ne!(code.retry(), Retry::Never, "{code:?}");
                others += 1;
            }
        }
    }
}

async fn all_tell(admins: &[(String, SocketAddr)], ready: bool) {
    for (name, admin) in admins {
        let what = format!("/readyz of {name} says {ready}");
        until(&what, || async { readiness(*admin).await.contains_key("ready") == ready }).await;
    }
}

async fn away_and_back(
    whole: &mut Whole,
    way: Way,
    fleet: &Fleet,
    (ada, direct, no): (&mut Person, ConversationId, u64),
) {
    let begun = Instant::now();
    way.away(whole);
    ada.publish(direct, no, &format!("kept {no}"));
    let (code, retry_after) = ada.answer(no, ANSWER).await.expect_err("nobody can have stored it");
    println!("{way:?}: {code:?} (retry after {retry_after:?} ms) after {:?}", begun.elapsed());
    assert_ne!(code.retry(), Retry::Never, "the client keeps it");
    all_tell(&whole.admins(), false).await;
    println!("{way:?}: all /readyz tell after {:?}", begun.elapsed());
    // No ack comes from anywhere: what was under way when it went has been answered by now.
    let before = fleet.acked();
    ada.publish(direct, no, &format!("kept {no}"));
    ada.answer(no, ANSWER).await.expect_err("still nobody can have stored it");
    assert_eq!(fleet.acked(), before, "acked by nobody");
    assert!(fleet.unacked() > 0, "what is not acked stays with the clients");

    let back = way.back(whole).await;
    until("acks flow again", || async { fleet.acked() > before }).await;
    let first = back.elapsed();
    println!("{way:?}: first ack {first:?} after the server answered again");
    assert!(first < LEASE, "no lease is waited for while all nodes are there: {first:?}");
    all_tell(&whole.admins(), true).await;
    let (seq, others) = say_until_acked(ada, direct, no).await;
    println!("{way:?}: the kept message is seq {seq} after {others} more tries");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_while_the_log_is_away_waits_and_is_neither_acked_nor_lost() {
    let mut whole = Whole::up(2, false, true).await;
    let (world, fleet) = whole.people_who_write(&[whole.brokers()], 16).await;
    let mut ada = Person::register(whole.api(), "ada").await;
    let mut bob = Person::register(whole.api(), "bob").await;
    ada.connect(whole.brokers()[0]).await;
    bob.connect(whole.brokers()[1]).await;
    let direct = ada.account.direct(bob.user()).await.unwrap();
    for (no, way) in (1..).zip([Way::Killed, Way::Stopped, Way::Blackhole]) {
        away_and_back(&mut whole, way, &fleet, (&mut ada, direct, no)).await;
        // In order, and nothing between: `hears` would pass over neither.
        bob.hears(&format!("kept {no}")).await;
    }
    let page = ada.events(direct).await;
    let kept: Vec<&str> = page.iter().filter_map(|event| event["body"]["text"].as_str()).collect();
    assert_eq!(kept, ["kept 1", "kept 2", "kept 3"], "each once");
    let judged = whole.holds(&world, fleet).await;
    println!("{} acked, 0 lost, errors {:?}", judged.report.acked, judged.errors);
}
