//! Reads of history.
//!
//! Owns: pages, ranges, keys. Never does: write. Talks to: the tables `events` and `states`. Start reading at: [`page`].
//!
//! Phase 1 inserts events before phase 2 folds them: folded reads end at the conversation's head, which phase 2 moves.

use backplane::{Earlier, Found, Head, Key, ProducerState, StoredEvent};
use bytes::Bytes;
use protocol::{ConversationId, EventKind, Pos, Producer, UserId, limits};
use rusqlite::{Connection, OptionalExtension, Row, Transaction};

use super::{
    SqliteStore,
    columns::{SEQ_END, blob, conversation_at, count, event_id, int, nat_at, seq_of, user_at},
    numbers::number,
    search,
    states::{self, ITEM, ITEM_KINDS, item_at},
};
use crate::{
    projection::Item,
    store::{
        Anchor, Hit, Messages, OwnMessage, Search, StoreError, StoreFuture, StoredPage, Viewer,
    },
};

/// Which way a scan goes.
#[derive(Clone, Copy)]
pub(super) enum Way {
    Up,
    Down,
}

/// Number and head of a conversation that was born.
pub(super) fn head(
    connection: &Connection,
    conversation: ConversationId,
) -> rusqlite::Result<Option<(i64, Head)>> {
    let sql =
        "SELECT number, seq, ordinal, mver, epoch FROM conversations WHERE id = ?1 AND seq > 0";
    connection
        .prepare_cached(sql)?
        .query_row([blob(conversation.0)], |row| {
            let (seq, ordinal, mver) = (nat_at(row, 1)?, nat_at(row, 2)?, nat_at(row, 3)?);
            Ok((row.get(0)?, Head { seq, ordinal, mver, epoch: row.get(4)? }))
        })
        .optional()
}

/// Visible items of `first ..= last`, at most `want`, in the order of the scan.
pub(super) fn scan(
    connection: &Connection,
    (first, last): (i64, i64),
    way: Way,
    want: usize,
    blocked: &[UserId],
) -> Result<Vec<Item>, StoreError> {
    let mut items = Vec::new();
    if first > last || want == 0 {
        return Ok(items);
    }
    let order = match way {
        Way::Up => "ASC",
        Way::Down => "DESC",
    };
    let sql = format!(
        "{ITEM} WHERE e.id BETWEEN ?1 AND ?2 AND e.kind IN {ITEM_KINDS} ORDER BY e.id {order}"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([first, last])?;
    while let Some(row) = rows.next()? {
        let mut item = item_at(row)?;
        if item.is_withheld(blocked) {
            continue;
        }
        item.withhold_reactions(blocked);
        items.push(item);
        if items.len() == want {
            break;
        }
    }
    Ok(items)
}

fn page(
    tx: &Transaction<'_>,
    conversation: ConversationId,
    viewer: &Viewer,
    anchor: Anchor,
    limit: usize,
) -> Result<StoredPage, StoreError> {
    let Some((number, head)) = head(tx, conversation)? else { return Ok(StoredPage::default()) };
    let (first, last) = (event_id(number, viewer.since), event_id(number, head.seq));
    // From here on the upper part begins; the lower one ends before it.
    let split = match anchor {
        Anchor::Newest => last + 1,
        Anchor::Before(seq) | Anchor::Around(seq) => event_id(number, seq.min(head.seq + 1)),
        Anchor::After(seq) => event_id(number, seq.min(head.seq) + 1),
    };
    let (want_below, want_above) = match anchor {
        Anchor::Newest | Anchor::Before(_) => (limit, 0),
        Anchor::After(_) => (0, limit),
        Anchor::Around(_) => (limit / 2, limit - limit / 2),
    };
    // One more than wanted tells whether there is more.
    let mut below = scan(tx, (first, split - 1), Way::Down, want_below + 1, &viewer.blocked)?;
    let mut above = scan(tx, (first.max(split), last), Way::Up, want_above + 1, &viewer.blocked)?;
    let (more_before, more_after) = (below.len() > want_below, above.len() > want_above);
    below.truncate(want_below);
    above.truncate(want_above);
    below.reverse();
    below.append(&mut above);
    Ok(StoredPage { head, items: below, more_before, more_after })
}

fn events(
    tx: &Transaction<'_>,
    conversation: ConversationId,
    from: u64,
    to: u64,
) -> Result<Vec<StoredEvent>, StoreError> {
    let Some(number) = number(tx, conversation)? else { return Ok(Vec::new()) };
    let mut statement = tx.prepare_cached(
        "SELECT id, epoch, ordinal, sender, producer, no, ts, kind, body FROM events \
         WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3",
    )?;
    if from >= SEQ_END || from > to {
        return Ok(Vec::new());
    }
    let range = (event_id(number, from), event_id(number, to), count(limits::PAGE_MAX));
    let rows = statement.query_map(range, |row| {
        let kind = EventKind::from_u8(row.get(7)?);
        let of_key = |index| row.get::<_, Option<i64>>(index);
        Ok(StoredEvent {
            conversation,
            epoch: row.get(1)?,
            seq: seq_of(row.get(0)?),
            ordinal: nat_at(row, 2)?,
            from: of_key(3)?.map_or(UserId(0), |_| user_at(row, 3).unwrap_or(UserId(0))),
            producer: Producer(of_key(4)?.map_or(0, i64::cast_unsigned)),
            no: of_key(5)?.map_or(0, i64::cast_unsigned),
            ts: nat_at(row, 6)?,
            kind,
            body: if kind.is_some() {
                Bytes::from(row.get::<_, Vec<u8>>(8)?)
            } else {
                Bytes::new()
            },
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn find(tx: &Transaction<'_>, key: Key) -> Result<Found, StoreError> {
    let Some(number) = number(tx, key.conversation)? else { return Ok(Found::default()) };
    let producer = (int(key.user.0), number, int(key.producer.0));
    let mut statement = tx.prepare_cached(
        "SELECT no, hash, id, epoch, ts FROM events \
         WHERE sender = ?1 AND id >> 32 = ?2 AND producer = ?3 AND no = ?4",
    )?;
    let stored = statement
        .query_row((producer.0, producer.1, producer.2, int(key.no)), earlier)
        .optional()?;
    let mut statement = tx.prepare_cached(
        "SELECT no, hash, id, epoch, ts FROM events \
         WHERE sender = ?1 AND id >> 32 = ?2 AND producer = ?3 ORDER BY no DESC LIMIT ?4",
    )?;
    let window = count(limits::DEDUPE_WINDOW);
    let recent = statement.query_map((producer.0, producer.1, producer.2, window), earlier)?;
    let mut recent = recent.collect::<Result<Vec<_>, _>>()?;
    recent.reverse();
    let producer = recent.last().map(|earlier| earlier.no);
    Ok(Found { stored, producer: producer.map(|last| ProducerState { last, recent }) })
}

/// A row of `no, hash, id, epoch, ts`. Which batch it came in is not kept: all that is here is at or below W.
fn earlier(row: &Row<'_>) -> Result<Earlier, rusqlite::Error> {
    Ok(Earlier {
        no: nat_at(row, 0)?,
        hash: nat_at(row, 1)?,
        seq: seq_of(row.get(2)?),
        pos: Pos::new(row.get(3)?, 0),
        ts: nat_at(row, 4)?,
    })
}

fn items(
    tx: &Transaction<'_>,
    conversation: ConversationId,
    seqs: &[u64],
    blocked: &[UserId],
) -> Result<Vec<Item>, StoreError> {
    let Some((number, head)) = head(tx, conversation)? else { return Ok(Vec::new()) };
    let mut found = Vec::with_capacity(seqs.len());
    for seq in seqs.iter().filter(|seq| **seq <= head.seq) {
        if let Some(mut item) = states::item(tx, event_id(number, *seq))? {
            item.withhold_reactions(blocked);
            found.push(item);
        }
    }
    Ok(found)
}

fn own_messages(
    tx: &Transaction<'_>,
    user: UserId,
    after: Option<(ConversationId, u64)>,
    limit: usize,
) -> Result<Vec<OwnMessage>, StoreError> {
    let begin = match after {
        None => 0,
        Some((conversation, seq)) => match number(tx, conversation)? {
            Some(number) => event_id(number, seq),
            None => return Ok(Vec::new()),
        },
    };
    let mut conversations = tx.prepare_cached(
        "SELECT c.number, c.id FROM memberships m JOIN conversations c ON c.number = m.conversation \
         WHERE m.user = ?1 AND c.number >= ?2 >> 32 ORDER BY c.number",
    )?;
    let mut ids = tx.prepare_cached(
        "SELECT id FROM events WHERE sender = ?1 AND id >> 32 = ?2 AND kind = 2 AND id > ?3 ORDER BY id LIMIT ?4",
    )?;
    let mut found = Vec::new();
    let rows = conversations.query_map([int(user.0), begin], |row| {
        Ok((row.get::<_, i64>(0)?, conversation_at(row, 1)?))
    })?;
    for row in rows {
        let (number, conversation) = row?;
        let mut last = begin;
        // Deleted ones are skipped, so a conversation may take several rounds.
        while found.len() < limit {
            let want = count(limit - found.len());
            let page = ids.query_map((int(user.0), number, last, want), |row| row.get(0))?;
            let page = page.collect::<Result<Vec<i64>, _>>()?;
            let Some(highest) = page.last() else { break };
            last = *highest;
            for id in page {
                let item = states::item(tx, id)?;
                let kept = item.as_ref().and_then(|item| Some((item, item.message()?)));
                if let Some((item, message)) = kept.filter(|(_, message)| !message.deleted) {
                    let (seq, ts, text) = (item.seq, item.ts, message.text.clone());
                    found.push(OwnMessage { conversation, seq, ts, text });
                }
            }
        }
    }
    Ok(found)
}

impl Messages for SqliteStore {
    fn head(&self, conversation: ConversationId) -> StoreFuture<'_, Option<Head>> {
        self.read(move |tx| Ok(head(tx, conversation)?.map(|(_, head)| head)))
    }

    fn events(
        &self,
        conversation: ConversationId,
        from: u64,
        to: u64,
    ) -> StoreFuture<'_, Vec<StoredEvent>> {
        self.read(move |tx| events(tx, conversation, from, to))
    }

    fn find(&self, key: Key) -> StoreFuture<'_, Found> {
        self.read(move |tx| find(tx, key))
    }

    fn page(
        &self,
        conversation: ConversationId,
        viewer: Viewer,
        anchor: Anchor,
        limit: usize,
    ) -> StoreFuture<'_, StoredPage> {
        self.read(move |tx| page(tx, conversation, &viewer, anchor, limit))
    }

    fn items(
        &self,
        conversation: ConversationId,
        seqs: Vec<u64>,
        blocked: Vec<UserId>,
    ) -> StoreFuture<'_, Vec<Item>> {
        self.read(move |tx| items(tx, conversation, &seqs, &blocked))
    }

    fn search(&self, search: Search) -> StoreFuture<'_, Vec<Hit>> {
        self.read(move |tx| search::search(tx, &search))
    }

    fn own_messages(
        &self,
        user: UserId,
        after: Option<(ConversationId, u64)>,
        limit: usize,
    ) -> StoreFuture<'_, Vec<OwnMessage>> {
        self.read(move |tx| own_messages(tx, user, after, limit))
    }
}
