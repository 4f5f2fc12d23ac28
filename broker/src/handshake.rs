//! The upgrade: what is checked before a socket is a connection.
//!
//! Owns: RFC 6455 §4.2, the sub-protocol, who it is, and where the page came from. Never does: IO.
//! Talks to: crate `token`. Start reading at: [`check`].

use http_body_util::Full;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, body::Bytes, header};
use protocol::SUBPROTOCOL;
use token::{Audience, Claims, Verifier, cookie};

/// Why there is no upgrade. Each is a label of `broker_handshakes_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Not a WebSocket request, or without our sub-protocol.
    BadRequest,
    /// No good token, or a revoked one.
    Auth,
    /// The page of another site.
    Origin,
    /// The node, or this address, has enough connections.
    Limit,
    /// This address is too fast.
    RateLimit,
    /// The node stops.
    Draining,
}

impl Refusal {
    /// Label for metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Auth => "auth",
            Self::Origin => "origin",
            Self::Limit => "limit",
            Self::RateLimit => "rate_limit",
            Self::Draining => "draining",
        }
    }

    /// The answer. Errors that a client may retry say when.
    pub fn response(self) -> Response<Full<Bytes>> {
        let (status, text) = match self {
            Self::BadRequest => (
                StatusCode::BAD_REQUEST,
                "a websocket upgrade (version 13) with Sec-WebSocket-Protocol: webchat.v1 is needed here",
            ),
            Self::Auth => (StatusCode::UNAUTHORIZED, "log in first"),
            Self::Origin => (StatusCode::FORBIDDEN, "this page may not connect here"),
            Self::Limit | Self::Draining => (StatusCode::SERVICE_UNAVAILABLE, "try again later"),
            Self::RateLimit => (StatusCode::TOO_MANY_REQUESTS, "too fast"),
        };
        let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        if matches!(self, Self::Limit | Self::Draining | Self::RateLimit) {
            let after = header::HeaderValue::from_static("2");
            response.headers_mut().insert(header::RETRY_AFTER, after);
        }
        response
    }
}

/// What [`check`] needs to know of the node.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Origins of our own pages, exactly.
    pub origins: Vec<String>,
    /// Whether cookies have their https names.
    pub secure: bool,
    /// Verifies tokens.
    pub verifier: Verifier,
}

/// The upgrade that was found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// For `Sec-WebSocket-Accept`.
    pub accept_key: String,
    /// Who, and until when.
    pub claims: Claims,
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn has_token(headers: &HeaderMap, name: &header::HeaderName, wanted: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(wanted))
}

/// The token that an upgrade shows, and its kind. A bearer token is not made good by a cookie beside it.
fn token_of(headers: &HeaderMap, secure: bool) -> Option<(&str, Audience)> {
    let authorization = text(headers, &header::AUTHORIZATION);
    if let Some(token) = authorization.and_then(|value| value.strip_prefix("Bearer ")) {
        return Some((token, Audience::Socket));
    }
    let mut cookies =
        headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let token = cookies.find_map(|value| cookie::find(value, cookie::access(secure)))?;
    Some((token, Audience::Access))
}

/// Whether a refused token may be good with newer keys than this node has.
pub fn lacks_key<B>(request: &Request<B>, rules: &Rules) -> bool {
    let token = token_of(request.headers(), rules.secure);
    token.is_some_and(|(token, _)| rules.verifier.lacks_key_of(token))
}

/// Checks in the order of PROTOCOL.md §2: form, sub-protocol, token, origin.
pub fn check<B>(
    request: &Request<B>,
    rules: &Rules,
    now_seconds: u64,
) -> Result<Accepted, Refusal> {
    let headers = request.headers();
    let key = text(headers, &header::SEC_WEBSOCKET_KEY).unwrap_or("");
    let well_formed = request.method() == Method::GET
        && has_token(headers, &header::CONNECTION, "upgrade")
        && has_token(headers, &header::UPGRADE, "websocket")
        && text(headers, &header::SEC_WEBSOCKET_VERSION) == Some("13")
        && key.len() == 24
        && has_token(headers, &header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
    if !well_formed {
        return Err(Refusal::BadRequest);
    }
    let (token, audience) = token_of(headers, rules.secure).ok_or(Refusal::Auth)?;
    let claims = rules.verifier.verify(token, audience, now_seconds).map_err(|_| Refusal::Auth)?;
    // A cookie comes along whoever opened the socket: only our own pages may use it.
    let origin = text(headers, &header::ORIGIN);
    if audience == Audience::Access
        && !origin.is_some_and(|origin| rules.origins.iter().any(|own| own == origin))
    {
        return Err(Refusal::Origin);
    }
    Ok(Accepted { accept_key: accept_key(key), claims })
}

/// `Sec-WebSocket-Accept` (RFC 6455 §4.2.2).
pub fn accept_key(key: &str) -> String {
    let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, hash.finish())
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use protocol::{SessionId, UserId};
    use token::Keyring;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn keyring() -> &'static Keyring {
        static KEYRING: OnceLock<Keyring> = OnceLock::new();
        KEYRING.get_or_init(|| {
            let folder =
                std::env::temp_dir().join(format!("webchat-handshake-{}", std::process::id()));
            let keyring = Keyring::open(&folder).expect("keys");
            let _ = std::fs::remove_dir_all(folder);
            keyring
        })
    }

    fn token(audience: Audience) -> String {
        keyring().sign(&Claims::new(audience, UserId(7), SessionId(9), NOW))
    }

    fn check_with(change: impl FnOnce(&mut HeaderMap)) -> Result<Accepted, Refusal> {
        let mut request = Request::new(());
        let headers = request.headers_mut();
        let cookie = format!("a=b; webchat_access={}", token(Audience::Access));
        for (name, value) in [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", "other, webchat.v1"),
            ("origin", "http://localhost:8080"),
            ("cookie", &cookie),
        ] {
            headers.insert(name, value.parse().expect("header"));
        }
        change(headers);
        let rules = Rules {
            origins: vec!["http://localhost:8080".into(), "https://chat.example.org".into()],
            secure: false,
            verifier: keyring().verifier(),
        };
        check(&request, &rules, NOW)
    }

    #[test]
    fn a_good_upgrade_is_accepted_with_the_key_of_the_rfc() {
        let accepted = check_with(|_| {}).expect("good");
        assert_eq!(accepted.accept_key, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(accepted.claims.sub, UserId(7));
    }

    #[test]
    fn r1_without_the_sub_protocol_or_the_right_form_it_is_a_bad_request() {
        for name in [
            "connection",
            "upgrade",
            "sec-websocket-version",
            "sec-websocket-key",
            "sec-websocket-protocol",
        ] {
            assert_eq!(check_with(|h| drop(h.remove(name))), Err(Refusal::BadRequest), "{name}");
        }
        assert_eq!(Refusal::BadRequest.response().status(), 400);
    }

    #[test]
    fn r2_without_a_good_token_it_is_unauthorized() {
        let socket_in_cookie = format!("webchat_access={}", token(Audience::Socket));
        let access_as_bearer = format!("Bearer {}", token(Audience::Access));
        assert_eq!(check_with(|h| drop(h.remove("cookie"))), Err(Refusal::Auth));
        assert_eq!(
            check_with(|h| drop(h.insert("cookie", socket_in_cookie.parse().expect("h")))),
            Err(Refusal::Auth)
        );
        assert_eq!(
            check_with(|h| drop(h.insert("authorization", access_as_bearer.parse().expect("h")))),
            Err(Refusal::Auth)
        );
        assert_eq!(Refusal::Auth.response().status(), 401);
    }

    #[test]
    fn r3_a_cookie_is_good_from_our_own_pages_only() {
        assert_eq!(check_with(|h| drop(h.remove("origin"))), Err(Refusal::Origin));
        for evil in [
            "http://evil.example",
            "null",
            "http://localhost:8080.evil.example",
            "http://evil-localhost:8080",
            "http://localhost:8081",
            "https://localhost:8080",
            "http://localhost:8080/",
            "HTTP://LOCALHOST:8080",
            "http://user@localhost:8080",
            "https://chat.example.org.",
        ] {
            assert_eq!(
                check_with(|h| drop(h.insert("origin", evil.parse().expect("h")))),
                Err(Refusal::Origin),
                "{evil}"
            );
        }
        assert_eq!(Refusal::Origin.response().status(), 403);
        let bearer = format!("Bearer {}", token(Audience::Socket));
        let no_page = check_with(|h| {
            h.remove("origin");
            h.remove("cookie");
            h.insert("authorization", bearer.parse().expect("h"));
        });
        assert!(no_page.is_ok(), "a program needs no origin");
    }

    #[test]
    fn r4_a_full_or_stopping_node_says_when_to_come_back() {
        for refusal in [Refusal::Limit, Refusal::Draining] {
            let response = refusal.response();
            assert_eq!(response.status(), 503);
            assert!(response.headers().contains_key("retry-after"));
        }
    }
}
