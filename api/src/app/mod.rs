//! What the api does, without HTTP.
//!
//! Owns: accounts, people, conversations, appends, reads: rules and refusals. Never does: HTTP, sockets.
//! Talks to: the store and its history reader, the log (through the appender), live state. Start reading at: [`App`].

pub mod account;
pub mod admin;
pub mod append;
pub mod cards;
pub mod conversations;
mod error;
pub mod events;
pub mod export;
pub mod groups;
pub mod instance;
pub mod invites;
pub mod members;
pub mod messages;
pub mod mine;
pub mod names;
pub mod online;
pub mod pages;
pub mod people;
pub mod profile;
pub mod receipts;
pub mod reports;
pub mod rules;
pub mod search;
pub mod session;

use std::sync::Arc;

use backplane::{Archive, Live, Revocation, Signal};
use protocol::{UserId, event::UserChange};
use token::{Keyring, Verifier};

pub use error::AppError;

use crate::{
    appender::AppendHandle,
    auth::{AuthContext, HashPool, Pepper},
    config::{ApiConfig, REVOKE_KEEP_MS, Rates},
    history::History,
    metrics::Metrics,
    rate_limit::RateLimiter,
    store::{STORES_NOTHING, Store, User},
};

/// One limiter per kind of request.
#[derive(Debug)]
pub struct Limits {
    /// See [`Rates`].
    pub login_per_address: RateLimiter,
    /// See [`Rates`].
    pub login_per_account: RateLimiter,
    /// See [`Rates`].
    pub register_per_address: RateLimiter,
    /// See [`Rates`].
    pub requests_per_address: RateLimiter,
    /// See [`Rates`].
    pub requests_per_user: RateLimiter,
    /// See [`Rates`].
    pub appends_per_user: RateLimiter,
    /// See [`Rates`].
    pub searches_per_user: RateLimiter,
}

impl Limits {
    fn new(rates: &Rates) -> Self {
        Self {
            login_per_address: RateLimiter::new(rates.login_per_address),
            login_per_account: RateLimiter::new(rates.login_per_account),
            register_per_address: RateLimiter::new(rates.register_per_address),
            requests_per_address: RateLimiter::new(rates.requests_per_address),
            requests_per_user: RateLimiter::new(rates.requests_per_user),
            appends_per_user: RateLimiter::new(rates.appends_per_user),
            searches_per_user: RateLimiter::new(rates.searches_per_user),
        }
    }
}

/// What an app is made of.
#[derive(Debug)]
pub struct Parts {
    /// Settings.
    pub config: ApiConfig,
    /// What is stored.
    pub store: Arc<dyn Store>,
    /// What is stored and what is about to be.
    pub history: History,
    /// What is stored, as brokers ask for it.
    pub archive: Arc<dyn Archive>,
    /// The way into the log.
    pub appender: AppendHandle,
    /// Signals, presence, revocations.
    pub live: Arc<dyn Live>,
    /// Signs tokens.
    pub keyring: Arc<Keyring>,
    /// In every password hash.
    pub pepper: Pepper,
    /// Hashes passwords.
    pub hashes: HashPool,
    /// Who is online.
    pub online: online::OnlineIndex,
    /// Counts.
    pub metrics: Metrics,
}

/// The app. Functions of one noun are in the file of that noun.
#[derive(Debug)]
pub struct App {
    parts: Parts,
    verifier: Verifier,
    limits: Limits,
    started_at_ms: u64,
}

impl App {
    /// An app from its parts.
    pub fn new(parts: Parts) -> Self {
        let verifier = parts.keyring.verifier();
        let limits = Limits::new(&parts.config.rates);
        let started_at_ms = parts.config.clock.now_ms();
        Self { parts, verifier, limits, started_at_ms }
    }

    /// Settings.
    pub fn config(&self) -> &ApiConfig {
        &self.parts.config
    }

    /// Rate limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Public keys.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Live state.
    pub fn live(&self) -> &dyn Live {
        &*self.parts.live
    }

    /// Counts.
    pub fn metrics(&self) -> &Metrics {
        &self.parts.metrics
    }

    fn store(&self) -> &dyn Store {
        &*self.parts.store
    }

    fn history(&self) -> &History {
        &self.parts.history
    }

    /// Whoever needs stored messages asks first. Errors: this api stores none.
    fn stores_messages(&self) -> Result<(), AppError> {
        if self.config().counts_only { Err(AppError::Conflict(STORES_NOTHING)) } else { Ok(()) }
    }

    fn now_ms(&self) -> u64 {
        self.config().clock.now_ms()
    }

    /// The account behind a login. Errors: `Unauthorized` if it is gone or switched off meanwhile.
    async fn account(&self, who: AuthContext) -> Result<User, AppError> {
        let user = self.store().user(who.user).await?;
        user.filter(|user| !user.deleted && !user.disabled).ok_or(AppError::Unauthorized)
    }

    /// Tells a user's other devices, and the shards, to read something again. Droppable: each welcome refetches all of it.
    async fn tell(&self, user: UserId, what: UserChange) {
        let signals = vec![Signal::UserChanged { user, what }];
        if let Err(error) = self.live().publish(signals).await {
            tracing::warn!(%error, "a change was not signalled");
        }
    }

    /// Ends sockets and access tokens. The store has forgotten the sessions already, so a failure is no refusal: it only
    /// delays their end, until live state is told again or a broker asks the store (ADR 0011).
    async fn revoke(&self, revocation: Revocation) {
        let revoked = self.live().revoke(revocation, self.now_ms(), REVOKE_KEEP_MS).await;
        if let Err(error) = revoked {
            tracing::warn!(%error, "a revocation could not be published");
        }
    }
}
