//! `/api/conversations/{id}/members`, `/invite` and `/api/invites`: who is in a group.
//!
//! Owns: these handlers. Never does: decide (app/members.rs, app/invites.rs). Talks to: the app.
//! Start reading at: [`members`].

use axum::{Json, extract::State, http::StatusCode};
use protocol::{ConversationId, Role, UserId};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    HttpState,
    extract::{Body, IdempotencyKey, Params, Route},
    problem::Problem,
};
use crate::{
    app::{
        append::Appended,
        conversations::Conversation,
        invites::{Invite, InvitePreview},
        members::MemberPage,
    },
    auth::AuthContext,
};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(members, add))
        .routes(routes!(remove, set_role))
        .routes(routes!(make_invite, revoke_invite))
        .routes(routes!(preview_invite, accept_invite))
}

/// A page of members.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct MembersQuery {
    /// `next` of the page before.
    #[param(value_type = Option<String>)]
    after: Option<UserId>,
    /// At most this many (≤ 200).
    limit: Option<usize>,
}

/// Whom to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewMembers {
    #[schema(value_type = Vec<String>)]
    users: Vec<UserId>,
}

/// What somebody becomes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRole {
    #[schema(value_type = String, example = "admin")]
    role: Role,
}

/// The members of a conversation, by user id.
#[utoipa::path(get, path = "/api/conversations/{id}/members", tag = "members",
    params(("id" = String, Path, description = "conversation, 32 hex digits"), MembersQuery),
    responses((status = 200, body = MemberPage), (status = "default", body = Problem)))]
async fn members(
    State(state): State<HttpState>,
    who: AuthContext,
    Route(id): Route<ConversationId>,
    Params(query): Params<MembersQuery>,
) -> Result<Json<MemberPage>, Problem> {
    Ok(Json(state.app.members(who, id, query.after, query.limit).await?))
}

/// Adds people to a group; admins and owners.
#[utoipa::path(post, path = "/api/conversations/{id}/members", tag = "members", request_body = NewMembers,
    params(("id" = String, Path, description = "conversation, 32 hex digits"),
        ("Idempotency-Key" = Option<String>, Header, description = "16 hex digits")),
    responses((status = 200, body = Appended), (status = "default", body = Problem)))]
async fn add(
    State(state): State<HttpState>,
    who: AuthContext,
    Route(id): Route<ConversationId>,
    IdempotencyKey(key): IdempotencyKey,
    Body(NewMembers { users }): Body<NewMembers>,
) -> Result<Json<Appended>, Problem> {
    Ok(Json(state.app.add_members(who, key, id, users).await?))
}

/// Removes somebody (admins and owners), or leaves (oneself). The last owner hands over first.
#[utoipa::path(delete, path = "/api/conversations/{id}/members/{user}", tag = "members",
    params(("id" = String, Path, description = "conversation, 32 hex digits"),
        ("user" = String, Path, description = "user, 16 hex digits"),
        ("Idempotency-Key" = Option<String>, Header, description = "16 hex digits")),
    responses((status = 200, body = Appended), (status = "default", body = Problem)))]
async fn remove(
    State(state): State<HttpState>,
    who: AuthContext,
    Route((id, user)): Route<(ConversationId, UserId)>,
    IdempotencyKey(key): IdempotencyKey,
) -> Result<Json<Appended>, Problem> {
    Ok(Json(state.app.remove_member(who, key, id, user).await?))
}

/// Gives somebody another role; owners.
#[utoipa::path(put, path = "/api/conversations/{id}/members/{user}", tag = "members", request_body = NewRole,
    params(("id" = String, Path, description = "conversation, 32 hex digits"),
        ("user" = String, Path, description = "user, 16 hex digits"),
        ("Idempotency-Key" = Option<String>, Header, description = "16 hex digits")),
    responses((status = 200, body = Appended), (status = "default", body = Problem)))]
async fn set_role(
    State(state): State<HttpState>,
    who: AuthContext,
    Route((id, user)): Route<(ConversationId, UserId)>,
    IdempotencyKey(key): IdempotencyKey,
    Body(NewRole { role }): Body<NewRole>,
) -> Result<Json<Appended>, Problem> {
    Ok(Json(state.app.set_role(who, key, id, user, role).await?))
}

/// The invite link of a group: the same until it is revoked; admins and owners.
#[utoipa::path(post, path = "/api/conversations/{id}/invite", tag = "members",
    params(("id" = String, Path, description = "conversation, 32 hex digits")),
    responses((status = 200, body = Invite), (status = "default", body = Problem)))]
async fn make_invite(
    State(state): State<HttpState>,
    who: AuthContext,
    Route(id): Route<ConversationId>,
) -> Result<Json<Invite>, Problem> {
    Ok(Json(state.app.invite(who, id).await?))
}

/// Revokes the invite link; admins and owners.
#[utoipa::path(delete, path = "/api/conversations/{id}/invite", tag = "members",
    params(("id" = String, Path, description = "conversation, 32 hex digits")),
    responses((status = 204), (status = "default", body = Problem)))]
async fn revoke_invite(
    State(state): State<HttpState>,
    who: AuthContext,
    Route(id): Route<ConversationId>,
) -> Result<StatusCode, Problem> {
    state.app.revoke_invite(who, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What an invite link leads to.
#[utoipa::path(get, path = "/api/invites/{code}", tag = "members",
    params(("code" = String, Path)),
    responses((status = 200, body = InvitePreview), (status = "default", body = Problem)))]
async fn preview_invite(
    State(state): State<HttpState>,
    who: AuthContext,
    Route(code): Route<String>,
) -> Result<Json<InvitePreview>, Problem> {
    Ok(Json(state.app.preview_invite(who, &code).await?))
}

/// Joins the group of an invite link.
#[utoipa::path(post, path = "/api/invites/{code}", tag = "members",
    params(("code" = String, Path)),
    responses((status = 200, body = Conversation), (status = "default", body = Problem)))]
async fn accept_invite(
    State(state): State<HttpState>,
    who: AuthContext,
    Route(code): Route<String>,
    IdempotencyKey(key): IdempotencyKey,
) -> Result<Json<Conversation>, Problem> {
    Ok(Json(state.app.accept_invite(who, key, &code).await?))
}
