//! [`HttpArchive`]: the archive of a broker that has no store.
//!
//! Owns: one call per method. Never does: keep an answer. Talks to: [`Peers`]. Start reading at: [`HttpArchive`].

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use backplane::{Archive, ArchiveError, BoxFuture, Found, Head, Key, StoredEvent, View};
use bytes::Bytes;
use hyper::Method;
use protocol::{ConversationId, SessionId, UserId};

use crate::{
    peers::{CallError, Peers},
    wire::{AskContacts, AskEnded, AskFind, AskHead, AskRange, AskView, Call},
};

/// [`Archive`] at an api. Clones share its connections.
#[derive(Debug, Clone)]
pub struct HttpArchive {
    peers: Peers,
    away: Arc<AtomicBool>,
}

impl HttpArchive {
    /// Asks these. Nothing is connected yet.
    pub fn new(peers: Peers) -> Self {
        Self { peers, away: Arc::default() }
    }

    /// Whether the last question had an answer.
    pub fn answers(&self) -> bool {
        !self.away.load(Relaxed)
    }

    async fn ask<C: Call>(&self, question: C) -> Result<C::Answer, ArchiveError> {
        let told = self.call(question).await;
        let away = told.is_err();
        if self.away.swap(away, Relaxed) != away {
            match &told {
                Err(error) => tracing::warn!(%error, "the archive does not answer"),
                Ok(_) => tracing::info!("the archive answers again"),
            }
        }
        told.map_err(|error| ArchiveError(error.to_string()))
    }

    async fn call<C: Call>(&self, question: C) -> Result<C::Answer, CallError> {
        let unreadable = |_| CallError::Unreadable("the api".to_owned());
        let body = serde_json::to_vec(&question).map_err(unreadable)?;
        let told = self.peers.ask(Method::POST, C::PATH, Bytes::from(body)).await?;
        serde_json::from_slice(&told).map_err(unreadable)
    }
}

impl Archive for HttpArchive {
    fn view(&self, user: UserId) -> BoxFuture<'_, Result<View, ArchiveError>> {
        Box::pin(async move { Ok(self.ask(AskView { user }).await?.view()) })
    }

    fn head(
        &self,
        conversation: ConversationId,
    ) -> BoxFuture<'_, Result<Option<Head>, ArchiveError>> {
        Box::pin(async move { Ok(self.ask(AskHead { conversation }).await?.head()) })
    }

    fn find(&self, key: Key) -> BoxFuture<'_, Result<Found, ArchiveError>> {
        Box::pin(async move { Ok(self.ask(AskFind::of(key)).await?.found()) })
    }

    fn contacts(
        &self,
        user: UserId,
        people: Vec<UserId>,
    ) -> BoxFuture<'_, Result<Vec<UserId>, ArchiveError>> {
        Box::pin(async move { Ok(self.ask(AskContacts { user, people }).await?.people) })
    }

    fn ended(
        &self,
        sessions: Vec<(UserId, SessionId)>,
    ) -> BoxFuture<'_, Result<Vec<SessionId>, ArchiveError>> {
        Box::pin(async move { Ok(self.ask(AskEnded { sessions }).await?.sessions) })
    }

    fn range(
        &self,
        conversation: ConversationId,
        from: u64,
        to: u64,
    ) -> BoxFuture<'_, Result<Vec<StoredEvent>, ArchiveError>> {
        Box::pin(async move {
            let told = self.ask(AskRange { conversation, from, to }).await?;
            told.events(conversation).map_err(|error| ArchiveError(error.to_string()))
        })
    }
}
