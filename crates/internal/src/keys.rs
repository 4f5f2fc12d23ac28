//! The public keys of a broker: fetched from an api, asked for again now and then, and when a token names one that is missing.
//!
//! Owns: when they are fetched. Never does: forget a key because the api is away. Talks to: [`Peers`], `token`.
//! Start reading at: [`KeyKeeper::start`].

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::Method;
use token::Verifier;
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    peers::{CallError, Peers},
    wire::KEYS_PATH,
};

/// More often than an api looks at its folder (30 s): a key is known here before its first token.
const REFRESH_EVERY: Duration = Duration::from_secs(10);
/// Tokens of keys that nobody has are free to make: they cause one question in this time.
const REFRESH_SPACING: Duration = Duration::from_secs(1);

/// Keeps a verifier's keys fresh. Dropping it stops that; the verifier goes on with what it has.
#[derive(Debug)]
pub struct KeyKeeper {
    verifier: Verifier,
    task: AbortHandle,
}

impl Drop for KeyKeeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl KeyKeeper {
    /// Fetches the keys. Errors: no api answers, or none with keys.
    pub async fn fetch(peers: &Peers) -> Result<Verifier, CallError> {
        let document = peers.ask(Method::GET, KEYS_PATH, Bytes::new()).await?;
        let verifier = std::str::from_utf8(&document).ok().map(Verifier::from_jwks);
        match verifier {
            Some(Ok(verifier)) => Ok(verifier),
            _ => Err(CallError::Unreadable("the api".to_owned())),
        }
    }

    /// Goes on from keys that were fetched.
    pub fn start(peers: Peers, keys: Verifier) -> Self {
        Self::start_with(peers, keys, REFRESH_EVERY, REFRESH_SPACING)
    }

    /// The same with other times.
    pub fn start_with(peers: Peers, keys: Verifier, every: Duration, spacing: Duration) -> Self {
        let (wanted, (round, rounds)) = (Arc::new(Notify::new()), watch::channel(0_u64));
        let asked = Arc::clone(&wanted);
        let verifier = keys.clone().with_refresh(Arc::new(move || {
            let (wanted, mut rounds) = (Arc::clone(&asked), rounds.clone());
            Box::pin(async move {
                rounds.mark_unchanged();
                wanted.notify_one();
                // The keeper is gone: there is nothing newer.
                let _ = rounds.changed().await;
            })
        }));
        let task = tokio::spawn(keep(peers, keys, wanted, round, every, spacing)).abort_handle();
        Self { verifier, task }
    }

    /// Verifies with the newest keys.
    pub fn verifier(&self) -> Verifier {
        self.verifier.clone()
    }
}

async fn keep(
    peers: Peers,
    keys: Verifier,
    wanted: Arc<Notify>,
    round: watch::Sender<u64>,
    every: Duration,
    spacing: Duration,
) {
    let mut away = false;
    loop {
        let fetched = Instant::now();
        sleep(spacing).await;
        tokio::select! {
            biased;
            () = wanted.notified() => {}
            () = sleep_until(fetched + every) => {}
        }
        match KeyKeeper::fetch(&peers).await {
            Ok(newer) => {
                if keys.replace(&newer) {
                    tracing::info!("the public keys have changed");
                }
                away = false;
            }
            Err(error) if !away => {
                tracing::warn!(%error, "no newer public keys; those that are here go on");
                away = true;
            }
            Err(_) => {}
        }
        round.send_modify(|round| *round += 1);
    }
}
