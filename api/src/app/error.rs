//! Why the app refuses: one enum that the http layer turns into problem+json.
//!
//! Owns: [`AppError`]. Never does: HTTP. Talks to: the errors of the seams. Start reading at: [`AppError`].

use crate::{
    appender::AppendFailure, auth::pool::HashError, history::HistoryError, store::StoreError,
};

/// A refusal that a client can act on. Source: /api/openapi.json, `Problem`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppError {
    /// Fields with what is wrong about each: (`username`, `taken`).
    #[error("invalid fields")]
    InvalidFields(Vec<(&'static str, &'static str)>),
    /// The request makes no sense; what and why, without any of its text.
    #[error("{0}")]
    BadRequest(&'static str),
    /// Name or password is wrong: never which.
    #[error("name or password is wrong")]
    BadCredentials,
    /// No session, or it is over.
    #[error("log in first")]
    Unauthorized,
    /// Not allowed, whatever is tried.
    #[error("{0}")]
    Forbidden(&'static str),
    /// This instance takes no registrations, or only with an invitation.
    #[error("registration is closed")]
    RegistrationClosed,
    /// The account is switched off.
    #[error("this account is disabled")]
    Disabled,
    /// Nothing there that this user may see.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// Contradicts what is there.
    #[error("{0}")]
    Conflict(&'static str),
    /// Somebody has that name.
    #[error("this name is taken")]
    UsernameTaken,
    /// Over a limit of size.
    #[error("{0}")]
    TooLarge(&'static str),
    /// Too often.
    #[error("too many requests")]
    RateLimited {
        /// When there is a token again.
        retry_after_ms: u64,
    },
    /// Certainly not done; worth trying again.
    #[error("temporarily unavailable")]
    Unavailable {
        /// When.
        retry_after_ms: u64,
    },
    /// Nobody knows whether it was done: send it again with the same `Idempotency-Key`.
    #[error("outcome unknown")]
    Unknown,
    /// A bug or a broken disk: logged here, told to nobody.
    #[error("internal error")]
    Internal(String),
}

impl AppError {
    /// One wrong field.
    pub fn field(name: &'static str, what: &'static str) -> Self {
        Self::InvalidFields(vec![(name, what)])
    }

    /// Worth another try soon.
    pub const fn unavailable() -> Self {
        Self::Unavailable { retry_after_ms: 1_000 }
    }
}

impl From<HashError> for AppError {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Busy => Self::unavailable(),
            HashError::Failed => Self::Internal(error.to_string()),
        }
    }
}

impl From<AppendFailure> for AppError {
    fn from(failure: AppendFailure) -> Self {
        match failure {
            AppendFailure::Unavailable { retry_after_ms } => Self::Unavailable { retry_after_ms },
            AppendFailure::Unknown => Self::Unknown,
        }
    }
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::unavailable(),
            StoreError::Unknown => Self::Unknown,
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<HistoryError> for AppError {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::Behind => Self::unavailable(),
            // Nothing was asked to change, so nothing is unknown.
            HistoryError::Store(StoreError::Unknown) => Self::unavailable(),
            HistoryError::Store(error) => error.into(),
        }
    }
}
