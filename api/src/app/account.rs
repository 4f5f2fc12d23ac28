//! Accounts: register, log in, change the password.
//!
//! Owns: what is checked before a password is hashed. Never does: say which of name and password was wrong.
//! Talks to: the store, the hashing pool, buckets. Start reading at: [`App::login`].

use protocol::UserId;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{App, AppError, names, session::Login};
use crate::{
    auth::{AuthContext, Caller, check_password},
    rate_limit::{RateLimiter, address_key},
    store::{self, Credentials, InviteCode, NewUser, RegistrationMode},
};

/// A new account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// `[a-z0-9_.-]`, 3 to 32 characters; case does not matter.
    pub username: String,
    /// At least 8 characters, at most 256 bytes; every one of them counts.
    pub password: String,
    /// What others see; the user name if absent.
    #[serde(default)]
    pub display_name: Option<String>,
    /// Where registration is by invitation.
    #[serde(default)]
    pub invite: Option<String>,
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registration").field("username", &self.username).finish_non_exhaustive()
    }
}

/// A random account id.
pub(crate) fn random_user_id() -> UserId {
    loop {
        // The top bit marks groups; zero is no id.
        if let Some(id) = UserId::checked(rand::random::<u64>() >> 1) {
            return id;
        }
    }
}

impl App {
    /// Creates an account and logs it in.
    pub async fn register(
        &self,
        caller: Caller,
        registration: Registration,
        user_agent: String,
    ) -> Result<Login, AppError> {
        let Registration { username, password, display_name, invite } = registration;
        self.limit_address(caller, &self.limits().register_per_address)?;
        let username = names::username(&username)?;
        let display_name = names::display_name(display_name.as_deref().unwrap_or(&username))?;
        check_password(&password).map_err(|what| AppError::field("password", what))?;
        // Before the expensive hash; the store decides again, in one step with the insertion. First who may register at
        // all: where registration is closed, nobody learns which names are taken.
        self.may_register(invite.as_deref()).await?;
        if self.store().credentials(username.clone()).await?.is_some() {
            return Err(AppError::UsernameTaken);
        }
        let password_hash = self.parts.hashes.hash(self.parts.pepper.prehash(&password)).await?;
        let created_at = self.now_ms();
        let id = random_user_id();
        let new = NewUser { id, username, display_name, password_hash, created_at };
        match self.store().register(new, invite).await? {
            store::Registration::Done(user) => self.begin_session(&user, user_agent).await,
            store::Registration::UsernameTaken => Err(AppError::UsernameTaken),
            store::Registration::Closed => Err(AppError::RegistrationClosed),
        }
    }

    async fn may_register(&self, invite: Option<&str>) -> Result<(), AppError> {
        let mode = self.store().settings().await?.registration;
        if mode == RegistrationMode::Open || !self.store().has_users().await? {
            return Ok(());
        }
        let code = invite.filter(|_| mode == RegistrationMode::Invite);
        let good = match code {
            Some(code) => self.store().invite(code.to_owned()).await?,
            None => None,
        };
        if good == Some(InviteCode::Registration) {
            Ok(())
        } else {
            Err(AppError::RegistrationClosed)
        }
    }

    /// Begins a session for name and password.
    pub async fn login(
        &self,
        caller: Caller,
        username: String,
        password: String,
        user_agent: String,
    ) -> Result<Login, AppError> {
        let username = username.to_ascii_lowercase();
        self.limit_address(caller, &self.limits().login_per_address)?;
        if !caller.exempt {
            // By address, too: otherwise anybody could lock anybody out by guessing.
            let key = (&username, address_key(caller.address));
            take(&self.limits().login_per_account, key, self.now_ms())?;
        }
        let known = self.store().credentials(username).await?;
        let user = self.verify(known, &password).await?;
        if user.disabled {
            Err(AppError::Disabled)
        } else {
            self.begin_session(&user, user_agent).await
        }
    }

    /// The account if the password is its own. An unknown name costs the same time and gets the same answer.
    async fn verify(
        &self,
        known: Option<Credentials>,
        password: &str,
    ) -> Result<store::User, AppError> {
        let secret = self.parts.pepper.prehash(password);
        let (user, hash) = known.map(|c| (c.user, c.password_hash)).unzip();
        let right = self.parts.hashes.verify(secret, hash).await?;
        user.filter(|_| right).ok_or(AppError::BadCredentials)
    }

    /// Checks the password of somebody who is logged in, before something that cannot be undone.
    pub(super) async fn prove(
        &self,
        caller: Caller,
        who: AuthContext,
        password: &str,
    ) -> Result<(), AppError> {
        self.limit_address(caller, &self.limits().login_per_address)?;
        take(&self.limits().login_per_account, who.user, self.now_ms())?;
        let known = self.store().credentials_of(who.user).await?;
        self.verify(known, password).await.map(|_| ())
    }

    /// Changes the password and ends all other sessions.
    pub async fn change_password(
        &self,
        caller: Caller,
        who: AuthContext,
        current: String,
        new: String,
    ) -> Result<(), AppError> {
        check_password(&new).map_err(|what| AppError::field("new", what))?;
        self.prove(caller, who, &current).await?;
        self.set_password(who.user, &new, Some(who)).await
    }

    /// Sets a password and ends all sessions but that of `keep`.
    pub(super) async fn set_password(
        &self,
        user: UserId,
        password: &str,
        keep: Option<AuthContext>,
    ) -> Result<(), AppError> {
        let hash = self.parts.hashes.hash(self.parts.pepper.prehash(password)).await?;
        let except = keep.map(|who| who.session);
        let ended = self.store().set_password(user, hash, except).await?;
        self.end_all(user, ended).await
    }

    fn limit_address(&self, caller: Caller, limiter: &RateLimiter) -> Result<(), AppError> {
        if caller.exempt {
            return Ok(());
        }
        take(limiter, address_key(caller.address), self.now_ms())
    }
}

/// Takes a token or says when there is one.
pub(super) fn take<K: std::hash::Hash>(
    limiter: &RateLimiter,
    key: K,
    now_ms: u64,
) -> Result<(), AppError> {
    limiter.take(key, now_ms).map_err(|retry_after_ms| AppError::RateLimited { retry_after_ms })
}
