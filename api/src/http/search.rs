//! `/api/search`: messages by words.
//!
//! Owns: this handler. Never does: decide who finds what (app/search.rs). Talks to: the app. Start reading at: [`search`].

use axum::{Json, extract::State};
use protocol::ConversationId;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{HttpState, extract::Params, problem::Problem};
use crate::{app::search::SearchPage, auth::AuthContext};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(search))
}

/// What to look for.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SearchQuery {
    /// Words; the last one may be a beginning.
    q: String,
    /// Only here.
    #[param(value_type = Option<String>)]
    conversation: Option<ConversationId>,
    /// `next` of the page before.
    before: Option<String>,
    /// At most this many (≤ 50).
    limit: Option<usize>,
}

/// Messages that contain all the words, newest first, in conversations of mine.
#[utoipa::path(get, path = "/api/search", tag = "search", params(SearchQuery),
    responses((status = 200, body = SearchPage), (status = "default", body = Problem)))]
async fn search(
    State(state): State<HttpState>,
    who: AuthContext,
    Params(query): Params<SearchQuery>,
) -> Result<Json<SearchPage>, Problem> {
    let before = query.before.as_deref();
    Ok(Json(state.app.search(who, &query.q, query.conversation, before, query.limit).await?))
}
