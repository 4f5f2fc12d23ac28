//! When to store: at once if nothing was stored lately, else in groups; sooner if somebody waits.
//!
//! Owns: [`Pace`], [`Nudge`]. Never does: store. Talks to: tokio's clock. Start reading at: [`Pace::due`].

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// Between two stores when nobody waits: a sync of the store slows those of the log on the same disk (LOG.md §2).
const EVERY: Duration = Duration::from_millis(250);
/// Between two stores when somebody waits: at most 50 a second.
const EVERY_NUDGED: Duration = Duration::from_millis(20);

/// Says that a reader waits for the store. Cheap to clone; many nudges are one.
#[derive(Debug, Clone, Default)]
pub struct Nudge(Arc<Notify>);

impl Nudge {
    /// Asks for the next store soon.
    pub fn now(&self) {
        self.0.notify_one();
    }
}

/// The time of the last store.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Option<Instant>,
    nudged: bool,
}

impl Pace {
    /// Something was stored just now.
    pub(super) fn stored(&mut self) {
        (self.last, self.nudged) = (Some(Instant::now()), false);
    }

    /// Ready when it is time to store again. Cancel safety: a nudge that was heard is remembered.
    pub(super) async fn due(&mut self, nudge: &Nudge) {
        let Some(last) = self.last else { return };
        if !self.nudged {
            tokio::select! {
                biased;
                () = nudge.0.notified() => self.nudged = true,
                () = sleep_until(last + EVERY) => return,
            }
        }
        sleep_until(last + EVERY_NUDGED).await;
    }
}
