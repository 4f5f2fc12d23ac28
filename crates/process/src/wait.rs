//! Waiting for what a process needs: any process may start first.
//!
//! Owns: the backoff, saying once what is missing, what `/readyz` is told. Never does: give up. Talks to: nobody.
//! Start reading at: [`Needs::wait_for`].

use std::{
    fmt::Display,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};

/// First and longest pause between two tries; doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// One try.
const TRY_WITHIN: Duration = Duration::from_secs(5);

/// Whether a try may be repeated.
#[derive(Debug)]
pub enum Failed<E> {
    /// It is not there yet.
    Away(E),
    /// Waiting does not help.
    Final(E),
}

/// Something that a process needs.
#[derive(Debug, Clone)]
pub struct Need {
    name: &'static str,
    there: Arc<AtomicBool>,
}

impl Need {
    /// Not there yet.
    pub fn new(name: &'static str) -> Self {
        Self { name, there: Arc::default() }
    }

    /// How people call it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it is there now.
    pub fn is_there(&self) -> bool {
        self.there.load(Relaxed)
    }

    /// Notes whether it is there. Says so when that changes.
    pub fn set(&self, there: bool, why: &dyn Display) {
        if self.there.swap(there, Relaxed) != there {
            let need = self.name;
            match there {
                true => tracing::info!(need, "is there"),
                false => tracing::warn!(need, %why, "is missing"),
            }
        }
    }

    /// Tries until it is there; says once that it waits. Errors: only those that waiting does not help.
    pub async fn wait_for<T, E: Display, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, Failed<E>>>,
    {
        let (mut pause, began, mut told) = (PAUSE_MIN, Instant::now(), false);
        let need = self.name;
        loop {
            let failure = match timeout(TRY_WITHIN, attempt()).await {
                Ok(Ok(value)) => {
                    self.there.store(true, Relaxed);
                    if told {
                        let waited_ms = began.elapsed().as_millis() as u64;
                        tracing::info!(need, waited_ms, "is there");
                    }
                    return Ok(value);
                }
                Ok(Err(Failed::Final(error))) => return Err(error),
                Ok(Err(Failed::Away(error))) => error.to_string(),
                Err(_) => "no answer in time".to_owned(),
            };
            if !told {
                tracing::warn!(need, why = failure, "waiting");
                told = true;
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_waits_for_what_is_away_and_not_for_what_stays_wrong() {
        let need = Need::new("log");
        let mut tries = 0;
        let found = need
            .wait_for(|| {
                tries += 1;
                std::future::ready(if tries < 20 { Err(Failed::Away("away")) } else { Ok(tries) })
            })
            .await;
        assert_eq!((found, need.is_there()), (Ok(20), true));
        let other = Need::new("log");
        let wrong =
            other.wait_for(|| std::future::ready(Err::<(), _>(Failed::Final("level")))).await;
        assert_eq!((wrong, other.is_there()), (Err("level"), false));
        let mut hung = true;
        let live = Need::new("live");
        let slow = live.wait_for(|| {
            let first = std::mem::replace(&mut hung, false);
            async move {
                if first {
                    std::future::pending::<()>().await;
                }
                Ok::<_, Failed<&str>>(())
            }
        });
        assert_eq!(slow.await, Ok(()), "a try that hangs is given up");
    }
}
