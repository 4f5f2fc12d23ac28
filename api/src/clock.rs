//! The api's clock: Unix time, movable in tests.
//!
//! Owns: [`Clock`]. Never does: timers (tokio does). Talks to: the system clock. Start reading at: [`Clock::now_ms`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// Unix time. Cheap to clone; clones share the offset that a test may add.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    ahead_ms: Arc<AtomicU64>,
}

impl Clock {
    /// Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Relaxed: the offset stands alone, nothing is published through it.
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX) + self.ahead_ms.load(Ordering::Relaxed)
    }

    /// Unix seconds.
    pub fn now_seconds(&self) -> u64 {
        self.now_ms() / 1_000
    }

    /// Moves this clock and all its clones forward; only tests do.
    pub fn advance_ms(&self, by: u64) {
        self.ahead_ms.fetch_add(by, Ordering::Relaxed);
    }
}
