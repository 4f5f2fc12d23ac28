//! The contract suite on the local log, the simulated one and the local live state; and on mutants of them, which it must
//! catch.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up fails")]

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use backplane::{
    BoxFuture, Live, Log,
    contract::{LiveHarness, LogHarness, broken, check_live, check_log, check_log_law},
    local::{Disk, Folder, LocalError, LocalLive, LocalLog, MemoryDisk, Options},
    memory_archive::MemoryArchive,
    sequencer::Mutation,
    sim::{Faults, SimLog, SimOptions},
};

/// Where a harness keeps its segments: only memory can lose power.
#[derive(Clone)]
enum Place {
    Memory(MemoryDisk),
    Folder(PathBuf),
}

struct Local {
    place: Place,
    archive: MemoryArchive,
    now: Arc<AtomicU64>,
    options: Options,
    log: Option<LocalLog>,
}

impl Local {
    async fn start(place: Place, mutation: Mutation) -> Self {
        let now = Arc::new(AtomicU64::new(1_000));
        let clock = Arc::clone(&now);
        let mut options =
            Options::new(Arc::new(move || clock.load(SeqCst)), Arc::new(|_: &str| ()));
        options.segment_bytes = 16 * 1024;
        options.recent_bytes_max = 8 * 1024;
        options.mutation = mutation;
        let archive = MemoryArchive::default();
        let mut local = Self { place, archive, now, options, log: None };
        local.open().await;
        local
    }

    async fn open(&mut self) {
        self.log = loop {
            let disk: Arc<dyn Disk> = match &self.place {
                Place::Memory(disk) => Arc::new(disk.clone()),
                Place::Folder(path) => Arc::new(Folder::open(path).unwrap()),
            };
            let archive = Arc::new(self.archive.clone());
            match LocalLog::open(disk, archive, self.archive.stored(), self.options.clone()) {
                Ok(log) => break Some(log),
                // The writer of the run before lets go of the lock when it has ended.
                Err(LocalError::InUse) => tokio::task::yield_now().await,
                Err(other) => panic!("{other}"),
            }
        };
    }
}

impl LogHarness for Local {
    fn log(&self) -> Arc<dyn Log> {
        Arc::new(self.log.clone().unwrap())
    }

    fn archive(&self) -> MemoryArchive {
        self.archive.clone()
    }

    fn crash(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Place::Memory(disk) = &self.place {
                disk.crash();
            }
            self.log = None;
            self.open().await;
        })
    }

    fn pass(&mut self, ms: u64) {
        self.now.fetch_add(ms, SeqCst);
    }

    fn retention_ms(&self) -> u64 {
        self.options.retention_ms
    }
}

async fn on_memory(mutation: Mutation, swallow_sync: bool) -> Local {
    let disk = MemoryDisk::default();
    disk.faults.swallow_sync.store(swallow_sync, SeqCst);
    Local::start(Place::Memory(disk), mutation).await
}

#[tokio::test]
async fn the_local_log_keeps_the_contract_on_a_disk_that_loses_power() {
    let report = check_log(async || on_memory(Mutation::None, false).await).await;
    assert_eq!(broken(&report), Vec::<String>::new());
}

#[tokio::test]
async fn the_local_log_keeps_the_contract_in_a_real_folder() {
    let base = std::env::temp_dir().join(format!("webchat-contract-{}", std::process::id()));
    let count = AtomicU64::new(0);
    let report = check_log(async || {
        let path = base.join(count.fetch_add(1, SeqCst).to_string());
        let _ = std::fs::remove_dir_all(&path);
        Local::start(Place::Folder(path), Mutation::None).await
    })
    .await;
    let _ = std::fs::remove_dir_all(&base);
    assert_eq!(broken(&report), Vec::<String>::new());
}

struct Simulated {
    log: SimLog,
    archive: MemoryArchive,
    now: Arc<AtomicU64>,
}

impl Simulated {
    fn start(faults: Faults, mutation: Mutation, swallow_sync: bool) -> Self {
        let (archive, now) = (MemoryArchive::default(), Arc::new(AtomicU64::new(1_000)));
        let clock = Arc::clone(&now);
        let options = SimOptions {
            clock: Arc::new(move || clock.load(SeqCst)),
            seed: 7,
            faults,
            retention_ms: 60_000,
            swallow_sync,
            mutation,
        };
        Self { log: SimLog::new(Arc::new(archive.clone()), options), archive, now }
    }
}

impl LogHarness for Simulated {
    fn log(&self) -> Arc<dyn Log> {
        Arc::new(self.log.clone())
    }

    fn archive(&self) -> MemoryArchive {
        self.archive.clone()
    }

    fn crash(&mut self) -> BoxFuture<'_, ()> {
        self.log.crash(0);
        Box::pin(std::future::ready(()))
    }

    fn pass(&mut self, ms: u64) {
        self.now.fetch_add(ms, SeqCst);
    }

    fn retention_ms(&self) -> u64 {
        60_000
    }
}

#[tokio::test]
async fn the_simulated_log_keeps_the_contract() {
    // What becomes of a lost or late push is found out by a probe, which the laws do not make.
    let network = Faults { push_early: 300, double_push: 300, ..Faults::default() };
    for faults in [Faults::default(), network] {
        let report = check_log(async || Simulated::start(faults, Mutation::None, false)).await;
        assert_eq!(broken(&report), Vec::<String>::new());
    }
}

/// Mutation, whether the sync is swallowed, the law that breaks, and how.
const MUTANTS: [(Mutation, bool, &str, &str); 6] = [
    (Mutation::DedupeOff, false, "the same batch twice is all Dup", "verdicts of a re-send"),
    (
        Mutation::MverUnchecked,
        false,
        "an old membership version is stale",
        "authorised before the birth",
    ),
    (Mutation::AckBeforeAppend, false, "stored is in read after a crash", "is not at"),
    (Mutation::GapUnchecked, false, "no n is skipped without a Gap", "a follower behind the trim"),
    (
        Mutation::TrimUnchecked,
        false,
        "trim stops at W − retention",
        "a trim of what is stored and young",
    ),
    (Mutation::None, true, "stored is in read after a crash", "is not at"),
];

/// The words are those of the law, so that a law that broke for another reason (or did not end) does not count.
#[tokio::test]
async fn every_mutant_is_caught_by_the_law_that_is_there_for_it() {
    for (mutation, swallow_sync, law, why) in MUTANTS {
        let local = check_log_law(law, async || on_memory(mutation, swallow_sync).await).await;
        let simulated = async || Simulated::start(Faults::default(), mutation, swallow_sync);
        let simulated = check_log_law(law, simulated).await;
        for outcome in [local, simulated] {
            let what = format!("{mutation:?}, fsync removed: {swallow_sync}, {law}: {outcome:?}");
            assert!(outcome.is_err_and(|seen| seen.contains(why)), "{what}");
        }
    }
}

struct LocalLiveHarness {
    live: LocalLive,
    now: Arc<AtomicU64>,
}

impl LiveHarness for LocalLiveHarness {
    fn live(&self) -> Arc<dyn Live> {
        Arc::new(self.live.clone())
    }

    fn now_ms(&self) -> u64 {
        self.now.load(SeqCst)
    }

    fn pass(&mut self, ms: u64) {
        self.now.fetch_add(ms, SeqCst);
    }
}

#[tokio::test]
async fn the_local_live_state_keeps_the_contract() {
    let report = check_live(async || {
        let now = Arc::new(AtomicU64::new(1_000));
        let clock = Arc::clone(&now);
        LocalLiveHarness { live: LocalLive::new(Arc::new(move || clock.load(SeqCst))), now }
    })
    .await;
    assert_eq!(broken(&report), Vec::<String>::new());
}
