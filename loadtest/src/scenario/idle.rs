//! What a connection costs that says nothing (P1, P2): memory per connection, CPU of the heartbeats, after waves of churn.
//!
//! Owns: the order of readings. Never does: estimate. Talks to: a running server. Start reading at: [`run`].

use std::{cell::Cell, net::SocketAddr, rc::Rc, time::Duration};

use anyhow::{Context, ensure};
use protocol::Producer;
use serde::Serialize;
use tokio::{
    sync::watch,
    task::LocalSet,
    time::{Instant, sleep},
};

use crate::{
    procfs::{self, Memory},
    scenario::{link, population::Population},
    socket::Socket,
    stamp::{MessageId, Stamp},
    wire::{self, Frame},
};

/// For every connection's one message.
const MESSAGES_TIMEOUT: Duration = Duration::from_secs(120);

/// Settings.
#[derive(Debug, Clone, Serialize)]
pub struct IdlePlan {
    /// Connections, one per person.
    pub connections: usize,
    /// Connect, message, disconnect: so often; readings each time.
    pub waves: usize,
    /// Seconds over which idle CPU is read; at least two heartbeats.
    pub idle_s: f64,
    /// Seconds between the last event and a reading: longer than the grace of presence and the persister's period.
    pub calm_s: f64,
    /// Messages written at a time.
    pub message_window: usize,
}

/// Readings of one wave.
#[derive(Debug, Clone, Serialize)]
pub struct Wave {
    /// Server memory before the first connection.
    pub before: Memory,
    /// With all connected, greeted, and one message received by each.
    pub with_all: Memory,
    /// (RSS with all − before the first wave) ÷ connections.
    pub rss_per_connection: f64,
    /// The same of anonymous memory.
    pub anonymous_per_connection: f64,
    /// Kernel memory per connection, both ends: slab and TCP buffers of the whole machine.
    pub kernel_per_connection: f64,
    /// CPU of the server per connect, `welcome` included.
    pub connect_cpu_us: f64,
    /// Seconds of connecting.
    pub connect_s: f64,
    /// CPU per connection and second while idle, in µs.
    pub idle_cpu_us_per_s: Option<f64>,
    /// The same by thread.
    pub idle_cpu_by_thread: Vec<(String, f64)>,
    /// Messages received by connections in this wave.
    pub messages: u64,
    /// After all have gone.
    pub after: Memory,
}

/// What the run found.
#[derive(Debug, Clone, Serialize)]
pub struct IdleResult {
    /// As planned.
    pub plan: IdlePlan,
    /// One for each wave.
    pub waves: Vec<Wave>,
}

/// Shared by all connections of a wave.
#[derive(Debug, Default)]
struct Shared {
    received: Cell<u64>,
    acked: Cell<u64>,
    lost: Cell<u64>,
}

/// Runs all waves. Person i writes to person i ^ 1.
pub async fn run(
    plan: IdlePlan,
    target: SocketAddr,
    population: &Population,
    pids: &[u32],
) -> anyhow::Result<IdleResult> {
    ensure!(population.people.len() >= plan.connections, "too few people");
    let mut waves: Vec<Wave> = Vec::new();
    for n in 0..plan.waves {
        let first = waves.first().map(|wave| wave.before);
        let is_last = n + 1 == plan.waves;
        let wave = wave(&plan, target, population, pids, first, is_last);
        waves.push(wave.await.with_context(|| format!("wave {}", n + 1))?);
    }
    Ok(IdleResult { plan, waves })
}

async fn wave(
    plan: &IdlePlan,
    target: SocketAddr,
    population: &Population,
    pids: &[u32],
    first: Option<Memory>,
    is_last: bool,
) -> anyhow::Result<Wave> {
    let count = plan.connections as f64;
    let before = procfs::memory(pids)?;
    let (slab, tcp) = procfs::kernel_memory();
    let cpu = procfs::cpu_ns(pids)?;
    let begun = Instant::now();
    let people = &population.people[..plan.connections];
    let tokens: Vec<String> = people.iter().map(|p| p.token.clone()).collect();
    let sockets = link::open_all(target, &tokens).await?;
    let connect_s = begun.elapsed().as_secs_f64();
    let connect_cpu_us = (procfs::cpu_ns(pids)? - cpu) as f64 / 1e3 / count;
    let shared = Rc::new(Shared::default());
    let (send, receiver) = watch::channel(0usize);
    let local = LocalSet::new();
    for (i, socket) in sockets.into_iter().enumerate() {
        let conversation = population.direct_of(i).context("a person without a partner")?;
        // A new producer in each wave: its numbers begin at 1.
        let producer = Producer(rand::random());
        let id = MessageId { maker: producer.0, k: 1 };
        let text = Stamp { id, intended_ns: 0 }.text(128);
        let command = wire::publish(conversation, producer, 1, &text);
        let (shared, turn) = (shared.clone(), receiver.clone());
        local.spawn_local(async move {
            if live(socket, i, command, producer, turn, &shared).await.is_err() {
                shared.lost.set(shared.lost.get() + 1);
            }
        });
    }
    drop(receiver);
    let readings = local.run_until(async {
        exchange(plan, &send, &shared).await?;
        sleep(Duration::from_secs_f64(plan.calm_s)).await;
        let with_all = procfs::memory(pids)?;
        let (slab_all, tcp_all) = procfs::kernel_memory();
        let kernel = (slab_all + tcp_all).saturating_sub(slab + tcp) as f64 / count;
        let idle = if is_last { Some(idle_cpu(plan, pids).await?) } else { None };
        ensure!(shared.lost.get() == 0, "{} connections were lost", shared.lost.get());
        anyhow::Ok((with_all, kernel, idle))
    });
    let (with_all, kernel_per_connection, idle) = readings.await?;
    let messages = shared.received.get();
    drop(local);
    sleep(Duration::from_secs_f64(plan.calm_s)).await;
    let base = first.unwrap_or(before);
    let per = |all: u64, base: u64| all.saturating_sub(base) as f64 / count;
    let (idle_cpu_us_per_s, idle_cpu_by_thread) =
        idle.map_or((None, Vec::new()), |(a, b)| (Some(a), b));
    Ok(Wave {
        before,
        with_all,
        rss_per_connection: per(with_all.rss, base.rss),
        anonymous_per_connection: per(with_all.anonymous, base.anonymous),
        kernel_per_connection,
        connect_cpu_us,
        connect_s,
        idle_cpu_us_per_s,
        idle_cpu_by_thread,
        messages,
        after: procfs::memory(pids)?,
    })
}

/// Lets everybody write once, a few at a time, and waits until everybody has received.
async fn exchange(
    plan: &IdlePlan,
    turn: &watch::Sender<usize>,
    shared: &Shared,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut upto = 0;
    while upto < plan.connections || shared.received.get() < plan.connections as u64 {
        let acked = usize::try_from(shared.acked.get())?;
        let next = (acked + plan.message_window).min(plan.connections);
        if next > upto {
            upto = next;
            turn.send_replace(upto);
        }
        ensure!(
            begun.elapsed() < MESSAGES_TIMEOUT,
            "{} acked, {} received of {}",
            acked,
            shared.received.get(),
            plan.connections
        );
        sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

async fn idle_cpu(plan: &IdlePlan, pids: &[u32]) -> anyhow::Result<(f64, Vec<(String, f64)>)> {
    let pid = *pids.first().context("no server process")?;
    let before = procfs::cpu_ns(pids)?;
    let threads: std::collections::HashMap<_, _> =
        procfs::cpu_by_thread_ns(pid)?.into_iter().collect();
    let begun = Instant::now();
    sleep(Duration::from_secs_f64(plan.idle_s)).await;
    let per = begun.elapsed().as_secs_f64() * plan.connections as f64 * 1e3;
    let total = (procfs::cpu_ns(pids)? - before) as f64 / per;
    let by_thread = procfs::cpu_by_thread_ns(pid)?.into_iter().map(|(name, ns)| {
        let ns = ns - threads.get(&name).copied().unwrap_or(0).min(ns);
        (name, ns as f64 / per)
    });
    Ok((total, by_thread.filter(|(_, us)| *us >= 0.001).collect()))
}

/// One connection: writes once when its turn comes, and reads for ever.
async fn live(
    mut socket: Socket,
    i: usize,
    command: String,
    producer: Producer,
    mut turn: watch::Receiver<usize>,
    shared: &Shared,
) -> anyhow::Result<()> {
    let mut sent = false;
    loop {
        let text = tokio::select! {
            biased;
            text = socket.next_text() => text?,
            changed = turn.wait_for(|upto| *upto > i), if !sent => {
                changed.context("the wave is over")?;
                sent = true;
                socket.queue(command.as_bytes());
                continue;
            }
        };
        let frame = Frame::scan(std::str::from_utf8(&text)?).context("not an object")?;
        match frame.kind {
            "ack" => shared.acked.set(shared.acked.get() + 1),
            "error" => {
                let wait = frame.retry_after_ms.context("refused for good")?;
                sleep(Duration::from_millis(wait)).await;
                socket.queue(command.as_bytes());
            }
            "message" if frame.producer != Some(producer) => {
                shared.received.set(shared.received.get() + 1);
            }
            _ => {}
        }
    }
}
