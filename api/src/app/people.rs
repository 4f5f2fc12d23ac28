//! Finding people, and blocking them.
//!
//! Owns: who can find whom (`directory`). Never does: presence (online.rs). Talks to: the store. Start reading at:
//! [`App::search_users`].

use std::collections::HashMap;

use protocol::{UserId, event::UserChange};

use super::{
    App, AppError,
    account::take,
    cards::{UserCard, UserList},
};
use crate::{
    auth::AuthContext,
    store::{Directory, PeopleQuery},
};

/// People in one answer.
const FOUND_MAX: usize = 50;
/// People in one answer if nothing is said.
const FOUND_DEFAULT: usize = 20;
/// Characters of a search text: a display name's.
const NEEDLE_CHARS_MAX: usize = protocol::limits::DISPLAY_NAME_CHARS_MAX;

/// A search text, cut.
pub(super) fn needle(text: &str) -> String {
    text.trim().chars().take(NEEDLE_CHARS_MAX).collect()
}

impl App {
    /// People by the beginning of a name.
    pub async fn search_users(
        &self,
        who: AuthContext,
        text: &str,
        limit: Option<usize>,
    ) -> Result<UserList, AppError> {
        take(&self.limits().searches_per_user, who.user, self.now_ms())?;
        let query = PeopleQuery {
            text: needle(text),
            contacts_of: self.contacts_only().await?.then_some(who.user),
            limit: limit.unwrap_or(FOUND_DEFAULT).clamp(1, FOUND_MAX),
            ..PeopleQuery::default()
        };
        let users = self.store().find_people(query).await?;
        Ok(UserList { users: users.iter().map(UserCard::of).collect() })
    }

    /// Whether people find only those with whom they share a conversation. If so, the store then knows who is in which.
    pub(super) async fn contacts_only(&self) -> Result<bool, AppError> {
        let only = self.store().settings().await?.directory == Directory::Contacts;
        if only {
            self.history().settle_all().await?;
        }
        Ok(only)
    }

    /// Cards by id. Everybody whose id one has: it came from a conversation, or from a search.
    pub async fn cards(&self, _: AuthContext, ids: &[UserId]) -> Result<UserList, AppError> {
        let found = self.cards_by_id(ids).await?;
        Ok(UserList { users: ids.iter().filter_map(|id| found.get(id).cloned()).collect() })
    }

    /// Cards of those that exist, deleted accounts too.
    pub(super) async fn cards_by_id(
        &self,
        ids: &[UserId],
    ) -> Result<HashMap<UserId, UserCard>, AppError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let users = self.store().users(ids.to_vec()).await?;
        Ok(users.iter().map(|user| (user.id, UserCard::of(user))).collect())
    }

    /// One card.
    pub async fn card(&self, _: AuthContext, user: UserId) -> Result<UserCard, AppError> {
        let found = self.store().user(user).await?;
        found.as_ref().map(UserCard::of).ok_or(AppError::NotFound("user"))
    }

    /// Whom I blocked.
    pub async fn blocked(&self, who: AuthContext) -> Result<UserList, AppError> {
        let ids = self.store().blocked(who.user).await?;
        let cards = self.cards_by_id(&ids).await?;
        Ok(UserList { users: ids.iter().filter_map(|id| cards.get(id).cloned()).collect() })
    }

    /// Blocks or unblocks somebody. Nobody is told but my own devices.
    pub async fn set_blocked(
        &self,
        who: AuthContext,
        other: UserId,
        on: bool,
    ) -> Result<(), AppError> {
        if other == who.user {
            return Err(AppError::Conflict("nobody blocks themselves"));
        }
        if on && self.store().user(other).await?.is_none() {
            return Err(AppError::NotFound("user"));
        }
        if !self.store().set_blocked(who.user, other, on, self.now_ms()).await? {
            return Err(AppError::TooLarge("the block list is full"));
        }
        self.tell(who.user, UserChange::Blocked).await;
        Ok(())
    }
}
