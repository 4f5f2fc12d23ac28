//! Conversations as a member sees them, and the birth of direct ones.
//!
//! Owns: [`Conversation`]. Never does: groups (groups.rs), history (pages.rs). Talks to: the history reader, the log.
//! Start reading at: [`App::conversations`].

use std::collections::HashMap;

use backplane::{Envelope, Key};
use protocol::{
    ConversationId, EventKind, Producer, Role, UserId,
    body::{CreatedBody, HistoryAccess, MemberChange, canonical},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{App, AppError, account::take, cards::UserCard};
use crate::{auth::AuthContext, projection::Item, store::Summary};

/// Where a conversation stands.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct HeadInfo {
    /// Lifetime of the numbering.
    pub epoch: u32,
    /// Last seq.
    pub seq: u64,
    /// Messages so far.
    pub ordinal: u64,
}

/// The newest message that I may see.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LastMessage {
    /// Its place.
    pub seq: u64,
    /// Whose.
    #[schema(value_type = String)]
    pub from: UserId,
    /// Its text now; empty when deleted.
    pub text: String,
    /// Unix milliseconds.
    pub ts: u64,
    /// A tombstone.
    pub deleted: bool,
    /// Always `message` today.
    pub kind: String,
}

/// A conversation as I see it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Conversation {
    /// 32 hex digits.
    #[schema(value_type = String)]
    pub id: ConversationId,
    /// `direct` or `group`.
    pub kind: &'static str,
    /// Of a group.
    pub title: Option<String>,
    /// The other side of a direct one (oneself, in a talk with oneself).
    pub other: Option<UserCard>,
    /// Members now.
    pub members_count: usize,
    /// Mine; null: not a member any more.
    #[schema(value_type = Option<String>, example = "member")]
    pub role: Option<Role>,
    /// First seq that I may see.
    pub since: u64,
    /// Seq of the last change of members; 0 for direct ones.
    pub mver: u64,
    /// What later members may see.
    #[schema(value_type = String, example = "joined")]
    pub history: HistoryAccess,
    /// Where it stands.
    pub head: HeadInfo,
    /// Up to here I have read.
    pub read: u64,
    /// Up to here it is on a device of mine.
    pub delivered: u64,
    /// Messages above my read cursor.
    pub unread: u64,
    /// The newest message that I may see.
    pub last_message: Option<LastMessage>,
    /// Unix milliseconds of the last message, or of the birth; of my joining, if nobody has written since.
    pub activity_ts: u64,
    /// No notifications.
    pub muted: bool,
    /// On top of the list.
    pub pinned: bool,
    /// Not in the list.
    pub hidden: bool,
    /// Shown as unread.
    pub marked_unread: bool,
    /// Text not sent yet.
    pub draft: String,
}

/// All my conversations.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ConversationList {
    /// Latest activity first.
    pub conversations: Vec<Conversation>,
}

fn last_message(item: &Item) -> Option<LastMessage> {
    let message = item.message()?;
    Some(LastMessage {
        seq: item.seq,
        from: item.from,
        text: message.text.clone(),
        ts: item.ts,
        deleted: message.deleted,
        kind: "message".to_owned(),
    })
}

fn shown(summary: Summary, who: UserId, cards: &HashMap<UserId, UserCard>) -> Conversation {
    let Summary { conversation, member, mine, cursors, unread, last_message: last } = summary;
    let id = conversation.id;
    let other = id
        .other(who)
        .map(|other| cards.get(&other).cloned().unwrap_or_else(|| UserCard::deleted(other)));
    let direct_role = id.names(who).then_some(Role::Member);
    Conversation {
        id,
        kind: if id.is_group() { "group" } else { "direct" },
        title: conversation.title,
        other,
        members_count: conversation.members,
        role: if id.is_group() { member.and_then(|member| member.role) } else { direct_role },
        since: member.map_or(1, |member| member.since),
        mver: conversation.head.mver,
        history: conversation.history,
        head: HeadInfo {
            epoch: conversation.head.epoch,
            seq: conversation.head.seq,
            ordinal: conversation.head.ordinal,
        },
        read: cursors.read,
        delivered: cursors.delivered,
        unread,
        last_message: last.as_ref().and_then(last_message),
        activity_ts: conversation.activity_ts,
        muted: mine.muted,
        pinned: mine.pinned,
        hidden: mine.hidden,
        marked_unread: mine.marked_unread,
        draft: mine.draft,
    }
}

impl App {
    /// All conversations that I am in now.
    pub async fn conversations(&self, who: AuthContext) -> Result<ConversationList, AppError> {
        let mut summaries = self.history().summaries(who.user).await?;
        summaries.retain(|summary| is_member(summary, who.user));
        let others = summaries.iter().filter_map(|s| s.conversation.id.other(who.user));
        let cards = self.cards_by_id(&others.collect::<Vec<_>>()).await?;
        let shown = summaries.into_iter().map(|summary| shown(summary, who.user, &cards));
        let mut conversations: Vec<Conversation> = shown.collect();
        conversations.sort_unstable_by_key(|c| std::cmp::Reverse((c.activity_ts, c.id)));
        Ok(ConversationList { conversations })
    }

    /// One of them.
    pub async fn conversation(
        &self,
        who: AuthContext,
        id: ConversationId,
    ) -> Result<Conversation, AppError> {
        let summary = self.summary(who, id).await?;
        let other: Vec<UserId> = id.other(who.user).into_iter().collect();
        let cards = self.cards_by_id(&other).await?;
        Ok(shown(summary, who.user, &cards))
    }

    /// What a member's reads are authorised by. To everybody else the conversation does not exist.
    pub(super) async fn summary(
        &self,
        who: AuthContext,
        id: ConversationId,
    ) -> Result<Summary, AppError> {
        let summary = self.history().summary(who.user, id).await?;
        summary.filter(|s| is_member(s, who.user)).ok_or(AppError::NotFound("conversation"))
    }

    /// The direct conversation with somebody, and whether this call made it. Two people who make it at once make it once:
    /// the log takes one birth.
    pub async fn direct(
        &self,
        who: AuthContext,
        other: UserId,
    ) -> Result<(bool, Conversation), AppError> {
        let user = self.store().user(other).await?.ok_or(AppError::NotFound("user"))?;
        let id = ConversationId::direct(who.user, other);
        if self.history().head(id).await?.is_some() {
            return Ok((false, self.conversation(who, id).await?));
        }
        if user.deleted || user.disabled {
            return Err(AppError::NotFound("user"));
        }
        take(&self.limits().appends_per_user, who.user, self.now_ms())?;
        let created = self.create_direct(who.user, id).await?;
        Ok((created, self.conversation(who, id).await?))
    }

    /// Appends the birth of a direct conversation; `false`: it was there.
    pub(crate) async fn create_direct(
        &self,
        by: UserId,
        id: ConversationId,
    ) -> Result<bool, AppError> {
        let Some((a, b)) = id.direct_members() else { return Err(AppError::NotFound("user")) };
        let member = |user| MemberChange { user, role: Some(Role::Member), since: 1 };
        let members = if a == b { vec![member(a)] } else { vec![member(a), member(b)] };
        let body = CreatedBody { title: None, history: HistoryAccess::All, members };
        // Always the same key, so that a repeated birth is a duplicate.
        let key = Key { conversation: id, user: by, producer: Producer(by.0), no: 1 };
        let envelope = Envelope::new(key, 0, EventKind::Created, canonical(&body).into());
        match self.append_envelope(envelope).await {
            Ok(Some(stored)) => Ok(!stored.again),
            // The log knows the conversation: the other one was faster.
            Ok(None) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn is_member(summary: &Summary, user: UserId) -> bool {
    let id = summary.conversation.id;
    if id.is_group() {
        summary.member.is_some_and(|member| member.role.is_some())
    } else {
        id.names(user)
    }
}
