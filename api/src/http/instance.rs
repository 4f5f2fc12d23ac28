//! What everybody may know without a login: the instance, and the public keys.
//!
//! Owns: these handlers. Never does: anything about a user. Talks to: the app. Start reading at: [`instance`].

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{HttpState, problem::Problem};
use crate::app::instance::Instance;

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(instance)).routes(routes!(jwks))
}

/// Name and rules of this instance.
#[utoipa::path(get, path = "/api/instance", tag = "instance",
    responses((status = 200, body = Instance), (status = "default", body = Problem)))]
async fn instance(State(state): State<HttpState>) -> Result<Json<Instance>, Problem> {
    Ok(Json(state.app.instance().await?))
}

/// The public keys of all tokens (RFC 7517, RFC 8037).
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "instance",
    responses((status = 200, body = serde_json::Value)))]
async fn jwks(State(state): State<HttpState>) -> Response {
    let mut response = state.app.verifier().jwks().to_string().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}
