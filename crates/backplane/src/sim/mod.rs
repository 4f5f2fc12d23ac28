//! [`SimLog`]: a [`Log`] in memory whose faults come from a seed, for simulations of many nodes on one thread.
//!
//! Owns: the trait's answers over [`State`]. Never does: threads, sockets, a clock or a random source of its own.
//! Talks to: an [`Archive`] that answers at once. Start reading at: [`SimLog::submit`], then `state.rs`.

mod faults;
mod fence;
mod follower;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::{ConversationId, Pos, Producer, UserId, limits};
use tokio::sync::watch;

pub use faults::{Faults, Random};
pub use fence::LEASE_MS;
pub use follower::SimFollower;
use state::State;

use crate::{
    Admitted, AppendError, Appender, Archive, Batch, BoxFuture, Envelope, Follower, Lease, Log,
    LogError, LogInfo, Partition, ProducerState, ReadError, Verdict, local::Clock,
    sequencer::Mutation,
};

/// The first lifetime of the numbering.
pub const EPOCH: u32 = 1;

/// A submitted batch, until its answer is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(u64);

/// How a simulated log is set up.
#[derive(Clone)]
pub struct SimOptions {
    /// Simulated Unix milliseconds.
    pub clock: Clock,
    /// Where every fault comes from.
    pub seed: u64,
    /// Which faults, and how often.
    pub faults: Faults,
    /// What is at or below W stays this long.
    pub retention_ms: u64,
    /// The sync does nothing: for tests of the tests.
    pub swallow_sync: bool,
    /// The same.
    pub mutation: Mutation,
}

impl std::fmt::Debug for SimOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimOptions").field("seed", &self.seed).finish_non_exhaustive()
    }
}

/// The simulated log: one partition. Clones share it.
#[derive(Debug, Clone)]
pub struct SimLog {
    state: Arc<Mutex<State>>,
    /// Counts changes; whoever waits looks again.
    changes: watch::Sender<u64>,
}

impl SimLog {
    /// An empty log.
    pub fn new(archive: Arc<dyn Archive>, options: SimOptions) -> Self {
        Self {
            state: Arc::new(Mutex::new(State::new(archive, options))),
            changes: watch::channel(0).0,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut self.state());
        self.changes.send_modify(|count| *count += 1);
        result
    }

    /// Which start of the server this is: what a new connection learns, and names in its appends.
    pub fn run(&self) -> u64 {
        self.state().run()
    }

    /// Starts an append on a connection to start `run`. It is written at once; durable, pushed and answered at once, too,
    /// unless the faults hold the sync back until [`SimLog::sync`].
    pub fn submit(&self, run: u64, envelopes: &[Envelope]) -> Ticket {
        Ticket(self.change(|state| state.submit(run, envelopes)))
    }

    /// The answer to a submitted batch, once.
    pub fn take(&self, ticket: Ticket) -> Option<Result<Vec<Verdict>, AppendError>> {
        self.state().take(ticket.0)
    }

    /// Makes durable what is written, pushes it and answers for it.
    pub fn sync(&self) {
        self.change(State::sync);
    }

    /// Ends the log and starts it again: only what was synced is left, less the last `lose` batches; pushes under way are
    /// gone, and every append without an answer has an unknown outcome. Fenced until every node has called `rejoin`.
    pub fn crash(&self, lose: u64) {
        self.change(|state| state.crash(lose));
    }

    /// Whether it waits for nodes to say what they have seen.
    pub fn is_fenced(&self) -> bool {
        self.state().is_fenced()
    }

    /// A node is gone without a word. Its lease runs on for [`LEASE_MS`]; a start meanwhile begins a new epoch, since nobody
    /// can tell what the node had seen.
    pub fn vanish(&self, node: u64) {
        self.change(|state| state.vanish(node, state.now_ms()));
    }

    /// The lease of a node that is gone has run out: nobody waits for it any more.
    pub fn expire(&self, node: u64) {
        self.change(|state| state.expire(node));
    }

    /// The last durable position.
    pub fn end(&self) -> Pos {
        self.state().end()
    }

    /// Everything up to here is in the store.
    pub fn watermark(&self) -> Pos {
        self.state().watermark()
    }

    /// Trims everything up to W whatever its age, past whoever follows.
    pub fn trim_hard(&self) {
        self.change(|state| state.trim(state.watermark().n));
    }

    /// Takes other faults from here on; a simulation ends with none, to see whether everything heals.
    pub fn set_faults(&self, faults: Faults) {
        self.change(|state| state.set_faults(faults));
    }

    /// A follower that can be asked without waiting.
    pub fn follower(&self, after: Pos) -> SimFollower {
        SimFollower::new(self.clone(), after)
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

impl Log for SimLog {
    fn info(&self) -> LogInfo {
        LogInfo {
            partitions: 1,
            durability: "simulated".to_owned(),
            batch_envelopes_max: limits::BATCH_ENVELOPES_MAX,
            batch_bytes_max: limits::BATCH_BYTES_MAX,
        }
    }

    fn appender(&self, _: Partition) -> Box<dyn Appender> {
        Box::new(SimAppender { log: self.clone(), run: self.run() })
    }

    fn follow(&self, _: Partition, after: Pos) -> Box<dyn Follower> {
        Box::new(self.follower(after))
    }

    fn read(
        &self,
        _: Partition,
        after: Pos,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Vec<Arc<Batch>>, ReadError>> {
        ready(self.state().read(after, bytes_max))
    }

    fn end(&self, _: Partition) -> BoxFuture<'_, Result<Pos, LogError>> {
        ready(Ok(self.state().end()))
    }

    fn first(&self, _: Partition) -> BoxFuture<'_, Result<Pos, LogError>> {
        ready(Ok(self.state().first()))
    }

    fn watermark(&self, _: Partition) -> BoxFuture<'_, Result<Pos, LogError>> {
        ready(Ok(self.state().watermark()))
    }

    fn lease(&self, _: Partition) -> BoxFuture<'_, Result<Lease, LogError>> {
        ready(Ok(self.state().lease()))
    }

    fn advance(&self, _: Partition, to: Pos, lease: Lease) -> BoxFuture<'_, Result<(), LogError>> {
        ready(self.state().advance(to, lease))
    }

    fn trim(&self, _: Partition, upto: Pos) -> BoxFuture<'_, Result<(), LogError>> {
        ready(self.change(|state| state.trim_checked(upto)))
    }

    fn trimmable(&self, _: Partition) -> BoxFuture<'_, Result<Pos, LogError>> {
        ready(Ok(self.state().trimmable()))
    }

    fn install(
        &self,
        conversation: ConversationId,
        user: UserId,
        producer: Producer,
        known: ProducerState,
    ) -> BoxFuture<'_, Result<(), LogError>> {
        self.state().install((conversation, user, producer), known);
        ready(Ok(()))
    }

    fn rejoin(
        &self,
        _: Partition,
        node: u64,
        seen: Pos,
        _: Pos,
    ) -> BoxFuture<'_, Result<Admitted, LogError>> {
        ready(self.change(|state| state.rejoin(node, seen, state.now_ms())))
    }

    fn restore(
        &self,
        _: Partition,
        batches: Vec<Arc<Batch>>,
        lease: Lease,
    ) -> BoxFuture<'_, Result<Pos, LogError>> {
        ready(self.change(|state| state.restore(&batches, lease)))
    }
}

/// A connection for appends. It learns of a new start by being fenced.
#[derive(Debug)]
struct SimAppender {
    log: SimLog,
    run: u64,
}

impl Appender for SimAppender {
    fn append<'a>(
        &'a mut self,
        envelopes: &'a [Envelope],
    ) -> BoxFuture<'a, Result<Vec<Verdict>, AppendError>> {
        Box::pin(async move {
            let mut changes = self.log.changes.subscribe();
            let ticket = self.log.submit(self.run, envelopes);
            // An answer takes a moment, so that others on the thread get theirs.
            tokio::task::yield_now().await;
            loop {
                changes.borrow_and_update();
                if let Some(answer) = self.log.take(ticket) {
                    self.run = self.log.run();
                    return answer;
                }
                // The sender is in `self.log`, so this ends only by a change.
                changes.changed().await.map_err(|_| AppendError::Unknown)?;
            }
        })
    }
}
