//! A browser, as far as the api can tell: cookies, `Origin`, the header of our own page. What must hold for every answer
//! is checked here, for all tests.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Mutex,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpSocket;

use crate::{harness::ORIGIN, logs};

/// `code` of a refusal, with its status: the table of the contract.
const CODES: [(&str, u16); 19] = [
    ("invalid_fields", 400),
    ("bad_request", 400),
    ("bad_request", 405),
    ("bad_credentials", 401),
    ("unauthorized", 401),
    ("csrf", 403),
    ("forbidden", 403),
    ("registration_closed", 403),
    ("disabled", 403),
    ("not_found", 404),
    ("conflict", 409),
    ("username_taken", 409),
    ("too_large", 413),
    ("rate_limited", 429),
    ("unavailable", 503),
    ("unknown", 504),
    ("internal", 500),
    ("too_large", 431),
    ("bad_request", 415),
];

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no json: {:?}", self.body))
    }

    /// The body of a success.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert!(self.status < 300, "{} {}", self.status, String::from_utf8_lossy(&self.body));
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// `code` of a refusal, `ok` of a success.
    pub(crate) fn code(&self) -> String {
        if self.status < 400 {
            "ok".to_owned()
        } else {
            self.json()["code"].as_str().unwrap().to_owned()
        }
    }

    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> &Self {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!((self.status, self.code().as_str()), (status, code), "{body}");
        self
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn cookies(&self) -> Vec<String> {
        let lines = self.headers.get_all(header::SET_COOKIE).iter();
        lines.map(|line| line.to_str().unwrap().to_owned()).collect()
    }

    /// What holds for every answer of this server.
    fn checked(self, of: &str) -> Self {
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(self.header(name), Some(value), "{of}");
        }
        let policy = self.header("content-security-policy").unwrap();
        assert!(
            policy.contains("frame-ancestors 'none'") && !policy.contains("script-src *"),
            "{of}"
        );
        assert!(self.headers.contains_key("cache-control"), "{of}");
        assert_eq!(self.header("x-request-id").unwrap().len(), 16, "{of}");
        let cross = self.headers.keys().find(|name| name.as_str().starts_with("access-control-"));
        assert_eq!(cross, None, "{of}: no other site reads anything");
        if self.status >= 400 {
            assert_eq!(self.header("content-type"), Some("application/problem+json"), "{of}");
            let problem = self.json();
            let code = problem["code"].as_str().unwrap();
            assert!(CODES.contains(&(code, self.status)), "{of}: {problem}");
            assert_eq!(problem["status"], self.status, "{of}");
            assert_eq!(problem["type"], "about:blank", "{of}");
            let waits = matches!(self.status, 429 | 503);
            assert_eq!(self.headers.contains_key("retry-after"), waits, "{of}: {problem}");
            assert_eq!(problem.get("retry_after_ms").is_some(), waits, "{of}: {problem}");
        }
        self
    }
}

/// A request with nothing added.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Raw {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        let (headers, body) = (Vec::new(), Vec::new());
        Self { method: method.parse().unwrap(), path: path.to_owned(), headers, body }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// As our own page sends it.
    pub(crate) fn own(self) -> Self {
        self.with("x-webchat", "1").with("origin", ORIGIN)
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.with("content-type", "application/json").body(body.to_string())
    }
}

#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    secure: bool,
    /// The address that it comes from.
    pub(crate) from: IpAddr,
    /// Name → value.
    pub(crate) jar: Mutex<BTreeMap<String, String>>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, secure: bool) -> Self {
        Self { address, secure, from: [127, 0, 0, 1].into(), jar: Mutex::default() }
    }

    /// Another browser with the same cookies.
    pub(crate) fn copy(&self) -> Self {
        let jar = Mutex::new(self.jar.lock().unwrap().clone());
        Self { address: self.address, secure: self.secure, from: self.from, jar }
    }

    pub(crate) fn coming_from(mut self, address: &str) -> Self {
        self.from = address.parse().unwrap();
        self
    }

    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        self.jar.lock().unwrap().get(name).cloned()
    }

    pub(crate) fn set_cookie(&self, name: &str, value: &str) {
        self.jar.lock().unwrap().insert(name.to_owned(), value.to_owned());
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.raw(Raw::new("GET", path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, body).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send("PATCH", path, body).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, body).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.raw(Raw::new("DELETE", path).own()).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: Value) -> Answer {
        self.raw(Raw::new(method, path).own().json(&body)).await
    }

    /// The same with an `Idempotency-Key`.
    pub(crate) async fn keyed(&self, key: &str, method: &str, path: &str, body: &Value) -> Answer {
        self.raw(Raw::new(method, path).own().with("idempotency-key", key).json(body)).await
    }

    /// Exactly this request, and the cookies that belong to its path.
    pub(crate) async fn raw(&self, raw: Raw) -> Answer {
        let of = format!("{} {}", raw.method, raw.path);
        note_secrets(&raw.body);
        let mut request = Request::builder().method(raw.method).uri(&raw.path);
        request = request.header("host", "chat.test");
        let cookies = self.cookies_for(&raw.path);
        if !cookies.is_empty() && raw.headers.iter().all(|(name, _)| name != "cookie") {
            request = request.header("cookie", cookies);
        }
        for (name, value) in &raw.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(raw.body))).unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(self.from, 0)).unwrap();
        let stream = socket.connect(self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        connection.abort();
        let answer = Answer { status: parts.status.as_u16(), headers: parts.headers, body };
        note_secrets(&answer.body);
        self.take_cookies(&answer);
        answer.checked(&of)
    }

    fn cookies_for(&self, path: &str) -> String {
        let jar = self.jar.lock().unwrap();
        let fits = |name: &str| !name.ends_with("refresh") || path.starts_with("/api/auth");
        let pairs =
            jar.iter().filter(|(name, _)| fits(name)).map(|(name, v)| format!("{name}={v}"));
        pairs.collect::<Vec<_>>().join("; ")
    }

    fn take_cookies(&self, answer: &Answer) {
        for line in answer.cookies() {
            let (pair, attributes) = line.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            logs::secret(value);
            if attributes.contains("Max-Age=0") {
                self.jar.lock().unwrap().remove(name);
            } else {
                self.set_cookie(name, value);
            }
        }
    }
}

/// Fields whose values nobody else may read.
const SECRET_FIELDS: [&str; 8] =
    ["password", "current", "new", "socket_token", "code", "text", "draft", "reason"];

fn note_secrets(body: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return };
    // A refusal's code is no secret.
    if value.get("status").is_some() {
        return;
    }
    for field in SECRET_FIELDS {
        if let Some(text) = value[field].as_str() {
            logs::secret(text);
        }
    }
}
