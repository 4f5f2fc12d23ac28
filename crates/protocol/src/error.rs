//! The error codes that a client can get as a reply, and whether it may try again.
//!
//! Owns: the table. Never does: carry internal detail. Talks to: serde. Start reading at: [`ErrorCode`].

use serde::{Deserialize, Serialize};

/// What a client does with the command that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Not stored by this attempt. Send the same command again, after `retry_after_ms` if given.
    Later,
    /// Nobody knows yet. Keep the pending and send the same command again: it appears once at most.
    Unknown,
    /// The answer stays the same. What comes after a refused publish goes on under a new producer (R14).
    Never,
}

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $retry:ident;)*) => {
        /// Why a command was refused. Source: PROTOCOL.md §7.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ErrorCode { $($(#[$doc])* #[serde(rename = $text)] $name,)* }

        impl ErrorCode {
            /// All of them, in the order of the table.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$name,)*];
            /// The text on the wire.
            pub const fn as_str(self) -> &'static str { match self { $(Self::$name => $text,)* } }
            /// What the client does next.
            pub const fn retry(self) -> Retry { match self { $(Self::$name => Retry::$retry,)* } }
        }
    };
}

errors! {
    /// Not JSON, an unknown type or field, a field missing or of the wrong form.
    Invalid = "invalid", Never;
    /// A command other than `hello` before `welcome`, or a second `hello`.
    NotExpected = "not_expected", Never;
    /// Not a member, or the role does not allow it.
    Forbidden = "forbidden", Never;
    /// No such conversation: it has to be created through the api first.
    UnknownConversation = "unknown_conversation", Never;
    /// Text or list over its limit.
    TooLarge = "too_large", Never;
    /// The token in `reauth` is not good, or is another session's.
    Unauthorized = "unauthorized", Never;
    /// The idempotency key was used for other content; `seq` names what is stored under it.
    Reused = "reused", Never;
    /// The producer's numbers have a gap; `expected` names the next one.
    OutOfOrder = "out_of_order", Later;
    /// A token bucket is empty.
    RateLimited = "rate_limited", Later;
    /// Too many publishes of this connection wait for their verdict.
    TooManyUnacked = "too_many_unacked", Later;
    /// The node sheds load.
    Overloaded = "overloaded", Later;
    /// The log, or what membership is read from, cannot be reached; certainly not stored.
    Unavailable = "unavailable", Later;
    /// The node drains; another one takes the command after the reconnect.
    Draining = "draining", Later;
    /// The outcome is unknown: no answer in time.
    Unknown = "unknown", Unknown;
}
