//! What a data folder holds, opened: store, log, keys, and the persister between them.
//!
//! Owns: the order of opening. Never does: listen. Talks to: api, the local log. Start reading at: [`Parts::open`].

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use api::{
    Persister, StoreArchive,
    clock::Clock,
    metrics::Metrics,
    persister,
    store::{Ingest, Store, sqlite::SqliteStore},
};
use backplane::{
    Archive,
    local::{self, LocalLive, LocalLog},
};
use token::Keyring;
use tokio::time::timeout;

/// The local log has one partition.
const PARTITIONS: u16 = 1;
/// Time for the last events to reach the store at the end. What does not is stored at the next start.
const LAST_STORE_WITHIN: Duration = Duration::from_secs(5);
/// Time for the log's threads to end.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// Everything that is kept, and what moves it.
pub(crate) struct Parts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) log: Arc<LocalLog>,
    pub(crate) live: Arc<LocalLive>,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) persister: Persister,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Clock,
}

impl Parts {
    /// Opens a folder, made if it is not there, and brings the store up to the log. Errors: in use, damaged, or not ours.
    pub(crate) async fn open(data: &Path) -> anyhow::Result<Self> {
        let folder = || format!("data folder {}", data.display());
        std::fs::create_dir_all(data.join("log")).with_context(folder)?;
        restrict(data).with_context(folder)?;
        let sqlite = Arc::new(SqliteStore::open(&data.join("store.db")).with_context(folder)?);
        let (store, ingest): (Arc<dyn Store>, Arc<dyn Ingest>) = (sqlite.clone(), sqlite);
        let archive: Arc<dyn Archive> = Arc::new(StoreArchive::new(Arc::clone(&store), PARTITIONS));
        let stored = ingest.stored(0).await?;
        let log = local::open(&data.join("log"), Arc::clone(&archive), stored);
        let log = Arc::new(log.with_context(folder)?);
        let keyring = Arc::new(Keyring::open(&data.join("keys"))?);
        let (clock, metrics) = (Clock::default(), Metrics::default());
        let seams = persister::Seams { log: log.clone(), store: ingest, node: rand::random() };
        let persister = Persister::start(&seams, &clock, &metrics);
        persister.caught_up().await?;
        let time = clock.clone();
        let live = LocalLive::open(&data.join("revocations"), Arc::new(move || time.now_ms()));
        let live = Arc::new(live.with_context(folder)?);
        Ok(Self { store, archive, log, live, keyring, persister, metrics, clock })
    }

    /// Lets the store catch up, and the log let go of its folder.
    pub(crate) async fn close(self) {
        // Both only save work at the next start: an end without them loses nothing.
        let _ = timeout(LAST_STORE_WITHIN, self.persister.caught_up()).await;
        let closed = self.log.closed();
        drop(self);
        let _ = timeout(CLOSE_WITHIN, closed).await;
    }
}

/// Messages and keys are for their owner's eyes.
fn restrict(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
}
