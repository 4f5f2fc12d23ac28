//! The internal port itself: who gets in, what is bounded, and what a broker makes of an api that is away.

use std::{
    io::{Read, Write},
    time::Instant,
};

use backplane::{BoxFuture, StoredEvent, memory_archive::MemoryArchive};
use internal::{CallError, KeyKeeper, wire};
use token::{Audience, Claims, keys};

use super::*;

/// One request as bytes, from a thread of its own; the answer's head and body as text.
async fn raw(address: SocketAddr, request: String) -> String {
    let ask = move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        // The server may hang up in the middle of a request that is too large.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

fn request(method: &str, path: &str, authorization: Option<&str>, body: &str) -> String {
    let authorization = authorization.map(|value| format!("Authorization: {value}\r\n"));
    let authorization = authorization.unwrap_or_default();
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{authorization}Content-Length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn without_the_secret_there_is_nothing_not_even_a_missing_page() {
    let port = Port::open(Arc::new(MemoryArchive::default())).await;
    let paths = [
        wire::KEYS_PATH,
        "/internal/v1/archive/view",
        "/internal/v1/archive/range",
        "/api/instance",
        "/metrics",
        "/",
    ];
    let wrong = secret("t").header();
    for path in paths {
        for method in ["GET", "POST", "DELETE"] {
            for shown in [None, Some(""), Some("Bearer x"), Some(wrong.as_str())] {
                let answer = raw(port.address, request(method, path, shown, "{}")).await;
                let denied = answer.starts_with("HTTP/1.1 401 ")
                    && answer.ends_with(r#"{"outcome":"denied"}"#);
                assert!(denied, "{method} {path} {shown:?}: {answer}");
            }
        }
    }
}

#[tokio::test]
async fn every_wrong_question_has_its_named_answer() {
    let port = Port::open(Arc::new(MemoryArchive::default())).await;
    let right = secret("s").header();
    let view = "/internal/v1/archive/view";
    let large = format!("{{\"user\":\"{}\"}}", "0".repeat(wire::QUESTION_BYTES_MAX));
    let everybody: Vec<String> = (1..=201).map(|user| format!("\"{}\"", UserId(user))).collect();
    let crowd = format!("{{\"user\":\"{ADA}\",\"people\":[{}]}}", everybody.join(","));
    let logins = vec![format!("[\"{ADA}\",\"{}\"]", SessionId(1)); SESSIONS_MAX + 1];
    let logins = format!("{{\"sessions\":[{}]}}", logins.join(","));
    let checks = [
        ("POST", view, "{", 400, "malformed"),
        ("POST", view, "{\"user\":7}", 400, "malformed"),
        ("POST", view, large.as_str(), 413, "too_large"),
        ("POST", "/internal/v1/archive/contacts", crowd.as_str(), 413, "too_large"),
        ("POST", "/internal/v1/archive/ended", logins.as_str(), 413, "too_large"),
        ("GET", view, "", 404, "no_call"),
        ("POST", "/internal/v1/archive/write", "{}", 404, "no_call"),
    ];
    for (method, path, body, status, outcome) in checks {
        let answer = raw(port.address, request(method, path, Some(&right), body)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{outcome}: {answer}");
        assert!(answer.ends_with(&format!("{{\"outcome\":\"{outcome}\"}}")), "{answer}");
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_told_and_another_api_answers_instead() {
    let (away, here) = (MemoryArchive::default(), MemoryArchive::default());
    let told = Head { seq: 3, ..Head::default() };
    here.set_head(direct(), told);
    away.set_away(true);
    let (first, second) =
        (Port::open(Arc::new(away.clone())).await, Port::open(Arc::new(here)).await);
    let alone = HttpArchive::new(peers(&[first.address], PeersOptions::default()));
    let ArchiveError(text) = alone.head(direct()).await.unwrap_err();
    assert!(text.contains("Unavailable") && !alone.answers(), "{text}");
    let both = HttpArchive::new(peers(&[first.address, second.address], PeersOptions::default()));
    assert_eq!(both.head(direct()).await.unwrap(), Some(told));
    // A third one is not there at all: it refuses the connection.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let third = HttpArchive::new(peers(&[gone, second.address], PeersOptions::default()));
    assert_eq!(third.head(direct()).await.unwrap(), Some(told));
    away.set_away(false);
    assert_eq!(alone.head(direct()).await.unwrap(), None);
    assert!(alone.answers(), "it is not remembered as away");
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_no_failure() {
    let port = Port::open(Arc::new(MemoryArchive::default())).await;
    let archive = HttpArchive::new(peers(&[port.address], PeersOptions::default()));
    archive.head(direct()).await.unwrap();
    // The api restarts on the same port.
    port.end.send_replace(true);
    let listener = loop {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        if socket.bind(port.address).is_ok()
            && let Ok(listener) = socket.listen(16)
        {
            break listener;
        }
        tokio::task::yield_now().await;
    };
    let desk = Desk {
        archive: Arc::new(MemoryArchive::default()),
        verifier: port.keyring.verifier(),
        secret: secret("s"),
    };
    let (_end, ended) = watch::channel(false);
    tokio::spawn(serve(listener, internal_port::router(desk), internal_port::DOORS, ended));
    assert_eq!(archive.head(direct()).await, Ok(None));
}

/// Takes questions and never answers them.
#[derive(Debug)]
struct Silent;

impl Archive for Silent {
    fn view(&self, _: UserId) -> BoxFuture<'_, Result<View, ArchiveError>> {
        Box::pin(std::future::pending())
    }
    fn head(&self, _: ConversationId) -> BoxFuture<'_, Result<Option<Head>, ArchiveError>> {
        Box::pin(std::future::pending())
    }
    fn find(&self, _: Key) -> BoxFuture<'_, Result<Found, ArchiveError>> {
        Box::pin(std::future::pending())
    }
    fn contacts(
        &self,
        _: UserId,
        _: Vec<UserId>,
    ) -> BoxFuture<'_, Result<Vec<UserId>, ArchiveError>> {
        Box::pin(std::future::pending())
    }
    fn ended(
        &self,
        _: Vec<(UserId, SessionId)>,
    ) -> BoxFuture<'_, Result<Vec<SessionId>, ArchiveError>> {
        Box::pin(std::future::pending())
    }
    fn range(
        &self,
        _: ConversationId,
        _: u64,
        _: u64,
    ) -> BoxFuture<'_, Result<Vec<StoredEvent>, ArchiveError>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_question_has_a_deadline_and_the_queue_has_an_end() {
    let port = Port::open(Arc::new(Silent)).await;
    let options = PeersOptions {
        call_within: Duration::from_millis(300),
        try_within: Duration::from_millis(250),
        connections_max: 2,
        queue_max: 3,
        ..PeersOptions::default()
    };
    let archive = HttpArchive::new(peers(&[port.address], options));
    let begun = Instant::now();
    let asked: Vec<_> = (0..9)
        .map(|_| {
            let archive = archive.clone();
            tokio::spawn(async move { archive.head(direct()).await.unwrap_err().0 })
        })
        .collect();
    let mut outcomes = Vec::new();
    for asking in asked {
        outcomes.push(asking.await.unwrap());
    }
    let late = outcomes.iter().filter(|text| text.contains("no answer in time")).count();
    let full = outcomes.iter().filter(|text| text.contains("too many questions")).count();
    assert_eq!((late, full), (5, 4), "{outcomes:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_read_to_its_end() {
    let archive = MemoryArchive::default();
    let view = View { blocked: (1..=1_000).map(UserId).collect(), ..View::default() };
    archive.set_view(ADA, view);
    let port = Port::open(Arc::new(archive)).await;
    let options = PeersOptions { answer_bytes_max: 1_000, ..PeersOptions::default() };
    let small = HttpArchive::new(peers(&[port.address], options));
    let ArchiveError(text) = small.view(ADA).await.unwrap_err();
    assert!(text.contains("too large"), "{text}");
    assert_eq!(small.head(direct()).await, Ok(None), "the next one gets its own answer");
}

#[tokio::test]
async fn keys_are_fetched_kept_while_the_api_is_away_and_asked_for_when_one_is_missing() {
    let port = Port::open(Arc::new(MemoryArchive::default())).await;
    let peers = peers(&[port.address], PeersOptions::default());
    let fetched = KeyKeeper::fetch(&peers).await.unwrap();
    let (never, soon) = (Duration::from_secs(3_600), Duration::from_millis(1));
    let keeper = KeyKeeper::start_with(peers.clone(), fetched, never, soon);
    let verifier = keeper.verifier();
    let claims = Claims::new(Audience::Socket, ADA, protocol::SessionId(1), T0 / 1_000);
    let good = |token: &str| verifier.verify(token, Audience::Socket, T0 / 1_000).is_ok();
    let old = port.keyring.sign(&claims);
    assert!(good(&old));
    // A new key: published by one look, signs from the next on.
    keys::create_key(&port._folder.0.join("keys"), "0002").unwrap();
    assert!(port.keyring.reload().unwrap() && port.keyring.reload().unwrap());
    let new = port.keyring.sign(&claims);
    assert!(!good(&new) && verifier.lacks_key_of(&new));
    verifier.refresh().await;
    assert!(good(&new) && good(&old));
    // The api is away: asking again ends in time, and what is known goes on.
    port.end.send_replace(true);
    while KeyKeeper::fetch(&peers).await.is_ok() {
        tokio::task::yield_now().await;
    }
    verifier.refresh().await;
    assert!(good(&new) && good(&old));
    let wrong = Peers::new(vec![], &secret("s"), PeersOptions::default());
    assert_eq!(KeyKeeper::fetch(&wrong).await.unwrap_err(), CallError::Late);
}
