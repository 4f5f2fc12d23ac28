//! W to the Tail and the shards: what is stored may be forgotten here, and clients drop their pendings.
//!
//! Owns: the poll. Never does: move W. Talks to: `Log`. Start reading at: [`run`].

use std::{sync::Arc, time::Duration};

use backplane::{Log, ring::Ring, standing::Standing, tail::SharedTail};
use tokio::time::{MissedTickBehavior, interval};

use crate::{mail::Mail, node::Node, presence::PresenceMap, runtime::Shards};

/// `persisted` comes at most once a second: half of that.
const POLL: Duration = Duration::from_millis(500);

/// Polls for ever.
pub(crate) async fn run(
    node: Arc<Node>,
    log: Arc<dyn Log>,
    tails: Vec<(SharedTail, Arc<Standing>)>,
    ring: Arc<Ring>,
    presence: Arc<PresenceMap>,
    shards: Arc<Shards>,
) {
    let mut poll = interval(POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        poll.tick().await;
        for (partition, (tail, standing)) in tails.iter().enumerate() {
            // No answer: W stays where it was, which is always right.
            let Ok(stored) = log.watermark(partition as u16).await else { continue };
            standing.saw_stored(stored);
            tail.write().evict(stored, node.now().wall_ms);
            // Repeated, moved or not: a shard that restarted knows nothing.
            shards.send_all(|| Mail::Watermark(partition as u16, stored));
        }
        let bytes = tails.iter().map(|(tail, _)| tail.read().bytes() as u64).sum();
        node.metrics.tail_bytes.set(bytes);
        node.metrics.ring_bytes.set(ring.bytes() as u64);
        node.metrics.presence_entries.set(presence.entries() as u64);
    }
}
