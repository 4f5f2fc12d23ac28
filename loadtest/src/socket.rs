//! One WebSocket of ours: TCP from a chosen source address, the upgrade, frames in and out.
//!
//! Owns: the handshake and the two byte buffers. Never does: know what a frame says.
//! Talks to: the broker. Start reading at: [`Socket::open`], then [`Socket::next`].

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::frame::{Decoder, Incoming, encode, opcode};

/// The example of RFC 6455 §1.3: key and the only right answer, so that no SHA-1 is needed here.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Bytes asked of the kernel in one read.
const READ_BYTES: usize = 4 * 1024;
/// Bytes of an answer to the upgrade.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// For the whole of the connect and the upgrade.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);

/// Why there is no socket.
#[derive(Debug)]
pub enum OpenError {
    /// The server answered the upgrade with another status.
    Refused {
        /// HTTP status.
        status: u16,
        /// `Retry-After` in seconds.
        retry_after: Option<u64>,
    },
    /// No connection, or no answer.
    Io(io::Error),
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused { status, .. } => write!(f, "upgrade refused with http {status}"),
            Self::Io(error) => write!(f, "cannot open a socket: {error}"),
        }
    }
}
impl std::error::Error for OpenError {}
impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Connections from one source address. Far below its 28k ephemeral ports: closed ones keep theirs for a minute, and the
/// kernel's search for a free port gets slow long before there is none (8,000 connects: 1.8 s, then 8.8 s, then 27.5 s).
const PER_SOURCE: usize = 4_000;

/// A source address for the next connection of this process: 127.0.0.2 and up, [`PER_SOURCE`] each, then from the start.
pub fn next_source_ip() -> IpAddr {
    static OPENED: AtomicUsize = AtomicUsize::new(0);
    // A counter: nothing is ordered by it.
    let block = OPENED.fetch_add(1, Ordering::Relaxed) / PER_SOURCE % (250 * 250);
    let [a, b] = [block / 250, 2 + block % 250].map(|part| part as u8);
    IpAddr::V4(Ipv4Addr::new(127, 0, a, b))
}

/// A TCP connection from `source` (any address if `None`), without Nagle.
pub async fn connect_tcp(target: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(target).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// What the upgrade says beside the token.
#[derive(Debug, Clone, Default)]
pub struct Upgrade {
    /// `Authorization: Bearer`.
    pub bearer: Option<String>,
    /// `Cookie`.
    pub cookie: Option<String>,
    /// `Origin`.
    pub origin: Option<String>,
    /// `Sec-WebSocket-Protocol`; `None` leaves it out.
    pub protocol: Option<String>,
}

impl Upgrade {
    /// The usual one: a bearer token and `webchat.v1`.
    pub fn bearer(token: &str) -> Self {
        Self {
            bearer: Some(token.to_owned()),
            protocol: Some(protocol::SUBPROTOCOL.to_owned()),
            ..Self::default()
        }
    }

    /// The request as bytes.
    pub fn request(&self, host: SocketAddr) -> String {
        let mut head = format!(
            "GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
        );
        let mut header = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        };
        let bearer = self.bearer.as_ref().map(|token| format!("Bearer {token}"));
        header("Authorization", bearer.as_deref());
        header("Cookie", self.cookie.as_deref());
        header("Origin", self.origin.as_deref());
        header("Sec-WebSocket-Protocol", self.protocol.as_deref());
        head.push_str("\r\n");
        head
    }
}

/// One open WebSocket.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    decoder: Decoder,
    out: Vec<u8>,
    mask: u32,
    /// Bytes read so far, for figures of bandwidth.
    pub bytes_in: u64,
}

impl Socket {
    /// Connects and upgrades. Errors: [`OpenError`].
    pub async fn open(
        target: SocketAddr,
        source: Option<IpAddr>,
        upgrade: &Upgrade,
    ) -> Result<Self, OpenError> {
        let opening = async {
            let mut stream = connect_tcp(target, source).await?;
            stream.write_all(upgrade.request(target).as_bytes()).await?;
            let mut decoder = Decoder::default();
            read_head(&mut stream, &mut decoder).await?;
            Ok(Self { stream, decoder, out: Vec::new(), mask: 0x9e37_79b9, bytes_in: 0 })
        };
        let late = || OpenError::Io(io::Error::new(io::ErrorKind::TimedOut, "upgrade"));
        timeout(OPEN_TIMEOUT, opening).await.map_err(|_| late())?
    }

    fn next_mask(&mut self) -> [u8; 4] {
        // xorshift32: masks need to differ, not to be secret, from a test client on loopback.
        self.mask ^= self.mask << 13;
        self.mask ^= self.mask >> 17;
        self.mask ^= self.mask << 5;
        self.mask.to_ne_bytes()
    }

    /// Queues one text message; [`Socket::next`] and [`Socket::flush`] write it.
    pub fn queue(&mut self, text: &[u8]) {
        let mask = self.next_mask();
        encode(&mut self.out, opcode::TEXT, text, mask);
    }

    /// Queues bytes as they are: hostile input.
    pub fn queue_raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Queues a close frame.
    pub fn queue_close(&mut self, code: u16) {
        let mask = self.next_mask();
        encode(&mut self.out, opcode::CLOSE, &code.to_be_bytes(), mask);
    }

    /// Bytes that wait for the kernel.
    pub fn queued(&self) -> usize {
        self.out.len()
    }

    fn write_some(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            match self.stream.try_write(&self.out) {
                Ok(n) => drop(self.out.drain(..n)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Writes what is queued, until the kernel has taken all of it. Cancel safety: nothing is lost or doubled.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.write_some()?;
        while !self.out.is_empty() {
            self.stream.writable().await?;
            self.write_some()?;
        }
        Ok(())
    }

    /// A message that is here already, without waiting.
    pub fn ready(&mut self) -> io::Result<Option<Incoming>> {
        let next = self.decoder.decode();
        let next = next.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        if let Some(Incoming::Ping(payload)) = &next {
            let mask = self.next_mask();
            encode(&mut self.out, opcode::PONG, payload, mask);
        }
        Ok(next)
    }

    /// The next message; writes what is queued meanwhile, and answers pings. Cancel safety: nothing is lost.
    /// Errors: the end of the stream is `UnexpectedEof`.
    pub async fn next(&mut self) -> io::Result<Incoming> {
        loop {
            if let Some(incoming) = self.ready()? {
                return Ok(incoming);
            }
            self.write_some()?;
            let mut interest = Interest::READABLE;
            if !self.out.is_empty() {
                interest |= Interest::WRITABLE;
            }
            let ready = self.stream.ready(interest).await?;
            if ready.is_readable() {
                self.read_some()?;
            }
        }
    }

    fn read_some(&mut self) -> io::Result<()> {
        self.decoder.buffer.reserve(READ_BYTES);
        match self.stream.try_read_buf(&mut self.decoder.buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                self.bytes_in += n as u64;
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// The next text message, skipping control frames. Errors: also a close, as `ConnectionAborted` with its code.
    pub async fn next_text(&mut self) -> io::Result<Bytes> {
        loop {
            match self.next().await? {
                Incoming::Text(text) => return Ok(text),
                Incoming::Close(code, reason) => {
                    let text = format!("closed with {code:?} {reason}");
                    return Err(io::Error::new(io::ErrorKind::ConnectionAborted, text));
                }
                Incoming::Ping(_) | Incoming::Pong => {}
            }
        }
    }
}

async fn read_head(stream: &mut TcpStream, decoder: &mut Decoder) -> Result<(), OpenError> {
    let bad = |text| OpenError::Io(io::Error::new(io::ErrorKind::InvalidData, text));
    let end = loop {
        if let Some(at) = decoder.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        if decoder.buffer.len() > HEAD_BYTES_MAX {
            return Err(bad("answer to the upgrade is too long"));
        }
        if stream.read_buf(&mut decoder.buffer).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    };
    let head = decoder.buffer.split_to(end);
    let head = std::str::from_utf8(&head).map_err(|_| bad("answer to the upgrade is not text"))?;
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    };
    if status != 101 {
        let retry_after = header("retry-after").and_then(|v| v.parse().ok());
        return Err(OpenError::Refused { status, retry_after });
    }
    if header("sec-websocket-accept") != Some(ACCEPT) {
        return Err(bad("wrong Sec-WebSocket-Accept"));
    }
    if header("sec-websocket-protocol") != Some(protocol::SUBPROTOCOL) {
        return Err(bad("wrong Sec-WebSocket-Protocol"));
    }
    if header("sec-websocket-extensions").is_some() {
        return Err(bad("an extension that nobody asked for"));
    }
    Ok(())
}
