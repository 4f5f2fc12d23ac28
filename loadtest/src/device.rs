//! A device as a task: connects, sends, receives, and comes back after every loss of its connection.
//!
//! Owns: one [`Session`] and the socket that serves it for now. Never does: give up before it is told.
//! Talks to: the broker (socket), the api (gaps). Start reading at: [`Device::run`].

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use protocol::ConversationId;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tokio::{
    sync::{Mutex, watch},
    time::{sleep, timeout},
};

use crate::{
    clock::Clock,
    frame::Incoming,
    history::{Gauge, Observation, Read},
    http::{Account, end_of},
    session::{Session, Todo},
    socket::{OpenError, Socket, Upgrade},
    wire::{self, Frame},
};

/// First and last step of the reconnect backoff. Shorter than a browser's (R40): a test waits for nobody.
const BACKOFF_MS: (u64, u64) = (50, 1_000);
/// How long a device looks at its pendings without news before it looks again.
const TICK: Duration = Duration::from_millis(100);
/// One gap fetch; past it the socket is given up too, as it is the server that is gone.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// Of so many acks one is followed by a read that has to reach it (H8).
const READ_EVERY: u64 = 250;

/// What all devices do now.
#[derive(Debug, Clone, Default)]
pub enum Phase {
    /// Connected, silent.
    #[default]
    Idle,
    /// Publish at full speed within the window.
    Send,
    /// No new messages; wait for the answers to all that were sent.
    Settle,
    /// Go on until every position has reached these heads, then end.
    Converge(Arc<HashMap<ConversationId, u64>>),
    /// End now, whatever is open.
    Stop,
}

/// What a device sends.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Where, in turn.
    pub conversations: Vec<ConversationId>,
    /// Messages in flight.
    pub window: usize,
    /// Bytes of a text.
    pub text_bytes: usize,
    /// New messages per second; 0 = as many as the window allows.
    pub per_second: u32,
}

/// Numbers that others read while the device runs.
#[derive(Debug, Default)]
pub struct Progress {
    /// Acks so far, of all devices that share it.
    pub acked: AtomicU64,
    /// Publishes without an ack.
    pub unacked: AtomicUsize,
    /// Pendings that are not `persisted`.
    pub unsettled: AtomicUsize,
    /// Connections that ended in any way but by us.
    pub losses: AtomicU64,
    /// Devices with a live connection.
    pub live: AtomicUsize,
}

/// What the device last added to the shared [`Progress`], so that it can be taken off again.
#[derive(Debug, Default, Clone, Copy)]
struct Share {
    acked: u64,
    unacked: usize,
    unsettled: usize,
    live: bool,
}

/// Where a device connects, and as whom.
#[derive(Debug, Clone)]
pub struct Place {
    /// Where the server is. Of several: the next one when a connection fails or ends.
    pub targets: Vec<SocketAddr>,
    /// From which address.
    pub source: Option<IpAddr>,
    /// Whose: shared by the devices of one login.
    pub account: Arc<Mutex<Account>>,
    /// The run's clock.
    pub clock: Clock,
    /// Where it reports.
    pub progress: Arc<Progress>,
}

/// A device.
#[derive(Debug)]
pub struct Device {
    place: Place,
    session: Session,
    plan: Plan,
    share: Share,
    next: usize,
    /// Which of the targets is tried next, modulo their number.
    at: usize,
    /// When the next message may be made.
    due_ns: u64,
    since_read: u64,
    rng: Pcg64Mcg,
}

/// Why a connection was left.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The device is through.
    Done,
    /// Reconnect after this long.
    Again(Duration),
}

impl Device {
    /// A device that is not connected yet.
    pub fn new(place: Place, session: Session, plan: Plan, seed: u64) -> Self {
        let (share, mut rng) = (Share::default(), Pcg64Mcg::seed_from_u64(seed));
        let at = rng.random_range(0..place.targets.len().max(1));
        Self { place, session, plan, share, next: 0, at, due_ns: 0, since_read: 0, rng }
    }

    /// Runs until the phase says that it is over, and gives the memory back.
    pub async fn run(mut self, mut phase: watch::Receiver<Phase>) -> Session {
        let mut failures = 0u32;
        loop {
            if self.is_done(&phase.borrow()) {
                break;
            }
            let pause = match self.open().await {
                Ok(mut socket) => {
                    failures = 0;
                    let end = self.serve(&mut socket, &mut phase).await;
                    self.session.disconnected();
                    self.report();
                    match end {
                        Ok(End::Done) => {
                            socket.queue_close(1000);
                            // The peer may be gone already; there is nothing more to say.
                            let _ = timeout(TICK, socket.flush()).await;
                            break;
                        }
                        Ok(End::Again(pause)) => pause,
                        Err(_) => self.backoff(0),
                    }
                }
                Err(_) => {
                    failures += 1;
                    self.backoff(failures)
                }
            };
            self.place.progress.losses.fetch_add(1, Ordering::Relaxed);
            self.at += 1;
            sleep(pause).await;
        }
        self.report();
        self.session
    }

    fn backoff(&mut self, failures: u32) -> Duration {
        let (first, last) = BACKOFF_MS;
        let cap = (first << failures.min(10)).min(last);
        Duration::from_millis(self.rng.random_range(0..=cap))
    }

    fn is_done(&self, phase: &Phase) -> bool {
        match phase {
            Phase::Idle | Phase::Send | Phase::Settle => false,
            Phase::Stop => true,
            Phase::Converge(heads) => {
                let behind = |c: &ConversationId| {
                    heads.get(c).is_some_and(|head| self.session.position(*c) < *head)
                };
                self.session.unsettled() == 0 && !self.session.conversations().iter().any(behind)
            }
        }
    }

    async fn open(&mut self) -> Result<Socket, OpenError> {
        let token = self.place.account.lock().await.socket_token.clone();
        let targets = &self.place.targets;
        let target = targets.get(self.at % targets.len().max(1)).copied();
        let target = target.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        let opened = Socket::open(target, self.place.source, &Upgrade::bearer(&token)).await;
        if let Err(OpenError::Refused { status: 401, .. }) = opened {
            let mut account = self.place.account.lock().await;
            // Another device of the login may have refreshed meanwhile. A failure shows at the next try.
            if account.socket_token == token {
                let _ = account.refresh().await;
            }
        }
        let mut socket = opened?;
        socket.queue(wire::hello(self.session.token.as_deref()).as_bytes());
        Ok(socket)
    }

    /// One connection's life. Errors: the connection is lost.
    async fn serve(
        &mut self,
        socket: &mut Socket,
        phase: &mut watch::Receiver<Phase>,
    ) -> io::Result<End> {
        let mut out = Vec::new();
        let mut welcomed = false;
        loop {
            while let Some(incoming) = socket.ready()? {
                if let Some(end) = self.take(&incoming, &mut welcomed, &mut out).await? {
                    return Ok(end);
                }
            }
            if welcomed {
                self.fill_gaps().await?;
                self.read_own_write().await?;
                self.top_up(&phase.borrow().clone(), &mut out);
            }
            for text in out.drain(..) {
                socket.queue(text.as_bytes());
            }
            self.report();
            if self.is_done(&phase.borrow()) {
                return Ok(End::Done);
            }
            let tick = self.tick();
            // Priority: what the server says, then what we are told, then time.
            tokio::select! {
                biased;
                incoming = socket.next() => {
                    if let Some(end) = self.take(&incoming?, &mut welcomed, &mut out).await? {
                        return Ok(end);
                    }
                }
                changed = phase.changed() => {
                    if changed.is_err() {
                        return Ok(End::Done);
                    }
                }
                () = sleep(tick) => {}
            }
        }
    }

    fn tick(&self) -> Duration {
        let until =
            self.session.resend_at_ns.map(|at| at.saturating_sub(self.place.clock.now_ns()));
        until.map_or(TICK, |ns| Duration::from_nanos(ns).clamp(Duration::from_millis(1), TICK))
    }

    async fn take(
        &mut self,
        incoming: &Incoming,
        welcomed: &mut bool,
        out: &mut Vec<String>,
    ) -> io::Result<Option<End>> {
        let text = match incoming {
            Incoming::Text(text) => std::str::from_utf8(text),
            Incoming::Ping(_) | Incoming::Pong => return Ok(None),
            Incoming::Close(..) => return Ok(Some(End::Again(self.backoff(0)))),
        };
        let bad = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let text = text.map_err(|_| bad("text that is not utf-8"))?;
        let frame = Frame::scan(text).ok_or_else(|| bad("a frame that is no object"))?;
        let todo = self.session.on_frame(&frame, self.place.clock.now_ns());
        if frame.kind == "welcome" {
            *welcomed = true;
            self.session.resend(true, out);
        }
        match todo {
            Todo::Nothing => Ok(None),
            Todo::Leave(ms) => Ok(Some(End::Again(Duration::from_millis(ms)))),
            Todo::FetchAll => {
                self.fetch_all().await?;
                Ok(None)
            }
        }
    }

    fn top_up(&mut self, phase: &Phase, out: &mut Vec<String>) {
        let now = self.place.clock.now_ns();
        if self.session.resend_at_ns.is_some_and(|at| at <= now) {
            self.session.resend(false, out);
        }
        let may_send = matches!(phase, Phase::Send) && self.session.resend_at_ns.is_none();
        while may_send
            && !self.plan.conversations.is_empty()
            && self.session.in_flight < self.plan.window
            && (self.plan.per_second == 0 || self.due_ns <= now)
        {
            if self.plan.per_second > 0 {
                // What was missed while there was no connection is not made up for.
                let step = 1_000_000_000 / u64::from(self.plan.per_second);
                self.due_ns = self.due_ns.max(now.saturating_sub(TICK.as_nanos() as u64)) + step;
            }
            let conversation = self.plan.conversations[self.next % self.plan.conversations.len()];
            self.next += 1;
            self.session.publish(conversation, self.plan.text_bytes, now, now, out);
        }
    }

    /// Compares positions with the heads and fetches what lacks (R28).
    async fn fetch_all(&mut self) -> io::Result<()> {
        let account = self.place.account.clone();
        let mut account = account.lock().await;
        let heads = timeout(FETCH_TIMEOUT, account.heads()).await.map_err(|_| lost("heads"))?;
        drop(account);
        let own: Vec<ConversationId> = self.session.conversations();
        for (conversation, epoch, head) in heads.map_err(|e| lost(&e.to_string()))? {
            let gauge = Gauge::Head;
            let seen = Observation { conversation, gauge, epoch, value: head };
            self.session.log.observations.push(seen);
            if own.contains(&conversation) && self.session.position(conversation) < head {
                self.session.gaps.insert(conversation);
            }
        }
        Ok(())
    }

    /// Fetches each gap up to the head (R22).
    async fn fill_gaps(&mut self) -> io::Result<()> {
        while let Some(conversation) = self.session.gaps.pop_first() {
            let account = self.place.account.clone();
            let mut account = account.lock().await;
            loop {
                let after = self.session.position(conversation);
                let page = timeout(FETCH_TIMEOUT, account.events(conversation, after, None)).await;
                let page = page.map_err(|_| lost("events"))?.map_err(|e| lost(&e.to_string()))?;
                let empty = page.slots.is_empty();
                let end = page.slots.last().map_or(after, |d| end_of(*d));
                for slot in page.slots {
                    self.session.on_slot(conversation, slot);
                }
                if empty || end >= page.head {
                    break;
                }
            }
            // What lives above the fetched head and still leaves a gap is fetched at the next live event.
            self.session.gaps.remove(&conversation);
        }
        Ok(())
    }

    /// Now and then reads back what was acked (H8).
    async fn read_own_write(&mut self) -> io::Result<()> {
        let Some((conversation, seq)) = self.session.last_ack else { return Ok(()) };
        if self.session.acked < self.since_read + READ_EVERY {
            return Ok(());
        }
        self.since_read = self.session.acked;
        let account = self.place.account.clone();
        let mut account = account.lock().await;
        let page = account.events(conversation, seq.saturating_sub(1), Some(seq));
        // A server that was killed meanwhile answers nothing: then there is nothing to judge.
        if let Ok(Ok(page)) = timeout(FETCH_TIMEOUT, page).await {
            let reached = page.slots.last().map_or(0, |d| end_of(*d));
            self.session.log.reads.push(Read { conversation, min_seq: seq, reached });
        }
        Ok(())
    }

    /// Writes the difference to what was last reported.
    fn report(&mut self) {
        let now = Share {
            acked: self.session.acked,
            unacked: self.session.unacked(),
            unsettled: self.session.unsettled(),
            live: self.session.live,
        };
        let before = std::mem::replace(&mut self.share, now);
        // Statistics only: nothing is ordered by them.
        let relaxed = Ordering::Relaxed;
        self.place.progress.acked.fetch_add(now.acked - before.acked, relaxed);
        self.place.progress.unacked.fetch_add(now.unacked.wrapping_sub(before.unacked), relaxed);
        self.place
            .progress
            .unsettled
            .fetch_add(now.unsettled.wrapping_sub(before.unsettled), relaxed);
        let live = usize::from(now.live).wrapping_sub(usize::from(before.live));
        self.place.progress.live.fetch_add(live, relaxed);
    }
}

fn lost(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, what.to_owned())
}
