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
/// Reconnects that the other nodes get in a second: a window is as long as that takes, whatever was configured …
const RECONNECTS_PER_SECOND: u64 = 500;
/// … up to this: with all that follows it a stop stays below a minute.
const WINDOW_MAX_MS: u64 = 30_000;
/// Time for the last close frames to be answered.
const FAREWELLS: Duration = Duration::from_millis(2_500);
/// Time for the threads to end.
const THREADS: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(10);

/// Drains. What is not over in time is cut off; the outcome is in the log.
pub(crate) async fn drain(node: &Node, shards: &Shards, admission: &Admission) {
    node.enter(State::Draining);
    let connections = admission.taken();
    let window_ms = window_ms(node.config.drain_window_ms, connections as u64);
    let window = Duration::from_millis(window_ms);
    tracing::info!(connections, window_ms, "draining");
    shards.send_all(|| Mail::DrainBegin(window_ms));
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

/// Over how long reconnects are spread: a few people are not kept waiting, and thousands do not come at once.
fn window_ms(configured_ms: u64, connections: u64) -> u64 {
    let paced = connections.saturating_mul(1_000) / RECONNECTS_PER_SECOND;
    configured_ms.max(paced.min(WINDOW_MAX_MS))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r39_the_window_grows_with_the_connections_and_has_an_end() {
        assert_eq!(window_ms(500, 0), 500);
        assert_eq!(window_ms(500, 60), 500);
        assert_eq!(window_ms(500, 10_000), 20_000);
        assert_eq!(window_ms(500, 100_000), 30_000);
        assert_eq!(window_ms(40_000, 100_000), 40_000, "an operator may want more");
    }
}
