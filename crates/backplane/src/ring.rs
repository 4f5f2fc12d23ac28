//! The ring: followed batches on their way from the followers, one per partition, to the shards, each of which reads with its own cursor.
//!
//! Owns: slots and bells. Never does: wait for a reader. Talks to: tokio's `Notify`, as the bell.
//! Start reading at: [`Reader::next`].

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use crate::{Batch, Partition};

/// What travels: a batch and its partition.
#[derive(Debug)]
pub struct Item {
    /// Which stream it is of.
    pub partition: Partition,
    /// The batch.
    pub batch: Arc<Batch>,
}

#[derive(Debug)]
struct Slot {
    index: u64,
    item: Item,
}

/// Shared between its writers, who take turns, and its readers, who never wait.
#[derive(Debug)]
pub struct Ring {
    slots: Box<[ArcSwapOption<Slot>]>,
    /// Index of the next item. Written by the writer (`Release`) after the slot; read by readers (`Acquire`).
    head: AtomicU64,
    /// Bytes and index of the oldest item, the writer's own.
    oldest: Mutex<(usize, u64)>,
    bytes_max: usize,
    bells: Mutex<Vec<Arc<Notify>>>,
}

/// A reader fell off: the writer went around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("fell off the ring")]
pub struct Lost;

impl Ring {
    /// A ring of so many slots and bytes ([`Batch::cost`]); whichever is full first drops the oldest.
    pub fn new(slots: usize, bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            slots: (0..slots.max(1)).map(|_| ArcSwapOption::empty()).collect(),
            head: AtomicU64::new(0),
            oldest: Mutex::new((0, 0)),
            bytes_max,
            bells: Mutex::default(),
        })
    }

    fn slot(&self, index: u64) -> &ArcSwapOption<Slot> {
        &self.slots[(index % self.slots.len() as u64) as usize]
    }

    /// Adds a batch and rings all bells. Writers, one per partition, take turns; readers never wait.
    pub fn push(&self, partition: Partition, batch: Arc<Batch>) {
        // Held to the end: two writers at one index lost a batch.
        let mut oldest = self.oldest.lock().unwrap_or_else(PoisonError::into_inner);
        let index = self.head.load(Ordering::Relaxed);
        oldest.0 += batch.cost();
        while oldest.1 < index
            && (oldest.0 > self.bytes_max || index - oldest.1 >= self.slots.len() as u64)
        {
            let dropped = self.slot(oldest.1).swap(None);
            oldest.0 -= dropped.map_or(0, |slot| slot.item.batch.cost());
            oldest.1 += 1;
        }
        self.slot(index).store(Some(Arc::new(Slot { index, item: Item { partition, batch } })));
        self.head.store(index + 1, Ordering::Release);
        drop(oldest);
        for bell in self.bells.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            bell.notify_one();
        }
    }

    /// Bytes held, for metrics.
    pub fn bytes(&self) -> usize {
        self.oldest.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// A reader of everything from now on.
    pub fn reader(self: &Arc<Self>) -> Reader {
        let bell = Arc::new(Notify::new());
        self.bells.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&bell));
        Reader { next: self.head.load(Ordering::Acquire), ring: Arc::clone(self), bell }
    }
}

/// One cursor.
#[derive(Debug)]
pub struct Reader {
    ring: Arc<Ring>,
    next: u64,
    bell: Arc<Notify>,
}

impl Reader {
    /// The next batch if there is one. Errors: [`Lost`]; the cursor is then at the newest place.
    #[expect(
        clippy::should_implement_trait,
        reason = "it has an error between items, and never ends"
    )]
    pub fn next(&mut self) -> Result<Option<(Partition, Arc<Batch>)>, Lost> {
        let head = self.ring.head.load(Ordering::Acquire);
        if self.next == head {
            return Ok(None);
        }
        let slot = self.ring.slot(self.next).load();
        match slot.as_deref().filter(|slot| slot.index == self.next) {
            Some(slot) => {
                self.next += 1;
                Ok(Some((slot.item.partition, Arc::clone(&slot.item.batch))))
            }
            None => {
                self.next = head;
                Err(Lost)
            }
        }
    }

    /// Rung after each push. Wait on it, then read until `None`.
    pub fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut bells = self.ring.bells.lock().unwrap_or_else(PoisonError::into_inner);
        bells.retain(|bell| !Arc::ptr_eq(bell, &self.bell));
    }
}

#[cfg(test)]
mod tests {
    use protocol::Pos;

    use super::*;

    fn batch(n: u64) -> Arc<Batch> {
        Arc::new(Batch { pos: Pos::new(1, n), ts: 0, events: Vec::new() })
    }

    fn numbers(reader: &mut Reader) -> Result<Vec<u64>, Lost> {
        let mut all = Vec::new();
        while let Some((_, batch)) = reader.next()? {
            all.push(batch.pos.n);
        }
        Ok(all)
    }

    #[test]
    fn each_reader_sees_everything_in_order_at_its_own_pace() {
        let ring = Ring::new(8, usize::MAX);
        let (mut a, mut b) = (ring.reader(), ring.reader());
        (1..=3).for_each(|n| ring.push(0, batch(n)));
        assert_eq!(numbers(&mut a), Ok(vec![1, 2, 3]));
        (4..=5).for_each(|n| ring.push(0, batch(n)));
        assert_eq!((numbers(&mut a), numbers(&mut b)), (Ok(vec![4, 5]), Ok(vec![1, 2, 3, 4, 5])));
    }

    /// Each partition has a follower of its own.
    #[test]
    fn nothing_is_lost_between_two_writers() {
        const EACH: u64 = 20_000;
        let ring = Ring::new(2 * EACH as usize, usize::MAX);
        let mut reader = ring.reader();
        std::thread::scope(|scope| {
            for partition in 0..2 {
                let ring = &ring;
                scope.spawn(move || (1..=EACH).for_each(|n| ring.push(partition, batch(n))));
            }
        });
        assert_eq!(numbers(&mut reader).map(|all| all.len()), Ok(2 * EACH as usize));
    }

    #[test]
    fn a_reader_that_is_too_slow_is_told_and_goes_on_at_the_newest_place() {
        for ring in [Ring::new(4, usize::MAX), Ring::new(99, batch(0).cost() * 4)] {
            let mut slow = ring.reader();
            (1..=9).for_each(|n| ring.push(0, batch(n)));
            assert_eq!(numbers(&mut slow), Err(Lost));
            ring.push(0, batch(10));
            assert_eq!(numbers(&mut slow), Ok(vec![10]));
            assert!(ring.bytes() <= batch(0).cost() * 4);
        }
    }
}
