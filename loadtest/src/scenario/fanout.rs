//! Fan-out (P7): one group, every message to each of its members' connections.
//!
//! Owns: the closed loop "next when all have it". Never does: count a delivery that was not read by its receiver.
//! Talks to: a running server. Start reading at: [`run`].

use std::{cell::RefCell, net::SocketAddr, rc::Rc, time::Duration};

use anyhow::{Context, bail, ensure};
use protocol::{ConversationId, Producer};
use serde::Serialize;
use tokio::{
    sync::Notify,
    task::LocalSet,
    time::{Instant, timeout},
};

use crate::{
    clock::Clock,
    driver::{Latency, Percentiles},
    procfs,
    scenario::link,
    socket::Socket,
    stamp::{MessageId, Stamp},
    wire::{self, Frame},
};

/// For one round of deliveries.
const ROUND_TIMEOUT: Duration = Duration::from_secs(30);

/// Settings.
#[derive(Debug, Clone, Serialize)]
pub struct FanoutPlan {
    /// Messages on their way at a time.
    pub window: usize,
    /// Bytes of a text.
    pub text_bytes: usize,
    /// Messages that are not counted.
    pub warmup: u64,
    /// Messages that are.
    pub messages: u64,
    /// Milliseconds between two messages; 0 = at once.
    pub pause_ms: u64,
}

/// What one run found.
#[derive(Debug, Clone, Serialize)]
pub struct FanoutResult {
    /// As planned.
    pub plan: FanoutPlan,
    /// Connections that receive.
    pub subscribers: usize,
    /// Deliveries counted.
    pub deliveries: u64,
    /// Per second.
    pub deliveries_per_s: f64,
    /// CPU of the server per delivery.
    pub cpu_us_per_delivery: f64,
    /// CPU of this generator per delivery.
    pub generator_cpu_us_per_delivery: f64,
    /// From the sending to each receiver.
    pub delivery: Percentiles,
}

#[derive(Debug, Default)]
struct Totals {
    delivered: u64,
    latency: Latency,
    failure: Option<String>,
}

/// Sends to a group whose members are all connected; the first token's person writes.
pub async fn run(
    plan: FanoutPlan,
    target: SocketAddr,
    group: ConversationId,
    tokens: &[String],
    pids: &[u32],
) -> anyhow::Result<FanoutResult> {
    let sender = link::open(target, None, tokens.first().context("no members")?).await?;
    let sockets = link::open_all(target, tokens).await?;
    let subscribers = sockets.len();
    let (totals, news) = (Rc::new(RefCell::new(Totals::default())), Rc::new(Notify::new()));
    let clock = Clock::start();
    let local = LocalSet::new();
    for socket in sockets {
        let (totals, news) = (totals.clone(), news.clone());
        local.spawn_local(async move {
            if let Err(error) = receive(socket, clock, &totals, &news).await {
                totals.borrow_mut().failure.get_or_insert(format!("{error:#}"));
                news.notify_one();
            }
        });
    }
    let rounds = Rounds { plan, group, subscribers, clock, totals, news, no: 0, sender };
    local.run_until(rounds.measure(pids)).await
}

async fn receive(
    mut socket: Socket,
    clock: Clock,
    totals: &RefCell<Totals>,
    news: &Notify,
) -> anyhow::Result<()> {
    loop {
        let text = socket.next_text().await?;
        let frame = Frame::scan(std::str::from_utf8(&text)?).context("not an object")?;
        if frame.kind == "message" {
            let stamp = Stamp::parse(frame.text()).context("a corrupt message")?;
            let mut totals = totals.borrow_mut();
            totals.delivered += 1;
            totals.latency.record(clock.now_ns().saturating_sub(stamp.intended_ns));
            news.notify_one();
        }
    }
}

struct Rounds {
    plan: FanoutPlan,
    group: ConversationId,
    subscribers: usize,
    clock: Clock,
    totals: Rc<RefCell<Totals>>,
    news: Rc<Notify>,
    no: u64,
    sender: Socket,
}

impl Rounds {
    async fn measure(mut self, pids: &[u32]) -> anyhow::Result<FanoutResult> {
        let producer = Producer(rand::random());
        self.send(producer, self.plan.warmup).await.context("warm-up")?;
        *self.totals.borrow_mut() = Totals::default();
        let own = [std::process::id()];
        let (before, own_before) = (procfs::cpu_ns(pids)?, procfs::cpu_ns(&own)?);
        let begun = Instant::now();
        self.send(producer, self.plan.messages).await?;
        let seconds = begun.elapsed().as_secs_f64();
        let (after, own_after) = (procfs::cpu_ns(pids)?, procfs::cpu_ns(&own)?);
        let totals = self.totals.borrow();
        let per = |ns: u64| ns as f64 / 1e3 / totals.delivered.max(1) as f64;
        Ok(FanoutResult {
            subscribers: self.subscribers,
            deliveries: totals.delivered,
            deliveries_per_s: totals.delivered as f64 / seconds,
            cpu_us_per_delivery: per(after - before),
            generator_cpu_us_per_delivery: per(own_after - own_before),
            delivery: totals.latency.percentiles(),
            plan: self.plan,
        })
    }

    /// Sends so many messages, at most `window` of them not yet with everybody, and waits for the last.
    async fn send(&mut self, producer: Producer, messages: u64) -> anyhow::Result<()> {
        let all = self.subscribers as u64;
        let start = self.totals.borrow().delivered;
        for n in 0..messages {
            let free = (n + 1).saturating_sub(self.plan.window as u64) * all;
            self.wait_for(start + free).await?;
            if self.plan.pause_ms > 0 {
                tokio::time::sleep(Duration::from_millis(self.plan.pause_ms)).await;
            }
            self.no += 1;
            let id = MessageId { maker: producer.0, k: self.no };
            let text = Stamp { id, intended_ns: self.clock.now_ns() }.text(self.plan.text_bytes);
            let command = wire::publish(self.group, producer, self.no, &text);
            self.sender.queue(command.as_bytes());
            self.sender.flush().await?;
        }
        self.wait_for(start + messages * all).await
    }

    /// Waits for that many deliveries; reads the sender's own frames meanwhile.
    async fn wait_for(&mut self, delivered: u64) -> anyhow::Result<()> {
        let deadline = Instant::now() + ROUND_TIMEOUT;
        loop {
            {
                let totals = self.totals.borrow();
                if let Some(failure) = &totals.failure {
                    bail!("a receiver failed: {failure}");
                }
                if totals.delivered >= delivered {
                    return Ok(());
                }
                ensure!(
                    Instant::now() < deadline,
                    "{} of {delivered} deliveries in time",
                    totals.delivered
                );
            }
            let news = self.news.clone();
            tokio::select! {
                biased;
                text = self.sender.next_text() => {
                    let text = text?;
                    let text = std::str::from_utf8(&text)?;
                    let frame = Frame::scan(text).context("not an object")?;
                    ensure!(frame.kind != "error", "refused: {text}");
                }
                // A missed wake-up only costs this long.
                _ = timeout(Duration::from_millis(100), news.notified()) => {}
            }
        }
    }
}
