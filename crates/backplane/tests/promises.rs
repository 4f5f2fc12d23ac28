//! Regressions of the local log: each of these once broke what an answer had promised.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up fails")]

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use backplane::{
    AppendError, Earlier, Envelope, Found, Key, Log, ProducerState, Verdict,
    local::{LocalError, LocalLog, MemoryDisk, Options},
    memory_archive::MemoryArchive,
};
use bytes::Bytes;
use protocol::{ConversationId, EventKind, Pos, Producer, UserId, limits};

const ADA: UserId = UserId(1);
const SEGMENT: &str = "0000000000000001.log";

fn key(producer: u64, no: u64) -> Key {
    let conversation = ConversationId::direct(ADA, UserId(2));
    Key { conversation, user: ADA, producer: Producer(producer), no }
}

fn message(no: u64, text: &str) -> Envelope {
    Envelope::new(key(7, no), 0, EventKind::Message, Bytes::copy_from_slice(text.as_bytes()))
}

#[derive(Default)]
struct Bench {
    disk: MemoryDisk,
    archive: MemoryArchive,
    now: Arc<AtomicU64>,
}

impl Bench {
    async fn open_at(&self, stored: u64) -> Result<LocalLog, LocalError> {
        let now = Arc::clone(&self.now);
        let mut options = Options::new(Arc::new(move || now.load(SeqCst)), Arc::new(|_: &str| ()));
        options.segment_bytes = 4 * 1024 * 1024;
        loop {
            let archive = Arc::new(self.archive.clone());
            let disk = Arc::new(self.disk.clone());
            match LocalLog::open(disk, archive, Pos::new(1, stored), options.clone()) {
                // The writer of the run before lets go of the lock when it has ended.
                Err(LocalError::InUse) => tokio::task::yield_now().await,
                other => return other,
            }
        }
    }

    async fn born(&self) -> LocalLog {
        let log = self.open_at(0).await.unwrap();
        let created = Envelope::new(
            key(1, 1),
            0,
            EventKind::Created,
            Bytes::from_static(b"{\"members\":[]}"),
        );
        append(&log, &[created]).await.unwrap();
        log
    }
}

async fn append(log: &LocalLog, envelopes: &[Envelope]) -> Result<Vec<Verdict>, AppendError> {
    log.appender(0).append(envelopes).await
}

async fn events(log: &LocalLog) -> usize {
    let batches = log.read(0, Pos::new(1, 0), usize::MAX).await.unwrap();
    batches.iter().map(|batch| batch.events.len()).sum()
}

/// A first publish (no 1) that was sent again after its producer had been forgotten was taken for a new one (R11).
#[tokio::test]
async fn r11_a_first_publish_is_not_stored_twice_however_late_it_comes_again() {
    let bench = Bench::default();
    let log = bench.born().await;
    let first = message(1, "once");
    let verdicts = append(&log, std::slice::from_ref(&first)).await.unwrap();
    let [Verdict::Stored { seq, ts, .. }] = verdicts[..] else { panic!("{verdicts:?}") };
    let lease = log.lease(0).await.unwrap();
    log.advance(0, Pos::new(1, 2), lease).await.unwrap();
    let earlier = Earlier { no: 1, hash: first.hash, seq, pos: Pos::new(1, 0), ts };
    let state = ProducerState { last: 1, recent: vec![earlier] };
    let found = Found { stored: Some(earlier), producer: Some(state) };
    bench.archive.set_found(first.key(), found);
    bench.archive.set_head(
        key(1, 1).conversation,
        backplane::Head { seq: 2, ordinal: 1, mver: 0, epoch: 1 },
    );
    for _ in 0..4 {
        bench.now.fetch_add(limits::DEDUPE_MS, SeqCst);
        append(&log, &[message(99, "moves time on")]).await.unwrap();
    }
    assert_eq!(
        append(&log, &[first]).await.unwrap(),
        [Verdict::Dup { seq, pos: Pos::new(1, 0), ts }]
    );
}

/// A disk that was full in the middle of a record could keep all of it but the padding: after the next start an envelope
/// was there that had been refused (H7).
#[tokio::test]
async fn what_was_refused_for_want_of_room_is_not_there_after_a_restart() {
    let bench = Bench::default();
    let mut log = bench.born().await;
    // 32 bytes of record head, 5 of blob head, 77 of event head, 8 of body: 122, padded to 128.
    for room in [0, 8, 40, 121, 122, 123, 127] {
        bench.disk.faults.room.store(room, SeqCst);
        let refused = append(&log, &[message(1, "12345678")]).await;
        bench.disk.faults.room.store(u64::MAX, SeqCst);
        drop(log);
        log = bench.open_at(0).await.unwrap();
        assert!(matches!(refused, Err(AppendError::NotStored { .. })), "{room}: {refused:?}");
        assert_eq!(events(&log).await, 1, "with room for {room} bytes");
    }
}

/// A sector of zeros in the middle looked like the end: everything behind it, acknowledged, was cut off without a word.
#[tokio::test]
async fn zeros_in_the_middle_are_damage_and_not_the_end() {
    let bench = Bench::default();
    let log = bench.born().await;
    append(&log, &[message(1, "a")]).await.unwrap();
    append(&log, &[message(2, "b")]).await.unwrap();
    drop(log);
    let before = bench.disk.with_file(SEGMENT, |bytes| {
        bytes[64..72].fill(0);
        bytes.clone()
    });
    assert!(matches!(bench.open_at(0).await, Err(LocalError::Corrupt { offset: 64, .. })));
    assert_eq!(before, bench.disk.with_file(SEGMENT, |bytes| bytes.clone()), "nothing was touched");
}

/// An append larger than what a reader reads at once was acknowledged, and not readable after the next start.
#[tokio::test]
async fn an_append_that_could_not_be_read_again_is_refused() {
    let bench = Bench::default();
    let log = bench.born().await;
    let huge = message(1, &"x".repeat(2 * 1024 * 1024));
    assert!(matches!(append(&log, &[huge]).await, Err(AppendError::NotStored { .. })));
    let big = "y".repeat(limits::BATCH_BYTES_MAX);
    assert!(matches!(
        append(&log, &[message(1, &big)]).await.unwrap()[..],
        [Verdict::Stored { .. }]
    ));
    drop(log);
    assert_eq!(events(&bench.open_at(0).await.unwrap()).await, 2);
}

/// Reading was stricter than writing: one envelope with an odd id made itself and all behind it unreadable.
#[tokio::test]
async fn whatever_was_acknowledged_can_be_read_again() {
    let bench = Bench::default();
    let log = bench.born().await;
    let mut odd = message(1, "a");
    odd.from = UserId(0);
    append(&log, &[odd.clone(), message(1, "b")]).await.unwrap();
    drop(log);
    let log = bench.open_at(0).await.unwrap();
    assert_eq!(events(&log).await, 3);
    assert!(matches!(append(&log, &[odd]).await.unwrap()[..], [Verdict::Dup { seq: 2, .. }]));
}

/// Power that fails while a record is written leaves any of its sectors behind, in any mixture of old and new: that is never
/// taken for damage, and never for a record.
#[tokio::test]
async fn a_record_torn_in_any_way_is_cut_and_nothing_else() {
    use rand::{RngExt, SeedableRng};
    const SECTOR: usize = 64;
    let bench = Bench::default();
    let log = bench.born().await;
    append(&log, &[message(1, "stays")]).await.unwrap();
    let before = bench.disk.with_file(SEGMENT, |bytes| bytes.clone()).unwrap();
    append(&log, &[message(2, &"torn ".repeat(300)), message(3, "torn, too")]).await.unwrap();
    let after = bench.disk.with_file(SEGMENT, |bytes| bytes.clone()).unwrap();
    drop(log);
    let changed = |a: &[u8], b: &[u8]| a.iter().zip(b).rposition(|(a, b)| a != b).unwrap();
    let sectors = changed(&before, &after) / SECTOR + 1;
    for seed in 0..60 {
        let mut random = rand_pcg::Pcg32::seed_from_u64(seed);
        let mut image = before.clone();
        for sector in (0..sectors).filter(|_| random.random_bool(0.7)) {
            let at = sector * SECTOR..(sector + 1) * SECTOR;
            image[at.clone()].copy_from_slice(&after[at]);
        }
        let whole = image == after;
        bench.disk.with_file(SEGMENT, |bytes| *bytes = image).unwrap();
        let log = bench.open_at(0).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(events(&log).await, if whole { 4 } else { 2 }, "seed {seed}");
        drop(log);
    }
}
