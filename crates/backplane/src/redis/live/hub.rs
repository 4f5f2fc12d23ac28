//! What this process has heard: who lives, at which version of its list, and every stream's way to the signals.
//!
//! Owns: the numbers that tell a loss, the queue of the streams. Never does: IO. Talks to: nobody.
//! Start reading at: [`Hub::hear`].

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::{
    sync::{Notify, broadcast},
    time::Instant,
};

use super::packed;
use crate::{BoxFuture, NodeId, Signal, SignalStream, live::NodePresence};

/// Flushes that a slow stream may be behind; more are lost for it, and it is told.
const BEHIND_MAX: usize = 1_024;
/// Nodes that are remembered: far above the few dozen of a cluster.
const NODES_MAX: usize = 4_096;

#[derive(Debug, Clone)]
enum Item {
    Signals(u64, Arc<Vec<Signal>>),
    /// So many were lost on the way to this process.
    Lost(u64),
}

#[derive(Debug, Clone, Copy)]
struct Node {
    version: u64,
    at: Instant,
}

#[derive(Debug, Default)]
struct Heard {
    /// The server's start, as of the last subscription.
    run: Option<Arc<str>>,
    /// Number of the last flush.
    last: u64,
    /// Nodes that have a list.
    nodes: HashMap<NodeId, Node>,
}

/// Between the subscription and the streams.
#[derive(Debug)]
pub(super) struct Hub {
    heard: Mutex<Heard>,
    items: broadcast::Sender<Item>,
    /// The highest number that a call of this process was answered with: a stream begins after it.
    answered: AtomicU64,
    garbage: AtomicU64,
    silent: Duration,
    /// What this process wrote may be gone.
    pub(super) wiped: Notify,
}

impl Hub {
    /// `silent`: after it a node is dead.
    pub(super) fn new(silent: Duration) -> Self {
        Self {
            heard: Mutex::default(),
            items: broadcast::channel(BEHIND_MAX).0,
            answered: AtomicU64::new(0),
            garbage: AtomicU64::new(0),
            silent,
            wiped: Notify::new(),
        }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that is published from now on; of this process exactly, of others about so.
    pub(super) fn stream(&self) -> Stream {
        Stream { items: self.items.subscribe(), after: self.answered.load(Relaxed) }
    }

    /// A call was answered: it published this flush.
    pub(super) fn published(&self, n: u64) {
        self.answered.fetch_max(n, Relaxed);
    }

    /// Flushes that could not be read.
    pub(super) fn garbage(&self) -> u64 {
        self.garbage.load(Relaxed)
    }

    pub(super) fn count_garbage(&self) {
        self.garbage.fetch_add(1, Relaxed);
    }

    fn lose(&self, heard: &mut Heard, count: u64, last: u64) {
        heard.last = last;
        self.answered.store(0, Relaxed);
        // Nobody listening is no error.
        let _ = self.items.send(Item::Lost(count.max(1)));
    }

    /// Subscribed, to this start of the server, when so many flushes had been published.
    pub(super) fn subscribed(&self, run: Arc<str>, last: u64) {
        let mut heard = self.heard();
        let now = Instant::now();
        // Who was silent while nobody could be heard is not dead for that.
        heard.nodes.values_mut().for_each(|node| node.at = now);
        let before = heard.run.replace(Arc::clone(&run));
        match before {
            None => heard.last = last,
            Some(before) if before == run && last >= heard.last => {
                if last > heard.last {
                    let count = last - heard.last;
                    self.lose(&mut heard, count, last);
                }
            }
            Some(_) => {
                self.lose(&mut heard, 1, last);
                self.wiped.notify_one();
            }
        }
    }

    /// Takes one push: its number, then the signals. What cannot be read is counted, and missed like what was lost.
    pub(super) fn hear(&self, mut push: Bytes) {
        if push.len() < 8 {
            return self.count_garbage();
        }
        let n = push.get_u64_le();
        let Ok(signals) = packed::read_signals(&push) else { return self.count_garbage() };
        let mut heard = self.heard();
        if n <= heard.last {
            // The numbers began anew under this subscription: all was deleted.
            self.lose(&mut heard, 1, n);
            self.wiped.notify_one();
        } else if n > heard.last + 1 {
            let count = n - heard.last - 1;
            self.lose(&mut heard, count, n);
        }
        heard.last = n;
        for signal in &signals {
            heard.note(signal);
        }
        if !signals.is_empty() {
            let _ = self.items.send(Item::Signals(n, Arc::new(signals)));
        }
    }

    /// Nodes whose lists there have to be, and since which version.
    pub(super) fn expected(&self) -> Vec<(NodeId, u64)> {
        let now = Instant::now();
        let lives = |node: &Node| now.duration_since(node.at) <= self.silent;
        let heard = self.heard();
        let nodes = heard.nodes.iter().filter(|(_, node)| lives(node));
        nodes.map(|(id, node)| (*id, node.version)).collect()
    }

    /// Whether a node is still believed to have a list.
    pub(super) fn knows(&self, node: NodeId) -> bool {
        self.heard().nodes.contains_key(&node)
    }

    /// These lists were read.
    pub(super) fn read(&self, lists: &[NodePresence]) {
        let mut heard = self.heard();
        lists.iter().for_each(|list| heard.note_version(list.node, list.version));
    }
}

impl Heard {
    fn note_version(&mut self, node: NodeId, version: u64) {
        if self.nodes.len() >= NODES_MAX && !self.nodes.contains_key(&node) {
            return;
        }
        let at = Instant::now();
        let known = self.nodes.entry(node).or_insert(Node { version, at });
        *known = Node { version: known.version.max(version), at };
    }

    fn note(&mut self, signal: &Signal) {
        match signal {
            Signal::Presence { node, version, .. } => self.note_version(*node, *version),
            Signal::Heartbeat { node } => {
                if let Some(known) = self.nodes.get_mut(node) {
                    known.at = Instant::now();
                }
            }
            Signal::NodeGone { node } => {
                self.nodes.remove(node);
            }
            _ => {}
        }
    }
}

/// One subscription of the process.
#[derive(Debug)]
pub(super) struct Stream {
    items: broadcast::Receiver<Item>,
    /// Up to here it was published before.
    after: u64,
}

impl SignalStream for Stream {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Signal>, u64>> {
        Box::pin(async move {
            loop {
                match self.items.recv().await {
                    Ok(Item::Signals(n, _)) if n <= self.after => {}
                    Ok(Item::Signals(_, signals)) => return Ok(Arc::unwrap_or_clone(signals)),
                    Ok(Item::Lost(count)) | Err(broadcast::error::RecvError::Lagged(count)) => {
                        self.after = 0;
                        return Err(count);
                    }
                    // The owner of the hub is being dropped: nothing will ever come.
                    Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(n: u64, node: u64) -> Bytes {
        let mut bytes = n.to_le_bytes().to_vec();
        bytes.extend(packed::signals(&[Signal::Heartbeat { node: NodeId(node) }]));
        bytes.into()
    }

    fn hub() -> Hub {
        let hub = Hub::new(Duration::from_secs(8));
        hub.subscribed("a".into(), 10);
        hub
    }

    async fn next(stream: &mut Stream) -> Result<u64, u64> {
        let signals = stream.next().await?;
        let [Signal::Heartbeat { node }] = signals[..] else { panic!("{signals:?}") };
        Ok(node.0)
    }

    #[tokio::test]
    async fn a_missing_number_is_a_loss_and_so_is_what_cannot_be_read() {
        let hub = hub();
        let mut stream = hub.stream();
        hub.hear(push(11, 1));
        hub.hear(push(14, 2));
        hub.hear(Bytes::from_static(b"garbage that is long enough"));
        hub.hear(Bytes::from_static(b"short"));
        hub.hear(push(15, 3));
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(next(&mut stream).await);
        }
        assert_eq!(seen, [Ok(1), Err(2), Ok(2), Ok(3)]);
        assert_eq!(hub.garbage(), 2);
    }

    #[tokio::test]
    async fn a_stream_begins_after_what_this_process_had_published() {
        let hub = hub();
        hub.published(12);
        let mut stream = hub.stream();
        (11..=13).for_each(|n| hub.hear(push(n, n)));
        assert_eq!(next(&mut stream).await, Ok(13));
    }

    #[tokio::test]
    async fn a_new_subscription_tells_what_was_missed_and_nothing_if_nothing_was() {
        let hub = hub();
        let mut stream = hub.stream();
        hub.subscribed("a".into(), 10);
        hub.subscribed("a".into(), 13);
        hub.subscribed("b".into(), 13);
        // All was deleted while it was subscribed.
        hub.hear(push(1, 4));
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(next(&mut stream).await);
        }
        assert_eq!(seen, [Err(3), Err(1), Err(1), Ok(4)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_is_expected_while_its_node_lives_and_was_not_said_to_be_gone() {
        let hub = hub();
        let read = |node, version| NodePresence { node: NodeId(node), version, users: vec![] };
        hub.read(&[read(1, 5), read(2, 7)]);
        hub.hear({
            let mut bytes = 11u64.to_le_bytes().to_vec();
            bytes.extend(packed::signals(&[Signal::NodeGone { node: NodeId(2) }]));
            bytes.into()
        });
        assert_eq!(hub.expected(), [(NodeId(1), 5)]);
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(hub.expected(), []);
        hub.subscribed("b".into(), 0);
        assert_eq!(hub.expected(), [(NodeId(1), 5)], "nobody could be heard");
    }
}
