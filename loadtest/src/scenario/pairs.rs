//! Durable one-to-one messages (P14, P4, P5, P5b): people in pairs, each writes to the other.
//!
//! Owns: the loops of the senders, and what is counted. Never does: lose count: what was acked must have been delivered
//! and stored, else the figure is void. Talks to: a running server. Start reading at: [`run`].

use std::{cell::RefCell, net::SocketAddr, rc::Rc, time::Duration};

use anyhow::{Context, bail, ensure};
use protocol::{ConversationId, Producer};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;
use tokio::{
    sync::watch,
    task::LocalSet,
    time::{Instant, sleep},
};

use crate::{
    clock::Clock,
    driver::{Arrivals, Latency, Percentiles, Schedule, Verdict, verdict},
    procfs,
    scenario::{
        link,
        servers::{Cost, Servers},
    },
    socket::Socket,
    stamp::{MessageId, Stamp},
    wire::{self, Frame},
};

/// Until everything sent is delivered and `persisted`.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);
/// Waiting time after a refusal that names none.
const RETRY_MS: u64 = 50;

/// Settings of a run.
#[derive(Debug, Clone, Serialize)]
pub struct PairsPlan {
    /// Closed or open loop.
    pub arrivals: Arrivals,
    /// Bytes of a text.
    pub text_bytes: usize,
    /// Seconds that are not counted.
    pub warmup_s: f64,
    /// Seconds that are.
    pub measure_s: f64,
    /// Of everything random.
    pub seed: u64,
}

/// One person of a pair.
#[derive(Debug, Clone)]
pub struct Partner {
    /// Bearer.
    pub token: String,
    /// The direct conversation with the other.
    pub conversation: ConversationId,
}

/// What one run found.
#[derive(Debug, Clone, Serialize)]
pub struct PairsResult {
    /// As planned.
    pub plan: PairsPlan,
    /// Connections.
    pub users: usize,
    /// Acks of counted messages.
    pub acked: u64,
    /// Counted messages that reached the other one.
    pub delivered: u64,
    /// Seconds in which they were sent.
    pub seconds: f64,
    /// Delivered per second.
    pub delivered_per_s: f64,
    /// CPU of all servers per delivered message, storing and indexing to the end included, and how they appended.
    #[serde(flatten)]
    pub cost: Cost,
    /// CPU of this generator per delivered message, all its threads.
    pub generator_cpu_us_per_message: f64,
    /// From the intended start to the other's delivery.
    pub delivery: Percentiles,
    /// From the intended start to the ack.
    pub ack: Percentiles,
    /// From the intended to the actual start.
    pub generator_lag: Percentiles,
    /// What the latencies are worth.
    pub verdict: Verdict,
    /// Replies that were errors.
    pub refused: u64,
    /// From the last message's sending to the `persisted` of all.
    pub drain_ms: u128,
}

/// What all senders add to.
#[derive(Debug, Default)]
struct Totals {
    sent: u64,
    acked: u64,
    delivered: u64,
    refused: u64,
    /// Per sender: without an ack, last seq acked, last seq persisted.
    places: Vec<(usize, u64, u64)>,
    ack: Latency,
    delivery: Latency,
    lag: Latency,
    failures: Vec<String>,
}

impl Totals {
    /// Whether all that was sent is acked, delivered and stored.
    fn is_drained(&self) -> bool {
        let stored =
            |(open, acked, persisted): &(usize, u64, u64)| *open == 0 && persisted >= acked;
        self.delivered == self.sent && self.places.iter().all(stored)
    }

    /// Starts counting anew.
    fn reset(&mut self) {
        let places = std::mem::take(&mut self.places);
        *self = Self { places, ..Self::default() };
    }
}

/// What senders do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Go {
    Send,
    Pause,
    End,
}

struct Sender {
    socket: Socket,
    conversation: ConversationId,
    producer: Producer,
    arrivals: Arrivals,
    share: f64,
    text_bytes: usize,
    clock: Clock,
    totals: Rc<RefCell<Totals>>,
    /// Sent and not acked: `no` of the oldest, texts in order.
    open: std::collections::VecDeque<(u64, u64, String)>,
    next_no: u64,
    index: usize,
    seed: u64,
    resend_at: Option<Instant>,
}

impl Sender {
    /// Runs to the end; a failure is noted in the totals and ends this sender.
    async fn run(mut self, mut go: watch::Receiver<Go>) {
        if let Err(error) = self.serve(&mut go).await {
            self.totals.borrow_mut().failures.push(format!("{error:#}"));
        }
    }

    async fn serve(&mut self, go: &mut watch::Receiver<Go>) -> anyhow::Result<()> {
        let mut schedule: Option<Schedule> = None;
        loop {
            while let Some(incoming) = self.socket.ready()? {
                self.take(&incoming)?;
            }
            let now = *go.borrow();
            match (now, self.arrivals) {
                (Go::End, _) => {
                    self.socket.queue_close(1000);
                    return Ok(self.socket.flush().await?);
                }
                (Go::Send, Arrivals::Closed { window }) => {
                    while self.resend_at.is_none() && self.open.len() < window {
                        let now = self.clock.now_ns();
                        self.send(now, now);
                    }
                }
                (Go::Send, Arrivals::Open { .. }) => {
                    let (share, seed) = (self.share, self.seed);
                    let now = self.clock.now_ns();
                    let plan = schedule.get_or_insert_with(|| Schedule::new(share, now, seed));
                    while plan.due_ns() <= now {
                        let due = plan.due_ns();
                        plan.advance();
                        self.send(due, now);
                    }
                }
                (Go::Pause, _) => schedule = None,
            }
            if self.resend_at.is_some_and(|at| at <= Instant::now()) {
                self.resend();
            }
            let due = schedule.as_ref().map(Schedule::due_ns);
            self.wait(due, go).await?;
        }
    }

    async fn wait(&mut self, due: Option<u64>, go: &mut watch::Receiver<Go>) -> anyhow::Result<()> {
        let (clock, resend_at) = (self.clock, self.resend_at);
        // Priority: what is due, then what came, then what we are told.
        tokio::select! {
            biased;
            () = async { clock.sleep_until(due.unwrap_or(0)).await }, if due.is_some() => {}
            incoming = self.socket.next() => self.take(&incoming?)?,
            () = async { tokio::time::sleep_until(resend_at.unwrap_or_else(Instant::now)).await },
                if resend_at.is_some() => {}
            changed = go.changed() => changed.context("the run is over")?,
        }
        Ok(())
    }

    fn send(&mut self, intended_ns: u64, now_ns: u64) {
        self.next_no += 1;
        let id = MessageId { maker: self.producer.0, k: self.next_no };
        let text = Stamp { id, intended_ns }.text(self.text_bytes);
        let command = wire::publish(self.conversation, self.producer, self.next_no, &text);
        self.socket.queue(command.as_bytes());
        self.open.push_back((self.next_no, intended_ns, command));
        let mut totals = self.totals.borrow_mut();
        totals.sent += 1;
        totals.places[self.index].0 = self.open.len();
        totals.lag.record(now_ns.saturating_sub(intended_ns));
    }

    fn resend(&mut self) {
        self.resend_at = None;
        for (_, _, command) in &self.open {
            self.socket.queue(command.as_bytes());
        }
    }

    fn take(&mut self, incoming: &crate::frame::Incoming) -> anyhow::Result<()> {
        let text = match incoming {
            crate::frame::Incoming::Text(text) => std::str::from_utf8(text)?,
            crate::frame::Incoming::Close(code, reason) => bail!("closed: {code:?} {reason}"),
            _ => return Ok(()),
        };
        let frame = Frame::scan(text).context("not an object")?;
        let mut totals = self.totals.borrow_mut();
        match frame.kind {
            "ack" => {
                let no = frame.no.context("an ack without no")?;
                while self.open.front().is_some_and(|(first, ..)| *first <= no) {
                    let now = self.clock.now_ns();
                    if let Some((_, intended, _)) = self.open.pop_front() {
                        totals.ack.record(now.saturating_sub(intended));
                    }
                    totals.acked += 1;
                }
                let place = &mut totals.places[self.index];
                *place = (self.open.len(), place.1.max(frame.seq), place.2);
            }
            "message" if frame.producer != Some(self.producer) => {
                let stamp = Stamp::parse(frame.text()).context("a corrupt message")?;
                totals.delivered += 1;
                let now = self.clock.now_ns();
                totals.delivery.record(now.saturating_sub(stamp.intended_ns));
            }
            "persisted" => {
                let place = &mut totals.places[self.index];
                place.2 = place.2.max(frame.seq);
            }
            "error" => {
                totals.refused += 1;
                let wait = frame.retry_after_ms.unwrap_or(RETRY_MS).max(1);
                ensure!(frame.no.is_some(), "refused: {text}");
                self.resend_at = Some(Instant::now() + Duration::from_millis(wait));
            }
            _ => {}
        }
        Ok(())
    }
}

/// Runs one figure against a server whose processes are `servers`. Needs a single-threaded runtime.
pub async fn run(
    plan: PairsPlan,
    target: SocketAddr,
    partners: &[Partner],
    servers: &Servers,
) -> anyhow::Result<PairsResult> {
    let tokens: Vec<String> = partners.iter().map(|p| p.token.clone()).collect();
    let sockets = link::open_all(target, &tokens).await?;
    let totals = Rc::new(RefCell::new(Totals::default()));
    totals.borrow_mut().places = vec![(0, 0, 0); partners.len()];
    let (go, receiver) = watch::channel(Go::Pause);
    let (clock, mut rng) = (Clock::start(), Pcg64Mcg::seed_from_u64(plan.seed));
    let share = match plan.arrivals {
        Arrivals::Open { rate } => rate / partners.len() as f64,
        Arrivals::Closed { .. } => 0.0,
    };
    let local = LocalSet::new();
    for (index, (socket, partner)) in sockets.into_iter().zip(partners).enumerate() {
        let sender = Sender {
            socket,
            conversation: partner.conversation,
            // Not from the seed: a second run on the same server must not repeat the first one's keys.
            producer: Producer(rand::random()),
            arrivals: plan.arrivals,
            share,
            text_bytes: plan.text_bytes,
            clock,
            totals: totals.clone(),
            open: std::collections::VecDeque::new(),
            next_no: 0,
            index,
            seed: rng.random(),
            resend_at: None,
        };
        local.spawn_local(sender.run(receiver.clone()));
    }
    local.run_until(measure(plan, partners.len(), servers, &go, &totals)).await
}

async fn measure(
    plan: PairsPlan,
    users: usize,
    servers: &Servers,
    go: &watch::Sender<Go>,
    totals: &RefCell<Totals>,
) -> anyhow::Result<PairsResult> {
    go.send_replace(Go::Send);
    sleep(Duration::from_secs_f64(plan.warmup_s)).await;
    drain(go, totals).await.context("after the warm-up")?;
    totals.borrow_mut().reset();
    let own = [std::process::id()];
    let (before, own_before) = (servers.sample().await?, procfs::cpu_ns(&own)?);
    let begun = Instant::now();
    go.send_replace(Go::Send);
    sleep(Duration::from_secs_f64(plan.measure_s)).await;
    let seconds = begun.elapsed().as_secs_f64();
    let drain_ms = drain(go, totals).await?;
    let (after, own_after) = (servers.sample().await?, procfs::cpu_ns(&own)?);
    go.send_replace(Go::End);
    let totals = totals.borrow();
    ensure!(
        totals.acked == totals.delivered,
        "{} acked, {} delivered",
        totals.acked,
        totals.delivered
    );
    let per = |ns: u64| ns as f64 / 1e3 / totals.delivered.max(1) as f64;
    let achieved = totals.sent as f64 / seconds;
    Ok(PairsResult {
        users,
        acked: totals.acked,
        delivered: totals.delivered,
        seconds,
        delivered_per_s: totals.delivered as f64 / seconds,
        cost: after.since(&before, totals.delivered),
        generator_cpu_us_per_message: per(own_after - own_before),
        delivery: totals.delivery.percentiles(),
        ack: totals.ack.percentiles(),
        generator_lag: totals.lag.percentiles(),
        verdict: verdict(plan.arrivals, achieved, &totals.lag),
        refused: totals.refused,
        drain_ms,
        plan,
    })
}

/// Stops the senders and waits until everything is acked, delivered and stored. Returns how long that took.
async fn drain(go: &watch::Sender<Go>, totals: &RefCell<Totals>) -> anyhow::Result<u128> {
    go.send_replace(Go::Pause);
    let begun = Instant::now();
    loop {
        {
            let totals = totals.borrow();
            if let Some(failure) = totals.failures.first() {
                bail!("{} connections failed, first: {failure}", totals.failures.len());
            }
            if totals.is_drained() {
                return Ok(begun.elapsed().as_millis());
            }
            ensure!(
                begun.elapsed() < DRAIN_TIMEOUT,
                "not drained: {} sent, {} acked, {} delivered",
                totals.sent,
                totals.acked,
                totals.delivered
            );
        }
        sleep(Duration::from_millis(5)).await;
    }
}
