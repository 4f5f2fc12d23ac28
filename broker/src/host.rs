//! Around one shard: carries inputs in, and does what the shard's [`Action`]s say.
//!
//! Owns: the one borrow of the shard, the sockets, the wake list. Never does: await while the shard is borrowed.
//! Talks to: shard, sockets, the node's tasks. Start reading at: [`Host::step`].

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet, VecDeque},
    panic::resume_unwind,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use backplane::{Archive, Live, Log, PresenceChange, ring, tail::SharedTail};
use bytes::Bytes;
use foldhash::fast::RandomState;
use protocol::{CloseCode, Pos};
use smallvec::SmallVec;
use tokio::{
    net::TcpStream,
    sync::{Notify, Semaphore, mpsc},
    task::{spawn_local, yield_now},
};

use crate::{
    Seams, connection,
    mail::{Arrival, Mail, Post},
    metrics::{Closed, ShardMetrics},
    node::Node,
    overload::{Ladder, STEPS},
    shard::{Action, Actions, AppendOutcome, ConnectionId, Now, Shard},
    socket::{Socket, Written},
    tasks::{append::Request, live::Voice},
    websocket::{
        Decoder,
        decode::{Flow, Input, Limits},
        encode,
    },
};

/// Bytes of one read: one buffer per shard serves all its connections.
const SCRATCH_BYTES: usize = 64 * 1024;
/// Reads of one socket in a row before others get their turn.
const READS_MAX: usize = 4;
/// Bytes taken from an outbox for one write.
const WRITE_BYTES: usize = 64 * 1024;
/// Writes to one socket in a row.
const WRITES_MAX: usize = 4;
/// Sockets written in a row before other tasks of the shard get their turn.
const FLUSH_MAX: usize = 128;
/// Batches read from the ring in a row.
const BATCHES_MAX: usize = 64;
/// Questions to the archive at a time; the others wait for their turn, each until its deadline.
const LOOKUPS_MAX: usize = 256;
/// Revocations that were missed are found within this time (LOG.md §7).
const REVOCATION_CHECK: Duration = Duration::from_secs(30);

/// What a shard's surroundings are made of; the same for all shards of a node.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) node: Arc<Node>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) live: Arc<dyn Live>,
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) tails: Vec<SharedTail>,
    /// One per partition.
    pub(crate) appenders: Vec<mpsc::Sender<Request>>,
    pub(crate) voice: Voice,
}

impl Surroundings {
    pub(crate) fn new(
        node: &Arc<Node>,
        seams: &Seams,
        tails: &[SharedTail],
        appenders: Vec<mpsc::Sender<Request>>,
        voice: Voice,
    ) -> Self {
        Self {
            node: Arc::clone(node),
            log: Arc::clone(&seams.log),
            live: Arc::clone(&seams.live),
            archive: Arc::clone(&seams.archive),
            tails: tails.to_vec(),
            appenders,
            voice,
        }
    }
}

/// Whether a socket is to be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Wait for more.
    Dry,
    /// There may be more, but it was others' turn.
    More,
    /// It is over.
    Over,
}

/// What became of the output of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flushed {
    /// It is written, or goes on when the socket is writable.
    Done,
    /// There may be more.
    HadItsTurn,
    /// The socket is dead.
    Gone,
}

/// One shard and what belongs to it, on its own thread.
pub(crate) struct Host {
    pub(crate) around: Surroundings,
    shard: RefCell<Shard>,
    metrics: Arc<ShardMetrics>,
    number: usize,
    reply_to: mpsc::Sender<Mail>,
    sockets: RefCell<HashMap<ConnectionId, Rc<Socket>, RandomState>>,
    scratch: RefCell<Vec<u8>>,
    /// Frames on their way from an outbox to a socket; kept for its memory.
    taken: RefCell<Vec<Bytes>>,
    woken: RefCell<VecDeque<ConnectionId>>,
    wake: Notify,
    /// Connections in the middle of a message.
    assembling: RefCell<HashSet<ConnectionId, RandomState>>,
    pub(crate) lookups: Semaphore,
    /// Rung when a step panicked.
    pub(crate) broken: Notify,
    /// A step panicked: nothing here may be used again.
    is_broken: Cell<bool>,
    revocations_checked: RefCell<Instant>,
    ladder: RefCell<Ladder>,
}

/// Rings the bell if a step unwinds.
struct Watch<'a>(&'a Host);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.is_broken.set(true);
            self.0.broken.notify_one();
        }
    }
}

impl Host {
    pub(crate) fn new(
        number: usize,
        shard: Shard,
        around: Surroundings,
        reply_to: mpsc::Sender<Mail>,
    ) -> Rc<Self> {
        Rc::new(Self {
            metrics: Arc::clone(&around.node.metrics.shards[number]),
            around,
            shard: RefCell::new(shard),
            number,
            reply_to,
            sockets: RefCell::default(),
            scratch: RefCell::new(vec![0; SCRATCH_BYTES]),
            taken: RefCell::default(),
            woken: RefCell::default(),
            wake: Notify::new(),
            assembling: RefCell::default(),
            lookups: Semaphore::new(LOOKUPS_MAX),
            broken: Notify::new(),
            is_broken: Cell::new(false),
            revocations_checked: RefCell::new(Instant::now()),
            ladder: RefCell::default(),
        })
    }

    /// Lets the shard work once, then does what it says. Never called from inside itself with the shard still borrowed.
    pub(crate) fn step<R>(
        self: &Rc<Self>,
        work: impl FnOnce(&mut Shard, Now, &mut Actions) -> R,
    ) -> R {
        if self.is_broken.get() {
            // Other tasks have their turn before the supervisor has: what a step left half done must not serve on. Quietly: the
            // panic hook has told of the first one.
            resume_unwind(Box::new("an earlier step panicked"));
        }
        let began = Instant::now();
        let watch = Watch(self);
        let mut actions = Actions::new();
        let result = work(&mut self.shard.borrow_mut(), self.around.node.now(), &mut actions);
        self.perform(actions);
        drop(watch);
        self.metrics.busy_us.add(began.elapsed().as_micros() as u64);
        result
    }

    fn perform(self: &Rc<Self>, actions: Actions) {
        for action in actions {
            match action {
                Action::Append { ticket, partition, envelope } => {
                    let reply_to = self.reply_to.clone();
                    let request = Request { ticket, envelope, reply_to, queued: Instant::now() };
                    let queue = &self.around.appenders[usize::from(partition)];
                    if queue.try_send(request).is_err() {
                        let refused = AppendOutcome::NotStored { retry_after_ms: 500 };
                        self.step(|shard, now, actions| {
                            shard.on_verdicts(&[(ticket, refused)], now, actions);
                        });
                    }
                }
                Action::LoadView { ticket, user } => {
                    spawn_local(connection::lookup::view(Rc::clone(self), ticket, user));
                }
                Action::LoadAuthority { ticket, conversation, user } => {
                    let host = Rc::clone(self);
                    spawn_local(connection::lookup::authority(host, ticket, conversation, user));
                }
                Action::LoadContacts { ticket, user, people } => {
                    let host = Rc::clone(self);
                    spawn_local(connection::lookup::contacts(host, ticket, user, people));
                }
                Action::FindOld { ticket, key } => {
                    spawn_local(connection::lookup::old(Rc::clone(self), ticket, key));
                }
                Action::Publish(signal) => self.around.voice.signal(signal),
                Action::MergeReceipt(conversation, user, cursors) => {
                    self.around.voice.receipt(conversation, user, cursors);
                }
                Action::Announce(change) => self.around.voice.announce(change),
                Action::Wake(id) => self.wake(id),
                Action::Close { connection, code } => self.close(connection, code),
            }
        }
    }

    fn wake(&self, id: ConnectionId) {
        self.woken.borrow_mut().push_back(id);
        self.wake.notify_one();
    }

    fn socket(&self, id: ConnectionId) -> Option<Rc<Socket>> {
        self.sockets.borrow().get(&id).cloned()
    }

    /// Writes to the sockets that have output, for ever. What came together since its last turn leaves in one write.
    pub(crate) async fn flush_loop(self: Rc<Self>) {
        loop {
            self.wake.notified().await;
            loop {
                let ids: SmallVec<[ConnectionId; FLUSH_MAX]> = {
                    let mut woken = self.woken.borrow_mut();
                    let count = woken.len().min(FLUSH_MAX);
                    woken.drain(..count).collect()
                };
                if ids.is_empty() {
                    break;
                }
                self.flush(&ids);
                if self.woken.borrow().is_empty() {
                    break;
                }
                yield_now().await;
            }
        }
    }

    /// Moves output from outboxes to sockets until either has enough: one step for all of them, since the clocks of a step
    /// cost as much as the rest of a short write's way through here.
    pub(crate) fn flush(self: &Rc<Self>, ids: &[ConnectionId]) {
        let (mut frames, mut gone) = (self.taken.take(), SmallVec::<[ConnectionId; 4]>::new());
        self.step(|shard, now, actions| {
            let sockets = self.sockets.borrow();
            for id in ids {
                let Some(socket) = sockets.get(id).filter(|s| !s.is_blocked()) else { continue };
                let mut take = |frames: &mut Vec<Bytes>| {
                    shard.take_output(*id, WRITE_BYTES, frames, now, actions)
                };
                match self.write_out(socket, &mut frames, &mut take) {
                    Flushed::Done => {}
                    Flushed::HadItsTurn => self.wake(*id),
                    Flushed::Gone => gone.push(*id),
                }
            }
        });
        // Of one that is gone some may be left.
        frames.clear();
        self.taken.replace(frames);
        gone.into_iter().for_each(|id| self.gone(id, Closed::IoError));
    }

    fn write_out(
        self: &Rc<Self>,
        socket: &Rc<Socket>,
        frames: &mut Vec<Bytes>,
        take: &mut impl FnMut(&mut Vec<Bytes>) -> usize,
    ) -> Flushed {
        for _ in 0..WRITES_MAX {
            frames.clear();
            let bytes = take(frames);
            if frames.is_empty() {
                return Flushed::Done;
            }
            self.metrics.frames_out.add(frames.len() as u64);
            self.metrics.bytes_out.add(bytes as u64);
            self.around.node.metrics.write_batch_frames.observe(frames.len() as u64);
            match socket.write(frames) {
                // Less than asked for was all that there was.
                Written::All if bytes < WRITE_BYTES => return Flushed::Done,
                Written::All => {}
                Written::Blocked => {
                    spawn_local(connection::unblock(Rc::clone(self), Rc::clone(socket)));
                    return Flushed::Done;
                }
                Written::Gone => return Flushed::Gone,
            }
        }
        Flushed::HadItsTurn
    }

    /// Takes a new socket.
    pub(crate) fn connect(self: &Rc<Self>, arrival: Arrival) {
        let Arrival { stream, leftover, principal, seat } = arrival;
        // A socket that died on its way has no connection to close.
        let Ok(stream) = TcpStream::from_std(stream) else { return };
        let id = self.step(|shard, now, _| shard.on_connect(principal, now));
        let socket = Rc::new(Socket::new(id, stream, seat));
        self.sockets.borrow_mut().insert(id, Rc::clone(&socket));
        // Here, and not in the task: also an empty rest holds on to the 8 KiB that http read it into.
        if !leftover.is_empty() {
            self.take(&socket, &mut leftover.to_vec());
        }
        drop(leftover);
        spawn_local(connection::read_loop(Rc::clone(self), socket));
    }

    /// Reads what a socket has, up to a fair share.
    pub(crate) fn read(self: &Rc<Self>, socket: &Rc<Socket>) -> Reading {
        let mut scratch = self.scratch.borrow_mut();
        for _ in 0..READS_MAX {
            if socket.closing.get() {
                return Reading::Over;
            }
            match socket.read(&mut scratch) {
                Ok(0) => {
                    self.gone(socket.id, Closed::ClientGone);
                    return Reading::Over;
                }
                Ok(read) => {
                    self.take(socket, &mut scratch[..read]);
                    if read < SCRATCH_BYTES {
                        return Reading::Dry;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    return Reading::Dry;
                }
                Err(_) => {
                    self.gone(socket.id, Closed::IoError);
                    return Reading::Over;
                }
            }
        }
        Reading::More
    }

    /// Hands bytes of a client to the decoder, and what it finds to the shard.
    pub(crate) fn take(self: &Rc<Self>, socket: &Rc<Socket>, bytes: &mut [u8]) {
        let id = socket.id;
        let (mut pong, mut peer_closed, mut frames) = (None, None, 0);
        self.metrics.bytes_in.add(bytes.len() as u64);
        let fed = self.step(|shard, now, actions| {
            shard.on_bytes_received(id, now);
            let mut kept = socket.decoder.borrow_mut();
            let mut fresh = Decoder::default();
            let decoder = kept.as_deref_mut().unwrap_or(&mut fresh);
            let fed = decoder.feed(bytes, now.mono_ms, &Limits::PRODUCT, |input| {
                frames += 1;
                shard.on_frame(id, now, actions);
                match input {
                    Input::Text(text) => shard.on_text(id, text, now, actions),
                    Input::Binary(_) => {
                        actions.push(Action::Close {
                            connection: id,
                            code: CloseCode::UnsupportedData,
                        });
                        return Flow::Stop;
                    }
                    Input::Ping(payload) => pong = Some(encode::pong(payload)),
                    Input::Pong => {}
                    Input::Close(code) => {
                        peer_closed = Some(encode::close_with(code.unwrap_or(1000), ""));
                        return Flow::Stop;
                    }
                }
                Flow::Continue
            });
            if !decoder.is_open() {
                *kept = None;
            } else if kept.is_none() {
                *kept = Some(Box::new(fresh));
                self.assembling.borrow_mut().insert(id);
            }
            fed
        });
        self.metrics.frames_in.add(frames);
        if let Some(pong) = pong.filter(|_| !socket.closing.get()) {
            self.answer_ping(socket, pong);
        }
        match (fed, peer_closed) {
            (Err(code), _) => self.close(id, code),
            (Ok(()), Some(answer)) => self.end(id, answer, Closed::ClientClose, true),
            (Ok(()), None) => {}
        }
    }

    fn answer_ping(self: &Rc<Self>, socket: &Rc<Socket>, pong: Bytes) {
        let was_blocked = socket.is_blocked();
        match socket.pong(pong) {
            Written::Blocked if !was_blocked => {
                spawn_local(connection::unblock(Rc::clone(self), Rc::clone(socket)));
            }
            Written::Gone => self.gone(socket.id, Closed::IoError),
            Written::All | Written::Blocked => {}
        }
    }

    /// The one place that sends our close frames.
    fn close(self: &Rc<Self>, id: ConnectionId, code: CloseCode) {
        // What a slow consumer did not read it gets by its resume.
        let rest = code != CloseCode::SlowConsumer;
        self.end(id, encode::close(code), Closed::from(code), rest);
    }

    fn end(self: &Rc<Self>, id: ConnectionId, last: Bytes, reason: Closed, rest: bool) {
        let Some(socket) = self.sockets.borrow_mut().remove(&id) else { return };
        socket.closing.set(true);
        let mut frames = Vec::new();
        self.step(|shard, now, actions| {
            if rest {
                // All that is queued, and once: a replay goes on with every piece that is taken.
                shard.take_output(id, usize::MAX, &mut frames, now, actions);
            }
            shard.on_disconnect(id, now);
        });
        frames.push(last);
        self.metrics.closed[reason as usize].add(1);
        spawn_local(connection::farewell(socket, frames));
    }

    /// The socket is dead, or its client went without a word.
    pub(crate) fn gone(self: &Rc<Self>, id: ConnectionId, reason: Closed) {
        let Some(socket) = self.sockets.borrow_mut().remove(&id) else { return };
        socket.closing.set(true);
        self.step(|shard, now, _| shard.on_disconnect(id, now));
        self.metrics.closed[reason as usize].add(1);
        // Wakes the tasks that wait for this socket, so that they let go of it.
        let _ = socket2::SockRef::from(&socket.stream).shutdown(std::net::Shutdown::Both);
    }

    /// Reads the ring. What the shard has seen from the Tail already is passed over.
    pub(crate) fn read_ring(self: &Rc<Self>, reader: &mut ring::Reader) {
        for _ in 0..BATCHES_MAX {
            match reader.next() {
                Ok(None) => return,
                Ok(Some((partition, batch))) => self.step(|shard, now, actions| {
                    if batch.pos > shard.cursor()[usize::from(partition)] {
                        shard.on_batch(partition, &batch, now, actions);
                    }
                }),
                Err(ring::Lost) => self.reposition(),
            }
        }
        reader.bell().notify_one();
    }

    /// Begins at W again: everybody resumes, and membership news above W is heard once more from the Tail.
    pub(crate) fn reposition(self: &Rc<Self>) {
        let from: Vec<Pos> =
            self.around.tails.iter().map(|tail| tail.read().start_of_news()).collect();
        self.step(|shard, _, actions| shard.on_ring_lost(from, actions));
        self.hear_news();
    }

    /// Feeds the shard what the Tail holds above its cursor.
    pub(crate) fn hear_news(self: &Rc<Self>) {
        for (partition, tail) in self.around.tails.iter().enumerate() {
            let from = self.shard.borrow().cursor()[partition].n;
            let batches = tail.read().batches_after(from);
            self.step(|shard, now, actions| {
                for batch in &batches {
                    shard.on_batch(partition as u16, batch, now, actions);
                }
            });
        }
    }

    /// Does what a mail says. Returns whether the shard goes on.
    pub(crate) fn on_mail(self: &Rc<Self>, mail: Mail) -> bool {
        match mail {
            Mail::Verdicts(verdicts) => self.step(|shard, now, actions| {
                shard.on_verdicts(&verdicts, now, actions);
            }),
            Mail::Watermark(partition, pos) => {
                self.step(|shard, _, _| shard.on_watermark(partition, pos));
            }
            Mail::Reposition => self.reposition(),
            Mail::DrainBegin(window_ms) => {
                self.step(|shard, now, actions| shard.on_drain_begin(window_ms, now, actions));
            }
            Mail::DrainEnd => self.step(|shard, _, actions| shard.on_drain_end(actions)),
            Mail::Stop => return false,
            #[cfg(test)]
            Mail::Panic => self.step(|_, _, _| panic!("put in on purpose")),
        }
        true
    }

    /// Does what a post says.
    pub(crate) fn on_post(self: &Rc<Self>, post: Post) {
        match post {
            Post::Connect(arrival) => self.connect(*arrival),
            Post::Signals(signals) => {
                self.step(|shard, now, actions| shard.on_signals(&signals, now, actions));
            }
            Post::Presence(users) => self.step(|shard, _, _| shard.on_presence(&users)),
        }
    }

    /// Time passed, and the tick comes this late.
    pub(crate) fn tick(self: &Rc<Self>, late: Duration) {
        self.around.node.shard_ticked(self.number);
        self.metrics.loop_lag.observe(late.as_micros() as u64);
        self.step(|shard, now, actions| {
            self.climb(shard, late.as_millis() as u64, now);
            shard.on_tick(now, actions);
        });
        self.close_late_messages();
        if self.revocations_checked.borrow().elapsed() >= REVOCATION_CHECK {
            self.revocations_checked.replace(Instant::now());
            let principals: Vec<_> = self.shard.borrow().principals().collect();
            spawn_local(connection::lookup::revocations(Rc::clone(self), principals));
        }
    }

    /// Moves on the overload ladder, and says so.
    fn climb(&self, shard: &mut Shard, late_ms: u64, now: Now) {
        let (unacked, full) =
            ((shard.n_unacked(), shard.unacked_max()), self.around.node.log_is_full());
        let step = self.ladder.borrow_mut().observe(late_ms, unacked, full, now.mono_ms);
        // Each time: the counters outlive a shard that panicked, its ladder does not.
        self.metrics.shed.set(u64::from(step));
        if step != shard.ladder() {
            shard.set_ladder(step);
            let shed = STEPS[usize::from(step)];
            tracing::warn!(shard = self.number, step, shed, late_ms, "the overload ladder moved");
        }
    }

    fn close_late_messages(self: &Rc<Self>) {
        let now = self.around.node.now().mono_ms;
        let mut late = Vec::new();
        self.assembling.borrow_mut().retain(|id| {
            let Some(socket) = self.socket(*id) else { return false };
            let decoder = socket.decoder.borrow();
            let Some(decoder) = decoder.as_deref() else { return false };
            if let Err(code) = decoder.in_time(now, &Limits::PRODUCT) {
                late.push((*id, code));
            }
            true
        });
        late.into_iter().for_each(|(id, code)| self.close(id, code));
    }

    /// After a panic: a last word to every socket, and the users' presence given up. The shard is not used again.
    pub(crate) fn abandon(&self) {
        let last = encode::close(CloseCode::ServiceRestart);
        for (_, socket) in self.sockets.borrow_mut().drain() {
            socket.closing.set(true);
            socket.try_last_word(&last);
            self.metrics.closed[Closed::Internal as usize].add(1);
        }
        self.metrics.connections.set(0);
        let Ok(shard) = self.shard.try_borrow() else { return };
        let as_of = self.around.node.now().wall_ms;
        for user in shard.abandon_presence() {
            let change = PresenceChange { user, online: false, as_of };
            self.around.voice.announce(change);
        }
    }
}

#[cfg(test)]
mod tests;
