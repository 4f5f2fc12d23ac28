//! The persister: follows the log and is the only writer of messages (LOG.md §4).
//!
//! Owns: the cursor's lease, the pace, W, the trim. Never does: authorise, number, or skip what it cannot store without
//! leaving a hole and a dead letter. Talks to: [`Log`], [`Ingest`]. Start reading at: [`Persister::start`], then `group.rs`.
//!
//! Two owners are safe: every call to the store may be repeated by anybody, and only the newest claim moves the cursor. One
//! that finds its claim void stands by, and takes over when the cursor has stood still for [`TAKE_OVER_AFTER`].

mod group;
mod held;
mod pace;

use std::{sync::Arc, time::Duration};

use backplane::{Batch, Follower, Gap, Lease, Log, LogError, Partition, standing::Standing};
use protocol::Pos;
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{Instant, sleep, timeout},
};

use crate::{
    clock::Clock,
    metrics::Metrics,
    store::{Claim, Ingest, StoreError},
};
use group::Group;
use held::Held;
pub use pace::Nudge;
use pace::Pace;

/// The cursor has stood still this long behind the log: its owner is gone.
const TAKE_OVER_AFTER: Duration = Duration::from_secs(5);
/// Between two looks of one that stands by.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// First and longest pause after a failure; doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Between two trims of the log.
const TRIM_EVERY: Duration = Duration::from_secs(5);

/// What a persister stands on.
#[derive(Debug, Clone)]
pub struct Seams {
    /// Where events come from.
    pub log: Arc<dyn Log>,
    /// Where they go.
    pub store: Arc<dyn Ingest>,
    /// This run of this process, among the nodes of the log.
    pub node: u64,
}

/// A running persister: one task per partition that stores, and one that keeps the process admitted to the log. Dropping it
/// stops them, between two calls to the store.
#[derive(Debug)]
pub struct Persister {
    log: Arc<dyn Log>,
    stored: Vec<watch::Receiver<Pos>>,
    standings: Vec<Arc<Standing>>,
    nudge: Nudge,
    tasks: Vec<AbortHandle>,
}

impl Drop for Persister {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Persister {
    /// Starts on the current runtime.
    pub fn start(seams: &Seams, clock: &Clock, metrics: &Metrics) -> Self {
        let nudge = Nudge::default();
        let (mut stored, mut standings, mut tasks) = (Vec::new(), Vec::new(), Vec::new());
        for partition in 0..seams.log.info().partitions {
            let (tell, told) = watch::channel(Pos::default());
            let held = Held::default();
            let gives = held.clone();
            let gives = Box::new(move |after| gives.after(after));
            let standing = Arc::new(Standing::new(partition, seams.node, gives));
            let (keeps, seams_of) = (Arc::clone(&standing), seams.clone());
            tasks.push(tokio::spawn(take_part(keeps, partition, seams_of)).abort_handle());
            let task = Task {
                partition,
                log: Arc::clone(&seams.log),
                store: Arc::clone(&seams.store),
                clock: clock.clone(),
                metrics: metrics.clone(),
                nudge: nudge.clone(),
                stored: tell,
                standing: Arc::clone(&standing),
                held,
            };
            tasks.push(tokio::spawn(task.run()).abort_handle());
            stored.push(told);
            standings.push(standing);
        }
        Self { log: Arc::clone(&seams.log), stored, standings, nudge, tasks }
    }

    /// How far a partition is stored, by this persister.
    pub fn stored(&self, partition: Partition) -> Option<watch::Receiver<Pos>> {
        self.stored.get(usize::from(partition)).cloned()
    }

    /// How this process stands with each partition: for whoever appends.
    pub fn standings(&self) -> Vec<Arc<Standing>> {
        self.standings.clone()
    }

    /// For readers that wait for the store.
    pub fn nudge(&self) -> Nudge {
        self.nudge.clone()
    }

    /// Waits until everything that is in the log now is stored: a process is not ready before. Errors: the log is away.
    pub async fn caught_up(&self) -> Result<(), LogError> {
        for ((partition, stored), standing) in (0..).zip(&self.stored).zip(&self.standings) {
            standing.admitted().await;
            let end = self.log.end(partition).await?;
            if end.n == 0 {
                continue;
            }
            let mut stored = stored.clone();
            self.nudge.now();
            // The sender lives as long as the task, and the task as long as `self`.
            let _ = stored.wait_for(|pos| *pos >= end).await;
        }
        Ok(())
    }
}

/// Takes part in the log with the store's cursor as seen: a log that lost everything would begin its numbers again otherwise,
/// at places that the store has passed.
async fn take_part(standing: Arc<Standing>, partition: Partition, seams: Seams) {
    let mut told = false;
    let stored = loop {
        match seams.store.stored(partition).await {
            Ok(stored) => break stored,
            Err(error) if !told => tracing::warn!(%error, partition, "the store's cursor is away"),
            Err(_) => {}
        }
        told = true;
        sleep(LOOK_EVERY).await;
    };
    standing.saw(stored);
    standing.saw_stored(stored);
    standing.keep(&*seams.log).await;
}

/// Why an owner of the cursor stops being one.
enum Lost {
    /// Another claim is newer.
    Fenced,
    /// The store or the log failed; worth trying again.
    Failed(String),
    /// Shutdown.
    Closed,
}

impl From<StoreError> for Lost {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Fenced => Self::Fenced,
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<LogError> for Lost {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Refused(_) => Self::Fenced,
            LogError::Unavailable(_) => Self::Failed(error.to_string()),
        }
    }
}

/// The one who may move cursor and W.
struct Owner {
    claim: Claim,
    lease: Lease,
    follower: Box<dyn Follower>,
}

struct Task {
    partition: Partition,
    log: Arc<dyn Log>,
    store: Arc<dyn Ingest>,
    clock: Clock,
    metrics: Metrics,
    nudge: Nudge,
    stored: watch::Sender<Pos>,
    standing: Arc<Standing>,
    held: Held,
}

impl Task {
    async fn run(self) {
        let mut pause = PAUSE_MIN;
        loop {
            let before = *self.stored.borrow();
            match self.own().await {
                Lost::Closed => return,
                Lost::Fenced => {
                    tracing::info!(partition = self.partition, "another persister has taken over");
                    self.stand_by().await;
                }
                Lost::Failed(error) => {
                    let partition = self.partition;
                    if pause == PAUSE_MIN {
                        tracing::warn!(%error, partition, "the persister tries again");
                    }
                    sleep(pause).await;
                    let moved = *self.stored.borrow() > before;
                    pause = if moved { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
                }
            }
        }
    }

    /// Takes the cursor and stores what comes, until something is lost.
    async fn own(&self) -> Lost {
        let mut owner = match self.take().await {
            Ok(owner) => owner,
            Err(lost) => return lost,
        };
        let (mut pace, mut trimmed) = (Pace::default(), None::<Instant>);
        loop {
            let batches = match self.collect(&mut owner, &mut pace).await {
                Ok(batches) => batches,
                Err(lost) => return lost,
            };
            if let Err(lost) = self.store(&mut owner, batches).await {
                return lost;
            }
            pace.stored();
            if trimmed.is_none_or(|at| at.elapsed() >= TRIM_EVERY) {
                trimmed = Some(Instant::now());
                self.trim().await;
            }
        }
    }

    async fn take(&self) -> Result<Owner, Lost> {
        let lease = self.log.lease(self.partition).await?;
        let claim = self.store.claim(self.partition).await?;
        // W may be behind the cursor after a restart, or after a crash between the two.
        if claim.stored > self.log.watermark(self.partition).await? {
            self.log.advance(self.partition, claim.stored, lease).await?;
        }
        self.standing.saw_stored(claim.stored);
        self.stored.send_replace(claim.stored);
        Ok(Owner { claim, lease, follower: self.log.follow(self.partition, claim.stored) })
    }

    /// At least one batch, and what else comes before it is time to store.
    async fn collect(&self, owner: &mut Owner, pace: &mut Pace) -> Result<Vec<Arc<Batch>>, Lost> {
        let mut group = Group::default();
        group.push(self.next(owner).await?);
        self.report_lag(&group).await;
        loop {
            let due = pace.due(&self.nudge);
            tokio::pin!(due);
            // First the deadline, else a log that never pauses would never be stored; then more batches.
            let more = tokio::select! {
                biased;
                () = &mut due => None,
                next = owner.follower.next(), if !group.is_full() => Some(next),
            };
            match more {
                None => return Ok(group.into_batches()),
                Some(Ok(batch)) => group.push(batch),
                // What is collected is stored first; the gap shows again at the next call.
                Some(Err(_)) => return Ok(group.into_batches()),
            }
            if group.is_full() {
                return Ok(group.into_batches());
            }
        }
    }

    async fn next(&self, owner: &mut Owner) -> Result<Arc<Batch>, Lost> {
        match owner.follower.next().await {
            Ok(batch) => Ok(batch),
            Err(Gap::Closed) => Err(Lost::Closed),
            Err(Gap::EpochChanged { epoch, common }) => {
                tracing::warn!(epoch, partition = self.partition, "the log has a new epoch");
                // Restored batches come again under their seqs: storing them again changes nothing.
                owner.follower = self.log.follow(self.partition, common.min(owner.claim.stored));
                owner.follower.next().await.map_err(|gap| Lost::Failed(gap.to_string()))
            }
            Err(gap @ Gap::Trimmed { .. }) => {
                // Events are gone that were never stored. Going on would hide it: a person has to decide.
                tracing::error!(%gap, partition = self.partition, stored = %owner.claim.stored,
                    "the log was trimmed above the cursor; nothing is stored until it is restored");
                Err(Lost::Failed(gap.to_string()))
            }
        }
    }

    /// Phases, cursor, W. Cancel safety: whatever was not done is done by whoever comes next.
    async fn store(&self, owner: &mut Owner, batches: Vec<Arc<Batch>>) -> Result<(), Lost> {
        let Some(last) = batches.last().map(|batch| batch.pos) else { return Ok(()) };
        // From here on this process knows of them, whatever becomes of the log (ADR 0007).
        self.standing.saw(last);
        self.held.begin(&batches);
        let n_messages = batches.iter().map(|batch| batch.events.len()).sum::<usize>();
        group::write(&*self.store, &batches, &self.metrics).await?;
        owner.claim = self.store.move_cursor(self.partition, owner.claim, last).await?;
        self.log.advance(self.partition, last, owner.lease).await?;
        self.standing.saw_stored(last);
        self.held.end(last);
        self.stored.send_replace(last);
        self.metrics.persisted(n_messages);
        self.metrics.persister_lag(self.partition, 0.0, 0);
        Ok(())
    }

    async fn report_lag(&self, group: &Group) {
        let Some(first) = group.first() else { return };
        let seconds = self.clock.now_ms().saturating_sub(first.ts) as f64 / 1_000.0;
        let end = self.log.end(self.partition).await.map_or(first.pos.n, |end| end.n);
        self.metrics.persister_lag(self.partition, seconds, end.saturating_sub(first.pos.n) + 1);
    }

    /// A trim that fails is tried again at the next one; the log's own limits are the bound.
    async fn trim(&self) {
        let done = match self.log.trimmable(self.partition).await {
            Ok(upto) if upto.n > 0 => self.log.trim(self.partition, upto).await,
            other => other.map(drop),
        };
        if let Err(error) = done {
            tracing::warn!(%error, partition = self.partition, "the log was not trimmed");
        }
    }

    /// Returns when the cursor has stood still behind the log's end for long enough.
    async fn stand_by(&self) {
        let (mut seen, mut since) = (Pos::default(), Instant::now());
        loop {
            sleep(LOOK_EVERY).await;
            let stored = timeout(TAKE_OVER_AFTER, self.store.stored(self.partition)).await;
            let (Ok(Ok(stored)), Ok(end)) = (stored, self.log.end(self.partition).await) else {
                since = Instant::now();
                continue;
            };
            self.stored.send_replace(stored);
            if stored != seen || stored >= end || end.n == 0 {
                (seen, since) = (stored, Instant::now());
            } else if since.elapsed() >= TAKE_OVER_AFTER {
                return;
            }
        }
    }
}
