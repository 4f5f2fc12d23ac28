//! What happened in a run, as the clients saw it: the checker's only input.
//!
//! Owns: the records, one log per process (so that nothing is shared while recording). Never does: judge.
//! Talks to: nobody. Start reading at: [`Log`].

use std::collections::HashMap;

use protocol::ConversationId;
use serde::Serialize;

use crate::stamp::MessageId;

/// How one publish ended, over all of its attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Outcome {
    /// Acked: it is durable at this place.
    Ok {
        /// Lifetime of the numbering.
        epoch: u32,
        /// Its place.
        seq: u64,
        /// When the ack was read (nanoseconds on the run's clock).
        at_ns: u64,
    },
    /// Refused, and no attempt is open: it must never appear.
    Fail,
    /// Nobody knows: it may appear, once.
    Info,
}

/// One publish.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Publish {
    /// Which message.
    pub id: MessageId,
    /// Where.
    pub conversation: ConversationId,
    /// When its first attempt was begun.
    pub invoked_ns: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// A slot of a conversation, as somebody saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Slot {
    /// A message of this run.
    Message(MessageId),
    /// Any other durable event.
    Other,
    /// Declared to hold nothing, from this slot to that one.
    HoleTo(u64),
    /// A message whose stamp does not check.
    Corrupt,
}

/// What one device's application was handed, in the order it was handed over.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Delivery {
    /// Lifetime of the numbering.
    pub epoch: u32,
    /// Its place.
    pub seq: u64,
    /// What.
    pub slot: Slot,
}

/// A read that had to reach the reader's own last ack.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Read {
    /// Where.
    pub conversation: ConversationId,
    /// `min_seq` of the request: a seq that the reader was acked.
    pub min_seq: u64,
    /// The last seq of the contiguous answer.
    pub reached: u64,
}

/// A number that may only grow, seen by one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Gauge {
    /// Head of the conversation.
    Head,
    /// `persisted`.
    Persisted,
    /// A read cursor.
    Read,
}

/// One look at a [`Gauge`].
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Observation {
    /// Where.
    pub conversation: ConversationId,
    /// Of what.
    pub gauge: Gauge,
    /// Lifetime of the numbering.
    pub epoch: u32,
    /// The number.
    pub value: u64,
}

/// All that one process (a device) did and saw.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Log {
    /// Which process.
    pub process: String,
    /// Its publishes.
    pub publishes: Vec<Publish>,
    /// What its application was handed, by conversation.
    #[serde(skip)]
    pub deliveries: HashMap<ConversationId, Vec<Delivery>>,
    /// Conversations of which it must have seen everything, from the first delivery's place to the end.
    pub complete: Vec<ConversationId>,
    /// Reads.
    pub reads: Vec<Read>,
    /// Numbers that may only grow, in the order they were seen.
    #[serde(skip)]
    pub observations: Vec<Observation>,
}

/// A conversation as the server holds it after everything healed.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Final {
    /// Every slot in the order it was served. Holes are ranges.
    pub slots: Vec<Delivery>,
    /// The first slot that has to be there.
    pub first: u64,
}

/// A whole run.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// One per process.
    pub logs: Vec<Log>,
    /// The server's own word at the end.
    pub last: HashMap<ConversationId, Final>,
}
