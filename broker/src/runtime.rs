//! Shard threads: one runtime each, restarted empty when one panics, and the choice of the least loaded.
//!
//! Owns: threads and mailboxes. Never does: shard work (the host does). Talks to: [`Host`]. Start reading at: [`Shards::start`].

use std::{
    any::Any,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use backplane::ring::{Reader, Ring};
use protocol::Pos;
use token::{Audience, Verifier};
use tokio::{
    task::{LocalSet, spawn_local},
    time::{MissedTickBehavior, interval},
};

use crate::{
    config::ShardConfig,
    host::{Host, Surroundings},
    mail::{Arrival, Inbox, Mail, Mailboxes, Post},
    metrics::Dropped,
    presence::PresenceMap,
    shard::{Shard, VerifyToken},
};

/// The shard's clock hand: deadlines and flushes are this late at most.
const TICK: Duration = Duration::from_millis(100);
/// Mails taken in a row.
const MAILS_MAX: usize = 64;
/// Posts taken in a row.
const POSTS_MAX: usize = 16;
/// A shard that panicked is back after this; its clients come back in the same time.
const RESTART_AFTER: Duration = Duration::from_millis(200);

/// What every life of a shard is made of.
#[derive(Clone)]
pub(crate) struct Recipe {
    pub(crate) around: Surroundings,
    pub(crate) config: ShardConfig,
    pub(crate) presence: Arc<PresenceMap>,
    pub(crate) verify: VerifyToken,
    pub(crate) ring: Arc<Ring>,
}

impl Recipe {
    pub(crate) fn new(
        around: Surroundings,
        config: ShardConfig,
        presence: &Arc<PresenceMap>,
        verifier: &Verifier,
        ring: &Arc<Ring>,
    ) -> Self {
        let verifier = verifier.clone();
        Self {
            around,
            config,
            presence: Arc::clone(presence),
            verify: Arc::new(move |token, now| verifier.verify(token, Audience::Socket, now)),
            ring: Arc::clone(ring),
        }
    }
}

#[derive(Debug)]
struct Handle {
    mailboxes: Arc<Mailboxes>,
    /// Sockets placed here; counts from the placement on, so that a burst does not pile up on one shard.
    load: Arc<AtomicUsize>,
}

/// All shards of the node.
#[derive(Debug)]
pub(crate) struct Shards {
    handles: Vec<Handle>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Stopped,
    Panicked,
}

impl Shards {
    /// Starts the threads. Errors: the system gives none.
    pub(crate) fn start(recipe: &Recipe) -> io::Result<Arc<Self>> {
        let (mut handles, mut threads) = (Vec::new(), Vec::new());
        for (number, metrics) in recipe.around.node.metrics.shards.iter().enumerate() {
            let (mailboxes, inbox) = Mailboxes::new(recipe.config.unacked_max, Arc::clone(metrics));
            let mailboxes = Arc::new(mailboxes);
            handles.push(Handle { mailboxes: Arc::clone(&mailboxes), load: Arc::default() });
            let recipe = recipe.clone();
            let thread = std::thread::Builder::new().name(format!("shard-{number}"));
            threads.push(thread.spawn(move || supervise(number, &recipe, &mailboxes, inbox))?);
        }
        Ok(Arc::new(Self { handles, threads: Mutex::new(threads) }))
    }

    /// Hands a socket to the least loaded shard. A full mailbox closes it: the client backs off.
    pub(crate) fn place(&self, mut arrival: Arrival) {
        let least = self.handles.iter().min_by_key(|handle| handle.load.load(Relaxed));
        let Some(handle) = least else { return };
        arrival.seat.place(&handle.load);
        handle.mailboxes.post(Post::Connect(Box::new(arrival)));
    }

    pub(crate) fn send_all(&self, mail: impl Fn() -> Mail) {
        self.handles.iter().for_each(|handle| handle.mailboxes.send(mail()));
    }

    pub(crate) fn post_all(&self, post: impl Fn() -> Post) {
        for handle in &self.handles {
            handle.mailboxes.post(post());
        }
    }

    /// Whether every thread has ended.
    pub(crate) fn are_stopped(&self) -> bool {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.iter().all(JoinHandle::is_finished)
    }
}

/// A broker that is dropped without a drain takes its threads with it.
impl Drop for Shards {
    fn drop(&mut self) {
        self.send_all(|| Mail::Stop);
    }
}

/// One thread's life: shard after shard, until one stops on purpose.
fn supervise(number: usize, recipe: &Recipe, mailboxes: &Mailboxes, mut inbox: Inbox) {
    loop {
        inbox = match live(number, recipe, mailboxes, inbox) {
            Ok(None) => return,
            Ok(Some(next)) => {
                tracing::error!(shard = number, "a shard panicked; restarting it");
                next
            }
            Err(error) => {
                tracing::error!(shard = number, %error, "a shard has no runtime");
                mailboxes.renew(recipe.config.unacked_max)
            }
        };
        recipe.around.node.shard_restarted();
        std::thread::sleep(RESTART_AFTER);
    }
}

/// One life. Returns the inbox of the next one, if it panicked.
fn live(
    number: usize,
    recipe: &Recipe,
    mailboxes: &Mailboxes,
    mut inbox: Inbox,
) -> io::Result<Option<Inbox>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = LocalSet::new();
    // The reader first: what it misses is in the Tail, what it repeats is passed over.
    let reader = recipe.ring.reader();
    let host =
        Host::new(number, shard(number, recipe), recipe.around.clone(), mailboxes.reply_to());
    let work =
        AssertUnwindSafe(|| tasks.block_on(&runtime, serve(Rc::clone(&host), reader, &mut inbox)));
    let ended = catch_unwind(work).unwrap_or_else(|panic| {
        tracing::error!(shard = number, panic = what(&*panic), "panic in a shard");
        Ended::Panicked
    });
    if ended == Ended::Stopped {
        return Ok(None);
    }
    // Before anybody is sent away: who comes back at once waits for the next life, and so do those who were on their way.
    let next = mailboxes.renew(recipe.config.unacked_max);
    while let Ok(post) = inbox.post.try_recv() {
        mailboxes.post(post);
    }
    while let Some(mail) = inbox.taken.pop().or_else(|| inbox.mail.try_recv().ok()) {
        // Nobody says these twice; all else is for the connections that are gone.
        if matches!(mail, Mail::Stop | Mail::DrainBegin(_) | Mail::DrainEnd) {
            mailboxes.send(mail);
        }
    }
    let last_words = AssertUnwindSafe(|| host.abandon());
    if catch_unwind(last_words).is_err() {
        recipe.around.node.metrics.shards[number].dropped[Dropped::ConnClosed as usize].add(1);
    }
    Ok(Some(next))
}

/// An empty shard at W: it hears again what the Tail holds above it, for the sake of membership news.
fn shard(number: usize, recipe: &Recipe) -> Shard {
    let cursor: Vec<Pos> =
        recipe.around.tails.iter().map(|tail| tail.read().start_of_news()).collect();
    let metrics = &recipe.around.node.metrics;
    Shard::new(
        recipe.config.clone(),
        recipe.around.tails.clone(),
        cursor,
        Arc::clone(&recipe.presence),
        Arc::clone(&recipe.verify),
        rand::random(),
    )
    .with_metrics(Arc::clone(&metrics.shards[number]), Arc::clone(metrics))
}

fn what(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}

/// The loop of a shard.
async fn serve(host: Rc<Host>, mut reader: Reader, inbox: &mut Inbox) -> Ended {
    host.hear_news();
    spawn_local(Rc::clone(&host).flush_loop());
    let bell = reader.bell();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = host.broken.notified() => return Ended::Panicked,
            // Deadlines must not wait for a flood.
            due = tick.tick() => host.tick(due.elapsed()),
            // Verdicts are what clients wait for; they are bounded by what was asked.
            count = inbox.mail.recv_many(&mut inbox.taken, MAILS_MAX) => {
                // One at a time: what comes behind one that panics is for the next life.
                inbox.taken.reverse();
                let all = std::iter::from_fn(|| inbox.taken.pop()).all(|mail| host.on_mail(mail));
                if count == 0 || !all {
                    return Ended::Stopped;
                }
            }
            () = bell.notified() => {}
            Some(post) = inbox.post.recv() => host.on_post(post),
        }
        host.read_ring(&mut reader);
        // Under a flood of what is above there is always something above.
        for _ in 0..POSTS_MAX {
            let Ok(post) = inbox.post.try_recv() else { break };
            host.on_post(post);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use backplane::{
        Archive, Log,
        local::{LocalLive, LocalLog, MemoryDisk, Options},
        memory_archive::MemoryArchive,
        tail::SharedTail,
    };
    use token::TokenRefused;

    use super::*;
    use crate::{BrokerConfig, Node, tasks::live::Voice};

    fn recipe() -> Recipe {
        let node = Node::new(BrokerConfig { shards: 1, ..BrokerConfig::new(backplane::NodeId(1)) });
        let archive: Arc<dyn Archive> = Arc::new(MemoryArchive::default());
        let mut options = Options::new(Arc::new(|| 1), Arc::new(|_| ()));
        options.segment_bytes = 1 << 20;
        let disk = Arc::new(MemoryDisk::default());
        let log = LocalLog::open(disk, Arc::clone(&archive), Pos::new(1, 0), options).unwrap();
        let config = ShardConfig::of(&node.config, log.info());
        let around = Surroundings {
            log: Arc::new(log),
            live: Arc::new(LocalLive::new(Arc::new(|| 1))),
            archive,
            tails: vec![SharedTail::default()],
            appenders: Vec::new(),
            voice: Voice::new(Arc::clone(&node.metrics)).0,
            node,
        };
        let verify: VerifyToken = Arc::new(|_, _| Err(TokenRefused));
        Recipe { around, config, presence: Arc::default(), verify, ring: Ring::new(16, 1 << 20) }
    }

    /// Nobody says it twice: a broker that was dropped in that moment kept its thread.
    #[tokio::test]
    async fn a_stop_behind_what_panics_still_stops() {
        let recipe = recipe();
        let metrics = Arc::clone(&recipe.around.node.metrics.shards[0]);
        let (mailboxes, inbox) = Mailboxes::new(recipe.config.unacked_max, metrics);
        for mail in [Mail::Panic, Mail::DrainBegin(1), Mail::Stop] {
            mailboxes.send(mail);
        }
        let thread = std::thread::spawn(move || supervise(0, &recipe, &mailboxes, inbox));
        let deadline = Instant::now() + Duration::from_secs(10);
        while !thread.is_finished() {
            assert!(Instant::now() < deadline, "it goes on");
            tokio::task::yield_now().await;
        }
        assert!(thread.join().is_ok());
    }
}
