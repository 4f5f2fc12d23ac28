//! Logins.
//!
//! Owns: the table `sessions`. Never does: see a token. Talks to: rusqlite. Start reading at: [`rotate`].

use protocol::{SessionId, UserId};
use rusqlite::{OptionalExtension, Row, Transaction};

use super::{
    SqliteStore,
    columns::{blob, count, int, nat_at, session_at, user_at},
};
use crate::store::{
    NewSession, RefreshHash, Refreshed, Rotation, Session, Sessions, StoreError, StoreFuture,
};

const SESSION: &str = "SELECT id, user, user_agent, created_at, last_used_at, expires_at, hash, previous, rotated_at FROM sessions";

fn session_row(row: &Row<'_>) -> rusqlite::Result<Session> {
    Ok(Session {
        id: session_at(row, 0)?,
        user: user_at(row, 1)?,
        user_agent: row.get(2)?,
        created_at: nat_at(row, 3)?,
        last_used_at: nat_at(row, 4)?,
        expires_at: nat_at(row, 5)?,
    })
}

/// Ends all sessions of a user but one.
pub(super) fn end_all(
    tx: &Transaction<'_>,
    user: UserId,
    keep: Option<SessionId>,
) -> rusqlite::Result<Vec<SessionId>> {
    let sql = "DELETE FROM sessions WHERE user = ?1 AND id IS NOT ?2 RETURNING id";
    let mut statement = tx.prepare_cached(sql)?;
    let keep = keep.map(|id| blob(id.0));
    statement.query_map((int(user.0), keep), |row| session_at(row, 0))?.collect()
}

fn create(
    tx: &Transaction<'_>,
    new: &NewSession,
    per_user_max: usize,
) -> Result<Vec<SessionId>, StoreError> {
    tx.prepare_cached(
        "INSERT INTO sessions (id, user, hash, rotated_at, user_agent, created_at, last_used_at, expires_at) \
         VALUES (?1, ?2, ?3, ?5, ?4, ?5, ?5, ?6)",
    )?
    .execute((
        blob(new.id.0),
        int(new.user.0),
        new.refresh_hash,
        &new.user_agent,
        int(new.created_at),
        int(new.expires_at),
    ))?;
    let mut statement = tx.prepare_cached(
        "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE user = ?1 AND id <> ?2 \
         ORDER BY last_used_at DESC LIMIT -1 OFFSET ?3) RETURNING id",
    )?;
    let others = count(per_user_max.saturating_sub(1));
    let ended =
        statement.query_map((int(new.user.0), blob(new.id.0), others), |row| session_at(row, 0))?;
    Ok(ended.collect::<Result<_, _>>()?)
}

fn rotate(tx: &Transaction<'_>, rotation: &Rotation) -> Result<Refreshed, StoreError> {
    let Rotation { session: id, shown, next, now_ms, grace_ms, expires_at } = rotation;
    let sql = format!("{SESSION} WHERE id = ?1 AND expires_at > ?2");
    let found = tx
        .prepare_cached(&sql)?
        .query_row((blob(id.0), int(*now_ms)), |row| {
            let hash: RefreshHash = row.get(6)?;
            let previous: Option<RefreshHash> = row.get(7)?;
            Ok((session_row(row)?, hash, previous, nat_at(row, 8)?))
        })
        .optional()?;
    let Some((mut session, hash, previous, rotated_at)) = found else {
        return Ok(Refreshed::Unknown);
    };
    if hash == *shown {
        tx.prepare_cached(
            "UPDATE sessions SET hash = ?2, previous = ?3, rotated_at = ?4, last_used_at = ?4, expires_at = ?5 \
             WHERE id = ?1",
        )?
        .execute((blob(id.0), *next, *shown, int(*now_ms), int(*expires_at)))?;
        (session.last_used_at, session.expires_at) = (*now_ms, *expires_at);
        return Ok(Refreshed::Rotated(session));
    }
    if previous == Some(*shown) && now_ms.saturating_sub(rotated_at) <= *grace_ms {
        return Ok(Refreshed::Grace(session));
    }
    // The id is in the token, so whoever shows it had a token of this session once.
    tx.prepare_cached("DELETE FROM sessions WHERE id = ?1")?.execute([blob(id.0)])?;
    Ok(Refreshed::Reused(session))
}

impl Sessions for SqliteStore {
    fn create_session(
        &self,
        new: NewSession,
        per_user_max: usize,
    ) -> StoreFuture<'_, Vec<SessionId>> {
        self.write(move |tx| create(tx, &new, per_user_max))
    }

    fn session(&self, id: SessionId, now_ms: u64) -> StoreFuture<'_, Option<Session>> {
        self.read(move |tx| {
            let sql = format!("{SESSION} WHERE id = ?1 AND expires_at > ?2");
            let mut statement = tx.prepare_cached(&sql)?;
            Ok(statement.query_row((blob(id.0), int(now_ms)), session_row).optional()?)
        })
    }

    fn rotate(&self, rotation: Rotation) -> StoreFuture<'_, Refreshed> {
        self.write(move |tx| rotate(tx, &rotation))
    }

    fn sessions(&self, user: UserId, now_ms: u64) -> StoreFuture<'_, Vec<Session>> {
        self.read(move |tx| {
            let sql = format!(
                "{SESSION} WHERE user = ?1 AND expires_at > ?2 ORDER BY last_used_at DESC, id"
            );
            let mut statement = tx.prepare_cached(&sql)?;
            let rows = statement.query_map([int(user.0), int(now_ms)], session_row)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    fn end_session(&self, user: UserId, id: SessionId) -> StoreFuture<'_, bool> {
        self.write(move |tx| {
            let sql = "DELETE FROM sessions WHERE id = ?1 AND user = ?2";
            Ok(tx.execute(sql, (blob(id.0), int(user.0)))? == 1)
        })
    }

    fn end_sessions(
        &self,
        user: UserId,
        keep: Option<SessionId>,
    ) -> StoreFuture<'_, Vec<SessionId>> {
        self.write(move |tx| Ok(end_all(tx, user, keep)?))
    }

    fn drop_expired_sessions(&self, now_ms: u64) -> StoreFuture<'_, usize> {
        self.write(move |tx| {
            Ok(tx.execute("DELETE FROM sessions WHERE expires_at <= ?1", [int(now_ms)])?)
        })
    }
}
