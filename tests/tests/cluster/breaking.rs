//! Each fault of the nemesis that needs no program of ours bites, on a real Redis that somebody writes to.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use loadtest::{
    cluster::{
        probe::redis,
        starter::{Cluster, Options},
        topology::Topology,
    },
    faults::{
        nemesis::Nemesis,
        plan::{Fault, Reply, Ways},
        trace,
    },
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};

use crate::{SOON, until};

/// A log, a live server, and the ways that a broker would use.
struct Victim {
    cluster: Cluster,
    log: u16,
    way: u16,
}

async fn victim() -> Victim {
    let topology = Topology { brokers: 1, apis: 0, nginx: false, ..Topology::default() };
    let options = Options { topology, proxied: true, seed: 5, ..Options::default() };
    let mut cluster = Cluster::prepare(options).await.unwrap();
    for name in ["log", "live"] {
        cluster.start(name).unwrap();
        cluster.wait_ready(name, SOON).await.unwrap();
    }
    let log = cluster.row("log").unwrap().port;
    let way = cluster.link("broker-1", "log").unwrap().address.port();
    Victim { cluster, log, way }
}

impl Victim {
    async fn strike(&mut self, fault: Fault) {
        Nemesis::new(&mut self.cluster).strike(&fault).await.unwrap();
        self.cluster.wait_ready("log", SOON).await.unwrap();
    }

    /// What is stored, in order.
    async fn stored(&self) -> Vec<u64> {
        let list = redis(self.log, "LRANGE list 0 -1").await.unwrap();
        list.split_whitespace().map(|n| n.parse().unwrap()).collect()
    }
}

/// Appends numbers, one after the other, and counts what is answered. A number without an answer is not tried again.
struct Writer {
    acked: Arc<std::sync::Mutex<Vec<u64>>>,
    failed: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Writer {
    fn start(port: u16) -> Self {
        let acked = Arc::new(std::sync::Mutex::new(Vec::new()));
        let failed = Arc::new(AtomicU64::new(0));
        let own = (acked.clone(), failed.clone());
        let task = tokio::spawn(async move {
            for n in 1u64.. {
                match redis(port, &format!("RPUSH list {n}")).await {
                    Ok(_) => own.0.lock().unwrap().push(n),
                    Err(_) => {
                        own.1.fetch_add(1, Relaxed);
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            }
        });
        Self { acked, failed, task }
    }

    fn acked(&self) -> usize {
        self.acked.lock().unwrap().len()
    }

    async fn more(&self, n: usize) {
        let before = self.acked();
        until("the writer is answered", || async { self.acked() >= before + n }).await;
    }

    async fn stop(self) -> Vec<u64> {
        self.task.abort();
        let _ = self.task.await;
        self.acked.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn what_the_log_answered_survives_its_deaths() {
    let mut victim = victim().await;
    let writer = Writer::start(victim.way);
    writer.more(20).await;
    let mut faults = vec![Fault::KillLog { down_ms: 50 }, Fault::KillLog { down_ms: 0 }];
    assert!(trace::is_there(), "this test needs strace");
    faults.push(Fault::KillLogInSync { sync_ms: 300, after_ms: 200 });
    faults.extend([false, true].map(|full| Fault::FailSync { full }));
    for fault in faults {
        let (before, failed) = (victim.cluster.identity("log").unwrap(), &writer.failed);
        let failed_before = failed.load(Relaxed);
        victim.strike(fault).await;
        assert_ne!(victim.cluster.identity("log").unwrap(), before, "{fault:?}");
        writer.more(20).await;
        assert!(failed.load(Relaxed) > failed_before, "{fault:?} was felt");
    }
    let acked = writer.stop().await;
    let stored = victim.stored().await;
    assert!(stored.is_sorted(), "in order, nothing twice");
    let lost: Vec<u64> = acked.into_iter().filter(|n| !stored.contains(n)).collect();
    assert!(lost.is_empty(), "answered and gone: {lost:?}");
}

#[tokio::test]
async fn a_stale_failover_and_a_wipe_take_answered_writes_away() {
    let mut victim = victim().await;
    let writer = Writer::start(victim.way);
    writer.more(20).await;
    victim.strike(Fault::StaleFailover { lag_ms: 300 }).await;
    writer.more(20).await;
    let acked = writer.acked.lock().unwrap().clone();
    let stored = victim.stored().await;
    let lost: Vec<u64> = acked.iter().copied().filter(|n| !stored.contains(n)).collect();
    assert!(stored.contains(&1) && !lost.is_empty(), "the beginning is there, the newest is not");
    victim.strike(Fault::WipeLog).await;
    writer.more(1).await;
    assert!(!victim.stored().await.contains(&1));
    writer.stop().await;
}

#[tokio::test]
async fn a_pause_a_partition_and_lost_replies_are_felt_and_pass() {
    let mut victim = victim().await;
    let for_ms = 300;
    let partition = |ways, loses| {
        let live = false;
        Fault::Partition { broker: 0, live, ways, loses, for_ms }
    };
    let reply = |reply| Fault::Replies { broker: 0, reply, for_ms };
    let writer = Writer::start(victim.way);
    for (fault, breaks) in [
        (Fault::PauseLog { for_ms }, false),
        (partition(Ways::Both, false), false),
        (partition(Ways::Down, false), false),
        (partition(Ways::Up, true), true),
        (partition(Ways::Both, true), true),
        (reply(Reply::Late(100)), false),
        (reply(Reply::Broken(2)), true),
        (reply(Reply::Lost(3)), true),
    ] {
        writer.more(5).await;
        let (acked, failed) = (writer.acked(), writer.failed.load(Relaxed));
        victim.strike(fault).await;
        let during = writer.acked() - acked;
        writer.more(5).await;
        let broke = writer.failed.load(Relaxed) > failed;
        assert_eq!(broke, breaks, "{fault:?}");
        if !matches!(fault, Fault::Replies { reply: Reply::Broken(_) | Reply::Lost(_), .. }) {
            // Undisturbed it is hundreds.
            assert!(during < 20, "{during} answers during {fault:?}");
        }
    }
    let acked = writer.stop().await;
    let stored = victim.stored().await;
    assert!(acked.iter().all(|n| stored.contains(n)));
    assert!(stored.len() > acked.len(), "what was done and whose reply was lost");
}

#[tokio::test]
async fn subscriptions_are_dropped() {
    let mut victim = victim().await;
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", victim.way)).await.unwrap());
    stream.get_mut().write_all(b"SUBSCRIBE x\r\n").await.unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    victim.strike(Fault::DropSubscriptions { every_ms: 20, for_ms: 100 }).await;
    let end = async {
        loop {
            line.clear();
            if !matches!(stream.read_line(&mut line).await, Ok(1..)) {
                break;
            }
        }
    };
    timeout(SOON, end).await.expect("the subscription ends");
}
