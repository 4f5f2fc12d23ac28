//! [`LocalLive`]: signals and shared ephemeral state inside one process.
//!
//! Owns: presence lists, revocations, newest receipts. Never does: keep anything but revocations over a restart.
//! Talks to: their file.
//! Start reading at: [`LocalLive`].

use std::{
    collections::HashMap,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use protocol::{ConversationId, SessionId, UserId};
use tokio::sync::broadcast;

use super::{Clock, revocations::Revocations};
use crate::{
    BoxFuture, Cursors, Live, LiveError, NodeId, PresenceChange, Revocation, Signal, SignalStream,
    View, live::NodePresence,
};

/// Flushes of signals that a slow subscriber may be behind; more are lost for it, and it is told.
const BEHIND_MAX: usize = 1_024;
/// Conversations whose receipts are kept; above it the map starts anew (the store has all but the last second).
const RECEIPTS_MAX: usize = 200_000;

#[derive(Debug, Default)]
struct Presence {
    version: u64,
    users: HashMap<UserId, u64>,
}

#[derive(Debug, Default)]
struct State {
    nodes: HashMap<NodeId, Presence>,
    revocations: Revocations,
    receipts: HashMap<ConversationId, HashMap<UserId, Cursors>>,
}

/// The [`Live`] of one process. Clones share it.
#[derive(Clone)]
pub struct LocalLive {
    state: Arc<Mutex<State>>,
    signals: broadcast::Sender<Arc<Vec<Signal>>>,
    clock: Clock,
}

impl std::fmt::Debug for LocalLive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LocalLive")
    }
}

impl LocalLive {
    /// Empty, with nothing kept over a restart.
    pub fn new(clock: Clock) -> Self {
        Self { state: Arc::default(), signals: broadcast::channel(BEHIND_MAX).0, clock }
    }

    /// Empty but for the revocations that the file holds; it is made if it is not there. Errors: it cannot be read or written.
    pub fn open(revocations: &Path, clock: Clock) -> io::Result<Self> {
        let revocations = Revocations::open(revocations, clock())?;
        let live = Self::new(clock);
        live.state().revocations = revocations;
        Ok(live)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody listening is no error.
    fn send(&self, signals: Vec<Signal>) {
        if !signals.is_empty() {
            let _ = self.signals.send(Arc::new(signals));
        }
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, Result<T, LiveError>> {
    Box::pin(std::future::ready(Ok(value)))
}

impl Live for LocalLive {
    fn publish(&self, signals: Vec<Signal>) -> BoxFuture<'_, Result<(), LiveError>> {
        self.send(signals);
        ready(())
    }

    fn subscribe(&self) -> Box<dyn SignalStream> {
        Box::new(LocalStream(self.signals.subscribe()))
    }

    fn announce(
        &self,
        node: NodeId,
        changes: Vec<PresenceChange>,
    ) -> BoxFuture<'_, Result<(), LiveError>> {
        let mut state = self.state();
        let presence = state.nodes.entry(node).or_default();
        presence.version += 1;
        for change in &changes {
            if change.online {
                presence.users.insert(change.user, change.as_of);
            } else {
                presence.users.remove(&change.user);
            }
        }
        // Sent while the lock is held, so that versions arrive in order.
        self.send(vec![Signal::Presence { node, version: presence.version, changes }]);
        drop(state);
        ready(())
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Vec<NodePresence>, LiveError>> {
        let state = self.state();
        let lists = state.nodes.iter().map(|(node, presence)| NodePresence {
            node: *node,
            version: presence.version,
            users: presence.users.iter().map(|(user, as_of)| (*user, *as_of)).collect(),
        });
        ready(lists.collect())
    }

    fn leave(&self, node: NodeId) -> BoxFuture<'_, Result<(), LiveError>> {
        self.state().nodes.remove(&node);
        self.send(vec![Signal::NodeGone { node }]);
        ready(())
    }

    fn revoke(
        &self,
        revocation: Revocation,
        now_ms: u64,
        keep_ms: u64,
    ) -> BoxFuture<'_, Result<(), LiveError>> {
        let until = now_ms.saturating_add(keep_ms);
        let added = self.state().revocations.add(revocation, now_ms, until);
        self.send(vec![Signal::Revoked(revocation)]);
        let kept = added.map_err(|error| LiveError(format!("revocations: {error}")));
        Box::pin(std::future::ready(kept))
    }

    fn is_revoked(
        &self,
        user: UserId,
        session: SessionId,
        issued_at_ms: u64,
    ) -> BoxFuture<'_, Result<bool, LiveError>> {
        let now = (self.clock)();
        ready(self.state().revocations.holds(user, session, issued_at_ms, now))
    }

    /// One process reads the archive in memory's reach: nothing is cached.
    fn view_get(&self, _: UserId) -> BoxFuture<'_, Result<Option<View>, LiveError>> {
        ready(None)
    }

    fn view_put(&self, _: UserId, _: View) -> BoxFuture<'_, Result<(), LiveError>> {
        ready(())
    }

    fn receipts_merge(
        &self,
        receipts: Vec<(ConversationId, UserId, Cursors)>,
    ) -> BoxFuture<'_, Result<(), LiveError>> {
        let mut moved = Vec::new();
        let mut state = self.state();
        if state.receipts.len() > RECEIPTS_MAX {
            state.receipts.clear();
        }
        for (conversation, user, new) in receipts {
            let cursors = state.receipts.entry(conversation).or_default().entry(user).or_default();
            let merged = Cursors {
                delivered: cursors.delivered.max(new.delivered),
                read: cursors.read.max(new.read),
            };
            if merged != *cursors {
                *cursors = merged;
                moved.push(Signal::Receipt { conversation, user, cursors: merged });
            }
        }
        drop(state);
        self.send(moved);
        ready(())
    }

    fn receipts_get(
        &self,
        conversation: ConversationId,
    ) -> BoxFuture<'_, Result<Vec<(UserId, Cursors)>, LiveError>> {
        let state = self.state();
        let list = state
            .receipts
            .get(&conversation)
            .map(|map| map.iter().map(|(u, c)| (*u, *c)).collect());
        ready(list.unwrap_or_default())
    }
}

#[derive(Debug)]
struct LocalStream(broadcast::Receiver<Arc<Vec<Signal>>>);

impl SignalStream for LocalStream {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Signal>, u64>> {
        Box::pin(async move {
            match self.0.recv().await {
                Ok(signals) => Ok(Arc::unwrap_or_clone(signals)),
                Err(broadcast::error::RecvError::Lagged(lost)) => Err(lost),
                // Every sender is gone: nothing will ever come, and the owner of this stream is being dropped.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        })
    }
}
