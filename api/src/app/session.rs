//! Sessions: begin, refresh, list, end.
//!
//! Owns: what a login hands out, and when it ends. Never does: passwords (account.rs), cookies (http).
//! Talks to: the store, token, `Live`. Start reading at: [`App::refresh`].

use backplane::Revocation;
use protocol::{SessionId, UserId, event::UserChange};
use serde::Serialize;
use token::{Audience, Claims};
use utoipa::ToSchema;

use super::{App, AppError, cards::Me};
use crate::{
    auth::{AuthContext, RefreshToken},
    config::{REFRESH_GRACE_MS, REFRESH_MS, SESSIONS_PER_USER_MAX},
    store::{NewSession, Refreshed, Rotation, Session, User},
};

/// What a login or refresh answers.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AuthReply {
    /// Who I am.
    pub user: Me,
    /// 32 hex digits.
    #[schema(value_type = String)]
    pub session: SessionId,
    /// For `reauth` on the socket, and as bearer token of programs.
    pub socket_token: String,
    /// Unix milliseconds when both tokens end.
    pub expires_at: u64,
}

/// A login with what goes into cookies.
#[derive(Debug)]
pub struct Login {
    /// For the body.
    pub reply: AuthReply,
    /// Access token.
    pub access: String,
    /// Refresh token; `None`: the one that the client has stays good.
    pub refresh: Option<String>,
}

/// One of my sessions.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SessionInfo {
    /// 32 hex digits.
    #[schema(value_type = String)]
    pub id: SessionId,
    /// The one that asks.
    pub current: bool,
    /// Unix milliseconds.
    pub created_at: u64,
    /// Unix milliseconds of the last login or refresh.
    pub last_used_at: u64,
    /// What the browser calls itself.
    pub user_agent: String,
}

/// All my sessions.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SessionList {
    /// Last used first.
    pub sessions: Vec<SessionInfo>,
}

impl App {
    /// Begins a session for somebody whose password was right.
    pub(super) async fn begin_session(
        &self,
        user: &User,
        user_agent: String,
    ) -> Result<Login, AppError> {
        let id = SessionId(rand::random());
        let refresh = RefreshToken::generate(id);
        let now_ms = self.now_ms();
        let new = NewSession {
            id,
            user: user.id,
            refresh_hash: refresh.hash(),
            user_agent,
            created_at: now_ms,
            expires_at: now_ms + REFRESH_MS,
        };
        let ended = self.store().create_session(new, SESSIONS_PER_USER_MAX).await?;
        // First, whatever comes: nobody else knows of them any more.
        for session in ended {
            self.revoke(Revocation::Session(session)).await;
        }
        // Who was switched off while the password was checked has a session that nobody has ended.
        let present = self.store().user(user.id).await?;
        if present.is_none_or(|present| present.disabled) {
            self.store().end_session(user.id, id).await?;
            return Err(AppError::Disabled);
        }
        self.store().note_seen(vec![(user.id, now_ms)]).await?;
        self.tell(user.id, UserChange::Sessions).await;
        Ok(self.tokens(user, id, Some(refresh.text())))
    }

    fn tokens(&self, user: &User, session: SessionId, refresh: Option<String>) -> Login {
        let now = self.config().clock.now_seconds();
        let access = Claims::new(Audience::Access, user.id, session, now);
        let socket = Claims::new(Audience::Socket, user.id, session, now);
        let reply = AuthReply {
            user: Me::of(user),
            session,
            socket_token: self.parts.keyring.sign(&socket),
            expires_at: access.exp * 1_000,
        };
        Login { reply, access: self.parts.keyring.sign(&access), refresh }
    }

    /// A fresh pair of tokens for a refresh token. The token is replaced; its predecessor gets fresh access tokens for 10 s
    /// (parallel tabs), and ends the session after that: then somebody has a copy.
    pub async fn refresh(&self, text: &str) -> Result<Login, AppError> {
        let shown = RefreshToken::parse(text).ok_or(AppError::Unauthorized)?;
        let next = RefreshToken::generate(shown.session());
        let now_ms = self.now_ms();
        let rotation = Rotation {
            session: shown.session(),
            shown: shown.hash(),
            next: next.hash(),
            now_ms,
            grace_ms: REFRESH_GRACE_MS,
            expires_at: now_ms + REFRESH_MS,
        };
        let (session, refresh) = match self.store().rotate(rotation).await? {
            Refreshed::Rotated(session) => (session, Some(next.text())),
            Refreshed::Grace(session) => (session, None),
            Refreshed::Reused(session) => {
                tracing::warn!(session = %session.id, "an old refresh token came back; session ended");
                self.end(session.user, Revocation::Session(session.id)).await?;
                return Err(AppError::Unauthorized);
            }
            Refreshed::Unknown => return Err(AppError::Unauthorized),
        };
        let user = self.store().user(session.user).await?.filter(|user| !user.deleted);
        let user = user.ok_or(AppError::Unauthorized)?;
        if user.disabled {
            return Err(AppError::Disabled);
        }
        self.store().note_seen(vec![(user.id, now_ms)]).await?;
        Ok(self.tokens(&user, session.id, refresh))
    }

    /// Whether a good token's session was ended before its time. What live state knew of that may be lost with a process
    /// or a disk, so a token that is older than this process has to have a session in the store; so has every token while
    /// live state is away, since people go on reading and writing then (ADR 0011).
    pub async fn is_over(&self, claims: &Claims) -> Result<bool, AppError> {
        let issued_at_ms = claims.iat.saturating_mul(1_000);
        match self.live().is_revoked(claims.sub, claims.sid, issued_at_ms).await {
            Ok(true) => return Ok(true),
            Ok(false) if issued_at_ms > self.started_at_ms => return Ok(false),
            Ok(false) | Err(_) => {}
        }
        let session = self.store().session(claims.sid, self.now_ms()).await?;
        Ok(session.is_none_or(|session| session.user != claims.sub))
    }

    /// Ends the session of an access token, or of a refresh token when the access token is over already. Neither: nothing.
    pub async fn logout(
        &self,
        who: Option<AuthContext>,
        refresh: Option<&str>,
    ) -> Result<(), AppError> {
        let (user, session) = match (who, refresh.and_then(RefreshToken::parse)) {
            (Some(who), _) => (who.user, who.session),
            (None, Some(token)) => match self.session_of(&token).await? {
                Some(session) => (session.user, session.id),
                None => return Ok(()),
            },
            (None, None) => return Ok(()),
        };
        self.store().end_session(user, session).await?;
        self.end(user, Revocation::Session(session)).await
    }

    /// The session whose newest refresh token this is.
    async fn session_of(&self, token: &RefreshToken) -> Result<Option<Session>, AppError> {
        let now_ms = self.now_ms();
        let rotation = Rotation {
            session: token.session(),
            shown: token.hash(),
            next: token.hash(),
            now_ms,
            grace_ms: REFRESH_GRACE_MS,
            expires_at: now_ms + REFRESH_MS,
        };
        match self.store().rotate(rotation).await? {
            Refreshed::Rotated(session)
            | Refreshed::Grace(session)
            | Refreshed::Reused(session) => Ok(Some(session)),
            Refreshed::Unknown => Ok(None),
        }
    }

    async fn end(&self, user: UserId, revocation: Revocation) -> Result<(), AppError> {
        self.revoke(revocation).await;
        self.tell(user, UserChange::Sessions).await;
        Ok(())
    }

    /// Ends sessions that the store has forgotten, one by one: a revocation of the user as a whole goes by the second in
    /// which a token was issued, and would take a login of that same second with it.
    pub(super) async fn end_all(
        &self,
        user: UserId,
        ended: Vec<SessionId>,
    ) -> Result<(), AppError> {
        for session in ended {
            self.revoke(Revocation::Session(session)).await;
        }
        self.tell(user, UserChange::Sessions).await;
        Ok(())
    }

    /// Where this user is logged in.
    pub async fn sessions(&self, who: AuthContext) -> Result<SessionList, AppError> {
        let sessions = self.store().sessions(who.user, self.now_ms()).await?;
        let info = |session: Session| SessionInfo {
            current: session.id == who.session,
            id: session.id,
            created_at: session.created_at,
            last_used_at: session.last_used_at,
            user_agent: session.user_agent,
        };
        Ok(SessionList { sessions: sessions.into_iter().map(info).collect() })
    }

    /// Ends one session of this user.
    pub async fn revoke_session(
        &self,
        who: AuthContext,
        session: SessionId,
    ) -> Result<(), AppError> {
        if !self.store().end_session(who.user, session).await? {
            return Err(AppError::NotFound("session"));
        }
        self.end(who.user, Revocation::Session(session)).await
    }

    /// Ends all sessions of this user but this one.
    pub async fn revoke_other_sessions(&self, who: AuthContext) -> Result<(), AppError> {
        let ended = self.store().end_sessions(who.user, Some(who.session)).await?;
        self.end_all(who.user, ended).await
    }
}
