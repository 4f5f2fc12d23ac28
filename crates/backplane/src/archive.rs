//! What a node may ask of the api: in process, or over HTTP on an internal port.
//!
//! Owns: the trait and its answers. Never does: writes. Talks to: nobody. Start reading at: [`Archive`].

use bytes::Bytes;
use protocol::{ConversationId, EventKind, Pos, Producer, Role, SessionId, UserId};

use crate::{BoxFuture, Earlier, Key, ProducerState};

/// One conversation of a user, as the store has it. Records merge: the larger `mver` wins, removals are tombstones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// Which group.
    pub conversation: ConversationId,
    /// `None` = removed.
    pub role: Option<Role>,
    /// First seq the user may see.
    pub since: u64,
    /// Seq of the membership event that this record is from.
    pub mver: u64,
    /// What is known of the group itself, where the record is from the store.
    pub group: Option<GroupSize>,
}

/// How large a group is, as the store has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupSize {
    /// The group's own `mver` then.
    pub mver: u64,
    /// It has more members than receipts name ([`protocol::limits::RECEIPT_NAMES_MAX`]).
    pub large: bool,
}

/// A user's own switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UserFlags {
    /// Presence is not published.
    pub hidden: bool,
    /// Sends and sees no receipts.
    pub receipts_off: bool,
    /// May not connect.
    pub disabled: bool,
    /// The instance lets people watch only those with whom they share a conversation (`directory = contacts`).
    pub contacts_only: bool,
}

/// All that a shard needs to know of a user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// Positions (one per partition) that the store had reached when this was read.
    pub as_of: Vec<Pos>,
    /// Groups, tombstones included. Direct conversations need no record: their id names the members.
    pub groups: Vec<Membership>,
    /// Whose messages are withheld; at most [`protocol::limits::BLOCKED_MAX`].
    pub blocked: Vec<UserId>,
    /// Switches.
    pub flags: UserFlags,
}

/// Where a conversation stands in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// Last seq.
    pub seq: u64,
    /// Messages so far.
    pub ordinal: u64,
    /// Seq of the last membership event of a group; 0 for direct conversations.
    pub mver: u64,
    /// Lifetime of the numbering.
    pub epoch: u32,
}

/// What the store knows of an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// The event stored under the key.
    pub stored: Option<Earlier>,
    /// What to install in the log for its producer, if anything of it is stored.
    pub producer: Option<ProducerState>,
}

/// An event as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Where.
    pub conversation: ConversationId,
    /// Lifetime of the numbering.
    pub epoch: u32,
    /// Its place.
    pub seq: u64,
    /// Messages up to it.
    pub ordinal: u64,
    /// Who.
    pub from: UserId,
    /// The key.
    pub producer: Producer,
    /// The key.
    pub no: u64,
    /// When.
    pub ts: u64,
    /// What; `None` is a hole (late duplicate, dead letter, or erased beyond a tombstone).
    pub kind: Option<EventKind>,
    /// Canonical JSON.
    pub body: Bytes,
}

/// Sessions of one question after those that are over: 6 KiB on the wire.
pub const SESSIONS_MAX: usize = 100;

/// The archive has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("archive unavailable: {0}")]
pub struct ArchiveError(pub String);

/// Reads of the store. Every call has a deadline inside; an error is retryable.
pub trait Archive: Send + Sync + std::fmt::Debug {
    /// Groups, blocks and flags of a user. An unknown user has an empty view with `disabled`.
    fn view(&self, user: UserId) -> BoxFuture<'_, Result<View, ArchiveError>>;

    /// Where a conversation stands; `None` = never created (as far as the store knows).
    fn head(
        &self,
        conversation: ConversationId,
    ) -> BoxFuture<'_, Result<Option<Head>, ArchiveError>>;

    /// What is stored under a key, and of its producer.
    fn find(&self, key: Key) -> BoxFuture<'_, Result<Found, ArchiveError>>;

    /// Those of `people` who share a conversation with `user`, and `user`.
    fn contacts(
        &self,
        user: UserId,
        people: Vec<UserId>,
    ) -> BoxFuture<'_, Result<Vec<UserId>, ArchiveError>>;

    /// Those of the sessions that are over, whatever their tokens say; at most [`SESSIONS_MAX`] at a time. Where live state
    /// is away this is what a revocation is found by.
    fn ended(
        &self,
        sessions: Vec<(UserId, SessionId)>,
    ) -> BoxFuture<'_, Result<Vec<SessionId>, ArchiveError>>;

    /// Events of a conversation, `from ..= to`, in order; at most [`protocol::limits::PAGE_MAX`].
    fn range(
        &self,
        conversation: ConversationId,
        from: u64,
        to: u64,
    ) -> BoxFuture<'_, Result<Vec<StoredEvent>, ArchiveError>>;
}
