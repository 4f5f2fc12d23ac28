//! The broker: sockets, shards, fan-out.
//!
//! Owns: connections. Never does: databases. Talks to: `Log`, `Live`, `Archive`. Start reading at: [`run`].

pub mod admin;
mod admission;
pub mod budget;
pub mod config;
mod connection;
mod drain;
pub mod handshake;
mod host;
mod mail;
pub mod metrics;
mod node;
pub mod outbox;
pub mod overload;
pub mod presence;
pub mod route;
mod runtime;
mod server;
pub mod shard;
mod socket;
mod tasks;
pub mod websocket;

use std::{io, sync::Arc};

use backplane::{Archive, Live, Log, ring::Ring, tail::SharedTail};
use token::Verifier;
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};

use crate::{
    admission::Admission,
    config::ShardConfig,
    host::Surroundings,
    presence::PresenceMap,
    runtime::{Recipe, Shards},
    server::Server,
};
pub use config::BrokerConfig;
pub use node::{Check, Node, State};
pub use server::{Body, BoxError, FallbackService, body};
pub use tasks::{append::append_all, follow::CatchUpError};

/// Batches and bytes between the follower and the slowest shard.
const RING_SLOTS: usize = 4_096;
const RING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What the broker stands on.
#[derive(Debug, Clone)]
pub struct Seams {
    /// The ordered, durable log.
    pub log: Arc<dyn Log>,
    /// Signals and shared ephemeral state.
    pub live: Arc<dyn Live>,
    /// Reads of the store.
    pub archive: Arc<dyn Archive>,
    /// Verifies session tokens.
    pub verifier: Verifier,
}

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The log cannot be read.
    #[error("reading the log: {0}")]
    CatchUp(#[from] CatchUpError),
    /// No threads.
    #[error("starting shards: {0}")]
    Threads(#[from] io::Error),
}

/// Runs a broker until `shutdown` (or `POST /admin/drain`), then drains it. Dropping the future stops it without a drain.
pub async fn run(
    node: Arc<Node>,
    seams: Seams,
    listener: TcpListener,
    fallback: Option<FallbackService>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let info = seams.log.info();
    let tails: Vec<SharedTail> = (0..info.partitions).map(|_| SharedTail::default()).collect();
    for (partition, tail) in (0..).zip(&tails) {
        tasks::follow::catch_up(&node, &*seams.log, partition, tail).await?;
    }
    let ring = Ring::new(RING_SLOTS, RING_BYTES_MAX);
    let presence = Arc::<PresenceMap>::default();
    let admission = Admission::new(&node.config);
    let (voice, speech) = tasks::live::Voice::new(Arc::clone(&node.metrics));
    let config = ShardConfig::of(&node.config, info.clone());
    let queue_max = config.unacked_max * node.config.n_shards();
    let (appenders, queues): (Vec<_>, Vec<_>) =
        (0..info.partitions).map(|_| mpsc::channel(queue_max)).unzip();
    let around = Surroundings::new(&node, &seams, &tails, appenders, voice);
    let shards = Shards::start(&Recipe::new(around, config, &presence, &seams.verifier, &ring))?;

    // Every task of the node: dropping the set ends them all.
    let mut tasks = JoinSet::new();
    for ((partition, queue), tail) in (0..).zip(queues).zip(&tails) {
        let (node, log) = (Arc::clone(&node), Arc::clone(&seams.log));
        tasks.spawn(tasks::append::run(node, Arc::clone(&log), partition, queue));
        let (tail, ring, shards) = (tail.clone(), Arc::clone(&ring), Arc::clone(&shards));
        tasks.spawn(tasks::follow::run(log, partition, tail, ring, shards));
    }
    tasks.spawn(tasks::live::speak(node.config.node, Arc::clone(&seams.live), speech));
    let (live, map) = (Arc::clone(&seams.live), Arc::clone(&presence));
    tasks.spawn(tasks::live::listen(Arc::clone(&node), live, map, Arc::clone(&shards)));
    let (log, all) = (Arc::clone(&seams.log), Arc::clone(&shards));
    tasks.spawn(tasks::watermark::run(Arc::clone(&node), log, tails, ring, presence, all));
    let server = Server::new(&node, &seams, &admission, &shards, fallback);
    tasks.spawn(Arc::new(server).accept(listener));
    node.append_answered(true);
    node.enter(State::Ready);

    tokio::select! {
        () = shutdown => node.drain(),
        () = node.drain_asked() => {}
    }
    drain::drain(&node, &shards, &admission).await;
    // First, or a last announcement would bring back what is taken away.
    tasks.shutdown().await;
    // Others bury a node that does not say so after 8 s.
    let _ = seams.live.leave(node.config.node).await;
    Ok(())
}
