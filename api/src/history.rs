//! Reads that are never older than the log: first the store catches up with it, then it is asked.
//!
//! Owns: that order. Never does: decide who may see what (the app passes a viewer in). Talks to: the log, the store.
//! Start reading at: [`History::settle`].
//!
//! The persister follows the log by some milliseconds, so waiting for it is cheaper than merging what it has not written
//! yet, and there is one answer to every question. While it is behind by more than [`MIN_SEQ_WAIT`], reads are refused as
//! retryable: an answer that is older than the log would be taken for complete.

use std::{sync::Arc, time::Duration};

use backplane::{Head, Log, Partition, StoredEvent};
use protocol::{ConversationId, Pos, UserId};
use tokio::time::Instant;

use crate::{
    config::MIN_SEQ_WAIT,
    persister::Nudge,
    projection::Item,
    store::{
        Anchor, MemberRecord, Store, StoreError, StoredConversation, StoredPage, Summary, Viewer,
    },
};

/// Between two looks at W.
const LOOK_EVERY: Duration = Duration::from_millis(3);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// The store is behind the log, or the log cannot say where it ends: retryable.
    #[error("the store is behind the log")]
    Behind,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A conversation with everybody ever in it.
#[derive(Debug, Clone)]
pub struct Current {
    /// The conversation.
    pub conversation: StoredConversation,
    /// Tombstones included.
    pub members: Vec<MemberRecord>,
}

/// The reader. Cheap to clone.
#[derive(Debug, Clone)]
pub struct History {
    log: Arc<dyn Log>,
    store: Arc<dyn Store>,
    nudge: Nudge,
}

impl History {
    /// A reader of both. `nudge`: asks the persister to store now.
    pub fn new(log: Arc<dyn Log>, store: Arc<dyn Store>, nudge: Nudge) -> Self {
        Self { log, store, nudge }
    }

    /// Waits until everything that is in the log now is in the store. Errors: `Behind` after [`MIN_SEQ_WAIT`].
    async fn settle(&self, partition: Partition) -> Result<(), HistoryError> {
        let end = self.log.end(partition).await.map_err(|_| HistoryError::Behind)?;
        if end.n == 0 {
            return Ok(());
        }
        let deadline = Instant::now() + MIN_SEQ_WAIT;
        while self.reached(partition).await? < end {
            if Instant::now() >= deadline {
                return Err(HistoryError::Behind);
            }
            self.nudge.now();
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    async fn reached(&self, partition: Partition) -> Result<Pos, HistoryError> {
        self.log.watermark(partition).await.map_err(|_| HistoryError::Behind)
    }

    async fn settle_for(&self, conversation: ConversationId) -> Result<(), HistoryError> {
        self.settle(self.log.info().partition_of(conversation)).await
    }

    /// Waits until everything that is in the log now is in the store.
    pub async fn settle_all(&self) -> Result<(), HistoryError> {
        for partition in 0..self.log.info().partitions {
            self.settle(partition).await?;
        }
        Ok(())
    }

    /// Where a conversation stands; `None` = never created.
    pub async fn head(&self, id: ConversationId) -> Result<Option<Head>, HistoryError> {
        self.settle_for(id).await?;
        Ok(self.store.head(id).await?)
    }

    /// A conversation and its members. The members may be newer than the conversation's `mver`; an append under that `mver`
    /// is then refused as stale, and decided again.
    pub async fn current(&self, id: ConversationId) -> Result<Option<Current>, HistoryError> {
        self.settle_for(id).await?;
        let Some(conversation) = self.store.conversation(id).await? else { return Ok(None) };
        let members = self.store.members(id).await?;
        Ok(Some(Current { conversation, members }))
    }

    /// All conversations that a person was ever a member of.
    pub async fn summaries(&self, user: UserId) -> Result<Vec<Summary>, HistoryError> {
        self.settle_all().await?;
        Ok(self.store.summaries(user, Vec::new()).await?)
    }

    /// One of them.
    pub async fn summary(
        &self,
        user: UserId,
        id: ConversationId,
    ) -> Result<Option<Summary>, HistoryError> {
        self.settle_for(id).await?;
        Ok(self.store.summary(user, id).await?)
    }

    /// Events `from ..= to` in order, holes included; at most [`protocol::limits::PAGE_MAX`].
    pub async fn events(
        &self,
        id: ConversationId,
        from: u64,
        to: u64,
    ) -> Result<Vec<StoredEvent>, HistoryError> {
        Ok(self.store.events(id, from, to).await?)
    }

    /// One event, the newest of the log included; `None`: a hole, or nothing yet.
    pub async fn event(
        &self,
        id: ConversationId,
        seq: u64,
    ) -> Result<Option<StoredEvent>, HistoryError> {
        self.settle_for(id).await?;
        Ok(self.store.events(id, seq, seq).await?.pop())
    }

    /// A page of folded items.
    pub async fn page(
        &self,
        id: ConversationId,
        viewer: Viewer,
        anchor: Anchor,
        limit: usize,
    ) -> Result<StoredPage, HistoryError> {
        self.settle_for(id).await?;
        Ok(self.store.page(id, viewer, anchor, limit).await?)
    }

    /// Folded items by seq.
    pub async fn items(
        &self,
        id: ConversationId,
        seqs: Vec<u64>,
        blocked: Vec<UserId>,
    ) -> Result<Vec<Item>, HistoryError> {
        Ok(self.store.items(id, seqs, blocked).await?)
    }
}
