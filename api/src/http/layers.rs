//! What surrounds every request: id, time limit, headers, counting, and a wall against panics.
//!
//! Owns: these layers. Never does: look into bodies. Talks to: tower. Start reading at: [`surround`].

use std::any::Any;

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::time::Instant;

use super::{HttpState, page, problem::Problem};
use crate::{app::AppError, config::REQUEST_TIMEOUT};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REFERRER_POLICY: HeaderName = HeaderName::from_static("referrer-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The outermost layer: what comes in place of a panic gets its headers, too.
pub(super) async fn surround(
    State(state): State<HttpState>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    // A template, never the path itself: labels must not grow with ids.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let host = request.headers().get(header::HOST).cloned();
    let id = format!("{:016x}", rand::random::<u64>());
    let mut response = match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        // A read was not answered; what became of a write nobody knows.
        Err(_) if method == Method::GET => Problem::from(AppError::unavailable()).into_response(),
        Err(_) => Problem::from(AppError::Unknown).into_response(),
    };
    let route = route.as_ref().map_or("page", MatchedPath::as_str);
    let elapsed = begun.elapsed();
    let status = response.status().as_u16();
    state.app.metrics().request(route, method_label(&method), status, elapsed.as_secs_f64());
    tracing::debug!(id, route, status, ms = elapsed.as_millis() as u64, "request");
    add_headers(&mut response, host.as_ref(), &id);
    if state.app.config().secure {
        let value = HeaderValue::from_static("max-age=31536000");
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, value);
    }
    response
}

fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

fn add_headers(response: &mut Response, host: Option<&HeaderValue>, id: &str) {
    let headers = response.headers_mut();
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (OPENER_POLICY, "same-origin"),
        (RESOURCE_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
    let policy = page::content_security_policy(host.and_then(|host| host.to_str().ok()));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(policy);
    }
    // Answers of the api belong to one user; pages have set their own rule.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// The answer in place of a handler that panicked. The panic itself is on stderr.
pub(super) fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    Problem::from(AppError::Internal("a handler panicked".to_owned())).into_response()
}
