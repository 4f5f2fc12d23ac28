//! The refresh token: which session it belongs to, and 32 random bytes.
//!
//! Owns: making, parsing, hashing. Never does: rotation (app/session.rs). Talks to: aws-lc.
//! Start reading at: [`RefreshToken::parse`].

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use protocol::SessionId;

/// Session id and randomness.
const BYTES: usize = 16 + 32;

/// What is stored of a token: a copy of the database logs nobody in.
pub type RefreshHash = [u8; 32];

/// A refresh token as it travels in its cookie. Shape: session ‖ 32 random bytes, base64url.
pub struct RefreshToken {
    session: SessionId,
    bytes: [u8; BYTES],
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RefreshToken({})", self.session)
    }
}

impl RefreshToken {
    /// A new token of a session.
    pub fn generate(session: SessionId) -> Self {
        let mut bytes = [0; BYTES];
        bytes[..16].copy_from_slice(&session.0.to_be_bytes());
        bytes[16..].copy_from_slice(&rand::random::<[u8; 32]>());
        Self { session, bytes }
    }

    /// A token from its text; `None` for anything that is none.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; BYTES] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let id: [u8; 16] = bytes[..16].try_into().ok()?;
        Some(Self { session: SessionId(u128::from_be_bytes(id)), bytes })
    }

    /// Whose it claims to be.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// What the store keeps.
    pub fn hash(&self) -> RefreshHash {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &self.bytes).as_ref());
        hash
    }

    /// What the cookie carries.
    pub fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_its_text_and_refuses_other_text() {
        let token = RefreshToken::generate(SessionId(77));
        let parsed = RefreshToken::parse(&token.text()).unwrap();
        assert_eq!((parsed.session(), parsed.hash()), (SessionId(77), token.hash()));
        assert_ne!(token.hash(), RefreshToken::generate(SessionId(77)).hash());
        for bad in ["", "x", "%%%", &"A".repeat(63), &"A".repeat(65)] {
            assert!(RefreshToken::parse(bad).is_none(), "{bad}");
        }
    }
}
