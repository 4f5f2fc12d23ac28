//! One's own profile and settings, and the end of an account.
//!
//! Owns: these functions. Never does: others' profiles (people.rs). Talks to: the store, `Live`. Start reading at: [`App::me`].

use backplane::Revocation;
use protocol::{UserId, event::UserChange as Changed};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    App, AppError,
    cards::{Me, UserCard},
    names,
};
use crate::{
    auth::{AuthContext, Caller},
    store::{PeopleQuery, User, UserChange},
};

/// Accounts read at a time.
const ACCOUNTS_PAGE: usize = 1_000;

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

    /// Whether somebody else administers this instance. Goes through all accounts, page by page, until there is one: only
    /// administrators who leave ask.
    async fn is_another_admin(&self, than: UserId) -> Result<bool, AppError> {
        let mut after = UserId(0);
        loop {
            let query =
                PeopleQuery { after: Some(after), limit: ACCOUNTS_PAGE, ..Default::default() };
            let page = self.store().find_people(query).await?;
            if page.iter().any(|user| user.admin && user.id != than) {
                return Ok(true);
            }
            match page.last() {
                Some(last) if page.len() == ACCOUNTS_PAGE => after = last.id,
                _ => return Ok(false),
            }
        }
    }

    /// Ends the account: leaves every group, then becomes a tombstone.
    pub async fn delete_me(
        &self,
        caller: Caller,
        who: AuthContext,
        password: String,
    ) -> Result<(), AppError> {
        self.prove(caller, who, &password).await?;
        if self.account(who).await?.admin && !self.is_another_admin(who.user).await? {
            return Err(AppError::Conflict("the last administrator appoints another one first"));
        }
        self.leave_all_groups(who).await?;
        self.store().delete_user(who.user).await?;
        self.revoke(Revocation::User { user: who.user, except: None }).await;
        self.tell(who.user, Changed::Profile).await;
        Ok(())
    }
}
