//! Numbers that an operator may change, with their defaults.
//!
//! Owns: [`ShardConfig`]. Never does: read files (the root package does). Talks to: nobody. Start reading at: [`ShardConfig`].

use protocol::limits;

/// What a shard is told at its start.
#[derive(Debug, Clone)]
pub struct ShardConfig {
    /// Name of the node in `welcome`.
    pub node: String,
    /// The level of the log, in `welcome`.
    pub durability: String,
    /// What the log says of itself; maps conversations to partitions.
    pub log: backplane::LogInfo,
    /// Publishes of the whole shard that wait for a verdict; the verdict mailbox is this long.
    pub unacked_max: usize,
    /// Events queued per connection.
    pub outbox_events_max: usize,
    /// Bytes queued per connection.
    pub outbox_bytes_max: usize,
    /// Publishes per second and burst.
    pub publish: Rate,
    /// Receipts.
    pub receipt: Rate,
    /// Typing.
    pub typing: Rate,
    /// Every other command.
    pub other: Rate,
    /// Frames of any kind.
    pub frames: Rate,
    /// A fault put in on purpose, for tests that must find it.
    #[cfg(any(test, feature = "mutants"))]
    pub mutation: Option<Mutation>,
}

/// A token bucket's numbers.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// Refill.
    pub per_second: u32,
    /// Size.
    pub burst: u32,
}

/// Faults that the simulator must catch (LOG.md §9).
#[cfg(any(test, feature = "mutants"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// The view of a new connection is not merged with `members_recent`.
    ConnectWithoutMembersRecent,
    /// The ack is sent with the append, not after its verdict.
    AckBeforeAppend,
}

impl ShardConfig {
    /// The defaults of PROTOCOL.md §9.
    pub fn new(node: String, log: backplane::LogInfo) -> Self {
        Self {
            node,
            durability: log.durability.clone(),
            log,
            unacked_max: 4_096,
            outbox_events_max: limits::OUTBOX_EVENTS_MAX,
            outbox_bytes_max: limits::OUTBOX_BYTES_MAX,
            publish: Rate { per_second: 50, burst: 200 },
            receipt: Rate { per_second: 20, burst: 40 },
            typing: Rate { per_second: 5, burst: 10 },
            other: Rate { per_second: 20, burst: 40 },
            frames: Rate { per_second: 500, burst: 2_000 },
            #[cfg(any(test, feature = "mutants"))]
            mutation: None,
        }
    }
}
