//! Pages of folded history.
//!
//! Owns: [`Item`] as clients see it, quotes. Never does: fold (projection.rs). Talks to: the history reader.
//! Start reading at: [`App::messages`].

use std::collections::HashMap;

use protocol::{ConversationId, Producer, UserId};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

pub use crate::store::Anchor;

use super::{App, AppError};
use crate::{
    auth::AuthContext,
    projection::{self, ItemKind, MessageState},
    store::Viewer,
};

/// Items of one page.
const ITEMS_MAX: usize = 100;
/// Items of one page if nothing is said.
const ITEMS_DEFAULT: usize = 50;
/// Characters of a quote.
const QUOTE_CHARS_MAX: usize = 200;

/// The message that another one answers.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Quote {
    /// Its place.
    pub seq: u64,
    /// Whose.
    #[schema(value_type = String)]
    pub from: UserId,
    /// The beginning of its text now.
    pub text: String,
    /// A tombstone.
    pub deleted: bool,
}

/// An emoji with who put it there.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ReactionInfo {
    /// The emoji.
    pub emoji: String,
    /// In the order of their first time.
    #[schema(value_type = Vec<String>)]
    pub users: Vec<UserId>,
}

/// A message, folded.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MessageItem {
    /// Its place.
    pub seq: u64,
    /// Messages up to it.
    pub ordinal: u64,
    /// `message`.
    pub kind: &'static str,
    /// Whose.
    #[schema(value_type = String)]
    pub from: UserId,
    /// The key.
    #[schema(value_type = String)]
    pub producer: Producer,
    /// The key.
    pub no: u64,
    /// Unix milliseconds.
    pub ts: u64,
    /// Its text now; empty when deleted.
    pub text: String,
    /// What it answers; null too when I may not see that.
    pub reply_to: Option<Quote>,
    /// Ids of files.
    pub attachments: Vec<String>,
    /// Unix milliseconds of the last edit.
    pub edited_ts: Option<u64>,
    /// A tombstone.
    pub deleted: bool,
    /// What is on it.
    pub reactions: Vec<ReactionInfo>,
}

/// `created`, `member` or `settings`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct NoteItem {
    /// Its place.
    pub seq: u64,
    /// Messages up to it.
    pub ordinal: u64,
    /// Which of the three.
    pub kind: &'static str,
    /// Whose.
    #[schema(value_type = String)]
    pub from: UserId,
    /// Unix milliseconds.
    pub ts: u64,
    /// As on the socket.
    #[schema(value_type = Object)]
    pub body: Box<RawValue>,
}

/// One line of history.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Item {
    /// A message.
    Message(Box<MessageItem>),
    /// A change of the conversation.
    Note(NoteItem),
}

/// A page of history.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MessagePage {
    /// The state is as of this seq: also the position after applying the page.
    pub as_of: u64,
    /// Lifetime of the numbering.
    pub epoch: u32,
    /// Ascending by seq.
    pub items: Vec<Item>,
    /// There is more below the first.
    pub more_before: bool,
    /// There is more above the last.
    pub more_after: bool,
}

impl App {
    /// A page of folded history, without what this member may not see.
    pub async fn messages(
        &self,
        who: AuthContext,
        id: ConversationId,
        anchor: Anchor,
        limit: Option<usize>,
    ) -> Result<MessagePage, AppError> {
        self.stores_messages()?;
        let limit = limit.unwrap_or(ITEMS_DEFAULT).clamp(1, ITEMS_MAX);
        let summary = self.summary(who, id).await?;
        let since = summary.member.map_or(1, |member| member.since);
        let blocked = self.store().blocked(who.user).await?;
        let viewer = Viewer { since, blocked };
        let page = self.history().page(id, viewer.clone(), anchor, limit).await?;
        let quotes = self.quotes(id, &page.items, &viewer).await?;
        let items = page.items.into_iter().map(|item| shown(item, &quotes));
        Ok(MessagePage {
            as_of: page.head.seq,
            epoch: page.head.epoch,
            items: items.collect::<Result<_, _>>()?,
            more_before: page.more_before,
            more_after: page.more_after,
        })
    }

    async fn quotes(
        &self,
        id: ConversationId,
        items: &[projection::Item],
        viewer: &Viewer,
    ) -> Result<HashMap<u64, Quote>, AppError> {
        let targets = items.iter().filter_map(|item| item.message()?.reply_to);
        let mut targets: Vec<u64> = targets.filter(|seq| *seq >= viewer.since).collect();
        targets.sort_unstable();
        targets.dedup();
        if targets.is_empty() {
            return Ok(HashMap::new());
        }
        let found = self.history().items(id, targets, viewer.blocked.clone()).await?;
        let quote = |item: &projection::Item| {
            let message = item.message().filter(|_| !viewer.blocked.contains(&item.from))?;
            let text = message.text.chars().take(QUOTE_CHARS_MAX).collect();
            let deleted = message.deleted;
            Some((item.seq, Quote { seq: item.seq, from: item.from, text, deleted }))
        };
        Ok(found.iter().filter_map(quote).collect())
    }
}

fn shown(item: projection::Item, quotes: &HashMap<u64, Quote>) -> Result<Item, AppError> {
    let projection::Item { seq, ordinal, from, producer, no, ts, kind } = item;
    match kind {
        ItemKind::Message(state) => {
            let MessageState { text, reply_to, attachments, edited_ts, deleted, reactions } = state;
            let reaction =
                |r: projection::Reaction| ReactionInfo { emoji: r.emoji, users: r.users };
            Ok(Item::Message(Box::new(MessageItem {
                seq,
                ordinal,
                kind: "message",
                from,
                producer,
                no,
                ts,
                text,
                reply_to: reply_to.and_then(|seq| quotes.get(&seq).cloned()),
                attachments,
                edited_ts,
                deleted,
                reactions: reactions.into_iter().map(reaction).collect(),
            })))
        }
        ItemKind::Note(kind, body) => {
            let body = serde_json::from_slice(&body)
                .map_err(|_| AppError::Internal("a stored body is no json".to_owned()))?;
            Ok(Item::Note(NoteItem { seq, ordinal, kind: kind.as_str(), from, ts, body }))
        }
    }
}
