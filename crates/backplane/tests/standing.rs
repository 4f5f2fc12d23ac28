//! What processes tell a log that comes back with less than they have seen, on the simulated log.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use backplane::{
    Batch, Envelope, Key, Log, Verdict,
    memory_archive::MemoryArchive,
    sequencer::Mutation,
    sim::{Faults, SimLog, SimOptions},
    standing::Standing,
};
use bytes::Bytes;
use protocol::{ConversationId, EventKind, Pos, Producer, UserId};

fn log() -> SimLog {
    let options = SimOptions {
        clock: Arc::new(|| 1),
        seed: 1,
        faults: Faults::default(),
        retention_ms: 1,
        swallow_sync: false,
        mutation: Mutation::None,
    };
    SimLog::new(Arc::new(MemoryArchive::default()), options)
}

fn publish(no: u64) -> Envelope {
    let conversation = ConversationId::direct(UserId(1), UserId(2));
    let key = Key { conversation, user: UserId(1), producer: Producer(1), no };
    let kind = if no == 1 { EventKind::Created } else { EventKind::Message };
    Envelope::new(key, 0, kind, Bytes::from_static(br#"{"members":[]}"#))
}

fn empty(node: u64) -> Standing {
    Standing::new(0, node, Box::new(|_| Vec::new()))
}

fn holding(node: u64, batches: Vec<Arc<Batch>>) -> Standing {
    let held = move |after: Pos| batches.iter().filter(|b| b.pos > after).cloned().collect();
    let standing = Standing::new(0, node, Box::new(held));
    standing.saw(Pos::new(1, 3));
    standing
}

async fn seqs(log: &SimLog) -> Vec<u64> {
    let batches = log.read(0, Pos::default(), usize::MAX).await.unwrap();
    batches.iter().flat_map(|batch| &batch.events).map(|event| event.seq).collect()
}

#[tokio::test]
async fn what_a_log_lost_is_given_back_before_anybody_appends() {
    let log = log();
    let mut appender = log.appender(0);
    for no in 1..=3 {
        appender.append(&[publish(no)]).await.unwrap();
    }
    let batches = log.read(0, Pos::default(), usize::MAX).await.unwrap();
    let (one, two) = (holding(1, batches), empty(2));
    let before = one.ask(&log).await.unwrap();
    assert_eq!(two.ask(&log).await, Ok(before), "an open log lets everybody append");

    log.crash(2);
    assert!(appender.append(&[publish(4)]).await.is_err(), "fenced");
    assert!(two.ask(&log).await.is_err(), "the other one has not answered");
    for standing in [&one, &two, &one, &two] {
        let _ = standing.ask(&log).await;
    }
    let after = two.ask(&log).await.unwrap();
    assert_eq!((after.epoch, seqs(&log).await), (before.epoch + 1, vec![1, 2, 3]));
    let verdicts = appender.append(&[publish(3)]).await.unwrap();
    assert!(matches!(verdicts[..], [Verdict::Dup { seq: 3, .. }]), "{verdicts:?}");
}

#[tokio::test]
async fn a_log_that_lost_nothing_goes_on_in_its_epoch() {
    let log = log();
    let mut appender = log.appender(0);
    appender.append(&[publish(1)]).await.unwrap();
    let standing = empty(1);
    let before = standing.ask(&log).await.unwrap();
    standing.saw(before);
    log.crash(0);
    assert_eq!(standing.ask(&log).await, Ok(before));
}

/// A verdict names a place that nobody has followed yet (ADR 0007).
#[tokio::test]
async fn a_place_that_only_a_verdict_named_is_missed() {
    let log = log();
    let mut appender = log.appender(0);
    let verdict = appender.append(&[publish(1)]).await.unwrap()[0];
    let standing = empty(1);
    let before = standing.ask(&log).await.unwrap();
    standing.saw(verdict.pos().unwrap());
    log.crash(1);
    assert!(standing.ask(&log).await.is_err(), "it was this process's turn to give back");
    assert_eq!(standing.ask(&log).await.unwrap().epoch, before.epoch + 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_fenced_is_admitted_again_by_itself() {
    let log = log();
    let standing = Arc::new(empty(1));
    let (keeps, kept) = (Arc::clone(&standing), log.clone());
    let task = tokio::spawn(async move { keeps.keep(&kept).await });
    standing.admitted().await;
    log.crash(0);
    assert!(log.is_fenced());
    standing.doubt();
    assert!(!standing.is_good());
    standing.admitted().await;
    assert!(!log.is_fenced());
    task.abort();
}
