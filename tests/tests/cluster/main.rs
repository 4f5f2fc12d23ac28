//! Whole clusters of real processes on loopback: started, used, balanced, hurt.
//!
//! Owns: what only several processes can show. Never does: look inside one. Talks to: them over TCP.
//! Start reading at: `starting.rs`, then `flows.rs`.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up fails")]

mod away;
mod balancing;
mod breaking;
mod client;
mod faults;
mod figures;
mod flows;
mod logout;
mod members;
mod operate;
mod presence;
mod reload;
mod rolling;
mod servers;
mod starting;
mod whole;
mod wiped;

use std::time::Duration;

/// For whatever a test waits for; an empty log lets nobody in for the 10 s of a lease.
const LIMIT: Duration = Duration::from_secs(45);
/// The same where nobody waits for a lease.
const SOON: Duration = Duration::from_secs(20);

/// Waits for a condition that is asked again and again.
async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let waited = tokio::time::timeout(LIMIT, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("never came: {what}"));
}
