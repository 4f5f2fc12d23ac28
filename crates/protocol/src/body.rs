//! Bodies of the durable events: what is stored, hashed, and shown inside `"body"` on the wire.
//!
//! Owns: one type per event kind, their limits, their canonical JSON, the idempotency hash.
//! Never does: know who may write them (route and the api do). Talks to: serde. Start reading at: [`EventKind`].

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{ErrorCode, UserId, limits};

/// The kinds of durable events. The number is what the log stores; it never changes meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EventKind {
    /// The birth of a conversation; names its first members.
    Created = 1,
    /// A message. Only this kind advances the ordinal.
    Message = 2,
    /// New text for an earlier message.
    Edit = 3,
    /// A tombstone for an earlier message.
    Delete = 4,
    /// An emoji put on, or taken off, an earlier message.
    Reaction = 5,
    /// People added, removed, or given another role. Its seq is the conversation's new mver.
    Member = 6,
    /// Title and other settings of a group.
    Settings = 7,
}

impl EventKind {
    /// All of them.
    pub const ALL: [EventKind; 7] = [
        Self::Created,
        Self::Message,
        Self::Edit,
        Self::Delete,
        Self::Reaction,
        Self::Member,
        Self::Settings,
    ];

    /// The kind of a stored number.
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// `"type"` on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Message => "message",
            Self::Edit => "edit",
            Self::Delete => "delete",
            Self::Reaction => "reaction",
            Self::Member => "member",
            Self::Settings => "settings",
        }
    }

    /// Whether the event's seq becomes the conversation's `mver` (LOG.md §6).
    pub const fn changes_membership(self) -> bool {
        matches!(self, Self::Created | Self::Member)
    }
}

/// What a member of a group may do. Order: each role includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads and writes.
    Member,
    /// Also renames, adds, removes, deletes others' messages.
    Admin,
    /// Also gives and takes roles. Each group has at least one while it has members.
    Owner,
}

/// `message`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageBody<'a> {
    /// Plain text with light markup; never HTML.
    pub text: Cow<'a, str>,
    /// The message this one answers, by seq in the same conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<u64>,
    /// Ids of files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Cow<'a, str>>,
}

/// `edit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditBody<'a> {
    /// Seq of the message.
    pub target: u64,
    /// Its new text.
    pub text: Cow<'a, str>,
}

/// `delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteBody {
    /// Seq of the message.
    pub target: u64,
}

/// The message that an edit, delete or reaction is about; `None` for every other kind, and for a body that is none.
/// Who may not see that message may not see what is said about it either (PROTOCOL.md R23).
pub fn target_of(kind: EventKind, body: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Target {
        target: u64,
    }
    if !matches!(kind, EventKind::Edit | EventKind::Delete | EventKind::Reaction) {
        return None;
    }
    serde_json::from_slice::<Target>(body).ok().map(|found| found.target)
}

/// `reaction`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReactionBody<'a> {
    /// Seq of the message.
    pub target: u64,
    /// The emoji itself.
    pub emoji: Cow<'a, str>,
    /// Put on, or taken off.
    pub on: bool,
}

/// One person's new standing in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberChange {
    /// Who.
    pub user: UserId,
    /// The new role; `null` is removed (or left, when the event is from the user itself).
    pub role: Option<Role>,
    /// The first seq this person may see: the event's own seq, or 1 where the group shows all history. 0 = the event's own.
    #[serde(default)]
    pub since: u64,
}

/// Which history a person added later may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryAccess {
    /// From their joining on.
    #[default]
    Joined,
    /// All of it.
    All,
}

/// `created`. A direct conversation names both people as members, without a title.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreatedBody<'a> {
    /// Title of a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Cow<'a, str>>,
    /// What later members may see.
    #[serde(default)]
    pub history: HistoryAccess,
    /// The first members.
    pub members: Vec<MemberChange>,
}

/// `member`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberBody {
    /// All changes of this event take effect at its seq.
    pub changes: Vec<MemberChange>,
}

/// `settings`: fields that are absent stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsBody<'a> {
    /// New title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Cow<'a, str>>,
    /// New rule for later members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryAccess>,
}

impl MessageBody<'_> {
    /// Checks the limits. Errors: `too_large`, `invalid` (empty, control characters other than tab and newline).
    pub fn check(&self) -> Result<(), ErrorCode> {
        check_text(&self.text, self.attachments.is_empty())?;
        if self.attachments.len() > limits::ATTACHMENTS_MAX {
            return Err(ErrorCode::TooLarge);
        }
        let file_id = |id: &str| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
        if self.reply_to == Some(0) || !self.attachments.iter().all(|id| file_id(id)) {
            return Err(ErrorCode::Invalid);
        }
        Ok(())
    }
}

/// Checks one text. Shared by messages and edits so that an edit can never hold what a message may not.
pub fn check_text(text: &str, required: bool) -> Result<(), ErrorCode> {
    if text.len() > limits::TEXT_BYTES_MAX {
        return Err(ErrorCode::TooLarge);
    }
    let forbidden = |c: char| c.is_control() && c != '\n' && c != '\t';
    if (required && text.trim().is_empty()) || text.chars().any(forbidden) {
        return Err(ErrorCode::Invalid);
    }
    Ok(())
}

/// The canonical JSON of a body: what is stored, hashed and relayed.
pub fn canonical<T: Serialize>(body: &T) -> Vec<u8> {
    let mut json =
        serde_json::to_vec(body).expect("invariant: bodies are plain structs with string keys");
    // It stays in memory for as long as resumes may ask for it; the writer grows by doubling.
    json.shrink_to_fit();
    json
}

/// The hash that tells a re-send from another message under the same key: FNV-1a, 64 bits, over the canonical body.
///
/// It is stored, so it must stay the same in every release; it guards against client bugs, not against attackers,
/// who can only spoil their own key.
pub fn content_hash(kind: EventKind, canonical_body: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64 ^ (kind as u64);
    for byte in canonical_body {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}
