//! Items of history as rows: an event, and what later events made of it.
//!
//! Owns: reading and writing them. A message that nothing happened to has no row in `states`: its body is its state.
//! Never does: fold (projection.rs does). Talks to: the tables `events` and `states`. Start reading at: [`item`].

use bytes::Bytes;
use protocol::{EventKind, Producer};
use rusqlite::{Connection, OptionalExtension, Row};

use super::columns::{nat_at, seq_of, user_at};
use crate::{
    projection::{Item, ItemKind, MessageState},
    store::StoreError,
};

/// What [`item_at`] reads.
pub(super) const ITEM: &str = "SELECT e.id, e.kind, e.ordinal, e.ts, e.sender, e.producer, e.no, e.body, s.state \
     FROM events e LEFT JOIN states s ON s.id = e.id";

/// The kinds that are items, as SQL: a hole has kind 0.
pub(super) const ITEM_KINDS: &str = "(1, 2, 6, 7)";

/// The item of a row of [`ITEM`].
pub(super) fn item_at(row: &Row<'_>) -> Result<Item, StoreError> {
    let damaged = |what: &str| StoreError::Internal(format!("damaged row: {what}"));
    let kind = EventKind::from_u8(row.get(1)?).ok_or_else(|| damaged("kind"))?;
    let kind = match kind {
        EventKind::Message => ItemKind::Message(state_at(row)?),
        other => ItemKind::Note(other, Bytes::from(row.get::<_, Vec<u8>>(7)?)),
    };
    Ok(Item {
        seq: seq_of(row.get(0)?),
        ordinal: nat_at(row, 2)?,
        ts: nat_at(row, 3)?,
        from: user_at(row, 4)?,
        producer: Producer(nat_at(row, 5)?),
        no: nat_at(row, 6)?,
        kind,
    })
}

fn state_at(row: &Row<'_>) -> Result<MessageState, StoreError> {
    let internal = |error: String| StoreError::Internal(format!("damaged message: {error}"));
    match row.get_ref(8)?.as_str_or_null().map_err(|error| internal(error.to_string()))? {
        Some(state) => serde_json::from_str(state).map_err(|error| internal(error.to_string())),
        None => {
            let body = row.get_ref(7)?.as_blob().map_err(|error| internal(error.to_string()))?;
            MessageState::of(body).map_err(|error| internal(error.to_string()))
        }
    }
}

/// One item by event id; `None` for what is no item.
pub(super) fn item(connection: &Connection, id: i64) -> Result<Option<Item>, StoreError> {
    let sql = format!("{ITEM} WHERE e.id = ?1 AND e.kind IN {ITEM_KINDS}");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([id])?;
    rows.next()?.map(item_at).transpose()
}

/// Keeps what later events made of a message.
pub(super) fn put_state(
    connection: &Connection,
    id: i64,
    state: &MessageState,
) -> Result<(), StoreError> {
    let json = serde_json::to_string(state).map_err(|e| StoreError::Internal(e.to_string()))?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO states (id, state) VALUES (?1, ?2)")?
        .execute((id, json))?;
    Ok(())
}

/// Messages up to and including the event at or before `id`, within the conversation that begins at `first`.
pub(super) fn ordinal_at(connection: &Connection, first: i64, id: i64) -> rusqlite::Result<u64> {
    let sql = "SELECT ordinal FROM events WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC LIMIT 1";
    let found = connection.prepare_cached(sql)?.query_row([first, id], |row| nat_at(row, 0));
    Ok(found.optional()?.unwrap_or(0))
}
