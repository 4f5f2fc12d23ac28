//! Refusals on the wire: `application/problem+json` (RFC 9457) with a stable `code`.
//!
//! Owns: [`Problem`], the table from [`AppError`] to status and code. Never does: tell internals, or repeat a client's text.
//! Talks to: axum. Start reading at: [`Problem::from`].

use std::collections::BTreeMap;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::AppError;

/// A refusal. `code` is for programs, `title` and `detail` for people.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the code says more.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// HTTP status.
    status: u16,
    /// One of: `invalid_fields`, `bad_request`, `bad_credentials`, `unauthorized`, `csrf`, `forbidden`,
    /// `registration_closed`, `disabled`, `not_found`, `conflict`, `username_taken`, `too_large`, `rate_limited`,
    /// `unavailable`, `unknown`, `internal`.
    code: &'static str,
    /// What is wrong.
    detail: String,
    /// `invalid_fields`, `username_taken`: field → what is wrong with it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<&'static str, &'static str>,
    /// Do not try again earlier.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: String) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("error"),
            status: status.as_u16(),
            code,
            detail,
            fields: BTreeMap::new(),
            retry_after_ms: None,
        }
    }

    /// A state-changing request that another site could have caused.
    pub(crate) fn csrf(detail: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "csrf", detail.to_owned())
    }

    /// A known path with a wrong method.
    pub(crate) fn method_not_allowed() -> Self {
        let detail = "this method is not allowed here".to_owned();
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "bad_request", detail)
    }
}

impl From<AppError> for Problem {
    fn from(error: AppError) -> Self {
        let (status, code) = match &error {
            AppError::InvalidFields(_) => (StatusCode::BAD_REQUEST, "invalid_fields"),
            AppError::BadRequest(_) => (StatusCode::BAD_REQUEST, "bad_request"),
            AppError::BadCredentials => (StatusCode::UNAUTHORIZED, "bad_credentials"),
            AppError::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            AppError::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden"),
            AppError::RegistrationClosed => (StatusCode::FORBIDDEN, "registration_closed"),
            AppError::Disabled => (StatusCode::FORBIDDEN, "disabled"),
            AppError::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            AppError::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
            AppError::UsernameTaken => (StatusCode::CONFLICT, "username_taken"),
            AppError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            AppError::RateLimited { .. } => (StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
            AppError::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            AppError::Unknown => (StatusCode::GATEWAY_TIMEOUT, "unknown"),
            AppError::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        let mut problem = Self::new(status, code, error.to_string());
        match error {
            AppError::InvalidFields(fields) => problem.fields.extend(fields),
            AppError::UsernameTaken => {
                problem.fields.insert("username", "taken");
            }
            AppError::RateLimited { retry_after_ms } | AppError::Unavailable { retry_after_ms } => {
                problem.retry_after_ms = Some(retry_after_ms);
            }
            AppError::Internal(why) => tracing::error!(why, "internal error"),
            _ => {}
        }
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if let Some(ms) = self.retry_after_ms {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000).max(1)));
        }
        response
    }
}
