//! `/api/auth`: register, log in and out, refresh, sessions, password.
//!
//! Owns: these handlers and the cookies they set. Never does: decide (app/account.rs and app/session.rs do).
//! Talks to: the app. Start reading at: [`login`].

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use protocol::SessionId;
use serde::Deserialize;
use token::cookie;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    HttpState, cookies,
    extract::{Body, Route, UserAgent},
    identify::find_cookie,
    problem::Problem,
};
use crate::{
    app::{
        AppError,
        account::Registration,
        session::{AuthReply, Login, SessionList},
    },
    auth::{AuthContext, Caller},
};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(register))
        .routes(routes!(login))
        .routes(routes!(refresh))
        .routes(routes!(logout))
        .routes(routes!(sessions, revoke_other_sessions))
        .routes(routes!(revoke_session))
        .routes(routes!(change_password))
}

/// Name and password of somebody who has an account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Credentials {
    username: String,
    password: String,
}

/// Old and new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordChange {
    current: String,
    new: String,
}

fn logged_in(state: &HttpState, status: StatusCode, login: Login) -> Response {
    let mut response = (status, Json(login.reply)).into_response();
    let secure = state.app.config().secure;
    cookies::set(response.headers_mut(), secure, &login.access, login.refresh.as_deref());
    response
}

fn logged_out(state: &HttpState) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    cookies::clear(response.headers_mut(), state.app.config().secure);
    response
}

/// Creates an account and logs it in. The first account is the administrator's.
#[utoipa::path(post, path = "/api/auth/register", tag = "auth", request_body = Registration,
    responses((status = 201, body = AuthReply), (status = "default", body = Problem)))]
async fn register(
    State(state): State<HttpState>,
    caller: Caller,
    UserAgent(agent): UserAgent,
    Body(registration): Body<Registration>,
) -> Result<Response, Problem> {
    let login = state.app.register(caller, registration, agent).await?;
    Ok(logged_in(&state, StatusCode::CREATED, login))
}

/// Begins a session.
#[utoipa::path(post, path = "/api/auth/login", tag = "auth", request_body = Credentials,
    responses((status = 200, body = AuthReply), (status = "default", body = Problem)))]
async fn login(
    State(state): State<HttpState>,
    caller: Caller,
    UserAgent(agent): UserAgent,
    Body(Credentials { username, password }): Body<Credentials>,
) -> Result<Response, Problem> {
    let login = state.app.login(caller, username, password, agent).await?;
    Ok(logged_in(&state, StatusCode::OK, login))
}

/// Exchanges the refresh cookie for new tokens. Using a refresh token a second time, later than 10 s after it was replaced,
/// ends the session.
#[utoipa::path(post, path = "/api/auth/refresh", tag = "auth",
    responses((status = 200, body = AuthReply), (status = "default", body = Problem)))]
async fn refresh(State(state): State<HttpState>, headers: HeaderMap) -> Response {
    let name = cookie::refresh(state.app.config().secure);
    let refreshed = match find_cookie(&headers, name) {
        Some(token) => state.app.refresh(token).await,
        None => Err(AppError::Unauthorized),
    };
    match refreshed {
        Ok(login) => logged_in(&state, StatusCode::OK, login),
        Err(error) => {
            let over = matches!(error, AppError::Unauthorized | AppError::Disabled);
            let mut response = Problem::from(error).into_response();
            if over {
                cookies::clear(response.headers_mut(), state.app.config().secure);
            }
            response
        }
    }
}

/// Ends the session; its sockets close within a second.
#[utoipa::path(post, path = "/api/auth/logout", tag = "auth",
    responses((status = 204), (status = "default", body = Problem)))]
async fn logout(
    State(state): State<HttpState>,
    who: Option<AuthContext>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let refresh = find_cookie(&headers, cookie::refresh(state.app.config().secure));
    state.app.logout(who, refresh).await?;
    Ok(logged_out(&state))
}

/// Where this user is logged in.
#[utoipa::path(get, path = "/api/auth/sessions", tag = "auth",
    responses((status = 200, body = SessionList), (status = "default", body = Problem)))]
async fn sessions(
    State(state): State<HttpState>,
    who: AuthContext,
) -> Result<Json<SessionList>, Problem> {
    Ok(Json(state.app.sessions(who).await?))
}

/// Ends one session of this user.
#[utoipa::path(delete, path = "/api/auth/sessions/{id}", tag = "auth",
    params(("id" = String, Path, description = "session, 32 hex digits")),
    responses((status = 204), (status = "default", body = Problem)))]
async fn revoke_session(
    State(state): State<HttpState>,
    who: AuthContext,
    Route(session): Route<SessionId>,
) -> Result<StatusCode, Problem> {
    state.app.revoke_session(who, session).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends all sessions of this user but this one.
#[utoipa::path(delete, path = "/api/auth/sessions", tag = "auth",
    responses((status = 204), (status = "default", body = Problem)))]
async fn revoke_other_sessions(
    State(state): State<HttpState>,
    who: AuthContext,
) -> Result<StatusCode, Problem> {
    state.app.revoke_other_sessions(who).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes the password and ends all other sessions.
#[utoipa::path(post, path = "/api/auth/password", tag = "auth", request_body = PasswordChange,
    responses((status = 204), (status = "default", body = Problem)))]
async fn change_password(
    State(state): State<HttpState>,
    caller: Caller,
    who: AuthContext,
    Body(PasswordChange { current, new }): Body<PasswordChange>,
) -> Result<StatusCode, Problem> {
    state.app.change_password(caller, who, current, new).await?;
    Ok(StatusCode::NO_CONTENT)
}
