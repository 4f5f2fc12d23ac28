//! One question to one of several apis: in turn, in time, and never more than so many at once.
//!
//! Owns: connections, the order of tries, deadlines, bounds. Never does: understand an answer. Talks to: apis, from a task on
//! the runtime that made it, so that a shard's end takes no other shard's connection along. Start reading at: [`Peers::ask`].
//!
//! Every call is a read: it may be asked twice, so a connection that broke is tried again without knowing what became of it.

use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, StatusCode,
    client::conn::http1::{SendRequest, handshake},
    header,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    runtime::Handle,
    sync::Semaphore,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{
    secret::Secret,
    wire::{ANSWER_BYTES_MAX, Refusal, Refused},
};

/// A call with all its tries: less than a shard waits (5 s).
const CALL_WITHIN: Duration = Duration::from_secs(4);
/// One try: long enough for a store that is busy, short enough for a second api to answer.
const TRY_WITHIN: Duration = Duration::from_millis(1_500);
/// How often all addresses are tried …
const ROUNDS: usize = 2;
/// … and the pause in between: an api that restarts is back after some of it.
const ROUND_PAUSE: Duration = Duration::from_millis(200);
/// Questions under way, each on a connection of its own.
const CONNECTIONS_MAX: usize = 64;
/// Questions that wait for one of them; one more is refused at once.
const QUEUE_MAX: usize = 4_096;
/// A connection that was idle for longer is not used again: the api closes it after a minute.
const IDLE_MAX: Duration = Duration::from_secs(20);

/// An api's internal address, `http://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

/// Not `http://host:port`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not of the form http://host:port")]
pub struct AddressError;

impl FromStr for Address {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let rest = text.strip_prefix("http://").ok_or(AddressError)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = rest.rsplit_once(':').ok_or(AddressError)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let named = |host: &str| {
            let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            !host.is_empty() && host.chars().all(good)
        };
        let good = match bare {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => named(host),
        };
        let port = port.parse().map_err(|_| AddressError)?;
        let host = bare.unwrap_or(host).to_owned();
        if good && port != 0 { Ok(Self { host, port }) } else { Err(AddressError) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "http://[{}]:{}", self.host, self.port),
            false => write!(f, "http://{}:{}", self.host, self.port),
        }
    }
}

/// What became of a call that has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No connection.
    #[error("{0} cannot be reached")]
    Unreachable(String),
    /// The connection broke before the answer was complete.
    #[error("{0} has hung up")]
    Broken(String),
    /// No answer in time.
    #[error("no answer in time")]
    Late,
    /// The api refused.
    #[error("{address} refused: {refusal:?}")]
    Refused {
        /// Who.
        address: String,
        /// Why.
        refusal: Refusal,
    },
    /// The answer is not one of this version.
    #[error("{0} gave an answer that cannot be read")]
    Unreadable(String),
    /// The answer is larger than any may be.
    #[error("{0} gave an answer that is too large")]
    TooLarge(String),
    /// Too many questions wait here.
    #[error("too many questions wait")]
    Full,
    /// The process ends.
    #[error("the process ends")]
    Ended,
}

impl CallError {
    /// Whether another api may answer.
    fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Broken(_) | Self::Late => true,
            Self::Refused { refusal, .. } => refusal.is_retryable(),
            Self::Unreadable(_) | Self::TooLarge(_) | Self::Full | Self::Ended => false,
        }
    }
}

/// Bounds of a [`Peers`], with defaults for the product.
#[derive(Debug, Clone)]
pub struct PeersOptions {
    /// A call with all its tries.
    pub call_within: Duration,
    /// One try.
    pub try_within: Duration,
    /// Questions under way.
    pub connections_max: usize,
    /// Questions that wait.
    pub queue_max: usize,
    /// Bytes of an answer.
    pub answer_bytes_max: usize,
}

impl Default for PeersOptions {
    fn default() -> Self {
        Self {
            call_within: CALL_WITHIN,
            try_within: TRY_WITHIN,
            connections_max: CONNECTIONS_MAX,
            queue_max: QUEUE_MAX,
            answer_bytes_max: ANSWER_BYTES_MAX,
        }
    }
}

/// One kept-alive connection; its driver ends with it.
#[derive(Debug)]
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
    used: Instant,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

#[derive(Debug)]
struct Peer {
    address: Address,
    idle: Mutex<Vec<Connection>>,
}

#[derive(Debug)]
struct Inner {
    peers: Vec<Peer>,
    authorization: header::HeaderValue,
    options: PeersOptions,
    /// The one that answered last.
    good: AtomicUsize,
    seats: Semaphore,
    places: Semaphore,
}

/// The apis of a cluster. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Peers {
    inner: Arc<Inner>,
    runtime: Handle,
}

/// Ends a task with the question that it is for.
struct Asked(JoinHandle<Result<Bytes, CallError>>);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Peers {
    /// Nothing is connected before the first question. Needs a runtime around it, which outlives it.
    pub fn new(addresses: Vec<Address>, secret: &Secret, options: PeersOptions) -> Self {
        let mut authorization = header::HeaderValue::from_str(&secret.header())
            .expect("invariant: a digest in base64 is visible ascii");
        authorization.set_sensitive(true);
        let peer = |address| Peer { address, idle: Mutex::default() };
        let inner = Inner {
            peers: addresses.into_iter().map(peer).collect(),
            authorization,
            good: AtomicUsize::new(0),
            seats: Semaphore::new(options.connections_max),
            places: Semaphore::new(options.connections_max + options.queue_max),
            options,
        };
        Self { inner: Arc::new(inner), runtime: Handle::current() }
    }

    /// One question, answered by any of them. Limits: see [`PeersOptions`]. Cancel safety: nothing is left behind.
    pub async fn ask(
        &self,
        method: Method,
        path: &'static str,
        body: Bytes,
    ) -> Result<Bytes, CallError> {
        let inner = Arc::clone(&self.inner);
        let mut asked = Asked(self.runtime.spawn(async move {
            let Ok(_place) = inner.places.try_acquire() else { return Err(CallError::Full) };
            let answer = timeout(inner.options.call_within, inner.ask(&method, path, &body)).await;
            answer.unwrap_or(Err(CallError::Late))
        }));
        (&mut asked.0).await.unwrap_or(Err(CallError::Ended))
    }
}

impl Inner {
    async fn ask(
        &self,
        method: &Method,
        path: &'static str,
        body: &Bytes,
    ) -> Result<Bytes, CallError> {
        let _seat = self.seats.acquire().await.map_err(|_| CallError::Ended)?;
        let first = self.good.load(Relaxed);
        let mut last = CallError::Late;
        for round in 0..ROUNDS {
            if round > 0 {
                sleep(ROUND_PAUSE).await;
            }
            for n in 0..self.peers.len() {
                let at = (first + n) % self.peers.len();
                let trying = self.peers[at].ask(self, method, path, body);
                let answer = timeout(self.options.try_within, trying).await;
                match answer.unwrap_or(Err(CallError::Late)) {
                    Ok(answer) => {
                        self.good.store(at, Relaxed);
                        return Ok(answer);
                    }
                    Err(error) if !error.is_retryable() => return Err(error),
                    Err(error) => last = error,
                }
            }
        }
        Err(last)
    }
}

impl Peer {
    async fn ask(
        &self,
        inner: &Inner,
        method: &Method,
        path: &'static str,
        body: &Bytes,
    ) -> Result<Bytes, CallError> {
        // A kept connection may have been closed in the moment of its use: then a fresh one.
        if let Some(kept) = self.kept() {
            match self.ask_on(kept, inner, method, path, body).await {
                Err(CallError::Broken(_)) => {}
                answer => return answer,
            }
        }
        let fresh = self.connect().await?;
        self.ask_on(fresh, inner, method, path, body).await
    }

    fn kept(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|kept| kept.used.elapsed() < IDLE_MAX && !kept.sender.is_closed());
        idle.pop()
    }

    async fn connect(&self) -> Result<Connection, CallError> {
        let unreachable = || CallError::Unreachable(self.address.to_string());
        let address = (self.address.host.as_str(), self.address.port);
        let stream = TcpStream::connect(address).await.map_err(|_| unreachable())?;
        stream.set_nodelay(true).map_err(|_| unreachable())?;
        let (sender, driver) = handshake(TokioIo::new(stream)).await.map_err(|_| unreachable())?;
        // Its end is seen at the next question, as an error of the sender.
        let driver = tokio::spawn(async move { drop(driver.await) });
        Ok(Connection { sender, driver, used: Instant::now() })
    }

    async fn ask_on(
        &self,
        mut connection: Connection,
        inner: &Inner,
        method: &Method,
        path: &'static str,
        body: &Bytes,
    ) -> Result<Bytes, CallError> {
        let name = || self.address.to_string();
        let host = name().split_off("http://".len());
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, host)
            .header(header::AUTHORIZATION, inner.authorization.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body.clone()))
            .map_err(|_| CallError::Unreachable(name()))?;
        let response = connection.sender.send_request(request).await;
        let response = response.map_err(|_| CallError::Broken(name()))?;
        let status = response.status();
        let answer = Limited::new(response.into_body(), inner.options.answer_bytes_max);
        let answer = answer.collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                CallError::TooLarge(name())
            } else {
                CallError::Broken(name())
            }
        })?;
        let answer = answer.to_bytes();
        connection.used = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // Each came with a seat: there are never more than seats.
        idle.push(connection);
        drop(idle);
        if status == StatusCode::OK {
            return Ok(answer);
        }
        match serde_json::from_slice::<Refused>(&answer) {
            Ok(Refused { outcome }) => {
                Err(CallError::Refused { address: name(), refusal: outcome })
            }
            Err(_) => Err(CallError::Unreadable(name())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_host_and_a_port_over_http() {
        for good in ["http://127.0.0.1:9700", "http://api-1.internal:80", "http://[::1]:9700"] {
            assert_eq!(good.parse::<Address>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "127.0.0.1:9700",
            "https://a:1",
            "http://a",
            "http://a:0",
            "http://a:x",
            "http://:1",
            "http://user:pass@a:1",
            "http://a:1/path",
            "http://[a]:1",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
