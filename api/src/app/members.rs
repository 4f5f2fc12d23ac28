//! Who is in a group: list, add, remove, roles, leave.
//!
//! Owns: these events. Never does: the rules themselves (rules.rs). Talks to: the log, the history reader.
//! Start reading at: [`App::add_members`].

use protocol::{
    ConversationId, EventKind, Producer, Role, UserId,
    body::{MemberBody, MemberChange, canonical},
    limits::GROUP_MEMBERS_MAX,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    App, AppError,
    append::{Appended, Draft, Intent, Standing, Stored, key_of},
    cards::UserCard,
    rules::{self, Group},
};
use crate::auth::AuthContext;

/// Members in one page.
const PAGE_MAX: usize = 200;

/// A member.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MemberInfo {
    /// Who.
    pub user: UserCard,
    /// As what.
    #[schema(value_type = String, example = "member")]
    pub role: Role,
    /// First seq they may see.
    pub since: u64,
}

/// A page of members.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MemberPage {
    /// By user id.
    pub members: Vec<MemberInfo>,
    /// `after` of the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next: Option<UserId>,
}

fn draft(changes: Vec<MemberChange>) -> Draft {
    Draft { kind: EventKind::Member, body: canonical(&MemberBody { changes }) }
}

impl App {
    /// The members of a conversation, by user id.
    pub async fn members(
        &self,
        who: AuthContext,
        id: ConversationId,
        after: Option<UserId>,
        limit: Option<usize>,
    ) -> Result<MemberPage, AppError> {
        self.standing(who.user, id).await?;
        let limit = limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
        let mut members: Vec<(UserId, Role, u64)> = match id.direct_members() {
            Some((a, b)) if a == b => vec![(a, Role::Member, 1)],
            Some((a, b)) => vec![(a, Role::Member, 1), (b, Role::Member, 1)],
            None => {
                let current = self.history().current(id).await?;
                let members = current.map(|current| current.members).unwrap_or_default();
                members.iter().filter_map(|m| Some((m.user, m.role?, m.since))).collect()
            }
        };
        members.sort_unstable_by_key(|(user, ..)| *user);
        members.retain(|(user, ..)| after.is_none_or(|after| *user > after));
        let more = members.len() > limit;
        members.truncate(limit);
        let ids: Vec<UserId> = members.iter().map(|(user, ..)| *user).collect();
        let mut cards = self.cards_by_id(&ids).await?;
        let info = |(user, role, since)| MemberInfo {
            user: cards.remove(&user).unwrap_or_else(|| UserCard::deleted(user)),
            role,
            since,
        };
        let members = members.into_iter().map(info).collect();
        Ok(MemberPage { members, next: ids.last().copied().filter(|_| more) })
    }

    /// Adds people; admins and owners.
    pub async fn add_members(
        &self,
        who: AuthContext,
        key: Producer,
        id: ConversationId,
        users: Vec<UserId>,
    ) -> Result<Appended, AppError> {
        if users.len() > GROUP_MEMBERS_MAX {
            return Err(AppError::TooLarge("a group has at most 1,000 members"));
        }
        let mut unique = users;
        unique.sort_unstable();
        unique.dedup();
        let attempt = async {
            self.standing(who.user, id).await?.group()?.at_least(who.user, Role::Admin)?;
            self.check_joinable(&unique).await?;
            self.check_groups_of(&unique).await?;
            let decide =
                |standing: &Standing| Ok(draft(rules::add(standing.group()?, who.user, &unique)?));
            self.append(who.user, key, id, decide).await
        };
        let intent = Intent::Members(unique.clone(), Some(Role::Member));
        self.once(key_of(who, key, id), intent, attempt).await
    }

    /// Removes somebody, or leaves.
    pub async fn remove_member(
        &self,
        who: AuthContext,
        key: Producer,
        id: ConversationId,
        user: UserId,
    ) -> Result<Appended, AppError> {
        let decide =
            |standing: &Standing| Ok(draft(rules::remove(standing.group()?, who.user, user)?));
        let attempt = self.append(who.user, key, id, decide);
        self.once(key_of(who, key, id), Intent::Members(vec![user], None), attempt).await
    }

    /// Gives somebody another role; owners.
    pub async fn set_role(
        &self,
        who: AuthContext,
        key: Producer,
        id: ConversationId,
        user: UserId,
        role: Role,
    ) -> Result<Appended, AppError> {
        let decide = |standing: &Standing| {
            Ok(draft(rules::set_role(standing.group()?, who.user, user, role)?))
        };
        let attempt = self.append(who.user, key, id, decide);
        self.once(key_of(who, key, id), Intent::Members(vec![user], Some(role)), attempt).await
    }

    /// Joins by an invite link: the event is the new member's own, authorised by the link.
    pub(super) async fn join(
        &self,
        user: UserId,
        key: Producer,
        id: ConversationId,
    ) -> Result<Stored, AppError> {
        let decide = |group: &Group| Ok(draft(rules::join_by_link(group, user)?));
        self.append_to_group(user, key, id, decide).await
    }

    /// Leaves all groups, because the account ends.
    pub(super) async fn leave_all_groups(&self, who: AuthContext) -> Result<(), AppError> {
        for summary in self.history().summaries(who.user).await? {
            let id = summary.conversation.id;
            if !id.is_group() || summary.member.is_none_or(|member| member.role.is_none()) {
                continue;
            }
            let decide = |group: &Group| Ok(draft(rules::leave_for_good(group, who.user)?));
            match self.append_to_group(who.user, Producer(rand::random()), id, decide).await {
                // Removed by somebody else meanwhile: that is what was wanted.
                Ok(_) | Err(AppError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
