//! Signals both ways: what shards say goes out in flushes, what all nodes say comes in for every shard.
//!
//! Owns: the flushes. Never does: durability. Talks to: `Live`.
//! Start reading at: [`Voice`], then [`listen`].

use std::{
    collections::HashMap,
    mem::take,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use backplane::{Cursors, Live, NodeId, PresenceChange, Signal};
use foldhash::fast::RandomState;
use protocol::{ConversationId, UserId};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use crate::{
    mail::Post,
    metrics::{Dropped, NodeMetrics},
    node::Node,
    presence::PresenceMap,
    runtime::Shards,
    tasks::roll::{News, Roll},
};

/// Signals and receipts of the node that wait for a flush; beyond, they fall.
const OUTGOING_MAX: usize = 16_384;
/// Signals in one flush.
const FLUSH_MAX: usize = 1_024;
/// Presence changes are batched over this time.
const ANNOUNCE: Duration = Duration::from_millis(250);
const HEARTBEAT: Duration = Duration::from_secs(2);

type Announcements = HashMap<UserId, PresenceChange, RandomState>;

#[derive(Debug)]
enum Outgoing {
    Signal(Signal),
    Receipt(ConversationId, UserId, Cursors),
}

/// What the shards speak through. Never blocks.
#[derive(Debug, Clone)]
pub(crate) struct Voice {
    outgoing: mpsc::Sender<Outgoing>,
    /// The newest change of each user: at most one per user of the node.
    announcements: Arc<Mutex<Announcements>>,
    metrics: Arc<NodeMetrics>,
}

/// The other end of a [`Voice`].
#[derive(Debug)]
pub(crate) struct Speech {
    outgoing: mpsc::Receiver<Outgoing>,
    announcements: Arc<Mutex<Announcements>>,
}

impl Voice {
    pub(crate) fn new(metrics: Arc<NodeMetrics>) -> (Self, Speech) {
        let (sender, outgoing) = mpsc::channel(OUTGOING_MAX);
        let announcements = Arc::<Mutex<Announcements>>::default();
        let voice = Self { outgoing: sender, announcements: Arc::clone(&announcements), metrics };
        (voice, Speech { outgoing, announcements })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.send(Outgoing::Signal(signal));
    }

    pub(crate) fn receipt(&self, conversation: ConversationId, user: UserId, cursors: Cursors) {
        self.send(Outgoing::Receipt(conversation, user, cursors));
    }

    fn send(&self, outgoing: Outgoing) {
        if self.outgoing.try_send(outgoing).is_err() {
            // Of the node, not of one shard: counted where every node has one.
            self.metrics.shards[0].dropped[Dropped::QueueFull as usize].add(1);
        }
    }

    pub(crate) fn announce(&self, change: PresenceChange) {
        let mut waiting = self.announcements.lock().unwrap_or_else(PoisonError::into_inner);
        merge(&mut waiting, change);
    }
}

/// The later change of a user wins.
fn merge(waiting: &mut Announcements, change: PresenceChange) {
    let newest = waiting.entry(change.user).or_insert(change);
    if change.as_of >= newest.as_of {
        *newest = change;
    }
}

/// Publishes what the shards say, until the node ends.
pub(crate) async fn speak(node: NodeId, live: Arc<dyn Live>, mut speech: Speech) {
    let (mut announce, mut heartbeat) = (interval(ANNOUNCE), interval(HEARTBEAT));
    announce.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut flush = Vec::with_capacity(FLUSH_MAX);
    loop {
        tokio::select! {
            biased;
            _ = heartbeat.tick() => {
                // Lost heartbeats are what the others go by.
                let _ = live.publish(vec![Signal::Heartbeat { node }]).await;
            }
            _ = announce.tick() => announce_all(node, &*live, &speech.announcements).await,
            count = speech.outgoing.recv_many(&mut flush, FLUSH_MAX) => {
                if count == 0 {
                    return;
                }
                publish(&*live, flush.drain(..)).await;
            }
        }
    }
}

async fn announce_all(node: NodeId, live: &dyn Live, waiting: &Mutex<Announcements>) {
    let changes = take(&mut *waiting.lock().unwrap_or_else(PoisonError::into_inner));
    if changes.is_empty() {
        return;
    }
    let changes: Vec<PresenceChange> = changes.into_values().collect();
    if live.announce(node, changes.clone()).await.is_err() {
        // Said again with the next flush, unless something newer was said meanwhile.
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            let newest = waiting.entry(change.user).or_insert(change);
            if change.as_of > newest.as_of {
                *newest = change;
            }
        }
    }
}

async fn publish(live: &dyn Live, flush: impl Iterator<Item = Outgoing>) {
    let (mut signals, mut receipts) = (Vec::new(), Vec::new());
    for outgoing in flush {
        match outgoing {
            Outgoing::Signal(signal) => signals.push(signal),
            Outgoing::Receipt(conversation, user, cursors) => {
                receipts.push((conversation, user, cursors));
            }
        }
    }
    // Both may be lost: clients send their cursors again after each welcome.
    if !signals.is_empty() {
        let _ = live.publish(signals).await;
    }
    if !receipts.is_empty() {
        let _ = live.receipts_merge(receipts).await;
    }
}

/// The listening side.
struct Listener {
    node: Arc<Node>,
    live: Arc<dyn Live>,
    presence: Arc<PresenceMap>,
    shards: Arc<Shards>,
    heard: Roll,
    /// The lists could not be read: what is known may lack something.
    unread: bool,
}

/// Hears what all nodes publish, for ever.
pub(crate) async fn listen(
    node: Arc<Node>,
    live: Arc<dyn Live>,
    presence: Arc<PresenceMap>,
    shards: Arc<Shards>,
) {
    // Subscribed before the lists are read: what changes meanwhile is in the stream.
    let mut stream = live.subscribe();
    let mut listener = Listener::new(node, live, presence, shards);
    listener.read_lists().await;
    let mut look = interval(HEARTBEAT);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            signals = stream.next() => match signals {
                Ok(signals) => listener.on_signals(signals).await,
                Err(lost) => {
                    tracing::warn!(lost, "signals were lost; reading presence again");
                    listener.read_lists().await;
                }
            },
            _ = look.tick() => listener.look().await,
        }
    }
}

impl Listener {
    fn new(
        node: Arc<Node>,
        live: Arc<dyn Live>,
        presence: Arc<PresenceMap>,
        shards: Arc<Shards>,
    ) -> Self {
        let heard = Roll::new(node.config.node);
        Self { node, live, presence, shards, heard, unread: false }
    }

    async fn read_lists(&mut self) {
        let lists = self.live.snapshot().await;
        // No answer: what is known stays, with its `as_of`; the next look asks again.
        self.unread = lists.is_err();
        let Ok(lists) = lists else { return };
        let now = self.node.now();
        let mut changed = Vec::new();
        for list in lists {
            changed.extend(self.presence.replace(&list, now.wall_ms));
            self.heard.read(list.node, list.version, now.mono_ms);
        }
        self.tell(changed);
    }

    async fn on_signals(&mut self, signals: Vec<Signal>) {
        let mut gap = false;
        for signal in &signals {
            gap |= self.hear(signal);
        }
        let signals = Arc::new(signals);
        self.shards.post_all(|| Post::Signals(Arc::clone(&signals)));
        if gap {
            self.read_lists().await;
        }
    }

    /// Applies what concerns the map. Returns whether a version is missing.
    fn hear(&mut self, signal: &Signal) -> bool {
        let now = self.node.now();
        match signal {
            Signal::Presence { node, version, changes } => {
                match self.heard.announced(*node, *version, now.mono_ms) {
                    News::Known => {}
                    News::Next => self.presence.apply(*node, changes),
                    News::Gap => {
                        self.presence.apply(*node, changes);
                        return true;
                    }
                }
            }
            Signal::Heartbeat { node } => self.heard.hear(*node, now.mono_ms),
            Signal::NodeGone { node } => {
                self.heard.forget(*node);
                let gone = self.presence.remove_node(*node, now.wall_ms);
                self.tell(gone);
            }
            _ => {}
        }
        false
    }

    /// Forgets nodes that are silent, and reads what could not be read.
    async fn look(&mut self) {
        let now = self.node.now();
        for node in self.heard.take_dead(now.mono_ms) {
            let gone = self.presence.remove_node(node, now.wall_ms);
            self.tell(gone);
        }
        if self.unread {
            self.read_lists().await;
        }
    }

    fn tell(&self, users: Vec<UserId>) {
        if !users.is_empty() {
            let users: Arc<[UserId]> = users.into();
            self.shards.post_all(|| Post::Presence(Arc::clone(&users)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r32_the_later_of_two_changes_of_a_user_is_announced() {
        let (voice, speech) = Voice::new(NodeMetrics::new(1));
        let change = |online, as_of| PresenceChange { user: UserId(1), online, as_of };
        voice.announce(change(true, 5));
        voice.announce(change(false, 7));
        voice.announce(change(true, 6));
        let waiting = speech.announcements.lock().unwrap();
        assert_eq!(waiting.values().copied().collect::<Vec<_>>(), [change(false, 7)]);
    }
}
