//! A store that takes messages and keeps none: what log and brokers cost, without what storing costs.
//!
//! Owns: nothing; cursor and claims are the real store's. Never does: run where people write (`store_counts_only`, off by
//! default). Talks to: the store behind it. Start reading at: [`CountingIngest`].
//!
//! People and conversations are those of the real store, from before: what the log takes from now on is in no projection.
//! W still moves, so the log is trimmed and `persisted` is said. Who asks for what would have been stored is refused.

use std::sync::Arc;

use backplane::{
    Archive, ArchiveError, Batch, BoxFuture, Found, Head, Key, Partition, StoredEvent, View,
};
use protocol::{ConversationId, Pos, SessionId, UserId};

use super::{Claim, DeadLetter, Holes, Ingest, StoreFuture};

/// Why a read is refused.
pub const STORES_NOTHING: &str = "this api stores no messages (store_counts_only)";

/// What the persister writes into. It counts by itself what it has handed over.
#[derive(Debug)]
pub struct CountingIngest(pub Arc<dyn Ingest>);

impl Ingest for CountingIngest {
    fn stored(&self, partition: Partition) -> StoreFuture<'_, Pos> {
        self.0.stored(partition)
    }

    fn claim(&self, partition: Partition) -> StoreFuture<'_, Claim> {
        self.0.claim(partition)
    }

    fn insert_events(&self, _: Vec<Arc<Batch>>, holes: Arc<Holes>) -> StoreFuture<'_, Holes> {
        Box::pin(async move { Ok(Holes::clone(&holes)) })
    }

    fn project(&self, _: Vec<Arc<Batch>>, _: Arc<Holes>) -> StoreFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn move_cursor(&self, partition: Partition, claim: Claim, to: Pos) -> StoreFuture<'_, Claim> {
        self.0.move_cursor(partition, claim, to)
    }

    fn bury(&self, letter: DeadLetter) -> StoreFuture<'_, ()> {
        self.0.bury(letter)
    }

    fn dead_letters(&self, limit: usize) -> StoreFuture<'_, Vec<(ConversationId, u64, String)>> {
        self.0.dead_letters(limit)
    }
}

/// The same for brokers: views, heads and contacts are from before, ranges are refused.
#[derive(Debug)]
pub struct CountingArchive(pub Arc<dyn Archive>);

impl Archive for CountingArchive {
    fn view(&self, user: UserId) -> BoxFuture<'_, Result<View, ArchiveError>> {
        self.0.view(user)
    }

    fn head(
        &self,
        conversation: ConversationId,
    ) -> BoxFuture<'_, Result<Option<Head>, ArchiveError>> {
        self.0.head(conversation)
    }

    fn find(&self, key: Key) -> BoxFuture<'_, Result<Found, ArchiveError>> {
        self.0.find(key)
    }

    fn contacts(
        &self,
        user: UserId,
        people: Vec<UserId>,
    ) -> BoxFuture<'_, Result<Vec<UserId>, ArchiveError>> {
        self.0.contacts(user, people)
    }

    fn ended(
        &self,
        sessions: Vec<(UserId, SessionId)>,
    ) -> BoxFuture<'_, Result<Vec<SessionId>, ArchiveError>> {
        self.0.ended(sessions)
    }

    fn range(
        &self,
        _: ConversationId,
        _: u64,
        _: u64,
    ) -> BoxFuture<'_, Result<Vec<StoredEvent>, ArchiveError>> {
        Box::pin(async { Err(ArchiveError(STORES_NOTHING.to_owned())) })
    }
}
