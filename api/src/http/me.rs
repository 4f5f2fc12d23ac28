//! `/api/me`: one's own profile, settings, block list, data.
//!
//! Owns: these handlers. Never does: decide (app/profile.rs, app/people.rs). Talks to: the app. Start reading at: [`me`].

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use protocol::UserId;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    HttpState, cookies,
    extract::{Body, Route},
    problem::Problem,
};
use crate::{
    app::{
        cards::{Me, UserList},
        profile::ProfileChange,
    },
    auth::{AuthContext, Caller},
};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(me, change_me, delete_me))
        .routes(routes!(export))
        .routes(routes!(blocked))
        .routes(routes!(block, unblock))
}

/// Proof for what cannot be undone.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordProof {
    password: String,
}

/// Who I am.
#[utoipa::path(get, path = "/api/me", tag = "me",
    responses((status = 200, body = Me), (status = "default", body = Problem)))]
async fn me(State(state): State<HttpState>, who: AuthContext) -> Result<Json<Me>, Problem> {
    Ok(Json(state.app.me(who).await?))
}

/// Changes the given fields of profile and settings.
#[utoipa::path(patch, path = "/api/me", tag = "me", request_body = ProfileChange,
    responses((status = 200, body = Me), (status = "default", body = Problem)))]
async fn change_me(
    State(state): State<HttpState>,
    who: AuthContext,
    Body(change): Body<ProfileChange>,
) -> Result<Json<Me>, Problem> {
    Ok(Json(state.app.change_me(who, change).await?))
}

/// Deletes the account: leaves all groups, anonymises the card, ends all sessions. Messages stay, without a name.
#[utoipa::path(delete, path = "/api/me", tag = "me", request_body = PasswordProof,
    responses((status = 204), (status = "default", body = Problem)))]
async fn delete_me(
    State(state): State<HttpState>,
    caller: Caller,
    who: AuthContext,
    Body(PasswordProof { password }): Body<PasswordProof>,
) -> Result<Response, Problem> {
    state.app.delete_me(caller, who, password).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    cookies::clear(response.headers_mut(), state.app.config().secure);
    Ok(response)
}

/// All that is mine, as one JSON file.
#[utoipa::path(get, path = "/api/me/export", tag = "me",
    responses((status = 200, body = serde_json::Value), (status = "default", body = Problem)))]
async fn export(State(state): State<HttpState>, who: AuthContext) -> Result<Response, Problem> {
    let mut response = Json(state.app.export(who).await?).into_response();
    let name = HeaderValue::from_static("attachment; filename=\"webchat-export.json\"");
    response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}

/// Whom I blocked.
#[utoipa::path(get, path = "/api/me/blocked", tag = "me",
    responses((status = 200, body = UserList), (status = "default", body = Problem)))]
async fn blocked(
    State(state): State<HttpState>,
    who: AuthContext,
) -> Result<Json<UserList>, Problem> {
    Ok(Json(state.app.blocked(who).await?))
}

/// Blocks somebody: their messages are not shown to me any more, and nobody is told.
#[utoipa::path(put, path = "/api/me/blocked/{user}", tag = "me",
    params(("user" = String, Path, description = "user, 16 hex digits")),
    responses((status = 204), (status = "default", body = Problem)))]
async fn block(
    State(state): State<HttpState>,
    who: AuthContext,
    Route(user): Route<UserId>,
) -> Result<StatusCode, Problem> {
    state.app.set_blocked(who, user, true).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends a block.
#[utoipa::path(delete, path = "/api/me/blocked/{user}", tag = "me",
    params(("user" = String, Path, description = "user, 16 hex digits")),
    responses((status = 204), (status = "default", body = Problem)))]
async fn unblock(
    State(state): State<HttpState>,
    who: AuthContext,
    Route(user): Route<UserId>,
) -> Result<StatusCode, Problem> {
    state.app.set_blocked(who, user, false).await?;
    Ok(StatusCode::NO_CONTENT)
}
