//! `webchat reset-password`: for somebody who forgot theirs, the administrator above all.
//!
//! Owns: drawing and printing the new one. Never does: run beside a server (the folder is locked). Talks to: the store.
//! Start reading at: [`reset`].

use std::path::Path;

use anyhow::Context;
use api::{
    auth::{HashPool, Pepper},
    config::{BCRYPT_COST, PEPPER_FILE},
};

use crate::parts::Parts;

/// 62^20 ≈ 2^119.
const PASSWORD_CHARS: usize = 20;

/// Sets a random password, prints it, ends all sessions.
pub(crate) async fn reset(data: &Path, username: &str) -> anyhow::Result<()> {
    let parts = Parts::open(data).await?;
    let found = parts.store.credentials(username.to_ascii_lowercase()).await?;
    let user = found.with_context(|| format!("nobody here is called {username:?}"))?.user;
    let password: String = (0..PASSWORD_CHARS)
        .map(|_| char::from(rand::RngExt::sample(&mut rand::rng(), rand::distr::Alphanumeric)))
        .collect();
    let secret = Pepper::open(&data.join(PEPPER_FILE))?.prehash(&password);
    let hash = HashPool::start(1, BCRYPT_COST)?.hash(secret).await?;
    let ended = parts.store.set_password(user.id, hash, None).await?;
    parts.close().await;
    println!("new password of {}: {password}", user.username);
    println!("{} sessions ended", ended.len());
    Ok(())
}
