//! What a failing server means for an append: certainly not stored, or unknown; and what still works when memory is full.

use std::{process::Command, sync::Arc, time::Duration};

use backplane::{
    AppendError, Log, LogError, Verdict,
    memory_archive::MemoryArchive,
    redis::{Level, RedisError, RedisLog},
};
use protocol::Pos;

use crate::bench::{
    append, ask, born, message, open_until_admitted, options, pause, persist, read_all, store,
};
use crate::server::Server;

async fn ready(server: &Server, archive: &MemoryArchive) -> RedisLog {
    let log = open_until_admitted(options(server, 1, archive), Pos::default()).await;
    store(&log, born()).await;
    log
}

async fn used_memory(server: &Server) -> u64 {
    let info: String = ask(server, &["INFO", "memory"]).await;
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    used.unwrap().trim().parse().unwrap()
}

fn signal(server: &Server, signal: &str) {
    let pid = server.pid().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
}

#[tokio::test]
async fn functions_that_are_gone_are_loaded_by_who_may_and_else_nothing_is_stored() {
    let (server, archive) = (Server::start(), MemoryArchive::default());
    let log = ready(&server, &archive).await;
    let mut broker = options(&server, 2, &archive);
    broker.loads = false;
    let broker = open_until_admitted(broker, Pos::default()).await;
    let mut appender = broker.appender(0);
    appender.append(&[message(6, 1)]).await.unwrap();
    let () = ask(&server, &["FUNCTION", "FLUSH"]).await;
    let refused = appender.append(&[message(6, 2)]).await;
    assert!(matches!(refused, Err(AppendError::NotStored { .. })), "{refused:?}");
    assert_eq!(store(&log, message(5, 1)).await.0, 3, "nothing of it was stored");
    let stored = appender.append(&[message(6, 2)]).await.unwrap();
    assert!(matches!(stored[..], [Verdict::Stored { seq: 4, .. }]), "{stored:?}");
}

#[tokio::test]
async fn a_full_memory_refuses_appends_and_lets_go_of_what_is_stored() {
    let (server, archive) = (Server::start(), MemoryArchive::default());
    let mut small = options(&server, 1, &archive);
    small.retention_ms = 0;
    let log = open_until_admitted(small, Pos::default()).await;
    store(&log, born()).await;
    let before = used_memory(&server).await;
    for no in 1..=200 {
        let mut big = message(5, no);
        big.body = vec![b'x'; 10_000].into();
        store(&log, big).await;
    }
    let limit = before + 1_000_000;
    assert!(used_memory(&server).await > limit, "two megabytes were stored");
    let () = ask(&server, &["CONFIG", "SET", "maxmemory", &limit.to_string()]).await;
    let refused = append(&log, &[message(5, 201)]).await;
    assert!(matches!(refused, Err(AppendError::NotStored { .. })), "{refused:?}");
    assert_eq!(log.end(0).await.unwrap(), Pos::new(1, 201));
    // Reading, W, leases and trims go on, else it would stay full.
    persist(&log, &archive, 201).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let upto = log.trimmable(0).await.unwrap();
    assert_eq!(upto, Pos::new(1, 201));
    log.trim(0, upto).await.unwrap();
    // The server counts its memory a little later.
    for _ in 0..500 {
        match append(&log, &[message(5, 201)]).await {
            Ok(verdicts) => {
                assert!(matches!(verdicts[..], [Verdict::Stored { seq: 202, .. }]));
                return;
            }
            Err(AppendError::NotStored { .. }) => pause().await,
            other => panic!("{other:?}"),
        }
    }
    panic!("still full");
}

/// The server is paused with the batch in its socket; another connection gets there first.
#[tokio::test]
async fn a_batch_without_an_answer_is_stored_once_however_late_it_arrives() {
    let (server, archive) = (Server::start(), MemoryArchive::default());
    ready(&server, &archive).await;
    let mut hasty = options(&server, 1, &archive);
    hasty.answer_timeout = Duration::from_millis(100);
    let log = open_until_admitted(hasty, Pos::default()).await;
    let mut appender = log.appender(0);
    appender.append(&[message(5, 1)]).await.unwrap();
    let batch = [message(5, 2), message(5, 3)];
    signal(&server, "-STOP");
    assert_eq!(appender.append(&batch).await, Err(AppendError::Unknown));
    let meanwhile = appender.append(&batch).await;
    assert!(matches!(meanwhile, Err(AppendError::NotStored { .. } | AppendError::Unknown)));
    signal(&server, "-CONT");
    let verdicts = loop {
        match appender.append(&batch).await {
            Ok(verdicts) => break verdicts,
            Err(_) => pause().await,
        }
    };
    let seq = |verdict: &Verdict| match verdict {
        Verdict::Stored { seq, .. } | Verdict::Dup { seq, .. } => *seq,
        other => panic!("{other:?}"),
    };
    assert_eq!(verdicts.iter().map(seq).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(store(&log, message(5, 4)).await.0, 5);
    let events: usize = read_all(&log).await.iter().map(|batch| batch.events.len()).sum();
    assert_eq!(events, 5);
}

#[tokio::test]
async fn a_server_that_is_away_stores_nothing_and_says_so() {
    let (mut server, archive) = (Server::start(), MemoryArchive::default());
    let log = ready(&server, &archive).await;
    server.kill();
    let mut appender = log.appender(0);
    let refused = appender.append(&[message(5, 1)]).await;
    assert!(matches!(refused, Err(AppendError::NotStored { .. })), "{refused:?}");
    assert!(matches!(log.end(0).await, Err(LogError::Unavailable(_))));
}

#[tokio::test]
async fn a_log_below_the_level_that_is_asked_for_is_not_opened() {
    let (server, archive) = (Server::start(), MemoryArchive::default());
    let () = ask(&server, &["CONFIG", "SET", "appendfsync", "everysec"]).await;
    let refused = RedisLog::open(options(&server, 1, &archive)).await;
    let Err(RedisError::Level { level: Level::L1, wanted: Level::L2, why, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(why, "appendfsync is not always");
    let mut content = options(&server, 1, &archive);
    content.level_min = Level::L1;
    let log = open_until_admitted(content, Pos::default()).await;
    assert_eq!(log.info().durability, "L1");
    let () = ask(&server, &["CONFIG", "SET", "appendfsync", "always"]).await;
    assert_eq!(log.level().await, Ok(Level::L2), "a change is seen");
}

/// Without the lease of a run nothing is moved, and a fence holds for all of it.
#[tokio::test]
async fn while_it_is_fenced_nobody_moves_w_or_trims() {
    let (mut server, archive) = (Server::start(), MemoryArchive::default());
    let log = ready(&server, &archive).await;
    let lease = log.lease(0).await.unwrap();
    server.restart();
    let closed = |result: Result<(), LogError>| matches!(result, Err(LogError::Unavailable(_)));
    assert!(closed(log.advance(0, Pos::new(1, 1), lease).await));
    assert!(closed(log.trim(0, Pos::new(1, 1)).await));
    assert!(closed(log.lease(0).await.map(|_| ())));
    assert_eq!(log.end(0).await, Ok(Pos::new(1, 1)), "where it ends may be asked");
    let other = Arc::new(log.clone());
    assert!(other.read(0, Pos::new(1, 0), 1).await.is_err());
}
