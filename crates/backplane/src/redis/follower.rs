//! A follower: pushes while they are in order, the log wherever they are not.
//!
//! Owns: a cursor, the subscription, what was read ahead. Never does: trust a push that does not follow on its cursor.
//! Talks to: `keep.lua` for reads and `fence.lua` for this node's lease. Start reading at: [`RedisFollower::next_batch`].
//!
//! Cancel safety: everything that was read is in the follower, and so is a read that is under way, or a caller that gives
//! up sooner than it lasts would never get on; so are a connection and a probe.

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use protocol::Pos;
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    connection::{Server, number, part},
    fault::Fault,
    log::{Page, answer_fence, read_page},
    packed,
    subscription::Subscription,
};
use crate::{Batch, BoxFuture, Follower, Gap, sequencer::Mutation};

/// A lost tail is found within a second (LOG.md §3): what comes before one look is the business of the next.
const PROBE_EVERY: Duration = Duration::from_millis(500);
/// Between tries to reach the server, or to find it open.
const RETRY: Duration = Duration::from_millis(100);
/// Bytes of one read.
const AHEAD_BYTES: usize = 256 * 1024;
/// Checksums of the last batches, to tell a rollback: about ten seconds of a busy log.
const REMEMBERED_MAX: usize = 1_024;

/// A call under way.
struct Under<T>(BoxFuture<'static, Result<T, Fault>>);

impl<T> fmt::Debug for Under<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Under")
    }
}

/// Waits for the call under way, or begins it.
async fn go_on<T>(
    slot: &mut Option<Under<T>>,
    begin: impl FnOnce() -> BoxFuture<'static, Result<T, Fault>>,
) -> Result<T, Fault> {
    let result = (&mut slot.get_or_insert_with(|| Under(begin())).0).await;
    *slot = None;
    result
}

/// Reads on for ever.
#[derive(Debug)]
pub(super) struct RedisFollower {
    server: Arc<Server>,
    /// The last batch returned, and the last one that is ready.
    after: Pos,
    reached: Pos,
    ready: VecDeque<Arc<Batch>>,
    subscription: Option<Subscription>,
    /// There is reason to read the log: it begins, a push was missed, or the probe found more.
    behind: bool,
    /// Nothing was read yet: a place of an earlier epoch may be where the present one begins.
    fresh: bool,
    reading: Option<Under<Option<Page>>>,
    connecting: Option<Under<Subscription>>,
    probing: Option<Under<Probed>>,
    pinging: Option<Under<()>>,
    answering: Option<Under<bool>>,
    fencing: Option<Under<()>>,
    /// The run in which a push contradicted what is known, until the log is fenced.
    contradicted: Option<Arc<str>>,
    probe_at: Instant,
    /// Something was pushed since the last probe: it is on its way, or leaves a hole that shows.
    heard: bool,
    /// Turns of this process before which everything was returned that is ready.
    turns: u64,
    /// Tails in a row whose push was lost.
    missed: u32,
    /// `(n, checksum)` of what was pushed lately.
    remembered: VecDeque<(u64, u32)>,
}

impl RedisFollower {
    pub(super) fn new(server: Arc<Server>, after: Pos) -> Self {
        Self {
            turns: server.turns(),
            server,
            after,
            reached: after,
            ready: VecDeque::new(),
            subscription: None,
            behind: true,
            fresh: true,
            reading: None,
            connecting: None,
            probing: None,
            pinging: None,
            answering: None,
            fencing: None,
            contradicted: None,
            probe_at: Instant::now() + PROBE_EVERY,
            heard: false,
            missed: 0,
            remembered: VecDeque::new(),
        }
    }

    async fn next_batch(&mut self) -> Result<Arc<Batch>, Gap> {
        loop {
            let due = Instant::now() >= self.probe_at;
            if due && !self.ready.is_empty() {
                // What is ready does not wait for a probe, but a slow reader of much keeps its lease.
                tokio::select! {
                    biased;
                    probed = self.probe() => probed.unwrap_or_else(|fault| self.interrupted(&fault)),
                    () = std::future::ready(()) => {}
                }
            }
            self.heed_turns();
            if let Some(batch) = self.ready.pop_front() {
                self.after = batch.pos;
                return Ok(batch);
            }
            let outcome = if self.subscription.is_none() {
                self.subscribe().await
            } else if self.contradicted.is_some() {
                self.fence().await
            } else if due {
                // Before pushes, which may be there for ever on a busy log.
                self.probe().await
            } else if self.behind {
                match self.catch_up().await {
                    Ok(gap) => gap.map_or(Ok(()), Err)?,
                    Err(fault) => self.pause(&fault).await,
                }
                continue;
            } else {
                self.listen().await
            };
            if let Err(fault) = outcome {
                self.pause(&fault).await;
            }
        }
    }

    /// Drops what was read ahead if the caller was asked for what it holds meanwhile.
    fn heed_turns(&mut self) {
        let turns = self.server.turns();
        if self.turns != turns {
            (self.turns, self.reached, self.behind) = (turns, self.after, true);
            self.ready.clear();
            self.reading = None;
            let after = self.after.n;
            self.remembered.retain(|(n, _)| *n <= after);
        }
    }

    fn interrupted(&self, fault: &Fault) {
        tracing::debug!(%fault, partition = self.server.partition, "following is interrupted");
    }

    async fn pause(&mut self, fault: &Fault) {
        self.interrupted(fault);
        sleep(RETRY).await;
    }

    /// First the subscription, then the read: what comes in between is in both.
    async fn subscribe(&mut self) -> Result<(), Fault> {
        let server = Arc::clone(&self.server);
        let connect = || -> BoxFuture<'static, _> {
            Box::pin(async move { Subscription::connect(&server).await })
        };
        self.subscription = Some(go_on(&mut self.connecting, connect).await?);
        self.behind = true;
        Ok(())
    }

    /// Pushes, or the time to look whether one was lost.
    async fn listen(&mut self) -> Result<(), Fault> {
        let Some(subscription) = &mut self.subscription else { return Ok(()) };
        let server = Arc::clone(&self.server);
        let run = Arc::clone(&subscription.run);
        let ping = || -> BoxFuture<'static, _> { Box::pin(async move { server.ping(&run).await }) };
        let held = subscription.waits_for_ping();
        let pushes = tokio::select! {
            biased;
            answer = go_on(&mut self.pinging, ping), if held => answer.map(|()| None),
            pushes = subscription.pushes() => pushes.map(Some).map_err(|error| Fault::Refused(error.to_string())),
            () = sleep_until(self.probe_at) => return Ok(()),
        };
        match pushes {
            Ok(pushes) => {
                (self.heard, self.missed) = (true, 0);
                let run = Arc::clone(&subscription.run);
                for push in pushes.unwrap_or_else(|| subscription.answered()) {
                    self.take(push, &run);
                }
                Ok(())
            }
            Err(error) => {
                (self.subscription, self.pinging) = (None, None);
                Err(error)
            }
        }
    }

    /// A push that follows goes on; one that is known must be what is known; any other is read from the log.
    fn take(&mut self, push: Bytes, run: &Arc<str>) {
        let checksum = crc32c::crc32c(&push);
        let Ok(batch) = packed::decode(push) else {
            self.behind = true;
            return;
        };
        let pos = batch.pos;
        if pos == Pos::new(self.reached.epoch, self.reached.n + 1) && !self.behind {
            self.remember(pos.n, checksum);
            self.push(Arc::new(batch));
        } else if pos.epoch != self.reached.epoch || pos.n > self.reached.n {
            self.behind = true;
        } else if self.known(pos.n).is_some_and(|known| known != checksum) {
            tracing::error!(%pos, "the log holds something else than it did: it was rolled back");
            (self.contradicted, self.behind) = (Some(Arc::clone(run)), true);
        }
    }

    /// Nobody goes on in an epoch in which a place stands for two things. Another run has a fence of its own.
    async fn fence(&mut self) -> Result<(), Fault> {
        let (server, run) = (Arc::clone(&self.server), self.contradicted.clone());
        let fence = || -> BoxFuture<'static, _> {
            Box::pin(async move {
                let run = run.as_deref().unwrap_or("").as_bytes();
                server.call("fence", |_| vec![run.to_vec()]).await.map(drop)
            })
        };
        go_on(&mut self.fencing, fence).await?;
        self.contradicted = None;
        Ok(())
    }

    fn remember(&mut self, n: u64, checksum: u32) {
        if self.remembered.len() == REMEMBERED_MAX {
            self.remembered.pop_front();
        }
        self.remembered.push_back((n, checksum));
    }

    fn known(&self, n: u64) -> Option<u32> {
        let at = self.remembered.binary_search_by_key(&n, |(n, _)| *n).ok()?;
        Some(self.remembered[at].1)
    }

    fn push(&mut self, batch: Arc<Batch>) {
        self.reached = batch.pos;
        self.server.saw(batch.pos);
        self.ready.push_back(batch);
    }

    /// Keeps this node's lease, and finds a tail whose push was lost.
    async fn probe(&mut self) -> Result<(), Fault> {
        let server = Arc::clone(&self.server);
        let probe = || -> BoxFuture<'static, _> { Box::pin(async move { probe(&server).await }) };
        let probed = go_on(&mut self.probing, probe).await;
        self.probe_at = Instant::now() + PROBE_EVERY;
        let Probed { end, run } = probed?;
        let more = end.is_some_and(|end| !self.heard && end != self.reached);
        self.missed += u32::from(more && !self.behind);
        self.behind |= more || end.is_none();
        self.heard = false;
        // One may have been on its way; when two are lost and none came in between, the connection is only there.
        let silent = self.missed >= 2;
        if silent || self.subscription.as_ref().is_some_and(|there| there.run != run) {
            (self.subscription, self.pinging, self.missed) = (None, None, 0);
        }
        Ok(())
    }

    /// The log is closed, or in another run than the one that this node was part of, or shorter than it was. Whether it
    /// lost something is open, and others wait for what this node has seen.
    async fn answer(&mut self) -> Result<(), Fault> {
        let server = Arc::clone(&self.server);
        let answer = || -> BoxFuture<'static, _> {
            let (seen, stored) = (server.saw(self.reached), server.saw_watermark(Pos::default()));
            Box::pin(async move { answer_fence(&server, seen, stored).await })
        };
        match go_on(&mut self.answering, answer).await? {
            true => Ok(()),
            false => Err(Fault::Refused("the log is fenced".to_owned())),
        }
    }

    /// One page of the log. `Some` gap: there is no next batch, and will not be.
    async fn catch_up(&mut self) -> Result<Option<Gap>, Fault> {
        let (server, after) = (Arc::clone(&self.server), self.reached);
        let read = || -> BoxFuture<'static, _> {
            Box::pin(async move { read_page(&server, after, AHEAD_BYTES).await })
        };
        let page = go_on(&mut self.reading, read).await?;
        let stands = |page: &Page| self.server.is_at_home(&page.run) && self.reached <= page.end;
        let Some(Page { end, first, common, batches, .. }) = page.filter(stands) else {
            return self.answer().await.map(|()| None);
        };
        if self.reached.epoch != end.epoch {
            // Where the present epoch begins, if everything up to there stands.
            if !self.fresh || self.reached != common {
                return Ok(Some(Gap::EpochChanged { epoch: end.epoch, common }));
            }
            self.reached = Pos::new(end.epoch, 0);
            return Ok(None);
        }
        if self.reached.n < first.n {
            if self.server.options.mutation == Mutation::GapUnchecked {
                self.reached = first;
                return Ok(None);
            }
            return Ok(Some(Gap::Trimmed { first: Pos::new(first.epoch, first.n + 1) }));
        }
        self.fresh = false;
        self.behind = !batches.is_empty();
        for batch in batches {
            if batch.pos.n != self.reached.n + 1 {
                return Err(Fault::Refused("the log has a hole".to_owned()));
            }
            self.push(batch);
        }
        Ok(None)
    }
}

/// What a probe found: the log's end, if it is open, and the start of the server that said so.
struct Probed {
    end: Option<Pos>,
    run: Arc<str>,
}

async fn probe(server: &Server) -> Result<Probed, Fault> {
    let (options, before) = (&server.options, server.run());
    let arguments = |run: &str| {
        let rest = [options.node, (options.ahead_ms)(), options.lease_ms].map(number);
        let before = before.as_deref().unwrap_or("").as_bytes().to_vec();
        [&[run.as_bytes().to_vec()], &rest[..], &[before]].concat()
    };
    let (answer, run) = server.call("probe", arguments).await?;
    server.look().await?;
    let kind: String = part(&answer, 0)?;
    if kind != "open" {
        return Ok(Probed { end: None, run });
    }
    server.listed(&run, part(&answer, 3)?);
    Ok(Probed { end: Some(super::connection::pos(&answer, 1)?), run })
}

impl Follower for RedisFollower {
    fn next(&mut self) -> BoxFuture<'_, Result<Arc<Batch>, Gap>> {
        Box::pin(self.next_batch())
    }
}
