//! Settings of the instance, invitations, reports.
//!
//! Owns: the records and the questions. Never does: decide who may ask. Talks to: nobody. Start reading at: [`Instance`].

use protocol::{ConversationId, UserId};

use super::StoreFuture;

/// Who may register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RegistrationMode {
    /// Everybody.
    #[default]
    Open,
    /// Whoever has an invitation.
    Invite,
    /// Nobody.
    Closed,
}

/// Who can find whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Directory {
    /// Everybody everybody.
    #[default]
    Open,
    /// Only people who share a conversation.
    Contacts,
}

/// Settings of the instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What it calls itself.
    pub name: String,
    /// Who may register.
    pub registration: RegistrationMode,
    /// Who can find whom.
    pub directory: Directory,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "WebChat".to_owned(),
            registration: RegistrationMode::default(),
            directory: Directory::default(),
        }
    }
}

/// Fields to change; `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SettingsChange {
    /// New name.
    pub name: Option<String>,
    /// Who may register.
    pub registration: Option<RegistrationMode>,
    /// Who can find whom.
    pub directory: Option<Directory>,
}

/// What a code is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InviteCode {
    /// One registration.
    Registration,
    /// Joining a group, for as many as come.
    Group(ConversationId),
}

/// A report to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReport {
    /// Who reports.
    pub by: UserId,
    /// Where.
    pub conversation: ConversationId,
    /// Which message.
    pub seq: u64,
    /// Who wrote it.
    pub from: UserId,
    /// Its text at that time.
    pub text: String,
    /// Why.
    pub reason: String,
    /// Unix milliseconds.
    pub ts: u64,
}

/// A report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Which.
    pub id: u64,
    /// What it says.
    pub report: NewReport,
    /// Dealt with.
    pub closed: bool,
}

/// Settings, invitations, reports.
pub trait Instance: Send + Sync {
    /// The settings.
    fn settings(&self) -> StoreFuture<'_, Settings>;

    /// Changes some and returns all.
    fn change_settings(&self, change: SettingsChange) -> StoreFuture<'_, Settings>;

    /// Keeps an invitation to register.
    fn add_registration_invite(&self, code: String, by: UserId, now_ms: u64)
    -> StoreFuture<'_, ()>;

    /// The group's code; `fresh` becomes it if there is none.
    fn group_invite(
        &self,
        conversation: ConversationId,
        fresh: String,
        by: UserId,
        now_ms: u64,
    ) -> StoreFuture<'_, String>;

    /// Makes the group's code void.
    fn revoke_group_invite(&self, conversation: ConversationId) -> StoreFuture<'_, ()>;

    /// What a code is good for now; `None` = nothing.
    fn invite(&self, code: String) -> StoreFuture<'_, Option<InviteCode>>;

    /// Keeps a report. The same person reporting the same message again changes nothing.
    fn add_report(&self, report: NewReport) -> StoreFuture<'_, ()>;

    /// Reports, open ones first, then the latest first.
    fn reports(&self, limit: usize) -> StoreFuture<'_, Vec<Report>>;

    /// Closes one. `false`: no such report.
    fn close_report(&self, id: u64) -> StoreFuture<'_, bool>;
}
