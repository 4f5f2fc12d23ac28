//! Who counts as being there: leases of nodes, and what a log does not decide without them.

use std::time::{Duration, Instant};

use backplane::{Gap, Log, memory_archive::MemoryArchive, redis::RedisLog};
use protocol::Pos;

use crate::bench::{
    append, ask, born, message, next, open_until_admitted, options, pause, rejoin, store,
};
use crate::fence::two;
use crate::server::Server;

const NODES: &str = "wc:{0}:nodes";

/// It slept through its lease and through a failover: the place that it had followed last was given to something else.
#[tokio::test]
async fn a_node_that_the_log_has_forgotten_does_not_go_on_in_another_history() {
    let mut two = two().await;
    store(&two.a, message(5, 1)).await;
    let copy = two.copy();
    assert_eq!(store(&two.b, message(6, 1)).await.1, Pos::new(1, 3));
    let mut follower = two.b.follow(0, Pos::new(1, 2));
    assert_eq!(next(&mut *follower).await.pos, Pos::new(1, 3));
    two.roll_back(&copy);
    let _: u64 = ask(&two.server, &["HDEL", NODES, "2"]).await;
    assert_eq!(rejoin(&two.a, 1, Pos::default(), Pos::default()).await.epoch, 1);
    assert_eq!(store(&two.a, message(5, 2)).await.1, Pos::new(1, 3), "a second one");
    store(&two.a, message(5, 3)).await;
    let waiting = tokio::spawn(async move { follower.next().await });
    while append(&two.a, &[message(5, 4)]).await.is_ok() {
        assert!(!waiting.is_finished(), "it went on: {:?}", waiting.await);
        pause().await;
    }
    two.restore(&[], Pos::default()).await;
    let gap = waiting.await.unwrap();
    assert!(matches!(gap, Err(Gap::EpochChanged { epoch: 2, .. })), "{gap:?}");
}

/// Pushes came faster than they were taken, and the lease had to wait for a moment without any.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_keeps_its_nodes_lease_however_busy_the_log_is() {
    const LEASE_MS: u64 = 1_000;
    let (server, archive) = (Server::start(), MemoryArchive::default());
    let brief = |node| {
        let mut brief = options(&server, node, &archive);
        brief.lease_ms = LEASE_MS;
        brief
    };
    let writer = open_until_admitted(brief(1), Pos::default()).await;
    let reader = open_until_admitted(brief(2), Pos::default()).await;
    store(&writer, born()).await;
    let mut follower = reader.follow(0, Pos::new(1, 0));
    let flood = tokio::spawn(async move {
        let mut appender = writer.appender(0);
        for no in 1.. {
            appender.append(&[message(5, no)]).await.unwrap();
        }
    });
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2 * LEASE_MS) {
        next(&mut *follower).await;
        pause().await;
    }
    let until: u64 = ask(&server, &["HGET", NODES, "2"]).await;
    let (seconds, micros): (u64, u64) = ask(&server, &["TIME"]).await;
    flood.abort();
    assert!(until > seconds * 1_000 + micros / 1_000, "the lease has run out");
}

/// A data set that was lost, and a broker that started first: only the store knows that there was something.
#[tokio::test]
async fn an_empty_log_does_not_begin_before_somebody_has_told_what_is_stored() {
    let (server, archive) = (Server::start(), MemoryArchive::default());
    let api = RedisLog::open(options(&server, 1, &archive)).await.unwrap();
    let mut hasty = options(&server, 2, &archive);
    (hasty.loads, hasty.lease_ms) = (false, 20);
    let broker = RedisLog::open(hasty).await.unwrap();
    for _ in 0..50 {
        let told = broker.rejoin(0, 2, Pos::default(), Pos::default()).await;
        assert!(told.is_err(), "{told:?}");
        pause().await;
    }
    let stored = Pos::new(3, 100);
    let turns = async {
        loop {
            let told = broker.rejoin(0, 2, Pos::default(), Pos::default()).await;
            if let Ok(backplane::Admitted { restore: Some(lease), .. }) = told {
                broker.restore(0, Vec::new(), lease).await.unwrap();
            }
            pause().await;
        }
    };
    let admitted = async {
        let admitted = rejoin(&api, 1, stored, stored).await;
        if let Some(lease) = admitted.restore {
            api.restore(0, Vec::new(), lease).await.unwrap();
        }
        rejoin(&api, 1, stored, stored).await
    };
    tokio::select! {
        () = turns => {}
        admitted = admitted => assert_eq!(admitted.epoch, 4),
    }
}

/// The node gave back what it had delivered. What its follower had read ahead is lost, and was delivered afterwards.
#[tokio::test]
async fn what_was_read_ahead_and_is_not_given_back_is_not_delivered_either() {
    let mut two = two().await;
    let copy = two.copy();
    for no in 1..=3 {
        store(&two.a, message(5, no)).await;
    }
    let mut follower = two.b.follow(0, Pos::new(1, 1));
    let first = next(&mut *follower).await;
    assert_eq!(first.pos, Pos::new(1, 2));
    two.roll_back(&copy);
    two.restore(&[first], Pos::default()).await;
    let then = follower.next().await;
    assert!(matches!(then, Err(Gap::EpochChanged { epoch: 2, .. })), "{then:?}");
}
