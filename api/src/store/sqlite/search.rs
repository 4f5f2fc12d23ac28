//! The search index, and looking for messages in it.
//!
//! Owns: the table `search`. Never does: look outside the scopes it is given: each is a range of ids, so a hit in somebody
//! else's conversation is not even read. Talks to: words.rs. Start reading at: [`search`].

use std::cmp::Reverse;

use protocol::{ConversationId, UserId};
use rusqlite::{Connection, OptionalExtension, Transaction};

use super::{
    columns::{SEQ_END, event_id, int, nat_at, seq_of},
    states::{ITEM, item_at},
};
use crate::store::{Hit, Scope, Search, SearchPlace, StoreError, words};

/// Entries of the index that are looked at for one scope and one page; what is beyond is found by a narrower query.
const LOOK_MAX: usize = 2_000;
/// Entries read at once.
const CHUNK: usize = 64;

/// Takes a text out of the index, puts another one in.
pub(super) fn replace(
    tx: &Transaction<'_>,
    id: i64,
    old: Option<&str>,
    new: Option<&str>,
) -> rusqlite::Result<()> {
    if let Some(terms) = old.map(words::index_terms).filter(|terms| !terms.is_empty()) {
        // A contentless index has to be told what it holds.
        tx.prepare_cached("INSERT INTO search (search, rowid, words) VALUES ('delete', ?1, ?2)")?
            .execute((id, terms))?;
    }
    if let Some(terms) = new.map(words::index_terms).filter(|terms| !terms.is_empty()) {
        tx.prepare_cached("INSERT INTO search (rowid, words) VALUES (?1, ?2)")?
            .execute((id, terms))?;
    }
    Ok(())
}

/// A scope with what decides the order in which scopes are looked through.
struct Range {
    conversation: ConversationId,
    number: i64,
    since: u64,
    activity_ts: u64,
}

/// The newest matching messages of all scopes. Scopes are looked through in the order of their last activity, and no
/// further once the page is full of hits newer than all that the rest can have.
pub(super) fn search(tx: &Transaction<'_>, search: &Search) -> Result<Vec<Hit>, StoreError> {
    let Some(query) = words::Query::parse(&search.text) else { return Ok(Vec::new()) };
    let expression = query.expression();
    let mut ranges = ranges(tx, &search.scopes)?;
    ranges.sort_by_key(|range| Reverse(range.activity_ts));
    let mut hits: Vec<Hit> = Vec::new();
    for range in ranges {
        let full = hits.len() >= search.limit;
        if full && hits.last().is_some_and(|last| last.place.ts > range.activity_ts) {
            break;
        }
        look(tx, search, &query, &expression, &range, &mut hits)?;
        hits.sort_by_key(|hit| Reverse(hit.place));
        hits.truncate(search.limit);
    }
    Ok(hits)
}

fn ranges(tx: &Transaction<'_>, scopes: &[Scope]) -> rusqlite::Result<Vec<Range>> {
    let sql = "SELECT number, activity_ts FROM conversations WHERE id = ?1";
    let mut statement = tx.prepare_cached(sql)?;
    let mut ranges = Vec::with_capacity(scopes.len());
    for Scope { conversation, since } in scopes {
        let found = statement
            .query_row([super::columns::blob(conversation.0)], |row| {
                Ok((row.get::<_, i64>(0)?, nat_at(row, 1)?))
            })
            .optional()?;
        if let Some((number, activity_ts)) = found {
            let (conversation, since) = (*conversation, *since);
            ranges.push(Range { conversation, number, since, activity_ts });
        }
    }
    Ok(ranges)
}

/// Adds what matches in one scope, newest first, at most a page.
fn look(
    tx: &Transaction<'_>,
    search: &Search,
    query: &words::Query,
    expression: &str,
    range: &Range,
    hits: &mut Vec<Hit>,
) -> Result<(), StoreError> {
    let first = event_id(range.number, range.since);
    let mut last = match search.before {
        Some(before) => last_at_or_before(tx, range.number, before.ts)?,
        None => event_id(range.number, SEQ_END - 1),
    };
    let (mut looked, mut taken) = (0, 0);
    let sql = "SELECT rowid FROM search WHERE search MATCH ?1 AND rowid BETWEEN ?2 AND ?3 \
         ORDER BY rowid DESC LIMIT ?4";
    let mut statement = tx.prepare_cached(sql)?;
    while looked < LOOK_MAX && taken < search.limit && first <= last {
        let ids = statement.query_map((expression, first, last, CHUNK as i64), |row| row.get(0))?;
        let ids = ids.collect::<Result<Vec<i64>, _>>()?;
        let Some(lowest) = ids.last() else { break };
        last = lowest - 1;
        looked += CHUNK;
        for id in &ids {
            if let Some(hit) = hit(tx, search, query, range.conversation, *id)?
                && taken < search.limit
            {
                taken += 1;
                hits.push(hit);
            }
        }
        if ids.len() < CHUNK {
            break;
        }
    }
    Ok(())
}

/// The message if it may be shown, really matches, and comes after the page before.
fn hit(
    tx: &Transaction<'_>,
    search: &Search,
    query: &words::Query,
    conversation: ConversationId,
    id: i64,
) -> Result<Option<Hit>, StoreError> {
    let sql = format!("{ITEM} WHERE e.id = ?1 AND e.kind = 2");
    let mut statement = tx.prepare_cached(&sql)?;
    let mut rows = statement.query([id])?;
    let Some(item) = rows.next()?.map(item_at).transpose()? else { return Ok(None) };
    let place = SearchPlace { ts: item.ts, conversation, seq: seq_of(id) };
    let hidden = is_blocked(&search.blocked, item.from);
    let shown = !hidden && search.before.is_none_or(|before| place < before);
    let message = item.message().filter(|message| shown && query.matches(&message.text));
    Ok(message.map(|message| Hit { place, from: item.from, text: message.text.clone() }))
}

fn is_blocked(blocked: &[UserId], user: UserId) -> bool {
    blocked.contains(&user)
}

/// The last event of a conversation that is not younger than `ts`: time never runs backwards in the log, so this halves.
fn last_at_or_before(connection: &Connection, number: i64, ts: u64) -> rusqlite::Result<i64> {
    let sql = "SELECT id, ts FROM events WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    let first = event_id(number, 0);
    let (mut low, mut high) = (first, event_id(number, SEQ_END - 1));
    while low < high {
        let middle = low + (high - low) / 2 + 1;
        let found = statement
            .query_row([first, middle], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
            .optional()?;
        match found {
            Some((_, at)) if at <= int(ts) => low = middle,
            Some((id, _)) => high = id - 1,
            None => low = middle,
        }
    }
    Ok(low)
}
