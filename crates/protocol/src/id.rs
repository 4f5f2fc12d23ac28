//! Identifiers: fixed width, lower-case hexadecimal on the wire, plain integers inside.
//!
//! Owns: parsing and printing of ids, and the rule that a direct conversation's id is its two members.
//! Never does: allocate ids (the api does). Talks to: serde. Start reading at: [`ConversationId`].

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An id that is not of its fixed width, not lower-case hexadecimal, or out of its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a {0} id")]
pub struct IdError(pub &'static str);

fn parse_hex(text: &str, width: usize, name: &'static str) -> Result<u128, IdError> {
    let lower = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if text.len() == width && lower {
        u128::from_str_radix(text, 16).map_err(|_| IdError(name))
    } else {
        Err(IdError(name))
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends the `WIDTH` lowest hex digits of `value`. Used on the encode path instead of `format!`.
pub fn push_hex<const WIDTH: usize>(out: &mut Vec<u8>, value: u128) {
    let mut digits = [0u8; WIDTH];
    let mut rest = value;
    for slot in digits.iter_mut().rev() {
        *slot = HEX[(rest & 15) as usize];
        rest >>= 4;
    }
    out.extend_from_slice(&digits);
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $int:ty, $width:literal, $word:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $int);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:0width$x}", self.0, width = $width)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($word, ":{}"), self)
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let value = <$int>::try_from(parse_hex(text, $width, $word)?).map_err(|_| IdError($word))?;
                Self::checked(value).ok_or(IdError($word))
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl de::Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, "a {} id of {} lower-case hex digits", $word, $width)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    };
}

id!(
    /// A user. Units/limits: 1 ..= 2⁶³−1 (the top bit is the mark of groups), 16 hex digits.
    UserId, u64, 16, "user"
);
id!(
    /// A conversation: 32 hex digits. A direct one is `lower user ‖ higher user`; a group has the top bit set.
    ConversationId, u128, 32, "conversation"
);
id!(
    /// One login of one user on one device, until logout or revocation: 32 hex digits.
    SessionId, u128, 32, "session"
);
id!(
    /// 8 random bytes that a client keeps together with its pendings (LOG.md §1): 16 hex digits.
    Producer, u64, 16, "producer"
);

const GROUP_BIT: u128 = 1 << 127;

impl UserId {
    /// The id if it is in range.
    pub fn checked(value: u64) -> Option<Self> {
        (value != 0 && value >> 63 == 0).then_some(Self(value))
    }
}
impl SessionId {
    /// Every value is a session id.
    pub fn checked(value: u128) -> Option<Self> {
        Some(Self(value))
    }
}
impl Producer {
    /// Every value is a producer.
    pub fn checked(value: u64) -> Option<Self> {
        Some(Self(value))
    }
}
impl ConversationId {
    /// The id if it is a group's, or names two users in order.
    pub fn checked(value: u128) -> Option<Self> {
        let id = Self(value);
        if id.is_group() {
            return Some(id);
        }
        let (low, high) = ((value >> 64) as u64, value as u64);
        (UserId::checked(low).is_some() && UserId::checked(high).is_some() && low <= high)
            .then_some(id)
    }

    /// The direct conversation of two users, in either order. Oneself is allowed.
    pub fn direct(a: UserId, b: UserId) -> Self {
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        Self(u128::from(low.0) << 64 | u128::from(high.0))
    }

    /// A group from 127 random bits.
    pub fn group(random: u128) -> Self {
        Self(random | GROUP_BIT)
    }

    /// Tells a group from a direct conversation.
    pub fn is_group(self) -> bool {
        self.0 & GROUP_BIT != 0
    }

    /// The two users of a direct conversation (equal for a talk with oneself); `None` for a group.
    pub fn direct_members(self) -> Option<(UserId, UserId)> {
        (!self.is_group()).then_some((UserId((self.0 >> 64) as u64), UserId(self.0 as u64)))
    }

    /// Whether the id itself says that `user` is a member. Always false for groups.
    pub fn names(self, user: UserId) -> bool {
        self.direct_members().is_some_and(|(a, b)| a == user || b == user)
    }

    /// The other side of a direct conversation, as seen by `user`.
    pub fn other(self, user: UserId) -> Option<UserId> {
        let (a, b) = self.direct_members()?;
        if a == user {
            Some(b)
        } else if b == user {
            Some(a)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direct_id_is_the_same_from_both_sides_and_names_both() {
        let (a, b) = (UserId(7), UserId(9));
        let id = ConversationId::direct(b, a);
        assert_eq!(id, ConversationId::direct(a, b));
        assert_eq!(id.to_string(), "00000000000000070000000000000009");
        assert_eq!(id.direct_members(), Some((a, b)));
        assert_eq!((id.other(a), id.other(b), id.other(UserId(8))), (Some(b), Some(a), None));
        assert!(!id.is_group() && ConversationId::group(5).is_group());
    }

    #[test]
    fn ids_of_wrong_width_case_or_range_are_refused() {
        for bad in [
            "",
            "7",
            "000000000000000G",
            "000000000000000A",
            "8000000000000001",
            "0000000000000000",
            "00000000000000071",
        ] {
            assert!(bad.parse::<UserId>().is_err(), "{bad}");
        }
        for bad in ["00000000000000090000000000000007", "00000000000000000000000000000007"] {
            assert!(bad.parse::<ConversationId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn push_hex_prints_what_display_prints() {
        let id = ConversationId::group(0x0123_4567_89ab_cdef);
        let mut out = Vec::new();
        push_hex::<32>(&mut out, id.0);
        assert_eq!(String::from_utf8(out).unwrap(), id.to_string());
    }
}
