//! A follower of a simulated log, as one of a real log has to be: `n` strictly + 1, nothing before it is durable.
//!
//! Owns: a cursor. Never does: trust a push. Talks to: the state of the log. Start reading at: [`SimFollower::try_next`].

use std::sync::Arc;

use protocol::Pos;
use tokio::sync::watch;

use super::SimLog;
use crate::{Batch, BoxFuture, Follower, Gap, ReadError, sequencer::Mutation};

/// Reads on for ever; dropping it ends its pushes.
#[derive(Debug)]
pub struct SimFollower {
    log: SimLog,
    changes: watch::Receiver<u64>,
    id: u64,
    after: Pos,
}

impl SimFollower {
    pub(super) fn new(log: SimLog, after: Pos) -> Self {
        let (changes, id) = (log.changes.subscribe(), log.state().join());
        Self { log, changes, id, after }
    }

    /// The last batch returned.
    pub fn position(&self) -> Pos {
        self.after
    }

    /// The next batch if it has arrived and is durable. A push that is old is dropped, one that is too new says that there
    /// is a hole, and the log is read. While it is open whether the log lost something, there is no next batch.
    pub fn try_next(&mut self) -> Result<Option<Arc<Batch>>, Gap> {
        let mut state = self.log.state();
        if state.is_fenced() {
            return Ok(None);
        }
        let (end, mutation) = (state.end(), state.mutation());
        if self.after.epoch != end.epoch || self.after > end {
            let common = if self.after.epoch == end.epoch { end } else { state.common() };
            return Err(Gap::EpochChanged { epoch: end.epoch, common });
        }
        let Some(inbox) = state.inbox(self.id) else { return Err(Gap::Closed) };
        while let Some(push) = inbox.pushes.pop_front() {
            let next = push.pos.n == self.after.n + 1
                || (mutation == Mutation::GapUnchecked && push.pos.n > self.after.n);
            if next && push.pos <= end {
                self.after = push.pos;
                return Ok(Some(push));
            }
            if push.pos > self.after {
                // Early, or behind a hole: it is in the log once it is durable.
                inbox.probe = true;
            }
        }
        if !inbox.probe {
            return Ok(None);
        }
        let page = match state.read(self.after, 1) {
            Err(ReadError::Trimmed { first }) if mutation == Mutation::GapUnchecked => {
                self.after.n = first.n - 1;
                state.read(self.after, 1)
            }
            page => page,
        };
        match page {
            Err(ReadError::Trimmed { first }) => Err(Gap::Trimmed { first }),
            Err(ReadError::Unavailable(_)) => Err(Gap::Closed),
            Ok(page) => {
                let next = page.into_iter().next();
                match &next {
                    Some(batch) => self.after = batch.pos,
                    // Read to the end: from here on pushes come.
                    None => state.inbox(self.id).into_iter().for_each(|inbox| inbox.probe = false),
                }
                Ok(next)
            }
        }
    }

    /// The probe (every second in real life): a delayed push arrives, and a lost tail is found.
    pub fn probe(&mut self) {
        if let Some(inbox) = self.log.state().inbox(self.id) {
            inbox.arrive();
        }
    }
}

impl Follower for SimFollower {
    fn next(&mut self) -> BoxFuture<'_, Result<Arc<Batch>, Gap>> {
        Box::pin(async move {
            loop {
                self.changes.borrow_and_update();
                if let Some(batch) = self.try_next()? {
                    return Ok(batch);
                }
                self.changes.changed().await.map_err(|_| Gap::Closed)?;
            }
        })
    }
}

impl Drop for SimFollower {
    fn drop(&mut self) {
        self.log.state().part(self.id);
    }
}
