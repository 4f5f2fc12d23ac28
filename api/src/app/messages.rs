//! Publish for bots, edit, delete, react.
//!
//! Owns: who may change which message. Never does: publish for browsers (the socket does). Talks to: the log.
//! Start reading at: [`App::edit`].

use std::borrow::Cow;

use protocol::{
    ConversationId, ErrorCode, EventKind, Producer, Role,
    body::{DeleteBody, EditBody, MessageBody, ReactionBody, canonical, check_text},
    limits::EMOJI_BYTES_MAX,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    App, AppError,
    append::{Appended, Draft, Intent, Standing, key_of},
};
use crate::{auth::AuthContext, projection::Item};

/// A message to publish.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// 1 to 16,384 bytes.
    pub text: String,
    /// Seq of the message that this one answers.
    #[serde(default)]
    pub reply_to: Option<u64>,
}

/// A message that is in the log.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Published {
    /// Its place.
    pub seq: u64,
    /// Unix milliseconds.
    pub ts: u64,
}

fn refused(code: ErrorCode) -> AppError {
    match code {
        ErrorCode::TooLarge => AppError::TooLarge("the text is over 16 KiB"),
        _ => AppError::field("text", "empty_or_control_characters"),
    }
}

impl App {
    /// Publishes a message.
    pub async fn publish(
        &self,
        who: AuthContext,
        key: Producer,
        id: ConversationId,
        message: NewMessage,
    ) -> Result<Published, AppError> {
        let NewMessage { text, reply_to } = message;
        let body = MessageBody { text: Cow::Owned(text), reply_to, attachments: Vec::new() };
        body.check().map_err(refused)?;
        let decide = |_: &Standing| Ok(Draft { kind: EventKind::Message, body: canonical(&body) });
        let stored = self.append(who.user, key, id, decide).await?;
        Ok(Published { seq: stored.seq, ts: stored.ts })
    }

    /// A message that this member may see.
    pub(super) async fn message(
        &self,
        who: AuthContext,
        id: ConversationId,
        seq: u64,
    ) -> Result<Item, AppError> {
        self.stores_messages()?;
        let summary = self.summary(who, id).await?;
        let since = summary.member.map_or(1, |member| member.since);
        let mut items = self.history().items(id, vec![seq], Vec::new()).await?;
        let item = items.pop().filter(|item| item.seq == seq && item.seq >= since);
        item.filter(|item| item.message().is_some()).ok_or(AppError::NotFound("message"))
    }

    /// The same, if it is no tombstone.
    async fn living_message(
        &self,
        who: AuthContext,
        id: ConversationId,
        seq: u64,
    ) -> Result<Item, AppError> {
        let item = self.message(who, id, seq).await?;
        if item.message().is_some_and(|message| message.deleted) {
            return Err(AppError::Conflict("this message was deleted"));
        }
        Ok(item)
    }

    /// Gives one's own message another text.
    pub async fn edit(
        &self,
        who: AuthContext,
        key: Producer,
        id: ConversationId,
        seq: u64,
        text: String,
    ) -> Result<Appended, AppError> {
        let body = canonical(&EditBody { target: seq, text: Cow::Borrowed(&text) });
        let attempt = async {
            let item = self.living_message(who, id, seq).await?;
            if item.from != who.user {
                return Err(AppError::Forbidden("only one's own messages can be edited"));
            }
            let required = item.message().is_none_or(|message| message.attachments.is_empty());
            check_text(&text, required).map_err(refused)?;
            let decide = |_: &Standing| Ok(Draft { kind: EventKind::Edit, body: body.clone() });
            self.append(who.user, key, id, decide).await
        };
        let intent = Intent::Event(EventKind::Edit, body.clone());
        self.once(key_of(who, key, id), intent, attempt).await
    }

    /// Deletes one's own message, or as admin or owner of a group anyone's.
    pub async fn delete(
        &self,
        who: AuthContext,
        key: Producer,
        id: ConversationId,
        seq: u64,
    ) -> Result<Appended, AppError> {
        let body = canonical(&DeleteBody { target: seq });
        let attempt = async {
            let from = self.living_message(who, id, seq).await?.from;
            let decide = |standing: &Standing| {
                if from != who.user {
                    let group = standing.group();
                    let refused = |_| AppError::Forbidden("this message is another's");
                    group.map_err(refused)?.at_least(who.user, Role::Admin)?;
                }
                Ok(Draft { kind: EventKind::Delete, body: body.clone() })
            };
            self.append(who.user, key, id, decide).await
        };
        let intent = Intent::Event(EventKind::Delete, body.clone());
        self.once(key_of(who, key, id), intent, attempt).await
    }

    /// Puts an emoji on a message, or takes one's own off.
    pub async fn react(
        &self,
        who: AuthContext,
        key: Producer,
        id: ConversationId,
        seq: u64,
        emoji: String,
        on: bool,
    ) -> Result<Appended, AppError> {
        // What an emoji is changes with every Unicode release; what it is not does not: long, or text to be read.
        let plain = |c: char| c.is_alphabetic() || c.is_whitespace() || c.is_control();
        if emoji.is_empty() || emoji.len() > EMOJI_BYTES_MAX || emoji.chars().any(plain) {
            return Err(AppError::field("emoji", "not_an_emoji"));
        }
        let body = canonical(&ReactionBody { target: seq, emoji: Cow::Owned(emoji), on });
        let attempt = async {
            self.living_message(who, id, seq).await?;
            let decide = |_: &Standing| Ok(Draft { kind: EventKind::Reaction, body: body.clone() });
            self.append(who.user, key, id, decide).await
        };
        let intent = Intent::Event(EventKind::Reaction, body.clone());
        self.once(key_of(who, key, id), intent, attempt).await
    }
}
