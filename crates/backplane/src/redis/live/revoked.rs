//! What this process revoked, kept until it runs out, so that a live server which lost it is told again.
//!
//! Owns: that list. Never does: say what is revoked (the server does). Talks to: the link. Start reading at: [`keep`].

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use redis::Value;
use tokio::time::sleep;

use super::{Inner, packed};
use crate::{LiveError, Revocation, Signal, redis::connection::number};

/// Revocations that are remembered: 10 min of 100 a second, 48 bytes each. Beyond it the oldest is forgotten.
const KEPT_MAX: usize = 60_000;
/// Pause before the server is told again what it could not be told.
const AGAIN: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy)]
struct Kept {
    revocation: Revocation,
    at_ms: u64,
    until_ms: u64,
    /// It was published.
    told: bool,
}

/// In the order of time.
#[derive(Debug, Default)]
pub(super) struct Revoked(Mutex<VecDeque<Kept>>);

impl Revoked {
    fn list(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, kept: Kept, now_ms: u64) {
        let mut list = self.list();
        list.retain(|kept| kept.until_ms > now_ms);
        if list.len() >= KEPT_MAX {
            list.pop_front();
        }
        list.push_back(kept);
    }

    fn told(&self, revocation: Revocation) {
        let mut list = self.list();
        list.iter_mut().filter(|kept| kept.revocation == revocation).for_each(|k| k.told = true);
    }
}

impl Inner {
    async fn put(&self, kept: Kept, now_ms: u64) -> Result<(), LiveError> {
        let Kept { revocation, at_ms, until_ms, told } = kept;
        let signals = match told {
            true => Vec::new(),
            false => packed::signals(&[Signal::Revoked(revocation)]),
        };
        let keep_ms = number(until_ms.saturating_sub(now_ms));
        let channel = self.keys.signals.as_str();
        let answer = match revocation {
            Revocation::Session(session) => {
                let key = self.keys.revoked_session(session);
                let arguments = [keep_ms.as_slice(), &signals];
                self.link.call("revoke_session", &[channel, &key], &arguments).await?
            }
            Revocation::User { user, except } => {
                let key = self.keys.revoked_user(user);
                let before = at_ms.min(packed::NUMBER_MAX).to_le_bytes();
                let except = except.map_or_else(Vec::new, |s| s.0.to_be_bytes().to_vec());
                let arguments = [keep_ms.as_slice(), &signals, &before, &except];
                self.link.call("revoke_user", &[channel, &key], &arguments).await?
            }
        };
        if let Value::Int(n @ 1..) = answer {
            self.hub.published(n.unsigned_abs());
        }
        Ok(())
    }

    pub(super) async fn revoke(
        &self,
        revocation: Revocation,
        at_ms: u64,
        keep_ms: u64,
    ) -> Result<(), LiveError> {
        let until_ms = at_ms.saturating_add(keep_ms);
        let kept = Kept { revocation, at_ms, until_ms, told: false };
        self.revoked.add(kept, at_ms);
        let put = self.put(kept, at_ms).await;
        match &put {
            Ok(()) => self.revoked.told(revocation),
            // Kept, and said when the server is there again, whatever the caller does.
            Err(_) => self.hub.wiped.notify_one(),
        }
        put
    }

    async fn put_all(&self) -> Result<(), LiveError> {
        let now_ms = (self.options.clock)();
        let all: Vec<Kept> = self.revoked.list().iter().copied().collect();
        for kept in all.into_iter().filter(|kept| kept.until_ms > now_ms) {
            self.put(kept, now_ms).await?;
            self.revoked.told(kept.revocation);
        }
        Ok(())
    }
}

/// Puts all again whenever the server may have lost it, until that succeeds. Ends with its owner.
pub(super) async fn keep(live: Weak<Inner>) {
    loop {
        let Some(hub) = live.upgrade().map(|inner| Arc::clone(&inner.hub)) else { return };
        hub.wiped.notified().await;
        loop {
            let Some(inner) = live.upgrade() else { return };
            if inner.put_all().await.is_ok() {
                break;
            }
            drop(inner);
            sleep(AGAIN).await;
        }
    }
}

/// Whether what is kept for a user voids a token. Errors: it is not what was put there.
pub(super) fn voids(value: &[u8], session: u128, issued_at_ms: u64) -> Result<bool, LiveError> {
    let malformed = || LiveError("a revocation that cannot be read".to_owned());
    let (before, except) = value.split_at_checked(8).ok_or_else(malformed)?;
    let before = u64::from_le_bytes(before.try_into().map_err(|_| malformed())?);
    let stays = match except {
        [] => false,
        except => {
            let except: [u8; 16] = except.try_into().map_err(|_| malformed())?;
            u128::from_be_bytes(except) == session
        }
    };
    Ok(issued_at_ms <= before && !stays)
}
