//! A subscription to a log's pushes, on a socket of its own, read in pieces of known size.
//!
//! Owns: the socket, and which pushes may be passed on. Never does: decode a push. Talks to: the server.
//! Start reading at: [`Subscription::pushes`].
//!
//! **No phantom** (LOG.md §3). Redis syncs before it answers, but what it pushes into a socket that still has a backlog may
//! leave in the same round of its loop, before the sync. A backlog shows here: a read fills its buffer, or ends in the
//! middle of a reply. From then on pushes are held, and a PING is sent. Its answer comes on this connection behind
//! everything pushed before it, and a connection that is read from is never written to in the same round when every
//! answer waits for the sync: so what stands before the answer is durable. When less than one buffer came between PING and
//! answer there is no backlog any more, and pushes pass at once again.

use std::{io, sync::Arc, time::Duration};

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
    /// `Some` while they are held.
    since_ping: Option<usize>,
    pushes: Vec<Bytes>,
    bytes: usize,
}

/// What is to be done after a read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Go on reading.
    Read,
    /// Send a PING, then read.
    Ping,
    /// Too much is held.
    GiveUp,
}

impl Held {
    /// A read brought `bytes`; `full`: it filled its buffer, or ended within a reply. `replies` are those that it ended.
    /// What may be passed on goes to `ready`.
    pub(super) fn read(
        &mut self,
        bytes: usize,
        full: bool,
        replies: impl Iterator<Item = Reply>,
        ready: &mut Vec<Bytes>,
    ) -> Next {
        let mut ping = self.since_ping.is_none() && full;
        if ping {
            self.since_ping = Some(0);
        } else if let Some(since) = &mut self.since_ping {
            *since += bytes;
        }
        for reply in replies {
            let Reply::Array(mut parts) = reply else { continue };
            match parts.first().map(|name| &name[..]) {
                Some(b"message") if parts.len() == 3 => {
                    let Some(push) = parts.pop() else { continue };
                    if self.since_ping.is_some() {
                        self.bytes += push.len();
                        self.pushes.push(push);
                    } else {
                        ready.push(push);
                    }
                }
                Some(b"pong") => {
                    ready.append(&mut self.pushes);
                    self.bytes = 0;
                    let quiet = self.since_ping.is_none_or(|since| since < READ_BYTES);
                    self.since_ping = (!quiet || full).then_some(0);
                    ping = self.since_ping.is_some();
                }
                _ => {}
            }
        }
        match ping {
            _ if self.bytes > HELD_BYTES_MAX => Next::GiveUp,
            true => Next::Ping,
            false => Next::Read,
        }
    }
}

/// One subscribed connection.
#[derive(Debug)]
pub(super) struct Subscription {
    stream: TcpStream,
    buffer: BytesMut,
    held: Held,
    /// A PING that is to be sent, or the rest of it.
    unsent: &'static [u8],
    /// Which start of the server it is to.
    pub(super) run: Arc<str>,
}

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

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
        Ok(Self { stream, buffer, held: Held::default(), unsent: b"", run })
    }

    /// Waits for bytes; the pushes that may be passed on, perhaps none. Cancel safety: nothing is lost. Errors: the
    /// connection is of no use any more, and what is held with it.
    pub(super) async fn pushes(&mut self) -> io::Result<Vec<Bytes>> {
        while !self.unsent.is_empty() {
            let sent = self.stream.write(self.unsent).await?;
            self.unsent = &self.unsent[sent..];
        }
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
        match self.held.read(bytes, full, replies.into_iter(), &mut ready) {
            Next::Read => {}
            Next::Ping => self.unsent = PING,
            Next::GiveUp => return Err(io::Error::other("too many pushes are held")),
        }
        Ok(ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(text: &'static str) -> Reply {
        let parts = ["message", "c", text].map(|part| Bytes::from_static(part.as_bytes()));
        Reply::Array(parts.to_vec())
    }

    fn pong() -> Reply {
        Reply::Array(vec![Bytes::from_static(b"pong"), Bytes::new()])
    }

    struct Reader(Held);

    impl Reader {
        fn read(&mut self, bytes: usize, full: bool, replies: Vec<Reply>) -> (Next, Vec<String>) {
            let mut ready = Vec::new();
            let next = self.0.read(bytes, full, replies.into_iter(), &mut ready);
            let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
            (next, ready.iter().map(text).collect())
        }
    }

    #[test]
    fn pushes_pass_at_once_while_there_is_no_backlog() {
        let mut reader = Reader(Held::default());
        let seen = reader.read(100, false, vec![push("1"), push("2")]);
        assert_eq!(seen, (Next::Read, vec!["1".into(), "2".into()]));
    }

    #[test]
    fn from_a_full_read_on_pushes_wait_for_a_ping_that_was_sent_after_them() {
        let mut reader = Reader(Held::default());
        let none = Vec::<String>::new();
        assert_eq!(reader.read(READ_BYTES, true, vec![push("1")]), (Next::Ping, none.clone()));
        assert_eq!(reader.read(100, false, vec![push("2")]), (Next::Read, none.clone()));
        let (next, ready) = reader.read(50, false, vec![push("3"), pong(), push("4")]);
        assert_eq!(
            (next, ready),
            (Next::Read, vec!["1".into(), "2".into(), "3".into(), "4".into()])
        );
        assert_eq!(reader.read(50, false, vec![push("5")]), (Next::Read, vec!["5".into()]));
    }

    #[test]
    fn while_much_comes_each_answer_lets_go_of_what_stood_before_it() {
        let mut reader = Reader(Held::default());
        reader.read(READ_BYTES, true, vec![push("1")]);
        let (next, ready) = reader.read(READ_BYTES, true, vec![pong(), push("2")]);
        assert_eq!((next, ready), (Next::Ping, vec!["1".into()]));
        let (next, ready) = reader.read(60, false, vec![push("3"), pong()]);
        assert_eq!((next, ready), (Next::Read, vec!["2".into(), "3".into()]));
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut reader = Reader(Held::default());
        reader.read(READ_BYTES, true, vec![]);
        let big = Bytes::from(vec![0; HELD_BYTES_MAX + 1]);
        let parts = vec![Bytes::from_static(b"message"), Bytes::new(), big];
        let (next, _) = reader.read(READ_BYTES, true, vec![Reply::Array(parts)]);
        assert_eq!(next, Next::GiveUp);
    }

    /// A server that answers a subscriber, pushes a backlog, and waits before it answers the PING.
    async fn backlogged(
        listener: tokio::net::TcpListener,
        go_on: tokio::sync::oneshot::Receiver<()>,
    ) {
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
        let mut ping = [0; PING.len()];
        stream.read_exact(&mut ping).await.unwrap();
        assert_eq!(ping, PING);
        go_on.await.unwrap();
        stream.write_all(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n").await.unwrap();
    }

    #[tokio::test]
    async fn a_backlog_is_held_until_the_server_has_answered_a_ping() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let (answer, go_on) = tokio::sync::oneshot::channel();
        let server = tokio::spawn(backlogged(listener, go_on));
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
        answer.send(()).unwrap();
        let mut seen = early;
        while seen < 40 {
            seen += subscription.pushes().await.unwrap().len();
        }
        server.await.unwrap();
    }
}
