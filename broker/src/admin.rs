//! The admin port: metrics, health, shards, drain. For loopback only; the composer may add its own metrics and checks.
//!
//! Owns: the answers. Never does: product work. Talks to: [`Node`]. Start reading at: [`handle`].

use std::{convert::Infallible, fmt::Write as _, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, body::Bytes, header, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet, time::sleep};

use crate::node::{Check, Node, State};

/// Connections at a time: a scraper, an orchestrator, a person.
const CONNECTIONS_MAX: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a composer adds to the pages.
#[derive(Clone)]
pub struct Extras {
    /// Appended to `/metrics`, in the same text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Further conditions of readiness.
    pub checks: Arc<dyn Fn() -> Vec<Check> + Send + Sync>,
}

impl std::fmt::Debug for Extras {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Extras")
    }
}

impl Default for Extras {
    fn default() -> Self {
        Self { metrics: Arc::new(String::new), checks: Arc::new(Vec::new) }
    }
}

fn answer(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

fn plain(status: StatusCode, text: impl Into<String>) -> Response<Full<Bytes>> {
    answer(status, "text/plain; charset=utf-8", text.into())
}

/// Answers one request.
pub fn handle<B>(node: &Node, extras: &Extras, request: &Request<B>) -> Response<Full<Bytes>> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => {
            let mut page = node.metrics.render();
            page.push_str(&(extras.metrics)());
            answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", page)
        }
        (&Method::GET, "/livez") if node.is_live() => plain(StatusCode::OK, "ok\n"),
        (&Method::GET, "/livez") => plain(StatusCode::SERVICE_UNAVAILABLE, "a shard is stuck\n"),
        (&Method::GET, "/readyz") => {
            let mut checks = node.checks();
            checks.extend((extras.checks)());
            ready(&checks, request.uri().query() == Some("verbose"))
        }
        (&Method::GET, "/startupz") if node.state() != State::Starting => {
            plain(StatusCode::OK, "ok\n")
        }
        (&Method::GET, "/startupz") => plain(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        (&Method::GET, "/debug/shards") => shards(node),
        (&Method::POST, "/admin/drain") => drain(node, request),
        _ => plain(StatusCode::NOT_FOUND, "not found\n"),
    }
}

fn ready(checks: &[Check], verbose: bool) -> Response<Full<Bytes>> {
    let good = checks.iter().all(|check| check.good || !check.needed);
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut text = String::new();
    if verbose {
        for Check { name, good, needed } in checks {
            let mark = match (good, needed) {
                (true, _) => '+',
                (false, true) => '-',
                (false, false) => '~',
            };
            let _ = writeln!(text, "[{mark}] {name}");
        }
    }
    text.push_str(if good { "ok\n" } else { "not ready\n" });
    plain(status, text)
}

fn shards(node: &Node) -> Response<Full<Bytes>> {
    let rows = node.metrics.shards.iter().enumerate().map(|(number, shard)| {
        json!({
            "shard": number,
            "connections": shard.connections.get(),
            "users": shard.users.get(),
            "groups": shard.groups.get(),
            "outbox_bytes": shard.outbox_bytes.get(),
            "busy_us": shard.busy_us.get(),
            "ring_lost": shard.ring_lost.get(),
            "mailbox_full": shard.mailbox_full.get(),
            "shed": shard.shed.get(),
        })
    });
    answer(StatusCode::OK, "application/json", json!(rows.collect::<Vec<_>>()).to_string())
}

/// A page in somebody's browser can reach loopback, too, but not without saying where it is from.
fn drain<B>(node: &Node, request: &Request<B>) -> Response<Full<Bytes>> {
    if request.headers().contains_key(header::ORIGIN) {
        return plain(StatusCode::FORBIDDEN, "not from a page\n");
    }
    node.drain();
    let connections: u64 = node.metrics.shards.iter().map(|s| s.connections.get()).sum();
    let text = json!({"draining": true, "connections": connections}).to_string();
    answer(StatusCode::ACCEPTED, "application/json", text)
}

/// Serves the port until it is dropped.
pub async fn serve(listener: TcpListener, node: Arc<Node>, extras: Extras) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = open.join_next() => {}
            accepted = listener.accept(), if open.len() < CONNECTIONS_MAX => {
                let Ok((stream, _)) = accepted else {
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                let (node, extras) = (Arc::clone(&node), extras.clone());
                open.spawn(async move {
                    let service = service_fn(move |request| {
                        let response = handle(&node, &extras, &request);
                        async move { Ok::<_, Infallible>(response) }
                    });
                    let connection = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(HEADER_TIMEOUT)
                        .serve_connection(TokioIo::new(stream), service);
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "admin connection ended");
                    }
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use backplane::NodeId;
    use http_body_util::BodyExt;

    use super::*;
    use crate::config::BrokerConfig;

    async fn ask(node: &Node, request: Request<()>) -> (u16, String) {
        let checks = || vec![Check::needed("store", true), Check::wanted("archive", false)];
        let extras =
            Extras { metrics: Arc::new(|| "api_up 1\n".to_owned()), checks: Arc::new(checks) };
        let response = handle(node, &extras, &request);
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.expect("full").to_bytes();
        (status, String::from_utf8_lossy(&bytes).into_owned())
    }

    fn request(method: &str, path: &str) -> Request<()> {
        Request::builder().method(method).uri(path).body(()).expect("request")
    }

    #[tokio::test]
    async fn the_pages_say_how_it_is_and_carry_what_the_composer_adds() {
        let node = Node::new(BrokerConfig { shards: 2, ..BrokerConfig::new(NodeId(1)) });
        assert_eq!(ask(&node, request("GET", "/startupz")).await.0, 503);
        assert_eq!(ask(&node, request("GET", "/readyz")).await, (503, "not ready\n".into()));
        node.enter(State::Ready);
        let (status, text) = ask(&node, request("GET", "/readyz?verbose")).await;
        assert_eq!(
            (status, text.as_str()),
            (200, "[+] accepting\n[+] log\n[+] shards\n[+] store\n[~] archive\nok\n")
        );
        let (_, page) = ask(&node, request("GET", "/metrics")).await;
        assert!(
            page.contains("broker_node_state{state=\"ready\"} 1") && page.ends_with("api_up 1\n")
        );
        // The same words as in `welcome`: a client's complaint leads to the process.
        assert!(page.contains("node=\"0000000000000001\"} 1"), "{page}");
        let (_, json) = ask(&node, request("GET", "/debug/shards")).await;
        assert_eq!(json.matches("\"connections\":0").count(), 2, "{json}");
        assert_eq!(ask(&node, request("GET", "/livez")).await.0, 200);
        assert_eq!(ask(&node, request("GET", "/")).await.0, 404);
    }

    #[tokio::test]
    async fn a_page_in_a_browser_cannot_drain_the_node() {
        let node = Node::new(BrokerConfig { shards: 1, ..BrokerConfig::new(NodeId(1)) });
        let mut evil = request("POST", "/admin/drain");
        evil.headers_mut()
            .insert("origin", header::HeaderValue::from_static("http://evil.example"));
        assert_eq!(ask(&node, evil).await.0, 403);
        assert_eq!(ask(&node, request("POST", "/admin/drain")).await.0, 202);
        tokio::time::timeout(Duration::from_secs(5), node.drain_asked()).await.expect("asked");
    }
}
