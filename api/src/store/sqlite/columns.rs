//! How our numbers become SQLite's: the only place that casts.
//!
//! Owns: the event id (conversation number ‖ seq), bit casts, blobs, roles. Never does: SQL. Talks to: nobody.
//! Start reading at: [`event_id`].

use protocol::{ConversationId, Role, SessionId, UserId, body::HistoryAccess};
use rusqlite::Row;

/// Bits of a seq inside an event id: 2³² events per conversation, 2³¹ conversations.
const SEQ_BITS: u32 = 32;
/// Seqs are below this.
pub(super) const SEQ_END: u64 = 1 << SEQ_BITS;

/// The rowid of an event, of its message state and of its entry in the search index: one integer, clustered by
/// conversation and ascending by seq (ADR 0002).
pub(super) fn event_id(number: i64, seq: u64) -> i64 {
    number << SEQ_BITS | int(seq.min(SEQ_END - 1))
}

/// The seq inside an event id.
pub(super) fn seq_of(id: i64) -> u64 {
    nat(id) & (SEQ_END - 1)
}

/// The conversation's number inside an event id.
pub(super) fn number_of(id: i64) -> i64 {
    id >> SEQ_BITS
}

/// SQLite has signed integers only; the bits stay.
pub(super) fn int(value: u64) -> i64 {
    value.cast_signed()
}

/// The way back.
pub(super) fn nat(value: i64) -> u64 {
    value.cast_unsigned()
}

/// A limit or a count.
pub(super) fn count(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// 128 bits, in an order that sorts like the number.
pub(super) fn blob(value: u128) -> [u8; 16] {
    value.to_be_bytes()
}

pub(super) fn nat_at(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    row.get(index).map(nat)
}

pub(super) fn user_at(row: &Row<'_>, index: usize) -> rusqlite::Result<UserId> {
    nat_at(row, index).map(UserId)
}

pub(super) fn conversation_at(row: &Row<'_>, index: usize) -> rusqlite::Result<ConversationId> {
    row.get(index).map(u128::from_be_bytes).map(ConversationId)
}

pub(super) fn session_at(row: &Row<'_>, index: usize) -> rusqlite::Result<SessionId> {
    row.get(index).map(u128::from_be_bytes).map(SessionId)
}

/// NULL is a tombstone.
pub(super) fn role_in(role: Option<Role>) -> Option<i64> {
    role.map(|role| match role {
        Role::Member => 1,
        Role::Admin => 2,
        Role::Owner => 3,
    })
}

pub(super) fn role_at(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<Role>> {
    Ok(match row.get::<_, Option<i64>>(index)? {
        None => None,
        Some(2) => Some(Role::Admin),
        Some(3) => Some(Role::Owner),
        // The least of them, for numbers of a version that does not exist.
        Some(_) => Some(Role::Member),
    })
}

pub(super) fn history_in(history: HistoryAccess) -> i64 {
    i64::from(history == HistoryAccess::All)
}

pub(super) fn history_at(row: &Row<'_>, index: usize) -> rusqlite::Result<HistoryAccess> {
    let all = row.get::<_, i64>(index)? == 1;
    Ok(if all { HistoryAccess::All } else { HistoryAccess::Joined })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids_sort_by_conversation_then_seq_and_come_apart_again() {
        let ids = [event_id(1, 0), event_id(1, 7), event_id(1, SEQ_END - 1), event_id(2, 1)];
        assert!(ids.is_sorted());
        assert_eq!((number_of(ids[1]), seq_of(ids[1])), (1, 7));
        assert_eq!((number_of(ids[2]), seq_of(ids[2])), (1, SEQ_END - 1));
        assert!(event_id(i64::from(i32::MAX), SEQ_END - 1) > 0);
    }

    #[test]
    fn all_64_bits_survive() {
        assert_eq!([nat(int(u64::MAX)), nat(int(1 << 63)), nat(int(0))], [u64::MAX, 1 << 63, 0]);
    }
}
