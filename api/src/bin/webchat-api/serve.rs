//! The process: its ports, what it waits for, its end.
//!
//! Owns: the order of a start and of the end. Never does: product work. Talks to: `Api::start`, the persister, `process`.
//! Start reading at: [`serve`].

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use api::{
    Api, ApiConfig, Persister, Seams, StoreArchive,
    clock::Clock,
    internal_port::{self, Desk},
    persister,
    serve::{Doors, serve as serve_router},
    store::{CountingArchive, CountingIngest, Ingest},
};
use backplane::Archive;
use process::{
    cluster::Links,
    end::End,
    listen::{Port, announce, sockets_max},
    wait::Need,
};
use protocol::limits;
use token::Keyring;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    admin::{self, Board},
    parts::{self, Opened},
    settings::Settings,
};

/// Connections on the public port: as many requests as the store can be asked for, and idle ones of a proxy.
const CONNECTIONS_MAX: usize = 4_096;
/// Between two looks at the key folder. Brokers ask for the keys three times in that time.
const KEYS_LOOK_EVERY: Duration = Duration::from_secs(30);
/// Between two looks at the store for `/readyz`.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Time for the last events to reach the store at the end. What does not is stored at the next start.
const LAST_STORE_WITHIN: Duration = Duration::from_secs(5);

/// The ports, taken at once so that a mistake shows at once.
struct Ports {
    public: Port,
    internal: Port,
    admin: Port,
}

impl Ports {
    fn take(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Self {
            public: Port::take(settings.shared.address(), "--port")?,
            internal: Port::take(settings.internal_address(), "--internal-port")?,
            admin: Port::take(settings.shared.admin_address(), "--admin-port")?,
        })
    }
}

/// Serves until SIGTERM or Ctrl-C. A second signal ends it at once.
pub(crate) async fn serve(settings: Settings) -> anyhow::Result<()> {
    let end = End::listen("webchat-api")?;
    let Ports { public, internal, admin } = Ports::take(&settings)?;
    let secret = settings.shared.secret().map_err(anyhow::Error::msg)?;
    let _folder = parts::take_folder(&settings.data)?;
    let store = parts::open_store(&settings.data, true)?;
    let keyring = Arc::new(parts::open_keys(&settings.data, true)?);
    let (archive, ingest) = sides(&settings, &store);
    let board = Board::new();
    let (stop, stopped) = watch::channel(false);

    // Everything beside the api: dropping the set ends it. Brokers may ask before the log is there.
    let mut tasks = JoinSet::new();
    let (address, listener) = (admin.address(), admin.listen()?);
    let routes = admin::router(board.clone());
    tasks.spawn(serve_router(listener, routes, admin::DOORS, stopped.clone()));
    announce("admin", address);
    let desk = Desk { archive: Arc::clone(&archive), verifier: keyring.verifier(), secret };
    let routes = internal_port::router(desk);
    let (address, listener) = (internal.address(), internal.listen()?);
    tasks.spawn(serve_router(listener, routes, internal_port::DOORS, stopped.clone()));
    announce("internal", address);
    tasks.spawn(look_at_keys(Arc::clone(&keyring)));

    let node: u64 = rand::random();
    let waiting = Links::open(&settings.shared, node, &archive, true, &board.links);
    let links = tokio::select! {
        biased;
        () = end.asked() => return Ok(()),
        links = waiting => links?,
    };
    tasks.spawn(links.clone().watch(board.links.clone()));

    let clock = Clock::default();
    let log = Arc::new(links.log);
    let seams = persister::Seams { log: log.clone(), store: ingest, node };
    let persister = Arc::new(Persister::start(&seams, &clock, &board.metrics));
    let seams = Seams {
        store: store.read,
        archive,
        log,
        live: Arc::new(links.live),
        keyring,
        metrics: board.metrics.clone(),
        nudge: persister.nudge(),
        standings: persister.standings(),
    };
    let api = Arc::new(Api::start(config(&settings, &public, clock), seams)?);
    tasks.spawn(watch_store(Arc::clone(&api), board.store.clone()));
    tasks.spawn(catch_up(Arc::clone(&persister), board.caught_up.clone()));
    let (address, listener) = (public.address(), public.listen()?);
    let doors = Doors {
        connections_max: CONNECTIONS_MAX.min(sockets_max()),
        header_within: Duration::from_millis(limits::HEADER_TIMEOUT_MS),
    };
    let serving = tokio::spawn(serve_router(listener, api.service(), doors, stopped));
    // Said when it is true: whoever reads it connects at once.
    announce("webchat-api", address);

    end.asked().await;
    board.ending.store(true, Relaxed);
    stop.send_replace(true);
    // It ends by itself, in bounded time. A panic in it is on stderr.
    let _ = serving.await;
    let _ = timeout(LAST_STORE_WITHIN, persister.caught_up()).await;
    tasks.shutdown().await;
    Ok(())
}

/// The store as brokers and the persister see it.
fn sides(settings: &Settings, store: &Opened) -> (Arc<dyn Archive>, Arc<dyn Ingest>) {
    let partitions = settings.shared.logs.len() as u16;
    let archive: Arc<dyn Archive> = Arc::new(StoreArchive::new(store.read.clone(), partitions));
    if settings.store_counts_only {
        let ingest = Arc::new(CountingIngest(Arc::clone(&store.ingest)));
        return (Arc::new(CountingArchive(archive)), ingest);
    }
    (archive, Arc::clone(&store.ingest))
}

fn config(settings: &Settings, public: &Port, clock: Clock) -> ApiConfig {
    let shared = &settings.shared;
    let origins = if shared.origins.is_empty() {
        let port = public.address().port();
        let names = ["localhost", "127.0.0.1", "[::1]"];
        names.map(|name| format!("http://{name}:{port}")).to_vec()
    } else {
        shared.origins.clone()
    };
    let mut config = ApiConfig::new(settings.data.clone(), origins);
    config.secure = shared.behind_proxy;
    config.trusted_proxies.clone_from(&shared.trusted_proxies);
    config.trusted_sources.clone_from(&shared.limits.trusted_sources);
    config.counts_only = settings.store_counts_only;
    config.clock = clock;
    config
}

/// A new key file is published by one look and signs from the next on.
async fn look_at_keys(keyring: Arc<Keyring>) {
    let mut broken = false;
    loop {
        sleep(KEYS_LOOK_EVERY).await;
        match keyring.reload() {
            Ok(changed) => {
                broken = false;
                if changed {
                    tracing::info!(signs = keyring.kid(), "the key folder has changed");
                }
            }
            Err(error) if !broken => {
                broken = true;
                tracing::warn!(%error, "the key folder cannot be read; the keys from before go on");
            }
            Err(_) => {}
        }
    }
}

async fn watch_store(api: Arc<Api>, store: Need) {
    loop {
        let answer = api.ready().await;
        store.set(answer.is_ok(), &answer.err().unwrap_or_default());
        sleep(LOOK_EVERY).await;
    }
}

/// Once: later a store that is behind shows as lag, not as unreadiness.
async fn catch_up(persister: Arc<Persister>, caught_up: Need) {
    while let Err(error) = persister.caught_up().await {
        tracing::debug!(%error, "not caught up");
        sleep(LOOK_EVERY).await;
    }
    caught_up.set(true, &"");
}
