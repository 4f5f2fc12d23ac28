//! Writers, followers, and a server that is killed, stopped and cut off while they run: what was acked is there once.

use std::{
    collections::HashMap,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use backplane::{
    Admitted, AppendError, Batch, Gap, Log, Verdict, memory_archive::MemoryArchive,
    redis::RedisLog, sim::Random,
};
use protocol::Pos;
use tokio::sync::watch;

use crate::bench::{born, message, open_until_admitted, options, pause, read_all, store};
use crate::server::{Server, copy_folder};

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

/// What a node holds of the log, and all that it has ever delivered: `(producer, no)` → seq.
#[derive(Default)]
struct Node {
    ring: Vec<Arc<Batch>>,
    delivered: HashMap<(u64, u64), u64>,
}

/// Follows through new epochs, as the task of a broker does.
async fn follow_on(log: RedisLog, node: Arc<Mutex<Node>>, stop: watch::Receiver<bool>) {
    let mut follower = log.follow(0, Pos::new(1, 0));
    while !*stop.borrow() {
        // Not for ever: at the end nothing comes any more.
        let next = tokio::time::timeout(Duration::from_millis(100), follower.next()).await;
        match next {
            Err(_) => {}
            Ok(Ok(batch)) => {
                let mut node = node.lock().unwrap();
                for event in &batch.events {
                    let key = (event.envelope.producer.0, event.envelope.no);
                    let before = node.delivered.insert(key, event.seq);
                    assert!(before.is_none_or(|seq| seq == event.seq), "{key:?} at two places");
                }
                node.ring.push(batch);
            }
            Ok(Err(Gap::EpochChanged { common, .. })) => {
                node.lock().unwrap().ring.retain(|batch| batch.pos <= common);
                follower = log.follow(0, common);
            }
            Ok(Err(other)) => panic!("{other}"),
        }
    }
}

/// Tells what it has seen whenever the log asks, and gives back what it holds.
async fn take_part(log: RedisLog, id: u64, node: Arc<Mutex<Node>>, stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        let told = log.rejoin(0, id, Pos::default(), Pos::default()).await;
        if let Ok(Admitted { restore: Some(lease), .. }) = told {
            let held = node.lock().unwrap().ring.clone();
            // Refused: it took too long, and may try again.
            let _ = log.restore(0, held, lease).await;
        }
        pause().await;
    }
}

/// Like [`write`], with what a client does when the log has lost something: it begins again where the log says.
async fn write_on(log: RedisLog, producer: u64, stop: watch::Receiver<bool>) {
    let (mut appender, mut no) = (log.appender(0), 1);
    while !*stop.borrow() {
        match appender.append(&[message(producer, no)]).await.as_deref() {
            Ok([Verdict::Stored { .. } | Verdict::Dup { .. }]) => no += 1,
            Ok([Verdict::OutOfOrder { expected }]) => no = *expected,
            // Nothing of it is left.
            Ok([Verdict::OldId]) => no = 1,
            Ok(other) => panic!("{producer}-{no}: {other:?}"),
            Err(_) => pause().await,
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

fn seed() -> u64 {
    let seed = std::env::var("WEBCHAT_SIM_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("WEBCHAT_SIM_SEED={seed}");
    seed
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
    let mut random = Random::new(seed());
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

/// Copies of the data set take over that lack its end. What anybody has delivered comes back, at its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_failover_loses_what_was_delivered_stays_in_the_log() {
    let seed = seed();
    let mut random = Random::new(seed);
    let (mut server, archive) = (Server::start(), MemoryArchive::default());
    let (stop, stopped) = watch::channel(false);
    let (halt, halted) = watch::channel(false);
    let (mut writers, mut others, mut nodes) = (Vec::new(), Vec::new(), Vec::new());
    let mut logs = Vec::new();
    for id in [1, 2] {
        let log = open_until_admitted(options(&server, id, &archive), Pos::default()).await;
        if id == 1 {
            store(&log, born()).await;
        }
        let node = Arc::new(Mutex::new(Node::default()));
        let (following, part) = (Arc::clone(&node), Arc::clone(&node));
        others.push(tokio::spawn(follow_on(log.clone(), following, halted.clone())));
        others.push(tokio::spawn(take_part(log.clone(), id, part, halted.clone())));
        for producer in [10 * id, 10 * id + 1] {
            writers.push(tokio::spawn(write_on(log.clone(), producer, stopped.clone())));
        }
        nodes.push(node);
        logs.push(log);
    }
    for _ in 0..4 {
        recovered(&logs[0]).await;
        let copy = server.folder.with_extension("copy");
        copy_folder(&server.folder, &copy);
        tokio::time::sleep(Duration::from_millis(random.below(40))).await;
        server.kill();
        std::fs::remove_dir_all(&server.folder).unwrap();
        std::fs::rename(&copy, &server.folder).unwrap();
        server.restart();
    }
    recovered(&logs[0]).await;
    stop.send(true).unwrap();
    for writer in writers {
        writer.await.unwrap();
    }
    let all = read_all(&logs[0]).await;
    halt.send(true).unwrap();
    for other in others {
        other.await.unwrap();
    }
    let (mut there, mut last) = (HashMap::new(), 0);
    for event in all.iter().flat_map(|batch| &batch.events) {
        assert!(event.seq > last, "seed {seed}: {} after {last}", event.seq);
        last = event.seq;
        let key = (event.envelope.producer.0, event.envelope.no);
        assert_eq!(there.insert(key, event.seq), None, "seed {seed}: {key:?} twice");
    }
    for node in nodes {
        for (key, seq) in &node.lock().unwrap().delivered {
            assert_eq!(there.get(key), Some(seq), "seed {seed}: {key:?} was delivered");
        }
    }
}
