//! Putting an api together and letting it run.
//!
//! Owns: [`Api`] and its tasks (dropping it stops them). Never does: listen (main does, or the broker's server in front).
//! Talks to: every part once. Start reading at: [`Api::start`].

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use backplane::{Archive, Live, Log, standing::Standing};
use hyper::{Request, Response};
use protocol::limits::APPEND_DEADLINE_MS;
use token::Keyring;
use tokio::task::AbortHandle;
use tower::ServiceExt;

use crate::{
    app::{
        App, Parts,
        online::{OnlineIndex, follow_presence},
        receipts::flush_receipts,
    },
    appender::AppendHandle,
    auth::{HashPool, Pepper},
    config::{ApiConfig, PEPPER_FILE},
    history::History,
    http,
    metrics::Metrics,
    persister::Nudge,
    store::Store,
};

/// Histogram samples are folded this often.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// Sessions that have expired are dropped this often.
const SWEEP_EVERY: Duration = Duration::from_secs(60 * 60);

/// What the api talks to. The persister that feeds the store from the log runs beside it.
#[derive(Debug, Clone)]
pub struct Seams {
    /// Accounts, conversations, messages.
    pub store: Arc<dyn Store>,
    /// The same store, as brokers ask it.
    pub archive: Arc<dyn Archive>,
    /// The durable log.
    pub log: Arc<dyn Log>,
    /// Signals, presence, revocations.
    pub live: Arc<dyn Live>,
    /// Signs tokens; brokers verify with its public half.
    pub keyring: Arc<Keyring>,
    /// Counts of the api and of the persister beside it.
    pub metrics: Metrics,
    /// Asks that persister to store now.
    pub nudge: Nudge,
    /// How that persister, and so this process, stands with each partition of the log.
    pub standings: Vec<Arc<Standing>>,
}

/// A running api.
#[derive(Debug)]
pub struct Api {
    app: Arc<App>,
    router: Router,
    log: Arc<dyn Log>,
    standings: Vec<Arc<Standing>>,
    tasks: Vec<AbortHandle>,
}

impl Drop for Api {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Api {
    /// Starts an api on the current runtime. Errors: the pepper cannot be read or made, or a thread cannot be started.
    pub fn start(config: ApiConfig, seams: Seams) -> io::Result<Self> {
        let Seams { store, archive, log, live, keyring, metrics, nudge, standings } = seams;
        let online = OnlineIndex::default();
        let clock = config.clock.clone();
        let tasks = [
            tokio::spawn(follow_presence(Arc::clone(&live), Arc::clone(&store), online.clone())),
            tokio::spawn(flush_receipts(Arc::clone(&live), Arc::clone(&store))),
            tokio::spawn(keep_up(metrics.clone(), Arc::clone(&log))),
            tokio::spawn(sweep_sessions(Arc::clone(&store), clock)),
        ];
        let tasks = tasks.iter().map(tokio::task::JoinHandle::abort_handle).collect();
        let app = Arc::new(App::new(Parts {
            history: History::new(Arc::clone(&log), Arc::clone(&store), nudge),
            appender: AppendHandle::start(Arc::clone(&log), standings.clone()),
            pepper: Pepper::open(&config.data.join(PEPPER_FILE))?,
            hashes: HashPool::start(config.hash_threads, config.bcrypt_cost)?,
            config,
            store,
            archive,
            live,
            keyring,
            online,
            metrics,
        }));
        Ok(Self { router: http::router(Arc::clone(&app)), app, log, standings, tasks })
    }

    /// All routes. A request may carry its peer's `SocketAddr` as an extension.
    pub fn service(&self) -> Router {
        self.router.clone()
    }

    /// Answers one request of a server that is not axum's.
    pub async fn call(
        &self,
        request: Request<hyper::body::Incoming>,
        peer: SocketAddr,
    ) -> Response<Body> {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        let answer: Result<_, Infallible> = self.router.clone().oneshot(request).await;
        let Ok(response) = answer;
        response
    }

    /// The app, for tools that run in the same process.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Everything that is counted here, in the text format 0.0.4.
    pub fn metrics(&self) -> String {
        self.app.metrics().render()
    }

    /// Whether requests can be served now. Errors: what is missing.
    pub async fn ready(&self) -> Result<(), &'static str> {
        let limit = Duration::from_millis(APPEND_DEADLINE_MS);
        let store = tokio::time::timeout(limit, self.app.instance()).await;
        if !matches!(store, Ok(Ok(_))) {
            return Err("the store does not answer");
        }
        for partition in 0..self.log.info().partitions {
            let end = tokio::time::timeout(limit, self.log.end(partition)).await;
            if !matches!(end, Ok(Ok(_))) {
                return Err("the log does not answer");
            }
        }
        if !self.standings.iter().all(|standing| standing.is_good()) {
            return Err("the log takes no appends");
        }
        Ok(())
    }
}

async fn keep_up(metrics: Metrics, log: Arc<dyn Log>) {
    loop {
        for partition in 0..log.info().partitions {
            metrics.log_memory(partition, log.memory_ratio(partition));
        }
        tokio::time::sleep(UPKEEP_EVERY).await;
        metrics.upkeep();
    }
}

async fn sweep_sessions(store: Arc<dyn Store>, clock: crate::clock::Clock) {
    loop {
        match store.drop_expired_sessions(clock.now_ms()).await {
            Ok(dropped) => tracing::debug!(dropped, "expired sessions"),
            Err(error) => tracing::warn!(%error, "expired sessions stay for now"),
        }
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}
