//! Groups: their birth and their settings.
//!
//! Owns: these two events. Never does: members of a living group (members.rs). Talks to: the log. Start reading at:
//! [`App::create_group`].

use std::borrow::Cow;

use aws_lc_rs::digest::{SHA256, digest};
use backplane::{Envelope, Key};
use protocol::{
    ConversationId, EventKind, Producer, Role, UserId,
    body::{CreatedBody, HistoryAccess, MemberChange, SettingsBody, canonical},
    limits::{GROUP_MEMBERS_MAX, GROUPS_PER_USER_MAX},
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    App, AppError,
    account::take,
    append::{Appended, Draft},
    conversations::Conversation,
    names,
};
use crate::auth::AuthContext;

/// A group to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGroup {
    /// At most 80 characters.
    pub title: String,
    /// The first members beside the creator.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub members: Vec<UserId>,
    /// What later members may see.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "joined")]
    pub history: HistoryAccess,
}

/// Settings to change; absent ones stay.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConversationChange {
    /// New title.
    #[serde(default)]
    pub title: Option<String>,
    /// What later members may see.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "all")]
    pub history: Option<HistoryAccess>,
}

/// The id of a group follows from who makes it under which key, so that a repeated request makes no second one.
fn group_id(by: UserId, key: Producer) -> ConversationId {
    let named = digest(&SHA256, format!("webchat group {by} {key}").as_bytes());
    let random = named.as_ref().iter().take(16).fold(0u128, |id, byte| id << 8 | u128::from(*byte));
    ConversationId::group(random)
}

impl App {
    /// Makes a group; its creator is the owner.
    pub async fn create_group(
        &self,
        who: AuthContext,
        key: Producer,
        group: NewGroup,
    ) -> Result<Conversation, AppError> {
        let title = names::title(&group.title)?;
        let mut members = group.members;
        members.sort_unstable();
        members.dedup();
        members.retain(|user| *user != who.user);
        if members.len() + 1 > GROUP_MEMBERS_MAX {
            return Err(AppError::TooLarge("a group has at most 1,000 members"));
        }
        take(&self.limits().appends_per_user, who.user, self.now_ms())?;
        self.check_joinable(&members).await?;
        self.check_groups_of(&[who.user]).await?;
        let id = group_id(who.user, key);
        let owner = MemberChange { user: who.user, role: Some(Role::Owner), since: 1 };
        let member = |user| MemberChange { user, role: Some(Role::Member), since: 1 };
        let members = std::iter::once(owner).chain(members.into_iter().map(member)).collect();
        let body = CreatedBody { title: Some(Cow::Owned(title)), history: group.history, members };
        let key = Key { conversation: id, user: who.user, producer: key, no: 1 };
        let envelope = Envelope::new(key, 0, EventKind::Created, canonical(&body).into());
        match self.append_envelope(envelope).await? {
            Some(_) => self.conversation(who, id).await,
            None => Err(AppError::Conflict("this idempotency key was used for something else")),
        }
    }

    /// Everybody named has an account that is in use.
    pub(super) async fn check_joinable(&self, users: &[UserId]) -> Result<(), AppError> {
        if users.is_empty() {
            return Ok(());
        }
        let found = self.store().users(users.to_vec()).await?;
        let usable = found.iter().filter(|user| !user.deleted && !user.disabled).count();
        if usable == users.len() { Ok(()) } else { Err(AppError::NotFound("user")) }
    }

    /// Nobody gets into more groups than a node keeps for a user.
    pub(super) async fn check_groups_of(&self, users: &[UserId]) -> Result<(), AppError> {
        for user in users {
            let view = self.parts.archive.view(*user).await.map_err(|_| AppError::unavailable())?;
            if view.groups.iter().filter(|g| g.role.is_some()).count() >= GROUPS_PER_USER_MAX {
                return Err(AppError::Forbidden("somebody is in 1,000 groups already"));
            }
        }
        Ok(())
    }

    /// Changes title or history access; admins and owners.
    pub async fn change_group(
        &self,
        who: AuthContext,
        key: Producer,
        id: ConversationId,
        change: ConversationChange,
    ) -> Result<Appended, AppError> {
        let title = change.title.as_deref().map(names::title).transpose()?;
        if title.is_none() && change.history.is_none() {
            return Err(AppError::BadRequest("nothing to change"));
        }
        let body = SettingsBody { title: title.map(Cow::Owned), history: change.history };
        let decide = |standing: &super::append::Standing| {
            standing.group()?.at_least(who.user, Role::Admin)?;
            Ok(Draft { kind: EventKind::Settings, body: canonical(&body) })
        };
        Ok(self.append(who.user, key, id, decide).await?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_key_of_the_same_person_names_the_same_group() {
        let id = group_id(UserId(1), Producer(2));
        assert!(id.is_group());
        assert_eq!(id, group_id(UserId(1), Producer(2)));
        assert_ne!(id, group_id(UserId(2), Producer(2)));
        assert_ne!(id, group_id(UserId(1), Producer(3)));
    }
}
