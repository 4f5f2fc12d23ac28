//! The upgrade check, cookies, ids and resume tokens: everything that is read before and beside frames.
//!
//! Owns: their invariants. Never does: HTTP (hyper parses it). Talks to: `broker::handshake`, crate `token`.
//! Start reading at: [`case`].

use std::{collections::BTreeSet, fmt::Display, str::FromStr, sync::LazyLock};

use broker::handshake::{Accepted, Refusal, Rules, check};
use hyper::{
    HeaderMap, Method, Request,
    header::{self, HeaderName, HeaderValue},
};
use protocol::{ConversationId, Producer, SessionId, Token, UserId, limits};
use rand::RngExt;
use token::{Audience, Claims, Keyring, cookie};

use crate::{
    Broken, Random, ensure,
    mutate::{mutate, one_in, pick, size},
};

const NOW: u64 = 1_800_000_000;
const ORIGIN: &str = "https://chat.example.org";

/// Keys of one run, and good tokens of both kinds.
struct Fixture {
    rules: Rules,
    access: String,
    socket: String,
    claims: Claims,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("webchat-fuzz-keys-{}", std::process::id()));
    let keyring = Keyring::open(&folder).expect("the folder for temporary files can be written");
    let _ = std::fs::remove_dir_all(&folder);
    let claims = |audience| Claims::new(audience, UserId(7), SessionId(9), NOW);
    Fixture {
        rules: Rules {
            origins: vec![ORIGIN.to_owned(), "http://localhost:8080".to_owned()],
            secure: false,
            verifier: keyring.verifier(),
        },
        access: keyring.sign(&claims(Audience::Access)),
        socket: keyring.sign(&claims(Audience::Socket)),
        claims: claims(Audience::Access),
    }
});

const WORDS: &[&[u8]] = &[
    b"Upgrade",
    b"websocket",
    b"webchat.v1",
    b"13",
    b",",
    b", ",
    b";",
    b"; ",
    b"=",
    b" ",
    b"\t",
    b"\xff",
    b"Bearer ",
    b"bearer ",
    b"webchat_access=",
    b"webchat_access",
    b"__Host-webchat_access=",
    b"null",
    b"https://",
    b"*",
    b".",
    b"\"",
    b"eyJhbGciOiJub25lIn0.",
    b"eyJhbGciOiJIUzI1NiIsImtpZCI6IjAwMDEifQ.",
    b"e30.",
    b"dGhlIHNhbXBsZSBub25jZQ==",
];

/// One case.
pub(crate) fn case(random: &mut Random) -> Result<(), Broken> {
    texts(random)?;
    request(random)
}

/// Lines of `number value` put into a good request: the number is that of the header they replace, or are added to.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), Broken> {
    let mut headers = good_headers(bytes.first().is_some_and(|byte| byte % 2 == 0));
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some((number, value)) = line.split_first() else { continue };
        let at = usize::from(number / 2) % headers.len();
        if number % 2 == 0 {
            headers[at].1 = value.to_vec();
        } else {
            let name = headers[at].0.clone();
            headers.push((name, value.to_vec()));
        }
    }
    let request = build(Method::GET, &headers);
    judge(&request, &check(&request, &FIXTURE.rules, NOW), NOW)
        .map_err(|what| format!("{what}: {request:?}"))
}

fn good_headers(bearer: bool) -> Vec<(HeaderName, Vec<u8>)> {
    let fixture = &*FIXTURE;
    let mut headers: Vec<(HeaderName, Vec<u8>)> = vec![
        (header::CONNECTION, b"keep-alive, Upgrade".to_vec()),
        (header::UPGRADE, b"websocket".to_vec()),
        (header::SEC_WEBSOCKET_VERSION, b"13".to_vec()),
        (header::SEC_WEBSOCKET_KEY, b"dGhlIHNhbXBsZSBub25jZQ==".to_vec()),
        (header::SEC_WEBSOCKET_PROTOCOL, b"other, webchat.v1".to_vec()),
    ];
    if bearer {
        headers.push((header::AUTHORIZATION, format!("Bearer {}", fixture.socket).into_bytes()));
    } else {
        headers.push((header::ORIGIN, ORIGIN.into()));
        let cookies = format!("a=b; webchat_access={}; c=d", fixture.access);
        headers.push((header::COOKIE, cookies.into_bytes()));
    }
    headers
}

fn build(method: Method, headers: &[(HeaderName, Vec<u8>)]) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = method;
    for (name, value) in headers {
        // What is no header value never gets here: hyper refuses it.
        if let Ok(value) = HeaderValue::from_bytes(value) {
            request.headers_mut().append(name, value);
        }
    }
    request
}

fn request(random: &mut Random) -> Result<(), Broken> {
    let rules = &FIXTURE.rules;
    let mut headers = good_headers(one_in(random, 2));
    let good = build(Method::GET, &headers);
    let accepted = check(&good, rules, NOW);
    ensure(accepted.is_ok(), || format!("a good request is refused: {accepted:?} {good:?}"))?;
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..headers.len());
        match random.random_range(0..5) {
            0 => drop(headers.remove(at)),
            1 => {
                let copy = headers[at].clone();
                headers.push(copy);
            }
            2 => {
                let other = random.random_range(0..headers.len());
                let value = headers[other].1.clone();
                headers[at].1 = value;
            }
            _ => mutate(random, &mut headers[at].1, WORDS),
        }
        if headers.is_empty() {
            break;
        }
    }
    let method = if one_in(random, 10) { Method::POST } else { Method::GET };
    let request = build(method, &headers);
    let before = if one_in(random, 4) { NOW + 700 } else { NOW };
    let outcome = check(&request, rules, before);
    judge(&request, &outcome, before).map_err(|what| format!("{what}: {request:?}"))
}

/// What must be true of whoever is let in, whatever the headers were.
fn judge(
    request: &Request<()>,
    outcome: &Result<Accepted, Refusal>,
    now: u64,
) -> Result<(), Broken> {
    let accepted = match outcome {
        Ok(accepted) => accepted,
        Err(refusal) => {
            let status = refusal.response().status().as_u16();
            return ensure(matches!(status, 400 | 401 | 403), || format!("answered {status}"));
        }
    };
    let headers = request.headers();
    let says = |name: HeaderName, word: &[u8]| {
        let lower = |value: &HeaderValue| value.as_bytes().to_ascii_lowercase();
        headers.get_all(name).iter().any(|v| lower(v).windows(word.len()).any(|w| w == word))
    };
    ensure(request.method() == Method::GET, || "let in without GET".to_owned())?;
    ensure(
        says(header::UPGRADE, b"websocket")
            && says(header::CONNECTION, b"upgrade")
            && says(header::SEC_WEBSOCKET_PROTOCOL, b"webchat.v1"),
        || "let in without asking for an upgrade".to_owned(),
    )?;
    ensure(accepted.accept_key.len() == 28, || format!("accept key {:?}", accepted.accept_key))?;
    ensure(now < NOW + 615, || "let in with an expired token".to_owned())?;
    let claims = &accepted.claims;
    let ours = &FIXTURE.claims;
    ensure((claims.sub, claims.sid, claims.exp) == (ours.sub, ours.sid, ours.exp), || {
        format!("let in as somebody else: {claims:?}")
    })?;
    let bearer = headers
        .get(header::AUTHORIZATION)
        .is_some_and(|value| value.as_bytes().starts_with(b"Bearer "));
    let audience = if bearer { Audience::Socket } else { Audience::Access };
    ensure(claims.aud == audience, || format!("let in with a token for {:?}", claims.aud))?;
    if !bearer {
        let own = headers.get(header::ORIGIN).is_some_and(|origin| {
            FIXTURE.rules.origins.iter().any(|own| own.as_bytes() == origin.as_bytes())
        });
        ensure(own, || "a cookie was good for a page of another site".to_owned())?;
    }
    carries_our_token(headers)
}

fn carries_our_token(headers: &HeaderMap) -> Result<(), Broken> {
    let ours: BTreeSet<&[u8]> =
        [FIXTURE.access.as_bytes(), FIXTURE.socket.as_bytes()].into_iter().collect();
    let carried = headers
        .values()
        .any(|value| ours.iter().any(|t| value.as_bytes().windows(t.len()).any(|w| w == *t)));
    ensure(carried, || "let in with a token that nobody signed".to_owned())
}

/// Parsed, printed and parsed again it is the same; whoever prints it the first time gets the canonical form.
fn survives<T: FromStr + Display + PartialEq>(text: &str, limit: usize) -> Result<(), Broken> {
    let Ok(value) = text.parse::<T>() else { return Ok(()) };
    let printed = value.to_string();
    let same = printed.parse::<T>().is_ok_and(|again| again == value) && text.len() <= limit;
    ensure(same, || format!("{text:?} is read, but not as its own print {printed:?}"))
}

fn texts(random: &mut Random) -> Result<(), Broken> {
    let mut bytes = match random.random_range(0..5) {
        0 => "00000000000000a100000000000000b2".to_owned(),
        1 => UserId(random.random()).to_string(),
        2 => ConversationId(random.random()).to_string(),
        3 => (0..random.random_range(1..6))
            .map(|_| format!("{}-{}", random.random::<u32>(), random.random::<u64>()))
            .collect::<Vec<_>>()
            .join("."),
        _ => format!("a=b; webchat_access={}", size(random, 99)),
    }
    .into_bytes();
    if !one_in(random, 3) {
        mutate(random, &mut bytes, &[b"-", b".", b"0", b"+", b"f", b"F", b"8", b"=", b";"]);
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    survives::<UserId>(&text, 16)?;
    survives::<Producer>(&text, 16)?;
    survives::<SessionId>(&text, 32)?;
    survives::<ConversationId>(&text, 32)?;
    survives::<Token>(&text, limits::TOKEN_BYTES_MAX)?;
    let name = pick(random, &["a", "webchat_access", "", "="]);
    let found = cookie::find(&text, name);
    ensure(found.is_none_or(|value| text.contains(&format!("{name}={value}"))), || {
        format!("{found:?} is not the cookie {name:?} of {text:?}")
    })
}
