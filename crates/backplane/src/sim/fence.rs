//! What a simulated log does when it comes back: nothing is written until it is known whether it lost something.
//!
//! Owns: who was here, what they have seen, the new epoch. Never does: decide before every node that lives has answered.
//! Talks to: the state. Start reading at: [`State::rejoin`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use protocol::Pos;

use super::state::State;
use crate::{Admitted, Batch, Lease, LogError};

/// How long the lease of a node that is gone runs on. A tenth of the product's: a run is short.
pub const LEASE_MS: u64 = 1_000;

/// Of the nodes that live, the last position each has seen; the log is fenced while some have not answered.
#[derive(Debug, Default)]
pub(super) struct Fence {
    /// Nodes with a lease.
    nodes: BTreeSet<u64>,
    /// Until when the lease of the last node that went runs.
    leased_until_ms: u64,
    /// A node with a lease was gone when the fence closed: nobody can tell what it had seen.
    unheard: bool,
    /// `Some` while fenced.
    answers: Option<BTreeMap<u64, Pos>>,
    /// Whose turn it is to restore, and its right to it.
    restoring: Option<(u64, Lease)>,
    /// Who has had its turn, and what was given back.
    gave: BTreeSet<u64>,
    given: BTreeMap<Pos, Arc<Batch>>,
}

impl State {
    pub(super) fn is_fenced(&self) -> bool {
        self.fence.answers.is_some()
    }

    /// After a start: if nobody was here, nobody can have seen more than there is.
    pub(super) fn close_fence(&mut self, now_ms: u64) {
        let Fence { nodes, leased_until_ms, unheard, answers, .. } =
            std::mem::take(&mut self.fence);
        let unheard = leased_until_ms > now_ms || (unheard && answers.is_some());
        let answers = (unheard || !nodes.is_empty()).then(BTreeMap::new);
        self.fence = Fence { nodes, leased_until_ms, unheard, answers, ..Fence::default() };
    }

    fn open_fence(&mut self) {
        let Fence { nodes, leased_until_ms, .. } = std::mem::take(&mut self.fence);
        self.fence = Fence { nodes, leased_until_ms, ..Fence::default() };
    }

    /// A node says what it has seen: followed, or been told by a verdict. Admitted once all have, if the log has all of it.
    /// Else, or if a node went without an answer while its lease ran, all restore what they hold, one at a time.
    pub(super) fn rejoin(
        &mut self,
        node: u64,
        seen: Pos,
        now_ms: u64,
    ) -> Result<Admitted, LogError> {
        self.fence.nodes.insert(node);
        let end = self.end();
        let Some(answers) = &mut self.fence.answers else {
            return Ok(Admitted { epoch: end.epoch, end, restore: None });
        };
        answers.insert(node, seen);
        let missing = self.fence.nodes.iter().any(|node| !answers.contains_key(node));
        if missing {
            return Err(LogError::Unavailable("nodes have not answered".to_owned()));
        }
        if self.fence.leased_until_ms > now_ms {
            return Err(LogError::Unavailable("the lease of a node that is gone runs".to_owned()));
        }
        if !self.fence.unheard && answers.values().all(|seen| *seen <= end) {
            self.open_fence();
            return Ok(Admitted { epoch: end.epoch, end, restore: None });
        }
        if self.fence.gave.contains(&node) {
            return Err(LogError::Unavailable("other nodes restore".to_owned()));
        }
        let lease = self.lease();
        self.fence.restoring = Some((node, lease));
        Ok(Admitted { epoch: end.epoch + 1, end, restore: Some(lease) })
    }

    /// A node is gone; its lease runs on.
    pub(super) fn vanish(&mut self, node: u64, now_ms: u64) {
        if self.fence.nodes.remove(&node) {
            self.fence.leased_until_ms = now_ms + LEASE_MS;
        }
        if let Some(answers) = &mut self.fence.answers {
            answers.remove(&node);
            self.fence.unheard = true;
        }
    }

    /// The lease of a node that is gone has run out; with the last one nobody is left to be waited for.
    pub(super) fn expire(&mut self, node: u64) {
        self.fence.nodes.remove(&node);
        if let Some(answers) = &mut self.fence.answers {
            answers.remove(&node);
        }
        if self.fence.nodes.is_empty() {
            self.fence.leased_until_ms = 0;
            self.open_fence();
        }
    }

    /// Takes back what a node holds above what there is. After the last one the next epoch begins with everything above W,
    /// under the original seqs, so that what was seen stays; whatever is new is numbered far above.
    pub(super) fn restore(
        &mut self,
        batches: &[Arc<Batch>],
        lease: Lease,
    ) -> Result<Pos, LogError> {
        let Some((node, _)) = self.fence.restoring.take_if(|(_, holder)| *holder == lease) else {
            return Err(LogError::Refused("restore without the lease"));
        };
        let (end, stored) = (self.end(), self.watermark());
        let lost = batches.iter().filter(|batch| batch.pos > end && batch.pos.epoch == end.epoch);
        self.fence.given.extend(lost.map(|batch| (batch.pos, Arc::clone(batch))));
        self.fence.gave.insert(node);
        if self.fence.gave.is_superset(&self.fence.nodes) {
            let mut all = self.read(stored, usize::MAX).unwrap_or_default();
            all.extend(std::mem::take(&mut self.fence.given).into_values());
            self.begin_epoch(stored, &all);
            self.open_fence();
        }
        Ok(self.end())
    }
}
