//! The durable log: append, follow, read, trim. LOG.md is the contract in prose; `contract/` is it as tests.
//!
//! Owns: the trait and its answers. Never does: IO. Talks to: nobody. Start reading at: [`Log`].

use std::sync::Arc;

use protocol::{ConversationId, Pos, Producer, UserId};

use crate::{Batch, BoxFuture, Envelope};

/// Number of a stream, 0 ..= 3.
pub type Partition = u16;

/// Fixed slots that conversations hash into; slots map to partitions.
pub const SLOTS: u16 = 1024;

/// What an implementation is, and what it really promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogInfo {
    /// Streams.
    pub partitions: Partition,
    /// The durability level really in force: `fsync` for the local log, `L0` … `L4` for Redis.
    pub durability: String,
    /// Envelopes in one batch, at most.
    pub batch_envelopes_max: usize,
    /// Bytes ([`Envelope::cost`]) in one batch, at most.
    pub batch_bytes_max: usize,
}

impl LogInfo {
    /// The partition of a conversation: its slot (a mix of all 128 bits), folded onto the partitions.
    pub fn partition_of(&self, conversation: ConversationId) -> Partition {
        let folded = (conversation.0 >> 64) as u64 ^ conversation.0 as u64;
        let slot = (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as u16;
        slot % SLOTS % self.partitions.max(1)
    }
}

/// How much of a log's memory is left (LOG.md §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Room {
    /// Enough.
    #[default]
    Green,
    /// More than half is used: somebody should look why it is not trimmed.
    Yellow,
    /// Appends are answered `NotStored` until there is room again; whatever makes room goes on.
    Red,
}

/// The answer to one envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Durable now.
    Stored {
        /// Its place in the conversation.
        seq: u64,
        /// The batch's place.
        pos: Pos,
        /// When.
        ts: u64,
    },
    /// The same publish was stored before: what [`Verdict::Stored`] said then, but for the epoch.
    Dup {
        /// Its place in the conversation.
        seq: u64,
        /// Its batch's place in the present epoch; `n` = 0: the store has it, at or below W.
        pos: Pos,
        /// When it was stored.
        ts: u64,
    },
    /// The key was used for other content.
    Reused {
        /// What is stored under the key.
        seq: u64,
    },
    /// A gap in the producer's numbers.
    OutOfOrder {
        /// The next good `no`.
        expected: u64,
    },
    /// Authorised under another membership than the log's.
    StaleMembership {
        /// The log's.
        mver: u64,
    },
    /// Older than what the log remembers of this producer: ask [`crate::Archive::find`], then [`Log::install`].
    OldId,
    /// The conversation was never created.
    UnknownConversation,
}

impl Verdict {
    /// The place that it names, if it names one.
    pub fn pos(&self) -> Option<Pos> {
        match self {
            Self::Stored { pos, .. } | Self::Dup { pos, .. } => Some(*pos),
            _ => None,
        }
    }
}

/// Why an append has no verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Certainly nothing of the batch was stored.
    #[error("not stored, retry after {retry_after_ms} ms")]
    NotStored {
        /// When it is worth trying again.
        retry_after_ms: u64,
    },
    /// Maybe stored: retry the *same* batch before anything else.
    #[error("outcome unknown")]
    Unknown,
    /// The dataset changed under us; nothing stored; `rejoin` first.
    #[error("fenced in epoch {epoch}")]
    Fenced {
        /// The epoch that was in force.
        epoch: u32,
    },
}

/// Any other failure of the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Cannot be reached now.
    #[error("log unavailable: {0}")]
    Unavailable(String),
    /// A trim above W − retention, or an advance by somebody without the lease.
    #[error("refused: {0}")]
    Refused(&'static str),
}

/// Why a read from a position has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The position is behind the trim.
    #[error("trimmed, first is {first}")]
    Trimmed {
        /// The first batch that is there.
        first: Pos,
    },
    /// Cannot be reached now.
    #[error("log unavailable: {0}")]
    Unavailable(String),
}

/// Why a follower cannot give the next batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Gap {
    /// The follower's position is behind the trim.
    #[error("trimmed, first is {first}")]
    Trimmed {
        /// The first batch that is there.
        first: Pos,
    },
    /// A new lifetime began; what was seen up to `common` stands.
    #[error("epoch changed to {epoch}, common up to {common}")]
    EpochChanged {
        /// The new one.
        epoch: u32,
        /// Last position both share.
        common: Pos,
    },
    /// The log is closed (shutdown).
    #[error("log closed")]
    Closed,
}

/// The right to advance W in one partition; a later one makes earlier ones void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lease(pub u64);

/// The answer to [`Log::rejoin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    /// Epoch from here on.
    pub epoch: u32,
    /// The log's end.
    pub end: Pos,
    /// Whether this node holds the right to restore batches.
    pub restore: Option<Lease>,
}

/// A publish that is stored: enough to answer a re-send of it as the first one was answered (R11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Earlier {
    /// Its number.
    pub no: u64,
    /// Hash of kind and body.
    pub hash: u64,
    /// Its place in the conversation.
    pub seq: u64,
    /// Its batch's place when it was stored; `n` = 0 when the archive tells of it.
    pub pos: Pos,
    /// When it was stored.
    pub ts: u64,
}

/// What the log remembers of one producer in one conversation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProducerState {
    /// The highest `no` stored.
    pub last: u64,
    /// The latest of them, newest last; at most [`protocol::limits::DEDUPE_WINDOW`].
    pub recent: Vec<Earlier>,
}

/// The ordered, durable log.
pub trait Log: Send + Sync + std::fmt::Debug {
    /// Partitions, the level really in force, batch caps.
    fn info(&self) -> LogInfo;

    /// How much memory a partition has left, as of the last look. A log that grows on disk has no such limit.
    fn room(&self, _partition: Partition) -> Room {
        Room::Green
    }

    /// The share of its memory that a partition uses, as of the last look; 0 if there is no limit.
    fn memory_ratio(&self, _partition: Partition) -> f64 {
        0.0
    }

    /// A new appender. Several may exist; each has one batch in flight.
    fn appender(&self, partition: Partition) -> Box<dyn Appender>;

    /// Reads every batch after `after`, for ever.
    fn follow(&self, partition: Partition, after: Pos) -> Box<dyn Follower>;

    /// Batches after `after`, at least one if there is one, up to about `bytes_max` ([`Batch::cost`]).
    fn read(
        &self,
        partition: Partition,
        after: Pos,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Vec<Arc<Batch>>, ReadError>>;

    /// The last durable position.
    fn end(&self, partition: Partition) -> BoxFuture<'_, Result<Pos, LogError>>;

    /// The first position that can still be read from (everything up to it is trimmed; `n` = 0: nothing is).
    fn first(&self, partition: Partition) -> BoxFuture<'_, Result<Pos, LogError>>;

    /// W: the position up to which everything is in the store.
    fn watermark(&self, partition: Partition) -> BoxFuture<'_, Result<Pos, LogError>>;

    /// Takes the persister's lease; every earlier one is void from now on.
    fn lease(&self, partition: Partition) -> BoxFuture<'_, Result<Lease, LogError>>;

    /// Moves W. Monotone; only with the newest lease; only after the store is written.
    fn advance(
        &self,
        partition: Partition,
        to: Pos,
        lease: Lease,
    ) -> BoxFuture<'_, Result<(), LogError>>;

    /// Drops what is at or below `upto`. Refuses above W − retention.
    fn trim(&self, partition: Partition, upto: Pos) -> BoxFuture<'_, Result<(), LogError>>;

    /// W − retention: the highest position that [`Log::trim`] takes now.
    fn trimmable(&self, partition: Partition) -> BoxFuture<'_, Result<Pos, LogError>>;

    /// After `OldId`: installs what the archive knows of a producer, if the log still knows nothing (compare-and-set).
    fn install(
        &self,
        conversation: ConversationId,
        user: UserId,
        producer: Producer,
        state: ProducerState,
    ) -> BoxFuture<'_, Result<(), LogError>>;

    /// After `Fenced`: tells what this node has seen, and asks to go on. `seen` is the highest position that it knows of:
    /// followed, or named by a verdict, or (a persister) begun to store (ADR 0007). The local log is never fenced: it answers
    /// at once.
    fn rejoin(
        &self,
        partition: Partition,
        node: u64,
        seen: Pos,
        watermark: Pos,
    ) -> BoxFuture<'_, Result<Admitted, LogError>>;

    /// While fenced, with the lease of [`Admitted`]: writes lost batches again under their original seqs.
    fn restore(
        &self,
        partition: Partition,
        batches: Vec<Arc<Batch>>,
        lease: Lease,
    ) -> BoxFuture<'_, Result<Pos, LogError>>;
}

/// Writes batches. `&mut`: one in flight.
pub trait Appender: Send + std::fmt::Debug {
    /// Appends; one verdict per envelope, in order. A batch is all or nothing: envelopes that fail validation get their
    /// verdict, all others are stored together under one position. Durable before it answers.
    fn append<'a>(
        &'a mut self,
        envelopes: &'a [Envelope],
    ) -> BoxFuture<'a, Result<Vec<Verdict>, AppendError>>;
}

/// Reads batches. `n` strictly + 1, durable before returned.
pub trait Follower: Send + std::fmt::Debug {
    /// The next batch; waits for it. Cancel safety: dropping the future loses nothing.
    fn next(&mut self) -> BoxFuture<'_, Result<Arc<Batch>, Gap>>;
}
