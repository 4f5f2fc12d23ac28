//! Places in the log, and the opaque token that clients resume with.
//!
//! Owns: [`Pos`] and [`Token`]. Never does: interpret a client's token beyond its syntax.
//! Talks to: nobody. Start reading at: [`Token`].

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A place in a partition. Shape: `n` is dense (+1 per batch) within an `epoch`; `n` = 0 is "before the first".
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
pub struct Pos {
    /// One lifetime of the partition's numbering.
    pub epoch: u32,
    /// Number of the batch.
    pub n: u64,
}

impl Pos {
    /// A place from its two parts.
    pub const fn new(epoch: u32, n: u64) -> Self {
        Self { epoch, n }
    }
}

impl fmt::Display for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.n)
    }
}

impl FromStr for Pos {
    type Err = TokenError;
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let (epoch, n) = text.split_once('-').ok_or(TokenError)?;
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(epoch) || !digits(n) {
            return Err(TokenError);
        }
        Ok(Self {
            epoch: epoch.parse().map_err(|_| TokenError)?,
            n: n.parse().map_err(|_| TokenError)?,
        })
    }
}

/// A resume token that is not one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a resume token")]
pub struct TokenError;

/// What a client has seen: one [`Pos`] per partition, in order of the partitions. Opaque to clients.
///
/// Units/limits: at most [`crate::limits::PARTITIONS_MAX`] parts, [`crate::limits::TOKEN_BYTES_MAX`] bytes as text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Token(pub Vec<Pos>);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, pos) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(".")?;
            }
            write!(f, "{pos}")?;
        }
        Ok(())
    }
}

impl FromStr for Token {
    type Err = TokenError;
    fn from_str(text: &str) -> Result<Self, TokenError> {
        if text.len() > crate::limits::TOKEN_BYTES_MAX {
            return Err(TokenError);
        }
        let parts = text.split('.').map(str::parse).collect::<Result<Vec<Pos>, _>>()?;
        if parts.len() <= crate::limits::PARTITIONS_MAX { Ok(Self(parts)) } else { Err(TokenError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_survives_its_text_form_and_rejects_everything_else() {
        let token = Token(vec![Pos::new(1, 4711), Pos::new(2, 0)]);
        assert_eq!(token.to_string(), "1-4711.2-0");
        assert_eq!("1-4711.2-0".parse(), Ok(token));
        for bad in
            ["", "1", "1-", "-1", "1-2.", "+1-2", "1-2-3", "1-2.1-2.1-2.1-2.1-2", "99999999999-1"]
        {
            assert_eq!(bad.parse::<Token>(), Err(TokenError), "{bad}");
        }
    }
}
