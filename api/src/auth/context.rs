//! Who asks.
//!
//! Owns: [`AuthContext`], [`Caller`]. Never does: verify (only http/identify.rs makes one). Talks to: nobody.
//! Start reading at: [`AuthContext`].

use protocol::{SessionId, UserId};

/// A verified user and their session. App functions that need a login take it by value, so that it cannot be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthContext {
    /// Who.
    pub user: UserId,
    /// Which login of theirs.
    pub session: SessionId,
}

/// Where a request without a login comes from, for limits per address.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// The address, proxies taken into account.
    pub address: std::net::IpAddr,
    /// A configured source of load tests: no limits.
    pub exempt: bool,
}
