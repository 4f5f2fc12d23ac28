//! Who may do what in a group: the rules, without IO.
//!
//! Owns: [`Group`] as it stands, and the member changes that an action amounts to. Never does: append, or look anything up.
//! Talks to: nobody. Start reading at: [`add`].

use std::collections::BTreeMap;

use protocol::{
    Role, UserId,
    body::{HistoryAccess, MemberChange},
    limits::GROUP_MEMBERS_MAX,
};

use super::AppError;

/// Somebody in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// As what.
    pub role: Role,
    /// The first seq they may see: another role changes nothing about that.
    pub since: u64,
}

/// A group under one `mver`.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// Seq of its last membership event; every append names it.
    pub mver: u64,
    /// What later members may see.
    pub history: HistoryAccess,
    /// Everybody in it.
    pub members: BTreeMap<UserId, Place>,
}

impl Group {
    /// The role of somebody; to outsiders the group does not exist.
    pub fn role(&self, user: UserId) -> Result<Role, AppError> {
        let place = self.members.get(&user).ok_or(AppError::NotFound("conversation"))?;
        Ok(place.role)
    }

    /// The role, if it is enough.
    pub fn at_least(&self, user: UserId, role: Role) -> Result<Role, AppError> {
        let own = self.role(user)?;
        if own >= role {
            Ok(own)
        } else {
            Err(AppError::Forbidden("your role does not allow this"))
        }
    }

    fn is_last_owner(&self, user: UserId) -> bool {
        let mut owners = self.members.iter().filter(|(_, place)| place.role == Role::Owner);
        owners.next().is_some_and(|(owner, _)| *owner == user) && owners.next().is_none()
    }
}

/// Adds people who are not members yet.
pub fn add(group: &Group, actor: UserId, users: &[UserId]) -> Result<Vec<MemberChange>, AppError> {
    group.at_least(actor, Role::Admin)?;
    join(group, users)
}

/// Joins by a link. A group that everybody left has no owner and gets none: its links lead nowhere.
pub fn join_by_link(group: &Group, user: UserId) -> Result<Vec<MemberChange>, AppError> {
    if group.members.is_empty() {
        return Err(AppError::NotFound("invitation"));
    }
    join(group, &[user])
}

/// What joining amounts to, whoever allowed it.
fn join(group: &Group, users: &[UserId]) -> Result<Vec<MemberChange>, AppError> {
    let since = match group.history {
        HistoryAccess::All => 1,
        // 0: the seq of the event itself.
        HistoryAccess::Joined => 0,
    };
    let mut users: Vec<UserId> = users.to_vec();
    users.sort_unstable();
    users.dedup();
    users.retain(|user| !group.members.contains_key(user));
    if users.is_empty() {
        return Err(AppError::Conflict("already a member"));
    }
    if group.members.len() + users.len() > GROUP_MEMBERS_MAX {
        return Err(AppError::Forbidden("a group has at most 1,000 members"));
    }
    let change = |user| MemberChange { user, role: Some(Role::Member), since };
    Ok(users.into_iter().map(change).collect())
}

/// Removes somebody, or oneself. Admins remove members; owners remove anyone.
pub fn remove(group: &Group, actor: UserId, target: UserId) -> Result<Vec<MemberChange>, AppError> {
    let own = group.role(actor)?;
    let role = group.members.get(&target).ok_or(AppError::NotFound("member"))?.role;
    let outranks = own == Role::Owner || (own == Role::Admin && role == Role::Member);
    if actor != target && !outranks {
        return Err(AppError::Forbidden("your role does not allow this"));
    }
    if group.is_last_owner(target) && group.members.len() > 1 {
        return Err(AppError::Conflict("the last owner hands the group over first"));
    }
    Ok(vec![MemberChange { user: target, role: None, since: 0 }])
}

/// Gives somebody another role; only owners do, and never the last one to themselves.
pub fn set_role(
    group: &Group,
    actor: UserId,
    target: UserId,
    role: Role,
) -> Result<Vec<MemberChange>, AppError> {
    group.at_least(actor, Role::Owner)?;
    let Place { role: old, since } =
        group.members.get(&target).copied().ok_or(AppError::NotFound("member"))?;
    if old == role {
        return Err(AppError::Conflict("this is the role already"));
    }
    if role != Role::Owner && group.is_last_owner(target) {
        return Err(AppError::Conflict("a group has at least one owner"));
    }
    Ok(vec![MemberChange { user: target, role: Some(role), since }])
}

/// Leaves because the account ends: a last owner hands over to an admin, else to any member, in the same event.
pub fn leave_for_good(group: &Group, user: UserId) -> Result<Vec<MemberChange>, AppError> {
    group.role(user)?;
    let mut changes = Vec::with_capacity(2);
    if group.is_last_owner(user) {
        let others = group.members.iter().filter(|(other, _)| **other != user);
        if let Some((heir, place)) = others.max_by_key(|(_, place)| place.role) {
            let since = place.since;
            changes.push(MemberChange { user: *heir, role: Some(Role::Owner), since });
        }
    }
    changes.push(MemberChange { user, role: None, since: 0 });
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: UserId = UserId(1);
    const ADMIN: UserId = UserId(2);
    const MEMBER: UserId = UserId(3);
    const OTHER: UserId = UserId(4);
    const STRANGER: UserId = UserId(5);

    fn place(role: Role) -> Place {
        Place { role, since: 7 }
    }

    fn group() -> Group {
        let members = [
            (OWNER, place(Role::Owner)),
            (ADMIN, place(Role::Admin)),
            (MEMBER, place(Role::Member)),
            (OTHER, place(Role::Member)),
        ];
        Group { mver: 1, history: HistoryAccess::Joined, members: members.into() }
    }

    fn code<T>(result: Result<T, AppError>) -> &'static str {
        match result {
            Ok(_) => "ok",
            Err(AppError::Forbidden(_)) => "forbidden",
            Err(AppError::Conflict(_)) => "conflict",
            Err(AppError::NotFound(_)) => "not_found",
            Err(_) => "other",
        }
    }

    #[test]
    fn who_may_add() {
        let group = group();
        for (actor, expected) in
            [(OWNER, "ok"), (ADMIN, "ok"), (MEMBER, "forbidden"), (STRANGER, "not_found")]
        {
            assert_eq!(code(add(&group, actor, &[STRANGER])), expected, "{actor:?}");
        }
        assert_eq!(code(add(&group, OWNER, &[MEMBER])), "conflict");
        let mixed = add(&group, OWNER, &[MEMBER, STRANGER, STRANGER]).unwrap();
        assert_eq!(mixed.iter().map(|c| (c.user, c.since)).collect::<Vec<_>>(), [(STRANGER, 0)]);
        let open = Group { history: HistoryAccess::All, ..group };
        assert_eq!(add(&open, OWNER, &[STRANGER]).unwrap()[0].since, 1);
    }

    #[test]
    fn a_group_has_at_most_a_thousand_members() {
        let mut group = group();
        group.members.extend((10..1_006).map(|n| (UserId(n), place(Role::Member))));
        assert_eq!(group.members.len(), GROUP_MEMBERS_MAX);
        assert_eq!(code(add(&group, OWNER, &[STRANGER])), "forbidden");
    }

    #[test]
    fn who_may_remove_whom() {
        let group = group();
        for (actor, target, expected) in [
            (OWNER, ADMIN, "ok"),
            (OWNER, MEMBER, "ok"),
            (ADMIN, MEMBER, "ok"),
            (ADMIN, OWNER, "forbidden"),
            (MEMBER, OTHER, "forbidden"),
            (MEMBER, MEMBER, "ok"),
            (ADMIN, ADMIN, "ok"),
            (OWNER, OWNER, "conflict"),
            (STRANGER, MEMBER, "not_found"),
            (OWNER, STRANGER, "not_found"),
        ] {
            assert_eq!(code(remove(&group, actor, target)), expected, "{actor:?} {target:?}");
        }
        let alone = Group { members: [(OWNER, place(Role::Owner))].into(), ..group };
        assert_eq!(code(remove(&alone, OWNER, OWNER)), "ok", "the last member may go");
    }

    #[test]
    fn only_owners_give_roles_and_one_always_stays() {
        let mut group = group();
        let made = set_role(&group, OWNER, MEMBER, Role::Admin).unwrap();
        assert_eq!((made[0].role, made[0].since), (Some(Role::Admin), 7), "history stays open");
        assert_eq!(code(set_role(&group, ADMIN, MEMBER, Role::Admin)), "forbidden");
        assert_eq!(code(set_role(&group, OWNER, OWNER, Role::Member)), "conflict");
        assert_eq!(code(set_role(&group, OWNER, MEMBER, Role::Member)), "conflict");
        group.members.insert(ADMIN, place(Role::Owner));
        assert_eq!(code(set_role(&group, OWNER, OWNER, Role::Member)), "ok");
    }

    #[test]
    fn an_account_that_ends_hands_its_groups_over() {
        let changes = leave_for_good(&group(), OWNER).unwrap();
        let heir = MemberChange { user: ADMIN, role: Some(Role::Owner), since: 7 };
        assert_eq!(changes[0], heir);
        assert_eq!((changes[1].user, changes[1].role), (OWNER, None));
        assert_eq!(leave_for_good(&group(), MEMBER).unwrap().len(), 1);
    }
}
