//! Numbers that an operator may change, with their defaults.
//!
//! Owns: [`BrokerConfig`], [`ShardConfig`]. Never does: read files (the root package does). Talks to: nobody.
//! Start reading at: [`BrokerConfig`].

use protocol::{Network, limits};

/// What the composer tells the broker. [`BrokerConfig::new`] has the defaults.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// This run of this process; the composer draws it at random.
    pub node: backplane::NodeId,
    /// Shard threads; 0 = one per core.
    pub shards: usize,
    /// Origins of our own pages, exactly as browsers send them.
    pub origins: Vec<String>,
    /// Whether browsers reach us over https, so that cookies have their `__Host-` names.
    pub secure: bool,
    /// Connections of the node.
    pub connections_max: usize,
    /// Connections of one address.
    pub connections_per_ip_max: u32,
    /// Connections of one user.
    pub connections_per_user_max: u32,
    /// Requests and handshakes under way, which are no WebSocket yet or never will be.
    pub http_connections_max: usize,
    /// The same of one address.
    pub http_connections_per_ip_max: u32,
    /// Addresses without limits of their own, whose connections have no budgets either: for load tests only.
    pub trusted_sources: Vec<Network>,
    /// Addresses whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// Least time over which a drain spreads the reconnects; with many connections it takes longer.
    pub drain_window_ms: u64,
    /// Least time between two appends: above 0 batches get larger under load, at the price of that latency.
    pub flush_spacing_ms: u64,
    /// Publishes of one append, within what the log takes; 1 shows what batching is worth.
    pub append_envelopes_max: usize,
    /// See [`ShardConfig::mutation`].
    #[cfg(any(test, feature = "mutants"))]
    pub mutation: Option<Mutation>,
}

impl BrokerConfig {
    /// The defaults. An office or a school behind one address fits into the limits per address.
    pub fn new(node: backplane::NodeId) -> Self {
        Self {
            node,
            shards: 0,
            origins: Vec::new(),
            secure: false,
            connections_max: 100_000,
            connections_per_ip_max: 2_000,
            connections_per_user_max: 64,
            http_connections_max: 4_096,
            http_connections_per_ip_max: 512,
            trusted_sources: Vec::new(),
            trusted_proxies: Vec::new(),
            drain_window_ms: 500,
            flush_spacing_ms: 0,
            append_envelopes_max: limits::BATCH_ENVELOPES_MAX,
            #[cfg(any(test, feature = "mutants"))]
            mutation: None,
        }
    }

    /// Shard threads, resolved.
    pub fn n_shards(&self) -> usize {
        match self.shards {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            shards => shards,
        }
    }
}

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

/// Faults that tests must catch, or see the broker survive (LOG.md §9).
#[cfg(any(test, feature = "mutants"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// The view of a new connection is not merged with `members_recent`.
    ConnectWithoutMembersRecent,
    /// The ack is sent with the append, not after its verdict.
    AckBeforeAppend,
    /// The shard panics at a publish of this number.
    PanicAt(u64),
}

impl ShardConfig {
    /// The shards of this node.
    pub fn of(node: &BrokerConfig, log: backplane::LogInfo) -> Self {
        Self {
            #[cfg(any(test, feature = "mutants"))]
            mutation: node.mutation,
            ..Self::new(format!("{:016x}", node.node.0), log)
        }
    }

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
