//! The tables, and what a start does with a data folder of another version.
//!
//! Owns: the schema and its version. Never does: queries. Talks to: rusqlite. Start reading at: [`TABLES`]; why it is laid
//! out like this: docs/adr/0002-sqlite-layout.md.

use rusqlite::Connection;

use super::OpenError;

/// Version of [`TABLES`], kept in `user_version`.
pub(super) const VERSION: i64 = 1;

/// Conversations have a small number inside the database; `events.id` = number ‖ seq, so that one integer key clusters
/// history, names message states and search entries, and lets a search run over the range of one conversation.
/// `seq` = 0 in `conversations`: somebody named it before its birth was projected.
const TABLES: &str = "
CREATE TABLE users (
    id INTEGER PRIMARY KEY, username TEXT UNIQUE, display_name TEXT NOT NULL, about TEXT NOT NULL,
    password_hash TEXT NOT NULL, admin INTEGER NOT NULL, disabled INTEGER NOT NULL, hidden INTEGER NOT NULL,
    receipts_off INTEGER NOT NULL, deleted INTEGER NOT NULL, created_at INTEGER NOT NULL, last_seen INTEGER NOT NULL);
CREATE TABLE user_words (
    word TEXT NOT NULL, user INTEGER NOT NULL, PRIMARY KEY (word, user)) WITHOUT ROWID;
CREATE TABLE blocks (
    user INTEGER NOT NULL, blocked INTEGER NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (user, blocked)) WITHOUT ROWID;
CREATE TABLE sessions (
    id BLOB PRIMARY KEY, user INTEGER NOT NULL, hash BLOB NOT NULL, previous BLOB, rotated_at INTEGER NOT NULL,
    user_agent TEXT NOT NULL, created_at INTEGER NOT NULL, last_used_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX sessions_by_user ON sessions (user);

CREATE TABLE conversations (
    number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, title TEXT, history INTEGER NOT NULL DEFAULT 0,
    epoch INTEGER NOT NULL DEFAULT 0, seq INTEGER NOT NULL DEFAULT 0, ordinal INTEGER NOT NULL DEFAULT 0,
    mver INTEGER NOT NULL DEFAULT 0, created_at INTEGER NOT NULL DEFAULT 0, activity_ts INTEGER NOT NULL DEFAULT 0,
    last_message INTEGER NOT NULL DEFAULT 0, members INTEGER NOT NULL DEFAULT 0);
CREATE TABLE memberships (
    conversation INTEGER NOT NULL, user INTEGER NOT NULL, role INTEGER, since INTEGER NOT NULL, mver INTEGER NOT NULL,
    PRIMARY KEY (conversation, user)) WITHOUT ROWID;
CREATE INDEX memberships_by_user ON memberships (user);
CREATE TABLE cursors (
    conversation INTEGER NOT NULL, user INTEGER NOT NULL, delivered INTEGER NOT NULL, read INTEGER NOT NULL,
    PRIMARY KEY (conversation, user)) WITHOUT ROWID;
CREATE TABLE mine (
    user INTEGER NOT NULL, conversation INTEGER NOT NULL, muted INTEGER NOT NULL DEFAULT 0,
    pinned INTEGER NOT NULL DEFAULT 0, hidden INTEGER NOT NULL DEFAULT 0, marked_unread INTEGER NOT NULL DEFAULT 0,
    draft TEXT NOT NULL DEFAULT '', PRIMARY KEY (user, conversation)) WITHOUT ROWID;

CREATE TABLE events (
    id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, epoch INTEGER NOT NULL, ordinal INTEGER NOT NULL, ts INTEGER NOT NULL,
    sender INTEGER, producer INTEGER, no INTEGER, hash INTEGER, body BLOB NOT NULL);
CREATE UNIQUE INDEX events_by_key ON events (sender, id >> 32, producer, no);
CREATE TABLE states (id INTEGER PRIMARY KEY, state TEXT NOT NULL);
CREATE TABLE edits (
    message INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (message, seq)) WITHOUT ROWID;
CREATE VIRTUAL TABLE search USING fts5 (words, content='', columnsize=0, detail=none, tokenize='ascii', prefix='2 3');

CREATE TABLE persister (
    partition INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, n INTEGER NOT NULL, lease INTEGER NOT NULL);
CREATE TABLE dead_letters (
    conversation BLOB NOT NULL, seq INTEGER NOT NULL, epoch INTEGER NOT NULL, n INTEGER NOT NULL, ts INTEGER NOT NULL,
    kind INTEGER NOT NULL, sender INTEGER NOT NULL, producer INTEGER NOT NULL, no INTEGER NOT NULL,
    mver INTEGER NOT NULL, body BLOB NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (conversation, seq));

CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE invites (
    code TEXT PRIMARY KEY, conversation BLOB UNIQUE, made_by INTEGER NOT NULL, created_at INTEGER NOT NULL,
    used INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE reports (
    id INTEGER PRIMARY KEY, made_by INTEGER NOT NULL, conversation BLOB NOT NULL, seq INTEGER NOT NULL,
    sender INTEGER NOT NULL, text TEXT NOT NULL, reason TEXT NOT NULL, ts INTEGER NOT NULL,
    closed INTEGER NOT NULL DEFAULT 0, UNIQUE (made_by, conversation, seq));
";

/// Makes the tables in an empty database; refuses one that a newer version wrote.
pub(super) fn prepare(connection: &mut Connection) -> Result<(), OpenError> {
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > VERSION {
        return Err(OpenError::Newer { found, known: VERSION });
    }
    if found == 0 {
        let tx = connection.transaction()?;
        tx.execute_batch(TABLES)?;
        tx.pragma_update(None, "user_version", VERSION)?;
        tx.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_start_finds_the_tables_and_a_newer_folder_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        prepare(&mut connection).unwrap();
        prepare(&mut connection).unwrap();
        connection.pragma_update(None, "user_version", VERSION + 1).unwrap();
        let refused = prepare(&mut connection).unwrap_err();
        assert!(matches!(refused, OpenError::Newer { found, known } if found == known + 1));
        assert!(refused.to_string().contains("newer version of WebChat"));
    }
}
