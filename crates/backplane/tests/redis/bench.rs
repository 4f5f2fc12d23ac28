//! Logs of several nodes on one server, and what most tests do with them.

use std::{sync::Arc, time::Duration};

use backplane::{
    Admitted, AppendError, Batch, Envelope, Follower, Key, Log, LogError, Verdict,
    memory_archive::MemoryArchive,
    redis::{Options, RedisLog},
};
use bytes::Bytes;
use protocol::{ConversationId, EventKind, Pos, Producer, UserId};

use crate::server::Server;

/// Longer than a test needs to answer, short enough to be waited for.
pub(crate) const LEASE_MS: u64 = 2_000;

/// Opens, and tells until the log is open, too. Whoever tests what a node restores does that by hand.
pub(crate) async fn open_until_admitted(options: Options, seen: Pos) -> RedisLog {
    let node = options.node;
    // A log without a list of nodes waits for a whole lease before it opens for the first time.
    let mut brief = options.clone();
    brief.lease_ms = 20;
    let brief = RedisLog::open(brief).await.unwrap();
    assert_eq!(rejoin(&brief, node, seen, Pos::default()).await.restore, None, "nothing was lost");
    let log = RedisLog::open(options).await.unwrap();
    let admitted = rejoin(&log, node, seen, Pos::default()).await;
    assert_eq!(admitted.restore, None, "nothing was lost");
    log
}

/// Tells until there is an answer: it is open, or there is something to restore.
pub(crate) async fn rejoin(log: &RedisLog, node: u64, seen: Pos, watermark: Pos) -> Admitted {
    for _ in 0..2_000 {
        match log.rejoin(0, node, seen, watermark).await {
            Ok(admitted) => return admitted,
            Err(LogError::Unavailable(_)) => pause().await,
            Err(other) => panic!("{other}"),
        }
    }
    panic!("never an answer");
}

pub(crate) async fn pause() {
    tokio::time::sleep(Duration::from_millis(2)).await;
}

pub(crate) fn options(server: &Server, node: u64, archive: &MemoryArchive) -> Options {
    let mut options = Options::new(vec![server.url()], node, Arc::new(archive.clone()));
    options.lease_ms = LEASE_MS;
    options
}

/// A command of one's own, past the log.
pub(crate) async fn ask<T: redis::FromRedisValue>(server: &Server, parts: &[&str]) -> T {
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = redis::cmd(parts[0]);
    command.arg(&parts[1..]);
    command.query_async(&mut connection).await.unwrap()
}

pub(crate) fn direct() -> ConversationId {
    ConversationId::direct(UserId(1), UserId(2))
}

pub(crate) fn envelope(producer: u64, no: u64, kind: EventKind) -> Envelope {
    let (conversation, user) = (direct(), UserId(1));
    let key = Key { conversation, user, producer: Producer(producer), no };
    Envelope::new(key, 0, kind, Bytes::from(format!(r#"{{"text":"{producer}-{no}"}}"#)))
}

pub(crate) fn born() -> Envelope {
    envelope(99, 1, EventKind::Created)
}

pub(crate) fn message(producer: u64, no: u64) -> Envelope {
    envelope(producer, no, EventKind::Message)
}

/// One append on a connection of its own.
pub(crate) async fn append(
    log: &RedisLog,
    envelopes: &[Envelope],
) -> Result<Vec<Verdict>, AppendError> {
    log.appender(0).append(envelopes).await
}

/// One that has to be stored: its seq and place.
pub(crate) async fn store(log: &RedisLog, envelope: Envelope) -> (u64, Pos) {
    match append(log, std::slice::from_ref(&envelope)).await.as_deref() {
        Ok([Verdict::Stored { seq, pos, .. }]) => (*seq, *pos),
        other => panic!("wanted Stored, got {other:?}"),
    }
}

pub(crate) async fn read_all(log: &RedisLog) -> Vec<Arc<Batch>> {
    let (mut all, mut after) = (Vec::new(), log.first(0).await.unwrap());
    loop {
        let page = log.read(0, after, 1 << 20).await.unwrap();
        let Some(last) = page.last() else { return all };
        after = last.pos;
        all.extend(page);
    }
}

/// Stores as the persister does, up to `n`, and moves W.
pub(crate) async fn persist(log: &RedisLog, archive: &MemoryArchive, n: u64) {
    let batches = read_all(log).await;
    let upto = batches.iter().filter(|batch| batch.pos.n <= n);
    upto.for_each(|batch| archive.store(batch));
    let lease = log.lease(0).await.unwrap();
    log.advance(0, archive.stored(), lease).await.unwrap();
}

/// The next batch, which has to come within a few seconds.
pub(crate) async fn next(follower: &mut dyn Follower) -> Arc<Batch> {
    let next = tokio::time::timeout(Duration::from_secs(5), follower.next()).await;
    next.expect("no batch in time").expect("a gap")
}
