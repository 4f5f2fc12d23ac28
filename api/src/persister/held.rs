//! What the persister has in its hands: batches that it begins to store, until they are below W.
//!
//! Owns: [`Held`]. Never does: store. Talks to: nobody. Start reading at: [`Held::begin`].

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use backplane::Batch;
use protocol::Pos;

/// Cheap to clone; all clones are one. Bounded by what is stored at a time: a store that failed is tried again from the
/// cursor, with batches that are here already.
#[derive(Debug, Clone, Default)]
pub(super) struct Held(Arc<Mutex<BTreeMap<Pos, Arc<Batch>>>>);

impl Held {
    fn batches(&self) -> MutexGuard<'_, BTreeMap<Pos, Arc<Batch>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These begin to be stored.
    pub(super) fn begin(&self, batches: &[Arc<Batch>]) {
        let mut held = self.batches();
        if let Some(last) = batches.last() {
            // Of an epoch that is over nothing can be given back any more.
            held.retain(|pos, _| pos.epoch == last.pos.epoch);
        }
        held.extend(batches.iter().map(|batch| (batch.pos, Arc::clone(batch))));
    }

    /// W has passed a place.
    pub(super) fn end(&self, stored: Pos) {
        self.batches().retain(|pos, _| *pos > stored);
    }

    /// What is here of the epoch of `after`, behind it.
    pub(super) fn after(&self, after: Pos) -> Vec<Arc<Batch>> {
        let held = self.batches();
        let later = held.range(after..).filter(|(pos, _)| **pos > after);
        later.take_while(|(pos, _)| pos.epoch == after.epoch).map(|(_, b)| Arc::clone(b)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_is_begun_and_not_below_w() {
        let held = Held::default();
        let batch = |epoch, n| Arc::new(Batch { pos: Pos::new(epoch, n), ts: 1, events: vec![] });
        let places = |after| held.after(after).iter().map(|b| b.pos.n).collect::<Vec<_>>();
        held.begin(&[batch(1, 1), batch(1, 2), batch(1, 3)]);
        held.begin(&[batch(1, 1)]);
        held.end(Pos::new(1, 1));
        assert_eq!(places(Pos::new(1, 0)), [2, 3], "a shorter second try forgets nothing");
        assert_eq!(places(Pos::new(1, 2)), [3]);
        held.begin(&[batch(2, 1)]);
        assert_eq!(places(Pos::new(1, 0)), [] as [u64; 0]);
        assert_eq!(places(Pos::new(2, 0)), [1]);
    }
}
