//! `/api/conversations/{id}/events` and `/messages`: reading history, raw and folded.
//!
//! Owns: these handlers. Never does: decide who sees what (app/events.rs, app/pages.rs). Talks to: the app.
//! Start reading at: [`events`].

use axum::{Json, extract::State};
use protocol::ConversationId;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    HttpState,
    extract::{Params, Route},
    problem::Problem,
};
use crate::{
    app::AppError,
    app::{
        events::EventPage,
        pages::{Anchor, MessagePage},
    },
    auth::AuthContext,
};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(events)).routes(routes!(messages))
}

/// Raw events.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EventsQuery {
    /// The position that the client has reached.
    after: Option<u64>,
    /// At most this many (≤ 200).
    limit: Option<usize>,
    /// Wait, at most 2 s, until the answer can reach this seq; then 503.
    min_seq: Option<u64>,
}

/// A page of messages; at most one of `before`, `after`, `around`; none = the newest page.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct MessagesQuery {
    /// Items below this seq.
    before: Option<u64>,
    /// Items above this seq.
    after: Option<u64>,
    /// Items on both sides of this seq, itself included.
    around: Option<u64>,
    /// At most this many (≤ 100).
    limit: Option<usize>,
}

/// Events contiguous from `after` + 1, exactly as on the socket (without `at`), holes included.
#[utoipa::path(get, path = "/api/conversations/{id}/events", tag = "history",
    params(("id" = String, Path, description = "conversation, 32 hex digits"), EventsQuery),
    responses((status = 200, body = EventPage), (status = "default", body = Problem)))]
async fn events(
    State(state): State<HttpState>,
    who: AuthContext,
    Route(id): Route<ConversationId>,
    Params(query): Params<EventsQuery>,
) -> Result<Json<EventPage>, Problem> {
    let after = query.after.unwrap_or(0);
    Ok(Json(state.app.events(who, id, after, query.limit, query.min_seq).await?))
}

/// Messages with their edits, deletions and reactions folded in, as of seq `as_of`; ascending by seq.
#[utoipa::path(get, path = "/api/conversations/{id}/messages", tag = "history",
    params(("id" = String, Path, description = "conversation, 32 hex digits"), MessagesQuery),
    responses((status = 200, body = MessagePage), (status = "default", body = Problem)))]
async fn messages(
    State(state): State<HttpState>,
    who: AuthContext,
    Route(id): Route<ConversationId>,
    Params(query): Params<MessagesQuery>,
) -> Result<Json<MessagePage>, Problem> {
    let anchor = match (query.before, query.after, query.around) {
        (None, None, None) => Anchor::Newest,
        (Some(seq), None, None) => Anchor::Before(seq),
        (None, Some(seq), None) => Anchor::After(seq),
        (None, None, Some(seq)) => Anchor::Around(seq),
        _ => {
            let why = "at most one of before, after and around";
            return Err(AppError::BadRequest(why).into());
        }
    };
    Ok(Json(state.app.messages(who, id, anchor, query.limit).await?))
}
