//! The one thread that writes: take one append, drain what else waits, number, one record, one sync, then answer.
//!
//! Owns: the sequencer and the open segment. Never does: answer before the sync. Talks to: the disk; the archive for heads
//! that it does not know. Start reading at: [`Writer::run`].

use std::{
    io,
    sync::{Arc, mpsc},
};

use protocol::{Pos, limits};
use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
};

use super::{
    EPOCH, Options,
    disk::{Disk, DiskFile},
    reader::Shared,
    segment::{HEADER_BYTES, RECORD_BYTES, Segment, encode_header, encode_record, name_of},
};
use crate::{
    AppendError, Archive, Batch, Envelope, ProducerState, Verdict,
    recall::recall,
    sequencer::{Mutation, ProducerKey, Sequencer},
};

/// Retry hints, in milliseconds.
const RETRY_ARCHIVE_MS: u64 = 250;
const RETRY_DISK_FULL_MS: u64 = 1_000;
/// The name of the segment that is prepared ahead.
const SPARE: &str = "spare";

pub(super) type Answer = oneshot::Sender<Result<Vec<Verdict>, AppendError>>;

/// What the thread is asked.
pub(super) enum Request {
    Append(Vec<Envelope>, Answer),
    Install(ProducerKey, ProducerState, oneshot::Sender<()>),
}

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) archive: Arc<dyn Archive>,
    pub(super) runtime: Handle,
    pub(super) options: Options,
    pub(super) sequencer: Sequencer,
    pub(super) requests: mpsc::Receiver<Request>,
    /// Ts of the last batch: time never runs backwards in the log.
    pub(super) last_ts: u64,
    /// Set after a failed sync: nothing can be promised any more.
    pub(super) failed: bool,
    /// Fields are dropped in this order: the preparing thread ends, then the folder is free, then readers hear of it.
    pub(super) spare: Spare,
    /// Held until neither thread can write any more.
    pub(super) _lock: Box<dyn Send + Sync>,
    pub(super) end: watch::Sender<u64>,
}

/// Appends that go into one record.
#[derive(Default)]
struct Group {
    envelopes: Vec<Envelope>,
    bytes: usize,
    answers: Vec<(usize, Answer)>,
}

impl Group {
    fn add(&mut self, envelopes: Vec<Envelope>, answer: Answer) {
        self.bytes += envelopes.iter().map(Envelope::cost).sum::<usize>();
        self.answers.push((envelopes.len(), answer));
        self.envelopes.extend(envelopes);
    }

    fn is_full(&self) -> bool {
        self.envelopes.len() >= limits::BATCH_ENVELOPES_MAX || self.bytes >= limits::BATCH_BYTES_MAX
    }

    /// A caller that is gone does not want its verdicts; it asks again under the same keys.
    fn answer(self, result: Result<Vec<Verdict>, AppendError>) {
        let mut rest = result.as_deref().unwrap_or(&[]);
        for (count, answer) in self.answers {
            let reply = match &result {
                Ok(_) => {
                    let (own, others) = rest.split_at(count);
                    rest = others;
                    Ok(own.to_vec())
                }
                Err(error) => Err(*error),
            };
            let _ = answer.send(reply);
        }
    }
}

impl Writer {
    /// Runs until the last sender is gone.
    pub(super) fn run(mut self) {
        let mut carried = None;
        while let Some(first) = carried.take().or_else(|| self.requests.recv().ok()) {
            let mut group = Group::default();
            let mut next = Some(first);
            while let Some(request) = next.take() {
                match request {
                    Request::Append(envelopes, answer) => group.add(envelopes, answer),
                    Request::Install(key, state, done) if group.envelopes.is_empty() => {
                        self.sequencer.install(key, state);
                        let _ = done.send(());
                    }
                    // Order matters: what came before it is written first.
                    install @ Request::Install(..) => {
                        carried = Some(install);
                        break;
                    }
                }
                if !group.is_full() {
                    next = self.requests.try_recv().ok();
                }
            }
            if self.options.mutation == Mutation::AckBeforeAppend {
                self.answer_early(&mut group);
            }
            if !group.envelopes.is_empty() {
                let result = self.write(&group.envelopes);
                group.answer(result);
            }
        }
    }

    /// The mutant *ack before append*: answers what it is about to do, and does it a little later.
    fn answer_early(&mut self, group: &mut Group) {
        if self.load(&group.envelopes).is_ok() {
            let pos = Pos::new(EPOCH, self.end.borrow().wrapping_add(1));
            let plan = self.sequencer.plan(&group.envelopes, pos, self.last_ts);
            let early = Group { answers: std::mem::take(&mut group.answers), ..Group::default() };
            early.answer(Ok(plan.verdicts));
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn write(&mut self, envelopes: &[Envelope]) -> Result<Vec<Verdict>, AppendError> {
        if self.failed {
            return Err(AppendError::Unknown);
        }
        let now = (self.options.clock)();
        let watermark =
            Pos::new(EPOCH, self.shared.watermark.load(std::sync::atomic::Ordering::SeqCst));
        // Before the archive is asked: what is forgotten here would pass for new.
        self.sequencer.rotate(now, watermark);
        self.load(envelopes)?;
        let ts = now.max(self.last_ts);
        let pos = Pos::new(EPOCH, self.end.borrow().wrapping_add(1));
        let mut plan = self.sequencer.plan(envelopes, pos, ts);
        let verdicts = std::mem::take(&mut plan.verdicts);
        if let Some(batch) = plan.batch.take() {
            self.persist(&batch)?;
            self.last_ts = ts;
            plan.batch = None;
            self.sequencer.commit_at(plan, pos.n);
            self.shared.push_recent(Arc::new(batch));
            self.end.send_replace(pos.n);
        }
        Ok(verdicts)
    }

    fn load(&mut self, envelopes: &[Envelope]) -> Result<(), AppendError> {
        let recall = recall(&mut self.sequencer, &*self.archive, envelopes);
        self.runtime.block_on(recall).map_err(|error| {
            tracing::warn!(%error, "cannot ask for a conversation or a producer");
            AppendError::NotStored { retry_after_ms: RETRY_ARCHIVE_MS }
        })
    }

    /// One write, one sync. Errors: a write that fails is not stored; a sync that fails ends the promise.
    fn persist(&mut self, batch: &Batch) -> Result<(), AppendError> {
        let full = AppendError::NotStored { retry_after_ms: RETRY_DISK_FULL_MS };
        let mut record = Vec::with_capacity(batch.cost());
        encode_record(batch, &mut record);
        let (file, offset) = self.room_for(batch.pos.n, record.len() as u64).map_err(|error| {
            tracing::warn!(%error, "no room for the log");
            full
        })?;
        if let Err(error) = file.write_at(&record, offset) {
            tracing::warn!(%error, "the log could not be written");
            // Part of the record, or all of it, may be there. Only when its head is gone for good was it "not stored".
            let gone = file.write_at(&[0; RECORD_BYTES], offset).and_then(|()| file.sync_data());
            return Err(if gone.is_ok() { full } else { AppendError::Unknown });
        }
        if let Err(error) = file.sync_data() {
            self.failed = true;
            (self.options.fault)(&format!("sync of the log: {error}"));
            return Err(AppendError::Unknown);
        }
        self.shared.with_segments(|segments| {
            if let Some(segment) = segments.last_mut() {
                segment.note(batch.pos.n, batch.ts, offset);
                segment.end = offset + record.len() as u64;
            }
        });
        Ok(())
    }

    /// The open segment if the record fits, else a new one.
    fn room_for(&mut self, n: u64, bytes: u64) -> io::Result<(Arc<dyn DiskFile>, u64)> {
        let open = self.shared.with_segments(|segments| {
            let last = segments.last()?;
            (last.end + bytes <= self.options.segment_bytes)
                .then(|| (Arc::clone(&last.file), last.end))
        });
        if let Some(place) = open {
            return Ok(place);
        }
        let file = self.spare.take()?;
        file.write_at(&encode_header(EPOCH, n), 0)?;
        file.sync_data()?;
        let name = name_of(n);
        self.disk.rename(SPARE, &name)?;
        self.disk.sync_folder()?;
        self.spare.prepare();
        let segment = Segment {
            name,
            base_n: n,
            file: Arc::clone(&file),
            marks: Vec::new(),
            end: HEADER_BYTES,
        };
        self.shared.with_segments(|segments| segments.push(segment));
        Ok((file, HEADER_BYTES))
    }
}

/// The second thread: fills the next segment with zeros while the first one writes.
pub(super) struct Spare {
    /// `None` only while it is being dropped.
    order: Option<mpsc::SyncSender<()>>,
    ready: mpsc::Receiver<io::Result<Arc<dyn DiskFile>>>,
    ordered: bool,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Spare {
    pub(super) fn start(disk: Arc<dyn Disk>, bytes: u64) -> io::Result<Self> {
        let (order, orders) = mpsc::sync_channel::<()>(1);
        let (made, ready) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name("log-spare".into()).spawn(move || {
            while orders.recv().is_ok() {
                if made.send(disk.create(SPARE, bytes)).is_err() {
                    return;
                }
            }
        })?;
        let mut spare = Self { order: Some(order), ready, ordered: false, thread: Some(thread) };
        spare.prepare();
        Ok(spare)
    }

    /// Orders the next one; nothing happens if one is on order.
    fn prepare(&mut self) {
        self.ordered =
            self.ordered || self.order.as_ref().is_some_and(|order| order.try_send(()).is_ok());
    }

    /// Waits for the one on order. Errors: the disk's; the next call orders again.
    fn take(&mut self) -> io::Result<Arc<dyn DiskFile>> {
        self.prepare();
        let file =
            self.ready.recv().map_err(|_| io::Error::other("the preparing thread is gone"))?;
        self.ordered = false;
        file
    }
}

impl Drop for Spare {
    /// Waits for the file at hand: a thread that still filled it with zeros could hit the segment that the next run of the
    /// log, in the same process, makes of it. At most one file is on order, so the thread never waits for us.
    fn drop(&mut self) {
        self.order = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
