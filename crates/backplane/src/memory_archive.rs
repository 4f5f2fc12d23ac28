//! An archive in memory, for tests of whatever asks one.
//!
//! Owns: heads, views and found keys that a test sets. Never does: run in a product. Talks to: nobody.
//! Start reading at: [`MemoryArchive`].

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use protocol::{ConversationId, UserId};

use crate::{Archive, ArchiveError, BoxFuture, Found, Head, Key, StoredEvent, View};

#[derive(Debug, Default)]
struct State {
    views: HashMap<UserId, View>,
    heads: HashMap<ConversationId, Head>,
    found: HashMap<Key, Found>,
    away: bool,
}

/// Clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryArchive(Arc<Mutex<State>>);

impl MemoryArchive {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets a user's view.
    pub fn set_view(&self, user: UserId, view: View) {
        self.state().views.insert(user, view);
    }

    /// Sets a head.
    pub fn set_head(&self, conversation: ConversationId, head: Head) {
        self.state().heads.insert(conversation, head);
    }

    /// Sets the answer for a key.
    pub fn set_found(&self, key: Key, found: Found) {
        self.state().found.insert(key, found);
    }

    /// Makes every call fail, or none.
    pub fn set_away(&self, away: bool) {
        self.state().away = away;
    }

    fn answer<'a, T: Send + 'a>(
        &self,
        value: impl FnOnce(&State) -> T,
    ) -> BoxFuture<'a, Result<T, ArchiveError>> {
        let state = self.state();
        let result =
            if state.away { Err(ArchiveError("away".to_owned())) } else { Ok(value(&state)) };
        Box::pin(std::future::ready(result))
    }
}

impl Archive for MemoryArchive {
    fn view(&self, user: UserId) -> BoxFuture<'_, Result<View, ArchiveError>> {
        self.answer(|state| state.views.get(&user).cloned().unwrap_or_default())
    }

    fn head(
        &self,
        conversation: ConversationId,
    ) -> BoxFuture<'_, Result<Option<Head>, ArchiveError>> {
        self.answer(|state| state.heads.get(&conversation).copied())
    }

    fn find(&self, key: Key) -> BoxFuture<'_, Result<Found, ArchiveError>> {
        self.answer(|state| state.found.get(&key).cloned().unwrap_or_default())
    }

    fn range(
        &self,
        _: ConversationId,
        _: u64,
        _: u64,
    ) -> BoxFuture<'_, Result<Vec<StoredEvent>, ArchiveError>> {
        self.answer(|_| Vec::new())
    }
}
