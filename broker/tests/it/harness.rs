//! One broker in this process, on free ports, with everything that a test may turn.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use backplane::{
    Archive, Envelope, Head, Key, Live, Log, NodeId, Verdict,
    local::{Clock, Folder, LocalLive, LocalLog, Options},
    memory_archive::MemoryArchive,
};
use broker::{BrokerConfig, Node, Seams, admin};
use protocol::{ConversationId, EventKind, Pos, SessionId, UserId};
use serde_json::Value;
use token::{Audience, Claims, Keyring};
use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::client::Client;

pub(crate) const ADA: UserId = UserId(1);
pub(crate) const BOB: UserId = UserId(2);
pub(crate) const ORIGIN: &str = "http://chat.test";

pub(crate) fn direct() -> ConversationId {
    ConversationId::direct(ADA, BOB)
}

pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let waited = timeout(Duration::from_secs(10), async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("never came: {what}"));
}

pub(crate) struct Broker {
    pub(crate) node: Arc<Node>,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) archive: MemoryArchive,
    pub(crate) live: LocalLive,
    pub(crate) log: LocalLog,
    /// Milliseconds by which the log's clock is ahead.
    pub(crate) log_ahead_ms: Arc<AtomicU64>,
    keys: Keyring,
    folder: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<(), broker::RunError>>,
    admin_task: JoinHandle<()>,
}

impl Broker {
    pub(crate) async fn spawn() -> Self {
        Self::spawn_with(|_| ()).await
    }

    pub(crate) async fn spawn_with(change: impl FnOnce(&mut BrokerConfig)) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let number = COUNT.fetch_add(1, Relaxed);
        let name = format!("webchat-broker-{}-{number}", std::process::id());
        Self::spawn_in(std::env::temp_dir().join(name), MemoryArchive::default(), change).await
    }

    async fn spawn_in(
        folder: PathBuf,
        archive: MemoryArchive,
        change: impl FnOnce(&mut BrokerConfig),
    ) -> Self {
        std::fs::create_dir_all(folder.join("log")).unwrap();
        let keys = Keyring::open(&folder.join("keys")).unwrap();
        archive.set_head(direct(), Head { seq: 1, ordinal: 0, mver: 0, epoch: 1 });
        let store: Arc<dyn Archive> = Arc::new(archive.clone());
        let log_ahead_ms = Arc::<AtomicU64>::default();
        let ahead = Arc::clone(&log_ahead_ms);
        let log_clock: Clock = Arc::new(move || now_ms() + ahead.load(Relaxed));
        let log = LocalLog::open(
            Arc::new(Folder::open(&folder.join("log")).unwrap()),
            Arc::clone(&store),
            Pos::new(1, 0),
            Options::new(log_clock, Arc::new(|what| panic!("{what}"))),
        )
        .unwrap();
        let clock: Clock = Arc::new(now_ms);
        let live = LocalLive::new(clock);
        let mut config = BrokerConfig::new(NodeId(7));
        config.shards = 2;
        config.origins = vec![ORIGIN.to_owned()];
        config.drain_window_ms = 50;
        change(&mut config);
        let node = Node::new(config);
        let seams = Seams {
            log: Arc::new(log.clone()),
            live: Arc::new(live.clone()),
            archive: store,
            verifier: keys.verifier(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, admin) =
            (listener.local_addr().unwrap(), admin_listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move {
            let _ = stopped.await;
        };
        let running = tokio::spawn(broker::run(Arc::clone(&node), seams, listener, None, shutdown));
        let extras = admin::Extras::default();
        let admin_task = tokio::spawn(admin::serve(admin_listener, Arc::clone(&node), extras));
        let starting = Arc::clone(&node);
        until("ready", move || starting.state() == broker::State::Ready).await;
        let stop = Some(stop);
        Self {
            node,
            address,
            admin,
            archive,
            live,
            log,
            log_ahead_ms,
            keys,
            folder,
            stop,
            running,
            admin_task,
        }
    }

    pub(crate) fn token(&self, audience: Audience, user: UserId, session: u128) -> String {
        self.token_for(audience, user, session, 600)
    }

    pub(crate) fn token_for(
        &self,
        audience: Audience,
        user: UserId,
        session: u128,
        seconds: u64,
    ) -> String {
        let now = now_ms() / 1_000;
        let mut claims = Claims::new(audience, user, SessionId(session), now);
        claims.exp = now + seconds;
        self.keys.sign(&claims)
    }

    pub(crate) fn bearer(&self, user: UserId) -> String {
        format!("Bearer {}", self.token(Audience::Socket, user, u128::from(user.0)))
    }

    /// An upgraded connection that has said nothing yet.
    pub(crate) async fn connect(&self, user: UserId) -> Client {
        let bearer = self.bearer(user);
        let (status, _, client) =
            Client::upgrade(self.address, &[("Authorization", &bearer)]).await;
        assert_eq!(status, 101);
        client
    }

    /// A connection that has got its welcome.
    pub(crate) async fn join(&self, user: UserId) -> Client {
        let mut client = self.connect(user).await;
        client.say("{\"type\":\"hello\"}").await;
        assert_eq!(client.next("welcome").await["resume"], "fresh");
        client
    }

    /// Tells that everything up to the end of the log is in the store.
    pub(crate) async fn store_all(&self) {
        let (lease, end) = (self.log.lease(0).await.unwrap(), self.log.end(0).await.unwrap());
        self.log.advance(0, end, lease).await.unwrap();
    }

    /// Stores what is in the log, as the persister does.
    pub(crate) async fn persist(&self) {
        let batches = self.log.read(0, Pos::new(1, 0), 1024 * 1024).await.unwrap();
        batches.iter().for_each(|batch| self.archive.store(batch));
        self.store_all().await;
    }

    /// Appends as the api does, under the given membership version.
    pub(crate) async fn append(&self, key: Key, mver: u64, kind: EventKind, body: Value) -> u64 {
        let body = serde_json::to_vec(&body).unwrap();
        let envelope = Envelope::new(key, mver, kind, body.into());
        match self.log.appender(0).append(&[envelope]).await.unwrap()[..] {
            [Verdict::Stored { seq, .. }] => seq,
            ref other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn revoke(&self, session: u128) {
        let revocation = backplane::Revocation::Session(SessionId(session));
        self.live.revoke(revocation, now_ms(), 600_000).await.unwrap();
    }

    /// Begins the drain without waiting for it.
    pub(crate) fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Stops it, and waits for the end. The folder stays.
    pub(crate) async fn stop(&mut self) {
        self.begin_stop();
        let ended = timeout(Duration::from_secs(20), &mut self.running).await;
        ended.expect("the drain ends").unwrap().unwrap();
    }

    /// The same data under a new broker.
    pub(crate) async fn restart(mut self) -> Self {
        self.stop().await;
        let (folder, archive) = (std::mem::take(&mut self.folder), self.archive.clone());
        let closed = self.log.closed();
        drop(self);
        let freed = timeout(Duration::from_secs(20), closed).await;
        freed.expect("a broker that has stopped holds no handle of the log");
        Self::spawn_in(folder, archive, |_| ()).await
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.running.abort();
        self.admin_task.abort();
        if !self.folder.as_os_str().is_empty() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}
