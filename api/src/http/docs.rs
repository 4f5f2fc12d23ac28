//! `/api/openapi.json` and `/api/docs`: the contract for programs and for people.
//!
//! Owns: the document's preamble, and a page made from it once, without scripts. Never does: load anything from elsewhere.
//! Talks to: utoipa. Start reading at: [`Documents::new`].

use std::{fmt::Write, sync::Arc};

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};

use super::page::html;

const ABOUT: &str = "Accounts, people, conversations and history of WebChat; live events come over the socket \
(PROTOCOL.md). Ids are lower-case hexadecimal text, times Unix milliseconds. Log in for cookies, or send the \
`socket_token` as `Authorization: Bearer`. With cookies every change needs the header `X-WebChat: 1`. \
Refusals are `application/problem+json` with a stable `code`.";

/// Title and description.
pub(super) fn preamble() -> OpenApi {
    let info = InfoBuilder::new()
        .title("WebChat")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT));
    OpenApiBuilder::new().info(info.build()).build()
}

/// Both forms, made once.
#[derive(Debug, Clone)]
pub(super) struct Documents {
    json: Arc<str>,
    page: Arc<str>,
}

impl Documents {
    pub(super) fn new(document: &OpenApi) -> Self {
        let value = serde_json::to_value(document).unwrap_or_default();
        Self { json: value.to_string().into(), page: render(&value).into() }
    }
}

/// The OpenAPI document.
pub(super) async fn openapi_json(State(documents): State<Documents>) -> Response {
    let mut response = documents.json.to_string().into_response();
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// The page.
pub(super) async fn page(State(documents): State<Documents>) -> Response {
    let mut response = html(documents.page.to_string().into());
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    let policy = HeaderValue::from_static(policy);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
color-scheme:light dark}h2{margin-top:2.5rem;text-transform:capitalize}summary{cursor:pointer;padding:.25rem 0}\
code{font-family:ui-monospace,monospace}.m{display:inline-block;width:4.5rem;font-weight:600}\
pre{overflow:auto;padding:.75rem;border:1px solid #8884;border-radius:.5rem}p{margin:.25rem 0}";

/// One section per tag, one entry per operation, one per schema.
fn render(document: &Value) -> String {
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>WebChat api</title>\
         <style>{STYLE}</style><h1>WebChat api</h1><p>{}</p>\
         <p>For programs: <a href=\"/api/openapi.json\">openapi.json</a> (OpenAPI 3.1).</p>",
        escape(ABOUT)
    );
    let mut tag = String::new();
    let mut operations: Vec<(String, String, &String, &Value)> = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            let tag = operation["tags"][0].as_str().unwrap_or("other").to_owned();
            operations.push((tag, method.to_uppercase(), path, operation));
        }
    }
    operations.sort_by(|a, b| (&a.0, a.2, &a.1).cmp(&(&b.0, b.2, &b.1)));
    for (group, method, path, operation) in operations {
        if group != tag {
            let _ = write!(out, "<h2>{}</h2>", escape(&group));
            tag = group;
        }
        let summary = operation["summary"].as_str().unwrap_or("");
        let _ = write!(
            out,
            "<details><summary><span class=\"m\">{method}</span> <code>{}</code></summary><p>{}</p><pre>{}</pre></details>",
            escape(path),
            escape(summary),
            escape(&details(operation))
        );
    }
    out.push_str("<h2>types</h2>");
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        let schema = serde_json::to_string_pretty(schema).unwrap_or_default();
        let (name, schema) = (escape(name), escape(&schema));
        let _ = write!(
            out,
            "<details id=\"{name}\"><summary><code>{name}</code></summary><pre>{schema}</pre></details>"
        );
    }
    out
}

/// Parameters, body and answers of an operation, without what the summary says already.
fn details(operation: &Value) -> String {
    let mut shown = operation.clone();
    if let Some(object) = shown.as_object_mut() {
        for known in ["tags", "summary", "operationId"] {
            object.remove(known);
        }
    }
    serde_json::to_string_pretty(&shown).unwrap_or_default()
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_every_operation_and_escapes_text() {
        let document = serde_json::json!({"paths": {"/api/<x>": {"get": {"tags": ["a"], "summary": "x & y"}}}});
        let page = render(&document);
        assert!(page.contains("/api/&lt;x&gt;") && page.contains("x &amp; y"));
        assert!(!page.contains("<script"));
    }
}
