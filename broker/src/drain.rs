//! The planned stop: not ready, no new connections, publishes answered, a slot for everyone, close 1012.
//!
//! Owns: the order of the stop. Never does: close a socket itself. Talks to: the shards. Start reading at: [`drain`].

use std::time::Duration;

use protocol::limits;
use tokio::time::{Instant, sleep};

use crate::{
    admission::Admission,
    mail::Mail,
    node::{Node, State},
    runtime::Shards,
};

/// Publishes in flight are answered within their deadline; that and the shard's own patience.
const PATIENCE: Duration = Duration::from_millis(limits::APPEND_DEADLINE_MS + 2_000);
/// Time for the last close frames to be answered.
const FAREWELLS: Duration = Duration::from_millis(2_500);
/// Time for the threads to end.
const THREADS: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(10);

/// Drains. What is not over in time is cut off; the outcome is in the log.
pub(crate) async fn drain(node: &Node, shards: &Shards, admission: &Admission) {
    node.enter(State::Draining);
    let window = Duration::from_millis(node.config.drain_window_ms);
    tracing::info!(
        connections = admission.taken(),
        window_ms = node.config.drain_window_ms,
        "draining"
    );
    shards.send_all(|| Mail::DrainBegin(node.config.drain_window_ms));
    // Connections that were on their way to their shard when it began are closed by the end of the drain.
    let open = || node.metrics.shards.iter().map(|shard| shard.connections.get()).sum::<u64>();
    until(window, || open() == 0 && admission.taken() == 0).await;
    until(PATIENCE, || open() == 0).await;
    shards.send_all(|| Mail::DrainEnd);
    if !until(FAREWELLS, || admission.taken() == 0).await {
        tracing::warn!(connections = admission.taken(), "cut off at the end of the drain");
    }
    let stopped = until(THREADS, || {
        // Repeated: a full mailbox loses it.
        shards.send_all(|| Mail::Stop);
        shards.are_stopped()
    });
    if !stopped.await {
        tracing::error!("a shard did not stop");
    }
    node.enter(State::Stopped);
}

/// Waits for a condition. Returns whether it came in time.
async fn until(within: Duration, condition: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + within;
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        sleep(LOOK).await;
    }
    true
}
