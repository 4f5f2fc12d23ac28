//! One's own profile and settings, and the end of an account.
//!
//! Owns: these functions. Never does: others' profiles (people.rs). Talks to: the store, `Live`. Start reading at: [`App::me`].

use backplane::Revocation;
use protocol::event::UserChange as Changed;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    App, AppError,
    cards::{Me, UserCard},
    names,
};
use crate::{
    auth::{AuthContext, Caller},
    store::{User, UserChange},
};

/// Fields to change; absent ones stay.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileChange {
    /// What others see.
    pub display_name: Option<String>,
    /// A line about oneself.
    pub about: Option<String>,
    /// Hide presence.
    pub hidden: Option<bool>,
    /// Neither send nor see receipts.
    pub receipts_off: Option<bool>,
}

impl Me {
    /// What a user sees of their own account.
    pub fn of(user: &User) -> Self {
        Self {
            id: user.id,
            username: user.username.clone(),
            display_name: user.display_name.clone(),
            about: user.about.clone(),
            admin: user.admin,
            created_at: user.created_at,
            hidden: user.hidden,
            receipts_off: user.receipts_off,
        }
    }
}

impl UserCard {
    /// What everybody sees of an account.
    pub fn of(user: &User) -> Self {
        if user.deleted {
            return Self::deleted(user.id);
        }
        Self {
            id: user.id,
            username: user.username.clone(),
            display_name: user.display_name.clone(),
            about: user.about.clone(),
        }
    }
}

impl App {
    /// Who I am.
    pub async fn me(&self, who: AuthContext) -> Result<Me, AppError> {
        Ok(Me::of(&self.account(who).await?))
    }

    /// Changes profile and settings.
    pub async fn change_me(&self, who: AuthContext, change: ProfileChange) -> Result<Me, AppError> {
        let profile = change.display_name.is_some() || change.about.is_some();
        let settings = change.hidden.is_some() || change.receipts_off.is_some();
        let change = UserChange {
            display_name: change.display_name.as_deref().map(names::display_name).transpose()?,
            about: change.about.as_deref().map(names::about).transpose()?,
            hidden: change.hidden,
            receipts_off: change.receipts_off,
            ..UserChange::default()
        };
        let user = self.store().change_user(who.user, change).await?;
        let user = user.ok_or(AppError::Unauthorized)?;
        if profile {
            self.tell(who.user, Changed::Profile).await;
        }
        if settings {
            self.tell(who.user, Changed::Settings).await;
        }
        Ok(Me::of(&user))
    }

    /// Ends the account: leaves every group, then becomes a tombstone.
    pub async fn delete_me(
        &self,
        caller: Caller,
        who: AuthContext,
        password: String,
    ) -> Result<(), AppError> {
        self.prove(caller, who, &password).await?;
        self.leave_all_groups(who).await?;
        self.store().delete_user(who.user).await?;
        self.revoke(Revocation::User { user: who.user, except: None }).await?;
        self.tell(who.user, Changed::Profile).await;
        Ok(())
    }
}
