//! What the node's tasks send to a shard, and the two bounded mailboxes it goes through.
//!
//! Owns: [`Mail`], [`Post`], [`Mailboxes`]. Never does: wait for a shard. Talks to: nobody. Start reading at: [`Mailboxes`].

use std::{
    net::TcpStream,
    sync::{Arc, PoisonError, RwLock},
};

use backplane::{Partition, Signal};
use bytes::Bytes;
use protocol::{Pos, UserId};
use tokio::sync::mpsc;

use crate::{
    admission::Seat,
    metrics::ShardMetrics,
    shard::{AppendOutcome, AppendTicket, Principal},
};

/// Mails that are not verdicts and may wait at once: watermarks, drain steps.
const CONTROL_MAX: usize = 256;
/// Posts that may wait: new connections and flushes of signals.
const POSTS_MAX: usize = 4_096;

/// What must arrive.
#[derive(Debug)]
pub(crate) enum Mail {
    /// What became of appends.
    Verdicts(Vec<(AppendTicket, AppendOutcome)>),
    /// W moved.
    Watermark(Partition, Pos),
    /// The Tail began anew: what the ring says does not continue what the shard has seen.
    Reposition,
    /// Send everybody away, spread over this window.
    DrainBegin(u64),
    /// Close what is left.
    DrainEnd,
    /// End the thread.
    Stop,
    /// The shard panics.
    #[cfg(test)]
    Panic,
}

/// A socket on its way to its shard.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) stream: TcpStream,
    /// Read behind the request, before the upgrade.
    pub(crate) leftover: Bytes,
    pub(crate) principal: Principal,
    pub(crate) seat: Seat,
}

/// What may fall when the shard is behind: a connection is refused, a signal is lost.
#[derive(Debug)]
pub(crate) enum Post {
    /// A new connection.
    Connect(Box<Arrival>),
    /// From `Live`.
    Signals(Arc<Vec<Signal>>),
    /// The presence map changed.
    Presence(Arc<[UserId]>),
}

/// The receiving ends, of one life of a shard.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) mail: mpsc::Receiver<Mail>,
    /// Taken out of the mailbox, the next one last.
    pub(crate) taken: Vec<Mail>,
    pub(crate) post: mpsc::Receiver<Post>,
}

/// The sending ends to one shard. A restarted shard has new ones, so that nothing meant for its predecessor reaches it.
#[derive(Debug)]
pub(crate) struct Mailboxes {
    current: RwLock<(mpsc::Sender<Mail>, mpsc::Sender<Post>)>,
    metrics: Arc<ShardMetrics>,
}

fn open(unacked_max: usize) -> ((mpsc::Sender<Mail>, mpsc::Sender<Post>), Inbox) {
    // Every unacked publish has room for a verdict of its own, so verdicts always fit.
    let (mail_sender, mail) = mpsc::channel(unacked_max + CONTROL_MAX);
    let (post_sender, post) = mpsc::channel(POSTS_MAX);
    ((mail_sender, post_sender), Inbox { mail, taken: Vec::new(), post })
}

impl Mailboxes {
    pub(crate) fn new(unacked_max: usize, metrics: Arc<ShardMetrics>) -> (Self, Inbox) {
        let (senders, inbox) = open(unacked_max);
        (Self { current: RwLock::new(senders), metrics }, inbox)
    }

    /// New mailboxes for a new life.
    pub(crate) fn renew(&self, unacked_max: usize) -> Inbox {
        let (senders, inbox) = open(unacked_max);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = senders;
        inbox
    }

    /// Where verdicts for the present life go.
    pub(crate) fn reply_to(&self) -> mpsc::Sender<Mail> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Sends a control mail. Full: it is lost and counted; senders of control mails repeat themselves or are repeated.
    pub(crate) fn send(&self, mail: Mail) {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        if current.0.try_send(mail).is_err() {
            self.metrics.mailbox_full.add(1);
        }
    }

    /// Posts. Full: it falls, and is counted. Returns whether it went.
    pub(crate) fn post(&self, post: Post) -> bool {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let sent = current.1.try_send(post).is_ok();
        if !sent {
            self.metrics.mailbox_full.add(1);
        }
        sent
    }
}
