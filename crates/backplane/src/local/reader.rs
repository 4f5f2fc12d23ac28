//! What readers see of the log: recent batches in memory, older ones in the segments.
//!
//! Owns: the shared state between the writer and everyone who reads. Never does: write. Talks to: segment files.
//! Start reading at: [`Shared::read`].

use std::{
    collections::VecDeque,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use protocol::Pos;
use tokio::sync::watch;

use super::{
    EPOCH,
    segment::{READ_BYTES, Record, Segment, decode_record},
};
use crate::{Batch, BoxFuture, Follower, Gap, ReadError, sequencer::Mutation};

/// The newest batches, without a gap up to the end.
#[derive(Debug, Default)]
struct Recent {
    batches: VecDeque<Arc<Batch>>,
    bytes: usize,
}

/// Shared by the writer and all readers. Orderings are `SeqCst`: these are touched per batch, not per message.
#[derive(Debug)]
pub(super) struct Shared {
    recent: RwLock<Recent>,
    recent_bytes_max: usize,
    segments: RwLock<Vec<Segment>>,
    /// Everything up to here is trimmed.
    trimmed: AtomicU64,
    /// W.
    pub(super) watermark: AtomicU64,
    /// The newest lease.
    pub(super) lease: AtomicU64,
    /// Number of the last durable batch. The sender is the writer's; when it is gone, followers end.
    end: watch::Receiver<u64>,
    mutation: Mutation,
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(
        segments: Vec<Segment>,
        end: watch::Receiver<u64>,
        stored: u64,
        recent_bytes_max: usize,
        mutation: Mutation,
    ) -> Self {
        let trimmed = segments.first().map_or(*end.borrow(), |first| first.base_n - 1);
        Self {
            recent: RwLock::default(),
            recent_bytes_max,
            segments: RwLock::new(segments),
            trimmed: AtomicU64::new(trimmed),
            watermark: AtomicU64::new(stored),
            lease: AtomicU64::new(0),
            end,
            mutation,
        }
    }

    /// Number of the last durable batch.
    pub(super) fn end_n(&self) -> u64 {
        *self.end.borrow()
    }

    /// Follows the end; fails when both threads have ended and the folder is free.
    pub(super) fn watch_end(&self) -> watch::Receiver<u64> {
        self.end.clone()
    }

    pub(super) fn trimmed_n(&self) -> u64 {
        self.trimmed.load(Ordering::SeqCst)
    }

    /// Changes the list of segments (writer and trim only).
    pub(super) fn with_segments<R>(&self, change: impl FnOnce(&mut Vec<Segment>) -> R) -> R {
        change(&mut write(&self.segments))
    }

    pub(super) fn push_recent(&self, batch: Arc<Batch>) {
        let mut recent = write(&self.recent);
        recent.bytes += batch.cost();
        recent.batches.push_back(batch);
        while recent.bytes > self.recent_bytes_max
            && let Some(dropped) = recent.batches.pop_front()
        {
            recent.bytes -= dropped.cost();
        }
    }

    fn memory(&self, after: u64, bytes_max: usize) -> Option<Vec<Arc<Batch>>> {
        let recent = read(&self.recent);
        let first = recent.batches.front()?.pos.n;
        let skip = (after + 1).checked_sub(first)? as usize;
        let mut bytes = 0;
        let taken = recent.batches.iter().skip(skip).take_while(|batch| {
            let fits = bytes < bytes_max;
            bytes += batch.cost();
            fits
        });
        Some(taken.cloned().collect())
    }

    /// Batches after `after`, from memory or disk; empty at the end. A read from disk is at most 1 MiB, done in place: it
    /// happens while catching up only.
    pub(super) fn read(&self, after: u64, bytes_max: usize) -> Result<Vec<Arc<Batch>>, ReadError> {
        let trimmed = self.trimmed_n();
        if after < trimmed {
            return Err(ReadError::Trimmed { first: Pos::new(EPOCH, trimmed + 1) });
        }
        let end = self.end_n();
        if after >= end {
            return Ok(Vec::new());
        }
        match self.memory(after, bytes_max) {
            Some(batches) => Ok(batches),
            None => self.disk(after, end, bytes_max),
        }
    }

    fn disk(&self, after: u64, end: u64, bytes_max: usize) -> Result<Vec<Arc<Batch>>, ReadError> {
        let unavailable = |error: std::io::Error| ReadError::Unavailable(error.to_string());
        let (file, mut offset, segment_end) = {
            let segments = read(&self.segments);
            let index = segments.partition_point(|segment| segment.base_n <= after + 1);
            let segment = index.checked_sub(1).map(|i| &segments[i]);
            let Some((segment, mark)) = segment.and_then(|s| Some((s, s.mark_before(after + 1)?)))
            else {
                return Err(ReadError::Trimmed { first: Pos::new(EPOCH, self.trimmed_n() + 1) });
            };
            (Arc::clone(&segment.file), mark.offset, segment.end)
        };
        let (mut found, mut bytes) = (Vec::new(), 0);
        while offset < segment_end && bytes < bytes_max {
            let mut buffer = vec![0; READ_BYTES.min((segment_end - offset) as usize)];
            let filled = file.read_at(&mut buffer, offset).map_err(unavailable)?;
            buffer.truncate(filled);
            let chunk = Bytes::from(buffer);
            let mut at = 0;
            while let Record::Good(batch, length) =
                decode_record(&chunk.slice(at.min(chunk.len())..))
            {
                at += length;
                if batch.pos.n > after && batch.pos.n <= end && bytes < bytes_max {
                    bytes += batch.cost();
                    found.push(Arc::new(batch));
                }
            }
            if at == 0 {
                return Err(ReadError::Unavailable(format!("no record at byte {offset}")));
            }
            offset += at as u64;
        }
        Ok(found)
    }

    /// The highest place at or below W that retention lets go: old enough, or enough bytes behind W.
    pub(super) fn retention_floor(
        &self,
        now_ms: u64,
        retention_ms: u64,
        retention_bytes: u64,
    ) -> u64 {
        let watermark = self.watermark.load(Ordering::SeqCst);
        let segments = read(&self.segments);
        let mut behind = 0;
        for segment in segments.iter().rev() {
            let mut above = segment.end;
            for mark in segment.marks.iter().rev() {
                if mark.n <= watermark {
                    behind += above.saturating_sub(mark.offset);
                }
                above = mark.offset;
                let old = mark.ts.saturating_add(retention_ms) < now_ms;
                if mark.n <= watermark && (old || behind > retention_bytes) {
                    return mark.n;
                }
            }
        }
        self.trimmed_n()
    }

    /// Lets go of everything up to `upto`; whole segments only leave the list, and are returned to be removed.
    pub(super) fn trim(&self, upto: u64) -> Vec<Segment> {
        self.trimmed.fetch_max(upto, Ordering::SeqCst);
        let mut segments = write(&self.segments);
        let whole = segments.windows(2).take_while(|pair| pair[1].base_n <= upto + 1).count();
        segments.drain(..whole).collect()
    }
}

/// Reads on for ever.
#[derive(Debug)]
pub(super) struct LocalFollower {
    shared: Arc<Shared>,
    end: watch::Receiver<u64>,
    after: u64,
    /// Read ahead, not yet returned.
    ahead: VecDeque<Arc<Batch>>,
}

/// Bytes that a follower reads ahead.
const AHEAD_BYTES: usize = 256 * 1024;

impl LocalFollower {
    pub(super) fn new(shared: Arc<Shared>, after: Pos) -> Self {
        let end = shared.end.clone();
        Self { shared, end, after: after.n, ahead: VecDeque::new() }
    }
}

impl Follower for LocalFollower {
    fn next(&mut self) -> BoxFuture<'_, Result<Arc<Batch>, Gap>> {
        Box::pin(async move {
            loop {
                if let Some(batch) = self.ahead.pop_front() {
                    self.after = batch.pos.n;
                    return Ok(batch);
                }
                let end = *self.end.borrow_and_update();
                if self.after > end {
                    return Err(Gap::EpochChanged { epoch: EPOCH, common: Pos::new(EPOCH, end) });
                }
                match self.shared.read(self.after, AHEAD_BYTES) {
                    Ok(batches) if batches.is_empty() => {
                        self.end.changed().await.map_err(|_| Gap::Closed)?
                    }
                    Ok(batches) => self.ahead = batches.into(),
                    Err(ReadError::Trimmed { first })
                        if self.shared.mutation == Mutation::GapUnchecked =>
                    {
                        self.after = first.n - 1;
                    }
                    Err(ReadError::Trimmed { first }) => return Err(Gap::Trimmed { first }),
                    Err(ReadError::Unavailable(_)) => return Err(Gap::Closed),
                }
            }
        })
    }
}
