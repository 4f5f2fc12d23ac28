//! Phase 1, the cursor, and dead letters.
//!
//! Owns: the table `events` as the persister writes it. Never does: overwrite an event (but by a tombstone's erasure and a
//! dead letter). Talks to: `project.rs` for phase 2. Start reading at: [`insert`].

use std::{collections::HashMap, sync::Arc};

use backplane::{Batch, Envelope, Logged, Partition};
use protocol::Pos;
use rusqlite::{Connection, OptionalExtension, Transaction};

use super::{
    SqliteStore,
    columns::{SEQ_END, blob, conversation_at, count, event_id, int, nat_at, seq_of},
    numbers::number_or_new,
    project,
};
use crate::store::{Claim, DeadLetter, Holes, Ingest, StoreError, StoreFuture};

/// `kind` of a hole.
pub(super) const HOLE: u8 = 0;

/// One event on its way in.
pub(super) struct Incoming<'a> {
    /// Its row.
    pub(super) id: i64,
    pub(super) epoch: u32,
    pub(super) ts: u64,
    pub(super) event: &'a Logged,
    /// Counts, but holds nothing.
    pub(super) hole: bool,
}

impl Incoming<'_> {
    pub(super) fn rejected(&self, reason: impl Into<String>) -> StoreError {
        StoreError::Rejected {
            conversation: self.event.envelope.conversation,
            seq: self.event.seq,
            reason: reason.into(),
        }
    }
}

/// The events of some batches in the order of their rows: neighbours on disk are written together, and the search index
/// needs ascending ids (a lower one would flush its buffer, ADR 0002).
pub(super) fn in_row_order<'a>(
    connection: &Connection,
    batches: &'a [Arc<Batch>],
    holes: &Holes,
) -> Result<Vec<Incoming<'a>>, StoreError> {
    let mut numbers = HashMap::new();
    let mut incoming = Vec::with_capacity(batches.iter().map(|batch| batch.events.len()).sum());
    for batch in batches {
        for event in &batch.events {
            let conversation = event.envelope.conversation;
            let number = match numbers.get(&conversation) {
                Some(number) => *number,
                None => {
                    let number = number_or_new(connection, conversation)?;
                    numbers.insert(conversation, number);
                    number
                }
            };
            let hole = !holes.is_empty() && holes.contains(&(conversation, event.seq));
            let id = event_id(number, event.seq);
            let one = Incoming { id, epoch: batch.pos.epoch, ts: batch.ts, event, hole };
            if event.seq == 0 || event.seq >= SEQ_END {
                return Err(one.rejected("seq out of range"));
            }
            incoming.push(one);
        }
    }
    incoming.sort_by_key(|one| one.id);
    Ok(incoming)
}

/// Inserts what is not there yet; returns the holes among these events.
fn insert(
    tx: &Transaction<'_>,
    batches: &[Arc<Batch>],
    known: &Holes,
) -> Result<Holes, StoreError> {
    let mut holes = Holes::new();
    let mut statement = tx.prepare_cached(
        "INSERT INTO events (id, kind, epoch, ordinal, ts, sender, producer, no, hash, body) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING",
    )?;
    for one in in_row_order(tx, batches, known)? {
        let Envelope { from, producer, no, kind, hash, body, .. } = &one.event.envelope;
        let place = (one.event.envelope.conversation, one.event.seq);
        if one.hole {
            insert_hole(tx, &one, b"")?;
            holes.insert(place);
            continue;
        }
        let inserted = statement.execute((
            one.id,
            *kind as u8,
            one.epoch,
            int(one.event.ordinal),
            int(one.ts),
            int(from.0),
            int(producer.0),
            int(*no),
            int(*hash),
            &body[..],
        ))?;
        if inserted == 0 && settle_conflict(tx, &one)? {
            holes.insert(place);
        }
    }
    Ok(holes)
}

/// The row was not inserted: it is there already, or its key is taken. Returns whether the place is a hole.
fn settle_conflict(tx: &Transaction<'_>, one: &Incoming<'_>) -> Result<bool, StoreError> {
    let envelope = &one.event.envelope;
    let there = tx
        .prepare_cached("SELECT kind, hash FROM events WHERE id = ?1")?
        .query_row([one.id], |row| Ok((row.get::<_, u8>(0)?, row.get::<_, Option<i64>>(1)?)))
        .optional()?;
    match there {
        Some((HOLE, _)) => Ok(true),
        Some((_, hash)) if hash == Some(int(envelope.hash)) => Ok(false),
        Some(_) => Err(one.rejected("another event has this place")),
        None => {
            let original: i64 = tx
                .prepare_cached(
                    "SELECT id FROM events WHERE sender = ?1 AND id >> 32 = ?2 AND producer = ?3 AND no = ?4",
                )?
                .query_row(
                    [
                        int(envelope.from.0),
                        super::columns::number_of(one.id),
                        int(envelope.producer.0),
                        int(envelope.no),
                    ],
                    |row| row.get(0),
                )?;
            let body = format!("{{\"dup_of\":{}}}", seq_of(original));
            insert_hole(tx, one, body.as_bytes())?;
            Ok(true)
        }
    }
}

fn insert_hole(tx: &Transaction<'_>, one: &Incoming<'_>, body: &[u8]) -> Result<(), StoreError> {
    tx.prepare_cached(
        "INSERT INTO events (id, kind, epoch, ordinal, ts, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
         ON CONFLICT DO NOTHING",
    )?
    .execute((one.id, HOLE, one.epoch, int(one.event.ordinal), int(one.ts), body))?;
    Ok(())
}

/// Keeps the event aside. Its place becomes a hole unless another event has it; the key stays taken.
fn bury(tx: &Transaction<'_>, letter: &DeadLetter) -> Result<(), StoreError> {
    let DeadLetter { pos, ts, event, reason } = letter;
    let envelope = &event.envelope;
    tx.execute(
        "INSERT INTO dead_letters VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) ON CONFLICT DO NOTHING",
        (
            blob(envelope.conversation.0),
            int(event.seq),
            pos.epoch,
            int(pos.n),
            int(*ts),
            envelope.kind as u8,
            int(envelope.from.0),
            int(envelope.producer.0),
            int(envelope.no),
            int(envelope.mver),
            &envelope.body[..],
            reason,
        ),
    )?;
    if event.seq < SEQ_END {
        let id = event_id(number_or_new(tx, envelope.conversation)?, event.seq);
        tx.execute(
            "UPDATE events SET kind = ?2, body = x'' WHERE id = ?1 AND hash = ?3",
            (id, HOLE, int(envelope.hash)),
        )?;
    }
    Ok(())
}

fn position(connection: &Connection, partition: Partition) -> rusqlite::Result<Pos> {
    let found = connection
        .prepare_cached("SELECT epoch, n FROM persister WHERE partition = ?1")?
        .query_row([partition], |row| Ok(Pos::new(row.get(0)?, nat_at(row, 1)?)))
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// Positions of the first partitions.
pub(super) fn positions(connection: &Connection, partitions: u16) -> rusqlite::Result<Vec<Pos>> {
    (0..partitions).map(|partition| position(connection, partition)).collect()
}

impl Ingest for SqliteStore {
    fn stored(&self, partition: Partition) -> StoreFuture<'_, Pos> {
        self.read(move |tx| Ok(position(tx, partition)?))
    }

    fn claim(&self, partition: Partition) -> StoreFuture<'_, Claim> {
        self.write(move |tx| {
            let claim = tx.query_row(
                "INSERT INTO persister (partition, epoch, n, lease) VALUES (?1, 0, 0, 1) \
                 ON CONFLICT DO UPDATE SET lease = lease + 1 RETURNING epoch, n, lease",
                [partition],
                |row| {
                    let stored = Pos::new(row.get(0)?, nat_at(row, 1)?);
                    Ok(Claim { stored, lease: nat_at(row, 2)? })
                },
            )?;
            Ok(claim)
        })
    }

    fn insert_events(&self, batches: Vec<Arc<Batch>>, holes: Arc<Holes>) -> StoreFuture<'_, Holes> {
        self.write_unsynced(move |tx| insert(tx, &batches, &holes))
    }

    fn project(&self, batches: Vec<Arc<Batch>>, holes: Arc<Holes>) -> StoreFuture<'_, ()> {
        self.write_unsynced(move |tx| project::project(tx, &batches, &holes))
    }

    fn move_cursor(&self, partition: Partition, claim: Claim, to: Pos) -> StoreFuture<'_, Claim> {
        self.write(move |tx| {
            let moved = tx
                .prepare_cached(
                    "UPDATE persister SET epoch = ?1, n = ?2 \
                     WHERE partition = ?3 AND lease = ?4 AND epoch = ?5 AND n = ?6",
                )?
                .execute((
                    to.epoch,
                    int(to.n),
                    partition,
                    int(claim.lease),
                    claim.stored.epoch,
                    int(claim.stored.n),
                ))?;
            if moved == 1 { Ok(Claim { stored: to, ..claim }) } else { Err(StoreError::Fenced) }
        })
    }

    fn bury(&self, letter: DeadLetter) -> StoreFuture<'_, ()> {
        self.write(move |tx| bury(tx, &letter))
    }

    fn dead_letters(
        &self,
        limit: usize,
    ) -> StoreFuture<'_, Vec<(protocol::ConversationId, u64, String)>> {
        self.read(move |tx| {
            let mut statement = tx.prepare_cached(
                "SELECT conversation, seq, reason FROM dead_letters ORDER BY rowid DESC LIMIT ?1",
            )?;
            let rows = statement.query_map([count(limit)], |row| {
                Ok((conversation_at(row, 0)?, nat_at(row, 1)?, row.get(2)?))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}
