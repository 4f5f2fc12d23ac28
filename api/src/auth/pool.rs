//! The hashing pool: bcrypt on a few threads of its own, behind a short queue.
//!
//! Owns: the threads and the queue. Never does: take a core from the sockets (low count), or wait for a place.
//! Talks to: bcrypt. Start reading at: [`HashPool::verify`].

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
};

use tokio::sync::oneshot;

use super::password::Prehash;

/// Hashes that wait: at cost 12 (0.24 s each) and one thread the last of them waits 15 s.
pub const QUEUE_MAX: usize = 64;

/// No hash was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// The queue is full: come back later.
    #[error("hashing queue full")]
    Busy,
    /// bcrypt failed, or the pool has stopped.
    #[error("hashing failed")]
    Failed,
}

enum Job {
    Hash { secret: Prehash, reply: oneshot::Sender<Option<String>> },
    Verify { secret: Prehash, hash: String, reply: oneshot::Sender<Option<bool>> },
}

/// Threads that hash passwords. Dropping it lets them end after the job at hand.
pub struct HashPool {
    jobs: SyncSender<Job>,
    cost: u32,
}

impl fmt::Debug for HashPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashPool").field("cost", &self.cost).finish_non_exhaustive()
    }
}

impl HashPool {
    /// Starts the threads. `cost`: bcrypt's, 4 … 31.
    pub fn start(threads: usize, cost: u32) -> io::Result<Self> {
        let (jobs, queue) = sync_channel(QUEUE_MAX);
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..threads.max(1) {
            let queue = Arc::clone(&queue);
            thread::Builder::new()
                .name(format!("hash-{number}"))
                .spawn(move || work(&queue, cost))?;
        }
        Ok(Self { jobs, cost })
    }

    /// Hashes a new password. Errors: see [`HashError`].
    pub async fn hash(&self, secret: Prehash) -> Result<String, HashError> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Job::Hash { secret, reply })?;
        answer.await.ok().flatten().ok_or(HashError::Failed)
    }

    /// Compares a password with a stored hash. Without one (unknown user) the work is done all the same and the answer is
    /// `false`, so that time tells nothing about who exists.
    pub async fn verify(&self, secret: Prehash, hash: Option<String>) -> Result<bool, HashError> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.dummy());
        let (reply, answer) = oneshot::channel();
        self.enqueue(Job::Verify { secret, hash, reply })?;
        Ok(answer.await.ok().flatten().ok_or(HashError::Failed)? && known)
    }

    fn enqueue(&self, job: Job) -> Result<(), HashError> {
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => HashError::Busy,
            TrySendError::Disconnected(_) => HashError::Failed,
        })
    }

    /// A well-formed hash of the pool's cost that no password has: 22 characters of salt, 31 of digest, all zero bits.
    fn dummy(&self) -> String {
        format!("$2b${:02}${}", self.cost, ".".repeat(22 + 31))
    }
}

fn work(queue: &Mutex<Receiver<Job>>, cost: u32) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Err(_) => return,
            // A caller that went away in the meantime costs nothing.
            Ok(Job::Hash { secret, reply }) if !reply.is_closed() => {
                let _ = reply.send(bcrypt::non_truncating_hash(secret.0, cost).ok());
            }
            Ok(Job::Verify { secret, hash, reply }) if !reply.is_closed() => {
                let _ = reply.send(bcrypt::non_truncating_verify(secret.0, &hash).ok());
            }
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::password::Pepper;

    #[tokio::test]
    async fn verifies_what_it_hashed_and_never_the_dummy() {
        let pool = HashPool::start(1, 4).unwrap();
        let pepper = Pepper::new(&[1; 32]);
        let hash = pool.hash(pepper.prehash("correct horse")).await.unwrap();
        let verify =
            |password: &str, hash: Option<String>| pool.verify(pepper.prehash(password), hash);
        assert_eq!(verify("correct horse", Some(hash.clone())).await, Ok(true));
        assert_eq!(verify("correct horsf", Some(hash)).await, Ok(false));
        assert_eq!(verify("correct horse", None).await, Ok(false));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let pool = Arc::new(HashPool::start(1, 8).unwrap());
        let pepper = Pepper::new(&[1; 32]);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..QUEUE_MAX * 3 {
            let (pool, secret) = (Arc::clone(&pool), pepper.prehash("x"));
            tasks.spawn(async move { pool.verify(secret, None).await });
        }
        let answers = tasks.join_all().await;
        let busy = answers.iter().filter(|a| **a == Err(HashError::Busy)).count();
        assert!(busy > 0, "the rest was refused");
        assert!(answers.len() - busy >= QUEUE_MAX, "the queue was served");
    }
}
