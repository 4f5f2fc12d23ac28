//! The api's way into the log: one batch in flight per partition, a verdict per envelope.
//!
//! Owns: the queues and the tasks that empty them. Never does: authorise, or retry a refused envelope (its caller does).
//! Talks to: [`Log`]. Start reading at: [`AppendHandle::append`], then [`run`].

use std::{collections::VecDeque, sync::Arc, time::Duration};

use backplane::{AppendError, Appender, Envelope, Log, LogInfo, Verdict, standing::Standing};
use protocol::limits::APPEND_DEADLINE_MS;
use tokio::{
    sync::{mpsc, oneshot},
    task::AbortHandle,
    time::Instant,
};

use crate::kept::Kept;

/// Envelopes that wait for one partition: 512 × at most 64 KiB of body = 32 MiB. Beyond it: `Unavailable`.
const QUEUE_MAX: usize = 512;
/// Envelopes that are appended again at once: 3 × 64 KiB and their keys are within what a batch may hold (256 KiB).
const AGAIN_MAX: usize = 3;
/// Pause before the same batch is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// What a caller is told when it should come back and the log named no time.
const RETRY_AFTER_MS: u64 = 500;

/// An append without a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendFailure {
    /// Certainly not stored.
    #[error("not stored")]
    Unavailable {
        /// When it is worth trying again.
        retry_after_ms: u64,
    },
    /// Nobody knows yet: the same envelope may be sent again.
    #[error("outcome unknown")]
    Unknown,
}

struct Job {
    envelope: Envelope,
    deadline: Instant,
    reply: Option<oneshot::Sender<Result<Verdict, AppendFailure>>>,
}

/// Sends envelopes to the tasks. Cheap to clone; the tasks stop when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct AppendHandle {
    log: Arc<dyn Log>,
    queues: Arc<Queues>,
}

#[derive(Debug)]
struct Queues {
    senders: Vec<mpsc::Sender<Job>>,
    tasks: Vec<AbortHandle>,
}

impl Drop for Queues {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl AppendHandle {
    /// Starts one task per partition on the current runtime. `standings`: one per partition, see
    /// [`crate::Persister::standings`].
    pub fn start(log: Arc<dyn Log>, standings: Vec<Arc<Standing>>) -> Self {
        let (mut senders, mut tasks) = (Vec::new(), Vec::new());
        for (partition, standing) in (0..log.info().partitions).zip(standings) {
            let (sender, jobs) = mpsc::channel(QUEUE_MAX);
            let (info, appender) = (log.info(), log.appender(partition));
            tasks.push(tokio::spawn(run(info, appender, standing, jobs)).abort_handle());
            senders.push(sender);
        }
        Self { log, queues: Arc::new(Queues { senders, tasks }) }
    }

    /// Appends one envelope and waits for its verdict, at most [`APPEND_DEADLINE_MS`].
    /// Errors: see [`AppendFailure`]. Cancel safety: the envelope may still be stored.
    pub async fn append(&self, envelope: Envelope) -> Result<Verdict, AppendFailure> {
        let partition = self.log.info().partition_of(envelope.conversation);
        let (reply, answer) = oneshot::channel();
        let deadline = Instant::now() + Duration::from_millis(APPEND_DEADLINE_MS);
        let refused = AppendFailure::Unavailable { retry_after_ms: RETRY_AFTER_MS };
        let queue = self.queues.senders.get(usize::from(partition)).ok_or(refused)?;
        queue.try_send(Job { envelope, deadline, reply: Some(reply) }).map_err(|_| refused)?;
        answer.await.unwrap_or(Err(AppendFailure::Unknown))
    }
}

/// Takes one job, drains what else is there, appends, answers; while a call is in flight the next batch forms.
async fn run(
    info: LogInfo,
    mut appender: Box<dyn Appender>,
    standing: Arc<Standing>,
    mut jobs: mpsc::Receiver<Job>,
) {
    let mut waiting: VecDeque<Job> = VecDeque::new();
    let mut kept = Kept::default();
    loop {
        kept.forget(standing.stored());
        let lost = kept.lost(standing.epoch());
        if !lost.is_empty() {
            append_again(&info, &standing, &mut *appender, &mut kept, lost).await;
        }
        if waiting.is_empty() {
            let job = tokio::select! {
                biased;
                // Before what is new: it may rest on what was lost.
                () = standing.later_epoch(kept.epoch().unwrap_or(u32::MAX)) => continue,
                job = jobs.recv() => job,
            };
            match job {
                Some(job) => waiting.push_back(job),
                None => return,
            }
        }
        while let Ok(job) = jobs.try_recv() {
            waiting.push_back(job);
        }
        let batch = take_batch(&mut waiting, info.batch_envelopes_max, info.batch_bytes_max);
        if kept.is_full() {
            refuse(batch, AppendFailure::Unavailable { retry_after_ms: RETRY_AFTER_MS });
        } else {
            write(&standing, &mut *appender, &mut kept, batch).await;
        }
    }
}

fn refuse(batch: Vec<Job>, failure: AppendFailure) {
    batch.into_iter().for_each(|mut job| answer(&mut job, Err(failure)));
}

/// What an epoch that is over may have lost, under the keys that it has: what is there is a duplicate. An event that rests
/// on a membership that has changed is left out: nobody can decide again in its author's place.
async fn append_again(
    info: &LogInfo,
    standing: &Standing,
    appender: &mut dyn Appender,
    kept: &mut Kept,
    lost: Vec<Envelope>,
) {
    tracing::warn!(count = lost.len(), "a new epoch: appending again what is not stored yet");
    for part in lost.chunks(info.batch_envelopes_max.min(AGAIN_MAX)) {
        loop {
            standing.admitted().await;
            let deadline = Instant::now();
            let job =
                |envelope: &Envelope| Job { envelope: envelope.clone(), deadline, reply: None };
            let batch = part.iter().map(job).collect();
            if let Some(verdicts) = write(standing, appender, kept, batch).await {
                let gone = verdicts.iter().filter(|verdict| verdict.pos().is_none()).count();
                if gone > 0 {
                    tracing::warn!(gone, "changes were lost with the epoch that is over");
                }
                break;
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}

/// Splits off what fits into one call; jobs that nobody waits for any more, and that were never sent, are dropped here.
fn take_batch(waiting: &mut VecDeque<Job>, envelopes_max: usize, bytes_max: usize) -> Vec<Job> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while let Some(job) = waiting.front() {
        let fits = batch.len() < envelopes_max && bytes + job.envelope.cost() <= bytes_max;
        if !fits && !batch.is_empty() {
            break;
        }
        let Some(job) = waiting.pop_front() else { break };
        if job.reply.as_ref().is_some_and(|reply| !reply.is_closed()) {
            bytes += job.envelope.cost();
            batch.push(job);
        }
    }
    batch
}

/// Appends one batch until it has verdicts or was certainly not stored. After `Unknown` the *same* batch is tried again
/// before anything else, and a refusal then proves nothing (LOG.md §2); callers hear `Unknown` at their deadline.
/// `None`: there was nothing to do, or certainly nothing was stored.
async fn write(
    standing: &Standing,
    appender: &mut dyn Appender,
    kept: &mut Kept,
    mut batch: Vec<Job>,
) -> Option<Vec<Verdict>> {
    if batch.is_empty() {
        return None;
    }
    let envelopes: Vec<Envelope> = batch.iter().map(|job| job.envelope.clone()).collect();
    let mut unknown = false;
    loop {
        match appender.append(&envelopes).await {
            Ok(verdicts) => {
                verdicts.iter().filter_map(Verdict::pos).for_each(|pos| standing.saw(pos));
                for ((job, verdict), envelope) in batch.iter_mut().zip(&verdicts).zip(envelopes) {
                    kept.note(verdict, envelope);
                    // A failover in between may have lost the birth: with it goes what an earlier try stored, or not.
                    let open = unknown || standing.is_young();
                    let open = open && *verdict == Verdict::UnknownConversation;
                    answer(job, if open { Err(AppendFailure::Unknown) } else { Ok(*verdict) });
                }
                return Some(verdicts);
            }
            Err(AppendError::NotStored { retry_after_ms }) if !unknown => {
                let failure = AppendFailure::Unavailable { retry_after_ms };
                refuse(batch, failure);
                return None;
            }
            Err(AppendError::Fenced { .. }) if !unknown => {
                let failure = AppendFailure::Unavailable { retry_after_ms: RETRY_AFTER_MS };
                refuse(batch, failure);
                standing.doubt();
                return None;
            }
            Err(AppendError::Fenced { .. }) => standing.doubt(),
            Err(AppendError::NotStored { .. }) => {}
            Err(AppendError::Unknown) => unknown = true,
        }
        let now = Instant::now();
        for job in batch.iter_mut().filter(|job| job.deadline <= now) {
            answer(job, Err(AppendFailure::Unknown));
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

fn answer(job: &mut Job, result: Result<Verdict, AppendFailure>) {
    if let Some(reply) = job.reply.take() {
        let _ = reply.send(result);
    }
}

#[cfg(test)]
mod tests {
    use backplane::{
        BoxFuture, Key, Log as _,
        memory_archive::MemoryArchive,
        sequencer::Mutation,
        sim::{Faults, SimLog, SimOptions},
    };
    use protocol::{ConversationId, EventKind, Pos, Producer, UserId};

    use super::*;

    /// Answers with what it was told to, in order.
    #[derive(Debug)]
    struct Script(VecDeque<Result<Vec<Verdict>, AppendError>>);

    impl Appender for Script {
        fn append<'a>(
            &'a mut self,
            _: &'a [Envelope],
        ) -> BoxFuture<'a, Result<Vec<Verdict>, AppendError>> {
            let answer = self.0.pop_front().unwrap_or(Err(AppendError::Unknown));
            Box::pin(async { answer })
        }
    }

    async fn check(
        script: impl IntoIterator<Item = Result<Vec<Verdict>, AppendError>>,
        expected: Result<Verdict, AppendFailure>,
    ) {
        let key = Key {
            conversation: ConversationId::group(1),
            user: UserId(1),
            producer: Producer(1),
            no: 1,
        };
        let envelope = Envelope::new(key, 0, EventKind::Message, bytes::Bytes::from_static(b"{}"));
        let (reply, answer) = oneshot::channel();
        let job = Job { envelope, deadline: Instant::now(), reply: Some(reply) };
        let mut script = Script(script.into_iter().collect());
        let standing = Standing::new(0, 1, Box::new(|_| Vec::new()));
        write(&standing, &mut script, &mut Kept::default(), vec![job]).await;
        assert_eq!(answer.await, Ok(expected));
    }

    #[tokio::test(start_paused = true)]
    async fn that_a_conversation_does_not_exist_is_final_only_if_no_earlier_try_is_open() {
        let absent = || Ok(vec![Verdict::UnknownConversation]);
        check([absent()], Ok(Verdict::UnknownConversation)).await;
        check([Err(AppendError::Unknown), absent()], Err(AppendFailure::Unknown)).await;
    }

    fn sim_log() -> SimLog {
        let options = SimOptions {
            clock: Arc::new(|| 1),
            seed: 1,
            faults: Faults::default(),
            retention_ms: 1,
            swallow_sync: false,
            mutation: Mutation::None,
        };
        SimLog::new(Arc::new(MemoryArchive::default()), options)
    }

    fn birth(group: u128) -> Envelope {
        let conversation = ConversationId::group(group);
        let key = Key { conversation, user: UserId(1), producer: Producer(1), no: 1 };
        let body = bytes::Bytes::from_static(br#"{"members":[]}"#);
        Envelope::new(key, 0, EventKind::Created, body)
    }

    /// Found by the simulator (seeds 13899, 17391, 24072): the birth of a conversation was lost with a failover, and the
    /// messages behind it were refused when their authors sent them again.
    #[tokio::test(start_paused = true)]
    async fn what_a_failover_lost_is_appended_again_unless_it_was_stored() {
        let log = sim_log();
        let standing = Arc::new(Standing::new(0, 1, Box::new(|_| Vec::new())));
        let (keeps, kept) = (Arc::clone(&standing), log.clone());
        let task = tokio::spawn(async move { keeps.keep(&kept).await });
        standing.admitted().await;
        let api = AppendHandle::start(Arc::new(log.clone()), vec![Arc::clone(&standing)]);
        let stored = api.append(birth(1)).await.unwrap();
        standing.saw_stored(stored.pos().unwrap());
        for group in [2, 3, 4, 5] {
            api.append(birth(group)).await.unwrap();
        }
        log.crash(5);
        standing.later_epoch(standing.epoch()).await;
        let groups = || async {
            let batches = log.read(0, Pos::default(), usize::MAX).await.unwrap();
            let events = batches.iter().flat_map(|batch| &batch.events);
            events.map(|event| event.envelope.conversation).collect::<Vec<_>>()
        };
        while groups().await.len() < 4 {
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        assert_eq!(groups().await, [2, 3, 4, 5].map(ConversationId::group));
        // And what rests on one of them is not refused for good.
        assert!(standing.is_young());
        task.abort();
    }
}
