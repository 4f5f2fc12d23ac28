//! Who is online where: one map per node, written by the live task, read by all shards.
//!
//! Owns: [`PresenceMap`]. Never does: publish. Talks to: papaya (reads take no lock). Start reading at: [`PresenceMap::state`].

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use backplane::{NodeId, PresenceChange, live::NodePresence};
use foldhash::fast::RandomState;
use protocol::{UserId, event::PresenceState};
use smallvec::SmallVec;

/// `(node, as_of)` for each node that says the user is online, and when that last changed.
#[derive(Debug, Clone, Default)]
struct Entry {
    nodes: SmallVec<[(NodeId, u64); 1]>,
    since: u64,
}

/// The map. A user is online if any node says so.
#[derive(Debug, Default)]
pub struct PresenceMap {
    users: papaya::HashMap<UserId, Entry, RandomState>,
    /// Connections of this node's shards by user: the first and the last one are announced.
    local: Mutex<HashMap<UserId, u32, RandomState>>,
}

impl PresenceMap {
    /// What is known of a user. Never blocks.
    pub fn state(&self, user: UserId) -> PresenceState {
        shown(user, self.users.pin().get(&user))
    }

    /// What is known of several, in their order. Never blocks. Entering the map costs more than a look into it, and is done
    /// once here (ADR 0001).
    pub fn states(&self, people: &[UserId]) -> Vec<PresenceState> {
        let users = self.users.pin();
        people.iter().map(|user| shown(*user, users.get(user))).collect()
    }

    /// Users known, for metrics.
    pub fn entries(&self) -> usize {
        self.users.len()
    }

    /// Applies one node's changes. One writer (the live task).
    pub fn apply(&self, node: NodeId, changes: &[PresenceChange]) {
        let users = self.users.pin();
        for change in changes {
            let mut entry = users.get(&change.user).cloned().unwrap_or_default();
            entry.nodes.retain(|(known, _)| *known != node);
            if change.online {
                entry.nodes.push((node, change.as_of));
            }
            entry.since = entry.since.max(change.as_of);
            users.insert(change.user, entry);
        }
    }

    /// Replaces one node's list. Returns the users whose state changed.
    pub fn replace(&self, list: &NodePresence, now_ms: u64) -> Vec<UserId> {
        let online: HashMap<UserId, u64, RandomState> = list.users.iter().copied().collect();
        let mut changed: Vec<UserId> = self.on_node(list.node);
        changed.retain(|user| !online.contains_key(user));
        let gone: Vec<PresenceChange> = changed
            .iter()
            .map(|user| PresenceChange { user: *user, online: false, as_of: now_ms })
            .collect();
        self.apply(list.node, &gone);
        for (user, as_of) in &list.users {
            let was = self.state(*user).online;
            self.apply(list.node, &[PresenceChange { user: *user, online: true, as_of: *as_of }]);
            if !was {
                changed.push(*user);
            }
        }
        changed
    }

    /// Forgets a node. Returns the users it had.
    pub fn remove_node(&self, node: NodeId, now_ms: u64) -> Vec<UserId> {
        self.replace(&NodePresence { node, version: 0, users: Vec::new() }, now_ms)
    }

    fn on_node(&self, node: NodeId) -> Vec<UserId> {
        let users = self.users.pin();
        users
            .iter()
            .filter(|(_, e)| e.nodes.iter().any(|(n, _)| *n == node))
            .map(|(u, _)| *u)
            .collect()
    }

    /// Counts a shard that has the user. True: the first of this node.
    pub fn local_up(&self, user: UserId) -> bool {
        let mut local = self.local.lock().unwrap_or_else(PoisonError::into_inner);
        let count = local.entry(user).or_insert(0);
        *count += 1;
        *count == 1
    }

    /// Counts a shard that has the user no more. True: it was the last of this node.
    pub fn local_down(&self, user: UserId) -> bool {
        let mut local = self.local.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = local.get_mut(&user) else { return false };
        *count -= 1;
        if *count == 0 {
            local.remove(&user);
            return true;
        }
        false
    }
}

fn shown(user: UserId, entry: Option<&Entry>) -> PresenceState {
    PresenceState {
        user,
        online: entry.is_some_and(|e| !e.nodes.is_empty()),
        since: entry.map(|e| e.since),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r32_a_user_is_online_while_any_node_says_so() {
        let map = PresenceMap::default();
        let change = |online, as_of| [PresenceChange { user: UserId(1), online, as_of }];
        map.apply(NodeId(1), &change(true, 5));
        map.apply(NodeId(2), &change(true, 6));
        map.apply(NodeId(1), &change(false, 7));
        assert!(map.state(UserId(1)).online);
        assert_eq!(map.remove_node(NodeId(2), 9), vec![UserId(1)]);
        assert_eq!(
            map.state(UserId(1)),
            PresenceState { user: UserId(1), online: false, since: Some(9) }
        );
        let people = [UserId(3), UserId(1)];
        assert_eq!(map.states(&people), people.map(|user| map.state(user)));
        assert!(map.local_up(UserId(1)) && !map.local_up(UserId(1)));
        assert!(!map.local_down(UserId(1)) && map.local_down(UserId(1)));
    }
}
