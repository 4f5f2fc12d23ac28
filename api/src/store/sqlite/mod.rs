//! The store in one SQLite file: the all-in-one mode's.
//!
//! Owns: opening it, its connections' settings, errors. Never does: block the caller. Talks to: rusqlite, on threads of its
//! own. Start reading at: [`SqliteStore::open`], then `ingest.rs`.
//!
//! Durability: the file is in WAL mode. The two phases of the persister commit without a sync (`synchronous = NORMAL`);
//! everything else, the commit that moves the cursor above all, syncs the WAL (`FULL`). A WAL is one sequence, so that sync
//! makes the phases before it durable too, and W never passes what a power cut could take (≤ 4 syncs/s).

mod columns;
mod conversations;
mod ingest;
mod instance;
mod messages;
mod numbers;
mod people;
mod project;
mod schema;
mod search;
mod sessions;
mod states;
mod threads;

use std::{fmt, path::Path};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use super::{StoreError, StoreFuture};
use threads::Lane;

/// Connections that read.
const READERS: usize = 3;
/// Calls that wait for a reader; beyond it `Unavailable`.
const READ_QUEUE_MAX: usize = 1_024;
/// Calls that wait for the writer; beyond it `Unavailable`.
const WRITE_QUEUE_MAX: usize = 512;
/// Prepared statements kept per connection: all there are.
const STATEMENTS: usize = 160;
/// Pages of WAL before it is copied into the file: 16 MiB, so that index pages are copied once for many batches.
const CHECKPOINT_PAGES: i64 = 4_096;
/// Page cache of the writer and of each reader, in KiB. Small: what they do not hold is in the system's page cache, and
/// these count against the memory of the process.
const WRITER_CACHE_KIB: i64 = 2 * 1024;
const READER_CACHE_KIB: i64 = 512;

/// The store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A newer WebChat wrote it.
    #[error(
        "the data folder was written by a newer version of WebChat (schema {found}, this one knows {known}); \
         start that version, or restore a backup from before the upgrade"
    )]
    Newer {
        /// In the file.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// SQLite said no.
    #[error("store: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// No thread.
    #[error("store: {0}")]
    Io(#[from] std::io::Error),
}

/// The store. Dropping it ends its threads after what is queued.
pub struct SqliteStore {
    writer: Lane,
    readers: Lane,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SqliteStore")
    }
}

impl SqliteStore {
    /// Opens or makes the file. Blocks for some milliseconds. Calls need a tokio runtime with timers around them.
    pub fn open(file: &Path) -> Result<Self, OpenError> {
        let mut writer = connect(file, OpenFlags::default(), WRITER_CACHE_KIB)?;
        writer.pragma_update(None, "journal_mode", "wal")?;
        writer.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        writer.pragma_update(None, "secure_delete", "fast")?;
        schema::prepare(&mut writer)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let readers = (0..READERS).map(|_| connect(file, flags, READER_CACHE_KIB));
        let readers = readers.collect::<Result<Vec<_>, _>>()?;
        let late = StoreError::Unavailable("no answer in time".to_owned());
        Ok(Self {
            writer: Lane::start("store-write", vec![writer], WRITE_QUEUE_MAX, StoreError::Unknown)?,
            readers: Lane::start("store-read", readers, READ_QUEUE_MAX, late)?,
        })
    }

    /// Reads in one snapshot.
    fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'static, T> {
        self.readers.call(|connection| job(&connection.transaction()?))
    }

    /// Writes in one transaction that is durable when this has answered.
    fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'static, T> {
        self.write_with("FULL", job)
    }

    /// Writes in one transaction that is durable after the next [`Self::write`].
    fn write_unsynced<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'static, T> {
        self.write_with("NORMAL", job)
    }

    fn write_with<T: Send + 'static>(
        &self,
        synchronous: &'static str,
        job: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'static, T> {
        self.writer.call(move |connection| {
            connection.pragma_update(None, "synchronous", synchronous)?;
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = job(&tx)?;
            tx.commit()?;
            Ok(result)
        })
    }
}

fn connect(file: &Path, flags: OpenFlags, cache_kib: i64) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(1))?;
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

impl From<rusqlite::Error> for StoreError {
    /// A disk that is full or away comes back; anything else is a bug or damage.
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::OutOfMemory
                | ErrorCode::OperationInterrupted,
            ) => Self::Unavailable(text),
            _ => Self::Internal(text),
        }
    }
}
