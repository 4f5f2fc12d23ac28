//! The instance: its name and rules.
//!
//! Owns: how settings look to clients. Never does: change them (admin.rs). Talks to: the store.
//! Start reading at: [`App::instance`].

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{App, AppError};
use crate::store;

/// Who may register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RegistrationMode {
    /// Everybody.
    Open,
    /// Whoever has an invitation.
    Invite,
    /// Nobody.
    Closed,
}

/// Who can find whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Directory {
    /// Everybody everybody.
    Open,
    /// People who share a conversation.
    Contacts,
}

/// The instance's settings.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Settings {
    /// What it calls itself.
    pub name: String,
    /// Who may register.
    pub registration: RegistrationMode,
    /// Who can find whom.
    pub directory: Directory,
}

/// What everybody may know.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Instance {
    /// Its settings.
    #[serde(flatten)]
    pub settings: Settings,
    /// Somebody registered already; else the first one becomes the administrator.
    pub has_users: bool,
    /// Of the server.
    pub version: String,
}

impl From<store::RegistrationMode> for RegistrationMode {
    fn from(mode: store::RegistrationMode) -> Self {
        match mode {
            store::RegistrationMode::Open => Self::Open,
            store::RegistrationMode::Invite => Self::Invite,
            store::RegistrationMode::Closed => Self::Closed,
        }
    }
}

impl From<RegistrationMode> for store::RegistrationMode {
    fn from(mode: RegistrationMode) -> Self {
        match mode {
            RegistrationMode::Open => Self::Open,
            RegistrationMode::Invite => Self::Invite,
            RegistrationMode::Closed => Self::Closed,
        }
    }
}

impl From<store::Directory> for Directory {
    fn from(directory: store::Directory) -> Self {
        match directory {
            store::Directory::Open => Self::Open,
            store::Directory::Contacts => Self::Contacts,
        }
    }
}

impl From<Directory> for store::Directory {
    fn from(directory: Directory) -> Self {
        match directory {
            Directory::Open => Self::Open,
            Directory::Contacts => Self::Contacts,
        }
    }
}

impl From<store::Settings> for Settings {
    fn from(settings: store::Settings) -> Self {
        Self {
            name: settings.name,
            registration: settings.registration.into(),
            directory: settings.directory.into(),
        }
    }
}

impl App {
    /// Name and rules.
    pub async fn instance(&self) -> Result<Instance, AppError> {
        Ok(Instance {
            settings: self.store().settings().await?.into(),
            has_users: self.store().has_users().await?,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }
}
