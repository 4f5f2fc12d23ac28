//! The store: accounts, conversations, messages as they are once the persister has written them.
//!
//! Owns: the trait, its errors, its record types. Never does: HTTP, hashing, authorising, live state.
//! Talks to: nobody (implementations are next to it). Start reading at: [`Store`], then `ingest.rs`.
//!
//! Everything is asked in one call per question, so that an implementation can answer from one snapshot. What the log has
//! taken and the persister has not yet written is not here: whoever must see it asks the history reader.

mod conversations;
mod counting;
mod ingest;
mod instance;
mod messages;
mod sessions;
pub mod sqlite;
mod users;
mod words;

use backplane::BoxFuture;
use protocol::ConversationId;

pub use conversations::{
    Conversations, DRAFT_BYTES_MAX, MemberRecord, Mine, MineChange, StoredConversation, Summary,
};
pub use counting::{CountingArchive, CountingIngest, STORES_NOTHING};
pub use ingest::{Claim, DeadLetter, Holes, Ingest};
pub use instance::{
    Directory, Instance, InviteCode, NewReport, RegistrationMode, Report, Settings, SettingsChange,
};
pub use messages::{
    Anchor, Hit, Messages, OwnMessage, Scope, Search, SearchPlace, StoredPage, Viewer,
};
pub use sessions::{NewSession, RefreshHash, Refreshed, Rotation, Session, Sessions};
pub use users::{Credentials, NewUser, PeopleQuery, Registration, User, UserChange, Users};

/// What every call returns. A call has a deadline of its own inside.
pub type StoreFuture<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// The store has no answer, or refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Certainly nothing was changed: its queue is full, it is away, or the disk is. Try again later.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// No answer within the deadline: a change may have been made. Every change can be asked for again.
    #[error("the store did not answer in time")]
    Unknown,
    /// Another persister owns the cursor.
    #[error("the cursor belongs to somebody else")]
    Fenced,
    /// One event cannot be stored as it is; nothing of the call was changed.
    #[error("event {seq} of {conversation} cannot be stored: {reason}")]
    Rejected {
        /// Where.
        conversation: ConversationId,
        /// Which.
        seq: u64,
        /// Why, without any of its text.
        reason: String,
    },
    /// A bug, or a damaged database.
    #[error("store: {0}")]
    Internal(String),
}

impl StoreError {
    /// Whether the same call is worth trying again.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Unknown)
    }
}

/// All that the api keeps. The methods are grouped by noun in the supertraits; `dyn Store` has all of them.
pub trait Store:
    Users + Sessions + Conversations + Messages + Ingest + Instance + std::fmt::Debug
{
}

impl<T> Store for T where
    T: Users + Sessions + Conversations + Messages + Ingest + Instance + std::fmt::Debug
{
}
