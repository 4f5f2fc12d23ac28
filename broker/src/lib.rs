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

use std::{io, pin::pin, sync::Arc};

use backplane::{Archive, Live, Log, Partition, ring::Ring, standing::Standing, tail::SharedTail};
use protocol::Pos;
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

/// How the node stands with a partition: what it can give back is in the Tail.
fn standing(node: &Node, partition: Partition, tail: &SharedTail) -> Arc<Standing> {
    let tail = tail.clone();
    let held = move |after: Pos| {
        let tail = tail.read();
        // A Tail that has gone on to another epoch holds nothing of what was before.
        if tail.end().epoch == after.epoch { tail.batches_after(after.n) } else { Vec::new() }
    };
    Arc::new(Standing::new(partition, node.config.node.0, Box::new(held)))
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
    let with = |(partition, tail)| standing(&node, partition, tail);
    let standings: Vec<Arc<Standing>> = (0..).zip(&tails).map(with).collect();
    let standings = node.metrics.standings.get_or_init(|| standings).clone();

    // Every task of the node: dropping the set ends them all.
    let mut tasks = JoinSet::new();
    for standing in &standings {
        let (standing, log) = (Arc::clone(standing), Arc::clone(&seams.log));
        tasks.spawn(async move { standing.keep(&*log).await });
    }
    let mut shutdown = pin!(shutdown);
    for ((partition, tail), standing) in (0..).zip(&tails).zip(&standings) {
        tokio::select! {
            read = tasks::follow::catch_up(&node, &*seams.log, partition, tail, standing) => read?,
            () = &mut shutdown => return Ok(()),
        }
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

    for (((partition, queue), tail), standing) in (0..).zip(queues).zip(&tails).zip(&standings) {
        let (node, log) = (Arc::clone(&node), Arc::clone(&seams.log));
        let (tail, ring, shards) = (tail.clone(), Arc::clone(&ring), Arc::clone(&shards));
        let seen = Arc::clone(standing);
        tasks.spawn(tasks::append::run(node, Arc::clone(&log), partition, seen, queue));
        let seen = Arc::clone(standing);
        tasks.spawn(tasks::follow::run(log, partition, tail, ring, shards, seen));
    }
    tasks.spawn(tasks::live::speak(node.config.node, Arc::clone(&seams.live), speech));
    let (live, map) = (Arc::clone(&seams.live), Arc::clone(&presence));
    tasks.spawn(tasks::live::listen(Arc::clone(&node), live, map, Arc::clone(&shards)));
    let (log, all) = (Arc::clone(&seams.log), Arc::clone(&shards));
    let tails = tails.into_iter().zip(standings).collect();
    tasks.spawn(tasks::watermark::run(Arc::clone(&node), log, tails, ring, presence, all));
    let server = Server::new(&node, &seams, &admission, &shards, fallback);
    tasks.spawn(Arc::new(server).accept(listener));
    node.append_answered(true);
    node.enter(State::Ready);

    tokio::select! {
        () = &mut shutdown => node.drain(),
        () = node.drain_asked() => {}
    }
    drain::drain(&node, &shards, &admission).await;
    // First, or a last announcement would bring back what is taken away.
    tasks.shutdown().await;
    // Others bury a node that does not say so after 8 s.
    let _ = seams.live.leave(node.config.node).await;
    Ok(())
}
