//! The seams between processes: the durable log, live signals, and what a node may ask of the archive.
//!
//! Owns: the traits [`Log`], [`Live`], [`Archive`] and the types that cross them (LOG.md §9).
//! Never does: sockets, HTTP, databases. Talks to: a disk (`local`), Redis (`redis`, a feature).
//! Start reading at: `log.rs`.

pub mod archive;
pub mod codec;
pub mod contract;
pub mod envelope;
pub mod live;
pub mod local;
pub mod log;
pub mod memory_archive;
mod recall;
#[cfg(feature = "redis")]
pub mod redis;
pub mod ring;
pub mod sequencer;
pub mod sim;
pub mod standing;
pub mod tail;

pub use archive::{
    Archive, ArchiveError, Found, GroupSize, Head, Membership, StoredEvent, UserFlags, View,
};
pub use envelope::{Batch, Envelope, Key, Logged};
pub use live::{
    Cursors, Live, LiveError, NodeId, PresenceChange, Revocation, Signal, SignalStream,
};
pub use log::{
    Admitted, AppendError, Appender, Earlier, Follower, Gap, Lease, Log, LogError, LogInfo,
    Partition, ProducerState, ReadError, Verdict,
};

/// A boxed future, as the seams return them: one allocation per batch or call, never per message.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
