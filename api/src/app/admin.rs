//! Administration: settings, invitations, accounts.
//!
//! Owns: what administrators do; every function checks that the caller is one. Never does: read messages.
//! Talks to: the store, `Live`. Start reading at: [`App::require_admin`].

use protocol::UserId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    App, AppError,
    cards::UserCard,
    instance::{Directory, RegistrationMode, Settings},
    invites::random_code,
    names,
    people::needle,
};
use crate::{
    auth::{AuthContext, check_password},
    store::{self, PeopleQuery, User, UserChange},
};

/// Accounts in one page.
const PAGE_MAX: usize = 100;

/// Settings to change; absent ones stay.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SettingsChange {
    /// New name.
    pub name: Option<String>,
    /// Who may register.
    pub registration: Option<RegistrationMode>,
    /// Who can find whom.
    pub directory: Option<Directory>,
}

/// A code with which one person may register.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RegistrationInvite {
    /// 22 characters.
    pub code: String,
}

/// An account as administrators see it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AdminUser {
    /// Who.
    #[serde(flatten)]
    pub card: UserCard,
    /// Administers this instance.
    pub admin: bool,
    /// May not log in.
    pub disabled: bool,
    /// Unix milliseconds.
    pub created_at: u64,
    /// Unix milliseconds of the last login or refresh.
    pub last_seen: Option<u64>,
}

/// A page of accounts.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AdminUserPage {
    /// By id.
    pub users: Vec<AdminUser>,
    /// `after` of the next page, if there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next: Option<UserId>,
}

/// What to change about an account; absent fields stay.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UserAdminChange {
    /// Switch off or on.
    pub disabled: Option<bool>,
    /// Make or unmake an administrator.
    pub admin: Option<bool>,
    /// A new password.
    pub password: Option<String>,
}

impl std::fmt::Debug for UserAdminChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserAdminChange").finish_non_exhaustive()
    }
}

impl App {
    /// The account, if it administers this instance.
    pub(super) async fn require_admin(&self, who: AuthContext) -> Result<User, AppError> {
        let user = self.account(who).await?;
        if user.admin { Ok(user) } else { Err(AppError::Forbidden("for administrators only")) }
    }

    /// The instance's settings.
    pub async fn settings(&self, who: AuthContext) -> Result<Settings, AppError> {
        self.require_admin(who).await?;
        Ok(self.store().settings().await?.into())
    }

    /// Changes some.
    pub async fn change_settings(
        &self,
        who: AuthContext,
        change: SettingsChange,
    ) -> Result<Settings, AppError> {
        self.require_admin(who).await?;
        let change = store::SettingsChange {
            name: change.name.as_deref().map(names::instance_name).transpose()?,
            registration: change.registration.map(Into::into),
            directory: change.directory.map(Into::into),
        };
        Ok(self.store().change_settings(change).await?.into())
    }

    /// A new invitation to register.
    pub async fn registration_invite(
        &self,
        who: AuthContext,
    ) -> Result<RegistrationInvite, AppError> {
        self.require_admin(who).await?;
        let code = random_code();
        self.store().add_registration_invite(code.clone(), who.user, self.now_ms()).await?;
        Ok(RegistrationInvite { code })
    }

    /// Accounts, disabled ones too.
    pub async fn admin_users(
        &self,
        who: AuthContext,
        text: &str,
        after: Option<UserId>,
        limit: Option<usize>,
    ) -> Result<AdminUserPage, AppError> {
        self.require_admin(who).await?;
        let limit = limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
        let query =
            // From the smallest id on: pages are by id, also the first one of a search.
            PeopleQuery { text: needle(text), contacts_of: None, disabled_too: true, after: Some(after.unwrap_or(UserId(0))), limit };
        let users = self.store().find_people(query).await?;
        let info = |user: &User| AdminUser {
            card: UserCard::of(user),
            admin: user.admin,
            disabled: user.disabled,
            created_at: user.created_at,
            last_seen: Some(user.last_seen).filter(|at| *at > 0),
        };
        let next = users.last().filter(|_| users.len() == limit).map(|user| user.id);
        Ok(AdminUserPage { users: users.iter().map(info).collect(), next })
    }

    /// Changes an account. Administrators cannot lock themselves out.
    pub async fn admin_change_user(
        &self,
        who: AuthContext,
        user: UserId,
        change: UserAdminChange,
    ) -> Result<(), AppError> {
        self.require_admin(who).await?;
        let UserAdminChange { disabled, admin, password } = change;
        if user == who.user && (disabled == Some(true) || admin == Some(false)) {
            return Err(AppError::Conflict("administrators cannot lock themselves out"));
        }
        if let Some(password) = &password {
            check_password(password).map_err(|what| AppError::field("password", what))?;
        }
        let change = UserChange { disabled, admin, ..UserChange::default() };
        let changed = self.store().change_user(user, change).await?;
        changed.ok_or(AppError::NotFound("user"))?;
        if let Some(password) = password {
            self.set_password(user, &password, None).await?;
        }
        if disabled == Some(true) {
            let ended = self.store().end_sessions(user, None).await?;
            self.end_all(user, ended).await?;
        }
        Ok(())
    }
}
