//! The threads that own the connections: one that writes, a few that read.
//!
//! Owns: their bounded queues and the deadline of every call. Never does: SQL. Talks to: rusqlite.
//! Start reading at: [`Lane::call`].

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::store::{StoreError, StoreFuture};

/// A call that has not answered by then is given up: longer than the longest batch of the persister.
const DEADLINE: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A queue and the threads that empty it. Dropping it finishes what is queued and ends them.
pub(super) struct Lane {
    queue: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
    /// What a caller is told at the deadline: a read that did not answer changed nothing.
    late: StoreError,
}

impl Lane {
    /// Starts one thread per connection. At most `queue_max` calls wait; one more is refused as retryable.
    pub(super) fn start(
        name: &str,
        connections: Vec<Connection>,
        queue_max: usize,
        late: StoreError,
    ) -> std::io::Result<Self> {
        let (queue, jobs) = sync_channel(queue_max);
        let jobs = Arc::new(Mutex::new(jobs));
        let mut threads = Vec::new();
        for (index, connection) in connections.into_iter().enumerate() {
            let jobs = Arc::clone(&jobs);
            let thread = std::thread::Builder::new().name(format!("{name}-{index}"));
            threads.push(thread.spawn(move || run(connection, &jobs))?);
        }
        Ok(Self { queue: Some(queue), threads, late })
    }

    /// Runs a job on one of the threads. A job that nobody waits for any more is not begun.
    pub(super) fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'static, T> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            if !answer.is_closed() {
                let _ = answer.send(job(connection));
            }
        });
        let sent = match self.queue.as_ref().map(|queue| queue.try_send(job)) {
            Some(Ok(())) => Ok(()),
            Some(Err(TrySendError::Full(_))) => Err(StoreError::Unavailable("busy".to_owned())),
            Some(Err(TrySendError::Disconnected(_))) | None => {
                Err(StoreError::Unavailable("closed".to_owned()))
            }
        };
        let late = self.late.clone();
        Box::pin(async move {
            sent?;
            match tokio::time::timeout(DEADLINE, answered).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(StoreError::Internal("a call ended without answer".to_owned())),
                Err(_) => Err(late),
            }
        })
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A job that panics is a bug: its transaction is rolled back by the unwinding, its caller hears `Internal`, the thread
/// goes on, for the connection is as it was before the job.
fn run(mut connection: Connection, jobs: &Mutex<Receiver<Job>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        if catch_unwind(AssertUnwindSafe(|| job(&mut connection))).is_err() {
            tracing::error!("a call of the store panicked");
        }
    }
}
