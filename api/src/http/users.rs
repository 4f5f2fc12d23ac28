//! `/api/users` and `/api/online`: finding people.
//!
//! Owns: these handlers. Never does: decide who may find whom (app/people.rs). Talks to: the app.
//! Start reading at: [`users`].

use axum::{Json, extract::State};
use protocol::UserId;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    HttpState,
    extract::{Params, Route},
    problem::Problem,
};
use crate::{
    app::{
        AppError,
        cards::{OnlineList, UserCard, UserList},
    },
    auth::AuthContext,
};

/// People named by `ids` in one request.
const IDS_MAX: usize = 200;

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(users)).routes(routes!(user)).routes(routes!(online))
}

/// Either a search or a list of ids.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct UsersQuery {
    /// Beginning of a user name, or of any word of a display name.
    q: Option<String>,
    /// At most this many (≤ 50).
    limit: Option<usize>,
    /// Ids, separated by commas (≤ 200).
    ids: Option<String>,
}

/// Who is online.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct OnlineQuery {
    /// Beginning of a user name, or of any word of a display name.
    q: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    /// At most this many (≤ 100).
    limit: Option<usize>,
}

/// Finds people by name, or names those of given ids.
#[utoipa::path(get, path = "/api/users", tag = "users", params(UsersQuery),
    responses((status = 200, body = UserList), (status = "default", body = Problem)))]
async fn users(
    State(state): State<HttpState>,
    who: AuthContext,
    Params(query): Params<UsersQuery>,
) -> Result<Json<UserList>, Problem> {
    let Some(ids) = query.ids else {
        let q = query.q.unwrap_or_default();
        return Ok(Json(state.app.search_users(who, &q, query.limit).await?));
    };
    let ids = ids.split(',').filter(|id| !id.is_empty()).map(str::parse::<UserId>);
    let ids = ids.collect::<Result<Vec<_>, _>>();
    let ids = ids.map_err(|_| AppError::BadRequest("ids must be user ids"))?;
    if ids.len() > IDS_MAX {
        return Err(AppError::TooLarge("more than 200 ids").into());
    }
    Ok(Json(state.app.cards(who, &ids).await?))
}

/// The card of one person.
#[utoipa::path(get, path = "/api/users/{id}", tag = "users",
    params(("id" = String, Path, description = "user, 16 hex digits")),
    responses((status = 200, body = UserCard), (status = "default", body = Problem)))]
async fn user(
    State(state): State<HttpState>,
    who: AuthContext,
    Route(user): Route<UserId>,
) -> Result<Json<UserCard>, Problem> {
    Ok(Json(state.app.card(who, user).await?))
}

/// Everybody who is online now and not hidden, by display name.
#[utoipa::path(get, path = "/api/online", tag = "users", params(OnlineQuery),
    responses((status = 200, body = OnlineList), (status = "default", body = Problem)))]
async fn online(
    State(state): State<HttpState>,
    who: AuthContext,
    Params(query): Params<OnlineQuery>,
) -> Result<Json<OnlineList>, Problem> {
    let q = query.q.unwrap_or_default();
    let after = query.after.as_deref();
    Ok(Json(state.app.online(who, &q, after, query.limit).await?))
}
