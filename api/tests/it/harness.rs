//! One api over real HTTP on a free port: real store, real log, real persister, in a folder of its own.
//!
//! At its end every server proves that nothing secret was logged: all tests together are the test of that.

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use api::{
    Api, ApiConfig, Persister, Seams, StoreArchive,
    clock::Clock,
    config::Rates,
    metrics::Metrics,
    persister,
    rate_limit::Rate,
    store::{Ingest, Store, sqlite::SqliteStore},
};
use backplane::{
    Archive,
    local::{Disk, Folder, LocalLive, LocalLog, Options},
};
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use token::Keyring;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{client::Client, logs};

/// What browsers of this server send as `Origin`.
pub(crate) const ORIGIN: &str = "http://chat.test";
/// Everybody's, unless a test is about passwords.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// Far above what any test needs; tests about limits set their own.
fn generous() -> Rates {
    let rate = Rate::per_second(100_000, 100_000);
    Rates {
        login_per_address: rate,
        login_per_account: rate,
        register_per_address: rate,
        requests_per_address: rate,
        requests_per_user: rate,
        appends_per_user: rate,
        searches_per_user: rate,
    }
}

/// Makes another archive of the real one.
pub(crate) type Instead = fn(Arc<dyn Archive>) -> Arc<dyn Archive>;

/// Parts that a test puts in the place of the real ones.
#[derive(Default)]
pub(crate) struct Odd {
    /// Under the log.
    pub(crate) disk: Option<Arc<dyn Disk>>,
    /// What the api asks; the log asks the real one.
    pub(crate) archive: Option<Instead>,
}

/// Waits for a condition.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("never came: {what}"));
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) clock: Clock,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) live: Arc<LocalLive>,
    pub(crate) log: Arc<LocalLog>,
    pub(crate) folder: PathBuf,
    secure: bool,
    persister: Option<Persister>,
    accepting: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn spawn() -> Self {
        Self::spawn_with(|_| ()).await
    }

    pub(crate) async fn spawn_with(change: impl FnOnce(&mut ApiConfig)) -> Self {
        Self::open(Self::new_folder(), Clock::default(), Odd::default(), change).await
    }

    pub(crate) async fn spawn_odd(odd: Odd) -> Self {
        Self::open(Self::new_folder(), Clock::default(), odd, |_| ()).await
    }

    fn new_folder() -> PathBuf {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let number = COUNT.fetch_add(1, Relaxed);
        let name = format!("webchat-api-it-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(folder.join("log")).unwrap();
        folder
    }

    async fn open(
        folder: PathBuf,
        clock: Clock,
        odd: Odd,
        change: impl FnOnce(&mut ApiConfig),
    ) -> Self {
        logs::capture();
        let sqlite = Arc::new(SqliteStore::open(&folder.join("store.db")).unwrap());
        let (store, ingest): (Arc<dyn Store>, Arc<dyn Ingest>) = (sqlite.clone(), sqlite);
        let archive: Arc<dyn Archive> = Arc::new(StoreArchive::new(Arc::clone(&store), 1));
        let stored = ingest.stored(0).await.unwrap();
        let real = || -> Arc<dyn Disk> { Arc::new(Folder::open(&folder.join("log")).unwrap()) };
        let disk = odd.disk.unwrap_or_else(real);
        // A clock of its own: tests move the other one by days.
        let time = Clock::default();
        let mut options = Options::new(Arc::new(move || time.now_ms()), Arc::new(|_| ()));
        options.segment_bytes = 1 << 20;
        let log = LocalLog::open(disk, Arc::clone(&archive), stored, options);
        let log = Arc::new(log.unwrap());
        let archive = match odd.archive {
            Some(other) => other(archive),
            None => archive,
        };
        let keyring = Arc::new(Keyring::open(&folder.join("keys")).unwrap());
        let metrics = Metrics::default();
        let persister = Persister::start(
            &persister::Seams { log: log.clone(), store: ingest, node: 1 },
            &clock,
            &metrics,
        );
        persister.caught_up().await.unwrap();
        let time = clock.clone();
        let live =
            LocalLive::open(&folder.join("revocations"), Arc::new(move || time.now_ms())).unwrap();
        let live = Arc::new(live);
        let mut config = ApiConfig::new(folder.clone(), vec![ORIGIN.to_owned()]);
        config.bcrypt_cost = 4;
        config.rates = generous();
        config.clock = clock.clone();
        change(&mut config);
        let secure = config.secure;
        let seams = Seams {
            store,
            archive,
            log: log.clone(),
            live: live.clone(),
            keyring: Arc::clone(&keyring),
            metrics,
            nudge: persister.nudge(),
            standings: persister.standings(),
        };
        let api = Arc::new(Api::start(config, seams).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = tokio::spawn(accept(listener, api));
        let persister = Some(persister);
        Self { address, clock, keyring, live, log, folder, secure, persister, accepting }
    }

    /// Ends this server and starts another one on the same folder.
    pub(crate) async fn restart(mut self) -> Self {
        let (folder, clock) = (std::mem::take(&mut self.folder), self.clock.clone());
        let closed = self.log.closed();
        drop(self);
        let closing = tokio::time::timeout(Duration::from_secs(10), closed);
        closing.await.expect("the log lets go of its folder");
        Self::open(folder, clock, Odd::default(), |_| ()).await
    }

    /// From now on nothing new gets from the log into the store.
    pub(crate) fn stop_persister(&mut self) {
        self.persister = None;
    }

    /// A browser that nobody has logged in with.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.address, self.secure)
    }
}

async fn accept(listener: TcpListener, api: Arc<Api>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, peer) = listener.accept().await.unwrap();
        let api = Arc::clone(&api);
        connections.spawn(async move {
            let answer = service_fn(move |request: Request<Incoming>| {
                let api = Arc::clone(&api);
                async move { Ok::<_, Infallible>(api.call(request, peer).await) }
            });
            let serving = hyper::server::conn::http1::Builder::new();
            // A client that went away is no matter of this test.
            let _ = serving.serve_connection(TokioIo::new(stream), answer).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
        if !self.folder.as_os_str().is_empty() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
        if !std::thread::panicking() {
            logs::hold_no_secret();
        }
    }
}
