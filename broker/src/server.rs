//! The public port: http until the upgrade, then a bare socket for a shard. All other paths are the composer's.
//!
//! Owns: accepting, header time-outs, the answer to `/ws`. Never does: frames. Talks to: hyper, `handshake`, `admission`.
//! Start reading at: [`Server::accept`], then [`Server::upgrade`].

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use backplane::{BoxFuture, Live};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{self, HeaderValue},
    server::conn::http1,
    service::service_fn,
    upgrade::{OnUpgrade, Parts},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use protocol::{SUBPROTOCOL, limits};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    Seams,
    admission::{Admission, Seat},
    handshake::{self, Refusal, Rules},
    mail::Arrival,
    node::{Node, State},
    runtime::Shards,
    shard::Principal,
};

/// Bytes of a request's header.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Unacknowledged bytes mean a dead peer after this.
const USER_TIMEOUT: Duration = Duration::from_secs(20);
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Pause after a failed accept: out of files is not over at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Time for the question whether a session is revoked.
const REVOKED_WITHIN: Duration = Duration::from_secs(2);

/// Time for newer keys, when a token names one that is not known here.
const KEYS_WITHIN: Duration = Duration::from_secs(2);

/// Any error of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A response's body.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;
/// Serves every path but `/ws`. Given the client's address (behind a trusted proxy: the one that it names).
pub type FallbackService =
    Arc<dyn Fn(Request<Incoming>, SocketAddr) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// What answers on the public port.
pub(crate) struct Server {
    node: Arc<Node>,
    rules: Rules,
    live: Arc<dyn Live>,
    admission: Arc<Admission>,
    shards: Arc<Shards>,
    fallback: Option<FallbackService>,
}

/// Puts a body into the form of [`Body`].
pub fn body(bytes: impl Into<Bytes>) -> Body {
    http_body_util::Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

impl Server {
    pub(crate) fn new(
        node: &Arc<Node>,
        seams: &Seams,
        admission: &Arc<Admission>,
        shards: &Arc<Shards>,
        fallback: Option<FallbackService>,
    ) -> Self {
        let rules = Rules {
            origins: node.config.origins.clone(),
            secure: node.config.secure,
            verifier: seams.verifier.clone(),
        };
        Self {
            node: Arc::clone(node),
            rules,
            live: Arc::clone(&seams.live),
            admission: Arc::clone(admission),
            shards: Arc::clone(shards),
            fallback,
        }
    }

    /// Accepts until the drain begins, then serves what is open until it is dropped.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut visitors = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = self.node.drain_asked() => break,
                Some(_) = visitors.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, remote)) => self.receive(stream, remote, &mut visitors),
                    Err(error) => {
                        self.node.metrics.accept_errors.add(1);
                        tracing::warn!(%error, "accept failed");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        while visitors.join_next().await.is_some() {}
        // The owner drops this when the drain is over.
        std::future::pending().await
    }

    fn receive(
        self: &Arc<Self>,
        stream: TcpStream,
        remote: SocketAddr,
        visitors: &mut JoinSet<()>,
    ) {
        // A proxy is many clients: it has the node's limit only.
        let proxy =
            self.node.config.trusted_proxies.iter().any(|proxy| proxy.contains(remote.ip()));
        let visit = (!proxy).then(|| self.admission.visit(remote.ip()));
        if matches!(visit, Some(None)) || tune(&stream).is_err() {
            // No answer: a flood does not get work for free.
            return self.node.metrics.refused(Refusal::RateLimit);
        }
        let server = Arc::clone(self);
        visitors.spawn(async move {
            let _visit = visit;
            let service = service_fn(move |request| {
                let server = Arc::clone(&server);
                async move { Ok::<_, Infallible>(server.answer(request, remote).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_millis(limits::HEADER_TIMEOUT_MS))
                .max_buf_size(HEADER_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            // Whatever ends it is the client's doing.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "http connection ended");
            }
        });
    }

    async fn answer(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
        remote: SocketAddr,
    ) -> Response<Body> {
        let remote = SocketAddr::new(self.client(&request, remote.ip()), remote.port());
        if request.uri().path() != "/ws" {
            return match &self.fallback {
                Some(fallback) => fallback(request, remote).await,
                None => status(StatusCode::NOT_FOUND),
            };
        }
        match self.upgrade(&mut request, remote.ip()).await {
            Ok(response) => response,
            Err(refusal) => {
                self.node.metrics.refused(refusal);
                refusal.response().map(|full| full.map_err(|never| match never {}).boxed_unsync())
            }
        }
    }

    /// The last address in `X-Forwarded-For` that is no proxy of ours: what stands before it anybody can write.
    fn client(&self, request: &Request<Incoming>, remote: IpAddr) -> IpAddr {
        let proxies = &self.node.config.trusted_proxies;
        let lines = request.headers().get_all("x-forwarded-for").iter().rev();
        let texts = lines.filter_map(|line| line.to_str().ok());
        let mut named = texts.flat_map(|line| line.rsplit(',')).map(|part| part.trim().parse());
        let mut client = remote;
        while proxies.iter().any(|proxy| proxy.contains(client))
            && let Some(Ok(before)) = named.next()
        {
            client = before;
        }
        client
    }

    /// Checks in the order of PROTOCOL.md §2: form, room, token, origin, revocation, limits.
    async fn upgrade(
        self: &Arc<Self>,
        request: &mut Request<Incoming>,
        ip: IpAddr,
    ) -> Result<Response<Body>, Refusal> {
        let now = self.node.now();
        let mut checked = handshake::check(request, &self.rules, now.wall_ms / 1_000);
        if matches!(checked, Err(Refusal::Auth)) && handshake::lacks_key(request, &self.rules) {
            // Signed by a key that was made after this node last asked for them. No answer: it stays refused.
            let _ = timeout(KEYS_WITHIN, self.rules.verifier.refresh()).await;
            checked = handshake::check(request, &self.rules, now.wall_ms / 1_000);
        }
        if let Err(Refusal::BadRequest) = checked {
            return Err(Refusal::BadRequest);
        }
        if self.node.state() != State::Ready {
            return Err(Refusal::Draining);
        }
        let accepted = checked?;
        let claims = &accepted.claims;
        let principal = Principal {
            user: claims.sub,
            session: claims.sid,
            expires_at_ms: claims.exp.saturating_mul(1_000),
            issued_at_ms: claims.iat.saturating_mul(1_000),
            trusted: self.admission.trusts(ip),
        };
        let question =
            self.live.is_revoked(principal.user, principal.session, principal.issued_at_ms);
        match timeout(REVOKED_WITHIN, question).await {
            Ok(Ok(false)) => {}
            Ok(Ok(true)) => return Err(Refusal::Auth),
            // Whether it is revoked cannot be known now: come again.
            Ok(Err(_)) | Err(_) => return Err(Refusal::Limit),
        }
        let seat = self.admission.admit(ip, principal.user)?;
        let upgrade = hyper::upgrade::on(request);
        // Ends by itself: with the response, or with the connection that it was for.
        tokio::spawn(hand_over(upgrade, Arc::clone(&self.shards), principal, seat));
        self.node.metrics.handshakes_ok.add(1);
        Ok(switching(&accepted.accept_key))
    }
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(body(Bytes::new()));
    *response.status_mut() = status;
    response
}

fn switching(accept_key: &str) -> Response<Body> {
    let mut response = status(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    if let Ok(key) = HeaderValue::from_str(accept_key) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, key);
    }
    response
}

/// Takes the bare socket from hyper and gives it to a shard.
async fn hand_over(upgrade: OnUpgrade, shards: Arc<Shards>, principal: Principal, seat: Seat) {
    let Ok(upgraded) = upgrade.await else { return };
    let Ok(Parts { io, read_buf, .. }) = upgraded.downcast::<TokioIo<TcpStream>>() else { return };
    match io.into_inner().into_std() {
        Ok(stream) => shards.place(Arrival { stream, leftover: read_buf, principal, seat }),
        Err(error) => tracing::warn!(%error, "an upgraded socket was lost"),
    }
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))
}
