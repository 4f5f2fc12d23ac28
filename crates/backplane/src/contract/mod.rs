//! The contract of [`Log`] and [`Live`] as tests: one suite that every implementation passes unchanged (LOG.md §9).
//!
//! Owns: the laws, and what a law needs from an implementation ([`LogHarness`], [`LiveHarness`]). Never does: know an
//! implementation. Talks to: the seams. Start reading at: [`check_log`]; the laws are in the files of their subjects.

mod dedupe;
mod durability;
mod following;
mod live;
mod membership;
mod trimming;

use std::{fmt::Debug, sync::Arc, time::Duration};

use bytes::Bytes;
use protocol::{ConversationId, EventKind, Pos, Producer, UserId};

use crate::{
    AppendError, Batch, BoxFuture, Envelope, Key, Live, Log, Partition, Verdict,
    memory_archive::MemoryArchive,
};

pub use live::check_live;

/// A law that has not ended by then is broken: no law waits for anything longer than a sync.
const LAW_TIMEOUT: Duration = Duration::from_secs(20);
/// Attempts at an append that is refused as retryable or of unknown outcome.
const ATTEMPTS_MAX: usize = 200;
/// Bytes of one read.
const PAGE_BYTES: usize = 2_000;

/// `Err` says what was seen.
pub type Outcome = Result<(), String>;

/// Name of a law, and how it went.
pub type Report = Vec<(&'static str, Outcome)>;

/// One log under test, with everything around it.
pub trait LogHarness: Send + Sync {
    /// The log as it runs now; another one after [`LogHarness::crash`].
    fn log(&self) -> Arc<dyn Log>;

    /// The archive that the log asks, and that the laws store batches in.
    fn archive(&self) -> MemoryArchive;

    /// Ends the log without warning, takes from its storage whatever was not durable (power loss, if the harness can), and
    /// starts it again with `archive().stored()` for the store's position.
    fn crash(&mut self) -> BoxFuture<'_, ()>;

    /// Lets so much time pass on the log's clock.
    fn pass(&mut self, ms: u64);

    /// Age at which what is stored may be trimmed.
    fn retention_ms(&self) -> u64;

    /// Whether the log itself recognises a producer's *first* publish that comes again after its memory of it ended.
    /// A log that does not ask (LOG.md §2: nothing known and no = 1 is new) leaves it to the persister, which stores a hole.
    fn recognises_late_first(&self) -> bool {
        true
    }
}

/// One live state under test.
pub trait LiveHarness: Send + Sync {
    /// The live state.
    fn live(&self) -> Arc<dyn Live>;

    /// Its clock, Unix milliseconds.
    fn now_ms(&self) -> u64;

    /// Lets so much time pass.
    fn pass(&mut self, ms: u64);
}

type Law<H> = (&'static str, for<'a> fn(&'a mut H) -> BoxFuture<'a, Outcome>);

fn log_laws<H: LogHarness>() -> Vec<Law<H>> {
    let laws = [
        durability::laws::<H>(),
        dedupe::laws::<H>(),
        membership::laws::<H>(),
        following::laws::<H>(),
        trimming::laws::<H>(),
    ];
    laws.concat()
}

/// Checks every law of [`Log`], each on a log of its own. Needs a tokio runtime.
pub async fn check_log<H: LogHarness>(make: impl AsyncFn() -> H) -> Report {
    check(log_laws(), make).await
}

/// Checks one law of [`Log`]: how a test shows that a mutant is caught. A name that is no law is a broken one.
pub async fn check_log_law<H: LogHarness>(law: &str, make: impl AsyncFn() -> H) -> Outcome {
    let laws = log_laws().into_iter().filter(|(name, _)| *name == law).collect();
    let (_, outcome) = check(laws, make).await.pop().ok_or_else(|| format!("no law: {law}"))?;
    outcome
}

async fn check<H>(laws: Vec<Law<H>>, make: impl AsyncFn() -> H) -> Report {
    let mut report = Report::new();
    for (name, law) in laws {
        let mut harness = make().await;
        let outcome = tokio::time::timeout(LAW_TIMEOUT, law(&mut harness)).await;
        report.push((name, outcome.unwrap_or_else(|_| Err("did not end in time".to_owned()))));
    }
    report
}

/// The laws that were broken, one a line.
pub fn broken(report: &Report) -> Vec<String> {
    let failed = |(name, outcome): &(&'static str, Outcome)| {
        outcome.as_ref().err().map(|why| format!("{name}: {why}"))
    };
    report.iter().filter_map(failed).collect()
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(what()) }
}

fn same<T: PartialEq + Debug>(seen: &T, wanted: &T, what: &str) -> Outcome {
    ensure(seen == wanted, || format!("{what}: saw {seen:?}, wanted {wanted:?}"))
}

fn text(error: impl Debug) -> String {
    format!("{error:?}")
}

const ADA: UserId = UserId(1);
const BOB: UserId = UserId(2);

fn direct() -> ConversationId {
    ConversationId::direct(ADA, BOB)
}

fn group() -> ConversationId {
    ConversationId::group(77)
}

fn envelope(conversation: ConversationId, producer: u64, no: u64, kind: EventKind) -> Envelope {
    let key = Key { conversation, user: ADA, producer: Producer(producer), no };
    let body = match kind {
        EventKind::Created => r#"{"members":[]}"#.to_owned(),
        EventKind::Member => r#"{"changes":[]}"#.to_owned(),
        _ => format!(r#"{{"text":"{producer}-{no}"}}"#),
    };
    Envelope::new(key, 0, kind, Bytes::from(body))
}

/// A message of Ada's into the direct conversation.
fn message(producer: u64, no: u64) -> Envelope {
    envelope(direct(), producer, no, EventKind::Message)
}

fn messages(producer: u64, numbers: std::ops::RangeInclusive<u64>) -> Vec<Envelope> {
    numbers.map(|no| message(producer, no)).collect()
}

fn partition(log: &Arc<dyn Log>) -> Partition {
    log.info().partition_of(direct())
}

/// Appends until there are verdicts; the same batch each time, as a node does.
async fn append(log: &Arc<dyn Log>, envelopes: &[Envelope]) -> Result<Vec<Verdict>, String> {
    let conversation = envelopes.first().map_or(direct(), |e| e.conversation);
    let mut appender = log.appender(log.info().partition_of(conversation));
    for _ in 0..ATTEMPTS_MAX {
        match appender.append(envelopes).await {
            Ok(verdicts) => {
                same(&verdicts.len(), &envelopes.len(), "verdicts of a batch")?;
                return Ok(verdicts);
            }
            Err(AppendError::Fenced { .. }) => return Err("fenced without a cause".to_owned()),
            Err(AppendError::NotStored { .. } | AppendError::Unknown) => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
    Err("an append got no verdicts".to_owned())
}

/// Appends what has to be stored; tells the seqs.
async fn store(log: &Arc<dyn Log>, envelopes: &[Envelope]) -> Result<Vec<u64>, String> {
    let seq = |verdict: &Verdict| match verdict {
        Verdict::Stored { seq, .. } => Ok(*seq),
        other => Err(format!("wanted Stored, got {other:?}")),
    };
    append(log, envelopes).await?.iter().map(seq).collect()
}

/// The direct conversation, which is in the log for most laws.
async fn begin(log: &Arc<dyn Log>) -> Outcome {
    let seqs = store(log, &[envelope(direct(), 0, 1, EventKind::Created)]).await?;
    same(&seqs, &vec![1], "the seq of a birth")
}

/// Everything after `after`, read in pages; `n` strictly + 1.
async fn read_after(log: &Arc<dyn Log>, after: Pos) -> Result<Vec<Arc<Batch>>, String> {
    let mut all: Vec<Arc<Batch>> = Vec::new();
    loop {
        let last = all.last().map_or(after, |batch| batch.pos);
        let page = log.read(partition(log), last, PAGE_BYTES).await.map_err(text)?;
        if page.is_empty() {
            return Ok(all);
        }
        for batch in page {
            let before = all.last().map_or(after, |batch| batch.pos);
            same(&batch.pos.n, &(before.n + 1), "n in a read")?;
            all.push(batch);
        }
    }
}

async fn read_all(log: &Arc<dyn Log>) -> Result<Vec<Arc<Batch>>, String> {
    let first = log.first(partition(log)).await.map_err(text)?;
    read_after(log, first).await
}

/// `(seq, key)` of every event of a conversation, in log order.
fn events_of(batches: &[Arc<Batch>], conversation: ConversationId) -> Vec<(u64, Key)> {
    let events = batches.iter().flat_map(|batch| &batch.events);
    events
        .filter(|event| event.envelope.conversation == conversation)
        .map(|event| (event.seq, event.envelope.key()))
        .collect()
}

/// Seqs are 1, 2, 3 …, and every key is there once.
fn dense_and_unique(events: &[(u64, Key)]) -> Outcome {
    let seqs: Vec<u64> = events.iter().map(|(seq, _)| *seq).collect();
    same(&seqs, &(1..=events.len() as u64).collect(), "seqs of a conversation")?;
    let mut keys: Vec<Key> = events.iter().map(|(_, key)| *key).collect();
    keys.sort_unstable();
    keys.dedup();
    same(&keys.len(), &events.len(), "keys that are in the log once")
}

/// Does what the persister does, up to the end: store, then move W.
async fn persist<H: LogHarness>(harness: &H) -> Result<Pos, String> {
    let (log, archive) = (harness.log(), harness.archive());
    for batch in read_after(&log, archive.stored()).await? {
        archive.store(&batch);
    }
    let lease = log.lease(partition(&log)).await.map_err(text)?;
    log.advance(partition(&log), archive.stored(), lease).await.map_err(text)?;
    Ok(archive.stored())
}
