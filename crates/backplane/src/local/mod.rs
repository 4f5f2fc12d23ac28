//! The log of the all-in-one mode: one partition in segment files on this machine (LOG.md §8).
//!
//! Owns: opening a folder and putting the pieces together. Never does: acknowledge before the sync.
//! Talks to: a [`Disk`], an [`Archive`] for what it has forgotten. Start reading at: [`LocalLog::open`], then `writer.rs`.

pub mod disk;
mod live;
mod log;
pub mod memory_disk;
mod reader;
mod revocations;
mod segment;
mod writer;

use std::{fmt, io, path::Path, sync::Arc};

use protocol::{Pos, limits};

use crate::{Archive, sequencer::Mutation};

pub use disk::{Disk, DiskFile, Folder};
pub use live::LocalLive;
pub use log::LocalLog;
pub use memory_disk::MemoryDisk;

/// The local log numbers in one epoch for ever: it is never failed over, and never behind what it acknowledged.
pub const EPOCH: u32 = 1;

/// The log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The disk said no.
    #[error("log folder: {0}")]
    Io(#[from] io::Error),
    /// Another process has the folder.
    #[error(
        "another process uses this data folder; stop it first, or choose another one with --data"
    )]
    InUse,
    /// Damage in the middle of acknowledged data: this is for a person to decide.
    #[error(
        "log segment {segment} is damaged at byte {offset}, with good data behind it; nothing was changed. \
         Restore the folder from a backup, or move the log folder away to go on with what the store holds"
    )]
    Corrupt {
        /// File name.
        segment: String,
        /// Where in it.
        offset: u64,
    },
}

/// Wall clock in Unix milliseconds, passed in.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Called when the disk fails in a way after which no promise can be kept. Product: ends the process.
pub type Fault = Arc<dyn Fn(&str) + Send + Sync>;

/// How the log is set up. [`Options::new`] has the product's values.
#[derive(Clone)]
pub struct Options {
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// Bytes of recent batches kept in memory for followers.
    pub recent_bytes_max: usize,
    /// What is at or below W stays at least this long …
    pub retention_ms: u64,
    /// … or until this much is behind W.
    pub retention_bytes: u64,
    /// Appends that wait for the writer; one more is refused as retryable.
    pub queue_max: usize,
    /// Time.
    pub clock: Clock,
    /// The end.
    pub fault: Fault,
    /// For tests of the tests.
    pub mutation: Mutation,
}

impl Options {
    /// 64 MiB segments; retention of min(15 min, 256 MiB).
    pub fn new(clock: Clock, fault: Fault) -> Self {
        Self {
            segment_bytes: 64 * 1024 * 1024,
            recent_bytes_max: 64 * 1024 * 1024,
            retention_ms: limits::DEDUPE_MS,
            retention_bytes: 256 * 1024 * 1024,
            queue_max: 256,
            clock,
            fault,
            mutation: Mutation::None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("segment_bytes", &self.segment_bytes)
            .finish_non_exhaustive()
    }
}

/// Opens the log in a real folder, with the system's clock; a failing disk ends the process. Needs a tokio runtime around it.
/// `stored`: how far the store is. Everything above is replayed by whoever follows.
pub fn open(folder: &Path, archive: Arc<dyn Archive>, stored: Pos) -> Result<LocalLog, LocalError> {
    let clock: Clock = Arc::new(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(0, |elapsed| elapsed.as_millis() as u64)
    });
    let fault: Fault = Arc::new(|what| {
        tracing::error!(
            what,
            "the disk failed; ending the process so that nothing is promised that cannot be kept"
        );
        std::process::abort();
    });
    LocalLog::open(Arc::new(Folder::open(folder)?), archive, stored, Options::new(clock, fault))
}
