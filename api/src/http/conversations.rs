//! `/api/conversations`: list, create, settings, one's own flags, receipts.
//!
//! Owns: these handlers. Never does: decide (app/conversations.rs, app/groups.rs, app/mine.rs). Talks to: the app.
//! Start reading at: [`list`].

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use protocol::{ConversationId, UserId};
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
        AppError,
        append::Appended,
        conversations::{Conversation, ConversationList},
        groups::{ConversationChange, NewGroup},
        mine::MineChange,
        receipts::Receipts,
    },
    auth::AuthContext,
};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(direct))
        .routes(routes!(conversation, change))
        .routes(routes!(mine))
        .routes(routes!(receipts))
}

/// The other side.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DirectWith {
    #[schema(value_type = String)]
    user: UserId,
}

/// Which messages to count for.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ReceiptsQuery {
    /// Seqs, separated by commas (≤ 100); needed above 32 members. Seq 0 counts all others who give receipts.
    seqs: Option<String>,
}

/// All my conversations, latest activity first.
#[utoipa::path(get, path = "/api/conversations", tag = "conversations",
    responses((status = 200, body = ConversationList), (status = "default", body = Problem)))]
async fn list(
    State(state): State<HttpState>,
    who: AuthContext,
) -> Result<Json<ConversationList>, Problem> {
    Ok(Json(state.app.conversations(who).await?))
}

/// One of my conversations.
#[utoipa::path(get, path = "/api/conversations/{id}", tag = "conversations",
    params(("id" = String, Path, description = "conversation, 32 hex digits")),
    responses((status = 200, body = Conversation), (status = "default", body = Problem)))]
async fn conversation(
    State(state): State<HttpState>,
    who: AuthContext,
    Route(id): Route<ConversationId>,
) -> Result<Json<Conversation>, Problem> {
    Ok(Json(state.app.conversation(who, id).await?))
}

/// The direct conversation with somebody (or with oneself); made now if there is none yet.
#[utoipa::path(post, path = "/api/conversations/direct", tag = "conversations", request_body = DirectWith,
    responses((status = 200, body = Conversation), (status = 201, body = Conversation), (status = "default", body = Problem)))]
async fn direct(
    State(state): State<HttpState>,
    who: AuthContext,
    Body(DirectWith { user }): Body<DirectWith>,
) -> Result<Response, Problem> {
    let (created, conversation) = state.app.direct(who, user).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(conversation)).into_response())
}

/// Makes a group; its creator is the owner.
#[utoipa::path(post, path = "/api/conversations", tag = "conversations", request_body = NewGroup,
    params(("Idempotency-Key" = Option<String>, Header, description = "16 hex digits")),
    responses((status = 201, body = Conversation), (status = "default", body = Problem)))]
async fn create(
    State(state): State<HttpState>,
    who: AuthContext,
    IdempotencyKey(key): IdempotencyKey,
    Body(group): Body<NewGroup>,
) -> Result<Response, Problem> {
    let conversation = state.app.create_group(who, key, group).await?;
    Ok((StatusCode::CREATED, Json(conversation)).into_response())
}

/// Changes title or history access of a group; admins and owners.
#[utoipa::path(patch, path = "/api/conversations/{id}", tag = "conversations", request_body = ConversationChange,
    params(("id" = String, Path, description = "conversation, 32 hex digits"),
        ("Idempotency-Key" = Option<String>, Header, description = "16 hex digits")),
    responses((status = 200, body = Appended), (status = "default", body = Problem)))]
async fn change(
    State(state): State<HttpState>,
    who: AuthContext,
    Route(id): Route<ConversationId>,
    IdempotencyKey(key): IdempotencyKey,
    Body(change): Body<ConversationChange>,
) -> Result<Json<Appended>, Problem> {
    Ok(Json(state.app.change_group(who, key, id, change).await?))
}

/// Sets my own flags of a conversation: nobody else sees them.
#[utoipa::path(patch, path = "/api/conversations/{id}/mine", tag = "conversations", request_body = MineChange,
    params(("id" = String, Path, description = "conversation, 32 hex digits")),
    responses((status = 204), (status = "default", body = Problem)))]
async fn mine(
    State(state): State<HttpState>,
    who: AuthContext,
    Route(id): Route<ConversationId>,
    Body(change): Body<MineChange>,
) -> Result<StatusCode, Problem> {
    state.app.set_mine(who, id, change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How far everybody has got: by person up to 32 members, above that as counts for given messages.
#[utoipa::path(get, path = "/api/conversations/{id}/receipts", tag = "conversations",
    params(("id" = String, Path, description = "conversation, 32 hex digits"), ReceiptsQuery),
    responses((status = 200, body = Receipts), (status = "default", body = Problem)))]
async fn receipts(
    State(state): State<HttpState>,
    who: AuthContext,
    Route(id): Route<ConversationId>,
    Params(query): Params<ReceiptsQuery>,
) -> Result<Json<Receipts>, Problem> {
    let seqs = query.seqs.unwrap_or_default();
    let seqs = seqs.split(',').filter(|seq| !seq.is_empty()).map(str::parse::<u64>);
    let seqs = seqs.collect::<Result<Vec<_>, _>>();
    let seqs = seqs.map_err(|_| AppError::BadRequest("seqs must be numbers"))?;
    Ok(Json(state.app.receipts(who, id, &seqs).await?))
}
