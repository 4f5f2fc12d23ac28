//! What every archive must answer, in the api's process and through the internal port: the same suite on both. And what
//! only the port can do wrong.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up fails")]

mod port;
#[path = "../world/mod.rs"]
mod world;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use api::{
    StoreArchive,
    internal_port::{self, Desk},
    serve::{Doors, serve},
    store::Store,
};
use backplane::{
    Archive, ArchiveError, Found, GroupSize, Head, Key, UserFlags, View, archive::SESSIONS_MAX,
};
use internal::{Address, HttpArchive, Peers, PeersOptions, Secret};
use protocol::{ConversationId, EventKind, Pos, Role, SessionId, UserId};
use token::Keyring;
use tokio::{net::TcpListener, sync::watch};
use world::{ADA, BOB, CY, Folder, T0, World, born, change, delete, ingest, members, people, say};

fn direct() -> ConversationId {
    ConversationId::direct(ADA, BOB)
}

fn group() -> ConversationId {
    ConversationId::group(7)
}

fn secret(text: &str) -> Secret {
    Secret::from_text(&text.repeat(32)).unwrap()
}

/// An internal port over an archive. It ends with the guard.
struct Port {
    address: SocketAddr,
    end: watch::Sender<bool>,
    keyring: Keyring,
    _folder: Folder,
}

impl Port {
    async fn open(archive: Arc<dyn Archive>) -> Self {
        let folder = Folder::new();
        let keyring = Keyring::open(&folder.0.join("keys")).unwrap();
        let desk = Desk { archive, verifier: keyring.verifier(), secret: secret("s") };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (end, ended) = watch::channel(false);
        let doors = Doors { header_within: Duration::from_secs(5), ..internal_port::DOORS };
        tokio::spawn(serve(listener, internal_port::router(desk), doors, ended));
        Self { address, end, keyring, _folder: folder }
    }
}

fn peers(addresses: &[SocketAddr], options: PeersOptions) -> Peers {
    let address = |a: &SocketAddr| format!("http://{a}").parse::<Address>().unwrap();
    Peers::new(addresses.iter().map(address).collect(), &secret("s"), options)
}

/// Keeps what the archive needs.
struct Guard(Folder, #[expect(dead_code, reason = "held")] Option<Port>);

fn in_process() -> (Guard, Arc<dyn Store>, Arc<dyn Archive>) {
    let folder = Folder::new();
    let store = folder.store();
    (Guard(folder, None), Arc::clone(&store), Arc::new(StoreArchive::new(store, 1)))
}

async fn over_http() -> (Guard, Arc<dyn Store>, Arc<dyn Archive>) {
    let (Guard(folder, _), store, archive) = in_process();
    let port = Port::open(archive).await;
    let archive = HttpArchive::new(peers(&[port.address], PeersOptions::default()));
    (Guard(folder, Some(port)), store, Arc::new(archive))
}

macro_rules! contract {
    ($($test:ident),* $(,)?) => {
        mod on_sqlite_in_process {
            $(#[tokio::test]
            async fn $test() {
                let (_guard, store, archive) = super::in_process();
                super::$test(&*store, &*archive).await;
            })*
        }
        mod on_sqlite_over_http {
            $(#[tokio::test]
            async fn $test() {
                let (_guard, store, archive) = super::over_http().await;
                super::$test(&*store, &*archive).await;
            })*
        }
    };
}

contract!(
    a_view_has_groups_tombstones_blocks_flags_and_how_far_the_store_was,
    a_head_is_where_a_conversation_stands_in_the_store,
    keys_are_found_with_what_is_known_of_their_producer,
    contacts_are_those_who_share_a_conversation,
    sessions_are_over_that_were_ended_or_are_another_s,
    a_range_has_events_as_they_came_and_holes_and_is_a_page_at_most,
);

async fn a_view_has_groups_tombstones_blocks_flags_and_how_far_the_store_was(
    store: &dyn Store,
    archive: &dyn Archive,
) {
    let nobody = archive.view(UserId(77)).await.unwrap();
    assert!(nobody.flags.disabled && nobody.groups.is_empty(), "{nobody:?}");
    people(store).await;
    let mut world = World::default();
    let first = world.batch([born(group(), &[ADA, BOB, CY]), born(direct(), &[ADA, BOB])]);
    ingest(store, &[first]).await;
    let second = world.batch([members(group(), ADA, vec![change(CY, None)])]);
    ingest(store, std::slice::from_ref(&second)).await;
    assert!(store.set_blocked(ADA, CY, true, T0).await.unwrap());
    let off = api::store::UserChange { hidden: Some(true), ..Default::default() };
    store.change_user(ADA, off).await.unwrap();
    let view = archive.view(ADA).await.unwrap();
    assert_eq!((view.as_of.as_slice(), view.blocked.as_slice()), (&[second.pos][..], &[CY][..]));
    assert_eq!(view.flags, UserFlags { hidden: true, ..UserFlags::default() });
    let [own] = view.groups[..] else { panic!("the group and nothing else: {view:?}") };
    assert_eq!((own.conversation, own.role, own.since), (group(), Some(Role::Owner), 1));
    assert_eq!(own.group, Some(GroupSize { mver: 2, large: false }));
    let gone: View = archive.view(CY).await.unwrap();
    assert_eq!((gone.groups[0].role, gone.groups[0].mver), (None, 2), "a tombstone stays");
}

async fn a_head_is_where_a_conversation_stands_in_the_store(
    store: &dyn Store,
    archive: &dyn Archive,
) {
    assert_eq!(archive.head(direct()).await.unwrap(), None);
    let mut world = World::default();
    let acts = [born(direct(), &[ADA, BOB]), say(direct(), ADA, "one"), born(group(), &[ADA])];
    ingest(store, &[world.batch(acts)]).await;
    let head = |seq, ordinal, mver| Some(Head { seq, ordinal, mver, epoch: 1 });
    assert_eq!(archive.head(direct()).await.unwrap(), head(2, 1, 0));
    assert_eq!(archive.head(group()).await.unwrap(), head(1, 0, 1));
}

async fn keys_are_found_with_what_is_known_of_their_producer(
    store: &dyn Store,
    archive: &dyn Archive,
) {
    let mut world = World::default();
    let mut acts = vec![born(direct(), &[ADA, BOB])];
    acts.extend((0..40).map(|i| say(direct(), ADA, &format!("m{i}"))));
    let batch = world.batch(acts);
    ingest(store, std::slice::from_ref(&batch)).await;
    let event = &batch.events[3];
    let key = event.envelope.key();
    let found = archive.find(key).await.unwrap();
    let stored = found.stored.unwrap();
    // Hashes use all 64 bits: none may be lost on the way.
    let expected = (event.envelope.hash, event.seq, Pos::new(1, 0), batch.ts);
    assert_eq!((stored.hash, stored.seq, stored.pos, stored.ts), expected);
    let producer = found.producer.unwrap();
    assert_eq!((producer.last, producer.recent.len()), (41, 32));
    let next = archive.find(Key { no: 42, ..key }).await.unwrap();
    assert!(next.stored.is_none() && next.producer.is_some());
    assert_eq!(archive.find(Key { user: CY, ..key }).await.unwrap(), Found::default());
}

async fn contacts_are_those_who_share_a_conversation(store: &dyn Store, archive: &dyn Archive) {
    people(store).await;
    let mut world = World::default();
    ingest(store, &[world.batch([born(group(), &[ADA, BOB, CY])])]).await;
    ingest(store, &[world.batch([members(group(), ADA, vec![change(CY, None)])])]).await;
    let among = archive.contacts(ADA, vec![CY, BOB, UserId(77), ADA]).await.unwrap();
    assert_eq!(among, [BOB, ADA]);
    let most = (1..=protocol::limits::WATCH_MAX as u64).map(UserId).collect();
    assert_eq!(archive.contacts(ADA, most).await.unwrap(), [ADA, BOB]);
}

async fn sessions_are_over_that_were_ended_or_are_another_s(
    store: &dyn Store,
    archive: &dyn Archive,
) {
    people(store).await;
    for (n, user) in [(1, ADA), (2, ADA), (3, BOB)] {
        let new = api::store::NewSession {
            id: SessionId(n),
            user,
            refresh_hash: [1; 32],
            user_agent: "test".into(),
            created_at: T0,
            expires_at: T0 + 1,
        };
        store.create_session(new, 9).await.unwrap();
    }
    assert!(store.end_session(ADA, SessionId(2)).await.unwrap());
    let asked = [(ADA, 1), (ADA, 2), (BOB, 3), (ADA, 3), (CY, 4)];
    let asked = asked.map(|(user, id)| (user, SessionId(id))).to_vec();
    let over = archive.ended(asked).await.unwrap();
    assert_eq!(over, [2, 3, 4].map(SessionId));
    let most = vec![(UserId(u64::MAX >> 1), SessionId(u128::MAX)); SESSIONS_MAX];
    assert_eq!(archive.ended(most).await.unwrap().len(), SESSIONS_MAX);
}

async fn a_range_has_events_as_they_came_and_holes_and_is_a_page_at_most(
    store: &dyn Store,
    archive: &dyn Archive,
) {
    let mut world = World::default();
    // Quotes, control characters and all planes of Unicode come back byte by byte.
    let odd = "\"\\\u{1}\n\u{7f}é漢\u{1f600}".repeat(100);
    let acts = [born(direct(), &[ADA, BOB]), say(direct(), ADA, &odd), delete(direct(), ADA, 2)];
    let batch = world.batch(acts);
    let twice = {
        let mut again = world.batch([say(direct(), BOB, "x")]).as_ref().clone();
        let mut second = batch.events[1].clone();
        second.seq = again.events[0].seq + 1;
        second.ordinal = again.events[0].ordinal + 1;
        again.events.push(second);
        Arc::new(again)
    };
    ingest(store, &[Arc::clone(&batch), twice]).await;
    let range = archive.range(direct(), 1, 5).await.unwrap();
    let kinds: Vec<_> = range.iter().map(|event| (event.seq, event.kind)).collect();
    let told = [EventKind::Created, EventKind::Message, EventKind::Delete, EventKind::Message];
    let mut expected: Vec<_> = (1..).zip(told.map(Some)).collect();
    expected.push((5, None));
    assert_eq!(kinds, expected, "the key that was taken is a hole");
    let (first, own) = (&range[0], &batch.events[0].envelope);
    assert_eq!((&first.body, first.from, first.no), (&own.body, own.from, own.no));
    assert_eq!((first.conversation, first.producer, first.ts), (direct(), own.producer, batch.ts));
    let acts: Vec<_> = (0..300).map(|_| say(group(), ADA, &odd)).collect();
    ingest(store, &[world.batch([born(group(), &[ADA])]), world.batch(acts)]).await;
    let page = archive.range(group(), 1, 1_000).await.unwrap();
    assert_eq!(page.len(), protocol::limits::PAGE_MAX);
    let said = page[1].body.clone();
    assert_eq!(said, say(group(), ADA, &odd).3, "byte by byte");
    assert_eq!(archive.range(group(), 9, 3).await.unwrap(), []);
}
