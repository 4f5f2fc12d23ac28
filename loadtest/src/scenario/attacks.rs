//! Hostile input, case by case, each with the answer that PROTOCOL.md names for it.
//!
//! Owns: the table of cases. Never does: more connections than a case says. Talks to: a running server.
//! Start reading at: [`cases`].

use std::{future::Future, io, pin::Pin, time::Duration};

use anyhow::{Context, bail};
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};

use crate::{
    frame::{Incoming, encode, encode_part, opcode, push_length},
    scenario::{link, world::Person},
    socket::{OpenError, Socket, Upgrade, connect_tcp},
    wire::Frame,
};

/// For a case's answer; the slowest one named by the protocol takes 10 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// The mask of hostile frames: any will do.
const MASK: [u8; 4] = [1, 2, 3, 4];

/// What a case got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A status instead of the upgrade, or to a request.
    Http(u16),
    /// A close frame.
    Close(u16),
    /// An error reply, the connection goes on.
    Error(String),
    /// The connection ended without a word.
    Ended,
    /// It was let in.
    Accepted,
}

/// A case's name, what the protocol promises, and what came.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// Which case.
    pub case: &'static str,
    /// Any of these is right.
    pub expected: Vec<Answer>,
    /// What came, or why nothing did.
    pub got: Result<Answer, String>,
}

impl Verdict {
    /// Whether the answer is the named one.
    pub fn is_right(&self) -> bool {
        self.got.as_ref().is_ok_and(|got| self.expected.contains(got))
    }
}

/// A case under way.
pub type Case = (&'static str, Vec<Answer>, Pin<Box<dyn Future<Output = anyhow::Result<Answer>>>>);

/// A case whose answers are right if they are one of `expected`.
fn case(
    name: &'static str,
    expected: &[Answer],
    run: impl Future<Output = anyhow::Result<Answer>> + 'static,
) -> Case {
    (name, expected.to_vec(), Box::pin(run))
}

/// Who attacks: somebody with a good login.
#[derive(Debug, Clone)]
pub struct Attacker {
    /// Whose login.
    pub person: Person,
    /// Where to.
    pub target: std::net::SocketAddr,
    /// Their socket token.
    pub token: String,
    /// Their access cookie, as a `Cookie` header.
    pub cookie: String,
    /// Tokens that must be refused, by name.
    pub bad_tokens: Vec<(&'static str, String)>,
}

impl Attacker {
    async fn open(&self) -> anyhow::Result<Socket> {
        link::open(self.target, Some(self.person.source), &self.token).await
    }

    async fn upgrade(self, upgrade: Upgrade) -> anyhow::Result<Answer> {
        match Socket::open(self.target, Some(self.person.source), &upgrade).await {
            Ok(_) => Ok(Answer::Accepted),
            Err(OpenError::Refused { status, .. }) => Ok(Answer::Http(status)),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends bytes after `welcome` and waits for the end.
    async fn bytes(self, bytes: Vec<u8>) -> anyhow::Result<Answer> {
        let mut socket = self.open().await?;
        socket.queue_raw(&bytes);
        end(&mut socket).await
    }
}

/// Reads until the connection ends. A reset after our own flood counts as an end.
async fn end(socket: &mut Socket) -> anyhow::Result<Answer> {
    let wait = async {
        loop {
            match socket.next().await {
                Ok(Incoming::Close(code, _)) => return Ok(Answer::Close(code.unwrap_or(1005))),
                Ok(_) => {}
                Err(e) if is_end(&e) => return Ok(Answer::Ended),
                Err(e) => return Err(e.into()),
            }
        }
    };
    timeout(ANSWER_TIMEOUT, wait).await.context("no answer in time")?
}

fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

/// The first error reply.
async fn first_error(socket: &mut Socket) -> anyhow::Result<Answer> {
    let wait = async {
        loop {
            let text = socket.next_text().await?;
            let frame = Frame::scan(std::str::from_utf8(&text)?).context("not an object")?;
            if frame.kind == "error" {
                return Ok(Answer::Error(frame.code.to_owned()));
            }
        }
    };
    timeout(ANSWER_TIMEOUT, wait).await.context("no error reply in time")?
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_part(&mut out, first, payload, MASK);
    out
}

fn fragments(count: usize, bytes: usize) -> Vec<u8> {
    let mut out = masked(opcode::TEXT, &vec![b' '; bytes]);
    for _ in 1..count {
        encode_part(&mut out, opcode::CONTINUATION, &vec![b' '; bytes], MASK);
    }
    out
}

/// A frame header with this length, and nothing behind it.
fn header_only(length: usize) -> Vec<u8> {
    let mut out = vec![0x80 | opcode::TEXT];
    push_length(&mut out, 0x80, length);
    out.extend_from_slice(&MASK);
    out
}

/// All cases that take one connection each.
pub fn cases(attacker: &Attacker) -> Vec<Case> {
    let mut all = frames(attacker);
    all.extend(texts(attacker));
    all.extend(upgrades(attacker));
    all
}

fn frames(attacker: &Attacker) -> Vec<Case> {
    let send = |bytes| attacker.clone().bytes(bytes);
    let unmasked = vec![0x81, 2, b'{', b'}'];
    let (too_big, protocol) = ([Answer::Close(1009)], [Answer::Close(1002)]);
    vec![
        case("message of 64 KiB and one byte", &too_big, send(masked(0x81, &vec![b' '; 65_537]))),
        case("header that claims 63 MiB", &too_big, send(header_only(63 << 20))),
        case("header that claims 2^62 bytes", &too_big, send(header_only(1 << 62))),
        case("17 fragments of one byte", &too_big, send(fragments(17, 1))),
        case("a million empty fragments", &too_big, send(fragments(1_000_000, 0))),
        case("fragments of 80 KiB together", &too_big, send(fragments(16, 5_000))),
        case("a message that never ends", &too_big, send(fragments(1, 10))),
        case("unmasked frame", &protocol, send(unmasked)),
        case("reserved bits", &protocol, send(masked(0xc1, b"{}"))),
        case("unknown opcode", &protocol, send(masked(0x83, b"{}"))),
        case("continuation of nothing", &protocol, send(masked(0x80, b"{}"))),
        case("ping of 126 bytes", &protocol, send(masked(0x89, &[0; 126]))),
        case("pong of 126 bytes", &protocol, send(masked(0x8a, &[0; 126]))),
        case("fragmented ping", &protocol, send(masked(opcode::PING, b""))),
        case("close of one byte", &protocol, send(masked(0x88, b"x"))),
        case("binary message", &[Answer::Close(1003)], send(masked(0x82, b"{}"))),
        case("text that is not utf-8", &[Answer::Close(1007)], send(masked(0x81, b"\xff\xfe"))),
        case("100,000 pings", &[Answer::Close(4429)], pings(attacker.clone())),
    ]
}

async fn pings(attacker: Attacker) -> anyhow::Result<Answer> {
    let mut socket = attacker.open().await?;
    let mut bytes = Vec::new();
    for _ in 0..1_000 {
        encode(&mut bytes, opcode::PING, b"0123456789", MASK);
    }
    for _ in 0..100 {
        socket.queue_raw(&bytes);
        while let Some(incoming) = socket.ready()? {
            if let Incoming::Close(code, _) = incoming {
                return Ok(Answer::Close(code.unwrap_or(1005)));
            }
        }
        // Reads and writes for a moment; an end shows here.
        match timeout(Duration::from_millis(5), socket.next()).await {
            Ok(Ok(Incoming::Close(code, _))) => return Ok(Answer::Close(code.unwrap_or(1005))),
            Ok(Err(e)) if is_end(&e) => return Ok(Answer::Ended),
            Ok(Err(e)) => return Err(e.into()),
            Ok(Ok(_)) | Err(_) => {}
        }
    }
    end(&mut socket).await
}

fn texts(attacker: &Attacker) -> Vec<Case> {
    let reply = |text: String| {
        let attacker = attacker.clone();
        async move {
            let mut socket = attacker.open().await?;
            socket.queue(text.as_bytes());
            first_error(&mut socket).await
        }
    };
    let invalid = [Answer::Error("invalid".into())];
    let deep = |open: &str, close: &str, n: usize| {
        format!(r#"{{"type":"ping","x":{}{}}}"#, open.repeat(n), close.repeat(n))
    };
    let twelve = attacker.clone();
    let before_hello = attacker.clone();
    let silent = attacker.clone();
    vec![
        case("json of 20,000 arrays", &invalid, reply(deep("[", "]", 20_000))),
        case("json of 9,000 objects", &invalid, reply(deep(r#"{"a":"#, "}", 9_000) + "}")),
        case("no json", &invalid, reply("hello".into())),
        case("unknown field", &invalid, reply(r#"{"type":"ping","x":1}"#.into())),
        case("unknown type", &invalid, reply(r#"{"type":"sudo"}"#.into())),
        case("twelve bad commands", &[Answer::Close(4400)], async move {
            let mut socket = twelve.open().await?;
            for _ in 0..12 {
                socket.queue(b"nonsense");
            }
            end(&mut socket).await
        }),
        case("command before hello", &[Answer::Error("not_expected".into())], async move {
            let upgrade = Upgrade::bearer(&before_hello.token);
            let source = Some(before_hello.person.source);
            let mut socket = Socket::open(before_hello.target, source, &upgrade).await?;
            socket.queue(br#"{"type":"ping"}"#);
            first_error(&mut socket).await
        }),
        case("no hello", &[Answer::Close(4405)], async move {
            let upgrade = Upgrade::bearer(&silent.token);
            let source = Some(silent.person.source);
            let mut socket = Socket::open(silent.target, source, &upgrade).await?;
            end(&mut socket).await
        }),
    ]
}

fn upgrades(attacker: &Attacker) -> Vec<Case> {
    let open = |upgrade| attacker.clone().upgrade(upgrade);
    let webchat = || Some(protocol::SUBPROTOCOL.to_owned());
    let with_cookie = |origin: Option<&str>| Upgrade {
        cookie: Some(attacker.cookie.clone()),
        origin: origin.map(str::to_owned),
        protocol: webchat(),
        ..Upgrade::default()
    };
    let good = format!("http://localhost:{}", attacker.target.port());
    let (forbidden, unauthorized) = ([Answer::Http(403)], [Answer::Http(401)]);
    let no_protocol = Upgrade { protocol: None, ..Upgrade::bearer(&attacker.token) };
    let other = Upgrade { protocol: Some("chat".into()), ..Upgrade::bearer(&attacker.token) };
    let nobody = Upgrade { protocol: webchat(), ..Upgrade::default() };
    let mut all = vec![
        case("own origin with the cookie", &[Answer::Accepted], open(with_cookie(Some(&good)))),
        case("foreign origin", &forbidden, open(with_cookie(Some("https://evil.example")))),
        case("origin with a suffix", &forbidden, open(with_cookie(Some(&format!("{good}.evil"))))),
        case("origin in other case", &forbidden, open(with_cookie(Some(&good.to_uppercase())))),
        case("null origin", &forbidden, open(with_cookie(Some("null")))),
        case("cookie without origin", &forbidden, open(with_cookie(None))),
        case("no sub-protocol", &[Answer::Http(400)], open(no_protocol)),
        case("other sub-protocol", &[Answer::Http(400)], open(other)),
        case("no token", &unauthorized, open(nobody)),
    ];
    for (name, token) in &attacker.bad_tokens {
        all.push(case(name, &unauthorized, open(Upgrade::bearer(token))));
    }
    all
}

/// Tokens made from a good one that must be refused: `none`, other content, other signature, cut off.
pub fn forged(good: &str) -> anyhow::Result<Vec<(&'static str, String)>> {
    let parts: Vec<&str> = good.split('.').collect();
    let [header, claims, signature] = parts[..] else { bail!("not a jwt: {good}") };
    let flip = |text: &str| {
        let first = if text.starts_with('A') { "B" } else { "A" };
        format!("{first}{}", &text[1..])
    };
    // {"alg":"none"}, and {"alg":"HS256"}.
    let (none, hmac) = ("eyJhbGciOiJub25lIn0", "eyJhbGciOiJIUzI1NiJ9");
    Ok(vec![
        ("token of algorithm none", format!("{none}.{claims}.")),
        ("token of algorithm none with a signature", format!("{none}.{claims}.{signature}")),
        ("token of algorithm hs256", format!("{hmac}.{claims}.{signature}")),
        ("token with another signature", format!("{header}.{claims}.{}", flip(signature))),
        ("token with other claims", format!("{header}.{}.{signature}", flip(claims))),
        ("token without signature", format!("{header}.{claims}")),
        ("token of 8 kB", format!("{header}.{}.{signature}", "A".repeat(8_000))),
        ("empty token", String::new()),
    ])
}

/// Opens handshakes that never end their header; the server has to end them. Returns how long the last one lived.
pub async fn half_open(attacker: &Attacker, count: usize) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let mut streams = Vec::new();
    for i in 0..count {
        let source = Some(crate::scenario::world::address_of(40_000 + i / 16));
        // A server at its limit may refuse right away: that is an answer too.
        let Ok(mut stream) = connect_tcp(attacker.target, source).await else { continue };
        if stream.write_all(b"GET /ws HTTP/1.1\r\nHost: x\r\nX: ").await.is_ok() {
            streams.push(stream);
        }
    }
    for mut stream in streams {
        let mut rest = Vec::new();
        let closed = timeout(ANSWER_TIMEOUT, stream.read_to_end(&mut rest)).await;
        // An error is an end as well; only a stream that stays open is wrong.
        drop(closed.context("a half-open handshake was left open")?);
    }
    Ok(begun.elapsed())
}
