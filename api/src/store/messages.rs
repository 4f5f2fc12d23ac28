//! Events and messages in the store.
//!
//! Owns: the questions about history and search. Never does: decide who may ask. Talks to: nobody.
//! Start reading at: [`Messages::page`].

use backplane::{Found, Head, Key, StoredEvent};
use protocol::{ConversationId, UserId};

use super::StoreFuture;
use crate::projection::Item;

/// For whom a page is made: what they may not see is left out by the store, in the same snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewer {
    /// First seq they may see.
    pub since: u64,
    /// Whose messages and reactions are withheld.
    pub blocked: Vec<UserId>,
}

/// Which page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// The last items.
    Newest,
    /// The last items below this seq.
    Before(u64),
    /// The first items above this seq.
    After(u64),
    /// Half below, the rest from this seq on.
    Around(u64),
}

/// A page of folded history.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoredPage {
    /// The state is as of here. The default (seq 0) = no such conversation yet.
    pub head: Head,
    /// Ascending by seq.
    pub items: Vec<Item>,
    /// There are visible ones below the first.
    pub more_before: bool,
    /// There are visible ones above the last, up to the head.
    pub more_after: bool,
}

/// Where to look for messages, for one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// In this conversation …
    pub conversation: ConversationId,
    /// … from this seq on.
    pub since: u64,
}

/// A place in the order of search results: newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SearchPlace {
    /// Unix milliseconds of the message.
    pub ts: u64,
    /// Its conversation.
    pub conversation: ConversationId,
    /// Its seq.
    pub seq: u64,
}

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// As the person typed it: all words, each as a prefix; runs of CJK as substrings.
    pub text: String,
    /// Only here: the caller names what the person is a member of.
    pub scopes: Vec<Scope>,
    /// Whose messages are withheld.
    pub blocked: Vec<UserId>,
    /// The last hit of the page before.
    pub before: Option<SearchPlace>,
    /// At most this many.
    pub limit: usize,
}

/// A message that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Where.
    pub place: SearchPlace,
    /// Who wrote it.
    pub from: UserId,
    /// Its text now.
    pub text: String,
}

/// A message of somebody's own, for their export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnMessage {
    /// Where.
    pub conversation: ConversationId,
    /// Its place.
    pub seq: u64,
    /// Unix milliseconds.
    pub ts: u64,
    /// Its text now.
    pub text: String,
}

/// Reads of history.
pub trait Messages: Send + Sync {
    /// Where a conversation stands; `None` = not there.
    fn head(&self, conversation: ConversationId) -> StoreFuture<'_, Option<Head>>;

    /// Events `from ..= to` in order, holes included; at most [`protocol::limits::PAGE_MAX`].
    fn events(
        &self,
        conversation: ConversationId,
        from: u64,
        to: u64,
    ) -> StoreFuture<'_, Vec<StoredEvent>>;

    /// What is stored under an idempotency key, and of its producer.
    fn find(&self, key: Key) -> StoreFuture<'_, Found>;

    /// A page of folded items.
    fn page(
        &self,
        conversation: ConversationId,
        viewer: Viewer,
        anchor: Anchor,
        limit: usize,
    ) -> StoreFuture<'_, StoredPage>;

    /// Folded items by seq, as far as they exist and are items (not edits, deletes, reactions), whoever may see them.
    /// Reactions of `blocked` are left out.
    fn items(
        &self,
        conversation: ConversationId,
        seqs: Vec<u64>,
        blocked: Vec<UserId>,
    ) -> StoreFuture<'_, Vec<Item>>;

    /// Messages that match, newest first.
    fn search(&self, search: Search) -> StoreFuture<'_, Vec<Hit>>;

    /// Somebody's own messages that are not deleted, conversation by conversation, each in order.
    fn own_messages(
        &self,
        user: UserId,
        after: Option<(ConversationId, u64)>,
        limit: usize,
    ) -> StoreFuture<'_, Vec<OwnMessage>>;
}
