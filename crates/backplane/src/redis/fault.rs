//! What an error of a call says about the call: certainly not carried out, or unknown.
//!
//! Owns: the list of codes. Never does: retry. Talks to: nobody. Start reading at: [`Fault::of`].

use redis::RedisError as ClientError;

/// A call that has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// Certainly not carried out.
    #[error("{0}")]
    Refused(String),
    /// Certainly not carried out, and the server is not the master any more, or not for us: connect anew.
    #[error("{0}")]
    Replaced(String),
    /// The functions are not there: not carried out either; load them.
    #[error("the functions are not loaded")]
    Unloaded,
    /// The connection broke, perhaps long ago: maybe carried out.
    #[error("{0}")]
    Broken(String),
    /// Maybe carried out; the connection is of no use any more.
    #[error("{0}")]
    Unknown(String),
}

/// Answers that a server gives before it carries anything out.
const BEFORE: [&str; 9] = [
    "OOM",
    "MISCONF",
    "LOADING",
    "BUSY",
    "NOREPLICAS",
    "TRYAGAIN",
    "CROSSSLOT",
    "NOPERM",
    "EXECABORT",
];

/// The same of a server that will go on refusing on this connection, while the right one may be at its address by now.
const ELSEWHERE: [&str; 7] =
    ["READONLY", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "NOAUTH", "WRONGPASS"];

impl Fault {
    pub(super) fn of(error: &ClientError) -> Self {
        let told = error.to_string();
        match error.code() {
            Some(code) if BEFORE.contains(&code) => Self::Refused(told),
            Some(code) if ELSEWHERE.contains(&code) => Self::Replaced(told),
            Some("ERR") if told.to_lowercase().contains("function not found") => Self::Unloaded,
            _ if error.is_connection_dropped() => Self::Broken(told),
            _ => Self::Unknown(told),
        }
    }

    /// Whether the connection is of no use any more.
    pub(super) fn ends_connection(&self) -> bool {
        matches!(self, Self::Replaced(_) | Self::Broken(_) | Self::Unknown(_))
    }

    /// A connection that could not be made: nothing was sent on it.
    pub(super) fn unconnected(error: &ClientError) -> Self {
        Self::Refused(error.to_string())
    }
}
