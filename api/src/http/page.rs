//! The built page: files of frontend/dist inside the binary.
//!
//! Owns: which file answers which path, caching, the security headers of pages. Never does: anything under `/api`.
//! Talks to: rust-embed. Start reading at: [`serve`].

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use rust_embed::RustEmbed;

use super::problem::Problem;
use crate::app::AppError;

/// In a development build the files are read from the folder at each request.
#[derive(RustEmbed)]
#[folder = "../frontend/dist"]
#[allow_missing = true]
struct Dist;

/// What `/` says when the page was not built into this binary.
const NO_PAGE: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>WebChat</title>\
<h1>WebChat</h1><p>The page is not built into this server: run <code>./run</code>, \
or <code>npm run build</code> in <code>frontend/</code>. The api is at <a href=\"/api/docs\">/api/docs</a>.";

/// Answers a GET outside the api: a file, or the index for every path that names no file (the page routes by itself).
pub(super) async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    if path == "api" || path.starts_with("api/") || path == "ws" {
        return Problem::from(AppError::NotFound("path")).into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        return Problem::method_not_allowed().into_response();
    }
    let found = if path.is_empty() { None } else { Dist::get(path) };
    let names_a_file = path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    match found {
        Some(file) => file_response(path, file, &headers),
        None if names_a_file => Problem::from(AppError::NotFound("file")).into_response(),
        None => match Dist::get("index.html") {
            Some(index) => file_response("index.html", index, &headers),
            None => html(NO_PAGE.into()),
        },
    }
}

fn file_response(path: &str, file: rust_embed::EmbeddedFile, request: &HeaderMap) -> Response {
    let hash = file.metadata.sha256_hash();
    let tag =
        format!("\"{:032x}\"", hash.iter().take(16).fold(0u128, |n, b| n << 8 | u128::from(*b)));
    // Vite puts a hash of the content into every name under assets/: such a file never changes.
    let caching = if path.starts_with("assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let known = request.get(header::IF_NONE_MATCH).is_some_and(|value| value == tag.as_str());
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Body::from(file.data).into_response()
    };
    let headers = response.headers_mut();
    let mime = file.metadata.mimetype();
    let charset = if mime.starts_with("text/") { "; charset=utf-8" } else { "" };
    let kind = HeaderValue::from_str(&format!("{mime}{charset}"));
    let kind = kind.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// A page of text.
pub(super) fn html(text: Body) -> Response {
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// The policy of every answer: our own files only, no frames, and the socket on the same host. Older Safari does not
/// count `ws:` as `'self'`, so the host is named; one with other characters than a host has is left out.
pub(super) fn content_security_policy(host: Option<&str>) -> String {
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    let socket = match host {
        Some(host) if !host.is_empty() && host.chars().all(is_host) => {
            format!(" ws://{host} wss://{host}")
        }
        _ => String::new(),
    };
    format!(
        "default-src 'self'; connect-src 'self'{socket}; img-src 'self' data: blob:; media-src 'self' blob:; \
         object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_only_a_real_host() {
        let policy = content_security_policy(Some("chat.example:8080"));
        assert!(
            policy.contains("connect-src 'self' ws://chat.example:8080 wss://chat.example:8080;")
        );
        for bad in [None, Some(""), Some("a; script-src *"), Some("a b")] {
            assert!(content_security_policy(bad).contains("connect-src 'self';"), "{bad:?}");
        }
    }
}
