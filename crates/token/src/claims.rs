//! What a token says.
//!
//! Owns: [`Claims`] and [`Audience`]. Never does: signatures. Talks to: serde. Start reading at: [`Claims`].

use protocol::{SessionId, UserId};
use serde::{Deserialize, Serialize};

/// `iss` of every token.
pub const ISSUER: &str = "webchat";
/// Seconds that an access or socket token is good for.
pub const ACCESS_SECONDS: u64 = 10 * 60;
/// Seconds that clocks may differ.
pub const LEEWAY_SECONDS: u64 = 15;

/// What a token is for. A token of one kind is never good for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// In the cookie of a browser: http requests and the upgrade.
    Access,
    /// In `reauth` and in `Authorization: Bearer` of clients that are no browsers.
    Socket,
}

/// The claims of a token. All are required; times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// [`ISSUER`].
    pub iss: String,
    /// What for.
    pub aud: Audience,
    /// Same as `aud`: a second lock against a token taken for another kind.
    pub typ: Audience,
    /// Who.
    pub sub: UserId,
    /// Which login.
    pub sid: SessionId,
    /// Issued at.
    pub iat: u64,
    /// Good until.
    pub exp: u64,
}

impl Claims {
    /// Claims of a new token, good for [`ACCESS_SECONDS`].
    pub fn new(audience: Audience, user: UserId, session: SessionId, now_seconds: u64) -> Self {
        Self {
            iss: ISSUER.to_owned(),
            aud: audience,
            typ: audience,
            sub: user,
            sid: session,
            iat: now_seconds,
            exp: now_seconds + ACCESS_SECONDS,
        }
    }
}
