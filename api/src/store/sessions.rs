//! Logins in the store.
//!
//! Owns: [`Session`], and the one step that rotates a refresh token. Never does: see a token. Talks to: nobody.
//! Start reading at: [`Sessions::rotate`].

use protocol::{SessionId, UserId};

use super::StoreFuture;

/// SHA-256 of a refresh token.
pub type RefreshHash = [u8; 32];

/// One login of one user on one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Which.
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// What the browser called itself.
    pub user_agent: String,
    /// Unix milliseconds.
    pub created_at: u64,
    /// Unix milliseconds of the last login or refresh.
    pub last_used_at: u64,
    /// Unix milliseconds; slides with each rotation.
    pub expires_at: u64,
}

/// A login to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// Random.
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// Of the first refresh token.
    pub refresh_hash: RefreshHash,
    /// What the browser calls itself.
    pub user_agent: String,
    /// Unix milliseconds.
    pub created_at: u64,
    /// Unix milliseconds.
    pub expires_at: u64,
}

/// A refresh token is shown, another one offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// Whose token it claims to be.
    pub session: SessionId,
    /// What was shown.
    pub shown: RefreshHash,
    /// What takes its place.
    pub next: RefreshHash,
    /// Unix milliseconds.
    pub now_ms: u64,
    /// The previous token is accepted this long, without rotating.
    pub grace_ms: u64,
    /// New end of the session.
    pub expires_at: u64,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refreshed {
    /// The new token is in force.
    Rotated(Session),
    /// It was the previous token within its grace (another tab was first): the session goes on, nothing was rotated.
    Grace(Session),
    /// An old token came back: somebody copied it. The session is over; close its sockets.
    Reused(Session),
    /// No such session, or expired.
    Unknown,
}

/// Logins.
pub trait Sessions: Send + Sync {
    /// Makes a session. Beyond `per_user_max` the least recently used ones of the user end; they are returned.
    fn create_session(
        &self,
        new: NewSession,
        per_user_max: usize,
    ) -> StoreFuture<'_, Vec<SessionId>>;

    /// A session that has not expired.
    fn session(&self, id: SessionId, now_ms: u64) -> StoreFuture<'_, Option<Session>>;

    /// Checks a refresh token and puts the next one in its place, in one step.
    fn rotate(&self, rotation: Rotation) -> StoreFuture<'_, Refreshed>;

    /// Sessions of a user that have not expired, last used first.
    fn sessions(&self, user: UserId, now_ms: u64) -> StoreFuture<'_, Vec<Session>>;

    /// Ends one session of a user. `false`: there was none.
    fn end_session(&self, user: UserId, id: SessionId) -> StoreFuture<'_, bool>;

    /// Ends all sessions of a user but one. Returns the ended ones.
    fn end_sessions(
        &self,
        user: UserId,
        keep: Option<SessionId>,
    ) -> StoreFuture<'_, Vec<SessionId>>;

    /// Drops sessions that expired before `now_ms`. Returns how many.
    fn drop_expired_sessions(&self, now_ms: u64) -> StoreFuture<'_, usize>;
}
