//! A small world for tests: people, conversations, and the batches that a log would have made of what they do.
//!
//! Owns: numbering as the sequencer does it. Never does: IO but the temporary folder. Talks to: the store under test.
//! Start reading at: [`World::batch`].
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use api::store::{Claim, Holes, NewUser, Store, sqlite::SqliteStore};
use backplane::{Batch, Envelope, Key, Logged};
use bytes::Bytes;
use protocol::{
    ConversationId, EventKind, Pos, Producer, Role, UserId,
    body::{
        CreatedBody, DeleteBody, EditBody, HistoryAccess, MemberBody, MemberChange, MessageBody,
        ReactionBody, SettingsBody, canonical,
    },
};

pub(crate) const ADA: UserId = UserId(0xa);
pub(crate) const BOB: UserId = UserId(0xb);
pub(crate) const CY: UserId = UserId(0xc);
/// When the world begins.
pub(crate) const T0: u64 = 1_764_000_000_000;

/// A folder that goes with its last user.
#[derive(Debug)]
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name =
            format!("webchat-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(&self.0.join("store.db")).unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What somebody does somewhere.
#[derive(Debug, Clone)]
pub(crate) struct Act(
    pub(crate) ConversationId,
    pub(crate) UserId,
    pub(crate) EventKind,
    pub(crate) Vec<u8>,
);

pub(crate) fn say(at: ConversationId, from: UserId, text: &str) -> Act {
    let body = MessageBody { text: text.into(), reply_to: None, attachments: vec![] };
    Act(at, from, EventKind::Message, canonical(&body))
}

pub(crate) fn edit(at: ConversationId, from: UserId, target: u64, text: &str) -> Act {
    Act(at, from, EventKind::Edit, canonical(&EditBody { target, text: text.into() }))
}

pub(crate) fn delete(at: ConversationId, from: UserId, target: u64) -> Act {
    Act(at, from, EventKind::Delete, canonical(&DeleteBody { target }))
}

pub(crate) fn react(at: ConversationId, from: UserId, target: u64, emoji: &str, on: bool) -> Act {
    Act(at, from, EventKind::Reaction, canonical(&ReactionBody { target, emoji: emoji.into(), on }))
}

pub(crate) fn rename(at: ConversationId, from: UserId, title: &str) -> Act {
    let body = SettingsBody { title: Some(title.to_owned().into()), history: None };
    Act(at, from, EventKind::Settings, canonical(&body))
}

pub(crate) fn change(user: UserId, role: Option<Role>) -> MemberChange {
    MemberChange { user, role, since: 0 }
}

pub(crate) fn members(at: ConversationId, from: UserId, changes: Vec<MemberChange>) -> Act {
    Act(at, from, EventKind::Member, canonical(&MemberBody { changes }))
}

/// The birth of a conversation; in a group the first one owns it.
pub(crate) fn born(at: ConversationId, users: &[UserId]) -> Act {
    let group = at.is_group();
    let role = |i: usize| if group && i == 0 { Role::Owner } else { Role::Member };
    let members = users.iter().enumerate().map(|(i, user)| change(*user, Some(role(i))));
    let title = group.then(|| "Group".to_owned().into());
    let body = CreatedBody { title, history: HistoryAccess::Joined, members: members.collect() };
    Act(at, users[0], EventKind::Created, canonical(&body))
}

/// Numbers what people do.
#[derive(Debug, Default)]
pub(crate) struct World {
    heads: HashMap<ConversationId, (u64, u64)>,
    keys: HashMap<(ConversationId, UserId), u64>,
    n: u64,
}

impl World {
    pub(crate) fn batch(&mut self, acts: impl IntoIterator<Item = Act>) -> Arc<Batch> {
        self.n += 1;
        let events = acts.into_iter().map(|act| self.number(act)).collect();
        Arc::new(Batch { pos: Pos::new(1, self.n), ts: T0 + 1_000 * self.n, events })
    }

    /// The key of the next act of somebody.
    pub(crate) fn key(&mut self, conversation: ConversationId, user: UserId) -> Key {
        let no = self.keys.entry((conversation, user)).or_default();
        *no += 1;
        Key { conversation, user, producer: Producer(u64::MAX - user.0), no: *no }
    }

    fn number(&mut self, Act(conversation, from, kind, body): Act) -> Logged {
        let key = self.key(conversation, from);
        let (seq, ordinal) = self.heads.entry(conversation).or_default();
        *seq += 1;
        *ordinal += u64::from(kind == EventKind::Message);
        let (seq, ordinal) = (*seq, *ordinal);
        Logged { seq, ordinal, envelope: Envelope::new(key, 0, kind, Bytes::from(body)) }
    }
}

/// Stores batches the way the persister does, when all goes well.
pub(crate) async fn ingest(store: &dyn Store, batches: &[Arc<Batch>]) -> Claim {
    let claim = store.claim(0).await.unwrap();
    let known = Arc::new(Holes::new());
    let holes = store.insert_events(batches.to_vec(), known).await.unwrap();
    store.project(batches.to_vec(), Arc::new(holes)).await.unwrap();
    match batches.last() {
        Some(last) => store.move_cursor(0, claim, last.pos).await.unwrap(),
        None => claim,
    }
}

pub(crate) fn new_user(id: UserId, username: &str, display_name: &str) -> NewUser {
    NewUser {
        id,
        username: username.to_owned(),
        display_name: display_name.to_owned(),
        password_hash: format!("hash of {username}"),
        created_at: T0,
    }
}

/// Ada, Bob and Cy have accounts.
pub(crate) async fn people(store: &dyn Store) {
    let users = vec![
        new_user(ADA, "ada", "Ada Lovelace"),
        new_user(BOB, "bob", "Bob Noyce"),
        new_user(CY, "cy", "Cy Twombly"),
    ];
    assert_eq!(store.seed_users(users).await.unwrap(), 3);
}
