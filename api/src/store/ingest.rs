//! How the persister writes (LOG.md §4).
//!
//! Owns: the two phases, the cursor, dead letters. Never does: read the log. Talks to: nobody.
//! Start reading at: [`Ingest`].

use std::{collections::HashSet, sync::Arc};

use backplane::{Batch, Logged, Partition};
use protocol::{ConversationId, Pos};

use super::StoreFuture;

/// Events that count, but hold nothing: late duplicates and dead letters.
pub type Holes = HashSet<(ConversationId, u64)>;

/// The right to move the cursor of a partition; a later claim makes it void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Proof.
    pub lease: u64,
    /// Everything up to here is stored.
    pub stored: Pos,
}

/// An event that could not be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its batch.
    pub pos: Pos,
    /// When the log took it.
    pub ts: u64,
    /// The event.
    pub event: Logged,
    /// Why.
    pub reason: String,
}

/// What only the persister calls. Each call is all or nothing, and may be repeated after any failure: repeating changes
/// nothing, whoever repeats it. Batches of a call are in log order.
pub trait Ingest: Send + Sync + std::fmt::Debug {
    /// Everything of the partition up to here is stored, durably.
    fn stored(&self, partition: Partition) -> StoreFuture<'_, Pos>;

    /// Takes the cursor; every earlier claim is void from now on.
    fn claim(&self, partition: Partition) -> StoreFuture<'_, Claim>;

    /// Phase 1: inserts the events. One that is there already (same conversation and seq) stays as it is. An event whose
    /// idempotency key is taken by another seq becomes a hole. `holes` are inserted without body and key.
    /// Returns all holes among these events.
    /// Errors: [`super::StoreError::Rejected`] names the one that is at fault.
    fn insert_events(&self, batches: Vec<Arc<Batch>>, holes: Arc<Holes>) -> StoreFuture<'_, Holes>;

    /// Phase 2: heads, members, message states, reactions, read cursors of senders, search. An event at or below its
    /// conversation's head has been projected and is skipped. `holes` only move the head.
    fn project(&self, batches: Vec<Arc<Batch>>, holes: Arc<Holes>) -> StoreFuture<'_, ()>;

    /// Moves the cursor from `claim.stored` to `to`. What was written before is durable once this has answered.
    /// Errors: [`super::StoreError::Fenced`] if the claim is void or the cursor is somewhere else.
    fn move_cursor(&self, partition: Partition, claim: Claim, to: Pos) -> StoreFuture<'_, Claim>;

    /// Keeps an event that cannot be stored aside for a person, once, and makes its place a hole.
    fn bury(&self, letter: DeadLetter) -> StoreFuture<'_, ()>;

    /// The latest dead letters as (conversation, seq, reason).
    fn dead_letters(&self, limit: usize) -> StoreFuture<'_, Vec<(ConversationId, u64, String)>>;
}
