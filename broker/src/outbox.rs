//! The bounded outgoing queue of one connection.
//!
//! Owns: [`Outbox`]. Never does: sockets, closing (the shard does). Talks to: nobody.
//! Start reading at: [`Outbox::push`].

use std::collections::VecDeque;

use bytes::Bytes;

/// The outbox is full: the caller closes the connection as a slow consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("outbox full")]
pub struct Full;

/// Frames on their way to one socket. An empty one holds no memory.
#[derive(Debug, Default)]
pub struct Outbox {
    // Boxed: a connection is idle nearly always, and the queue's own 32 bytes would be paid by each.
    #[expect(clippy::box_collection, reason = "8 bytes while idle instead of 32")]
    queue: Option<Box<VecDeque<Bytes>>>,
    bytes: usize,
}

impl Outbox {
    /// Queues a frame; shared bytes, never copied. Returns whether it was taken: droppable ones fall above half of
    /// either bound. Errors: [`Full`].
    pub fn push(
        &mut self,
        frame: Bytes,
        droppable: bool,
        events_max: usize,
        bytes_max: usize,
    ) -> Result<bool, Full> {
        if droppable && (self.events() * 2 >= events_max || self.bytes * 2 >= bytes_max) {
            return Ok(false);
        }
        if self.events() >= events_max || self.bytes + frame.len() > bytes_max {
            return Err(Full);
        }
        self.bytes += frame.len();
        self.queue.get_or_insert_default().push_back(frame);
        Ok(true)
    }

    /// Moves frames into `out`, at least one if there is one, until `bytes_max` is passed. Returns their bytes.
    pub fn take(&mut self, bytes_max: usize, out: &mut Vec<Bytes>) -> usize {
        let mut taken = 0;
        while let Some(queue) = &mut self.queue {
            let Some(frame) = queue.pop_front() else {
                self.queue = None;
                break;
            };
            taken += frame.len();
            out.push(frame);
            if taken >= bytes_max {
                break;
            }
        }
        if self.queue.as_ref().is_some_and(|q| q.is_empty()) {
            self.queue = None;
        }
        self.bytes -= taken;
        taken
    }

    /// Frames queued.
    pub fn events(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.len())
    }

    /// Bytes queued.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r38_droppable_frames_fall_above_half_and_others_only_when_full() {
        let mut outbox = Outbox::default();
        let frame = || Bytes::from_static(b"1234567890");
        for _ in 0..5 {
            assert_eq!(outbox.push(frame(), false, 100, 100), Ok(true));
        }
        assert_eq!(outbox.push(frame(), true, 100, 100), Ok(false));
        for _ in 0..5 {
            assert_eq!(outbox.push(frame(), false, 100, 100), Ok(true));
        }
        assert_eq!(outbox.push(frame(), false, 100, 100), Err(Full));
        let mut out = Vec::new();
        assert_eq!(outbox.take(35, &mut out), 40);
        assert_eq!(outbox.take(1_000, &mut out), 60);
        assert!(outbox.queue.is_none() && outbox.bytes() == 0 && out.len() == 10);
    }
}
