//! People as others, and they themselves, see them.
//!
//! Owns: the shapes. Never does: look anybody up. Talks to: serde. Start reading at: [`UserCard`].

use protocol::UserId;
use serde::Serialize;
use utoipa::ToSchema;

/// The name of everybody whose account was deleted.
pub const DELETED_NAME: &str = "Deleted account";

/// My own account.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Me {
    /// 16 hex digits.
    #[schema(value_type = String)]
    pub id: UserId,
    /// Log-in name.
    pub username: String,
    /// What others see.
    pub display_name: String,
    /// A line about oneself.
    pub about: String,
    /// Administers this instance.
    pub admin: bool,
    /// Unix milliseconds.
    pub created_at: u64,
    /// Presence is not shown to others.
    pub hidden: bool,
    /// Sends and sees no receipts.
    pub receipts_off: bool,
}

/// Somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct UserCard {
    /// 16 hex digits.
    #[schema(value_type = String)]
    pub id: UserId,
    /// Log-in name; empty for a deleted account.
    pub username: String,
    /// What others see.
    pub display_name: String,
    /// A line about themselves.
    pub about: String,
}

impl UserCard {
    /// The card of somebody who is gone.
    pub fn deleted(id: UserId) -> Self {
        Self {
            id,
            username: String::new(),
            display_name: DELETED_NAME.to_owned(),
            about: String::new(),
        }
    }
}

/// Some people.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UserList {
    /// Who.
    pub users: Vec<UserCard>,
}

/// Somebody who is online.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct OnlineUser {
    /// Who.
    #[serde(flatten)]
    pub card: UserCard,
    /// Unix milliseconds since when.
    pub since: u64,
}

/// A page of people who are online.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct OnlineList {
    /// How many match in all.
    pub total: usize,
    /// This page, by display name.
    pub users: Vec<OnlineUser>,
    /// `after` of the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Whether a search text matches a person: the beginning of the user name, or of any word of the display name.
/// `needle` is in lower case.
pub fn matches(needle: &str, username: &str, display_name: &str) -> bool {
    let display_name = display_name.to_lowercase();
    needle.is_empty()
        || username.starts_with(needle)
        || display_name.starts_with(needle)
        || display_name.split_whitespace().any(|word| word.starts_with(needle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_found_by_the_beginning_of_any_word() {
        for needle in ["", "ada", "love", "ada l"] {
            assert!(matches(needle, "countess", "Ada Lovelace"), "{needle}");
        }
        assert!(matches("cou", "countess", ""));
        for needle in ["da", "lace", "untess"] {
            assert!(!matches(needle, "countess", "Ada Lovelace"), "{needle}");
        }
    }
}
