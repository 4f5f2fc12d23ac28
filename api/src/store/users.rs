//! Accounts in the store.
//!
//! Owns: [`User`] and the questions about people. Never does: see a password. Talks to: nobody. Start reading at: [`Users`].

use protocol::{SessionId, UserId};

use super::StoreFuture;

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Who.
    pub id: UserId,
    /// Log-in name, lower case; empty once deleted.
    pub username: String,
    /// What others see; empty once deleted.
    pub display_name: String,
    /// A line about oneself.
    pub about: String,
    /// Administers this instance.
    pub admin: bool,
    /// May not log in.
    pub disabled: bool,
    /// Presence is not shown.
    pub hidden: bool,
    /// Sends and sees no receipts.
    pub receipts_off: bool,
    /// A tombstone: messages stay, the person is gone.
    pub deleted: bool,
    /// Unix milliseconds.
    pub created_at: u64,
    /// Unix milliseconds; 0 = never.
    pub last_seen: u64,
}

/// An account to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// Random, in range ([`UserId::checked`]).
    pub id: UserId,
    /// Checked and lower case already.
    pub username: String,
    /// What others see.
    pub display_name: String,
    /// Never the password.
    pub password_hash: String,
    /// Unix milliseconds.
    pub created_at: u64,
}

/// What became of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registration {
    /// The account is there. The first one of an instance administers it, whatever the settings say.
    Done(Box<User>),
    /// Somebody has the name.
    UsernameTaken,
    /// Closed, or by invitation and this is none (any more).
    Closed,
}

/// An account with what its password is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who.
    pub user: User,
    /// bcrypt.
    pub password_hash: String,
}

/// Fields to change; `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserChange {
    /// New name.
    pub display_name: Option<String>,
    /// New line.
    pub about: Option<String>,
    /// Hide presence.
    pub hidden: Option<bool>,
    /// No receipts.
    pub receipts_off: Option<bool>,
    /// Switch the account off or on. Sessions are not touched.
    pub disabled: Option<bool>,
    /// Make or unmake an administrator.
    pub admin: Option<bool>,
}

/// Who is looked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeopleQuery {
    /// Prefix of the user name, or of any word of the display name; case and accents do not matter. Empty: everybody.
    pub text: String,
    /// Only people who share a conversation with this one (`directory = contacts`).
    pub contacts_of: Option<UserId>,
    /// Also accounts that are switched off (administration). Deleted ones are never found.
    pub disabled_too: bool,
    /// `Some`: in the order of user ids, after this one (0 = from the first on). `None`: in the order of the words found.
    pub after: Option<UserId>,
    /// At most this many.
    pub limit: usize,
}

/// Accounts.
pub trait Users: Send + Sync {
    /// Makes an account if the settings and the invitation allow it; uses the invitation up. One step: two first users are
    /// never both administrators, and an invitation is good for one.
    fn register(&self, new: NewUser, invite: Option<String>) -> StoreFuture<'_, Registration>;

    /// Makes many accounts for tests and load, whatever the settings say. Names that are taken are skipped.
    fn seed_users(&self, new: Vec<NewUser>) -> StoreFuture<'_, usize>;

    /// Whether anybody ever registered.
    fn has_users(&self) -> StoreFuture<'_, bool>;

    /// One account, also a deleted one.
    fn user(&self, id: UserId) -> StoreFuture<'_, Option<User>>;

    /// Those that exist, deleted ones too, in no particular order.
    fn users(&self, ids: Vec<UserId>) -> StoreFuture<'_, Vec<User>>;

    /// By log-in name.
    fn credentials(&self, username: String) -> StoreFuture<'_, Option<Credentials>>;

    /// By id.
    fn credentials_of(&self, id: UserId) -> StoreFuture<'_, Option<Credentials>>;

    /// People by name.
    fn find_people(&self, query: PeopleQuery) -> StoreFuture<'_, Vec<User>>;

    /// Those of `people` who share a conversation with `user`, and `user`.
    fn contacts(&self, user: UserId, people: Vec<UserId>) -> StoreFuture<'_, Vec<UserId>>;

    /// Changes fields. `None`: no such account, or deleted.
    fn change_user(&self, id: UserId, change: UserChange) -> StoreFuture<'_, Option<User>>;

    /// Sets the password and ends every session but one, in one step. Returns the ended ones.
    fn set_password(
        &self,
        id: UserId,
        password_hash: String,
        keep: Option<SessionId>,
    ) -> StoreFuture<'_, Vec<SessionId>>;

    /// Makes the account a tombstone: name, password, blocks, flags and sessions go; the name is free again. Messages stay.
    /// Leaving groups is the caller's business, before this. Returns the ended sessions.
    fn delete_user(&self, id: UserId) -> StoreFuture<'_, Vec<SessionId>>;

    /// Notes when people were last seen (the larger time stays).
    fn note_seen(&self, seen: Vec<(UserId, u64)>) -> StoreFuture<'_, ()>;

    /// Whom somebody blocked, the latest first.
    fn blocked(&self, user: UserId) -> StoreFuture<'_, Vec<UserId>>;

    /// Blocks or unblocks. `false`: over [`protocol::limits::BLOCKED_MAX`], nothing changed.
    fn set_blocked(
        &self,
        user: UserId,
        other: UserId,
        on: bool,
        now_ms: u64,
    ) -> StoreFuture<'_, bool>;
}
