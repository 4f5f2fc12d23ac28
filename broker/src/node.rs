//! What all tasks of one broker share: its settings, counters, health and the switch of the drain.
//!
//! Owns: [`Node`]. Never does: IO. Talks to: nobody. Start reading at: [`Node::checks`].

use std::{
    borrow::Cow,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use backplane::Room;
use tokio::sync::watch;

use crate::{config::BrokerConfig, metrics::NodeMetrics, shard::Now};

/// A shard that has not turned its loop for this long is stuck.
const STUCK_MS: u64 = 5_000;
/// Restarts of shards within [`RESTARTS_WITHIN`] at which the process is better replaced.
const RESTARTS_MAX: usize = 3;
const RESTARTS_WITHIN: Duration = Duration::from_secs(60);
/// After a failed append the node is not ready for this long, or until one succeeds.
const APPEND_DOUBT_MS: u64 = 10_000;

/// Where the node is in its life. The number is that of `broker_node_state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Reads the log.
    Starting = 0,
    /// Takes connections.
    Ready = 1,
    /// Sends its connections away.
    Draining = 2,
    /// Is gone.
    Stopped = 3,
}

/// One line of `/readyz?verbose`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub name: Cow<'static, str>,
    /// Whether it is good.
    pub good: bool,
    /// Whether the node serves only with it. What all nodes miss together must not send everybody away.
    pub needed: bool,
}

impl Check {
    /// Something that the node cannot do without.
    pub fn needed(name: impl Into<Cow<'static, str>>, good: bool) -> Self {
        Self { name: name.into(), good, needed: true }
    }

    /// Something without which it does less.
    pub fn wanted(name: impl Into<Cow<'static, str>>, good: bool) -> Self {
        Self { name: name.into(), good, needed: false }
    }
}

/// Shared by everything that belongs to one broker. Made by the composer, so that its admin port can look at it.
#[derive(Debug)]
pub struct Node {
    /// Settings.
    pub config: BrokerConfig,
    /// Counters.
    pub metrics: Arc<NodeMetrics>,
    began: Instant,
    drain: watch::Sender<bool>,
    /// When each shard last turned its loop; 0 = not yet.
    ticked: Vec<AtomicU64>,
    restarts: Mutex<Vec<Instant>>,
    append_failed_ms: AtomicU64,
}

impl Node {
    /// A node that has not begun.
    pub fn new(config: BrokerConfig) -> Arc<Self> {
        let shards = config.n_shards();
        let metrics = NodeMetrics::new(shards);
        metrics.node.set(config.node.0);
        metrics.connections_limit.set(config.connections_max as u64);
        Arc::new(Self {
            config,
            metrics,
            began: Instant::now(),
            drain: watch::channel(false).0,
            ticked: (0..shards).map(|_| AtomicU64::new(0)).collect(),
            restarts: Mutex::default(),
            append_failed_ms: AtomicU64::new(0),
        })
    }

    /// The clocks. Monotonic time begins above zero, so that zero can mean "never".
    pub(crate) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mono_ms = self.began.elapsed().as_millis() as u64 + 1;
        Now { mono_ms, wall_ms: wall.as_millis() as u64 }
    }

    /// Where the node is in its life.
    pub fn state(&self) -> State {
        match self.metrics.state.get() {
            0 => State::Starting,
            1 => State::Ready,
            2 => State::Draining,
            _ => State::Stopped,
        }
    }

    pub(crate) fn enter(&self, state: State) {
        self.metrics.state.set(state as u64);
    }

    /// Begins the drain; the broker ends after it. Calling it again changes nothing.
    pub fn drain(&self) {
        self.drain.send_replace(true);
    }

    /// Returns once somebody has asked for the drain.
    pub(crate) async fn drain_asked(&self) {
        let mut asked = self.drain.subscribe();
        // The sender lives as long as `self`: there is no error to handle.
        let _ = asked.wait_for(|asked| *asked).await;
    }

    pub(crate) fn shard_ticked(&self, shard: usize) {
        self.ticked[shard].store(self.now().mono_ms, Relaxed);
    }

    pub(crate) fn shard_restarted(&self) {
        let mut restarts = self.restarts.lock().unwrap_or_else(PoisonError::into_inner);
        restarts.retain(|at| at.elapsed() < RESTARTS_WITHIN);
        restarts.push(Instant::now());
    }

    pub(crate) fn append_answered(&self, good: bool) {
        let failed = if good { 0 } else { self.now().mono_ms };
        self.append_failed_ms.store(failed, Relaxed);
    }

    fn appends_are_good(&self) -> bool {
        let failed = self.append_failed_ms.load(Relaxed);
        let standings = self.metrics.standings.get().into_iter().flatten();
        let admitted = standings.into_iter().all(|standing| standing.is_good());
        admitted
            && !self.log_is_full()
            && (failed == 0 || failed + APPEND_DOUBT_MS < self.now().mono_ms)
    }

    /// Whether a partition of the log has no room for publishes.
    pub(crate) fn log_is_full(&self) -> bool {
        let mut standings = self.metrics.standings.get().into_iter().flatten();
        standings.any(|standing| standing.room() == Room::Red)
    }

    /// Whether every loop turns: the process is worth keeping.
    pub fn is_live(&self) -> bool {
        let now = self.now().mono_ms;
        let turns = |ticked: &AtomicU64| {
            let ticked = ticked.load(Relaxed);
            ticked == 0 || ticked + STUCK_MS > now
        };
        let mut restarts = self.restarts.lock().unwrap_or_else(PoisonError::into_inner);
        restarts.retain(|at| at.elapsed() < RESTARTS_WITHIN);
        restarts.len() < RESTARTS_MAX && self.ticked.iter().all(turns)
    }

    /// What readiness depends on. All good = ready.
    pub fn checks(&self) -> Vec<Check> {
        vec![
            Check::needed("accepting", self.state() == State::Ready),
            Check::needed("log", self.appends_are_good()),
            Check::needed("shards", self.is_live()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use backplane::NodeId;

    use super::*;

    #[test]
    fn three_restarts_in_a_minute_are_not_lived_with() {
        let node = Node::new(BrokerConfig { shards: 1, ..BrokerConfig::new(NodeId(1)) });
        (0..2).for_each(|_| node.shard_restarted());
        assert!(node.is_live());
        node.shard_restarted();
        assert!(!node.is_live());
    }

    #[test]
    fn a_failed_append_makes_it_unready_until_one_succeeds() {
        let node = Node::new(BrokerConfig { shards: 1, ..BrokerConfig::new(NodeId(1)) });
        node.enter(State::Ready);
        assert!(node.checks().iter().all(|check| check.good));
        node.append_answered(false);
        assert!(!node.checks().iter().all(|check| check.good));
        node.append_answered(true);
        assert!(node.checks().iter().all(|check| check.good));
    }
}
