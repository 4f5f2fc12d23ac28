//! The programs of a cluster as processes: two Redis servers, one api, two brokers, on loopback.

mod client;
mod flows;
mod operate;
mod servers;

use std::time::Duration;

/// For whatever a test waits for; an empty log lets nobody in for the 10 s of a lease.
const LIMIT: Duration = Duration::from_secs(45);

/// Waits for a condition that is asked again and again.
async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let waited = tokio::time::timeout(LIMIT, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("never came: {what}"));
}
