//! The records of a shard: small, because an idle connection pays for them.
//!
//! Owns: [`Connection`], [`User`], [`Group`]. Never does: decide. Talks to: nobody. Start reading at: [`Connection`].

use std::collections::VecDeque;

use backplane::{Membership, Partition, UserFlags};
use protocol::{ConversationId, Pos, Token, UserId};
use smallvec::SmallVec;

use super::{ConnectionId, Principal, members::Members};
use crate::{budget::Bucket, outbox::Outbox};

/// How far a connection is.
#[derive(Debug)]
pub(super) enum Stage {
    /// Waits for `hello`.
    Accepted,
    /// `hello` came; the view is being read. Holds the resume token.
    Loading(Option<Box<str>>),
    /// Replays from the Tail; live events are withheld, the Tail has them.
    Catching(Box<CatchUp>),
    /// All is live.
    Live,
    /// The close was ordered; nothing more is queued.
    Closing,
}

/// A replay under way.
#[derive(Debug)]
pub(super) struct CatchUp {
    /// Replayed up to here, one per partition.
    pub(super) reached: Token,
    /// Events sent.
    pub(super) events: u64,
    /// Groups with the seqs that the user may see: `since ..= until`.
    pub(super) groups: Vec<(ConversationId, u64, u64)>,
}

/// What is on a client's screen.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Only those who may be watched.
    pub(super) people: Box<[UserId]>,
    /// All who were asked for, where only contacts may be watched; otherwise empty.
    pub(super) wanted: Box<[UserId]>,
    /// The last question who of them may be watched. Zero: the one that is open is of an earlier list.
    pub(super) asked: u64,
    /// The answer to the open question may be out of date: ask again after it.
    pub(super) again: bool,
    pub(super) conversations: Box<[ConversationId]>,
    /// People whose presence changed since the last flush.
    pub(super) changed: Vec<UserId>,
}

/// A publish of this connection that is not known to be in the store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unstored {
    pub(super) conversation: ConversationId,
    pub(super) partition: Partition,
    /// `n` = 0: the store has it.
    pub(super) pos: Pos,
    pub(super) seq: u64,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) principal: Principal,
    pub(super) stage: Stage,
    pub(super) outbox: Outbox,
    pub(super) watch: Option<Box<Watch>>,
    #[expect(clippy::box_collection, reason = "8 bytes while idle instead of 32")]
    pub(super) unstored: Option<Box<VecDeque<Unstored>>>,
    pub(super) opened_ms: u64,
    pub(super) heard_ms: u64,
    pub(super) said_ms: u64,
    pub(super) ping_at_ms: u64,
    pub(super) publish: Bucket,
    pub(super) receipt: Bucket,
    pub(super) typing: Bucket,
    pub(super) other: Bucket,
    pub(super) frames: Bucket,
    pub(super) bad: Bucket,
    pub(super) unacked: u16,
    pub(super) woken: bool,
    /// Who may be watched is being asked: one question at a time.
    pub(super) asking: bool,
}

/// One user with connections here.
#[derive(Debug)]
pub(super) struct User {
    /// Slots of connections.
    pub(super) connections: SmallVec<[u32; 2]>,
    /// Slots of groups.
    pub(super) groups: Box<[u32]>,
    /// Sorted.
    pub(super) blocked: Box<[UserId]>,
    pub(super) flags: UserFlags,
    /// Ticket of the view that `blocked` and `flags` are of.
    pub(super) viewed: u64,
}

impl User {
    pub(super) fn blocks(&self, other: UserId) -> bool {
        !self.blocked.is_empty() && self.blocked.binary_search(&other).is_ok()
    }
}

/// One group with members here.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: ConversationId,
    /// The newest membership version seen.
    pub(super) mver: u64,
    pub(super) here: Members,
    /// Has more members than receipts name. Only the store counts: views tell, and whenever somebody goes it is false until the next
    /// one does. A small group is not taken for a large one: its members wait for names.
    pub(super) large: bool,
}

/// A membership event that the store may not have, or had not a minute ago.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recent {
    pub(super) user: UserId,
    pub(super) partition: Partition,
    pub(super) pos: Pos,
    pub(super) membership: Membership,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_records_stay_small() {
        // P1: 3 KiB per idle connection, of which these are the shard's part.
        assert!(size_of::<Connection>() <= 288, "{}", size_of::<Connection>());
        assert!(size_of::<User>() <= 96, "{}", size_of::<User>());
        assert!(size_of::<Group>() <= 80, "{}", size_of::<Group>());
    }
}
