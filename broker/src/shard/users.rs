//! Users and groups with connections here; the one step in which a connection begins to hear.
//!
//! Owns: membership on this shard, `members_recent`, views. Never does: read the store. Talks to: `catch_up`.
//! Start reading at: [`Shard::on_view`].

use backplane::{ArchiveError, Membership, PresenceChange, View};
use protocol::{CloseCode, ConversationId, UserId, event::UserChange, limits};
use smallvec::SmallVec;

use super::{
    Action, Actions, ConnectionId, Now, Shard, ViewTicket, encode,
    members::{Here, Members},
    records::{Group, Recent, Stage, User},
};

/// Membership events are kept while they are above the lowest W of this long (LOG.md §6): until then a view that was read
/// before the store had them may still be on its way.
const RECENT_MS: u64 = 60_000;

/// What a view was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    /// A connection's `hello`.
    Hello(ConnectionId),
    /// Something of the user changed; its connections are told once the shard knows it too.
    Refresh(UserId, UserChange),
}

impl Shard {
    /// `hello`: asks for the view; `welcome` follows with its answer.
    pub(super) fn hello(&mut self, slot: u32, resume: Option<&str>, actions: &mut Actions) {
        let connection = &mut self.connections[slot as usize];
        connection.stage = Stage::Loading(resume.map(Into::into));
        let (id, user) = (connection.id, connection.principal.user);
        self.load_view(Load::Hello(id), user, actions);
    }

    /// The answer to [`Action::LoadView`]. For a `hello` this is one step: merge with what the ring told since the view
    /// was read, insert, answer the resume, go live (LOG.md §6). No view: close 1013, the client comes back.
    pub fn on_view(
        &mut self,
        ticket: ViewTicket,
        view: Result<View, ArchiveError>,
        now: Now,
        actions: &mut Actions,
    ) {
        match (self.views.remove(&ticket), view) {
            (None, _) => {}
            (Some(Load::Refresh(user, what)), Ok(view)) => {
                self.refresh(user, Some(ticket), view, now, actions);
                self.tell_change(user, what, now, actions);
            }
            // The connections are told anyway: they refetch from the api, which has its own way to the store.
            (Some(Load::Refresh(user, what)), Err(_)) => self.tell_change(user, what, now, actions),
            (Some(Load::Hello(id)), view) => {
                let Some(slot) = self.slot(id) else { return };
                let stage = &mut self.connections[slot as usize].stage;
                let Stage::Loading(resume) = stage else { return };
                let resume = resume.take();
                match view {
                    Err(_) => self.close(slot, CloseCode::TryAgainLater, actions),
                    Ok(view) if view.flags.disabled => {
                        self.close(slot, CloseCode::Forbidden, actions);
                    }
                    Ok(view) => {
                        let memberships = self.merged(&view, self.user_of(slot));
                        self.join_user(slot, ticket, &view, &memberships, now, actions);
                        self.welcome(slot, resume.as_deref(), &memberships, now, actions);
                    }
                }
            }
        }
    }

    fn user_of(&self, slot: u32) -> UserId {
        self.connections[slot as usize].principal.user
    }

    /// The view's groups, brought up to the ring cursor. Larger mver wins, removals are tombstones.
    pub(super) fn merged(&self, view: &View, user: UserId) -> Vec<Membership> {
        let mut groups = view.groups.clone();
        #[cfg(any(test, feature = "mutants"))]
        if self.config.mutation == Some(crate::config::Mutation::ConnectWithoutMembersRecent) {
            return groups;
        }
        for recent in self.members_recent.get(&user).into_iter().flatten() {
            let known =
                groups.iter_mut().find(|m| m.conversation == recent.membership.conversation);
            match known {
                Some(known) if known.mver >= recent.membership.mver => {}
                Some(known) => {
                    // Another role keeps the right to what was visible before.
                    let since = match (known.role, recent.membership.role) {
                        (Some(_), Some(_)) => known.since.min(recent.membership.since),
                        (_, None) => known.since,
                        _ => recent.membership.since,
                    };
                    *known = Membership { since, ..recent.membership };
                }
                None => groups.push(recent.membership),
            }
        }
        groups
    }

    /// Puts a connection under its user; makes the user if it is the first here.
    fn join_user(
        &mut self,
        slot: u32,
        asked: ViewTicket,
        view: &View,
        memberships: &[Membership],
        now: Now,
        actions: &mut Actions,
    ) {
        let user = self.user_of(slot);
        let index = match self.user_index.get(&user) {
            Some(index) => *index,
            None => {
                let record = User {
                    connections: SmallVec::new(),
                    groups: Box::default(),
                    blocked: Box::default(),
                    flags: view.flags,
                    viewed: 0,
                };
                let index = self.users.insert(record) as u32;
                self.user_index.insert(user, index);
                index
            }
        };
        let first = self.users[index as usize].connections.is_empty();
        self.users[index as usize].connections.push(slot);
        let turned = self.apply_view(index, Some(asked), view, memberships);
        let hidden = self.users[index as usize].flags.hidden;
        if turned {
            announce(user, !hidden, now, actions);
        }
        if first {
            // Within the grace of the last connection the user never went: nothing to announce, nothing to count.
            if self.in_grace.remove(&user).is_some() {
                // Never went for others, unless they hid themselves meanwhile.
                if hidden {
                    announce(user, false, now, actions);
                }
            } else {
                let first_here = self.presence.local_up(user);
                if hidden && !first_here {
                    // Another shard counts them as gone only after a grace, and will not be the last one then.
                    announce(user, false, now, actions);
                } else if first_here && !hidden {
                    announce(user, true, now, actions);
                }
            }
        }
    }

    /// Takes over what a view says. Views may come in another order than they were asked for (`None`: for something else, at
    /// no known time): memberships merge in any order, and of the rest the view counts that was asked for last, since every
    /// change of it asks for one. Returns whether it hides the user, or shows one who was hidden.
    fn apply_view(
        &mut self,
        index: u32,
        asked: Option<ViewTicket>,
        view: &View,
        memberships: &[Membership],
    ) -> bool {
        for membership in memberships {
            self.apply_membership(index, membership);
        }
        let record = &mut self.users[index as usize];
        let Some(ViewTicket(ticket)) = asked.filter(|asked| asked.0 > record.viewed) else {
            return false;
        };
        record.viewed = ticket;
        let mut blocked = view.blocked.clone();
        blocked.sort_unstable();
        blocked.truncate(limits::BLOCKED_MAX);
        record.blocked = blocked.into();
        let was_hidden = std::mem::replace(&mut record.flags, view.flags).hidden;
        was_hidden != view.flags.hidden
    }

    /// Merges one record: the larger mver wins. Returns whether the user came in by it.
    pub(super) fn apply_membership(&mut self, user: u32, membership: &Membership) -> bool {
        let Membership { conversation, role, since, mver, group: size } = *membership;
        if !conversation.is_group() {
            return false;
        }
        let known = self.group_index.get(&conversation).copied();
        if role.is_none() {
            let Some(group) = known else { return false };
            let record = &self.groups[group as usize];
            let here = record.here.find(user);
            if here.is_some_and(|h| h.mver < mver) {
                self.remove_here(user, group);
            }
            return false;
        }
        let new = Here { user, since, mver };
        let group = match known {
            Some(group) => {
                let record = &mut self.groups[group as usize];
                if let Some(size) = size.filter(|size| size.mver >= record.mver) {
                    record.large = size.large;
                }
                let here = &mut record.here;
                if let Some(known) = here.find(user) {
                    if known.mver < mver {
                        here.put(Here { since: known.since.min(since), ..new });
                    }
                    return false;
                }
                here.put(new);
                group
            }
            None => {
                let here = Members::one(new);
                let record = Group {
                    id: conversation,
                    mver: 0,
                    here,
                    large: size.is_some_and(|size| size.large),
                };
                let group = self.groups.insert(record) as u32;
                self.group_index.insert(conversation, group);
                group
            }
        };
        let record = &mut self.users[user as usize];
        let mut groups = std::mem::take(&mut record.groups).into_vec();
        groups.push(group);
        record.groups = groups.into_boxed_slice();
        true
    }

    fn remove_here(&mut self, user: u32, group: u32) {
        let record = &mut self.groups[group as usize];
        record.here.remove(user);
        if record.here.is_empty() {
            self.group_index.remove(&record.id);
            self.groups.remove(group as usize);
        }
        let record = &mut self.users[user as usize];
        let mut groups = std::mem::take(&mut record.groups).into_vec();
        groups.retain(|g| *g != group);
        record.groups = groups.into_boxed_slice();
    }

    /// Keeps a membership event for views that are being read now.
    pub(super) fn remember(&mut self, recent: Recent) {
        self.recent_order.push_back(recent.user);
        self.members_recent.entry(recent.user).or_default().push(recent);
    }

    /// Forgets membership events that W passed at least [`RECENT_MS`] ago, and at most twice that.
    pub(super) fn forget_recent(&mut self, now: Now) {
        if self.settling.0 + RECENT_MS <= now.mono_ms {
            let settling =
                std::mem::replace(&mut self.settling, (now.mono_ms, self.watermark.clone()));
            self.settled = settling.1;
        }
        while let Some(user) = self.recent_order.front().copied() {
            let Some(recent) = self.members_recent.get_mut(&user) else { return };
            let Some(Recent { partition, pos, .. }) = recent.first() else { return };
            let settled = self.settled.0[usize::from(*partition)];
            if settled.epoch != pos.epoch || settled.n < pos.n {
                return;
            }
            recent.remove(0);
            if recent.is_empty() {
                self.members_recent.remove(&user);
            }
            self.recent_order.pop_front();
        }
    }

    /// A view read again: flags, blocks, and groups in both directions.
    pub(super) fn refresh(
        &mut self,
        user: UserId,
        asked: Option<ViewTicket>,
        view: View,
        now: Now,
        actions: &mut Actions,
    ) {
        let Some(index) = self.user_index.get(&user).copied() else { return };
        if view.flags.disabled {
            let all = |p: &super::Principal| p.user == user;
            return self.close_matching(CloseCode::Forbidden, actions, all);
        }
        let memberships = self.merged(&view, user);
        if self.apply_view(index, asked, &view, &memberships) {
            announce(user, !view.flags.hidden, now, actions);
        }
    }

    /// Takes a connection from its user. The user stays online for the grace.
    pub(super) fn leave_user(&mut self, user: UserId, slot: u32, now: Now) {
        let Some(index) = self.user_index.get(&user).copied() else { return };
        let record = &mut self.users[index as usize];
        let before = record.connections.len();
        record.connections.retain(|c| *c != slot);
        if before == record.connections.len() || !record.connections.is_empty() {
            return;
        }
        let hidden = record.flags.hidden;
        for group in std::mem::take(&mut record.groups) {
            let record = &mut self.groups[group as usize];
            record.here.remove(index);
            if record.here.is_empty() {
                self.group_index.remove(&record.id);
                self.groups.remove(group as usize);
            }
        }
        self.users.remove(index as usize);
        self.user_index.remove(&user);
        if hidden {
            // Nobody may hear of it, so there is nothing to wait with.
            self.presence.local_down(user);
            return;
        }
        let until = now.mono_ms + limits::OFFLINE_GRACE_MS;
        self.in_grace.insert(user, until);
        self.grace_order.push_back((until, user));
    }

    /// Ends the grace of users who did not come back.
    pub(super) fn expire_grace(&mut self, now: Now, actions: &mut Actions) {
        while let Some((until, user)) = self.grace_order.front().copied()
            && until <= now.mono_ms
        {
            self.grace_order.pop_front();
            // Came back, and maybe left again: that leave has an entry of its own.
            if self.in_grace.get(&user) != Some(&until) {
                continue;
            }
            self.in_grace.remove(&user);
            if self.presence.local_down(user) {
                announce(user, false, now, actions);
            }
        }
    }

    fn tell_change(&mut self, user: UserId, what: UserChange, now: Now, actions: &mut Actions) {
        let frame = encode(&protocol::ServerFrame::UserChanged { what });
        for slot in self.connections_of(user) {
            self.push(slot, frame.clone(), false, now, actions);
        }
    }

    pub(super) fn connections_of(&self, user: UserId) -> SmallVec<[u32; 2]> {
        let index = self.user_index.get(&user);
        index.map(|i| self.users[*i as usize].connections.clone()).unwrap_or_default()
    }

    /// Groups of a user for a replay: what may be seen, `since ..= until`.
    pub(super) fn windows(memberships: &[Membership]) -> Vec<(ConversationId, u64, u64)> {
        let until = |m: &Membership| if m.role.is_some() { u64::MAX } else { m.mver };
        memberships.iter().map(|m| (m.conversation, m.since, until(m))).collect()
    }
}

fn announce(user: UserId, online: bool, now: Now, actions: &mut Actions) {
    actions.push(Action::Announce(PresenceChange { user, online, as_of: now.wall_ms }));
}
