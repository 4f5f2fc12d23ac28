//! `/api/admin`: for administrators only.
//!
//! Owns: these handlers. Never does: check that somebody is one (every function of app/admin.rs does).
//! Talks to: the app. Start reading at: [`settings`].

use axum::{Json, extract::State, http::StatusCode};
use protocol::UserId;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    HttpState,
    extract::{Body, Params, Route},
    problem::Problem,
};
use crate::{
    app::{
        admin::{AdminUserPage, RegistrationInvite, SettingsChange, UserAdminChange},
        instance::Settings,
        reports::ReportList,
    },
    auth::AuthContext,
};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(settings, change_settings))
        .routes(routes!(invite))
        .routes(routes!(users))
        .routes(routes!(change_user))
        .routes(routes!(reports))
        .routes(routes!(close_report))
}

/// A page of accounts.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct UsersQuery {
    /// Beginning of a user name, or of any word of a display name.
    q: Option<String>,
    /// `next` of the page before.
    #[param(value_type = Option<String>)]
    after: Option<UserId>,
    /// At most this many (≤ 100).
    limit: Option<usize>,
}

/// The instance's settings.
#[utoipa::path(get, path = "/api/admin/settings", tag = "admin",
    responses((status = 200, body = Settings), (status = "default", body = Problem)))]
async fn settings(
    State(state): State<HttpState>,
    who: AuthContext,
) -> Result<Json<Settings>, Problem> {
    Ok(Json(state.app.settings(who).await?))
}

/// Changes the given settings.
#[utoipa::path(patch, path = "/api/admin/settings", tag = "admin", request_body = SettingsChange,
    responses((status = 200, body = Settings), (status = "default", body = Problem)))]
async fn change_settings(
    State(state): State<HttpState>,
    who: AuthContext,
    Body(change): Body<SettingsChange>,
) -> Result<Json<Settings>, Problem> {
    Ok(Json(state.app.change_settings(who, change).await?))
}

/// A code with which one person may register while registration is by invitation.
#[utoipa::path(post, path = "/api/admin/invites", tag = "admin",
    responses((status = 200, body = RegistrationInvite), (status = "default", body = Problem)))]
async fn invite(
    State(state): State<HttpState>,
    who: AuthContext,
) -> Result<Json<RegistrationInvite>, Problem> {
    Ok(Json(state.app.registration_invite(who).await?))
}

/// All accounts.
#[utoipa::path(get, path = "/api/admin/users", tag = "admin", params(UsersQuery),
    responses((status = 200, body = AdminUserPage), (status = "default", body = Problem)))]
async fn users(
    State(state): State<HttpState>,
    who: AuthContext,
    Params(query): Params<UsersQuery>,
) -> Result<Json<AdminUserPage>, Problem> {
    let q = query.q.unwrap_or_default();
    Ok(Json(state.app.admin_users(who, &q, query.after, query.limit).await?))
}

/// Disables or enables an account, makes or unmakes an administrator, sets a new password (ends all sessions).
#[utoipa::path(patch, path = "/api/admin/users/{id}", tag = "admin", request_body = UserAdminChange,
    params(("id" = String, Path, description = "user, 16 hex digits")),
    responses((status = 204), (status = "default", body = Problem)))]
async fn change_user(
    State(state): State<HttpState>,
    who: AuthContext,
    Route(user): Route<UserId>,
    Body(change): Body<UserAdminChange>,
) -> Result<StatusCode, Problem> {
    state.app.admin_change_user(who, user, change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reported messages, newest first.
#[utoipa::path(get, path = "/api/admin/reports", tag = "admin",
    responses((status = 200, body = ReportList), (status = "default", body = Problem)))]
async fn reports(
    State(state): State<HttpState>,
    who: AuthContext,
) -> Result<Json<ReportList>, Problem> {
    Ok(Json(state.app.reports(who).await?))
}

/// Marks a report as done.
#[utoipa::path(post, path = "/api/admin/reports/{id}/close", tag = "admin",
    params(("id" = String, Path)),
    responses((status = 204), (status = "default", body = Problem)))]
async fn close_report(
    State(state): State<HttpState>,
    who: AuthContext,
    Route(id): Route<String>,
) -> Result<StatusCode, Problem> {
    state.app.close_report(who, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
