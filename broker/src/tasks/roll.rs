//! Which nodes this one has heard, when, and up to which version of their presence lists.
//!
//! Owns: [`Roll`], who is dead. Never does: IO, clocks. Talks to: nobody. Start reading at: [`Roll::take_dead`].

use std::collections::HashMap;

use backplane::NodeId;

/// A node is dead after this much silence.
const DEAD_MS: u64 = 8_000;
/// Two heartbeats. After a longer silence of one's own the others are given all the time again: whoever was deaf has not
/// heard them either.
const DEAF_MS: u64 = 4_000;

#[derive(Debug, Clone, Copy)]
struct Heard {
    version: u64,
    at_ms: u64,
}

/// What a version is to one who knows an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// Nothing: it was in the list that was read.
    Known,
    /// The next one.
    Next,
    /// Something between them is missing.
    Gap,
}

/// The nodes that were heard.
#[derive(Debug)]
pub(super) struct Roll {
    own: NodeId,
    nodes: HashMap<NodeId, Heard>,
}

impl Roll {
    pub(super) fn new(own: NodeId) -> Self {
        Self { own, nodes: HashMap::new() }
    }

    /// A node's list was read. Reading one's own is not hearing oneself.
    pub(super) fn read(&mut self, node: NodeId, version: u64, now_ms: u64) {
        let heard = self.nodes.entry(node).or_insert(Heard { version, at_ms: now_ms });
        heard.version = version;
        if node != self.own {
            heard.at_ms = now_ms;
        }
    }

    /// A node said something.
    pub(super) fn hear(&mut self, node: NodeId, now_ms: u64) {
        let first = Heard { version: 0, at_ms: now_ms };
        let before = std::mem::replace(&mut self.nodes.entry(node).or_insert(first).at_ms, now_ms);
        if node == self.own && before + DEAF_MS < now_ms {
            self.nodes.values_mut().for_each(|heard| heard.at_ms = now_ms);
        }
    }

    /// A node said that its list has this version now.
    pub(super) fn announced(&mut self, node: NodeId, version: u64, now_ms: u64) -> News {
        self.hear(node, now_ms);
        let Some(heard) = self.nodes.get_mut(&node) else { return News::Gap };
        if version <= heard.version {
            return News::Known;
        }
        let is_next = version == heard.version + 1;
        heard.version = version;
        if is_next { News::Next } else { News::Gap }
    }

    pub(super) fn forget(&mut self, node: NodeId) {
        self.nodes.remove(&node);
    }

    /// Takes out the nodes that are silent, but only while this node's own heartbeat comes back: else it is the one that is
    /// deaf.
    pub(super) fn take_dead(&mut self, now_ms: u64) -> Vec<NodeId> {
        let silent = |heard: &Heard| heard.at_ms + DEAD_MS < now_ms;
        let is_deaf = |heard: &Heard| heard.at_ms + DEAF_MS < now_ms;
        if self.nodes.get(&self.own).is_none_or(is_deaf) {
            return Vec::new();
        }
        let nodes = self.nodes.iter().filter(|(_, heard)| silent(heard));
        let dead: Vec<NodeId> = nodes.map(|(node, _)| *node).collect();
        dead.iter().for_each(|node| self.forget(*node));
        dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: NodeId = NodeId(1);
    const OTHER: NodeId = NodeId(2);

    fn heard_until(end_ms: u64) -> Roll {
        let mut roll = Roll::new(OWN);
        for now in (0..=end_ms).step_by(2_000) {
            roll.hear(OWN, now);
            roll.hear(OTHER, now);
        }
        roll
    }

    #[test]
    fn r32_a_silent_node_is_dead_after_eight_seconds() {
        let mut roll = heard_until(10_000);
        for now in (12_000..=18_000).step_by(2_000) {
            roll.hear(OWN, now);
            assert_eq!(roll.take_dead(now), []);
        }
        roll.hear(OWN, 20_000);
        assert_eq!(roll.take_dead(20_000), [OTHER]);
        assert_eq!(roll.take_dead(20_000), [], "once");
    }

    /// The live server was away for a minute. It was nobody's death, and whoever did die meanwhile is found 8 s later.
    #[test]
    fn r32_whoever_was_deaf_gives_the_others_all_their_time_again() {
        let mut roll = heard_until(10_000);
        for now in (12_000..=70_000).step_by(2_000) {
            assert_eq!(roll.take_dead(now), [], "deaf at {now}");
        }
        roll.read(OWN, 3, 69_000);
        assert_eq!(roll.take_dead(69_000), [], "its own list can be read again, that is all");
        for now in (70_000..=78_000).step_by(2_000) {
            roll.hear(OWN, now);
            assert_eq!(roll.take_dead(now), [], "at {now}");
        }
        roll.hear(OWN, 80_000);
        assert_eq!(roll.take_dead(80_000), [OTHER]);
    }

    #[test]
    fn r32_a_version_is_known_next_or_behind_a_gap() {
        let mut roll = heard_until(0);
        let news = |roll: &mut Roll, version| roll.announced(OTHER, version, 0);
        assert_eq!(news(&mut roll, 1), News::Next);
        assert_eq!(news(&mut roll, 1), News::Known);
        assert_eq!(news(&mut roll, 3), News::Gap);
        roll.read(OTHER, 7, 0);
        assert_eq!(news(&mut roll, 6), News::Known);
        assert_eq!(news(&mut roll, 8), News::Next);
    }
}
