//! Names of keys: a prefix, and ids of fixed width. The part in braces keeps them in one slot.
//!
//! Owns: every key that live state has. Never does: put anything of a user's into one. Talks to: nobody.
//! Start reading at: [`Keys`].

use protocol::{ConversationId, SessionId, UserId};

use crate::NodeId;

/// The keys of one instance.
#[derive(Debug)]
pub(super) struct Keys {
    /// Counts what was published. Its name is the channel's, too.
    pub(super) signals: String,
    /// Nodes, and when each last said a word.
    pub(super) nodes: String,
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        let prefix = format!("{prefix}:{{live}}");
        Self { signals: format!("{prefix}:signals"), nodes: format!("{prefix}:nodes"), prefix }
    }

    /// A node's list, and the one that is being written.
    pub(super) fn lists(&self, node: NodeId) -> [String; 2] {
        let prefix = &self.prefix;
        [format!("{prefix}:pres:{:016x}", node.0), format!("{prefix}:pres+:{:016x}", node.0)]
    }

    pub(super) fn revoked_session(&self, session: SessionId) -> String {
        format!("{}:gone:s:{session}", self.prefix)
    }

    pub(super) fn revoked_user(&self, user: UserId) -> String {
        format!("{}:gone:u:{user}", self.prefix)
    }

    pub(super) fn view(&self, user: UserId) -> String {
        format!("{}:um:{user}", self.prefix)
    }

    pub(super) fn receipts(&self, conversation: ConversationId) -> String {
        format!("{}:rcpt:{conversation}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_moves_a_key_to_another_slot_or_looks_like_another_kind() {
        let keys = Keys::new("wc");
        let all = [
            keys.lists(NodeId(7))[0].clone(),
            keys.lists(NodeId(u64::MAX))[1].clone(),
            keys.revoked_session(SessionId(1)),
            keys.revoked_user(UserId(1)),
            keys.view(UserId(1)),
            keys.receipts(ConversationId::group(1)),
        ];
        assert_eq!(all[0], "wc:{live}:pres:0000000000000007");
        for key in &all {
            let id = key.strip_prefix("wc:{live}:").and_then(|rest| rest.rsplit(':').next());
            let id = id.unwrap_or_default();
            assert!(id.len() == 16 || id.len() == 32, "{key}");
            assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}");
        }
    }
}
