//! Conversations, memberships, cursors, and what members keep for themselves.
//!
//! Owns: these reads, and the tables `cursors` and `mine`. Never does: write heads or memberships (project.rs does).
//! Talks to: rusqlite. Start reading at: [`summaries`].

use backplane::{Cursors, GroupSize, Membership, UserFlags, View};
use protocol::{ConversationId, EventKind, UserId, limits::RECEIPT_NAMES_MAX};
use rusqlite::{Connection, OptionalExtension, Row, Transaction};

use super::{
    SqliteStore,
    columns::{blob, conversation_at, event_id, history_at, int, nat_at, role_at, user_at},
    ingest::positions,
    instance,
    messages::{Way, scan},
    numbers::{number, number_or_new},
    people::blocked_by,
    states::{self, ordinal_at},
};
use crate::{
    projection::Item,
    store::{
        Conversations, Directory, MemberRecord, Mine, MineChange, StoreError, StoreFuture,
        StoredConversation, Summary,
    },
};

/// What [`conversation_of`] and [`Facts::at`] read; `?1` is the viewer.
const SUMMARY: &str = "SELECT c.number, c.id, c.title, c.history, c.epoch, c.seq, c.ordinal, c.mver, c.created_at, \
     c.activity_ts, c.members, c.last_message, m.mver, m.role, m.since, k.delivered, k.read, \
     n.muted, n.pinned, n.hidden, n.marked_unread, n.draft \
     FROM conversations c LEFT JOIN memberships m ON m.conversation = c.number AND m.user = ?1 \
     LEFT JOIN cursors k ON k.conversation = c.number AND k.user = ?1 \
     LEFT JOIN mine n ON n.conversation = c.number AND n.user = ?1";

fn conversation_of(row: &Row<'_>) -> rusqlite::Result<StoredConversation> {
    let head = backplane::Head {
        epoch: row.get(4)?,
        seq: nat_at(row, 5)?,
        ordinal: nat_at(row, 6)?,
        mver: nat_at(row, 7)?,
    };
    Ok(StoredConversation {
        id: conversation_at(row, 1)?,
        title: row.get(2)?,
        history: history_at(row, 3)?,
        head,
        created_at: nat_at(row, 8)?,
        activity_ts: nat_at(row, 9)?,
        members: row.get::<_, u32>(10)? as usize,
    })
}

/// One row of [`SUMMARY`].
struct Facts {
    number: i64,
    conversation: StoredConversation,
    last_message: u64,
    member: Option<MemberRecord>,
    cursors: Cursors,
    mine: Mine,
}

impl Facts {
    fn at(row: &Row<'_>, user: UserId) -> rusqlite::Result<Self> {
        let member = match row.get::<_, Option<i64>>(12)? {
            None => None,
            Some(_) => Some(MemberRecord {
                user,
                role: role_at(row, 13)?,
                since: nat_at(row, 14)?,
                mver: nat_at(row, 12)?,
            }),
        };
        let cursor =
            |index| row.get::<_, Option<i64>>(index).map(|c| c.map_or(0, super::columns::nat));
        let flag = |index| row.get::<_, Option<bool>>(index).map(Option::unwrap_or_default);
        Ok(Self {
            number: row.get(0)?,
            conversation: conversation_of(row)?,
            last_message: nat_at(row, 11)?,
            member,
            cursors: Cursors { delivered: cursor(15)?, read: cursor(16)? },
            mine: Mine {
                muted: flag(17)?,
                pinned: flag(18)?,
                hidden: flag(19)?,
                marked_unread: flag(20)?,
                draft: row.get::<_, Option<String>>(21)?.unwrap_or_default(),
            },
        })
    }

    fn summary(self, connection: &Connection, blocked: &[UserId]) -> Result<Summary, StoreError> {
        let since = self.member.map_or(1, |member| member.since);
        let read = self.cursors.read.max(since.saturating_sub(1));
        let head = self.conversation.head;
        let unread = if read >= head.seq { 0 } else { self.unread(connection, read, blocked)? };
        let last_message = self.last_message(connection, since, blocked)?;
        let joined_since = self.last_message < since;
        let Self { number, mut conversation, member, cursors, mine, .. } = self;
        if joined_since && let Some(ts) = ts_of(connection, event_id(number, since))? {
            conversation.activity_ts = ts;
        }
        Ok(Summary { conversation, member, mine, cursors, unread, last_message })
    }

    fn unread(
        &self,
        connection: &Connection,
        read: u64,
        blocked: &[UserId],
    ) -> rusqlite::Result<u64> {
        let head = self.conversation.head;
        let rows = head.seq.saturating_sub(read);
        let (first, read) = (event_id(self.number, 0), event_id(self.number, read));
        let unread = head.ordinal.saturating_sub(ordinal_at(connection, first, read)?);
        let is_long = unread > UNREAD_LOOKED_AT_MAX || rows > UNREAD_ROWS_MAX;
        if blocked.is_empty() || unread == 0 || is_long {
            return Ok(unread);
        }
        let sql = "SELECT sender FROM events WHERE id > ?1 AND id <= ?2 AND kind = ?3";
        let mut statement = connection.prepare_cached(sql)?;
        let range = (read, event_id(self.number, head.seq), EventKind::Message as u8);
        let mut withheld = 0;
        let mut senders = statement.query(range)?;
        while let Some(row) = senders.next()? {
            withheld += u64::from(blocked.contains(&user_at(row, 0)?));
        }
        Ok(unread.saturating_sub(withheld))
    }

    /// Almost always the very last one; if its sender is blocked, the last of somebody else.
    fn last_message(
        &self,
        connection: &Connection,
        since: u64,
        blocked: &[UserId],
    ) -> Result<Option<Item>, StoreError> {
        if self.last_message < since.max(1) {
            return Ok(None);
        }
        let last = event_id(self.number, self.last_message);
        match states::item(connection, last)? {
            Some(item) if item.is_withheld(blocked) => {
                let range = (event_id(self.number, since), last);
                last_message_in(connection, range, blocked)
            }
            Some(mut item) => {
                item.withhold_reactions(blocked);
                Ok(Some(item))
            }
            None => Ok(None),
        }
    }
}

/// Unread messages whose senders are looked at; of more, nobody cares how many.
const UNREAD_LOOKED_AT_MAX: u64 = 1_000;
/// Events among which they are: reactions and edits have rows of their own.
const UNREAD_ROWS_MAX: u64 = 10_000;

fn ts_of(connection: &Connection, id: i64) -> rusqlite::Result<Option<u64>> {
    let mut statement = connection.prepare_cached("SELECT ts FROM events WHERE id = ?1")?;
    statement.query_row([id], |row| nat_at(row, 0)).optional()
}

/// Notes that are looked at on the way down to a message that is not withheld.
const NOTES_MAX: usize = 64;

fn last_message_in(
    connection: &Connection,
    range: (i64, i64),
    blocked: &[UserId],
) -> Result<Option<Item>, StoreError> {
    let items = scan(connection, range, Way::Down, NOTES_MAX, blocked)?;
    Ok(items.into_iter().find(|item| item.message().is_some()))
}

fn summaries(
    tx: &Transaction<'_>,
    user: UserId,
    also: &[ConversationId],
) -> Result<Vec<Summary>, StoreError> {
    let blocked = blocked_by(tx, user)?;
    let sql = format!(
        "{SUMMARY} WHERE c.number IN (SELECT conversation FROM memberships WHERE user = ?1)"
    );
    let mut statement = tx.prepare_cached(&sql)?;
    let rows = statement.query_map([int(user.0)], |row| Facts::at(row, user))?;
    let mut found = Vec::new();
    for facts in rows {
        found.push(facts?.summary(tx, &blocked)?);
    }
    for id in also {
        if found.iter().all(|summary| summary.conversation.id != *id)
            && let Some(summary) = summary(tx, user, *id, &blocked)?
        {
            found.push(summary);
        }
    }
    Ok(found)
}

fn summary(
    tx: &Transaction<'_>,
    user: UserId,
    id: ConversationId,
    blocked: &[UserId],
) -> Result<Option<Summary>, StoreError> {
    let sql = format!("{SUMMARY} WHERE c.id = ?2");
    let facts = tx
        .prepare_cached(&sql)?
        .query_row((int(user.0), blob(id.0)), |row| Facts::at(row, user))
        .optional()?;
    facts.map(|facts| facts.summary(tx, blocked)).transpose()
}

fn view(tx: &Transaction<'_>, user: UserId, partitions: u16) -> Result<View, StoreError> {
    let contacts_only = instance::settings(tx)?.directory == Directory::Contacts;
    let flags = tx
        .prepare_cached("SELECT hidden, receipts_off, disabled FROM users WHERE id = ?1")?
        .query_row([int(user.0)], |row| {
            let (hidden, receipts_off, disabled) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(UserFlags { hidden, receipts_off, disabled, contacts_only })
        })
        .optional()?;
    let as_of = positions(tx, partitions)?;
    let Some(flags) = flags else {
        let flags = UserFlags { disabled: true, ..UserFlags::default() };
        return Ok(View { as_of, flags, ..View::default() });
    };
    let mut statement = tx.prepare_cached(
        "SELECT c.id, m.role, m.since, m.mver, c.members, c.mver FROM memberships m \
         JOIN conversations c ON c.number = m.conversation WHERE m.user = ?1",
    )?;
    let rows = statement.query_map([int(user.0)], |row| {
        let (since, mver) = (nat_at(row, 2)?, nat_at(row, 3)?);
        let large = nat_at(row, 4)? > RECEIPT_NAMES_MAX as u64;
        Ok(Membership {
            conversation: conversation_at(row, 0)?,
            role: role_at(row, 1)?,
            since,
            mver,
            group: Some(GroupSize { mver: nat_at(row, 5)?, large }),
        })
    })?;
    let mut groups = rows.collect::<Result<Vec<_>, _>>()?;
    groups.retain(|membership| membership.conversation.is_group());
    Ok(View { as_of, groups, blocked: blocked_by(tx, user)?, flags })
}

fn member_at(row: &Row<'_>) -> rusqlite::Result<MemberRecord> {
    let (since, mver) = (nat_at(row, 2)?, nat_at(row, 3)?);
    Ok(MemberRecord { user: user_at(row, 0)?, role: role_at(row, 1)?, since, mver })
}

fn change_mine(
    tx: &Transaction<'_>,
    user: UserId,
    id: ConversationId,
    change: &MineChange,
) -> Result<(), StoreError> {
    let number = number_or_new(tx, id)?;
    tx.prepare_cached("INSERT OR IGNORE INTO mine (user, conversation) VALUES (?1, ?2)")?
        .execute((int(user.0), number))?;
    tx.prepare_cached(
        "UPDATE mine SET muted = coalesce(?3, muted), pinned = coalesce(?4, pinned), \
         hidden = coalesce(?5, hidden), marked_unread = coalesce(?6, marked_unread), \
         draft = coalesce(?7, draft) WHERE user = ?1 AND conversation = ?2",
    )?
    .execute((
        int(user.0),
        number,
        change.muted,
        change.pinned,
        change.hidden,
        change.marked_unread,
        &change.draft,
    ))?;
    Ok(())
}

fn merge_cursors(
    tx: &Transaction<'_>,
    cursors: &[(ConversationId, UserId, Cursors)],
) -> Result<(), StoreError> {
    let mut statement = tx.prepare_cached(
        "INSERT INTO cursors (conversation, user, delivered, read) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT DO UPDATE SET delivered = max(delivered, excluded.delivered), \
         read = max(read, excluded.read)",
    )?;
    for (id, user, Cursors { delivered, read }) in cursors {
        let number = number_or_new(tx, *id)?;
        statement.execute((number, int(user.0), int(*delivered), int(*read)))?;
    }
    Ok(())
}

impl Conversations for SqliteStore {
    fn view(&self, user: UserId, partitions: u16) -> StoreFuture<'_, View> {
        self.read(move |tx| view(tx, user, partitions))
    }

    fn conversation(&self, id: ConversationId) -> StoreFuture<'_, Option<StoredConversation>> {
        self.read(move |tx| {
            let sql = format!("{SUMMARY} WHERE c.id = ?2 AND c.seq > 0");
            let mut statement = tx.prepare_cached(&sql)?;
            Ok(statement.query_row((0, blob(id.0)), conversation_of).optional()?)
        })
    }

    fn members(&self, id: ConversationId) -> StoreFuture<'_, Vec<MemberRecord>> {
        self.read(move |tx| {
            let Some(number) = number(tx, id)? else { return Ok(Vec::new()) };
            let sql = "SELECT user, role, since, mver FROM memberships WHERE conversation = ?1 ORDER BY user";
            let mut statement = tx.prepare_cached(sql)?;
            let rows = statement.query_map([number], member_at)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    fn member(&self, id: ConversationId, user: UserId) -> StoreFuture<'_, Option<MemberRecord>> {
        self.read(move |tx| {
            let Some(number) = number(tx, id)? else { return Ok(None) };
            let sql = "SELECT user, role, since, mver FROM memberships WHERE conversation = ?1 AND user = ?2";
            let mut statement = tx.prepare_cached(sql)?;
            Ok(statement.query_row([number, int(user.0)], member_at).optional()?)
        })
    }

    fn summaries(&self, user: UserId, also: Vec<ConversationId>) -> StoreFuture<'_, Vec<Summary>> {
        self.read(move |tx| summaries(tx, user, &also))
    }

    fn summary(&self, user: UserId, id: ConversationId) -> StoreFuture<'_, Option<Summary>> {
        self.read(move |tx| {
            let blocked = blocked_by(tx, user)?;
            summary(tx, user, id, &blocked)
        })
    }

    fn change_mine(
        &self,
        user: UserId,
        id: ConversationId,
        change: MineChange,
    ) -> StoreFuture<'_, ()> {
        self.write(move |tx| change_mine(tx, user, id, &change))
    }

    fn merge_cursors(
        &self,
        cursors: Vec<(ConversationId, UserId, Cursors)>,
    ) -> StoreFuture<'_, ()> {
        self.write_unsynced(move |tx| merge_cursors(tx, &cursors))
    }

    fn cursors(&self, id: ConversationId) -> StoreFuture<'_, Vec<(UserId, Cursors)>> {
        self.read(move |tx| {
            let Some(number) = number(tx, id)? else { return Ok(Vec::new()) };
            let sql = "SELECT user, delivered, read FROM cursors WHERE conversation = ?1";
            let mut statement = tx.prepare_cached(sql)?;
            let rows = statement.query_map([number], |row| {
                let (delivered, read) = (nat_at(row, 1)?, nat_at(row, 2)?);
                Ok((user_at(row, 0)?, Cursors { delivered, read }))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}
