//! Phase 2: what the events make of heads, members, messages, read cursors and the search index.
//!
//! Owns: these tables as the persister writes them. Never does: look below a conversation's head twice: the head is the guard
//! (`stored_seq < seq`), and it moves in the same transaction as all that it guards. Talks to: projection.rs for the rules.
//! Start reading at: [`project`].

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use backplane::Batch;
use protocol::{
    EventKind, UserId,
    body::{CreatedBody, MemberBody, MessageBody, SettingsBody},
};
use rusqlite::Transaction;
use serde::de::DeserializeOwned;

use super::{
    columns::{event_id, history_in, int, nat_at, number_of, role_in},
    ingest::{Incoming, in_row_order},
    search, states,
};
use crate::{
    projection::{ERASED_MESSAGE, Effect, Item},
    store::{Holes, StoreError},
};

/// What stays of an edit of a deleted message, before and after the number.
const ERASED_EDIT: (&str, &str) = (r#"{"target":"#, r#","text":""}"#);

/// Projects the events that are above their conversation's head.
pub(super) fn project(
    tx: &Transaction<'_>,
    batches: &[Arc<Batch>],
    holes: &Holes,
) -> Result<(), StoreError> {
    let incoming = in_row_order(tx, batches, holes)?;
    for events in incoming.chunk_by(|a, b| number_of(a.id) == number_of(b.id)) {
        let mut conversation = Conversation::load(tx, number_of(events[0].id))?;
        let guard = conversation.guard;
        for one in events.iter().filter(|one| one.event.seq > guard) {
            conversation.take(one)?;
        }
        conversation.save()?;
    }
    Ok(())
}

/// A message that something happened to.
struct Touched {
    item: Item,
    /// The text that the search index holds, if it is in there.
    indexed: Option<String>,
}

/// One conversation while its events are projected.
struct Conversation<'a> {
    tx: &'a Transaction<'a>,
    number: i64,
    /// Its head before this call.
    guard: u64,
    head: u64,
    ordinal: u64,
    epoch: u32,
    mver: u64,
    last_message: u64,
    activity_ts: u64,
    members_changed: bool,
    /// Texts of new messages, ascending by seq.
    fresh: Vec<(u64, String)>,
    touched: BTreeMap<u64, Touched>,
    /// Own messages move one's own read cursor.
    read: HashMap<UserId, u64>,
}

impl<'a> Conversation<'a> {
    fn load(tx: &'a Transaction<'_>, number: i64) -> Result<Self, StoreError> {
        let sql = "SELECT seq, ordinal, epoch, mver, last_message, activity_ts FROM conversations WHERE number = ?1";
        let loaded = tx.prepare_cached(sql)?.query_row([number], |row| {
            Ok(Self {
                tx,
                number,
                guard: nat_at(row, 0)?,
                head: nat_at(row, 0)?,
                ordinal: nat_at(row, 1)?,
                epoch: row.get(2)?,
                mver: nat_at(row, 3)?,
                last_message: nat_at(row, 4)?,
                activity_ts: nat_at(row, 5)?,
                members_changed: false,
                fresh: Vec::new(),
                touched: BTreeMap::new(),
                read: HashMap::new(),
            })
        })?;
        Ok(loaded)
    }

    fn take(&mut self, one: &Incoming<'_>) -> Result<(), StoreError> {
        let seq = one.event.seq;
        self.head = seq;
        self.ordinal = one.event.ordinal;
        self.epoch = one.epoch;
        if one.hole {
            return Ok(());
        }
        match one.event.envelope.kind {
            EventKind::Message => {
                let body: MessageBody<'_> = parse(one)?;
                self.fresh.push((seq, body.text.into_owned()));
                self.last_message = seq;
                self.activity_ts = one.ts;
                self.read.insert(one.event.envelope.from, seq);
            }
            EventKind::Created => {
                let body: CreatedBody<'_> = parse(one)?;
                self.tx
                    .prepare_cached(
                        "UPDATE conversations SET title = ?2, history = ?3, created_at = ?4 WHERE number = ?1",
                    )?
                    .execute((self.number, body.title, history_in(body.history), int(one.ts)))?;
                self.activity_ts = one.ts;
                self.change_members(one)?;
            }
            EventKind::Member => {
                let _: MemberBody = parse(one)?;
                self.change_members(one)?;
            }
            EventKind::Settings => {
                let body: SettingsBody<'_> = parse(one)?;
                self.tx
                    .prepare_cached(
                        "UPDATE conversations SET title = coalesce(?2, title), history = coalesce(?3, history) \
                         WHERE number = ?1",
                    )?
                    .execute((self.number, body.title, body.history.map(history_in)))?;
            }
            EventKind::Edit | EventKind::Delete | EventKind::Reaction => self.affect(one)?,
        }
        Ok(())
    }

    /// Records merge: the larger mver wins. In a direct conversation mver is 0 and the first record stays.
    fn change_members(&mut self, one: &Incoming<'_>) -> Result<(), StoreError> {
        let group = one.event.envelope.conversation.is_group();
        let mver = if group { one.event.seq } else { 0 };
        self.mver = mver;
        self.members_changed = true;
        let mut statement = self.tx.prepare_cached(
            "INSERT INTO memberships (conversation, user, role, since, mver) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT DO UPDATE SET role = excluded.role, since = excluded.since, mver = excluded.mver \
             WHERE excluded.mver > mver",
        )?;
        for change in one.event.membership_changes() {
            let user = int(change.user.0);
            let (role, since) = (role_in(change.role), int(change.since));
            statement.execute((self.number, user, role, since, int(mver)))?;
        }
        Ok(())
    }

    /// An edit, delete or reaction. One whose target is no message changes nothing.
    fn affect(&mut self, one: &Incoming<'_>) -> Result<(), StoreError> {
        let envelope = &one.event.envelope;
        let effect = Effect::of(envelope.kind, &envelope.body)
            .map_err(|error| one.rejected(error.to_string()))?;
        let Some(effect) = effect else { return Ok(()) };
        let target = effect.target();
        if !self.touch(target)? {
            return Ok(());
        }
        let id = event_id(self.number, target);
        match effect {
            Effect::Edit { .. } => {
                self.tx
                    .prepare_cached("INSERT OR IGNORE INTO edits (message, seq) VALUES (?1, ?2)")?
                    .execute((id, int(one.event.seq)))?;
            }
            Effect::Delete { .. } => self.erase(id, target)?,
            Effect::React { .. } => {}
        }
        let deleted = match self.touched.get_mut(&target) {
            Some(touched) => {
                touched.item.apply(&effect, envelope.from, one.ts);
                touched.item.message().is_some_and(|message| message.deleted)
            }
            None => false,
        };
        // An edit that lost against a delete is erased like those before it.
        if deleted && matches!(effect, Effect::Edit { .. }) {
            self.erase(id, target)?;
        }
        Ok(())
    }

    /// Makes sure that a message is in `touched`. `false`: there is no such message.
    fn touch(&mut self, target: u64) -> Result<bool, StoreError> {
        if self.touched.contains_key(&target) {
            return Ok(true);
        }
        if target == 0 || target >= self.head {
            return Ok(false);
        }
        let Some(item) = states::item(self.tx, event_id(self.number, target))? else {
            return Ok(false);
        };
        let Some(message) = item.message() else { return Ok(false) };
        let old = target <= self.guard && !message.deleted;
        let indexed = old.then(|| message.text.clone());
        self.touched.insert(target, Touched { item, indexed });
        Ok(true)
    }

    /// Overwrites the words of a deleted message, and of all its edits. Key and hash stay, so a re-send is still known.
    fn erase(&self, id: i64, target: u64) -> Result<(), StoreError> {
        let mut update = self.tx.prepare_cached("UPDATE events SET body = ?2 WHERE id = ?1")?;
        update.execute((id, ERASED_MESSAGE))?;
        let mut edits = self.tx.prepare_cached("SELECT seq FROM edits WHERE message = ?1")?;
        let seqs = edits.query_map([id], |row| nat_at(row, 0))?.collect::<Result<Vec<_>, _>>()?;
        let body = format!("{}{target}{}", ERASED_EDIT.0, ERASED_EDIT.1);
        for seq in seqs {
            update.execute((event_id(self.number, seq), body.as_bytes()))?;
        }
        Ok(())
    }

    fn save(mut self) -> Result<(), StoreError> {
        if self.head == self.guard {
            return Ok(());
        }
        self.save_texts()?;
        self.save_cursors()?;
        if self.members_changed {
            let sql = "UPDATE conversations SET members = (SELECT count(*) FROM memberships \
                 WHERE conversation = ?1 AND role IS NOT NULL) WHERE number = ?1";
            self.tx.prepare_cached(sql)?.execute([self.number])?;
        }
        self.tx
            .prepare_cached(
                "UPDATE conversations SET seq = ?2, ordinal = ?3, epoch = ?4, mver = ?5, last_message = ?6, \
                 activity_ts = ?7 WHERE number = ?1",
            )?
            .execute((
                self.number,
                int(self.head),
                int(self.ordinal),
                self.epoch,
                int(self.mver),
                int(self.last_message),
                int(self.activity_ts),
            ))?;
        Ok(())
    }

    /// States and search entries: first the older messages that changed, then the new ones, ids ascending.
    fn save_texts(&mut self) -> Result<(), StoreError> {
        let mut fresh: BTreeMap<u64, String> = BTreeMap::new();
        for (seq, touched) in std::mem::take(&mut self.touched) {
            let id = event_id(self.number, seq);
            let Some(message) = touched.item.message() else { continue };
            states::put_state(self.tx, id, message)?;
            let text = (!message.deleted).then(|| message.text.clone());
            if seq > self.guard {
                fresh.insert(seq, text.unwrap_or_default());
            } else if touched.indexed != text {
                search::replace(self.tx, id, touched.indexed.as_deref(), text.as_deref())?;
            }
        }
        for (seq, text) in std::mem::take(&mut self.fresh) {
            let text = fresh.remove(&seq).unwrap_or(text);
            search::replace(self.tx, event_id(self.number, seq), None, Some(&text))?;
        }
        Ok(())
    }

    fn save_cursors(&self) -> Result<(), StoreError> {
        let mut statement = self.tx.prepare_cached(
            "INSERT INTO cursors (conversation, user, delivered, read) VALUES (?1, ?2, ?3, ?3) \
             ON CONFLICT DO UPDATE SET delivered = max(delivered, excluded.delivered), \
             read = max(read, excluded.read)",
        )?;
        for (user, seq) in &self.read {
            statement.execute((self.number, int(user.0), int(*seq)))?;
        }
        Ok(())
    }
}

fn parse<T: DeserializeOwned>(one: &Incoming<'_>) -> Result<T, StoreError> {
    // The reason names the kind only: a parser's error quotes what people wrote.
    serde_json::from_slice(&one.event.envelope.body)
        .map_err(|_| one.rejected(format!("malformed {}", one.event.envelope.kind.as_str())))
}
