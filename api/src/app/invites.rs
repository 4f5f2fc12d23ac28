//! Invite links of groups.
//!
//! Owns: codes. Never does: registration invitations (admin.rs). Talks to: the store, the log. Start reading at:
//! [`App::accept_invite`].

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use protocol::{ConversationId, Producer, Role};
use serde::Serialize;
use utoipa::ToSchema;

use super::{App, AppError, account::take, conversations::Conversation};
use crate::{auth::AuthContext, store::InviteCode};

/// A link that lets people into a group.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Invite {
    /// 22 characters.
    pub code: String,
    /// Path of the page that shows it.
    pub path: String,
}

/// What a link leads to.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct InvitePreview {
    /// Of the group.
    pub title: String,
    /// Members now.
    pub members_count: usize,
}

/// 128 random bits: nobody guesses one.
pub(super) fn random_code() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>())
}

impl App {
    /// The invite link of a group, the same until it is revoked; admins and owners.
    pub async fn invite(&self, who: AuthContext, id: ConversationId) -> Result<Invite, AppError> {
        self.standing(who.user, id).await?.group()?.at_least(who.user, Role::Admin)?;
        let code = self.store().group_invite(id, random_code(), who.user, self.now_ms()).await?;
        Ok(Invite { path: format!("/join/{code}"), code })
    }

    /// Makes the link void.
    pub async fn revoke_invite(
        &self,
        who: AuthContext,
        id: ConversationId,
    ) -> Result<(), AppError> {
        self.standing(who.user, id).await?.group()?.at_least(who.user, Role::Admin)?;
        Ok(self.store().revoke_group_invite(id).await?)
    }

    async fn invited_to(&self, who: AuthContext, code: &str) -> Result<ConversationId, AppError> {
        // Codes cannot be probed quickly either.
        take(&self.limits().searches_per_user, who.user, self.now_ms())?;
        match self.store().invite(code.to_owned()).await? {
            Some(InviteCode::Group(id)) => Ok(id),
            Some(InviteCode::Registration) | None => Err(AppError::NotFound("invitation")),
        }
    }

    /// What a link leads to.
    pub async fn preview_invite(
        &self,
        who: AuthContext,
        code: &str,
    ) -> Result<InvitePreview, AppError> {
        let id = self.invited_to(who, code).await?;
        let current = self.history().current(id).await?;
        let current = current.filter(|current| current.conversation.members > 0);
        let conversation = current.ok_or(AppError::NotFound("invitation"))?.conversation;
        let title = conversation.title.unwrap_or_default();
        Ok(InvitePreview { title, members_count: conversation.members })
    }

    /// Joins the group of a link; a member already just gets there.
    pub async fn accept_invite(
        &self,
        who: AuthContext,
        key: Producer,
        code: &str,
    ) -> Result<Conversation, AppError> {
        let id = self.invited_to(who, code).await?;
        self.check_groups_of(&[who.user]).await?;
        match self.join(who.user, key, id).await {
            Ok(_) | Err(AppError::Conflict("already a member")) => self.conversation(who, id).await,
            Err(error) => Err(error),
        }
    }
}
