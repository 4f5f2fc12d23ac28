//! What a member keeps about a conversation for themselves.
//!
//! Owns: these flags. Never does: show them to anybody else. Talks to: the store, `Live`. Start reading at: [`App::set_mine`].

use protocol::{ConversationId, event::UserChange};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{App, AppError};
use crate::{
    auth::AuthContext,
    store::{self, DRAFT_BYTES_MAX},
};

/// Flags to change; absent ones stay.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MineChange {
    /// No notifications.
    pub muted: Option<bool>,
    /// On top of the list.
    pub pinned: Option<bool>,
    /// Not in the list.
    pub hidden: Option<bool>,
    /// Shown as unread.
    pub marked_unread: Option<bool>,
    /// Text not sent yet; at most 16 KiB.
    pub draft: Option<String>,
}

impl App {
    /// Changes one's own flags of a conversation, and tells one's other devices.
    pub async fn set_mine(
        &self,
        who: AuthContext,
        id: ConversationId,
        change: MineChange,
    ) -> Result<(), AppError> {
        let MineChange { muted, pinned, hidden, marked_unread, draft } = change;
        if draft.as_ref().is_some_and(|draft| draft.len() > DRAFT_BYTES_MAX) {
            return Err(AppError::TooLarge("the draft is over 16 KiB"));
        }
        self.standing(who.user, id).await?;
        let change = store::MineChange { muted, pinned, hidden, marked_unread, draft };
        self.store().change_mine(who.user, id, change).await?;
        self.tell(who.user, UserChange::Conversations).await;
        Ok(())
    }
}
