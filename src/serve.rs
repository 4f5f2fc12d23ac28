//! The server: api and broker on one port, health and metrics on another.
//!
//! Owns: putting them together, and their end. Never does: product work. Talks to: broker, api. Start reading at: [`serve`].

use std::{
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use api::{Api, ApiConfig};
use broker::{BrokerConfig, FallbackService, Node, admin};
use http_body_util::BodyExt;
use process::{end::End, listen::sockets_max};
use tokio::{net::TcpListener, task::JoinSet};

use crate::{config::Settings, demo, parts::Parts};

/// Between two looks at store and log for `/readyz`.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or Ctrl-C, then drains. A second signal ends it at once.
pub(crate) async fn serve(settings: Settings, with_demo: bool) -> anyhow::Result<()> {
    let end = End::listen("webchat")?;
    let (listener, address) =
        bind(SocketAddr::new(settings.listen, settings.port), "--port").await?;
    let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, settings.admin_port));
    let (admin, admin_address) = bind(admin, "--admin-port").await?;
    let origins = if settings.origins.is_empty() {
        let names = ["localhost", "127.0.0.1", "[::1]"];
        names.map(|name| format!("http://{name}:{}", address.port())).to_vec()
    } else {
        settings.origins.clone()
    };
    let parts = Parts::open(&settings.data).await?;
    if !settings.limits.trusted_sources.is_empty() {
        tracing::warn!("limits.trusted_sources is set: no limits for load tests, not for people");
    }
    let api = Arc::new(start_api(&parts, &settings, &origins)?);
    if with_demo {
        demo::fill(&api, &*parts.store).await.context("--demo")?;
    }
    let mut config = BrokerConfig::new(backplane::NodeId(rand::random()));
    config.shards = settings.shards;
    config.secure = settings.behind_proxy;
    config.connections_max = config.connections_max.min(sockets_max());
    config.trusted_sources.clone_from(&settings.limits.trusted_sources);
    config.trusted_proxies.clone_from(&settings.trusted_proxies);
    config.origins = origins;
    let node = Node::new(config);
    let mut tasks = JoinSet::new();
    let ready = Arc::new(AtomicBool::new(true));
    tasks.spawn(watch(Arc::clone(&api), Arc::clone(&ready)));
    tasks.spawn(admin::serve(admin, Arc::clone(&node), extras(&api, ready)));
    let seams = broker::Seams {
        log: parts.log.clone(),
        live: parts.live.clone(),
        archive: Arc::clone(&parts.archive),
        verifier: parts.keyring.verifier(),
    };
    let running = broker::run(node, seams, listener, Some(fallback(&api)), end.asked());
    announce(&settings, address, admin_address);
    running.await?;
    tasks.shutdown().await;
    drop(api);
    parts.close().await;
    Ok(())
}

async fn bind(address: SocketAddr, option: &str) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.with_context(|| {
        format!("cannot listen on {address}; if something else does, choose another with {option}")
    })?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn start_api(parts: &Parts, settings: &Settings, origins: &[String]) -> anyhow::Result<Api> {
    let mut config = ApiConfig::new(settings.data.clone(), origins.to_vec());
    config.secure = settings.behind_proxy;
    config.trusted_proxies.clone_from(&settings.trusted_proxies);
    config.trusted_sources.clone_from(&settings.limits.trusted_sources);
    config.clock = parts.clock.clone();
    let seams = api::Seams {
        store: Arc::clone(&parts.store),
        archive: Arc::clone(&parts.archive),
        log: parts.log.clone(),
        live: parts.live.clone(),
        keyring: Arc::clone(&parts.keyring),
        metrics: parts.metrics.clone(),
        nudge: parts.persister.nudge(),
        standings: parts.persister.standings(),
    };
    Ok(Api::start(config, seams)?)
}

/// Every path but `/ws` is the api's.
fn fallback(api: &Arc<Api>) -> FallbackService {
    let api = Arc::clone(api);
    Arc::new(move |request, peer| {
        let api = Arc::clone(&api);
        Box::pin(async move {
            let response = api.call(request, peer).await;
            response.map(|body| body.map_err(Into::into).boxed_unsync())
        })
    })
}

fn extras(api: &Arc<Api>, ready: Arc<AtomicBool>) -> admin::Extras {
    let metrics = Arc::clone(api);
    // Relaxed: a flag that stands alone.
    let check = move || broker::Check::needed("store", ready.load(Ordering::Relaxed));
    admin::Extras {
        metrics: Arc::new(move || metrics.metrics()),
        checks: Arc::new(move || vec![check()]),
    }
}

async fn watch(api: Arc<Api>, ready: Arc<AtomicBool>) {
    loop {
        let answer = api.ready().await;
        if ready.swap(answer.is_ok(), Ordering::Relaxed) != answer.is_ok() {
            tracing::warn!(?answer, "readiness changed");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn announce(settings: &Settings, address: SocketAddr, admin: SocketAddr) {
    let url = match settings.origins.first() {
        Some(origin) => origin.clone(),
        None => format!("http://localhost:{}", address.port()),
    };
    let data = settings.data.display();
    let text = format!(
        "WebChat is on {url}\n  data in {data}, metrics on http://{admin}/metrics, Ctrl-C stops it\n"
    );
    // Whoever started us may have stopped listening.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
