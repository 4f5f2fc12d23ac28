//! The contract suite on a real server, unchanged.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use backplane::{
    BoxFuture, Log, Verdict,
    contract::{LogHarness, broken, check_log, check_log_law},
    memory_archive::MemoryArchive,
    redis::{Level, Options, RedisLog},
    sequencer::Mutation,
};
use protocol::Pos;

use crate::{
    bench::{append, born, message, open_until_admitted, options as of_node, rejoin, store},
    server::{Server, copy_folder},
};

struct OnRedis {
    server: Server,
    archive: MemoryArchive,
    ahead: Arc<AtomicU64>,
    mutation: Mutation,
    log: RedisLog,
}

const RETENTION_MS: u64 = 60_000;

fn options(
    server: &Server,
    archive: &MemoryArchive,
    ahead: &Arc<AtomicU64>,
    mutation: Mutation,
) -> Options {
    let clock = Arc::clone(ahead);
    let mut options = Options::new(vec![server.url()], 1, Arc::new(archive.clone()));
    options.level_min = Level::L0;
    options.mutation = mutation;
    options.retention_ms = RETENTION_MS;
    // A start without a list of nodes waits for a lease to run out.
    options.lease_ms = 20;
    options.answer_timeout = Duration::from_secs(5);
    options.ahead_ms = Arc::new(move || clock.load(SeqCst));
    options
}

impl OnRedis {
    async fn start(mutation: Mutation, settings: &[&str]) -> Self {
        let (server, archive) = (Server::start_with(settings), MemoryArchive::default());
        let ahead = Arc::new(AtomicU64::new(0));
        let options = options(&server, &archive, &ahead, mutation);
        let log = open_until_admitted(options, Pos::default()).await;
        Self { server, archive, ahead, mutation, log }
    }
}

impl LogHarness for OnRedis {
    fn log(&self) -> Arc<dyn Log> {
        Arc::new(self.log.clone())
    }

    fn archive(&self) -> MemoryArchive {
        self.archive.clone()
    }

    /// The one node has seen all that there was before the kill. It gives nothing back: a log has to keep what it has.
    fn crash(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let seen = self.log.end(0).await.unwrap();
            self.server.restart();
            let options = options(&self.server, &self.archive, &self.ahead, self.mutation);
            self.log = RedisLog::open(options).await.unwrap();
            while let Some(lease) = rejoin(&self.log, 1, seen, Pos::default()).await.restore {
                self.log.restore(0, Vec::new(), lease).await.unwrap();
            }
        })
    }

    fn pass(&mut self, ms: u64) {
        self.ahead.fetch_add(ms, SeqCst);
    }

    fn retention_ms(&self) -> u64 {
        RETENTION_MS
    }

    /// It does not ask for a producer's first publish (LOG.md §2).
    fn recognises_late_first(&self) -> bool {
        false
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_redis_log_keeps_the_contract() {
    let report = check_log(async || OnRedis::start(Mutation::None, &[]).await).await;
    assert_eq!(broken(&report), Vec::<String>::new());
}

/// Mutation, settings of the server, the law that breaks, and how.
const MUTANTS: [(Mutation, &[&str], &str, &str); 7] = [
    (Mutation::DedupeOff, &[], "the same batch twice is all Dup", "verdicts of a re-send"),
    (Mutation::AckBeforeAppend, &[], "stored is in read after a crash", "is not at"),
    (Mutation::None, &["--appendonly", "no"], "stored is in read after a crash", "is not at"),
    (
        Mutation::MverUnchecked,
        &[],
        "an old membership version is stale",
        "authorised before the birth",
    ),
    (Mutation::NumbersUnchecked, &[], "numbers of a producer leave no gap", "a gap"),
    (Mutation::GapUnchecked, &[], "no n is skipped without a Gap", "a follower behind the trim"),
    (
        Mutation::TrimUnchecked,
        &[],
        "trim stops at W − retention",
        "a trim of what is stored and young",
    ),
];

/// As in `tests/contract.rs`, with mutants of the functions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mutant_is_caught_by_the_law_that_is_there_for_it() {
    for (mutation, settings, law, why) in MUTANTS {
        let start = async || OnRedis::start(mutation, settings).await;
        let outcome = check_log_law(law, start).await;
        let what = format!("{mutation:?}, {settings:?}, {law}: {outcome:?}");
        assert!(outcome.is_err_and(|seen| seen.contains(why)), "{what}");
    }
}

/// A copy of the data set takes over that lacks the last publish, and somebody appends before anybody has told anything.
async fn a_used_place_is_given_again(mutation: Mutation) -> bool {
    let (mut server, archive) = (Server::start(), MemoryArchive::default());
    let mut options = of_node(&server, 1, &archive);
    options.mutation = mutation;
    let log = open_until_admitted(options, Pos::default()).await;
    store(&log, born()).await;
    let copy = server.folder.with_extension("copy");
    copy_folder(&server.folder, &copy);
    let used = store(&log, message(5, 1)).await;
    server.kill();
    std::fs::remove_dir_all(&server.folder).unwrap();
    std::fs::rename(&copy, &server.folder).unwrap();
    server.restart();
    let again = append(&log, &[message(6, 1)]).await;
    matches!(again.as_deref(), Ok([Verdict::Stored { seq, pos, .. }]) if (*seq, *pos) == used)
}

#[tokio::test]
async fn without_the_fence_a_stale_copy_would_give_used_places_again() {
    assert!(!a_used_place_is_given_again(Mutation::None).await);
    assert!(a_used_place_is_given_again(Mutation::FenceOff).await);
}
