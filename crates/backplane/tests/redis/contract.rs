//! The contract suite on a real server, unchanged.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use backplane::{
    BoxFuture, Log,
    contract::{LogHarness, broken, check_log},
    memory_archive::MemoryArchive,
    redis::{Options, RedisLog},
};
use protocol::Pos;

use crate::{bench::open_until_admitted, server::Server};

struct OnRedis {
    server: Server,
    archive: MemoryArchive,
    ahead: Arc<AtomicU64>,
    log: RedisLog,
}

const RETENTION_MS: u64 = 60_000;

fn options(server: &Server, archive: &MemoryArchive, ahead: &Arc<AtomicU64>) -> Options {
    let clock = Arc::clone(ahead);
    let mut options = Options::new(vec![server.url()], 1, Arc::new(archive.clone()));
    options.retention_ms = RETENTION_MS;
    // A start without a list of nodes waits for a lease to run out.
    options.lease_ms = 20;
    options.answer_timeout = Duration::from_secs(5);
    options.ahead_ms = Arc::new(move || clock.load(SeqCst));
    options
}

impl OnRedis {
    async fn start() -> Self {
        let (server, archive) = (Server::start(), MemoryArchive::default());
        let ahead = Arc::new(AtomicU64::new(0));
        let log = open_until_admitted(options(&server, &archive, &ahead), Pos::default()).await;
        Self { server, archive, ahead, log }
    }
}

impl LogHarness for OnRedis {
    fn log(&self) -> Arc<dyn Log> {
        Arc::new(self.log.clone())
    }

    fn archive(&self) -> MemoryArchive {
        self.archive.clone()
    }

    /// The one node has seen all that there was before the kill.
    fn crash(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let seen = self.log.end(0).await.unwrap();
            self.server.restart();
            let options = options(&self.server, &self.archive, &self.ahead);
            self.log = open_until_admitted(options, seen).await;
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
    let report = check_log(OnRedis::start).await;
    assert_eq!(broken(&report), Vec::<String>::new());
}
