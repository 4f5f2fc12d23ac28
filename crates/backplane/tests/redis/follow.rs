//! Followers when pushes are lost, late, or too many.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use backplane::{Batch, Log, memory_archive::MemoryArchive, redis::RedisLog};
use protocol::Pos;

use crate::bench::{
    append, born, message, next, open_until_admitted, options, pause, read_all, store,
};
use crate::server::Server;

const LOG: &str = "wc:{0}:log";

/// A log with the conversation, and a connection past it.
async fn ready() -> (Server, RedisLog, redis::aio::MultiplexedConnection) {
    let (server, archive) = (Server::start(), MemoryArchive::default());
    let log = open_until_admitted(options(&server, 1, &archive), Pos::default()).await;
    store(&log, born()).await;
    let client = redis::Client::open(server.url()).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    (server, log, connection)
}

/// Waits until somebody is subscribed.
pub(crate) async fn subscribed(connection: &mut redis::aio::MultiplexedConnection) {
    for _ in 0..2_000 {
        let mut command = redis::cmd("PUBSUB");
        command.arg("NUMSUB").arg(LOG);
        let (_, count): (String, u64) = command.query_async(connection).await.unwrap();
        if count > 0 {
            return;
        }
        pause().await;
    }
    panic!("nobody subscribes");
}

/// The last entry once more under the next place, with nothing pushed: as if its push had been lost.
pub(crate) async fn append_silently(connection: &mut redis::aio::MultiplexedConnection) {
    let mut command = redis::cmd("XREVRANGE");
    command.arg(&[LOG, "+", "-", "COUNT", "1"]);
    type Entries = Vec<(String, Vec<Vec<u8>>)>;
    let mut entries: Entries = command.query_async(connection).await.unwrap();
    let (id, mut fields) = entries.pop().unwrap();
    let n = id.split_once('-').unwrap().1.parse::<u64>().unwrap() + 1;
    let mut entry = fields.pop().unwrap();
    entry[5..13].copy_from_slice(&n.to_le_bytes());
    let mut both = redis::pipe();
    both.atomic();
    both.cmd("XADD").arg(LOG).arg(format!("1-{n}")).arg("b").arg(entry).ignore();
    both.cmd("HSET").arg("wc:{0}:state").arg("n").arg(n).ignore();
    let () = both.query_async(connection).await.unwrap();
}

#[tokio::test]
async fn a_tail_whose_push_was_lost_is_found_by_the_probe() {
    let (_server, log, mut connection) = ready().await;
    let mut follower = log.follow(0, Pos::new(1, 0));
    assert_eq!(next(&mut *follower).await.pos, Pos::new(1, 1));
    let waiting = tokio::spawn(async move { next(&mut *follower).await.pos });
    subscribed(&mut connection).await;
    // It has read to the end and listens when a push arrives.
    store(&log, message(5, 1)).await;
    assert_eq!(waiting.await.unwrap(), Pos::new(1, 2));

    let mut follower = log.follow(0, Pos::new(1, 1));
    assert_eq!(next(&mut *follower).await.pos, Pos::new(1, 2));
    let waiting = tokio::spawn(async move { (next(&mut *follower).await.pos, Instant::now()) });
    subscribed(&mut connection).await;
    let lost = Instant::now();
    append_silently(&mut connection).await;
    let (pos, found) = waiting.await.unwrap();
    assert_eq!(pos, Pos::new(1, 3));
    assert!(found - lost < Duration::from_millis(1_500), "{:?}", found - lost);
}

#[tokio::test]
async fn a_hole_between_pushes_is_read_from_the_log() {
    let (_server, log, mut connection) = ready().await;
    let mut follower = log.follow(0, Pos::new(1, 0));
    next(&mut *follower).await;
    let waiting = tokio::spawn(async move {
        let first = next(&mut *follower).await.pos;
        (first, next(&mut *follower).await.pos, next(&mut *follower).await.pos)
    });
    subscribed(&mut connection).await;
    store(&log, message(5, 1)).await;
    append_silently(&mut connection).await;
    store(&log, message(5, 2)).await;
    assert_eq!(waiting.await.unwrap(), (Pos::new(1, 2), Pos::new(1, 3), Pos::new(1, 4)));
}

#[tokio::test]
async fn a_follower_whose_connection_is_cut_reads_on_from_its_cursor() {
    let (_server, log, mut connection) = ready().await;
    let mut follower = log.follow(0, Pos::new(1, 0));
    for no in 1..=20 {
        assert_eq!(next(&mut *follower).await.pos, Pos::new(1, no));
        let mut command = redis::cmd("CLIENT");
        command.arg(&["KILL", "TYPE", "pubsub"]);
        let _: u64 = command.query_async(&mut connection).await.unwrap();
        store(&log, message(5, no)).await;
    }
}

/// More than sockets and the server's buffer for subscribers hold, while nobody reads.
#[tokio::test]
async fn a_follower_that_slept_gets_everything_once_and_in_order() {
    let (_server, log, mut connection) = ready().await;
    let mut set = redis::cmd("CONFIG");
    set.arg(&["SET", "client-output-buffer-limit", "pubsub 2mb 1mb 60"]);
    let () = set.query_async(&mut connection).await.unwrap();
    let mut follower = log.follow(0, Pos::new(1, 0));
    let mut seen: Vec<Arc<Batch>> = vec![next(&mut *follower).await];
    let mut no = 0;
    for round in 0..3 {
        // Once it listens, once it has to catch up from nothing.
        let mut listening = tokio::time::timeout(Duration::from_millis(20), follower.next()).await;
        if let Ok(batch) = &mut listening {
            seen.push(Arc::clone(batch.as_ref().unwrap()));
        }
        drop(listening);
        for _ in 0..[40, 1_500, 300][round] {
            let batch: Vec<_> = (no + 1..=no + 8).map(long).collect();
            append(&log, &batch).await.unwrap();
            no += 8;
        }
        while seen.last().unwrap().pos < log.end(0).await.unwrap() {
            seen.push(next(&mut *follower).await);
        }
    }
    assert!(seen == read_all(&log).await, "followed and read differ");
}

fn long(no: u64) -> backplane::Envelope {
    let mut envelope = message(5, no);
    envelope.body = vec![b'x'; 1_000].into();
    envelope
}

#[tokio::test]
async fn behind_a_place_of_a_later_epoch_there_is_nothing() {
    let (_server, log, _connection) = ready().await;
    store(&log, message(5, 1)).await;
    assert!(log.read(0, Pos::new(2, 0), 1 << 20).await.unwrap().is_empty());
}
