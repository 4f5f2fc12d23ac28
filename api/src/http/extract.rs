//! What handlers take out of a request; every refusal is a [`Problem`].
//!
//! Owns: the extractors. Never does: verify tokens (identify.rs did, and left the result in the extensions).
//! Talks to: axum. Start reading at: [`Body`].

use std::convert::Infallible;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, OptionalFromRequestParts, Path, Query, Request},
    http::{HeaderMap, header, request::Parts},
};
use protocol::Producer;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::{
    app::AppError,
    auth::{AuthContext, Caller},
    config::BODY_BYTES_MAX,
};

/// Set by `identify` when the request carries a good token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity(pub(crate) AuthContext);

impl<S: Sync> FromRequestParts<S> for AuthContext {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let identity = parts.extensions.get::<Identity>();
        identity.map(|identity| identity.0).ok_or_else(|| AppError::Unauthorized.into())
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Caller>().copied();
        caller.ok_or_else(|| AppError::Internal("request without a caller".to_owned()).into())
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for AuthContext {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get::<Identity>().map(|identity| identity.0))
    }
}

/// A JSON body: content type, size and unknown fields are checked, and no text of it comes back in a refusal.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(AppError::BadRequest("content-type must be application/json").into());
        }
        let bytes = read(request).await?;
        // serde would take an array for a struct, its fields in order.
        if bytes.trim_ascii_start().first() == Some(&b'[') {
            return Err(AppError::BadRequest("the body is not an object").into());
        }
        serde_json::from_slice(&bytes).map(Body).map_err(|error| {
            tracing::debug!(line = error.line(), column = error.column(), "body refused");
            let what = match error.classify() {
                serde_json::error::Category::Data => "a field is missing, unknown or of wrong type",
                _ => "the body is not json",
            };
            AppError::BadRequest(what).into()
        })
    }
}

async fn read(request: Request) -> Result<Bytes, Problem> {
    // The only error apart from the limit is a connection that broke: nobody reads the answer then.
    let limited = axum::body::to_bytes(request.into_body(), BODY_BYTES_MAX).await;
    limited.map_err(|_| AppError::TooLarge("the body is over 64 KiB").into())
}

/// `application/json`, with or without parameters.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).map(str::trim);
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"))
}

/// Parts of the path.
#[derive(Debug)]
pub(crate) struct Route<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Route<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = <Path<T> as FromRequestParts<S>>::from_request_parts(parts, state).await;
        path.map(|Path(value)| Route(value))
            .map_err(|_| AppError::BadRequest("a part of the path is malformed").into())
    }
}

/// Parameters of the query.
#[derive(Debug)]
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = <Query<T> as FromRequestParts<S>>::from_request_parts(parts, state).await;
        query
            .map(|Query(value)| Params(value))
            .map_err(|_| AppError::BadRequest("a query parameter is unknown or malformed").into())
    }
}

/// `Idempotency-Key`: 16 hex digits, used as a fresh producer; absent = a random one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdempotencyKey(pub(crate) Producer);

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get("idempotency-key") else {
            return Ok(Self(Producer(rand::random())));
        };
        let producer = value.to_str().ok().and_then(|text| text.parse().ok());
        producer.map(Self).ok_or_else(|| {
            AppError::BadRequest("idempotency-key must be 16 lower-case hex digits").into()
        })
    }
}

/// Name and version of the browser or tool, for the list of sessions; cut, and without control characters.
#[derive(Debug)]
pub(crate) struct UserAgent(pub(crate) String);

/// Characters of a user agent that are kept.
const USER_AGENT_CHARS_MAX: usize = 160;

impl<S: Sync> FromRequestParts<S> for UserAgent {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let text = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        let kept = text.unwrap_or("").chars().filter(|c| !c.is_control());
        Ok(Self(kept.take(USER_AGENT_CHARS_MAX).collect()))
    }
}
