//! The small number that a conversation has inside this database.
//!
//! Owns: finding and giving numbers. Never does: show them to anybody. Talks to: the table `conversations`.
//! Start reading at: [`number_or_new`].

use protocol::ConversationId;
use rusqlite::{Connection, OptionalExtension};

use super::columns::blob;

/// The number of a conversation that was ever named here.
pub(super) fn number(
    connection: &Connection,
    conversation: ConversationId,
) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT number FROM conversations WHERE id = ?1")?
        .query_row([blob(conversation.0)], |row| row.get(0))
        .optional()
}

/// The number, given now if need be: cursors, drafts and events may come before the birth is projected.
pub(super) fn number_or_new(
    connection: &Connection,
    conversation: ConversationId,
) -> rusqlite::Result<i64> {
    if let Some(number) = number(connection, conversation)? {
        return Ok(number);
    }
    connection
        .prepare_cached("INSERT INTO conversations (id) VALUES (?1)")?
        .execute([blob(conversation.0)])?;
    Ok(connection.last_insert_rowid())
}
