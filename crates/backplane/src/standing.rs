//! How a process stands with one partition of the log: what it knows of it, and whether it may append (LOG.md §2, ADR 0007).
//!
//! Owns: the highest place that this process knows of, asking to go on, giving back what was lost. Never does: append.
//! Talks to: [`Log::rejoin`], [`Log::restore`]. Start reading at: [`Standing::keep`].

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use protocol::Pos;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};

use crate::{Batch, Log, LogError, Partition, Room};

/// Between two looks at a log that lets this process append.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Between two looks at one that does not: the first append is to be answered a second after it is back.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// For so long after the start of a new epoch it may still get back what it began without: each process keeps what it
/// appended over HTTP until that is stored, and appends it again.
pub const YOUNG: Duration = Duration::from_secs(30);

/// Batches that this process holds, as far as they are after a place.
pub type Held = Box<dyn Fn(Pos) -> Vec<Arc<Batch>> + Send + Sync>;

#[derive(Debug, Default)]
struct Known {
    seen: Pos,
    stored: Pos,
    room: Room,
}

#[derive(Debug, Clone, Copy, Default)]
struct Epoch {
    /// 0: not heard yet.
    number: u32,
    /// When it was first heard of, if another one was before it.
    since: Option<Instant>,
}

/// One process and one partition. Shared by whoever follows, appends and stores.
pub struct Standing {
    partition: Partition,
    node: u64,
    known: Mutex<Known>,
    held: Held,
    doubt: Notify,
    good: watch::Sender<bool>,
    epoch: watch::Sender<Epoch>,
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, node, known, .. } = self;
        let mut form = f.debug_struct("Standing");
        form.field("partition", partition).field("node", node).field("known", known);
        form.field("good", &self.is_good()).finish_non_exhaustive()
    }
}

impl Standing {
    /// `node`: this run of this process. `held`: what it can give back to a log that lost it.
    pub fn new(partition: Partition, node: u64, held: Held) -> Self {
        Self {
            partition,
            node,
            known: Mutex::default(),
            held,
            doubt: Notify::new(),
            good: watch::channel(false).0,
            epoch: watch::channel(Epoch::default()).0,
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a place that was followed, or named by a verdict, or whose events begin to be stored.
    pub fn saw(&self, pos: Pos) {
        let mut known = self.known();
        if pos > known.seen {
            let later = pos.epoch > known.seen.epoch;
            known.seen = pos;
            drop(known);
            if later {
                self.heard(pos.epoch);
            }
        }
    }

    /// Notes a place up to which everything is in the store.
    pub fn saw_stored(&self, pos: Pos) {
        let mut known = self.known();
        known.stored = known.stored.max(pos);
    }

    /// The place up to which everything is in the store, as far as this process knows.
    pub fn stored(&self) -> Pos {
        self.known().stored
    }

    /// The highest place that this process knows of.
    pub fn seen(&self) -> Pos {
        self.known().seen
    }

    /// An append was fenced: asks at once.
    pub fn doubt(&self) {
        self.good.send_replace(false);
        self.doubt.notify_one();
    }

    /// Whether the log let this process append when it was last asked.
    pub fn is_good(&self) -> bool {
        *self.good.borrow()
    }

    /// How much memory the log had left when it was last asked.
    pub fn room(&self) -> Room {
        self.known().room
    }

    /// Returns once the log lets this process append.
    pub async fn admitted(&self) {
        let mut good = self.good.subscribe();
        // The sender lives as long as `self`: there is no error to handle.
        let _ = good.wait_for(|good| *good).await;
    }

    /// The epoch that the log was last heard to be in; 0: not yet.
    pub fn epoch(&self) -> u32 {
        self.epoch.borrow().number
    }

    /// Whether another epoch ended so lately ([`YOUNG`]) that what it lost may still come back.
    pub fn is_young(&self) -> bool {
        self.epoch.borrow().since.is_some_and(|since| since.elapsed() < YOUNG)
    }

    /// Returns once the log is in a later epoch than `than`.
    pub async fn later_epoch(&self, than: u32) {
        let mut epoch = self.epoch.subscribe();
        // The sender lives as long as `self`: there is no error to handle.
        let _ = epoch.wait_for(|epoch| epoch.number > than).await;
    }

    fn heard(&self, number: u32) {
        self.epoch.send_if_modified(|epoch| {
            let later = number > epoch.number;
            if later {
                let since = (epoch.number > 0).then(Instant::now);
                *epoch = Epoch { number, since };
            }
            later
        });
    }

    /// Asks the log for ever, and gives back what it lost when it is this process's turn. Cancel safety: a turn that is
    /// not used ends with its lease.
    pub async fn keep(&self, log: &dyn Log) {
        let mut told = true;
        loop {
            let asked = self.ask(log).await;
            let good = asked.is_ok();
            self.known().room = log.room(self.partition);
            if good != told || (good && self.epoch() == 0) {
                let partition = self.partition;
                match &asked {
                    Ok(end) => tracing::info!(partition, %end, "the log takes appends"),
                    Err(error) => tracing::warn!(partition, %error, "the log takes no appends"),
                }
            }
            if let Ok(end) = asked {
                self.heard(end.epoch);
            }
            self.good.send_replace(good);
            told = good;
            if good {
                // A doubt of before is answered. Either outcome is reason to ask.
                let _ = timeout(LOOK_EVERY, self.doubt.notified()).await;
            } else {
                sleep(ASK_EVERY).await;
            }
        }
    }

    /// One question, and what it takes for the next one to be answered. Returns the log's end. Errors: not admitted yet.
    pub async fn ask(&self, log: &dyn Log) -> Result<Pos, LogError> {
        let (seen, stored) = {
            let known = self.known();
            (known.seen, known.stored)
        };
        let admitted = log.rejoin(self.partition, self.node, seen, stored).await?;
        let Some(lease) = admitted.restore else { return Ok(admitted.end) };
        // What a log of an earlier epoch has says nothing of the numbers that this process knows.
        let after = if admitted.end.epoch == seen.epoch { admitted.end } else { stored };
        let batches = (self.held)(after);
        tracing::warn!(
            partition = self.partition,
            end = %admitted.end,
            %seen,
            batches = batches.len(),
            "the log lost something: giving back what is here"
        );
        log.restore(self.partition, batches, lease).await?;
        Err(LogError::Unavailable("a new epoch begins".to_owned()))
    }
}
