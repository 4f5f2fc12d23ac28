//! A TCP proxy on loopback that hurts what passes: late, slowly, partly, or not at all.
//!
//! Owns: its listener, its connections (one task each, in a set that ends with the proxy), bounded queues.
//! Never does: look into the bytes; leave loopback. Talks to: one target, which can be changed.
//! Start reading at: [`FaultProxy::start`], then [`Flow`].

mod lane;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use lane::Lane;

/// Bytes of one read.
const CHUNK_BYTES: usize = 16 * 1024;
/// Chunks on their way in one direction of one connection: 64 × 16 KiB = 1 MiB, then the sender feels it.
const CHUNKS_MAX: usize = 64;
/// Connections at a time; one more is refused.
const CONNECTIONS_MAX: usize = 1_024;
/// Writes per second of a trickle.
const TRICKLE_STEPS: u32 = 20;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From who connected to the target.
    Up,
    /// Replies: from the target to who connected.
    Down,
}

/// What happens to bytes that are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// They arrive.
    #[default]
    Pass,
    /// They wait, as in a partition that TCP outlives: after it they arrive, in order.
    Stall,
    /// They are read and thrown away, the end of the connection as well: half-open. Whoever lost bytes this way is cut
    /// when the mode ends, since no TCP goes on behind a hole.
    Discard,
}

/// One direction's faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flow {
    /// See [`Mode`].
    pub mode: Mode,
    /// Each chunk is late by this, and by up to `jitter` more; never out of order.
    pub delay: Duration,
    /// See `delay`.
    pub jitter: Duration,
    /// At most so many bytes a second; 0 = no limit.
    pub trickle: u32,
}

/// What all connections obey now.
#[derive(Debug, Clone, Copy)]
struct Orders {
    target: SocketAddr,
    up: Flow,
    down: Flow,
    refuse: bool,
    /// Connections of an earlier generation are cut.
    cuts: u64,
    /// How often all was healed: who loses replies is cut at the next one.
    heals: u64,
}

impl Orders {
    fn flow(&self, direction: Direction) -> &Flow {
        if direction == Direction::Up { &self.up } else { &self.down }
    }
}

/// What happens once, to the next bytes of replies, whichever connection has them. Both end in a cut.
#[derive(Debug, Clone, Copy)]
enum Once {
    /// The connection that has the next ones loses so many.
    Eat(u64),
    /// So many more bytes pass.
    CutAfter(u64),
}

/// What the proxy did so far, to see that a fault bites.
#[derive(Debug, Default)]
pub struct Stats {
    /// Connections taken.
    pub accepted: AtomicU64,
    /// Connections refused.
    pub refused: AtomicU64,
    /// Connections that ended with a reset of ours.
    pub cut: AtomicU64,
    /// Bytes thrown away.
    pub lost: AtomicU64,
    /// Bytes that arrived.
    pub passed: AtomicU64,
}

#[derive(Debug)]
struct Shared {
    once: Mutex<Option<Once>>,
    stats: Stats,
}

/// A running proxy. Dropped = its listener and all its connections are gone.
#[derive(Debug)]
pub struct FaultProxy {
    /// Where it listens.
    pub address: SocketAddr,
    orders: watch::Sender<Orders>,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl FaultProxy {
    /// Listens on a free port of loopback and passes everything on to `target`. `seed`: of the jitter.
    pub async fn start(target: SocketAddr, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (up, down) = (Flow::default(), Flow::default());
        let (orders, seen) =
            watch::channel(Orders { target, up, down, refuse: false, cuts: 0, heals: 0 });
        let shared = Arc::new(Shared { once: Mutex::new(None), stats: Stats::default() });
        let accepting = tokio::spawn(accept(listener, seen, shared.clone(), seed));
        Ok(Self { address, orders, shared, accepting })
    }

    /// What it did so far.
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// Changes one direction's faults, for old and new connections.
    pub fn set(&self, direction: Direction, flow: Flow) {
        self.orders.send_modify(|orders| match direction {
            Direction::Up => orders.up = flow,
            Direction::Down => orders.down = flow,
        });
    }

    /// The same for both directions.
    pub fn set_both(&self, flow: Flow) {
        self.orders.send_modify(|orders| (orders.up, orders.down) = (flow, flow));
    }

    /// Whether new connections are refused.
    pub fn refuse(&self, refuse: bool) {
        self.orders.send_modify(|orders| orders.refuse = refuse);
    }

    /// Where new connections go.
    pub fn retarget(&self, target: SocketAddr) {
        self.orders.send_modify(|orders| orders.target = target);
    }

    /// Resets all connections that there are now.
    pub fn cut(&self) {
        self.orders.send_modify(|orders| orders.cuts += 1);
    }

    /// Whoever has the next reply loses `bytes` of them, and is cut then, or when all is healed: nobody goes on behind a hole.
    pub fn eat_replies(&self, bytes: u64) {
        self.once(Once::Eat(bytes));
    }

    /// Lets `bytes` more of replies pass, then cuts in the middle of the reply that follows.
    pub fn cut_in_reply(&self, bytes: u64) {
        self.once(Once::CutAfter(bytes));
    }

    fn once(&self, once: Once) {
        *self.shared.once.lock().unwrap_or_else(PoisonError::into_inner) = Some(once);
    }

    /// No faults any more. What lost bytes is cut, what only waited goes on.
    pub fn heal(&self) {
        *self.shared.once.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.orders.send_modify(|orders| {
            (orders.up, orders.down, orders.refuse) = (Flow::default(), Flow::default(), false);
            orders.heals += 1;
        });
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        // The set of connections is the task's own: they end with it.
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    orders: watch::Receiver<Orders>,
    shared: Arc<Shared>,
    seed: u64,
) {
    let mut connections = JoinSet::new();
    for n in 0u64.. {
        let stream = loop {
            // Priority: what ended makes room first.
            tokio::select! {
                biased;
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => break stream,
                    // Out of descriptors, or gone again before we looked.
                    Err(_) => sleep(Duration::from_millis(10)).await,
                }
            }
        };
        if orders.borrow().refuse || connections.len() >= CONNECTIONS_MAX {
            shared.stats.refused.fetch_add(1, Relaxed);
            reset(&stream);
            continue;
        }
        shared.stats.accepted.fetch_add(1, Relaxed);
        let rng = Pcg64Mcg::seed_from_u64(seed.wrapping_add(n));
        connections.spawn(connection(stream, orders.clone(), shared.clone(), rng));
    }
}

/// The next close of this socket is a reset.
fn reset(stream: &TcpStream) {
    // A socket that is gone already needs none.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Why a direction is over.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The sender is through, and the other side was told.
    Finished,
    /// Both sides are reset.
    Cut,
}

async fn connection(
    mut client: TcpStream,
    mut orders: watch::Receiver<Orders>,
    shared: Arc<Shared>,
    mut rng: Pcg64Mcg,
) {
    let Orders { target, cuts, .. } = *orders.borrow();
    let Ok(mut server) = TcpStream::connect(target).await else {
        shared.stats.refused.fetch_add(1, Relaxed);
        return reset(&client);
    };
    // Without it small replies would wait for each other; a failure costs time only.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let seeds = [rng.random(), rng.random()].map(Pcg64Mcg::seed_from_u64);
    let end = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let [up_rng, down_rng] = seeds;
        let lane = |direction| Lane {
            direction,
            orders: orders.clone(),
            shared: &shared,
            eats: 0,
            heals: 0,
        };
        let up = lane(Direction::Up).run(from_client, to_server, up_rng);
        let down = lane(Direction::Down).run(from_server, to_client, down_rng);
        let both = async {
            tokio::pin!(up, down);
            // A cut ends both at once; a finished direction leaves the other one open, as TCP does.
            tokio::select! {
                end = &mut up => if end == End::Cut { end } else { down.await },
                end = &mut down => if end == End::Cut { end } else { up.await },
            }
        };
        tokio::select! {
            biased;
            _ = orders.wait_for(|now| now.cuts > cuts) => End::Cut,
            end = both => end,
        }
    };
    if end == End::Cut {
        shared.stats.cut.fetch_add(1, Relaxed);
        reset(&client);
        reset(&server);
    }
}

#[cfg(test)]
mod tests;
