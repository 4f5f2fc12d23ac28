//! Whole clusters of real processes: started, balanced, hurt.
//!
//! Owns: what only several processes can show. Never does: look inside one. Talks to: them over TCP, through `loadtest`.
//! Start reading at: `starting.rs`.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up fails")]

mod balancing;
mod breaking;
mod starting;

use std::time::{Duration, Instant};

/// For what has to happen.
const SOON: Duration = Duration::from_secs(20);

/// Looks until it is so.
async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < SOON, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
