//! The close codes of `webchat.v1`, and what a client does about each.
//!
//! Owns: the table. Never does: send frames. Talks to: nobody. Start reading at: [`CloseCode`].

/// What a client does after a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconnect {
    /// Reconnect at once and resume.
    Now,
    /// Reconnect with backoff and jitter, and resume.
    Backoff,
    /// Get a new token first (`POST /api/auth/refresh`), then reconnect; if that is refused, log in again.
    AfterRefresh,
    /// Do not reconnect: the client or its user has to change something.
    Never,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $reason:literal, $reconnect:ident;)*) => {
        /// Why a connection ends. Source: RFC 6455 §7.4, and PROTOCOL.md §8 for 4000–4999.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum CloseCode { $($(#[$doc])* $name,)* }

        impl CloseCode {
            /// All of them, in the order of the table.
            pub const ALL: &'static [CloseCode] = &[$(CloseCode::$name,)*];
            /// The number on the wire.
            pub const fn code(self) -> u16 { match self { $(Self::$name => $code,)* } }
            /// The text beside it, under 123 bytes.
            pub const fn reason(self) -> &'static str { match self { $(Self::$name => $reason,)* } }
            /// What the client does next.
            pub const fn reconnect(self) -> Reconnect { match self { $(Self::$name => Reconnect::$reconnect,)* } }
        }
    };
}

codes! {
    /// Either side is done.
    Normal = 1000, "normal", Never;
    /// A frame broke RFC 6455.
    ProtocolError = 1002, "protocol error", Backoff;
    /// A binary message: this protocol is text.
    UnsupportedData = 1003, "text only", Never;
    /// Text that is not UTF-8.
    InvalidUtf8 = 1007, "invalid utf-8", Never;
    /// A message over the limits of size, fragments or time.
    TooBig = 1009, "too big", Never;
    /// A bug of ours: the shard restarts empty.
    Internal = 1011, "internal error", Backoff;
    /// The node stops or restarts; announced by `goaway`.
    ServiceRestart = 1012, "service restart", Now;
    /// The node is full.
    TryAgainLater = 1013, "try again later", Backoff;
    /// Too many malformed commands.
    BadCommands = 4400, "too many bad commands", Never;
    /// The session is over: logged out, revoked, or its token expired without `reauth`.
    Unauthorized = 4401, "unauthorized", AfterRefresh;
    /// The account is disabled.
    Forbidden = 4403, "forbidden", Never;
    /// No `hello` in time.
    HelloTimeout = 4405, "hello timeout", Backoff;
    /// No byte from the client for too long.
    PingTimeout = 4406, "ping timeout", Now;
    /// The outbox was full: read faster, then resume.
    SlowConsumer = 4408, "slow consumer", Backoff;
    /// More frames than the budget allows.
    RateLimited = 4429, "rate limited", Backoff;
}

impl CloseCode {
    /// The row for a number, if it is ours.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|c| c.code() == code)
    }
}
