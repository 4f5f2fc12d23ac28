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

/// Envelopes that wait for one partition: 512 × at most 64 KiB of body = 32 MiB. Beyond it: `Unavailable`.
const QUEUE_MAX: usize = 512;
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
    loop {
        if waiting.is_empty() {
            match jobs.recv().await {
                Some(job) => waiting.push_back(job),
                None => return,
            }
        }
        while let Ok(job) = jobs.try_recv() {
            waiting.push_back(job);
        }
        let batch = take_batch(&mut waiting, info.batch_envelopes_max, info.batch_bytes_max);
        write(&standing, &mut *appender, batch).await;
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
async fn write(standing: &Standing, appender: &mut dyn Appender, mut batch: Vec<Job>) {
    if batch.is_empty() {
        return;
    }
    let envelopes: Vec<Envelope> = batch.iter().map(|job| job.envelope.clone()).collect();
    let mut unknown = false;
    loop {
        match appender.append(&envelopes).await {
            Ok(verdicts) => {
                verdicts.iter().filter_map(Verdict::pos).for_each(|pos| standing.saw(pos));
                for (job, verdict) in batch.iter_mut().zip(verdicts) {
                    // A failover in between may have lost the birth: with it goes what an earlier try stored, or not.
                    let open = unknown && verdict == Verdict::UnknownConversation;
                    answer(job, if open { Err(AppendFailure::Unknown) } else { Ok(verdict) });
                }
                return;
            }
            Err(AppendError::NotStored { retry_after_ms }) if !unknown => {
                let failure = AppendFailure::Unavailable { retry_after_ms };
                batch.iter_mut().for_each(|job| answer(job, Err(failure)));
                return;
            }
            Err(AppendError::Fenced { .. }) if !unknown => {
                let failure = AppendFailure::Unavailable { retry_after_ms: RETRY_AFTER_MS };
                batch.iter_mut().for_each(|job| answer(job, Err(failure)));
                standing.doubt();
                return;
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
    use backplane::{BoxFuture, Key};
    use protocol::{ConversationId, EventKind, Producer, UserId};

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
        write(&standing, &mut script, vec![job]).await;
        assert_eq!(answer.await, Ok(expected));
    }

    #[tokio::test(start_paused = true)]
    async fn that_a_conversation_does_not_exist_is_final_only_if_no_earlier_try_is_open() {
        let absent = || Ok(vec![Verdict::UnknownConversation]);
        check([absent()], Ok(Verdict::UnknownConversation)).await;
        check([Err(AppendError::Unknown), absent()], Err(AppendFailure::Unknown)).await;
    }
}
