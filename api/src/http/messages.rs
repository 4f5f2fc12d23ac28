//! `/api/conversations/{id}/messages/…`: publish for bots, edit, delete, react, report.
//!
//! Owns: these handlers. Never does: decide (app/messages.rs, app/reports.rs). Talks to: the app.
//! Start reading at: [`publish`].

use axum::{Json, extract::State, http::StatusCode};
use protocol::ConversationId;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    HttpState,
    extract::{Body, IdempotencyKey, Route},
    problem::Problem,
};
use crate::{
    app::{
        append::Appended,
        messages::{NewMessage, Published},
    },
    auth::AuthContext,
};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(publish))
        .routes(routes!(edit, delete))
        .routes(routes!(react, unreact))
        .routes(routes!(report))
}

/// The new text of a message.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewText {
    text: String,
}

/// Why the administrators should look.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReportReason {
    reason: String,
}

/// Publishes a message without a socket. The same `Idempotency-Key` and body again: the same answer, stored once.
#[utoipa::path(post, path = "/api/conversations/{id}/messages", tag = "messages", request_body = NewMessage,
    params(("id" = String, Path, description = "conversation, 32 hex digits"),
        ("Idempotency-Key" = Option<String>, Header, description = "16 hex digits")),
    responses((status = 200, body = Published), (status = "default", body = Problem)))]
async fn publish(
    State(state): State<HttpState>,
    who: AuthContext,
    Route(id): Route<ConversationId>,
    IdempotencyKey(key): IdempotencyKey,
    Body(message): Body<NewMessage>,
) -> Result<Json<Published>, Problem> {
    Ok(Json(state.app.publish(who, key, id, message).await?))
}

/// Gives one's own message another text.
#[utoipa::path(put, path = "/api/conversations/{id}/messages/{seq}", tag = "messages", request_body = NewText,
    params(("id" = String, Path, description = "conversation, 32 hex digits"), ("seq" = u64, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "16 hex digits")),
    responses((status = 200, body = Appended), (status = "default", body = Problem)))]
async fn edit(
    State(state): State<HttpState>,
    who: AuthContext,
    Route((id, seq)): Route<(ConversationId, u64)>,
    IdempotencyKey(key): IdempotencyKey,
    Body(NewText { text }): Body<NewText>,
) -> Result<Json<Appended>, Problem> {
    Ok(Json(state.app.edit(who, key, id, seq, text).await?))
}

/// Deletes a message: one's own, or as admin or owner of a group anyone's. A tombstone keeps its place.
#[utoipa::path(delete, path = "/api/conversations/{id}/messages/{seq}", tag = "messages",
    params(("id" = String, Path, description = "conversation, 32 hex digits"), ("seq" = u64, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "16 hex digits")),
    responses((status = 200, body = Appended), (status = "default", body = Problem)))]
async fn delete(
    State(state): State<HttpState>,
    who: AuthContext,
    Route((id, seq)): Route<(ConversationId, u64)>,
    IdempotencyKey(key): IdempotencyKey,
) -> Result<Json<Appended>, Problem> {
    Ok(Json(state.app.delete(who, key, id, seq).await?))
}

/// Puts an emoji on a message.
#[utoipa::path(put, path = "/api/conversations/{id}/messages/{seq}/reactions/{emoji}", tag = "messages",
    params(("id" = String, Path, description = "conversation, 32 hex digits"), ("seq" = u64, Path),
        ("emoji" = String, Path), ("Idempotency-Key" = Option<String>, Header, description = "16 hex digits")),
    responses((status = 200, body = Appended), (status = "default", body = Problem)))]
async fn react(
    State(state): State<HttpState>,
    who: AuthContext,
    Route((id, seq, emoji)): Route<(ConversationId, u64, String)>,
    IdempotencyKey(key): IdempotencyKey,
) -> Result<Json<Appended>, Problem> {
    Ok(Json(state.app.react(who, key, id, seq, emoji, true).await?))
}

/// Takes one's emoji off a message.
#[utoipa::path(delete, path = "/api/conversations/{id}/messages/{seq}/reactions/{emoji}", tag = "messages",
    params(("id" = String, Path, description = "conversation, 32 hex digits"), ("seq" = u64, Path),
        ("emoji" = String, Path), ("Idempotency-Key" = Option<String>, Header, description = "16 hex digits")),
    responses((status = 200, body = Appended), (status = "default", body = Problem)))]
async fn unreact(
    State(state): State<HttpState>,
    who: AuthContext,
    Route((id, seq, emoji)): Route<(ConversationId, u64, String)>,
    IdempotencyKey(key): IdempotencyKey,
) -> Result<Json<Appended>, Problem> {
    Ok(Json(state.app.react(who, key, id, seq, emoji, false).await?))
}

/// Reports a message to the administrators.
#[utoipa::path(post, path = "/api/conversations/{id}/messages/{seq}/report", tag = "messages", request_body = ReportReason,
    params(("id" = String, Path, description = "conversation, 32 hex digits"), ("seq" = u64, Path)),
    responses((status = 204), (status = "default", body = Problem)))]
async fn report(
    State(state): State<HttpState>,
    who: AuthContext,
    Route((id, seq)): Route<(ConversationId, u64)>,
    Body(ReportReason { reason }): Body<ReportReason>,
) -> Result<StatusCode, Problem> {
    state.app.report(who, id, seq, reason).await?;
    Ok(StatusCode::NO_CONTENT)
}
