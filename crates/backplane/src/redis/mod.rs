//! The durable log over Redis, for clusters: one server per partition, functions that judge and number, pushes by PUBLISH.
//!
//! Owns: everything that speaks to a log server. Never does: keep messages in the process (the Tail does), judge a publish
//! (`append.lua` does, as `sequencer.rs` would). Talks to: Redis 7.0 or later, or Valkey; an [`Archive`] after a loss.
//! Start reading at: `log.rs`, then `append.lua`.

mod appender;
mod connection;
mod fault;
mod follower;
mod level;
mod library;
mod live;
mod log;
mod packed;
mod resp;
mod subscription;

use std::{fmt, sync::Arc, time::Duration};

use protocol::limits;

pub use level::Level;
pub use live::{LiveOptions, LiveStartError, RedisLive};
pub use log::RedisLog;

use crate::Archive;

/// What a node's lease lasts without a word from it (LOG.md §2).
pub const LEASE_MS: u64 = 10_000;
/// Producers of one generation at most: 1 KB each at the very worst.
const PRODUCERS_MAX: usize = 1_000_000;
/// An append without an answer for so long has an unknown outcome. A slow disk takes tens of milliseconds; the client is
/// told `unknown` after [`limits::APPEND_DEADLINE_MS`], and a try or two should fit in before.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// What is stored stays in the log for the Tails of nodes that start: 15 min, 256 MiB.
const RETENTION_BYTES: u64 = 256 * 1024 * 1024;

/// How a log is reached, and what is expected of it.
#[derive(Clone)]
pub struct Options {
    /// One URL per partition.
    pub servers: Vec<String>,
    /// First part of every key. Instances that share a server differ in it.
    pub prefix: String,
    /// This process among those that share the log; another one after each start.
    pub node: u64,
    /// Asked for heads after a loss.
    pub archive: Arc<dyn Archive>,
    /// Whether this process may load the functions: the api may, a broker's user may not.
    pub loads: bool,
    /// The least level to start with.
    pub level_min: Level,
    /// The level where the server does not tell its configuration.
    pub level_assumed: Option<Level>,
    /// What a node's lease lasts. The same in every process.
    pub lease_ms: u64,
    /// Age at which what is stored may be trimmed …
    pub retention_ms: u64,
    /// … or the bytes behind W, if there are more of them sooner.
    pub retention_bytes: u64,
    /// Producers of one generation; one more starts the next early.
    pub producers_max: usize,
    /// How long a call may take.
    pub answer_timeout: Duration,
    /// Milliseconds that the server's clock is taken to be ahead: 0 but in tests of what takes a quarter of an hour.
    pub ahead_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Options {
    /// The defaults of the product.
    pub fn new(servers: Vec<String>, node: u64, archive: Arc<dyn Archive>) -> Self {
        Self {
            servers,
            prefix: "wc".to_owned(),
            node,
            archive,
            loads: true,
            level_min: Level::L2,
            level_assumed: None,
            lease_ms: LEASE_MS,
            retention_ms: limits::DEDUPE_MS,
            retention_bytes: RETENTION_BYTES,
            producers_max: PRODUCERS_MAX,
            answer_timeout: ANSWER_TIMEOUT,
            ahead_ms: Arc::new(|| 0),
        }
    }
}

impl fmt::Debug for Options {
    /// URLs may hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prefix, node, level_min, .. } = self;
        f.debug_struct("Options")
            .field("servers", &self.servers.len())
            .field("prefix", prefix)
            .field("node", node)
            .field("level_min", level_min)
            .finish_non_exhaustive()
    }
}

/// A log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// No server, or more than there may be partitions.
    #[error("{0} log servers, there are 1 to {max}", max = limits::PARTITIONS_MAX)]
    Servers(usize),
    /// A URL that is none, or a server that cannot be reached or used.
    #[error("log server {partition}: {reason}")]
    Server {
        /// Which.
        partition: crate::Partition,
        /// Never holds the URL.
        reason: String,
    },
    /// The server's configuration promises less than was asked for.
    #[error("log server {partition} is at {level}, {wanted} is asked for: {why}")]
    Level {
        /// Which.
        partition: crate::Partition,
        /// In force.
        level: Level,
        /// Configured.
        wanted: Level,
        /// What is missing.
        why: &'static str,
    },
}
