//! The durable way: the local log by batch size, and the append queue in front of it, where batches form by themselves.
//!
//! On a disk in memory that syncs for nothing (what is left is our own work) and in a real temporary folder (with every
//! sync). `elements` are envelopes. `TMPDIR` chooses the disk: a tmpfs has no syncs worth the name.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use backplane::{
    Envelope, Log, NodeId, Verdict,
    local::{Disk, Folder, LocalLog, MemoryDisk, Options},
    memory_archive::MemoryArchive,
};
use benches::input::{created, envelope};
use broker::{BrokerConfig, Node, append_all, shard::AppendOutcome};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use protocol::{ConversationId, Pos, UserId};
use tokio::runtime::Runtime;

/// Envelopes per batch; for the queue: publishes in flight.
const SIZES: [usize; 4] = [1, 16, 64, 256];
/// Users who write in turn, as the users of a node do.
const USERS: u64 = 1_000;
const TEXT_BYTES: usize = 100;
/// Appends between two trims: some 30 MB.
const TRIM_EVERY: u64 = 100_000;

/// A log in which each user has a conversation, and what each sends next.
struct Fixture {
    log: Arc<LocalLog>,
    next: Vec<u64>,
    turn: u64,
    untrimmed: u64,
}

impl Fixture {
    async fn open(disk: Arc<dyn Disk>) -> Self {
        let wall = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let clock = Arc::new(move || wall().as_millis() as u64);
        let fault = Arc::new(|what: &str| panic!("the disk failed: {what}"));
        let mut options = Options::new(clock, fault);
        // Nothing reads behind the store here: what is stored may go at once.
        (options.segment_bytes, options.retention_ms, options.retention_bytes) = (16 << 20, 0, 0);
        let archive = Arc::new(MemoryArchive::default());
        let log = LocalLog::open(disk, archive, Pos::new(1, 0), options).expect("a fresh log");
        let mut appender = log.appender(0);
        for user in 1..=USERS {
            let born = appender.append(&[created(conversation(user), UserId(user))]).await;
            assert!(matches!(born.as_deref(), Ok([Verdict::Stored { .. }])));
        }
        Self { log: Arc::new(log), next: vec![2; USERS as usize], turn: 0, untrimmed: 0 }
    }

    fn batch(&mut self, size: usize) -> Vec<Envelope> {
        (0..size)
            .map(|_| {
                let user = self.turn % USERS + 1;
                self.turn += 1;
                let no = &mut self.next[user as usize - 1];
                *no += 1;
                envelope(conversation(user), UserId(user), *no - 1, TEXT_BYTES)
            })
            .collect()
    }

    async fn trim(&mut self, appended: u64) {
        self.untrimmed += appended;
        if self.untrimmed < TRIM_EVERY {
            return;
        }
        self.untrimmed = 0;
        let lease = self.log.lease(0).await.expect("a lease");
        let end = self.log.end(0).await.expect("an end");
        self.log.advance(0, end, lease).await.expect("the store has all");
        let upto = self.log.trimmable(0).await.expect("a floor");
        self.log.trim(0, upto).await.expect("trimmed");
    }
}

fn conversation(user: u64) -> ConversationId {
    ConversationId::direct(UserId(user), UserId(USERS + 9))
}

/// One call per batch: the cost of the log alone.
async fn appends(fixture: &mut Fixture, size: usize, rounds: u64) -> Duration {
    let (mut appender, mut spent) = (fixture.log.appender(0), Duration::ZERO);
    for _ in 0..rounds {
        let batch = fixture.batch(size);
        let begun = Instant::now();
        let verdicts = appender.append(&batch).await.expect("appended");
        spent += begun.elapsed();
        assert!(matches!(verdicts.last(), Some(Verdict::Stored { .. })), "{verdicts:?}");
        fixture.trim(size as u64).await;
    }
    spent
}

/// Through the queue, `size` in flight: how well batches form.
async fn queued(fixture: &mut Fixture, node: &Arc<Node>, size: usize, rounds: u64) -> Duration {
    let (mut left, mut spent) = (rounds * size as u64, Duration::ZERO);
    while left > 0 {
        let envelopes = fixture.batch(left.min(10_000) as usize);
        let count = envelopes.len() as u64;
        let log: Arc<dyn Log> = Arc::<LocalLog>::clone(&fixture.log);
        let begun = Instant::now();
        let outcomes = append_all(Arc::clone(node), log, envelopes, size).await;
        spent += begun.elapsed();
        let last = outcomes.last();
        assert!(matches!(last, Some(AppendOutcome::Verdict(Verdict::Stored { .. }))), "{last:?}");
        fixture.trim(count).await;
        left -= count;
    }
    spent
}

fn measure(criterion: &mut Criterion, name: &str, disk: Arc<dyn Disk>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime: Runtime = runtime.expect("a runtime");
    let mut fixture = runtime.block_on(Fixture::open(disk));
    let node = Node::new(BrokerConfig { shards: 1, ..BrokerConfig::new(NodeId(1)) });
    let mut group = criterion.benchmark_group(format!("append/{name}"));
    group.sample_size(20);
    for size in SIZES {
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::new("batch of", size), |bencher| {
            bencher.iter_custom(|rounds| runtime.block_on(appends(&mut fixture, size, rounds)));
        });
        group.bench_function(BenchmarkId::new("queue, in flight", size), |bencher| {
            bencher
                .iter_custom(|rounds| runtime.block_on(queued(&mut fixture, &node, size, rounds)));
        });
    }
    group.finish();
}

fn in_memory(criterion: &mut Criterion) {
    let disk = MemoryDisk::default();
    disk.faults.swallow_sync.store(true, Ordering::SeqCst);
    measure(criterion, "memory", Arc::new(disk));
}

fn in_folder(criterion: &mut Criterion) {
    let path = std::env::temp_dir().join(format!("webchat-bench-log-{}", std::process::id()));
    let folder = Folder::open(&path).expect("the folder for temporary files can be written");
    measure(criterion, "folder", Arc::new(folder));
    let _ = std::fs::remove_dir_all(&path);
}

criterion_group!(benches, in_memory, in_folder);
criterion_main!(benches);
