//! The rule that keeps other sites from acting for a user (RELIABILITY.md §3, "CSRF on cookie JWT").
//!
//! Owns: the rule. Never does: IO. Talks to: nobody. Start reading at: [`check`].

use axum::http::{HeaderMap, Method, header};

use super::extract::is_json;

/// The header that a form or a simple cross-site request cannot set.
const HEADER: &str = "x-webchat";

/// Lets reads through, and writes that prove to come from our own page or from no browser at all.
///
/// A bearer token is proof enough: no browser attaches one by itself, and no cookie is looked at beside it.
/// Errors: what is missing.
pub(crate) fn check(
    method: &Method,
    headers: &HeaderMap,
    origins: &[String],
) -> Result<(), &'static str> {
    if matches!(*method, Method::GET | Method::HEAD) || bearer_token(headers).is_some() {
        return Ok(());
    }
    if headers.get(HEADER).is_none_or(|value| value != "1") {
        return Err("the header x-webchat: 1 is missing");
    }
    for origin in headers.get_all(header::ORIGIN) {
        if !origins.iter().any(|own| origin == own.as_str()) {
            return Err("this origin is not allowed");
        }
    }
    let empty = headers.get(header::CONTENT_LENGTH).is_none_or(|length| length == "0")
        && !headers.contains_key(header::TRANSFER_ENCODING);
    if empty || is_json(headers) { Ok(()) } else { Err("content-type must be application/json") }
}

/// The bearer token. Other kinds of `Authorization` prove nothing, and are not for us: a browser repeats what it was once
/// asked for by a proxy in front, for any site that makes it send a request.
pub(super) fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "http://localhost:8080";

    fn checked(method: &Method, pairs: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        check(method, &headers, &[OWN.to_owned()]).is_ok()
    }

    #[test]
    fn only_our_own_page_and_tools_may_change_state() {
        let json = ("content-type", "application/json");
        let length = ("content-length", "2");
        let mark = ("x-webchat", "1");
        assert!(checked(&Method::GET, &[]));
        assert!(checked(&Method::POST, &[mark, json, length, ("origin", OWN)]));
        assert!(checked(&Method::DELETE, &[mark]), "no body, no browser");
        assert!(checked(&Method::POST, &[("authorization", "Bearer x"), length]));
        assert!(!checked(&Method::POST, &[("authorization", "Basic eDp4"), length]));
        for origin in [
            "null",
            "https://localhost:8080",
            "http://localhost:8080.evil.example",
            "http://evil.example",
            "http://localhost:80801",
            "http://localhost",
        ] {
            assert!(!checked(&Method::POST, &[mark, json, ("origin", origin)]), "{origin}");
        }
        assert!(!checked(&Method::POST, &[mark, json, ("origin", OWN), ("origin", "null")]));
        assert!(!checked(&Method::POST, &[json, length, ("origin", OWN)]), "no header");
        assert!(!checked(&Method::POST, &[("x-webchat", "2"), json]), "other value");
        for form in ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"] {
            assert!(!checked(&Method::POST, &[mark, length, ("content-type", form)]), "{form}");
        }
        assert!(!checked(&Method::PATCH, &[mark, ("transfer-encoding", "chunked")]));
    }
}
