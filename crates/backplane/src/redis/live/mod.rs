//! Live state over Redis: signals by PUBLISH, presence lists that their owners can write again, small keys that run out.
//!
//! Owns: everything that speaks to the live server. Never does: durability; what is lost here is said again (LOG.md §7).
//! Talks to: Redis 7.0 or later, or Valkey. Start reading at: [`RedisLive::connect`].

mod hub;
mod keys;
mod library;
mod link;
mod packed;
mod presence;
mod pump;
mod revoked;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use protocol::{ConversationId, SessionId, UserId};
use redis::Value;
use tokio::{sync::oneshot, task::JoinSet};

use self::{hub::Hub, keys::Keys, link::Link, presence::SharedOwn, revoked::Revoked};
use super::fault::Fault;
use crate::{
    BoxFuture, Cursors, Live, LiveError, NodeId, PresenceChange, Revocation, Signal, SignalStream,
    View, live::NodePresence, local::Clock,
};

/// A server on the same network answers at once or is not there.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// A node is dead after this much silence (LOG.md §7).
const SILENT_MS: u64 = 8_000;
/// Signals of one push, and conversations of one merge. Callers flush as many at most.
const FLUSH_MAX: usize = 1_024;
/// The store has a cursor a second after it moved. Here it stays for a store that is away for a while; what runs out is a
/// hash of as many fields as a group has members.
const RECEIPTS_TTL_MS: u64 = 10 * 60 * 1_000;
/// A cached view, some KB, is read from the store again after this.
const VIEW_TTL_MS: u64 = 60 * 60 * 1_000;
/// What a server says that it will say again.
const LASTING: [&str; 4] = ["WRONGPASS", "NOAUTH", "NOPERM", "subscriptions speak"];

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
    /// Silence after which a node is dead. The same in every process; heartbeats come four times as often.
    pub silent_ms: u64,
}

impl LiveOptions {
    /// The defaults of the product.
    pub fn new(server: String, clock: Clock) -> Self {
        let prefix = "wc".to_owned();
        Self {
            server,
            prefix,
            clock,
            loads: true,
            answer_timeout: ANSWER_TIMEOUT,
            silent_ms: SILENT_MS,
        }
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

/// What all clones share.
#[derive(Debug)]
struct Inner {
    options: LiveOptions,
    keys: Keys,
    link: Link,
    hub: Arc<Hub>,
    own: Mutex<HashMap<NodeId, SharedOwn>>,
    revoked: Revoked,
    /// Dropping them ends them.
    tasks: Mutex<JoinSet<()>>,
}

/// The [`Live`] of a cluster. Clones share it.
#[derive(Debug, Clone)]
pub struct RedisLive(Arc<Inner>);

impl RedisLive {
    /// Connects and subscribes. A server that is away is no error: it is tried again for ever, and calls say that live state
    /// is away until then. Needs a tokio runtime. Errors: what no waiting will mend.
    pub async fn connect(options: LiveOptions) -> Result<Self, LiveStartError> {
        let link = Link::new(options.clone())?;
        let hub = Arc::new(Hub::new(Duration::from_millis(options.silent_ms)));
        let keys = Keys::new(&options.prefix);
        let (first, outcome) = oneshot::channel();
        let mut tasks = JoinSet::new();
        let (client, channel) = (link.client().clone(), keys.signals.clone());
        tasks.spawn(pump::run(Arc::clone(&hub), client, channel, options.answer_timeout, first));
        let inner = Inner {
            options,
            keys,
            link,
            hub,
            own: Mutex::default(),
            revoked: Revoked::default(),
            tasks: Mutex::new(tasks),
        };
        let live = Self(Arc::new(inner));
        let keeper = revoked::keep(Arc::downgrade(&live.0));
        live.0.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(keeper);
        match outcome.await {
            Ok(Err(said)) if LASTING.iter().any(|code| said.starts_with(code)) => {
                Err(LiveStartError::Refused(said))
            }
            _ => Ok(live),
        }
    }

    /// Flushes and cached views that could not be read and were dropped, since the start: for metrics.
    pub fn garbage(&self) -> u64 {
        self.0.hub.garbage()
    }

    async fn publish_all(&self, signals: &[Signal]) -> Result<(), LiveError> {
        for some in signals.chunks(FLUSH_MAX) {
            let packed = packed::signals(some);
            let heartbeat = some.iter().find_map(|signal| match signal {
                Signal::Heartbeat { node } => Some(*node),
                _ => None,
            });
            if let Some(node) = heartbeat
                && let Some(outcome) = self.publish_heartbeat(node, &packed).await
            {
                outcome?;
                continue;
            }
            self.call_numbered("publish", &[&self.0.keys.signals], &[&packed]).await?;
        }
        Ok(())
    }

    /// A call that is answered with the number of what it published, or 0.
    async fn call_numbered(
        &self,
        function: &str,
        keys: &[&str],
        arguments: &[&[u8]],
    ) -> Result<(), LiveError> {
        if let Value::Int(n @ 1..) = self.0.link.call(function, keys, arguments).await? {
            self.0.hub.published(n.unsigned_abs());
        }
        Ok(())
    }

    async fn ask_revoked(
        &self,
        user: UserId,
        session: SessionId,
        issued_at_ms: u64,
    ) -> Result<bool, LiveError> {
        let mut command = redis::cmd("MGET");
        command.arg(self.0.keys.revoked_session(session)).arg(self.0.keys.revoked_user(user));
        match self.0.link.read(&command).await? {
            Value::Array(found) => match &found[..] {
                [Value::Nil, Value::Nil] => Ok(false),
                [Value::Nil, Value::BulkString(of_user)] => {
                    revoked::voids(of_user, session.0, issued_at_ms)
                }
                _ => Ok(true),
            },
            _ => Err(LiveError("an answer is not as it should be".to_owned())),
        }
    }

    async fn merge_all(
        &self,
        receipts: Vec<(ConversationId, UserId, Cursors)>,
    ) -> Result<(), LiveError> {
        let mut by_conversation: BTreeMap<ConversationId, Vec<u8>> = BTreeMap::new();
        for (conversation, user, cursors) in receipts {
            let packed = by_conversation.entry(conversation).or_default();
            packed::put_receipt(packed, user, cursors);
        }
        let all: Vec<_> = by_conversation.into_iter().collect();
        let ttl = RECEIPTS_TTL_MS.to_string();
        for some in all.chunks(FLUSH_MAX) {
            let keys: Vec<String> = some.iter().map(|(id, _)| self.0.keys.receipts(*id)).collect();
            let ids: Vec<[u8; 16]> = some.iter().map(|(id, _)| id.0.to_be_bytes()).collect();
            let keys = [self.0.keys.signals.as_str()].into_iter().chain(keys.iter().map(|k| &**k));
            let (head, kind) = (packed::head(), [packed::RECEIPT]);
            let mut arguments: Vec<&[u8]> = vec![&head, &kind, ttl.as_bytes()];
            for (id, (_, packed)) in ids.iter().zip(some) {
                arguments.extend([id.as_slice(), packed]);
            }
            self.call_numbered("receipts", &keys.collect::<Vec<_>>(), &arguments).await?;
        }
        Ok(())
    }

    async fn cursors(
        &self,
        conversation: ConversationId,
    ) -> Result<Vec<(UserId, Cursors)>, LiveError> {
        let mut command = redis::cmd("HGETALL");
        command.arg(self.0.keys.receipts(conversation));
        let Value::Array(fields) = self.0.link.read(&command).await? else { return Ok(Vec::new()) };
        Ok(fields.chunks_exact(2).filter_map(|pair| packed::receipt(&pair[0], &pair[1])).collect())
    }

    async fn cached(&self, user: UserId) -> Result<Option<View>, LiveError> {
        let mut command = redis::cmd("GET");
        command.arg(self.0.keys.view(user));
        let Value::BulkString(packed) = self.0.link.read(&command).await? else { return Ok(None) };
        let view = packed::read_view(&packed);
        if view.is_err() {
            self.0.hub.count_garbage();
        }
        Ok(view.ok())
    }

    async fn cache(&self, user: UserId, view: &View) -> Result<(), LiveError> {
        let (head, positions, rest) = packed::view(view);
        let (key, ttl) = (self.0.keys.view(user), VIEW_TTL_MS.to_string());
        let arguments = [head.as_slice(), &positions, &rest, ttl.as_bytes()];
        self.0.link.call("view_put", &[&key], &arguments).await?;
        Ok(())
    }
}

/// A function by the name that the server knows.
fn function(name: &str) -> String {
    format!("{}_{name}", library::NAME)
}

impl From<Fault> for LiveError {
    fn from(fault: Fault) -> Self {
        Self(fault.to_string())
    }
}

impl Live for RedisLive {
    fn publish(&self, signals: Vec<Signal>) -> BoxFuture<'_, Result<(), LiveError>> {
        Box::pin(async move { self.publish_all(&signals).await })
    }

    fn subscribe(&self) -> Box<dyn SignalStream> {
        Box::new(self.0.hub.stream())
    }

    fn announce(
        &self,
        node: NodeId,
        changes: Vec<PresenceChange>,
    ) -> BoxFuture<'_, Result<(), LiveError>> {
        Box::pin(self.announce_all(node, changes))
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Vec<NodePresence>, LiveError>> {
        Box::pin(self.read_lists())
    }

    fn leave(&self, node: NodeId) -> BoxFuture<'_, Result<(), LiveError>> {
        Box::pin(self.leave_now(node))
    }

    fn revoke(
        &self,
        revocation: Revocation,
        now_ms: u64,
        keep_ms: u64,
    ) -> BoxFuture<'_, Result<(), LiveError>> {
        Box::pin(self.0.revoke(revocation, now_ms, keep_ms))
    }

    fn is_revoked(
        &self,
        user: UserId,
        session: SessionId,
        issued_at_ms: u64,
    ) -> BoxFuture<'_, Result<bool, LiveError>> {
        Box::pin(self.ask_revoked(user, session, issued_at_ms))
    }

    fn view_get(&self, user: UserId) -> BoxFuture<'_, Result<Option<View>, LiveError>> {
        Box::pin(self.cached(user))
    }

    fn view_put(&self, user: UserId, view: View) -> BoxFuture<'_, Result<(), LiveError>> {
        Box::pin(async move { self.cache(user, &view).await })
    }

    fn receipts_merge(
        &self,
        receipts: Vec<(ConversationId, UserId, Cursors)>,
    ) -> BoxFuture<'_, Result<(), LiveError>> {
        Box::pin(self.merge_all(receipts))
    }

    fn receipts_get(
        &self,
        conversation: ConversationId,
    ) -> BoxFuture<'_, Result<Vec<(UserId, Cursors)>, LiveError>> {
        Box::pin(self.cursors(conversation))
    }
}
