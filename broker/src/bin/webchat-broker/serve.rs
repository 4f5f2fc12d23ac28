//! The process: its ports, what it waits for, its end.
//!
//! Owns: the order of a start. Never does: product work. Talks to: `broker::run`, `process`, `internal`.
//! Start reading at: [`serve`].

use std::sync::Arc;

use backplane::{Archive, NodeId};
use broker::{BrokerConfig, Check, Node, Seams, admin};
use internal::{CallError, HttpArchive, KeyKeeper, Peers, PeersOptions};
use process::{
    cluster::{LinkError, Links, Needs},
    end::End,
    listen::{Port, announce, sockets_max},
    wait::{Failed, Need},
};
use tokio::task::JoinSet;

use crate::settings::Settings;

/// What `/readyz` tells.
#[derive(Debug, Clone)]
struct Readiness {
    links: Needs,
    keys: Need,
    archive: HttpArchive,
}

impl Readiness {
    fn checks(&self) -> Vec<Check> {
        let Needs { log, durability, live } = &self.links;
        let needed = |need: &Need, name| Check::needed(name, need.is_there());
        vec![
            needed(&self.keys, "keys"),
            needed(log, "log server"),
            needed(durability, "durability"),
            // Without these all brokers go on with what they know.
            Check::wanted(live.name(), live.is_there()),
            Check::wanted("archive", self.archive.answers()),
        ]
    }
}

/// Serves until SIGTERM or Ctrl-C, then drains. A second signal ends it at once.
pub(crate) async fn serve(settings: Settings) -> anyhow::Result<()> {
    let end = End::listen("webchat-broker")?;
    let port = Port::take(settings.shared.address(), "--port")?;
    let admin_port = Port::take(settings.shared.admin_address(), "--admin-port")?;
    let secret = settings.shared.secret().map_err(anyhow::Error::msg)?;
    let peers = Peers::new(settings.addresses(), &secret, PeersOptions::default());
    let archive = HttpArchive::new(peers.clone());
    let (links, keys) = (Needs::default(), Need::new("keys"));
    let readiness = Readiness { links, keys, archive: archive.clone() };
    let id: u64 = rand::random();
    let node = Node::new(config(&settings, id));

    // Everything beside the broker: dropping the set ends it.
    let mut tasks = JoinSet::new();
    let told = readiness.clone();
    let extras = admin::Extras { checks: Arc::new(move || told.checks()), ..Default::default() };
    let (address, listener) = (admin_port.address(), admin_port.listen()?);
    tasks.spawn(admin::serve(listener, Arc::clone(&node), extras));
    // Said when it is true: whoever reads it connects at once.
    announce("admin", address);

    let waiting = open(&settings, id, &peers, Arc::new(archive.clone()), &readiness);
    let (links, keeper) = tokio::select! {
        biased;
        () = end.asked() => return Ok(()),
        opened = waiting => opened?,
    };
    tasks.spawn(links.clone().watch(readiness.links.clone()));
    let seams = Seams {
        log: Arc::new(links.log),
        live: Arc::new(links.live),
        archive: Arc::new(archive),
        verifier: keeper.verifier(),
    };
    let address = port.address();
    let running = broker::run(node, seams, port.listen()?, None, end.asked());
    announce("webchat-broker", address);
    running.await?;
    tasks.shutdown().await;
    Ok(())
}

fn config(settings: &Settings, node: u64) -> BrokerConfig {
    let shared = &settings.shared;
    let mut config = BrokerConfig::new(NodeId(node));
    config.shards = settings.shards;
    config.append_envelopes_max = settings.append_envelopes_max;
    config.secure = shared.behind_proxy;
    config.connections_max = config.connections_max.min(sockets_max());
    config.trusted_sources.clone_from(&shared.limits.trusted_sources);
    config.trusted_proxies.clone_from(&shared.trusted_proxies);
    config.origins.clone_from(&shared.origins);
    if config.origins.is_empty() {
        tracing::warn!("origins is empty: no browser can connect; --origin names the page's");
    }
    config
}

/// Waits for everything at once, in whatever order it comes.
async fn open(
    settings: &Settings,
    node: u64,
    peers: &Peers,
    archive: Arc<dyn Archive>,
    readiness: &Readiness,
) -> anyhow::Result<(Links, KeyKeeper)> {
    let links = async {
        // The functions are the api's to load: a broker's user has no right to.
        let links = Links::open(&settings.shared, node, &archive, false, &readiness.links).await;
        links.map_err(|error: LinkError| anyhow::Error::new(error))
    };
    let keys = async {
        // A wrong secret may be the other side's: it is mended there, without a restart here.
        let fetch = || async { KeyKeeper::fetch(peers).await.map_err(Failed::Away) };
        let keys: Result<_, CallError> = readiness.keys.wait_for(fetch).await;
        keys.map_err(anyhow::Error::new)
    };
    let (links, keys) = tokio::try_join!(links, keys)?;
    Ok((links, KeyKeeper::start(peers.clone(), keys)))
}
