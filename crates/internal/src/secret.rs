//! The secret that all processes of a cluster share.
//!
//! Owns: reading it, what is sent of it, the comparison. Never does: print it. Talks to: the file that holds it.
//! Start reading at: [`Secret::admits`].

use std::{fmt, path::Path};

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

/// Shorter ones can be guessed.
pub const SECRET_BYTES_MIN: usize = 32;
/// What makes the digest good for this purpose only.
const PURPOSE: &[u8] = b"webchat internal v1\0";

/// Proves that a call comes from the cluster. What is kept and sent is a digest of the secret: of one width whatever the
/// secret, and of no use for anything else that somebody may have given the same secret.
#[derive(Clone)]
pub struct Secret([u8; 32]);

/// There is no usable secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Not given at all.
    #[error("no cluster secret")]
    Missing,
    /// Too short.
    #[error("the cluster secret has {0} bytes, at least {SECRET_BYTES_MIN} are needed")]
    Short(usize),
    /// The file cannot be read.
    #[error("cannot read {0}")]
    File(String),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// From text; white space around it does not count. Errors: too short.
    pub fn from_text(text: &str) -> Result<Self, SecretError> {
        let text = text.trim().as_bytes();
        if text.len() < SECRET_BYTES_MIN {
            return Err(SecretError::Short(text.len()));
        }
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(PURPOSE);
        hash.update(text);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hash.finish().as_ref());
        Ok(Self(bytes))
    }

    /// From a file. Errors: not there, not text, too short.
    pub fn from_file(path: &Path) -> Result<Self, SecretError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| SecretError::File(format!("{}: {error}", path.display())))?;
        Self::from_text(&text)
    }

    /// Value of the `Authorization` header of a call.
    pub fn header(&self) -> String {
        format!("Bearer {}", URL_SAFE_NO_PAD.encode(self.0))
    }

    /// Whether a call with this `Authorization` header comes from the cluster. Takes the same time whatever is wrong
    /// with a header of the right form.
    pub fn admits(&self, header: Option<&[u8]>) -> bool {
        let shown = header.and_then(|value| value.strip_prefix(b"Bearer ")).unwrap_or_default();
        let shown = URL_SAFE_NO_PAD.decode(shown).unwrap_or_default();
        shown.ct_eq(&self.0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_secret_is_admitted_and_it_is_never_printed() {
        let secret = Secret::from_text(&format!(" {}\n", "a".repeat(32))).unwrap();
        let check = |text: &str, admitted: bool| {
            assert_eq!(secret.admits(Some(text.as_bytes())), admitted, "{text}");
        };
        let header = secret.header();
        check(&header, true);
        check(&Secret::from_text(&"b".repeat(32)).unwrap().header(), false);
        check(&format!("Bearer {}", "a".repeat(32)), false);
        check(&header[..header.len() - 1], false);
        check(&format!("{header}A"), false);
        check("Bearer ", false);
        check("", false);
        assert!(!secret.admits(None));
        assert!(!format!("{secret:?}").contains("aaa"), "{secret:?}");
        assert_eq!(Secret::from_text("short").unwrap_err(), SecretError::Short(5));
    }
}
