//! The persister against a real log and a real store, with every call failing, crashing or coming too late.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up fails")]

mod world;

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use api::{
    Persister, StoreArchive,
    clock::Clock,
    metrics::Metrics,
    persister::Seams,
    projection::Item,
    store::{
        Anchor, Claim, CountingArchive, CountingIngest, DeadLetter, Holes, Ingest, Store,
        StoreError, StoreFuture, Viewer, sqlite::SqliteStore,
    },
};
use backplane::{
    Archive, Batch, Envelope, Key, Log, Partition, StoredEvent, Verdict,
    local::{Folder as LogFolder, LocalLog, Options},
    sequencer::Mutation,
    sim::{Faults, SimLog, SimOptions},
};
use bytes::Bytes;
use protocol::{ConversationId, EventKind, Pos, Producer};
use tokio::{
    sync::{Notify, Semaphore},
    time::{sleep, timeout},
};
use world::{ADA, Act, BOB, Folder, born, delete, edit, people, react, say};

fn direct() -> ConversationId {
    ConversationId::direct(ADA, BOB)
}

fn group() -> ConversationId {
    ConversationId::group(7)
}

/// What one call of the store does instead of answering well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Fails, nothing done.
    Before,
    /// Does it, and then there is no answer.
    After,
    /// Does it, and then waits until it is let go.
    Hang,
}

/// A store whose n-th call goes wrong, once.
#[derive(Debug)]
struct Flaky {
    inner: Arc<SqliteStore>,
    calls: AtomicUsize,
    fault: Option<(usize, Fault)>,
    hung: Notify,
    let_go: Semaphore,
}

impl Flaky {
    fn new(inner: &Arc<SqliteStore>, fault: Option<(usize, Fault)>) -> Arc<Self> {
        let (hung, let_go) = (Notify::new(), Semaphore::new(0));
        let inner = Arc::clone(inner);
        Arc::new(Self { inner, calls: AtomicUsize::new(0), fault, hung, let_go })
    }

    async fn call<T>(&self, work: StoreFuture<'_, T>) -> Result<T, StoreError> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        match self.fault {
            Some((at, fault)) if at == number => match fault {
                Fault::Before => Err(StoreError::Unavailable("a test".into())),
                Fault::After => work.await.and(Err(StoreError::Unknown)),
                Fault::Hang => {
                    let answer = work.await;
                    self.hung.notify_one();
                    self.let_go.acquire().await.unwrap().forget();
                    answer
                }
            },
            _ => work.await,
        }
    }
}

impl Ingest for Flaky {
    fn stored(&self, partition: Partition) -> StoreFuture<'_, Pos> {
        self.inner.stored(partition)
    }
    fn claim(&self, partition: Partition) -> StoreFuture<'_, Claim> {
        Box::pin(self.call(self.inner.claim(partition)))
    }
    fn insert_events(&self, batches: Vec<Arc<Batch>>, holes: Arc<Holes>) -> StoreFuture<'_, Holes> {
        Box::pin(self.call(self.inner.insert_events(batches, holes)))
    }
    fn project(&self, batches: Vec<Arc<Batch>>, holes: Arc<Holes>) -> StoreFuture<'_, ()> {
        Box::pin(self.call(self.inner.project(batches, holes)))
    }
    fn move_cursor(&self, partition: Partition, claim: Claim, to: Pos) -> StoreFuture<'_, Claim> {
        Box::pin(self.call(self.inner.move_cursor(partition, claim, to)))
    }
    fn bury(&self, letter: DeadLetter) -> StoreFuture<'_, ()> {
        Box::pin(self.call(self.inner.bury(letter)))
    }
    fn dead_letters(&self, limit: usize) -> StoreFuture<'_, Vec<(ConversationId, u64, String)>> {
        self.inner.dead_letters(limit)
    }
}

/// A log and a store in one folder.
struct House {
    log: Arc<LocalLog>,
    sqlite: Arc<SqliteStore>,
    store: Arc<dyn Store>,
    next: Mutex<u64>,
    /// Removed last.
    _folder: Folder,
}

impl House {
    async fn open(change: impl FnOnce(&mut Options)) -> Self {
        let folder = Folder::new();
        let sqlite = Arc::new(SqliteStore::open(&folder.0.join("store.db")).unwrap());
        let store: Arc<dyn Store> = sqlite.clone();
        people(&*store).await;
        let archive: Arc<dyn Archive> = Arc::new(StoreArchive::new(Arc::clone(&store), 1));
        let disk = LogFolder::open(&folder.0.join("log")).unwrap();
        let clock = Clock::default();
        let mut options =
            Options::new(Arc::new(move || clock.now_ms()), Arc::new(|what| panic!("{what}")));
        change(&mut options);
        let log = LocalLog::open(Arc::new(disk), archive, Pos::default(), options).unwrap();
        Self { log: Arc::new(log), sqlite, store, next: Mutex::new(0), _folder: folder }
    }

    fn persister(&self, store: Arc<dyn Ingest>) -> Persister {
        let seams = Seams { log: self.log.clone(), store, node: 1 };
        Persister::start(&seams, &Clock::default(), &Metrics::default())
    }

    /// Appends acts in one batch, each under a producer of its own.
    async fn append(&self, acts: impl IntoIterator<Item = Act>) -> Vec<Envelope> {
        let envelopes: Vec<Envelope> = acts
            .into_iter()
            .map(|Act(conversation, user, kind, body)| {
                let mut next = self.next.lock().unwrap();
                *next += 1;
                let key = Key { conversation, user, producer: Producer(*next), no: 1 };
                let mver = u64::from(conversation.is_group() && kind != EventKind::Created);
                Envelope::new(key, mver, kind, Bytes::from(body))
            })
            .collect();
        let verdicts = self.log.appender(0).append(&envelopes).await.unwrap();
        let stored = verdicts.iter().all(|verdict| matches!(verdict, Verdict::Stored { .. }));
        assert!(stored, "{verdicts:?}");
        envelopes
    }

    /// Three batches that need their order.
    async fn live_a_little(&self) {
        self.append([born(direct(), &[ADA, BOB]), born(group(), &[ADA, BOB])]).await;
        self.append([say(direct(), ADA, "one"), say(group(), BOB, "two")]).await;
        self.append([
            edit(direct(), ADA, 2, "uno"),
            react(group(), ADA, 2, "👍", true),
            say(group(), ADA, "three"),
            delete(group(), ADA, 4),
        ])
        .await;
    }

    /// Everything that was appended is stored, and W says so.
    async fn settled(&self) {
        let end = self.log.end(0).await.unwrap();
        let waited = timeout(Duration::from_secs(20), async {
            while self.log.watermark(0).await.unwrap() < end {
                sleep(Duration::from_millis(2)).await;
            }
        });
        waited.await.expect("W reaches the end");
        assert_eq!(self.sqlite.stored(0).await.unwrap(), end, "W is never above the cursor");
    }

    async fn contents(&self) -> Vec<(Vec<(u64, Bytes)>, Vec<Item>)> {
        let mut all = Vec::new();
        for id in [direct(), group()] {
            let events = self.store.events(id, 1, 100).await.unwrap();
            let viewer = Viewer { since: 1, blocked: vec![] };
            let mut items = self.store.page(id, viewer, Anchor::Newest, 100).await.unwrap().items;
            // The log's clock differs between two runs.
            for item in &mut items {
                item.ts = 0;
                if let api::projection::ItemKind::Message(message) = &mut item.kind {
                    message.edited_ts = message.edited_ts.map(|_| 1);
                }
            }
            let body = |event: &StoredEvent| (event.seq, event.body.clone());
            all.push((events.iter().map(body).collect(), items));
        }
        all
    }
}

async fn expected() -> Vec<(Vec<(u64, Bytes)>, Vec<Item>)> {
    let house = House::open(|_| ()).await;
    let _persister = house.persister(house.sqlite.clone());
    house.live_a_little().await;
    house.settled().await;
    let contents = house.contents().await;
    assert_eq!(contents[0].0.len() + contents[1].0.len(), 8, "all events are there");
    contents
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_only_counts_keeps_nothing_and_w_goes_on() {
    let house = House::open(|_| ()).await;
    let store = Arc::new(CountingIngest(house.sqlite.clone()));
    let _persister = house.persister(store.clone());
    house.live_a_little().await;
    house.settled().await;
    assert!(house.contents().await.iter().all(|(events, items)| events.len() + items.len() == 0));
    let archive: Arc<dyn Archive> = Arc::new(StoreArchive::new(Arc::clone(&house.store), 1));
    assert!(archive.range(direct(), 1, 9).await.is_ok(), "the real one would say: nothing");
    let refused = CountingArchive(archive).range(direct(), 1, 9).await.unwrap_err();
    assert!(refused.to_string().contains("store_counts_only"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_call_fails_before_or_after_it_was_done_the_end_is_the_same() {
    let expected = expected().await;
    let mut met = HashSet::new();
    for fault in [Fault::Before, Fault::After] {
        for at in 0..8 {
            let house = House::open(|_| ()).await;
            let flaky = Flaky::new(&house.sqlite, Some((at, fault)));
            let _persister = house.persister(flaky.clone());
            house.live_a_little().await;
            house.settled().await;
            assert_eq!(house.contents().await, expected, "{fault:?} at call {at}");
            if flaky.calls.load(Ordering::SeqCst) > at {
                met.insert((fault == Fault::Before, at));
            }
        }
    }
    assert!(met.len() >= 8, "the faults were met: {met:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_call_loses_and_doubles_nothing() {
    let expected = expected().await;
    for at in 0..4 {
        let house = House::open(|_| ()).await;
        house.live_a_little().await;
        let flaky = Flaky::new(&house.sqlite, Some((at, Fault::Hang)));
        let first = house.persister(flaky.clone());
        timeout(Duration::from_secs(10), flaky.hung.notified()).await.expect("the call came");
        drop(first);
        let _second = house.persister(house.sqlite.clone());
        house.settled().await;
        assert_eq!(house.contents().await, expected, "crash at call {at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_changes_nothing_and_takes_over_when_the_cursor_stands_still() {
    let expected = expected().await;
    let house = House::open(|_| ()).await;
    house.live_a_little().await;
    // It has written both phases, and its cursor call is on the way when the other one starts.
    let flaky = Flaky::new(&house.sqlite, Some((2, Fault::Hang)));
    let _zombie = house.persister(flaky.clone());
    timeout(Duration::from_secs(10), flaky.hung.notified()).await.expect("the call came");
    let owner = house.persister(house.sqlite.clone());
    house.settled().await;
    flaky.let_go.add_permits(1);
    house.append([say(direct(), BOB, "later")]).await;
    house.settled().await;
    let mut contents = house.contents().await;
    contents[0].0.pop();
    contents[0].1.pop();
    assert_eq!(contents, expected);
    drop(owner);
    house.append([say(direct(), BOB, "latest")]).await;
    house.settled().await;
    assert_eq!(house.contents().await[0].0.len(), expected[0].0.len() + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_event_is_put_aside_after_five_tries_and_leaves_a_hole() {
    let house = House::open(|_| ()).await;
    let poison = Act(direct(), BOB, EventKind::Message, br#"{"text":7}"#.to_vec());
    let acts = [born(direct(), &[ADA, BOB]), say(direct(), ADA, "before"), poison];
    house.append(acts).await;
    house.append([say(direct(), ADA, "after")]).await;
    let flaky = Flaky::new(&house.sqlite, None);
    let _persister = house.persister(flaky.clone());
    house.settled().await;
    let letters = house.store.dead_letters(9).await.unwrap();
    assert_eq!(letters.iter().map(|(id, seq, _)| (*id, *seq)).collect::<Vec<_>>(), [(direct(), 3)]);
    let events = house.store.events(direct(), 1, 9).await.unwrap();
    let kinds: Vec<_> = events.iter().map(|event| (event.seq, event.kind.is_some())).collect();
    assert_eq!(kinds, [(1, true), (2, true), (3, false), (4, true)]);
    assert_eq!(house.store.head(direct()).await.unwrap().unwrap().seq, 4);
    // The claim; five tries of two phases, the burial, a good try; the cursor; maybe the second batch by itself.
    let calls = flaky.calls.load(Ordering::SeqCst);
    assert!((1 + 10 + 1 + 2 + 1..=1 + 10 + 1 + 2 + 1 + 3).contains(&calls), "{calls} calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_that_the_log_took_twice_is_a_hole_in_the_store() {
    let house = House::open(|options| options.mutation = Mutation::DedupeOff).await;
    house.append([born(direct(), &[ADA, BOB])]).await;
    let once = house.append([say(direct(), ADA, "once")]).await;
    let again = house.log.appender(0).append(&once).await.unwrap();
    assert!(matches!(again[..], [Verdict::Stored { seq: 3, .. }]), "{again:?}");
    let _persister = house.persister(house.sqlite.clone());
    house.settled().await;
    let events = house.store.events(direct(), 2, 9).await.unwrap();
    assert_eq!(events.iter().map(|e| e.kind.is_some()).collect::<Vec<_>>(), [true, false]);
    assert!(events[1].body.is_empty(), "a hole holds nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_trimmed_and_what_is_not_stays() {
    let house = House::open(|options| {
        options.segment_bytes = 64 * 1024;
        (options.retention_ms, options.retention_bytes) = (0, 0);
    })
    .await;
    house.append([born(direct(), &[ADA, BOB])]).await;
    let long = "x".repeat(20_000);
    for _ in 0..20 {
        house.append([say(direct(), ADA, &long)]).await;
    }
    assert_eq!(house.log.first(0).await.unwrap().n, 0, "nothing is trimmed before it is stored");
    let _persister = house.persister(house.sqlite.clone());
    house.settled().await;
    let waited = timeout(Duration::from_secs(20), async {
        while house.log.first(0).await.unwrap().n == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.expect("old segments go");
    assert_eq!(house.store.events(direct(), 1, 100).await.unwrap().len(), 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_waits_is_not_kept_waiting_for_the_next_group() {
    let house = House::open(|_| ()).await;
    let persister = house.persister(house.sqlite.clone());
    house.append([born(direct(), &[ADA, BOB])]).await;
    for _ in 0..20 {
        house.append([say(direct(), ADA, "x")]).await;
        timeout(Duration::from_secs(10), persister.caught_up()).await.expect("stored").unwrap();
        house.settled().await;
    }
}

/// A cluster that starts again on an empty log: its numbers began again, below the store's cursor.
#[tokio::test]
async fn a_log_that_lost_everything_is_told_of_the_stores_cursor() {
    let house = House::open(|_| ()).await;
    let first = house.persister(house.sqlite.clone());
    house.live_a_little().await;
    house.settled().await;
    drop(first);

    let options = SimOptions {
        clock: Arc::new(|| 1),
        seed: 1,
        faults: Faults::default(),
        retention_ms: 1,
        swallow_sync: false,
        mutation: Mutation::None,
    };
    let archive: Arc<dyn Archive> = Arc::new(StoreArchive::new(Arc::clone(&house.store), 1));
    let empty = SimLog::new(archive, options);
    empty.rejoin(0, 7, Pos::default(), Pos::default()).await.unwrap();
    empty.crash(0);
    let seams = Seams { log: Arc::new(empty), store: house.sqlite.clone(), node: 7 };
    let second = Persister::start(&seams, &Clock::default(), &Metrics::default());
    let standing = Arc::clone(&second.standings()[0]);
    let begun = timeout(Duration::from_secs(10), standing.later_epoch(1)).await;
    begun.expect("a new epoch");
}
