//! The state of a simulated log: what is written, what of it is durable, and which pushes are under way to whom.
//!
//! Owns: carrying faults out. Never does: wait. Talks to: the sequencer. Start reading at: [`State::submit`].

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use protocol::{ConversationId, Pos};

use super::{EPOCH, Faults, Random, SimOptions, fence::Fence};
use crate::{
    AppendError, Archive, ArchiveError, Batch, Envelope, Lease, LogError, ProducerState, ReadError,
    Verdict,
    recall::recall,
    sequencer::{Mutation, ProducerKey, Sequencer},
};

/// Pushes that wait for one follower; one more is dropped, and it reads the log instead.
const INBOX_MAX: usize = 1_024;
/// Hint of a refusal.
const RETRY_MS: u64 = 50;
/// How often, in per mille of the syncs that do nothing, the data happens to reach the disk all the same.
const LUCK: u16 = 200;

type Answer = Result<Vec<Verdict>, AppendError>;

/// What is under way to one follower.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub(super) pushes: VecDeque<Arc<Batch>>,
    /// Arrive after the next push.
    delayed: Vec<Arc<Batch>>,
    /// It has reason to read the log: it has just begun, saw a hole, or its probe is due.
    pub(super) probe: bool,
}

impl Inbox {
    pub(super) fn arrive(&mut self) {
        self.pushes.extend(std::mem::take(&mut self.delayed));
        self.probe = true;
    }
}

#[derive(Debug)]
pub(super) struct State {
    archive: Arc<dyn Archive>,
    options: SimOptions,
    random: Random,
    sequencer: Sequencer,
    epoch: u32,
    /// Which start of the server this is. A connection is to one of them.
    run: u64,
    pub(super) fence: Fence,
    /// Everything after `trimmed`; what is above `durable` is written only.
    batches: VecDeque<Arc<Batch>>,
    trimmed: u64,
    durable: u64,
    /// What is really on the disk: below `durable` only where the sync is swallowed.
    synced: u64,
    /// Up to here the epoch holds what was restored.
    restored: u64,
    /// Conversations of trimmed batches behind that: they are numbered in this epoch already.
    numbered: BTreeSet<ConversationId>,
    watermark: u64,
    common: Pos,
    leases: u64,
    last_ts: u64,
    tickets: u64,
    /// Answers that wait for the sync, and those that wait to be taken.
    unsynced: Vec<(u64, Answer)>,
    answers: BTreeMap<u64, Answer>,
    inboxes: BTreeMap<u64, Inbox>,
    followers: u64,
}

impl State {
    pub(super) fn new(archive: Arc<dyn Archive>, options: SimOptions) -> Self {
        let mut sequencer = Sequencer::new(EPOCH, (options.clock)());
        sequencer.mutate(options.mutation);
        Self {
            archive,
            random: Random::new(options.seed),
            options,
            sequencer,
            epoch: EPOCH,
            run: 1,
            fence: Fence::default(),
            batches: VecDeque::new(),
            trimmed: 0,
            durable: 0,
            synced: 0,
            restored: 0,
            numbered: BTreeSet::new(),
            watermark: 0,
            common: Pos::new(EPOCH, 0),
            leases: 0,
            last_ts: 0,
            tickets: 0,
            unsynced: Vec::new(),
            answers: BTreeMap::new(),
            inboxes: BTreeMap::new(),
            followers: 0,
        }
    }

    pub(super) fn set_faults(&mut self, faults: Faults) {
        self.options.faults = faults;
        if !faults.hold_sync {
            self.sync();
        }
    }

    pub(super) fn now_ms(&self) -> u64 {
        (self.options.clock)()
    }

    /// Number of the last batch that is written.
    fn written(&self) -> u64 {
        self.trimmed + self.batches.len() as u64
    }

    pub(super) fn run(&self) -> u64 {
        self.run
    }

    pub(super) fn end(&self) -> Pos {
        Pos::new(self.epoch, self.durable)
    }

    pub(super) fn first(&self) -> Pos {
        Pos::new(self.epoch, self.trimmed)
    }

    pub(super) fn watermark(&self) -> Pos {
        Pos::new(self.epoch, self.watermark)
    }

    /// The last position of earlier epochs that stands as it was.
    pub(super) fn common(&self) -> Pos {
        self.common
    }

    pub(super) fn mutation(&self) -> Mutation {
        self.options.mutation
    }

    /// An append on a connection to the given start of the server.
    pub(super) fn submit(&mut self, run: u64, envelopes: &[Envelope]) -> u64 {
        self.tickets += 1;
        let (ticket, faults) = (self.tickets, self.options.faults);
        if run != self.run || self.is_fenced() {
            self.answers.insert(ticket, Err(AppendError::Fenced { epoch: self.epoch }));
            return ticket;
        }
        let now = (self.options.clock)();
        self.sequencer.rotate(now, self.watermark());
        if self.random.per_mille(faults.refuse) || self.recall(envelopes).is_err() {
            self.answers.insert(ticket, Err(AppendError::NotStored { retry_after_ms: RETRY_MS }));
            return ticket;
        }
        let ts = now.max(self.last_ts);
        let pos = Pos::new(self.epoch, self.written() + 1);
        let plan = self.sequencer.plan(envelopes, pos, ts);
        let lost = self.random.per_mille(faults.drop_reply);
        let answer = if lost { Err(AppendError::Unknown) } else { Ok(plan.verdicts.clone()) };
        if let Some(batch) = plan.batch.clone().map(Arc::new) {
            self.last_ts = ts;
            self.batches.push_back(Arc::clone(&batch));
            self.sequencer.commit(plan);
            if self.random.per_mille(faults.push_early) {
                self.push(&batch);
            }
            // What is answered too early is not made durable here: the next append or sync does that, if nothing ends the
            // log before.
            if self.options.mutation == Mutation::AckBeforeAppend {
                self.answers.insert(ticket, answer);
                return ticket;
            }
        }
        // Duplicates wait, too: what they are duplicates of may not be durable yet.
        self.unsynced.push((ticket, answer));
        if !faults.hold_sync {
            self.sync();
        }
        ticket
    }

    /// Asks the archive, which must answer without waiting.
    fn recall(&mut self, envelopes: &[Envelope]) -> Result<(), ArchiveError> {
        let archive = Arc::clone(&self.archive);
        let asking = std::pin::pin!(recall(&mut self.sequencer, &*archive, envelopes));
        match asking.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(ArchiveError("a simulated archive does not wait".to_owned())),
        }
    }

    pub(super) fn take(&mut self, ticket: u64) -> Option<Answer> {
        self.answers.remove(&ticket)
    }

    pub(super) fn sync(&mut self) {
        let before = self.durable;
        self.durable = self.written();
        if !self.options.swallow_sync || self.random.per_mille(LUCK) {
            self.synced = self.durable;
        }
        let fresh = (before - self.trimmed.min(before)) as usize;
        let batches: Vec<Arc<Batch>> = self.batches.iter().skip(fresh).cloned().collect();
        for batch in &batches {
            self.push(batch);
        }
        self.answers.extend(self.unsynced.drain(..));
    }

    /// To every follower, each with its own luck. A second push of the same batch is one that arrives twice.
    fn push(&mut self, batch: &Arc<Batch>) {
        let faults = self.options.faults;
        for inbox in self.inboxes.values_mut() {
            let late = std::mem::take(&mut inbox.delayed);
            if self.random.per_mille(faults.drop_push) {
                inbox.pushes.extend(late);
                continue;
            }
            if self.random.per_mille(faults.delay_push) {
                inbox.delayed.push(Arc::clone(batch));
            } else {
                inbox.pushes.push_back(Arc::clone(batch));
            }
            if self.random.per_mille(faults.double_push) {
                inbox.pushes.push_back(Arc::clone(batch));
            }
            inbox.pushes.extend(late);
            if inbox.pushes.len() > INBOX_MAX {
                inbox.pushes.clear();
                inbox.probe = true;
            }
        }
    }

    /// The server starts again with what was synced, less the last `lose` batches above W (a stale replica took over).
    pub(super) fn crash(&mut self, lose: u64) {
        let lose = lose.min(self.synced.saturating_sub(self.watermark));
        let kept = self.synced.saturating_sub(lose).max(self.trimmed);
        self.batches.truncate((kept - self.trimmed) as usize);
        (self.durable, self.synced) = (kept, kept);
        self.watermark = self.watermark.min(kept);
        // Answers under way go the way of their connections.
        let unheard = self.unsynced.drain(..).map(|(ticket, _)| ticket);
        let unheard: Vec<u64> = unheard.chain(self.answers.keys().copied()).collect();
        self.answers.extend(unheard.into_iter().map(|ticket| (ticket, Err(AppendError::Unknown))));
        self.run += 1;
        self.relearn();
        self.hang_up();
        self.close_fence(self.now_ms());
    }

    /// Connections are gone, and whoever comes back reads first.
    fn hang_up(&mut self) {
        for inbox in self.inboxes.values_mut() {
            *inbox = Inbox { probe: true, ..Inbox::default() };
        }
    }

    /// Builds the sequencer from the log, as a start does.
    fn relearn(&mut self) {
        self.sequencer = Sequencer::new(self.epoch, (self.options.clock)());
        self.sequencer.mutate(self.options.mutation);
        self.batches.iter().for_each(|batch| self.sequencer.replay(batch));
        if self.epoch > EPOCH {
            let own = self.batches.iter().filter(|batch| batch.pos.n > self.restored);
            let events = own.flat_map(|batch| &batch.events);
            let numbered = events.map(|event| event.envelope.conversation);
            self.sequencer.skip_before(numbered.chain(self.numbered.iter().copied()).collect());
        }
    }

    /// A new epoch that begins with these batches of the old one.
    pub(super) fn begin_epoch(&mut self, common: Pos, batches: &[Arc<Batch>]) {
        self.epoch += 1;
        let renumbered = batches.iter().zip(1..).map(|(batch, n)| {
            let events = batch.events.clone();
            Arc::new(Batch { pos: Pos::new(self.epoch, n), ts: batch.ts, events })
        });
        self.batches = renumbered.collect();
        self.common = common;
        self.numbered.clear();
        (self.trimmed, self.watermark) = (0, 0);
        (self.restored, self.durable) = (self.batches.len() as u64, self.batches.len() as u64);
        self.synced = self.durable;
        self.relearn();
        self.hang_up();
    }

    pub(super) fn read(&self, after: Pos, bytes_max: usize) -> Result<Vec<Arc<Batch>>, ReadError> {
        // Whoever comes from an earlier epoch finds everything that was above W in this one.
        let after = if after.epoch < self.epoch { 0 } else { after.n };
        let Some(skip) = after.checked_sub(self.trimmed) else {
            return Err(ReadError::Trimmed { first: Pos::new(self.epoch, self.trimmed + 1) });
        };
        let durable = self.batches.iter().take((self.durable - self.trimmed) as usize);
        let mut bytes: usize = 0;
        let fits = |batch: &&Arc<Batch>| {
            let room = bytes < bytes_max.max(1);
            bytes += batch.cost();
            room
        };
        Ok(durable.skip(skip as usize).take_while(fits).cloned().collect())
    }

    pub(super) fn lease(&mut self) -> Lease {
        self.leases += 1;
        Lease(self.leases)
    }

    pub(super) fn advance(&mut self, to: Pos, lease: Lease) -> Result<(), LogError> {
        if lease.0 != self.leases {
            return Err(LogError::Refused("advance without the lease"));
        }
        if to > self.end() || to.epoch != self.epoch {
            return Err(LogError::Refused("advance above the end"));
        }
        self.watermark = self.watermark.max(to.n);
        Ok(())
    }

    pub(super) fn trimmable(&self) -> Pos {
        let now = (self.options.clock)();
        let old = |batch: &&Arc<Batch>| {
            batch.pos.n <= self.watermark
                && batch.ts.saturating_add(self.options.retention_ms) < now
        };
        let n = self.trimmed + self.batches.iter().take_while(old).count() as u64;
        Pos::new(self.epoch, n)
    }

    pub(super) fn trim_checked(&mut self, upto: Pos) -> Result<(), LogError> {
        if upto > self.trimmable() && self.options.mutation != Mutation::TrimUnchecked {
            return Err(LogError::Refused("trim above W − retention"));
        }
        self.trim(upto.n.min(self.durable));
        Ok(())
    }

    pub(super) fn trim(&mut self, upto: u64) {
        while self.trimmed < upto
            && let Some(batch) = self.batches.pop_front()
        {
            self.trimmed += 1;
            if batch.pos.n > self.restored {
                self.numbered.extend(batch.events.iter().map(|event| event.envelope.conversation));
            }
        }
    }

    pub(super) fn install(&mut self, key: ProducerKey, known: ProducerState) {
        self.sequencer.install(key, known);
    }

    pub(super) fn join(&mut self) -> u64 {
        self.followers += 1;
        self.inboxes.insert(self.followers, Inbox { probe: true, ..Inbox::default() });
        self.followers
    }

    pub(super) fn part(&mut self, follower: u64) {
        self.inboxes.remove(&follower);
    }

    pub(super) fn inbox(&mut self, follower: u64) -> Option<&mut Inbox> {
        self.inboxes.get_mut(&follower)
    }
}
