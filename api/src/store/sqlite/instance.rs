//! Settings, invitations, reports.
//!
//! Owns: these tables. Never does: decide who may ask. Talks to: rusqlite. Start reading at: [`settings`].

use protocol::{ConversationId, UserId};
use rusqlite::{Connection, OptionalExtension, Transaction};

use super::{
    SqliteStore,
    columns::{blob, conversation_at, count, int, nat_at, user_at},
};
use crate::store::{
    Directory, Instance, InviteCode, NewReport, RegistrationMode, Report, Settings, SettingsChange,
    StoreError, StoreFuture,
};

/// Settings that were never changed have their defaults.
pub(super) fn settings(connection: &Connection) -> rusqlite::Result<Settings> {
    let mut settings = Settings::default();
    let mut statement = connection.prepare_cached("SELECT key, value FROM settings")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (key, value): (String, String) = (row.get(0)?, row.get(1)?);
        match (key.as_str(), value.as_str()) {
            ("name", _) => settings.name = value,
            ("registration", "open") => settings.registration = RegistrationMode::Open,
            ("registration", "invite") => settings.registration = RegistrationMode::Invite,
            // A word of another version closes: the safe side.
            ("registration", _) => settings.registration = RegistrationMode::Closed,
            ("directory", "open") => settings.directory = Directory::Open,
            ("directory", _) => settings.directory = Directory::Contacts,
            _ => {}
        }
    }
    Ok(settings)
}

fn change_settings(tx: &Transaction<'_>, change: &SettingsChange) -> Result<Settings, StoreError> {
    let registration = change.registration.map(|mode| match mode {
        RegistrationMode::Open => "open",
        RegistrationMode::Invite => "invite",
        RegistrationMode::Closed => "closed",
    });
    let directory = change.directory.map(|directory| match directory {
        Directory::Open => "open",
        Directory::Contacts => "contacts",
    });
    let changes = [
        ("name", change.name.as_deref()),
        ("registration", registration),
        ("directory", directory),
    ];
    for (key, value) in changes {
        if let Some(value) = value {
            let sql = "INSERT OR REPLACE INTO settings (key, value) VALUES (?1, ?2)";
            tx.execute(sql, (key, value))?;
        }
    }
    Ok(settings(tx)?)
}

/// Whether a code is good for a registration.
pub(super) fn is_open_invite(connection: &Connection, code: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM invites WHERE code = ?1 AND conversation IS NULL AND used = 0)";
    connection.query_row(sql, [code], |row| row.get(0))
}

/// Uses up a code.
pub(super) fn use_up_invite(tx: &Transaction<'_>, code: &str) -> rusqlite::Result<()> {
    tx.execute("UPDATE invites SET used = 1 WHERE code = ?1 AND conversation IS NULL", [code])?;
    Ok(())
}

fn add_report(tx: &Transaction<'_>, report: &NewReport) -> Result<(), StoreError> {
    tx.execute(
        "INSERT OR IGNORE INTO reports (made_by, conversation, seq, sender, text, reason, ts) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        (
            int(report.by.0),
            blob(report.conversation.0),
            int(report.seq),
            int(report.from.0),
            &report.text,
            &report.reason,
            int(report.ts),
        ),
    )?;
    Ok(())
}

fn reports(tx: &Transaction<'_>, limit: usize) -> Result<Vec<Report>, StoreError> {
    let mut statement = tx.prepare_cached(
        "SELECT id, made_by, conversation, seq, sender, text, reason, ts, closed FROM reports \
         ORDER BY closed, id DESC LIMIT ?1",
    )?;
    let rows = statement.query_map([count(limit)], |row| {
        let report = NewReport {
            by: user_at(row, 1)?,
            conversation: conversation_at(row, 2)?,
            seq: nat_at(row, 3)?,
            from: user_at(row, 4)?,
            text: row.get(5)?,
            reason: row.get(6)?,
            ts: nat_at(row, 7)?,
        };
        Ok(Report { id: nat_at(row, 0)?, report, closed: row.get(8)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

impl Instance for SqliteStore {
    fn settings(&self) -> StoreFuture<'_, Settings> {
        self.read(|tx| Ok(settings(tx)?))
    }

    fn change_settings(&self, change: SettingsChange) -> StoreFuture<'_, Settings> {
        self.write(move |tx| change_settings(tx, &change))
    }

    fn add_registration_invite(
        &self,
        code: String,
        by: UserId,
        now_ms: u64,
    ) -> StoreFuture<'_, ()> {
        self.write(move |tx| {
            let sql = "INSERT INTO invites (code, made_by, created_at) VALUES (?1, ?2, ?3)";
            tx.execute(sql, (code, int(by.0), int(now_ms)))?;
            Ok(())
        })
    }

    fn group_invite(
        &self,
        conversation: ConversationId,
        fresh: String,
        by: UserId,
        now_ms: u64,
    ) -> StoreFuture<'_, String> {
        self.write(move |tx| {
            let id = blob(conversation.0);
            tx.execute(
                "INSERT INTO invites (code, conversation, made_by, created_at) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (conversation) DO NOTHING",
                (fresh, id, int(by.0), int(now_ms)),
            )?;
            let sql = "SELECT code FROM invites WHERE conversation = ?1";
            Ok(tx.query_row(sql, [id], |row| row.get(0))?)
        })
    }

    fn revoke_group_invite(&self, conversation: ConversationId) -> StoreFuture<'_, ()> {
        self.write(move |tx| {
            let sql = "DELETE FROM invites WHERE conversation = ?1";
            tx.execute(sql, [blob(conversation.0)])?;
            Ok(())
        })
    }

    fn invite(&self, code: String) -> StoreFuture<'_, Option<InviteCode>> {
        self.read(move |tx| {
            let sql = "SELECT conversation FROM invites WHERE code = ?1 AND used = 0";
            let found =
                tx.query_row(sql, [code], |row| row.get::<_, Option<[u8; 16]>>(0)).optional()?;
            Ok(found.map(|id| match id {
                None => InviteCode::Registration,
                Some(id) => InviteCode::Group(ConversationId(u128::from_be_bytes(id))),
            }))
        })
    }

    fn add_report(&self, report: NewReport) -> StoreFuture<'_, ()> {
        self.write(move |tx| add_report(tx, &report))
    }

    fn reports(&self, limit: usize) -> StoreFuture<'_, Vec<Report>> {
        self.read(move |tx| reports(tx, limit))
    }

    fn close_report(&self, id: u64) -> StoreFuture<'_, bool> {
        self.write(move |tx| {
            Ok(tx.execute("UPDATE reports SET closed = 1 WHERE id = ?1", [int(id)])? == 1)
        })
    }
}
