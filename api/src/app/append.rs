//! Appending through HTTP: decide under one `mver`, append, decide again if it was another one.
//!
//! Owns: the loop around the log's verdicts, and what reads of a conversation are authorised by. Never does: decide what
//! is allowed (its callers pass that in). Talks to: the appender, the history reader. Start reading at: [`App::append`].

use backplane::{Earlier, Envelope, Key, StoredEvent, Verdict};
use protocol::{
    ConversationId, EventKind, Producer, Role, UserId,
    body::{MemberBody, MemberChange, content_hash},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    App, AppError,
    account::take,
    rules::{Group, Place},
};
use crate::auth::AuthContext;

/// Tries under another `mver`: each means that somebody changed the members in between.
const TRIES_MAX: usize = 8;

/// Where the event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Appended {
    /// Its place in the conversation.
    pub seq: u64,
}

/// What is to be appended, if it is allowed.
#[derive(Debug)]
pub(super) struct Draft {
    /// What kind.
    pub(super) kind: EventKind,
    /// Canonical JSON.
    pub(super) body: Vec<u8>,
}

/// What a request wants to append, as far as that is known before anything is decided.
#[derive(Debug)]
pub(super) enum Intent {
    /// Exactly this.
    Event(EventKind, Vec<u8>),
    /// Some of these, as this; `None` = not a member any more.
    Members(Vec<UserId>, Option<Role>),
}

impl Intent {
    fn is(&self, event: &StoredEvent, hash: u64) -> bool {
        match self {
            Self::Event(kind, body) => {
                event.kind == Some(*kind) && hash == content_hash(*kind, body)
            }
            Self::Members(users, role) => {
                let body = serde_json::from_slice::<MemberBody>(&event.body);
                let named =
                    |change: &MemberChange| change.role == *role && users.contains(&change.user);
                event.kind == Some(EventKind::Member)
                    && body.is_ok_and(|body| body.changes.iter().all(named))
            }
        }
    }
}

/// What an append is decided by.
#[derive(Debug)]
pub(super) enum Standing {
    /// Two people, or one.
    Direct,
    /// A group under its `mver`.
    Group(Group),
}

impl Standing {
    /// The group. Errors: a direct conversation has neither members to change nor settings.
    pub(super) fn group(&self) -> Result<&Group, AppError> {
        match self {
            Self::Group(group) => Ok(group),
            Self::Direct => Err(AppError::Forbidden("this is not a group")),
        }
    }

    fn mver(&self) -> u64 {
        match self {
            Self::Group(group) => group.mver,
            Self::Direct => 0,
        }
    }
}

impl App {
    /// The standing of a conversation for somebody who is in it now. To everybody else it does not exist.
    pub(super) async fn standing(
        &self,
        user: UserId,
        id: ConversationId,
    ) -> Result<Standing, AppError> {
        if !id.is_group() {
            let exists = id.names(user) && self.history().head(id).await?.is_some();
            return if exists {
                Ok(Standing::Direct)
            } else {
                Err(AppError::NotFound("conversation"))
            };
        }
        let group = self.group(id).await?.ok_or(AppError::NotFound("conversation"))?;
        group.role(user)?;
        Ok(Standing::Group(group))
    }

    /// A group as it stands now, the newest membership events of the log included.
    pub(super) async fn group(&self, id: ConversationId) -> Result<Option<Group>, AppError> {
        let Some(current) = self.history().current(id).await? else { return Ok(None) };
        let members = current.members.iter().filter_map(|member| {
            let (role, since) = (member.role?, member.since);
            Some((member.user, Place { role, since }))
        });
        Ok(Some(Group {
            mver: current.conversation.head.mver,
            history: current.conversation.history,
            members: members.collect(),
        }))
    }

    /// Appends what `decide` makes of the conversation as it stands, under the `mver` that it was decided by. A change of
    /// members in between is decided again. Errors: those of `decide`; `Conflict` if the key was used for something else.
    pub(super) async fn append(
        &self,
        user: UserId,
        key: Producer,
        id: ConversationId,
        decide: impl Fn(&Standing) -> Result<Draft, AppError>,
    ) -> Result<Stored, AppError> {
        take(&self.limits().appends_per_user, user, self.now_ms())?;
        for _ in 0..TRIES_MAX {
            let standing = self.standing(user, id).await?;
            let draft = decide(&standing)?;
            let key = Key { conversation: id, user, producer: key, no: 1 };
            let envelope = Envelope::new(key, standing.mver(), draft.kind, draft.body.into());
            if let Some(stored) = self.append_envelope(envelope).await? {
                return Ok(stored);
            }
        }
        Err(AppError::unavailable())
    }

    /// The same for what a group allows to somebody who need not be in it (joining), or without a limit (leaving for good).
    pub(super) async fn append_to_group(
        &self,
        user: UserId,
        key: Producer,
        id: ConversationId,
        decide: impl Fn(&Group) -> Result<Draft, AppError>,
    ) -> Result<Stored, AppError> {
        for _ in 0..TRIES_MAX {
            let group = self.group(id).await?.ok_or(AppError::NotFound("conversation"))?;
            let Draft { kind, body } = decide(&group)?;
            let key = Key { conversation: id, user, producer: key, no: 1 };
            let envelope = Envelope::new(key, group.mver, kind, body.into());
            if let Some(stored) = self.append_envelope(envelope).await? {
                return Ok(stored);
            }
        }
        Err(AppError::unavailable())
    }

    /// Appends one envelope. `None`: it was authorised under another `mver`.
    pub(super) async fn append_envelope(
        &self,
        envelope: Envelope,
    ) -> Result<Option<Stored>, AppError> {
        let kind = envelope.kind.as_str();
        let (key, hash) = (envelope.key(), envelope.hash);
        let verdict = self.parts.appender.append(envelope).await;
        self.metrics().appended(kind, verdict.as_ref().map_or("error", result_label));
        match verdict? {
            Verdict::Stored { seq, ts, .. } => Ok(Some(Stored { seq, ts, again: false })),
            Verdict::Dup { seq, ts, .. } => Ok(Some(Stored { seq, ts, again: true })),
            Verdict::StaleMembership { .. } => Ok(None),
            Verdict::UnknownConversation => Err(AppError::NotFound("conversation")),
            Verdict::Reused { .. } | Verdict::OutOfOrder { .. } => {
                Err(AppError::Conflict("this idempotency key was used for something else"))
            }
            Verdict::OldId => self.find_old(key, hash).await.map(Some),
        }
    }

    /// The answer of an attempt. If it is refused because an earlier request with the same key has done it already (who
    /// was deleted, added or removed is not there to be so again), the answer is that of the earlier one.
    pub(super) async fn once(
        &self,
        key: Key,
        intent: Intent,
        attempt: impl Future<Output = Result<Stored, AppError>>,
    ) -> Result<Appended, AppError> {
        let refusal = match attempt.await {
            Err(refusal @ (AppError::Conflict(_) | AppError::NotFound(_))) => refusal,
            other => return other.map(Into::into),
        };
        // Settles: the store then knows every key that the log has taken.
        self.history().head(key.conversation).await?;
        let found = self.parts.archive.find(key).await.map_err(|_| AppError::unavailable())?;
        let Some(Earlier { seq, hash, .. }) = found.stored else { return Err(refusal) };
        let event = self.history().event(key.conversation, seq).await?;
        if event.is_some_and(|event| intent.is(&event, hash)) {
            Ok(Appended { seq })
        } else {
            Err(refusal)
        }
    }

    /// The log has forgotten this key; the store has not.
    async fn find_old(&self, key: Key, hash: u64) -> Result<Stored, AppError> {
        let found = self.parts.archive.find(key).await.map_err(|_| AppError::unavailable())?;
        match found.stored {
            Some(Earlier { seq, ts, hash: stored, .. }) if stored == hash => {
                Ok(Stored { seq, ts, again: true })
            }
            _ => Err(AppError::Conflict("this idempotency key was used for something else")),
        }
    }
}

/// The key of an append through HTTP: each has a producer of its own.
pub(super) fn key_of(who: AuthContext, producer: Producer, conversation: ConversationId) -> Key {
    Key { conversation, user: who.user, producer, no: 1 }
}

/// An event that is in the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    /// Its place.
    pub(super) seq: u64,
    /// Unix milliseconds.
    pub(super) ts: u64,
    /// An earlier request with the same key had stored it.
    pub(super) again: bool,
}

impl From<Stored> for Appended {
    fn from(stored: Stored) -> Self {
        Self { seq: stored.seq }
    }
}

fn result_label(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Stored { .. } => "stored",
        Verdict::Dup { .. } => "dup",
        Verdict::Reused { .. } => "reused",
        Verdict::OutOfOrder { .. } => "out_of_order",
        Verdict::StaleMembership { .. } => "stale_membership",
        Verdict::OldId => "old_id",
        Verdict::UnknownConversation => "unknown_conversation",
    }
}
