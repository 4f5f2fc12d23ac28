//! Writers, followers, and a server that is killed, stopped and cut off while they run: what was acked is there once.

use std::{collections::HashMap, process::Command, sync::Arc, time::Duration};

use backplane::{
    AppendError, Batch, Log, Verdict, memory_archive::MemoryArchive, redis::RedisLog, sim::Random,
};
use protocol::Pos;
use tokio::sync::watch;

use crate::bench::{born, message, open_until_admitted, options, pause, read_all, store};
use crate::server::Server;

const FAULTS: usize = 9;

/// `(producer, no)` → what was acked.
type Acked = HashMap<(u64, u64), (u64, Pos)>;

/// Publishes one after the other, the same batch until it has verdicts. Some batches are runs.
async fn write(log: RedisLog, node: u64, producer: u64, stop: watch::Receiver<bool>) -> Acked {
    let (mut appender, mut acked, mut no) = (log.appender(0), Acked::new(), 1);
    while !*stop.borrow() {
        let batch: Vec<_> = (no..no + 1 + no % 5).map(|no| message(producer, no)).collect();
        let verdicts = loop {
            match appender.append(&batch).await {
                Ok(verdicts) => break verdicts,
                Err(AppendError::Fenced { .. }) => {
                    let told = log.rejoin(0, node, Pos::default(), Pos::default()).await;
                    if let Ok(admitted) = told {
                        assert_eq!((admitted.epoch, admitted.restore), (1, None));
                    }
                    pause().await;
                }
                Err(AppendError::NotStored { .. } | AppendError::Unknown) => pause().await,
            }
        };
        for (envelope, verdict) in batch.iter().zip(verdicts) {
            let (Verdict::Stored { seq, pos, .. } | Verdict::Dup { seq, pos, .. }) = verdict else {
                panic!("{producer}-{}: {verdict:?}", envelope.no);
            };
            acked.insert((producer, envelope.no), (seq, pos));
        }
        no += batch.len() as u64;
    }
    acked
}

/// Follows until it has been told where the end is, and has got there.
async fn follow(log: RedisLog, mut end: watch::Receiver<Option<Pos>>) -> Vec<Arc<Batch>> {
    let (mut follower, mut seen) = (log.follow(0, Pos::new(1, 0)), Vec::<Arc<Batch>>::new());
    loop {
        let there = *end.borrow_and_update();
        if there.is_some_and(|end| seen.last().is_some_and(|batch| batch.pos >= end)) {
            return seen;
        }
        tokio::select! {
            batch = follower.next() => seen.push(batch.expect("nothing was lost")),
            _ = end.changed() => {}
        }
    }
}

fn signal(server: &Server, signal: &str) {
    let pid = server.pid().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
}

/// Waits until more was stored than before: the log has recovered.
async fn recovered(log: &RedisLog) {
    let mut before = None;
    for _ in 0..5_000 {
        match (log.end(0).await, before) {
            (Ok(end), Some(before)) if end > before => return,
            (Ok(end), None) => before = Some(end),
            _ => {}
        }
        pause().await;
    }
    panic!("nothing is stored any more");
}

async fn fault(server: &mut Server, log: &RedisLog, random: &mut Random) {
    // In the middle of whatever goes on.
    tokio::time::sleep(Duration::from_millis(random.below(30))).await;
    match random.below(4) {
        0 | 1 => server.restart(),
        2 => {
            signal(server, "-STOP");
            tokio::time::sleep(Duration::from_millis(400)).await;
            signal(server, "-CONT");
        }
        _ => {
            let client = redis::Client::open(server.url()).unwrap();
            let mut connection = client.get_multiplexed_async_connection().await.unwrap();
            for kind in ["normal", "pubsub"] {
                let mut command = redis::cmd("CLIENT");
                command.arg(&["KILL", "TYPE", kind, "SKIPME", "yes"]);
                let _: u64 = command.query_async(&mut connection).await.unwrap();
            }
        }
    }
    recovered(log).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_to_the_server_what_was_acked_is_there_once_and_in_order() {
    let seed = std::env::var("WEBCHAT_SIM_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("WEBCHAT_SIM_SEED={seed}");
    let mut random = Random::new(seed);
    let (mut server, archive) = (Server::start(), MemoryArchive::default());
    let mut logs = Vec::new();
    for node in [1, 2] {
        let mut options = options(&server, node, &archive);
        options.answer_timeout = Duration::from_millis(250);
        options.lease_ms = 10_000;
        logs.push(open_until_admitted(options, Pos::default()).await);
    }
    store(&logs[0], born()).await;
    let ((stop, stopped), (end, ended)) = (watch::channel(false), watch::channel(None));
    let (mut writers, mut followers) = (Vec::new(), Vec::new());
    for (log, node) in logs.iter().zip(1..) {
        followers.push(tokio::spawn(follow(log.clone(), ended.clone())));
        for producer in [10 * node, 10 * node + 1] {
            writers.push(tokio::spawn(write(log.clone(), node, producer, stopped.clone())));
        }
    }
    for _ in 0..FAULTS {
        fault(&mut server, &logs[0], &mut random).await;
    }
    stop.send(true).unwrap();
    let mut acked = Acked::new();
    for writer in writers {
        acked.extend(writer.await.unwrap());
    }
    let all = read_all(&logs[0]).await;
    end.send(Some(all.last().unwrap().pos)).unwrap();
    let mut seq = 0;
    for batch in &all {
        for event in &batch.events {
            seq += 1;
            assert_eq!(event.seq, seq, "a hole or a double");
            let key = (event.envelope.producer.0, event.envelope.no);
            if key.0 != 99 {
                assert_eq!(acked.remove(&key), Some((seq, batch.pos)), "{key:?}");
            }
        }
    }
    assert!(acked.is_empty(), "acked and not there: {acked:?}");
    for follower in followers {
        assert!(follower.await.unwrap() == all, "a follower saw something else");
    }
}
