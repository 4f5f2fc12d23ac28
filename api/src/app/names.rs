//! The rules for names and other short texts of people and groups.
//!
//! Owns: the rules. Never does: IO. Talks to: nobody. Start reading at: [`username`].

use protocol::limits::{DISPLAY_NAME_CHARS_MAX, TITLE_CHARS_MAX, USERNAME_CHARS};

use super::AppError;

/// Characters of "about".
pub const ABOUT_CHARS_MAX: usize = 280;
/// Characters of an instance's name.
pub const INSTANCE_NAME_CHARS_MAX: usize = 64;

/// A user name in its one form: lower case, `[a-z0-9_.-]{3,32}`.
pub fn username(text: &str) -> Result<String, AppError> {
    let name = text.to_ascii_lowercase();
    let good =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.' | '-');
    if !USERNAME_CHARS.contains(&name.chars().count()) {
        return Err(AppError::field("username", "length"));
    }
    if name.chars().all(good) { Ok(name) } else { Err(AppError::field("username", "characters")) }
}

/// A display name: trimmed, not empty, one line.
pub fn display_name(text: &str) -> Result<String, AppError> {
    line("display_name", text, DISPLAY_NAME_CHARS_MAX)
}

/// A group's title: trimmed, not empty, one line.
pub fn title(text: &str) -> Result<String, AppError> {
    line("title", text, TITLE_CHARS_MAX)
}

/// The name of the instance.
pub fn instance_name(text: &str) -> Result<String, AppError> {
    line("name", text, INSTANCE_NAME_CHARS_MAX)
}

/// "About": may be empty, may have several lines.
pub fn about(text: &str) -> Result<String, AppError> {
    let text = text.trim();
    if text.chars().count() > ABOUT_CHARS_MAX {
        return Err(AppError::field("about", "too_long"));
    }
    if text.chars().any(|c| is_forbidden(c) && c != '\n') {
        return Err(AppError::field("about", "characters"));
    }
    Ok(text.to_owned())
}

fn line(field: &'static str, text: &str, chars_max: usize) -> Result<String, AppError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(AppError::field(field, "empty"));
    }
    if text.chars().count() > chars_max {
        return Err(AppError::field(field, "too_long"));
    }
    if text.chars().any(is_forbidden) {
        return Err(AppError::field(field, "characters"));
    }
    Ok(text.to_owned())
}

/// Control characters, and those that turn the direction of text around: a name must not rewrite the line it stands in.
fn is_forbidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_brought_to_one_form() {
        assert_eq!(username("Ada.L_9-x").unwrap(), "ada.l_9-x");
        for bad in ["", "ab", "a b", "ada!", "ädä", "İstanbul", "' or 1=1 --", &"a".repeat(33)] {
            assert!(username(bad).is_err(), "{bad}");
        }
        assert_eq!(display_name("  Ada Lovelace 🦀 ").unwrap(), "Ada Lovelace 🦀");
        for bad in ["", "  ", "a\nb", "a\u{202e}b", &"x".repeat(65)] {
            assert!(display_name(bad).is_err(), "{bad:?}");
        }
        assert_eq!(about("one\ntwo").unwrap(), "one\ntwo");
        assert!(about("a\0b").is_err());
    }
}
