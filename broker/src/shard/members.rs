//! The members of one group that are connected to this shard.
//!
//! Owns: [`Members`] and its two shapes. Never does: decide. Talks to: nobody. Start reading at: [`Members`].

use smallvec::{SmallVec, smallvec};

/// One local member of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Here {
    /// Slot of the user.
    pub(super) user: u32,
    pub(super) since: u64,
    /// Of the member's own record.
    pub(super) mver: u64,
}

/// Local members, each once, in the order in which they came. Most groups are few people who came with the group: they
/// share what else is to be known of each, which is a third of the memory of an idle connection's ten groups (P1).
#[derive(Debug)]
pub(super) enum Members {
    /// All see from the same event on, by the same version.
    Alike {
        since: u64,
        mver: u64,
        users: SmallVec<[u32; 4]>,
    },
    Apart(Vec<Here>),
}

impl Members {
    pub(super) fn one(Here { user, since, mver }: Here) -> Self {
        Self::Alike { since, mver, users: smallvec![user] }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Alike { users, .. } => users.is_empty(),
            Self::Apart(all) => all.is_empty(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Here> + '_ {
        let (alike, apart) = match self {
            Self::Alike { since, mver, users } => {
                let (since, mver) = (*since, *mver);
                let here = move |user: &u32| Here { user: *user, since, mver };
                (Some(users.iter().map(here)), None)
            }
            Self::Apart(all) => (None, Some(all.iter().copied())),
        };
        alike.into_iter().flatten().chain(apart.into_iter().flatten())
    }

    pub(super) fn find(&self, user: u32) -> Option<Here> {
        self.iter().find(|here| here.user == user)
    }

    /// Adds a member, or replaces what is known of one.
    pub(super) fn put(&mut self, new: Here) {
        if let Self::Alike { since, mver, users } = self {
            let is_new = !users.contains(&new.user);
            if (*since, *mver) == (new.since, new.mver) {
                return if is_new {
                    users.push(new.user)
                };
            }
            if users.is_empty() || (users.len() == 1 && !is_new) {
                *self = Self::one(new);
                return;
            }
            *self = Self::Apart(self.iter().collect());
        }
        if let Self::Apart(all) = self {
            match all.iter_mut().find(|here| here.user == new.user) {
                Some(known) => *known = new,
                None => all.push(new),
            }
        }
    }

    pub(super) fn remove(&mut self, user: u32) {
        match self {
            Self::Alike { users, .. } => users.retain(|known| *known != user),
            Self::Apart(all) => all.retain(|here| here.user != user),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shapes_hold_the_same() {
        let here = |user, since, mver| Here { user, since, mver };
        let all = |members: &Members| members.iter().collect::<Vec<_>>();
        let mut members = Members::one(here(1, 1, 1));
        members.put(here(1, 1, 9));
        assert!(matches!(members, Members::Alike { mver: 9, .. }), "one alone is alike");
        members.put(here(2, 1, 9));
        members.put(here(2, 1, 9));
        assert!(matches!(members, Members::Alike { .. }));
        members.put(here(2, 1, 10));
        members.put(here(3, 7, 7));
        members.put(here(3, 5, 11));
        assert_eq!(all(&members), [here(1, 1, 9), here(2, 1, 10), here(3, 5, 11)]);
        assert_eq!((members.find(2), members.find(4)), (Some(here(2, 1, 10)), None));
        (1..=3).for_each(|user| members.remove(user));
        assert!(members.is_empty());
    }
}
