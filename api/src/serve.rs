//! Serving a router on a port of its own, bounded.
//!
//! Owns: accepting, the limit of connections, header time, the end. Never does: look into requests. Talks to: hyper.
//! Start reading at: [`serve`].

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use axum::{Router, body::Body};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tower::ServiceExt;

/// Bytes of a request's header.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Pause after a failed accept: out of files is not over at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Requests under way at the end have this long.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// What a port lets in.
#[derive(Debug, Clone, Copy)]
pub struct Doors {
    /// Connections at a time; further ones wait in the kernel's queue.
    pub connections_max: usize,
    /// Time for the header of a request, the first one or the next.
    pub header_within: Duration,
}

/// Serves until `end` says so, then finishes what is under way. A request carries its peer's address as an extension.
/// Dropping it ends every connection.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    doors: Doors,
    mut end: watch::Receiver<bool>,
) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = said(&mut end) => break,
            Some(_) = open.join_next() => {}
            accepted = listener.accept(), if open.len() < doors.connections_max => match accepted {
                Ok((stream, peer)) => {
                    open.spawn(answer(stream, peer, router.clone(), doors, end.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let last = async { while open.join_next().await.is_some() {} };
    let _ = timeout(LAST_ANSWERS_WITHIN, last).await;
}

/// Also when whoever could say so is gone.
async fn said(end: &mut watch::Receiver<bool>) {
    let _ = end.wait_for(|end| *end).await;
}

async fn answer(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    doors: Doors,
    mut end: watch::Receiver<bool>,
) {
    // Without it answers wait for the peer's acknowledgement; a socket that refuses it is about to fail anyway.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            let answer: Result<_, Infallible> = router.oneshot(request).await;
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(doors.header_within)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = said(&mut end) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    // Whatever ends it is the client's doing.
    if let Err(error) = ended {
        tracing::debug!(%error, "http connection ended");
    }
}
