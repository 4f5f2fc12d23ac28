//! Addresses of Redis servers, which may hold a password.
//!
//! Owns: their form; that nothing prints the password. Never does: connect. Talks to: nobody. Start reading at: [`ServerUrl`].

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What stands for a password wherever one would be printed.
const MASK: &str = "***";

/// `redis://[user[:password]@]host[:port][/database]`. Printed and serialized without the password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerUrl(String);

/// Why a text is no such address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Another form.
    #[error("not of the form redis://user:password@host:port")]
    Form,
    /// It was printed, and is read back.
    #[error("the password was taken out when this was printed: put it in again")]
    Masked,
}

impl ServerUrl {
    /// With the password: for the one who connects.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether it holds a password.
    pub fn has_password(&self) -> bool {
        self.password().is_some()
    }

    fn password(&self) -> Option<std::ops::Range<usize>> {
        let (begin, end) = ("redis://".len(), self.0.rfind('@')?);
        let colon = begin + self.0.get(begin..end)?.find(':')?;
        Some(colon + 1..end)
    }
}

impl FromStr for ServerUrl {
    type Err = UrlError;
    fn from_str(text: &str) -> Result<Self, UrlError> {
        let rest = text.strip_prefix("redis://").ok_or(UrlError::Form)?;
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        let host = host.split_once('/').map_or(host, |(host, _)| host);
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok_and(|port| port != 0) => name,
            Some((name, _)) if name.starts_with('[') && host.ends_with(']') => host,
            Some(_) => return Err(UrlError::Form),
            None => host,
        };
        let good = !name.is_empty() && !rest.contains(char::is_whitespace);
        let url = Self(text.to_owned());
        match url.password() {
            _ if !good => Err(UrlError::Form),
            Some(range) if url.0[range.clone()] == *MASK => Err(UrlError::Masked),
            _ => Ok(url),
        }
    }
}

impl TryFrom<String> for ServerUrl {
    type Error = UrlError;
    fn try_from(text: String) -> Result<Self, UrlError> {
        text.parse()
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.password() {
            Some(range) => write!(f, "{}{MASK}{}", &self.0[..range.start], &self.0[range.end..]),
            None => f.write_str(&self.0),
        }
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<ServerUrl> for String {
    fn from(url: ServerUrl) -> Self {
        url.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_printed_and_a_printed_one_is_not_taken_for_real() {
        let check = |text: &str, printed: &str| {
            let url: ServerUrl = text.parse().unwrap();
            assert_eq!((url.to_string().as_str(), url.reveal()), (printed, text));
            assert_eq!(format!("{url:?}"), printed);
        };
        check("redis://127.0.0.1:6379", "redis://127.0.0.1:6379");
        check("redis://log.internal", "redis://log.internal");
        check("redis://[::1]:6379/1", "redis://[::1]:6379/1");
        check("redis://broker:s3:cr@t@host:6379", "redis://broker:***@host:6379");
        check("redis://:pw@host", "redis://:***@host");
        for bad in ["", "host:6379", "rediss://host", "redis://", "redis://host:x", "redis://a b"] {
            assert_eq!(bad.parse::<ServerUrl>(), Err(UrlError::Form), "{bad}");
        }
        assert_eq!("redis://u:***@host".parse::<ServerUrl>(), Err(UrlError::Masked));
    }
}
