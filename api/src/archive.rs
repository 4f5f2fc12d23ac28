//! The store as brokers ask it.
//!
//! Owns: nothing; it maps errors. Never does: writes, waiting for the log. Talks to: the store.
//! Start reading at: [`StoreArchive`].

use std::sync::Arc;

use backplane::{Archive, ArchiveError, BoxFuture, Found, Head, Key, Partition, StoredEvent, View};
use protocol::{ConversationId, SessionId, UserId};

use crate::store::{Store, StoreError};

/// [`Archive`] over a [`Store`] of the same process. Clones share it.
#[derive(Debug, Clone)]
pub struct StoreArchive {
    store: Arc<dyn Store>,
    partitions: Partition,
}

impl StoreArchive {
    /// `partitions`: how many positions a view names.
    pub fn new(store: Arc<dyn Store>, partitions: Partition) -> Self {
        Self { store, partitions }
    }
}

fn unavailable(error: StoreError) -> ArchiveError {
    if !error.is_transient() {
        tracing::error!(%error, "the store cannot answer a broker");
    }
    ArchiveError(error.to_string())
}

impl Archive for StoreArchive {
    fn view(&self, user: UserId) -> BoxFuture<'_, Result<View, ArchiveError>> {
        Box::pin(async move { self.store.view(user, self.partitions).await.map_err(unavailable) })
    }

    fn head(
        &self,
        conversation: ConversationId,
    ) -> BoxFuture<'_, Result<Option<Head>, ArchiveError>> {
        Box::pin(async move { self.store.head(conversation).await.map_err(unavailable) })
    }

    fn find(&self, key: Key) -> BoxFuture<'_, Result<Found, ArchiveError>> {
        Box::pin(async move { self.store.find(key).await.map_err(unavailable) })
    }

    fn contacts(
        &self,
        user: UserId,
        people: Vec<UserId>,
    ) -> BoxFuture<'_, Result<Vec<UserId>, ArchiveError>> {
        Box::pin(async move { self.store.contacts(user, people).await.map_err(unavailable) })
    }

    fn ended(
        &self,
        sessions: Vec<(UserId, SessionId)>,
    ) -> BoxFuture<'_, Result<Vec<SessionId>, ArchiveError>> {
        Box::pin(async move {
            let mut ended = Vec::new();
            for (user, id) in sessions {
                // Whatever the time is: a session whose own end has come outlives every token of it.
                let found = self.store.session(id, 0).await.map_err(unavailable)?;
                if found.is_none_or(|session| session.user != user) {
                    ended.push(id);
                }
            }
            Ok(ended)
        })
    }

    fn range(
        &self,
        conversation: ConversationId,
        from: u64,
        to: u64,
    ) -> BoxFuture<'_, Result<Vec<StoredEvent>, ArchiveError>> {
        Box::pin(
            async move { self.store.events(conversation, from, to).await.map_err(unavailable) },
        )
    }
}
