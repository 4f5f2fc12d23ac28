//! Live state: presence, signals, revocation, receipts. Loss is allowed and healed (LOG.md §7).
//!
//! Owns: the trait and what crosses it. Never does: durability. Talks to: nobody. Start reading at: [`Live`].

use protocol::{ConversationId, Producer, SessionId, UserId, event::UserChange};

use crate::{BoxFuture, View};

/// One run of one broker process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u64);

/// A user came to, or left, a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresenceChange {
    /// Who. Hidden users are never announced.
    pub user: UserId,
    /// Has a connection on the node.
    pub online: bool,
    /// Unix milliseconds.
    pub as_of: u64,
}

/// Which connections have to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// Those of one login.
    Session(SessionId),
    /// Those of a user, except of one login or none. It goes by the second in which a token was issued, and takes a login
    /// of that same second with it: for accounts that are gone. Otherwise name the logins.
    User {
        /// Whose.
        user: UserId,
        /// The login that stays.
        except: Option<SessionId>,
    },
}

/// Up to where a user has got in a conversation. Cursors only grow; merging takes the larger of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursors {
    /// On a device up to here.
    pub delivered: u64,
    /// Seen up to here.
    pub read: u64,
}

/// What is published to all nodes and apis. Droppable, all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// Somebody types.
    Typing {
        /// Where.
        conversation: ConversationId,
        /// Who.
        user: UserId,
        /// Whose next publish ends it.
        producer: Producer,
        /// Last used number.
        no: u64,
    },
    /// Somebody moved a cursor.
    Receipt {
        /// Where.
        conversation: ConversationId,
        /// Who.
        user: UserId,
        /// The cursors after merging.
        cursors: Cursors,
    },
    /// Somebody who gives no receipts moved a cursor: for their own connections and the store only.
    OwnReceipt {
        /// Where.
        conversation: ConversationId,
        /// Who.
        user: UserId,
        /// The cursors.
        cursors: Cursors,
    },
    /// Presence delta of one node: `version` is the previous one + 1, else read [`Live::snapshot`].
    Presence {
        /// Whose.
        node: NodeId,
        /// Of its list.
        version: u64,
        /// What changed.
        changes: Vec<PresenceChange>,
    },
    /// A node lives; every 2 s.
    Heartbeat {
        /// Which.
        node: NodeId,
    },
    /// A node left on purpose: its users are offline now, without grace.
    NodeGone {
        /// Which.
        node: NodeId,
    },
    /// Something of a user's own changed; shards read their view again.
    UserChanged {
        /// Whose.
        user: UserId,
        /// What.
        what: UserChange,
    },
    /// Connections have to end.
    Revoked(Revocation),
}

/// Live state cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("live state unavailable: {0}")]
pub struct LiveError(pub String);

/// Presence list of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePresence {
    /// Whose.
    pub node: NodeId,
    /// Version of the list.
    pub version: u64,
    /// Online users with their `as_of`.
    pub users: Vec<(UserId, u64)>,
}

/// Signals and shared ephemeral state.
pub trait Live: Send + Sync + std::fmt::Debug {
    /// Publishes to every subscriber, oneself included. One call per flush, never per message.
    fn publish(&self, signals: Vec<Signal>) -> BoxFuture<'_, Result<(), LiveError>>;

    /// Everything published from now on. Bounded: a slow subscriber is told how much it lost.
    fn subscribe(&self) -> Box<dyn SignalStream>;

    /// Applies a node's own presence changes to its list, and publishes them as one [`Signal::Presence`].
    fn announce(
        &self,
        node: NodeId,
        changes: Vec<PresenceChange>,
    ) -> BoxFuture<'_, Result<(), LiveError>>;

    /// The lists of all nodes that live.
    fn snapshot(&self) -> BoxFuture<'_, Result<Vec<NodePresence>, LiveError>>;

    /// Drops a node's list and publishes [`Signal::NodeGone`].
    fn leave(&self, node: NodeId) -> BoxFuture<'_, Result<(), LiveError>>;

    /// Publishes [`Signal::Revoked`] and keeps it for `keep_ms` (at least the life of a token), for those who missed it.
    fn revoke(
        &self,
        revocation: Revocation,
        now_ms: u64,
        keep_ms: u64,
    ) -> BoxFuture<'_, Result<(), LiveError>>;

    /// Whether a login is revoked. `issued_at_ms`: of its token; a token issued after a `User` revocation is good.
    fn is_revoked(
        &self,
        user: UserId,
        session: SessionId,
        issued_at_ms: u64,
    ) -> BoxFuture<'_, Result<bool, LiveError>>;

    /// The cached view of a user, if it is right up to the given W or later (LOG.md §6).
    fn view_get(&self, user: UserId) -> BoxFuture<'_, Result<Option<View>, LiveError>>;

    /// Caches a view.
    fn view_put(&self, user: UserId, view: View) -> BoxFuture<'_, Result<(), LiveError>>;

    /// Merges cursors (maximum of each) and publishes [`Signal::Receipt`] for those that moved.
    fn receipts_merge(
        &self,
        receipts: Vec<(ConversationId, UserId, Cursors)>,
    ) -> BoxFuture<'_, Result<(), LiveError>>;

    /// Cursors that may be newer than the store's.
    fn receipts_get(
        &self,
        conversation: ConversationId,
    ) -> BoxFuture<'_, Result<Vec<(UserId, Cursors)>, LiveError>>;
}

/// One subscription.
pub trait SignalStream: Send + std::fmt::Debug {
    /// The next signals (at least one), or how many were lost. Cancel safety: dropping the future loses nothing.
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Signal>, u64>>;
}
