//! Conversations in the store: heads, members, and what each member keeps about them.
//!
//! Owns: the records and the questions. Never does: merge with what is not stored yet (`history/`). Talks to: nobody.
//! Start reading at: [`Conversations::summaries`].

use backplane::{Cursors, Head, View};
use protocol::{ConversationId, Role, UserId, body::HistoryAccess};

use super::StoreFuture;
use crate::projection::Item;

/// Bytes of a draft kept for another device.
pub const DRAFT_BYTES_MAX: usize = protocol::limits::TEXT_BYTES_MAX;

/// A conversation, as its events up to its head made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredConversation {
    /// Which.
    pub id: ConversationId,
    /// Title of a group.
    pub title: Option<String>,
    /// What later members may see.
    pub history: HistoryAccess,
    /// Where it stands.
    pub head: Head,
    /// Unix milliseconds of the birth.
    pub created_at: u64,
    /// Unix milliseconds of the last message, else of the birth.
    pub activity_ts: u64,
    /// Members now.
    pub members: usize,
}

/// Somebody's standing in a conversation. Records merge: the larger `mver` wins, removals are tombstones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberRecord {
    /// Who.
    pub user: UserId,
    /// `None` = removed.
    pub role: Option<Role>,
    /// First seq they may see.
    pub since: u64,
    /// Seq of the membership event that this is from.
    pub mver: u64,
}

/// What one member keeps about a conversation for themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mine {
    /// No notifications.
    pub muted: bool,
    /// At the top.
    pub pinned: bool,
    /// Not in the list.
    pub hidden: bool,
    /// Marked unread by hand.
    pub marked_unread: bool,
    /// Unsent text.
    pub draft: String,
}

/// Fields to change; `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MineChange {
    /// No notifications.
    pub muted: Option<bool>,
    /// At the top.
    pub pinned: Option<bool>,
    /// Not in the list.
    pub hidden: Option<bool>,
    /// Marked unread by hand.
    pub marked_unread: Option<bool>,
    /// Unsent text.
    pub draft: Option<String>,
}

/// A conversation as one person's list needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The conversation; its activity as they know of it.
    pub conversation: StoredConversation,
    /// The person's standing; `None` = never named.
    pub member: Option<MemberRecord>,
    /// What they keep.
    pub mine: Mine,
    /// How far they have got. Own messages count as read.
    pub cursors: Cursors,
    /// Messages above the read cursor (or above where the conversation begins for them), without those of people whom they
    /// blocked; with them if there are more than anybody counts.
    pub unread: u64,
    /// The newest message that they may see, folded.
    pub last_message: Option<Item>,
}

/// Heads, members, and what members keep.
pub trait Conversations: Send + Sync {
    /// Groups, blocks and flags, with the positions (one per partition) that the store had reached: one snapshot.
    /// Somebody unknown has an empty view with `disabled`.
    fn view(&self, user: UserId, partitions: u16) -> StoreFuture<'_, View>;

    /// One conversation.
    fn conversation(&self, id: ConversationId) -> StoreFuture<'_, Option<StoredConversation>>;

    /// Everybody ever named in it, tombstones included; at most a few thousand.
    fn members(&self, id: ConversationId) -> StoreFuture<'_, Vec<MemberRecord>>;

    /// One person's standing.
    fn member(&self, id: ConversationId, user: UserId) -> StoreFuture<'_, Option<MemberRecord>>;

    /// All conversations that a person was ever a member of, and those in `also` whether or not they were; one snapshot.
    fn summaries(&self, user: UserId, also: Vec<ConversationId>) -> StoreFuture<'_, Vec<Summary>>;

    /// One of them.
    fn summary(&self, user: UserId, id: ConversationId) -> StoreFuture<'_, Option<Summary>>;

    /// Keeps what a member wants kept. The caller has checked that they are one.
    fn change_mine(
        &self,
        user: UserId,
        id: ConversationId,
        change: MineChange,
    ) -> StoreFuture<'_, ()>;

    /// Moves cursors forward; the larger of each stays.
    fn merge_cursors(&self, cursors: Vec<(ConversationId, UserId, Cursors)>)
    -> StoreFuture<'_, ()>;

    /// Everybody's cursors in a conversation.
    fn cursors(&self, id: ConversationId) -> StoreFuture<'_, Vec<(UserId, Cursors)>>;
}
