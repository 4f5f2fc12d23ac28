//! What an api can be told, with its defaults.
//!
//! Owns: [`ApiConfig`], [`Rates`]. Never does: read flags or files (main does). Talks to: nobody.
//! Start reading at: [`ApiConfig`].

use std::{path::PathBuf, time::Duration};

use protocol::Network;

use crate::{clock::Clock, rate_limit::Rate};

/// bcrypt's cost: 0.24 s of one core per password.
pub const BCRYPT_COST: u32 = 12;
/// File of the pepper in the data folder.
pub const PEPPER_FILE: &str = "pepper";
/// Bytes of a request body. Files do not come this way.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// A request that takes longer is answered 503: longer than [`MIN_SEQ_WAIT`] and an append's deadline together.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a read waits for the api's own Tail to reach `min_seq` (HTTP.md).
pub const MIN_SEQ_WAIT: Duration = Duration::from_secs(2);
/// A refresh token is good this long after its last use.
pub const REFRESH_MS: u64 = 30 * 24 * 60 * 60 * 1_000;
/// The previous refresh token of a session is accepted this long, for tabs that refresh at the same moment.
pub const REFRESH_GRACE_MS: u64 = 10_000;
/// A revocation is kept as long as any token issued before it may live: 10 min and the clocks' leeway, doubled.
pub const REVOKE_KEEP_MS: u64 =
    2 * (token::claims::ACCESS_SECONDS + token::claims::LEEWAY_SECONDS) * 1_000;
/// Sessions of one user; the least recently used one is revoked beyond that.
pub const SESSIONS_PER_USER_MAX: usize = 50;

/// How often people and addresses may do what.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// Login and password checks per address, before any hashing.
    pub login_per_address: Rate,
    /// Login and password checks per account name, before any hashing.
    pub login_per_account: Rate,
    /// Registrations per address: also the speed at which taken names can be probed.
    pub register_per_address: Rate,
    /// Requests without a login, per address.
    pub requests_per_address: Rate,
    /// Requests of one user, over all their sessions.
    pub requests_per_user: Rate,
    /// Durable events of one user through http.
    pub appends_per_user: Rate,
    /// Searches for people and messages, and reports, of one user.
    pub searches_per_user: Rate,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            login_per_address: Rate::per_minute(30),
            login_per_account: Rate::per_minute(10),
            register_per_address: Rate::per_minute(20),
            requests_per_address: Rate::per_second(100, 400),
            requests_per_user: Rate::per_second(50, 200),
            appends_per_user: Rate::per_second(20, 100),
            searches_per_user: Rate::per_second(5, 40),
        }
    }
}

/// All settings of an api.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// Folder for the pepper.
    pub data: PathBuf,
    /// Whether browsers reach us over https: `Secure` cookies with prefixed names. Off only on plain-http localhost.
    pub secure: bool,
    /// Our own origins, exactly as browsers send them (`http://localhost:8080`).
    pub origins: Vec<String>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// Addresses without rate limits, for load tests (`limits.trusted_sources`).
    pub trusted_sources: Vec<Network>,
    /// The persister counts messages and stores none, for load tests (`store_counts_only`).
    pub counts_only: bool,
    /// bcrypt's cost.
    pub bcrypt_cost: u32,
    /// Threads that hash; at most half the cores by default.
    pub hash_threads: usize,
    /// Rate limits.
    pub rates: Rates,
    /// Time.
    pub clock: Clock,
}

impl ApiConfig {
    /// Defaults for a folder and our own origins.
    pub fn new(data: PathBuf, origins: Vec<String>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            data,
            secure: false,
            origins,
            trusted_proxies: Vec::new(),
            trusted_sources: Vec::new(),
            counts_only: false,
            bcrypt_cost: BCRYPT_COST,
            hash_threads: (cores / 2).max(1),
            rates: Rates::default(),
            clock: Clock::default(),
        }
    }
}
