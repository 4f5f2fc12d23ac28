//! Every limit of the protocol, in one place. PROTOCOL.md §9 is this file in prose.
//!
//! Owns: numbers. Never does: enforce them (each user of a number does, and its test names it).
//! Talks to: nobody. Start reading at: the top.

/// Bytes of one WebSocket message from a client, all fragments together.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Frames that one fragmented message may come in, empty ones counted.
pub const FRAGMENTS_MAX: usize = 16;
/// Milliseconds from the first to the last byte of one message.
pub const MESSAGE_ASSEMBLY_MS_MAX: u64 = 10_000;
/// Payload of a control frame (RFC 6455 §5.5).
pub const CONTROL_BYTES_MAX: usize = 125;
/// Nesting of the JSON in a command.
pub const JSON_DEPTH_MAX: usize = 8;

/// Bytes (UTF-8) of a message's text: long enough for a page of prose, small enough for a phone.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Files attached to one message.
pub const ATTACHMENTS_MAX: usize = 10;
/// Bytes of a reaction's emoji (the longest ZWJ family is 35 bytes).
pub const EMOJI_BYTES_MAX: usize = 40;
/// Bytes of the `client` text in hello.
pub const CLIENT_BYTES_MAX: usize = 64;
/// Bytes of a resume token.
pub const TOKEN_BYTES_MAX: usize = 160;
/// Bytes of a socket token in `reauth`.
pub const SOCKET_TOKEN_BYTES_MAX: usize = 2048;
/// Partitions of the log (LOG.md §1).
pub const PARTITIONS_MAX: usize = 4;
/// People, and conversations, on one connection's watch list.
pub const WATCH_MAX: usize = 200;

/// Members of a group.
pub const GROUP_MEMBERS_MAX: usize = 1_000;
/// Groups of one user.
pub const GROUPS_PER_USER_MAX: usize = 1_000;
/// Users that one user may block.
pub const BLOCKED_MAX: usize = 1_000;
/// Above this many members the api counts receipts instead of naming people (LOG.md §5).
pub const RECEIPT_NAMES_MAX: usize = 32;
/// Characters of a group's title.
pub const TITLE_CHARS_MAX: usize = 80;
/// Characters of a user name: `[a-z0-9_.-]`.
pub const USERNAME_CHARS: std::ops::RangeInclusive<usize> = 3..=32;
/// Characters of a display name.
pub const DISPLAY_NAME_CHARS_MAX: usize = 64;
/// Characters of a password, at least.
pub const PASSWORD_CHARS_MIN: usize = 8;
/// Bytes of a password, at most; every one of them counts.
pub const PASSWORD_BYTES_MAX: usize = 256;

/// The server pings a connection this often, ± [`PING_JITTER_PERCENT`].
pub const PING_INTERVAL_MS: u64 = 25_000;
/// Spread of the ping interval.
pub const PING_JITTER_PERCENT: u64 = 20;
/// A connection is dead this long after its last byte.
pub const DEAD_AFTER_MS: u64 = 65_000;
/// A client gives up after this much silence.
pub const CLIENT_SILENCE_MS: u64 = 40_000;
/// Time from the accepted upgrade to `hello`.
pub const HELLO_TIMEOUT_MS: u64 = 10_000;
/// Time from accept to the end of the request header.
pub const HEADER_TIMEOUT_MS: u64 = 5_000;

/// Bytes queued for one connection; droppable events fall above half of it.
pub const OUTBOX_BYTES_MAX: usize = 1024 * 1024;
/// Events queued for one connection.
pub const OUTBOX_EVENTS_MAX: usize = 4_096;
/// Publishes of one connection that wait for their verdict.
pub const UNACKED_PER_CONNECTION_MAX: usize = 64;

/// A deadline for an append; past it the client is told `unknown`.
pub const APPEND_DEADLINE_MS: u64 = 5_000;
/// `persisted` and receipts: at most one per conversation in this time.
pub const QUIET_MS: u64 = 1_000;
/// A typing signal is over after this long without another.
pub const TYPING_TTL_MS: u64 = 6_000;
/// Presence grace of a closed connection.
pub const OFFLINE_GRACE_MS: u64 = 5_000;
/// Envelopes and bytes of one batch.
pub const BATCH_ENVELOPES_MAX: usize = 1_024;
/// Bytes of one batch.
pub const BATCH_BYTES_MAX: usize = 256 * 1024;
/// Publishes of one producer that are remembered with their hashes (LOG.md §2).
pub const DEDUPE_WINDOW: usize = 32;
/// Dedupe state lives at least this long.
pub const DEDUPE_MS: u64 = 15 * 60 * 1_000;
/// Events per page of history.
pub const PAGE_MAX: usize = 200;
/// Missed events that a resume replays from memory before it says `reset`.
pub const RESUME_EVENTS_MAX: usize = 20_000;
