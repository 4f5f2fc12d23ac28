//! What a password is before bcrypt sees it.
//!
//! Owns: the length rules, the pre-hash, the pepper file. Never does: bcrypt (the pool does).
//! Talks to: the file system once, at start. Start reading at: [`Pepper::prehash`].

use std::{fmt, io, path::Path};

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use protocol::limits::{PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN};

/// Bytes of the pepper: one block of SHA-256's output.
const PEPPER_BYTES: usize = 32;

/// The server's own secret in every password hash: a stolen database alone cannot be searched.
pub struct Pepper(hmac::Key);

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(…)")
    }
}

impl Pepper {
    /// A pepper from its bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// Loads the pepper file, creating it (mode 600) at the first start. Errors: io, or a file of the wrong length, which
    /// must not be replaced silently: every password would be lost.
    pub fn open(path: &Path) -> io::Result<Self> {
        match std::fs::read(path) {
            Ok(bytes) if bytes.len() == PEPPER_BYTES => Ok(Self::new(&bytes)),
            Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "pepper file is damaged")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(path),
            Err(error) => Err(error),
        }
    }

    fn create(path: &Path) -> io::Result<Self> {
        use std::{io::Write, os::unix::fs::OpenOptionsExt};
        let bytes: [u8; PEPPER_BYTES] = rand::random();
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        if let Some(folder) = path.parent() {
            std::fs::File::open(folder)?.sync_all()?;
        }
        Ok(Self::new(&bytes))
    }

    /// base64(HMAC-SHA-256(pepper, password)): 44 characters without NUL, so bcrypt's limit of 72 bytes and its end at the
    /// first NUL touch no password. Source: RELIABILITY.md §3, "bcrypt 72 bytes".
    pub fn prehash(&self, password: &str) -> Prehash {
        Prehash(STANDARD.encode(hmac::sign(&self.0, password.as_bytes())))
    }
}

/// What goes into bcrypt. Never printed.
pub struct Prehash(pub(super) String);

impl fmt::Debug for Prehash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prehash(…)")
    }
}

/// Checks a new password. Errors: what to say about the field.
pub fn check_password(password: &str) -> Result<(), &'static str> {
    if password.len() > PASSWORD_BYTES_MAX {
        return Err("too_long");
    }
    if password.chars().count() < PASSWORD_CHARS_MIN { Err("too_short") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_counts_also_after_72_and_after_nul() {
        let pepper = Pepper::new(&[7; 32]);
        let long = "x".repeat(73);
        let other = format!("{}y", "x".repeat(72));
        assert_ne!(pepper.prehash(&long).0, pepper.prehash(&other).0);
        assert_ne!(pepper.prehash("abcd\0efgh").0, pepper.prehash("abcd\0efgi").0);
        assert_eq!(pepper.prehash(&long).0.len(), 44);
        assert_ne!(pepper.prehash(&long).0, Pepper::new(&[8; 32]).prehash(&long).0);
    }

    #[test]
    fn length_is_counted_in_characters_below_and_bytes_above() {
        assert_eq!(check_password("1234567"), Err("too_short"));
        assert_eq!(check_password("пароль12"), Ok(()));
        assert_eq!(check_password(&"🦀".repeat(64)), Ok(()));
        assert_eq!(check_password(&"x".repeat(257)), Err("too_long"));
    }
}
