//! The run's clock: nanoseconds since the run began, the same for every process record of a history.
//!
//! Owns: the only reading of a clock in the library. Never does: wall time. Talks to: nobody.
//! Start reading at: [`Clock`].

use std::time::{Duration, Instant};

/// A clock that all devices of a run share.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts at 0 now.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Nanoseconds since the start.
    pub fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Sleeps until a moment on this clock; returns at once if it is past.
    pub async fn sleep_until(&self, at_ns: u64) {
        let at = self.start + Duration::from_nanos(at_ns);
        tokio::time::sleep_until(at.into()).await;
    }
}
