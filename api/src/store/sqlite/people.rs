//! Accounts, the words of their names, and blocks.
//!
//! Owns: the tables `users`, `user_words`, `blocks`. Never does: see a password. Talks to: words.rs, sessions.rs.
//! Start reading at: [`register`].

use std::collections::HashSet;

use protocol::{SessionId, UserId, limits};
use rusqlite::{Connection, OptionalExtension, Row, Transaction};

use super::{
    SqliteStore,
    columns::{count, int, nat_at, user_at},
    instance, sessions,
};
use crate::store::{
    Credentials, NewUser, PeopleQuery, Registration, RegistrationMode, StoreError, StoreFuture,
    User, UserChange, Users, words::name_words,
};

/// What [`user_row`] reads, and the password's hash behind it.
const USER: &str = "SELECT id, username, display_name, about, admin, disabled, hidden, receipts_off, deleted, \
     created_at, last_seen, password_hash FROM users";

fn user_row(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: user_at(row, 0)?,
        username: row.get::<_, Option<String>>(1)?.unwrap_or_default(),
        display_name: row.get(2)?,
        about: row.get(3)?,
        admin: row.get(4)?,
        disabled: row.get(5)?,
        hidden: row.get(6)?,
        receipts_off: row.get(7)?,
        deleted: row.get(8)?,
        created_at: nat_at(row, 9)?,
        last_seen: nat_at(row, 10)?,
    })
}

fn credentials_row(row: &Row<'_>) -> rusqlite::Result<Credentials> {
    Ok(Credentials { user: user_row(row)?, password_hash: row.get(11)? })
}

fn user(connection: &Connection, id: UserId) -> rusqlite::Result<Option<User>> {
    let sql = format!("{USER} WHERE id = ?1");
    connection.prepare_cached(&sql)?.query_row([int(id.0)], user_row).optional()
}

fn has_users(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM users)", [], |row| row.get(0))
}

/// Whom somebody blocked, the latest first.
pub(super) fn blocked_by(connection: &Connection, user: UserId) -> rusqlite::Result<Vec<UserId>> {
    let sql = "SELECT blocked FROM blocks WHERE user = ?1 ORDER BY at DESC, blocked";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_map([int(user.0)], |row| user_at(row, 0))?.collect()
}

fn register(
    tx: &Transaction<'_>,
    new: &NewUser,
    invite: Option<&str>,
) -> Result<Registration, StoreError> {
    let first = !has_users(tx)?;
    let mode = instance::settings(tx)?.registration;
    let invited = mode == RegistrationMode::Invite
        && invite.map_or(Ok(false), |code| instance::is_open_invite(tx, code))?;
    if !first && mode != RegistrationMode::Open && !invited {
        return Ok(Registration::Closed);
    }
    if !insert(tx, new, first)? {
        return Ok(Registration::UsernameTaken);
    }
    if let Some(code) = invite.filter(|_| invited) {
        instance::use_up_invite(tx, code)?;
    }
    let made = user(tx, new.id)?;
    let made = made.ok_or_else(|| StoreError::Internal("a new user is not there".to_owned()))?;
    Ok(Registration::Done(Box::new(made)))
}

/// `false`: the name is taken.
fn insert(tx: &Transaction<'_>, new: &NewUser, admin: bool) -> rusqlite::Result<bool> {
    let inserted = tx
        .prepare_cached(
            "INSERT INTO users (id, username, display_name, about, password_hash, admin, disabled, hidden, \
             receipts_off, deleted, created_at, last_seen) VALUES (?1, ?2, ?3, '', ?4, ?5, 0, 0, 0, 0, ?6, 0) \
             ON CONFLICT (username) DO NOTHING",
        )?
        .execute((
            int(new.id.0),
            &new.username,
            &new.display_name,
            &new.password_hash,
            admin,
            int(new.created_at),
        ))?;
    if inserted == 1 {
        index_name(tx, new.id, &new.username, &new.display_name)?;
    }
    Ok(inserted == 1)
}

/// The words by which somebody is found.
fn index_name(
    tx: &Transaction<'_>,
    id: UserId,
    username: &str,
    display_name: &str,
) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM user_words WHERE user = ?1", [int(id.0)])?;
    let sql = "INSERT OR IGNORE INTO user_words (word, user) VALUES (?1, ?2)";
    let mut statement = tx.prepare_cached(sql)?;
    for word in name_words(username).iter().chain(&name_words(display_name)) {
        statement.execute((word, int(id.0)))?;
    }
    Ok(())
}

/// Whether each word asked for begins a word of the name.
fn has_words(user: &User, wanted: &[String]) -> bool {
    let (mut words, more) = (name_words(&user.username), name_words(&user.display_name));
    words.extend(more);
    wanted.iter().all(|wanted| words.iter().any(|word| word.starts_with(wanted.as_str())))
}

fn find_people(tx: &Transaction<'_>, query: &PeopleQuery) -> Result<Vec<User>, StoreError> {
    let wanted = name_words(&query.text);
    if wanted.is_empty() && !query.text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let fits = |user: &User| -> Result<bool, StoreError> {
        Ok(!user.deleted
            && (query.disabled_too || !user.disabled)
            && has_words(user, &wanted)
            && match query.contacts_of {
                Some(other) => share_a_conversation(tx, other, user.id)?,
                None => true,
            })
    };
    let in_order_of_ids = query.after.is_some() || wanted.is_empty();
    if in_order_of_ids {
        let mut statement = tx.prepare_cached(&format!("{USER} WHERE id > ?1 ORDER BY id"))?;
        let mut rows = statement.query([query.after.map_or(0, |after| int(after.0))])?;
        while found.len() < query.limit
            && let Some(row) = rows.next()?
        {
            let user = user_row(row)?;
            if fits(&user)? {
                found.push(user);
            }
        }
        return Ok(found);
    }
    let sql = "SELECT user FROM user_words WHERE word >= ?1 AND word < ?1 || char(1114111) ORDER BY word, user";
    let mut statement = tx.prepare_cached(sql)?;
    let mut rows = statement.query([&wanted[0]])?;
    let mut seen = HashSet::new();
    while found.len() < query.limit
        && let Some(row) = rows.next()?
    {
        let id = user_at(row, 0)?;
        if seen.insert(id)
            && let Some(user) = user(tx, id)?
            && fits(&user)?
        {
            found.push(user);
        }
    }
    Ok(found)
}

fn share_a_conversation(connection: &Connection, a: UserId, b: UserId) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM memberships x JOIN memberships y ON y.conversation = x.conversation \
         AND y.user = ?2 AND y.role IS NOT NULL WHERE x.user = ?1 AND x.role IS NOT NULL)";
    connection.prepare_cached(sql)?.query_row([int(a.0), int(b.0)], |row| row.get(0))
}

fn change_user(
    tx: &Transaction<'_>,
    id: UserId,
    change: &UserChange,
) -> Result<Option<User>, StoreError> {
    let UserChange { display_name, about, hidden, receipts_off, disabled, admin } = change;
    tx.prepare_cached(
        "UPDATE users SET display_name = coalesce(?2, display_name), about = coalesce(?3, about), \
         hidden = coalesce(?4, hidden), receipts_off = coalesce(?5, receipts_off), \
         disabled = coalesce(?6, disabled), admin = coalesce(?7, admin) WHERE id = ?1 AND deleted = 0",
    )?
    .execute((int(id.0), display_name, about, hidden, receipts_off, disabled, admin))?;
    let changed = user(tx, id)?.filter(|user| !user.deleted);
    if let Some(user) = changed.as_ref().filter(|_| display_name.is_some()) {
        index_name(tx, id, &user.username, &user.display_name)?;
    }
    Ok(changed)
}

fn delete_user(tx: &Transaction<'_>, id: UserId) -> Result<Vec<SessionId>, StoreError> {
    tx.execute(
        "UPDATE users SET username = NULL, display_name = '', about = '', password_hash = '', admin = 0, \
         disabled = 1, hidden = 1, deleted = 1 WHERE id = ?1",
        [int(id.0)],
    )?;
    for sql in [
        "DELETE FROM user_words WHERE user = ?1",
        "DELETE FROM blocks WHERE user = ?1",
        "DELETE FROM mine WHERE user = ?1",
    ] {
        tx.execute(sql, [int(id.0)])?;
    }
    Ok(sessions::end_all(tx, id, None)?)
}

fn set_blocked(
    tx: &Transaction<'_>,
    user: UserId,
    other: UserId,
    on: bool,
    now_ms: u64,
) -> Result<bool, StoreError> {
    if !on {
        let sql = "DELETE FROM blocks WHERE user = ?1 AND blocked = ?2";
        tx.execute(sql, [int(user.0), int(other.0)])?;
        return Ok(true);
    }
    let sql = "INSERT OR IGNORE INTO blocks (user, blocked, at) SELECT ?1, ?2, ?3 \
         WHERE (SELECT count(*) FROM blocks WHERE user = ?1) < ?4";
    tx.execute(sql, (int(user.0), int(other.0), int(now_ms), count(limits::BLOCKED_MAX)))?;
    Ok(blocked_by(tx, user)?.contains(&other))
}

impl Users for SqliteStore {
    fn register(&self, new: NewUser, invite: Option<String>) -> StoreFuture<'_, Registration> {
        self.write(move |tx| register(tx, &new, invite.as_deref()))
    }

    fn seed_users(&self, new: Vec<NewUser>) -> StoreFuture<'_, usize> {
        self.write(move |tx| {
            let mut made = 0;
            for user in &new {
                made += usize::from(insert(tx, user, false)?);
            }
            Ok(made)
        })
    }

    fn has_users(&self) -> StoreFuture<'_, bool> {
        self.read(|tx| Ok(has_users(tx)?))
    }

    fn user(&self, id: UserId) -> StoreFuture<'_, Option<User>> {
        self.read(move |tx| Ok(user(tx, id)?))
    }

    fn users(&self, ids: Vec<UserId>) -> StoreFuture<'_, Vec<User>> {
        self.read(move |tx| {
            let mut found = Vec::with_capacity(ids.len());
            for id in ids {
                found.extend(user(tx, id)?);
            }
            Ok(found)
        })
    }

    fn credentials(&self, username: String) -> StoreFuture<'_, Option<Credentials>> {
        self.read(move |tx| {
            let mut statement = tx.prepare_cached(&format!("{USER} WHERE username = ?1"))?;
            Ok(statement.query_row([username], credentials_row).optional()?)
        })
    }

    fn credentials_of(&self, id: UserId) -> StoreFuture<'_, Option<Credentials>> {
        self.read(move |tx| {
            let sql = format!("{USER} WHERE id = ?1 AND deleted = 0");
            let mut statement = tx.prepare_cached(&sql)?;
            Ok(statement.query_row([int(id.0)], credentials_row).optional()?)
        })
    }

    fn find_people(&self, query: PeopleQuery) -> StoreFuture<'_, Vec<User>> {
        self.read(move |tx| find_people(tx, &query))
    }

    fn contacts(&self, user: UserId, people: Vec<UserId>) -> StoreFuture<'_, Vec<UserId>> {
        self.read(move |tx| {
            let mut contacts = Vec::new();
            for other in people {
                if other == user || share_a_conversation(tx, user, other)? {
                    contacts.push(other);
                }
            }
            Ok(contacts)
        })
    }

    fn change_user(&self, id: UserId, change: UserChange) -> StoreFuture<'_, Option<User>> {
        self.write(move |tx| change_user(tx, id, &change))
    }

    fn set_password(
        &self,
        id: UserId,
        password_hash: String,
        keep: Option<SessionId>,
    ) -> StoreFuture<'_, Vec<SessionId>> {
        self.write(move |tx| {
            let sql = "UPDATE users SET password_hash = ?2 WHERE id = ?1 AND deleted = 0";
            tx.execute(sql, (int(id.0), password_hash))?;
            Ok(sessions::end_all(tx, id, keep)?)
        })
    }

    fn delete_user(&self, id: UserId) -> StoreFuture<'_, Vec<SessionId>> {
        self.write(move |tx| delete_user(tx, id))
    }

    fn note_seen(&self, seen: Vec<(UserId, u64)>) -> StoreFuture<'_, ()> {
        self.write_unsynced(move |tx| {
            let sql = "UPDATE users SET last_seen = max(last_seen, ?2) WHERE id = ?1";
            let mut statement = tx.prepare_cached(sql)?;
            for (id, at) in seen {
                statement.execute([int(id.0), int(at)])?;
            }
            Ok(())
        })
    }

    fn blocked(&self, user: UserId) -> StoreFuture<'_, Vec<UserId>> {
        self.read(move |tx| Ok(blocked_by(tx, user)?))
    }

    fn set_blocked(
        &self,
        user: UserId,
        other: UserId,
        on: bool,
        now_ms: u64,
    ) -> StoreFuture<'_, bool> {
        self.write(move |tx| set_blocked(tx, user, other, on, now_ms))
    }
}
