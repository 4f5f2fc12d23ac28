//! The admin port of an api: metrics and health, on loopback.
//!
//! Owns: the answers, what readiness is made of. Never does: product work. Talks to: the parts that it was given.
//! Start reading at: [`router`].

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use api::{metrics::Metrics, serve::Doors};
use axum::{
    Router,
    extract::{RawQuery, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use process::{cluster::Needs, wait::Need};

/// A scraper, an orchestrator, a person.
pub(crate) const DOORS: Doors =
    Doors { connections_max: 64, header_within: Duration::from_secs(5) };

/// What the port tells.
#[derive(Debug, Clone)]
pub(crate) struct Board {
    pub(crate) metrics: Metrics,
    pub(crate) links: Needs,
    /// Requests are answered.
    pub(crate) store: Need,
    /// What the log held at the start is in the store.
    pub(crate) caught_up: Need,
    pub(crate) ending: Arc<AtomicBool>,
}

impl Board {
    pub(crate) fn new() -> Self {
        Self {
            metrics: Metrics::default(),
            links: Needs::default(),
            store: Need::new("store"),
            caught_up: Need::new("caught up"),
            ending: Arc::default(),
        }
    }
}

/// All routes.
pub(crate) fn router(board: Board) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(board)
}

async fn metrics(State(board): State<Board>) -> Response {
    let mut response = board.metrics.render().into_response();
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

async fn ready(State(board): State<Board>, RawQuery(query): RawQuery) -> (StatusCode, String) {
    let Needs { log, durability, live } = &board.links;
    let needed = [&board.store, log, durability, &board.caught_up];
    // Without live state logging out waits and presence is old; everything else goes on.
    let mut good = !board.ending.load(Relaxed);
    let mut text = String::new();
    let verbose = query.as_deref() == Some("verbose");
    for (need, is_needed) in needed.into_iter().map(|need| (need, true)).chain([(live, false)]) {
        good &= need.is_there() || !is_needed;
        let mark = match (need.is_there(), is_needed) {
            (true, _) => '+',
            (false, true) => '-',
            (false, false) => '~',
        };
        if verbose {
            let _ = writeln!(text, "[{mark}] {}", need.name());
        }
    }
    text.push_str(if good { "ok\n" } else { "not ready\n" });
    (if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
}
