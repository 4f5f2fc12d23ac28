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

/// Of the nodes that live, the last position each has seen; the log is fenced while some have not answered.
#[derive(Debug, Default)]
pub(super) struct Fence {
    /// Nodes with a lease.
    pub(super) nodes: BTreeSet<u64>,
    /// `Some` while fenced.
    pub(super) answers: Option<BTreeMap<u64, Pos>>,
    /// Whose turn it is to restore, and its right to it.
    restoring: Option<(u64, Lease)>,
}

impl State {
    pub(super) fn is_fenced(&self) -> bool {
        self.fence.answers.is_some()
    }

    /// After a start: if nobody was here, nobody can have seen more than there is.
    pub(super) fn close_fence(&mut self) {
        self.fence.restoring = None;
        self.fence.answers = (!self.fence.nodes.is_empty()).then(BTreeMap::new);
    }

    /// A node says what it has seen. Admitted once all have, if the log has all of it; else whoever has seen most is asked
    /// to restore it.
    pub(super) fn rejoin(&mut self, node: u64, seen: Pos) -> Result<Admitted, LogError> {
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
        let most = answers.iter().max_by_key(|(_, seen)| **seen);
        let (most, furthest) = most.map_or((node, end), |(node, seen)| (*node, *seen));
        if furthest <= end {
            self.fence.answers = None;
            return Ok(Admitted { epoch: end.epoch, end, restore: None });
        }
        if most != node {
            return Err(LogError::Unavailable("another node restores".to_owned()));
        }
        let lease = self.lease();
        self.fence.restoring = Some((node, lease));
        Ok(Admitted { epoch: end.epoch + 1, end, restore: Some(lease) })
    }

    /// The lease of a node that is gone ran out.
    pub(super) fn expire(&mut self, node: u64) {
        self.fence.nodes.remove(&node);
        if let Some(answers) = &mut self.fence.answers {
            answers.remove(&node);
            if self.fence.nodes.is_empty() {
                self.fence.answers = None;
            }
        }
    }

    /// Begins the next epoch with everything above W: what the log still has, then what the node has more. Under the
    /// original seqs, so that what was seen stays; whatever is new is numbered far above.
    pub(super) fn restore(
        &mut self,
        batches: &[Arc<Batch>],
        lease: Lease,
    ) -> Result<Pos, LogError> {
        if self.fence.restoring.is_none_or(|(_, holder)| holder != lease) {
            return Err(LogError::Refused("restore without the lease"));
        }
        let (end, stored) = (self.end(), self.watermark());
        let mut all = self.read(stored.min(end), usize::MAX).unwrap_or_default();
        all.extend(batches.iter().filter(|batch| batch.pos > end.max(stored)).cloned());
        self.begin_epoch(stored, &all);
        self.fence.answers = None;
        self.fence.restoring = None;
        Ok(self.end())
    }
}
