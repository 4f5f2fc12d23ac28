//! The local log on a disk that crashes, fills up, fails and is damaged.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up fails")]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use backplane::{
    AppendError, Batch, Envelope, Gap, Head, Key, Log, LogError, ProducerState, ReadError, Verdict,
    local::{Folder, LocalError, LocalLog, MemoryDisk, Options},
    memory_archive::MemoryArchive,
    sequencer::Mutation,
};
use bytes::Bytes;
use protocol::{ConversationId, EventKind, Pos, Producer, UserId};

const ADA: UserId = UserId(1);
const BOB: UserId = UserId(2);

fn direct() -> ConversationId {
    ConversationId::direct(ADA, BOB)
}

fn envelope(producer: u64, no: u64, kind: EventKind, text: &str) -> Envelope {
    let key = Key { conversation: direct(), user: ADA, producer: Producer(producer), no };
    Envelope::new(key, 0, kind, Bytes::copy_from_slice(text.as_bytes()))
}

fn message(no: u64) -> Envelope {
    envelope(7, no, EventKind::Message, "{\"text\":\"hi\"}")
}

struct Bench {
    disk: MemoryDisk,
    archive: MemoryArchive,
    now: Arc<AtomicU64>,
    faults: Arc<Mutex<Vec<String>>>,
    options: Options,
}

impl Bench {
    fn new() -> Self {
        let now = Arc::new(AtomicU64::new(1_000));
        let faults = Arc::new(Mutex::new(Vec::new()));
        let (clock, seen) = (Arc::clone(&now), Arc::clone(&faults));
        let mut options = Options::new(
            Arc::new(move || clock.load(SeqCst)),
            Arc::new(move |what| seen.lock().unwrap().push(what.to_owned())),
        );
        options.segment_bytes = 16 * 1024;
        options.recent_bytes_max = 4 * 1024;
        Self {
            disk: MemoryDisk::default(),
            archive: MemoryArchive::default(),
            now,
            faults,
            options,
        }
    }

    fn open_at(&self, stored: Pos) -> Result<LocalLog, LocalError> {
        let (disk, archive) = (Arc::new(self.disk.clone()), Arc::new(self.archive.clone()));
        LocalLog::open(disk, archive, stored, self.options.clone())
    }

    fn open(&self) -> LocalLog {
        self.open_at(Pos::new(1, 0)).unwrap()
    }

    /// A log in which the conversation exists.
    async fn born(&self) -> LocalLog {
        let log = self.open();
        let verdicts =
            append(&log, &[envelope(1, 1, EventKind::Created, "{\"members\":[]}")]).await.unwrap();
        assert!(matches!(verdicts[..], [Verdict::Stored { seq: 1, .. }]));
        log
    }
}

async fn append(log: &LocalLog, envelopes: &[Envelope]) -> Result<Vec<Verdict>, AppendError> {
    log.appender(0).append(envelopes).await
}

fn seqs(verdicts: &[Verdict]) -> Vec<u64> {
    verdicts.iter().map(|v| if let Verdict::Stored { seq, .. } = v { *seq } else { 0 }).collect()
}

async fn all(log: &LocalLog) -> Vec<Arc<Batch>> {
    let mut found: Vec<Arc<Batch>> = Vec::new();
    loop {
        let after = found.last().map_or(Pos::new(1, 0), |batch| batch.pos);
        let more = log.read(0, after, 3_000).await.unwrap();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_crash_and_a_resend_is_a_duplicate() {
    let bench = Bench::new();
    let log = bench.born().await;
    for no in 1..=300 {
        assert_eq!(seqs(&append(&log, &[message(no)]).await.unwrap()), [no + 1]);
    }
    bench.disk.crash();
    drop(log);
    let log = bench.open();
    let batches = all(&log).await;
    assert_eq!(batches.len(), 301, "several segments, most of them only on disk");
    assert!(batches.iter().zip(1..).all(|(batch, n)| batch.pos == Pos::new(1, n)));
    let (pos, ts) = (batches[300].pos, batches[300].ts);
    assert_eq!(append(&log, &[message(300)]).await.unwrap(), [Verdict::Dup { seq: 301, pos, ts }]);
    assert_eq!(seqs(&append(&log, &[message(301)]).await.unwrap()), [302]);
}

#[tokio::test]
async fn a_log_without_the_sync_loses_what_it_answered() {
    let bench = Bench::new();
    let log = bench.born().await;
    bench.disk.faults.swallow_sync.store(true, SeqCst);
    append(&log, &[message(1)]).await.unwrap();
    bench.disk.crash();
    drop(log);
    let log = bench.open();
    assert_eq!(all(&log).await.len(), 1, "this is what the crash test above would notice");
}

#[tokio::test]
async fn followers_get_every_batch_once_in_order_from_disk_and_then_live() {
    let bench = Bench::new();
    let log = bench.born().await;
    for no in 1..=200 {
        append(&log, &[message(no)]).await.unwrap();
    }
    let mut follower = log.follow(0, Pos::new(1, 0));
    let live = log.clone();
    let writer = tokio::spawn(async move {
        for no in 201..=260 {
            append(&live, &[message(no)]).await.unwrap();
        }
    });
    for n in 1..=261 {
        assert_eq!(follower.next().await.unwrap().pos.n, n);
    }
    writer.await.unwrap();
    let waiting = tokio::time::timeout(std::time::Duration::from_millis(5), follower.next()).await;
    assert!(waiting.is_err(), "nothing more");
    append(&log, &[message(261)]).await.unwrap();
    assert_eq!(follower.next().await.unwrap().pos.n, 262, "the dropped future lost nothing");
}

#[tokio::test]
async fn a_bad_envelope_does_not_hold_up_its_neighbours() {
    let bench = Bench::new();
    let log = bench.born().await;
    let verdicts = append(&log, &[message(1), message(9), message(2)]).await.unwrap();
    assert!(matches!(
        verdicts[..],
        [
            Verdict::Stored { seq: 2, .. },
            Verdict::OutOfOrder { expected: 2 },
            Verdict::Stored { seq: 3, .. }
        ]
    ));
    assert_eq!(all(&log).await.len(), 2);
}

#[tokio::test]
async fn without_dedupe_a_resend_is_stored_twice() {
    let mut bench = Bench::new();
    bench.options.mutation = Mutation::DedupeOff;
    let log = bench.born().await;
    append(&log, &[message(1)]).await.unwrap();
    assert_eq!(
        seqs(&append(&log, &[message(1)]).await.unwrap()),
        [3],
        "the mutant that every suite must notice"
    );
}

#[tokio::test]
async fn heads_and_old_ids_come_from_the_archive() {
    let bench = Bench::new();
    bench.archive.set_head(direct(), Head { seq: 40, ordinal: 30, mver: 0, epoch: 1 });
    let log = bench.open_at(Pos::new(1, 9)).unwrap();
    assert_eq!(append(&log, &[message(5)]).await.unwrap(), [Verdict::OldId]);
    let known = ProducerState { last: 4, recent: Vec::new() };
    log.install(direct(), ADA, Producer(7), known).await.unwrap();
    let verdicts = append(&log, &[message(5)]).await.unwrap();
    assert!(
        matches!(verdicts[..], [Verdict::Stored { seq: 41, pos: Pos { epoch: 1, n: 10 }, .. }]),
        "{verdicts:?}"
    );
}

#[tokio::test]
async fn an_archive_that_is_away_is_a_retryable_refusal() {
    let bench = Bench::new();
    let log = bench.open();
    bench.archive.set_away(true);
    assert!(matches!(append(&log, &[message(1)]).await, Err(AppendError::NotStored { .. })));
    bench.archive.set_away(false);
    assert_eq!(append(&log, &[message(1)]).await.unwrap(), [Verdict::UnknownConversation]);
}

#[tokio::test]
async fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let bench = Bench::new();
    let log = bench.born().await;
    bench.disk.faults.room.store(10, SeqCst);
    assert!(matches!(append(&log, &[message(1)]).await, Err(AppendError::NotStored { .. })));
    bench.disk.faults.room.store(u64::MAX, SeqCst);
    assert_eq!(
        seqs(&append(&log, &[message(1)]).await.unwrap()),
        [2],
        "the refused one took no number"
    );
    assert_eq!(all(&log).await.len(), 2);
}

#[tokio::test]
async fn a_failed_sync_ends_every_promise() {
    let bench = Bench::new();
    let log = bench.born().await;
    bench.disk.faults.fail_sync.store(true, SeqCst);
    assert_eq!(append(&log, &[message(1)]).await, Err(AppendError::Unknown));
    bench.disk.faults.fail_sync.store(false, SeqCst);
    assert_eq!(
        append(&log, &[message(2)]).await,
        Err(AppendError::Unknown),
        "the process is told to end"
    );
    assert_eq!(bench.faults.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_torn_tail_is_cut_and_damage_in_the_middle_is_refused() {
    let bench = Bench::new();
    let log = bench.born().await;
    append(&log, &[message(1)]).await.unwrap();
    append(&log, &[message(2)]).await.unwrap();
    bench.disk.crash();
    drop(log);
    let name = "0000000000000001.log";
    let end =
        bench.disk.with_file(name, |bytes| bytes.iter().rposition(|b| *b != 0).unwrap()).unwrap();
    bench.disk.with_file(name, |bytes| bytes[end - 3] ^= 1).unwrap();
    let log = bench.open();
    assert_eq!(all(&log).await.len(), 2, "the last record was torn");
    assert_eq!(seqs(&append(&log, &[message(2)]).await.unwrap()), [3]);
    bench.disk.crash();
    drop(log);
    bench.disk.with_file(name, |bytes| bytes[80] ^= 1).unwrap();
    assert!(matches!(bench.open_at(Pos::new(1, 0)), Err(LocalError::Corrupt { .. })));
}

#[tokio::test]
async fn trimming_keeps_what_is_not_stored_and_what_is_young() {
    let bench = Bench::new();
    let log = bench.born().await;
    for no in 1..=300 {
        append(&log, &[message(no)]).await.unwrap();
    }
    let lease = log.lease(0).await.unwrap();
    log.advance(0, Pos::new(1, 200), lease).await.unwrap();
    let refused = Err(LogError::Refused("trim above W − retention"));
    assert_eq!(log.trim(0, Pos::new(1, 100)).await, refused, "young");
    bench.now.fetch_add(bench.options.retention_ms + 1, SeqCst);
    assert_eq!(log.trim(0, Pos::new(1, 201)).await, refused, "above W");
    log.trim(0, Pos::new(1, 100)).await.unwrap();
    assert_eq!(log.first(0).await.unwrap(), Pos::new(1, 100));
    let trimmed = ReadError::Trimmed { first: Pos::new(1, 101) };
    assert_eq!(log.read(0, Pos::new(1, 50), 1).await, Err(trimmed));
    let mut follower = log.follow(0, Pos::new(1, 0));
    assert!(matches!(follower.next().await, Err(Gap::Trimmed { .. })));
    assert_eq!(seqs(&append(&log, &[message(301)]).await.unwrap()), [302]);
}

#[tokio::test]
async fn w_only_grows_and_only_by_the_newest_lease() {
    let bench = Bench::new();
    let log = bench.born().await;
    append(&log, &[message(1)]).await.unwrap();
    let zombie = log.lease(0).await.unwrap();
    let owner = log.lease(0).await.unwrap();
    assert!(log.advance(0, Pos::new(1, 1), zombie).await.is_err());
    assert!(log.advance(0, Pos::new(1, 9), owner).await.is_err(), "above the end");
    log.advance(0, Pos::new(1, 2), owner).await.unwrap();
    log.advance(0, Pos::new(1, 1), owner).await.unwrap();
    assert_eq!(log.watermark(0).await.unwrap(), Pos::new(1, 2));
}

#[tokio::test]
async fn a_real_folder_is_locked_and_found_again() {
    let path = std::env::temp_dir().join(format!("webchat-log-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    let bench = Bench::new();
    let open = || {
        let disk = Arc::new(Folder::open(&path).unwrap());
        LocalLog::open(disk, Arc::new(bench.archive.clone()), Pos::new(1, 0), bench.options.clone())
    };
    let log = open().unwrap();
    assert!(matches!(open(), Err(LocalError::InUse)));
    append(&log, &[envelope(1, 1, EventKind::Created, "{}"), message(1)]).await.unwrap();
    let mut log = log;
    for no in 2..=40 {
        let closed = log.closed();
        drop(log);
        closed.await;
        log = open().unwrap();
        append(&log, &[message(no)]).await.unwrap();
    }
    assert_eq!(all(&log).await.len(), 40);
    let closed = log.closed();
    drop(log);
    closed.await;
    std::fs::remove_dir_all(&path).unwrap();
}
