//! A subscription to a log's pushes, on a socket of its own, read in pieces of known size.
//!
//! Owns: the socket, and which pushes may be passed on. Never does: decode a push. Talks to: the server.
//! Start reading at: [`Subscription::pushes`].
//!
//! **No phantom** (LOG.md §3). Redis syncs before it answers, but what it pushes into a socket that still has a backlog may
//! leave in the same round of its loop, before the sync. A backlog shows here: a read fills its buffer, or ends in the
//! middle of a reply. From then on pushes are held until a PING that was sent after they came has answered on another
//! connection, where each answer waits for the sync. When nothing came between such a PING and its answer, pushes pass at
//! once again. (A PING on this connection would be answered behind the whole backlog.)

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use redis::ConnectionAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    connection::{Server, run_of},
    fault::Fault,
    resp::{self, Reply},
};

/// Bytes of one read: less than the smallest socket buffer, so that a backlog at the server cannot pass unnoticed.
pub(super) const READ_BYTES: usize = 16 * 1024;
/// Pushes held, in bytes. With more the connection is given up, and the log is read instead.
const HELD_BYTES_MAX: usize = 8 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Pushes that wait until they are known to be durable.
#[derive(Debug, Default)]
pub(super) struct Held {
    holding: bool,
    pushes: VecDeque<Bytes>,
    bytes: usize,
    /// How many of them came before the PING that is under way.
    covered: Option<usize>,
    /// Something came since it was sent.
    came: bool,
}

/// More is held than may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many pushes are held")]
pub(super) struct TooMany;

impl Held {
    /// `full`: a read filled its buffer, or ended within a reply. `replies` are those that it ended; what may be passed on
    /// goes to `ready`.
    fn read(
        &mut self,
        full: bool,
        replies: impl Iterator<Item = Reply>,
        ready: &mut Vec<Bytes>,
    ) -> Result<(), TooMany> {
        self.holding |= full;
        self.came = true;
        for reply in replies {
            let Reply::Array(mut parts) = reply else { continue };
            if parts.len() != 3 || parts[0] != b"message"[..] {
                continue;
            }
            let Some(push) = parts.pop() else { continue };
            if self.holding {
                self.bytes += push.len();
                self.pushes.push_back(push);
            } else {
                ready.push(push);
            }
        }
        if self.bytes <= HELD_BYTES_MAX { Ok(()) } else { Err(TooMany) }
    }

    /// A PING is sent now, if one is needed and none is under way. Whether one is under way then.
    fn ping(&mut self) -> bool {
        if self.holding && self.covered.is_none() {
            self.covered = Some(self.pushes.len());
            self.came = false;
        }
        self.covered.is_some()
    }

    /// It has answered.
    fn answered(&mut self) -> Vec<Bytes> {
        let covered = self.covered.take().unwrap_or(0);
        let durable: Vec<Bytes> = self.pushes.drain(..covered).collect();
        self.bytes -= durable.iter().map(Bytes::len).sum::<usize>();
        self.holding = self.came;
        durable
    }
}

/// One subscribed connection.
#[derive(Debug)]
pub(super) struct Subscription {
    stream: TcpStream,
    buffer: BytesMut,
    held: Held,
    /// Which start of the server it is to.
    pub(super) run: Arc<str>,
}

fn put_command(out: &mut Vec<u8>, parts: &[&str]) {
    out.extend_from_slice(format!("*{}\r\n", parts.len()).as_bytes());
    for part in parts {
        out.extend_from_slice(format!("${}\r\n{part}\r\n", part.len()).as_bytes());
    }
}

impl Subscription {
    pub(super) async fn connect(server: &Server) -> Result<Self, Fault> {
        let connecting = timeout(CONNECT_TIMEOUT, Self::try_connect(server));
        let late = || Fault::Refused("subscribing took too long".to_owned());
        connecting.await.map_err(|_| late())?.map_err(|error| Fault::Refused(error.to_string()))
    }

    async fn try_connect(server: &Server) -> io::Result<Self> {
        let info = server.client().get_connection_info();
        let ConnectionAddr::Tcp(host, port) = info.addr() else {
            return Err(io::Error::other("subscriptions speak TCP without TLS"));
        };
        let mut stream = TcpStream::connect((host.as_str(), *port)).await?;
        stream.set_nodelay(true)?;
        let mut hello = Vec::new();
        let settings = info.redis_settings();
        let expected = match (settings.username(), settings.password()) {
            (user, Some(password)) => {
                put_command(&mut hello, &["AUTH", user.unwrap_or("default"), password]);
                3
            }
            _ => 2,
        };
        put_command(&mut hello, &["INFO"]);
        put_command(&mut hello, &["SUBSCRIBE", server.channel()]);
        stream.write_all(&hello).await?;
        let mut buffer = BytesMut::new();
        let mut answers = Vec::new();
        while answers.len() < expected {
            match resp::take(&mut buffer).map_err(io::Error::other)? {
                Some(Reply::Error(text)) => {
                    return Err(io::Error::other(String::from_utf8_lossy(&text).into_owned()));
                }
                Some(answer) => answers.push(answer),
                None if stream.read_buf(&mut buffer).await? == 0 => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                None => {}
            }
        }
        let Some(Reply::Text(info)) = answers.get(expected - 2) else {
            return Err(io::Error::other("INFO told nothing"));
        };
        let run = run_of(&String::from_utf8_lossy(info)).map_err(io::Error::other)?;
        Ok(Self { stream, buffer, held: Held::default(), run })
    }

    /// Waits for bytes; the pushes that may be passed on, perhaps none. Cancel safety: nothing is lost. Errors: the
    /// connection is of no use any more, and what is held with it.
    pub(super) async fn pushes(&mut self) -> io::Result<Vec<Bytes>> {
        let mut room = (&mut self.buffer).limit(READ_BYTES);
        let bytes = self.stream.read_buf(&mut room).await?;
        if bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (mut replies, mut ready) = (Vec::new(), Vec::new());
        while let Some(reply) = resp::take(&mut self.buffer).map_err(io::Error::other)? {
            replies.push(reply);
        }
        let full = bytes == READ_BYTES || !self.buffer.is_empty();
        self.held.read(full, replies.into_iter(), &mut ready).map_err(io::Error::other)?;
        Ok(ready)
    }

    /// Whether pushes wait for a PING. The caller sends one, and calls [`Self::answered`] when it has answered.
    pub(super) fn waits_for_ping(&mut self) -> bool {
        self.held.ping()
    }

    /// The pushes that came before the PING that has answered: they are durable.
    pub(super) fn answered(&mut self) -> Vec<Bytes> {
        self.held.answered()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(text: &'static str) -> Reply {
        let parts = ["message", "c", text].map(|part| Bytes::from_static(part.as_bytes()));
        Reply::Array(parts.to_vec())
    }

    struct Reader(Held);

    impl Reader {
        fn read(&mut self, full: bool, replies: Vec<Reply>) -> Vec<String> {
            let mut ready = Vec::new();
            self.0.read(full, replies.into_iter(), &mut ready).unwrap();
            texts(&ready)
        }

        fn answered(&mut self) -> Vec<String> {
            texts(&self.0.answered())
        }
    }

    fn texts(pushes: &[Bytes]) -> Vec<String> {
        pushes.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn pushes_pass_at_once_while_there_is_no_backlog() {
        let mut reader = Reader(Held::default());
        assert_eq!(reader.read(false, vec![push("1"), push("2")]), ["1", "2"]);
        assert!(!reader.0.ping());
    }

    #[test]
    fn from_a_full_read_on_pushes_wait_for_a_ping_that_was_sent_after_them() {
        let mut reader = Reader(Held::default());
        assert_eq!(reader.read(true, vec![push("1")]), NONE);
        assert!(reader.0.ping());
        assert_eq!(reader.read(false, vec![push("2")]), NONE);
        assert_eq!(reader.answered(), ["1"], "2 came after the ping");
        assert!(reader.0.ping());
        assert_eq!(reader.answered(), ["2"]);
        assert!(!reader.0.ping(), "nothing came in between: there is no backlog");
        assert_eq!(reader.read(false, vec![push("3")]), ["3"]);
    }

    #[test]
    fn a_read_that_only_adds_to_a_push_keeps_holding() {
        let mut reader = Reader(Held::default());
        reader.read(true, vec![]);
        assert!(reader.0.ping());
        reader.read(false, vec![]);
        assert_eq!(reader.answered(), NONE);
        assert!(reader.0.ping());
        assert_eq!(reader.read(false, vec![push("1")]), NONE);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut held = Held::default();
        let big = Bytes::from(vec![0; HELD_BYTES_MAX + 1]);
        let parts = vec![Bytes::from_static(b"message"), Bytes::new(), big];
        let read = held.read(true, [Reply::Array(parts)].into_iter(), &mut Vec::new());
        assert_eq!(read, Err(TooMany));
    }

    /// A server that answers a subscriber, and pushes a backlog.
    async fn backlogged(listener: tokio::net::TcpListener) -> TcpStream {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = vec![0; 1_024];
        stream.read_buf(&mut heard).await.unwrap();
        let info = "role:master\r\nrun_id:abc\r\n";
        let answers =
            format!("${}\r\n{info}\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n", info.len());
        stream.write_all(answers.as_bytes()).await.unwrap();
        let body = "x".repeat(1_000);
        let push = format!("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1000\r\n{body}\r\n");
        stream.write_all(push.repeat(40).as_bytes()).await.unwrap();
        stream
    }

    #[tokio::test]
    async fn a_backlog_is_held_until_a_ping_has_answered() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(backlogged(listener));
        let archive = Arc::new(crate::memory_archive::MemoryArchive::default());
        let options = super::super::Options::new(vec![url.clone()], 1, archive);
        let asked = Server::new(0, &url, options).unwrap();
        let mut subscription = Subscription::connect(&asked).await.unwrap();
        assert_eq!(&*subscription.run, "abc");
        let mut early = 0;
        while let Ok(pushes) = timeout(Duration::from_millis(100), subscription.pushes()).await {
            early += pushes.unwrap().len();
        }
        // The first read may have come before there was a backlog.
        assert!(early < 20, "{early} pushes before the sync");
        assert!(subscription.waits_for_ping());
        assert_eq!(early + subscription.answered().len(), 40);
        server.await.unwrap();
    }
}
