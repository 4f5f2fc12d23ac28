//! [`LocalLog`]: the [`Log`] of one process.
//!
//! Owns: opening, and the trait's answers. Never does: IO on the caller's thread but reads while catching up.
//! Talks to: the writer thread through a bounded queue. Start reading at: [`LocalLog::open`].

use std::{
    fmt, io,
    sync::{Arc, atomic::Ordering, mpsc},
};

use protocol::{ConversationId, Pos, Producer, UserId, limits};
use tokio::sync::{oneshot, watch};

use super::{
    EPOCH, LocalError, Options,
    disk::Disk,
    reader::{LocalFollower, Shared},
    segment,
    writer::{Request, Spare, Writer},
};
use crate::{
    Admitted, AppendError, Appender, Archive, Batch, BoxFuture, Envelope, Follower, Lease, Log,
    LogError, LogInfo, Partition, ProducerState, ReadError, Verdict,
    sequencer::{Mutation, Sequencer},
};

/// Retry hint when the queue is full or the writer is gone.
const RETRY_QUEUE_MS: u64 = 50;
/// Bytes ([`Envelope::cost`]) of one append. The writer stops draining at one batch's worth, so a record holds at most
/// 256 + 512 KiB and stays below the 1 MiB that a reader reads at once.
const APPEND_BYTES_MAX: usize = 2 * limits::BATCH_BYTES_MAX;

/// The durable log of one process. Dropping the last clone of it and its appenders ends its threads.
#[derive(Clone)]
pub struct LocalLog {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    options: Options,
    requests: mpsc::SyncSender<Request>,
}

impl fmt::Debug for LocalLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalLog").field("end", &self.shared.end_n()).finish_non_exhaustive()
    }
}

impl LocalLog {
    /// Takes the folder, finds the end, zeroes what was never acknowledged, and starts the writer.
    ///
    /// `stored`: how far the store is. Segments that the store is past of altogether (a log folder that was moved away) are
    /// let go, and numbering goes on behind `stored`. Errors: in use, damaged, or the disk's.
    pub fn open(
        disk: Arc<dyn Disk>,
        archive: Arc<dyn Archive>,
        stored: Pos,
        options: Options,
    ) -> Result<Self, LocalError> {
        let lock = disk.lock().map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => LocalError::InUse,
            _ => LocalError::Io(error),
        })?;
        let now = (options.clock)();
        let mut sequencer = Sequencer::new(EPOCH, now);
        sequencer.mutate(options.mutation);
        let mut last_ts = 0;
        let mut recovered = segment::recover(&*disk, EPOCH, |batch| {
            sequencer.replay(batch);
            last_ts = batch.ts;
        })?;
        if recovered.last_n < stored.n {
            for old in recovered.segments.drain(..) {
                disk.remove(&old.name)?;
            }
            disk.sync_folder()?;
            recovered.last_n = stored.n;
            sequencer = Sequencer::new(EPOCH, now);
            sequencer.mutate(options.mutation);
        }
        let (end, end_seen) = watch::channel(recovered.last_n);
        let shared = Arc::new(Shared::new(
            recovered.segments,
            end_seen,
            stored.n,
            options.recent_bytes_max,
            options.mutation,
        ));
        let (requests, queue) = mpsc::sync_channel(options.queue_max);
        let writer = Writer {
            shared: Arc::clone(&shared),
            disk: Arc::clone(&disk),
            archive,
            runtime: tokio::runtime::Handle::current(),
            sequencer,
            requests: queue,
            end,
            last_ts,
            spare: Spare::start(Arc::clone(&disk), options.segment_bytes)?,
            failed: false,
            options: options.clone(),
            _lock: lock,
        };
        std::thread::Builder::new().name("log-writer".into()).spawn(move || writer.run())?;
        Ok(Self { shared, disk, options, requests })
    }

    /// Ready when the log has let go of its folder, which may then be opened again in this process. That happens after the
    /// last clone and the last appender are dropped; this future is none of them.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut end = self.shared.watch_end();
        async move { while end.changed().await.is_ok() {} }
    }

    fn pos(n: u64) -> Pos {
        Pos::new(EPOCH, n)
    }

    fn floor(&self) -> u64 {
        let Options { retention_ms, retention_bytes, clock, .. } = &self.options;
        self.shared.retention_floor(clock(), *retention_ms, *retention_bytes)
    }

    fn trim_now(&self, upto: Pos) -> Result<(), LogError> {
        if upto.n > self.floor() && self.options.mutation != Mutation::TrimUnchecked {
            return Err(LogError::Refused("trim above W − retention"));
        }
        for segment in self.shared.trim(upto.n) {
            self.disk.remove(&segment.name).map_err(|e| LogError::Unavailable(e.to_string()))?;
        }
        self.disk.sync_folder().map_err(|e| LogError::Unavailable(e.to_string()))
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

impl Log for LocalLog {
    fn info(&self) -> LogInfo {
        LogInfo {
            partitions: 1,
            durability: "fsync".to_owned(),
            batch_envelopes_max: limits::BATCH_ENVELOPES_MAX,
            batch_bytes_max: limits::BATCH_BYTES_MAX,
        }
    }

    fn appender(&self, _: Partition) -> Box<dyn Appender> {
        Box::new(LocalAppender { requests: self.requests.clone() })
    }

    fn follow(&self, _: Partition, after: Pos) -> Box<dyn Follower> {
        Box::new(LocalFollower::new(Arc::clone(&self.shared), after))
    }

    fn read(
        &self,
        _: Partition,
        after: Pos,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Vec<Arc<Batch>>, ReadError>> {
        ready(self.shared.read(after.n, bytes_max.max(1)))
    }

    fn end(&self, _: Partition) -> BoxFuture<'_, Result<Pos, LogError>> {
        ready(Ok(Self::pos(self.shared.end_n())))
    }

    fn first(&self, _: Partition) -> BoxFuture<'_, Result<Pos, LogError>> {
        ready(Ok(Self::pos(self.shared.trimmed_n())))
    }

    fn watermark(&self, _: Partition) -> BoxFuture<'_, Result<Pos, LogError>> {
        ready(Ok(Self::pos(self.shared.watermark.load(Ordering::SeqCst))))
    }

    fn lease(&self, _: Partition) -> BoxFuture<'_, Result<Lease, LogError>> {
        ready(Ok(Lease(self.shared.lease.fetch_add(1, Ordering::SeqCst) + 1)))
    }

    fn advance(&self, _: Partition, to: Pos, lease: Lease) -> BoxFuture<'_, Result<(), LogError>> {
        let newest = self.shared.lease.load(Ordering::SeqCst);
        let result = if lease.0 != newest {
            Err(LogError::Refused("advance without the lease"))
        } else if to.n > self.shared.end_n() {
            Err(LogError::Refused("advance above the end"))
        } else {
            self.shared.watermark.fetch_max(to.n, Ordering::SeqCst);
            Ok(())
        };
        ready(result)
    }

    fn trim(&self, _: Partition, upto: Pos) -> BoxFuture<'_, Result<(), LogError>> {
        ready(self.trim_now(upto))
    }

    fn trimmable(&self, _: Partition) -> BoxFuture<'_, Result<Pos, LogError>> {
        ready(Ok(Self::pos(self.floor())))
    }

    fn install(
        &self,
        conversation: ConversationId,
        user: UserId,
        producer: Producer,
        state: ProducerState,
    ) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            let (done, answer) = oneshot::channel();
            let request = Request::Install((conversation, user, producer), state, done);
            let gone = || LogError::Unavailable("the writer is busy or gone".to_owned());
            self.requests.try_send(request).map_err(|_| gone())?;
            answer.await.map_err(|_| gone())
        })
    }

    fn rejoin(
        &self,
        _: Partition,
        _: u64,
        _: Pos,
        _: Pos,
    ) -> BoxFuture<'_, Result<Admitted, LogError>> {
        ready(Ok(Admitted { epoch: EPOCH, end: Self::pos(self.shared.end_n()), restore: None }))
    }

    fn restore(
        &self,
        _: Partition,
        _: Vec<Arc<Batch>>,
        _: Lease,
    ) -> BoxFuture<'_, Result<Pos, LogError>> {
        ready(Err(LogError::Refused("the local log is never fenced")))
    }
}

#[derive(Debug)]
struct LocalAppender {
    requests: mpsc::SyncSender<Request>,
}

impl Appender for LocalAppender {
    fn append<'a>(
        &'a mut self,
        envelopes: &'a [Envelope],
    ) -> BoxFuture<'a, Result<Vec<Verdict>, AppendError>> {
        Box::pin(async move {
            let bytes: usize = envelopes.iter().map(Envelope::cost).sum();
            if bytes > APPEND_BYTES_MAX {
                tracing::error!(bytes, "an append is larger than the caps that info() names");
                return Err(AppendError::NotStored { retry_after_ms: RETRY_QUEUE_MS });
            }
            let (answer, verdicts) = oneshot::channel();
            let request = Request::Append(envelopes.to_vec(), answer);
            if self.requests.try_send(request).is_err() {
                return Err(AppendError::NotStored { retry_after_ms: RETRY_QUEUE_MS });
            }
            verdicts.await.unwrap_or(Err(AppendError::Unknown))
        })
    }
}
