//! What goes into a shard and what comes out of it.
//!
//! Owns: the types at the border of the functional core. Never does: anything. Talks to: the edge. Start reading at: [`Action`].

use backplane::{Cursors, Envelope, Key, Partition, PresenceChange, Signal, Verdict};
use protocol::{CloseCode, ConversationId, SessionId, UserId};

/// The clocks, read once per step by the edge (or made up by the simulator).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic milliseconds; decides timeouts.
    pub mono_ms: u64,
    /// Unix milliseconds; decides token expiry, and is shown to people.
    pub wall_ms: u64,
}

/// One connection of one shard: its slot and the slot's generation, so that a late call cannot hit a successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// Names one publish between [`Action::Append`] and its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppendTicket(pub u64);

/// Names one read of a user's view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ViewTicket(pub u64);

/// Names one `watch` of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WatchTicket(pub ConnectionId, pub u64);

/// Verified user and session of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Principal {
    /// Who.
    pub user: UserId,
    /// Which login.
    pub session: SessionId,
    /// Unix milliseconds.
    pub expires_at_ms: u64,
    /// Unix milliseconds.
    pub issued_at_ms: u64,
    /// A load test (`limits.trusted_sources`): its commands and frames are not counted against budgets.
    pub trusted: bool,
}

/// What became of one append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOutcome {
    /// The log answered.
    Verdict(Verdict),
    /// Certainly not stored.
    NotStored {
        /// When to try again.
        retry_after_ms: u64,
    },
    /// Nobody knows, and the edge has given up retrying.
    Unknown,
}

/// What the edge has to do. Order matters within one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Hand to the partition's appender; answer with `Shard::on_verdicts`. At most `ShardConfig::unacked_max` are out.
    Append {
        /// Name it in the answer.
        ticket: AppendTicket,
        /// Which appender.
        partition: Partition,
        /// What.
        envelope: Envelope,
    },
    /// Read W of each partition, *then* the view (`Live::view_get` if its `as_of` ≥ W, else `Archive::view`); answer with
    /// `Shard::on_view`.
    LoadView {
        /// Name it in the answer.
        ticket: ViewTicket,
        /// Whose.
        user: UserId,
    },
    /// `Archive::head`, *then* `Archive::view` of the user; answer with `Shard::on_authority`.
    LoadAuthority {
        /// Name it in the answer.
        ticket: AppendTicket,
        /// Of the head.
        conversation: ConversationId,
        /// Of the view.
        user: UserId,
    },
    /// Wait until the store has what the log had when this was asked, then `Archive::contacts`; answer with
    /// `Shard::on_contacts`.
    LoadContacts {
        /// Name it in the answer.
        ticket: WatchTicket,
        /// Who watches.
        user: UserId,
        /// Whom.
        people: Vec<UserId>,
    },
    /// `Archive::find`, then `Log::install` if a producer was found; answer with `Shard::on_found`.
    FindOld {
        /// Name it in the answer.
        ticket: AppendTicket,
        /// What to find.
        key: Key,
    },
    /// Hand to `Live::publish`, batched.
    Publish(Signal),
    /// Hand to `Live::receipts_merge`, batched.
    MergeReceipt(ConversationId, UserId, Cursors),
    /// Hand to `Live::announce`, batched over 250 ms.
    Announce(PresenceChange),
    /// There is output: call `Shard::take_output` and write, until it gives nothing. Not repeated before that.
    Wake(ConnectionId),
    /// Write what is queued (at most briefly), send the close frame, call `Shard::on_disconnect`.
    Close {
        /// Which.
        connection: ConnectionId,
        /// Why.
        code: CloseCode,
    },
}

/// Collected during one step.
pub type Actions = Vec<Action>;
