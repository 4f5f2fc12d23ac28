//! One direction of one connection through the proxy: a reader, a bounded queue of what is due when, a writer.
//!
//! Owns: the bytes on their way. Never does: reorder them; go on behind a hole. Talks to: two halves of sockets.
//! Start reading at: `Lane::run`.

use std::{
    sync::{PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use rand::RngExt;
use rand_pcg::Pcg64Mcg;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::{ReadHalf, WriteHalf},
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

use super::{
    CHUNK_BYTES, CHUNKS_MAX, Direction, End, Flow, Mode, Once, Orders, Shared, TRICKLE_STEPS,
};

/// What is on its way.
enum Item {
    Bytes(Bytes),
    /// The sender closed its direction.
    Finished,
    /// The sender's side failed.
    Broken,
}

/// One direction of one connection.
pub(super) struct Lane<'a> {
    pub(super) direction: Direction,
    pub(super) orders: watch::Receiver<Orders>,
    pub(super) shared: &'a Shared,
    /// Bytes that are still to be lost before the cut.
    pub(super) eats: u64,
    /// How often all had been healed when that began.
    pub(super) heals: u64,
}

impl Lane<'_> {
    /// Carries bytes until this direction is over.
    pub(super) async fn run(self, from: ReadHalf<'_>, to: WriteHalf<'_>, rng: Pcg64Mcg) -> End {
        let (queue, due) = mpsc::channel(CHUNKS_MAX);
        let reader = read(from, queue, self.orders.clone(), self.direction, rng);
        // The reader's end is in the queue; the writer's end is this direction's.
        tokio::select! {
            biased;
            end = self.write(due, to) => end,
            () = async { reader.await; std::future::pending().await } => End::Cut,
        }
    }

    async fn write(
        mut self,
        mut due: mpsc::Receiver<(Instant, Item)>,
        mut to: WriteHalf<'_>,
    ) -> End {
        let mut damaged = false;
        loop {
            let (at, item) = tokio::select! {
                biased;
                // A hole in the bytes: nobody may go on behind it.
                () = self.changed_to_pass(), if damaged => return End::Cut,
                () = self.healed(), if self.eats > 0 => return End::Cut,
                next = due.recv() => match next {
                    Some(next) => next,
                    // The end of the stream itself fell into the hole: half-open until the mode ends.
                    None if damaged => {
                        self.changed_to_pass().await;
                        return End::Cut;
                    }
                    None => return End::Cut,
                },
            };
            sleep_until(at).await;
            let Ok(mode) = self.mode_when_moving().await else { return End::Cut };
            if mode == Mode::Discard {
                damaged = true;
                if let Item::Bytes(bytes) = item {
                    self.shared.stats.lost.fetch_add(bytes.len() as u64, Relaxed);
                }
                continue;
            }
            match item {
                _ if damaged => return End::Cut,
                Item::Broken => return End::Cut,
                Item::Finished => {
                    // Its other direction may be over already.
                    let _ = to.shutdown().await;
                    return End::Finished;
                }
                Item::Bytes(bytes) => {
                    if !self.pass(bytes, &mut to).await {
                        return End::Cut;
                    }
                }
            }
        }
    }

    async fn changed_to_pass(&self) {
        let (mut orders, direction) = (self.orders.clone(), self.direction);
        // The proxy itself is gone: then this task is, too.
        let _ = orders.wait_for(|now| now.flow(direction).mode == Mode::Pass).await;
    }

    async fn healed(&self) {
        let (mut orders, heals) = (self.orders.clone(), self.heals);
        // As above.
        let _ = orders.wait_for(|now| now.heals > heals).await;
    }

    async fn mode_when_moving(&mut self) -> Result<Mode, watch::error::RecvError> {
        let direction = self.direction;
        let moving = |now: &Orders| now.flow(direction).mode != Mode::Stall;
        Ok(self.orders.wait_for(moving).await?.flow(direction).mode)
    }

    /// Writes one chunk, as slowly as ordered. False: the connection ends here.
    async fn pass(&mut self, bytes: Bytes, to: &mut WriteHalf<'_>) -> bool {
        let (mut bytes, cut) = self.apply_once(bytes);
        while !bytes.is_empty() {
            let trickle = self.orders.borrow().flow(self.direction).trickle;
            let step = match trickle {
                0 => bytes.len(),
                rate => ((rate / TRICKLE_STEPS).max(1) as usize).min(bytes.len()),
            };
            let part = bytes.split_to(step);
            if to.write_all(&part).await.is_err() {
                return false;
            }
            self.shared.stats.passed.fetch_add(part.len() as u64, Relaxed);
            if trickle > 0 {
                sleep(Duration::from_secs_f64(step as f64 / f64::from(trickle))).await;
            }
        }
        !cut
    }

    /// What is left of a chunk, and whether the connection ends behind it.
    fn apply_once(&mut self, mut bytes: Bytes) -> (Bytes, bool) {
        if self.direction == Direction::Up {
            return (bytes, false);
        }
        let here = bytes.len() as u64;
        let mut once = self.shared.once.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Once::Eat(n)) = *once {
            (self.eats, *once) = (n.max(1), None);
            self.heals = self.orders.borrow().heals;
        }
        if self.eats > 0 {
            self.shared.stats.lost.fetch_add(here, Relaxed);
            self.eats = self.eats.saturating_sub(here);
            return (Bytes::new(), self.eats == 0);
        }
        let Some(Once::CutAfter(n)) = *once else { return (bytes, false) };
        let passed = n.min(here);
        bytes.truncate(passed as usize);
        let cut = passed < here;
        *once = if cut { None } else { Some(Once::CutAfter(n - passed)) };
        (bytes, cut)
    }
}

async fn read(
    mut from: ReadHalf<'_>,
    queue: mpsc::Sender<(Instant, Item)>,
    orders: watch::Receiver<Orders>,
    direction: Direction,
    mut rng: Pcg64Mcg,
) {
    let mut last = Instant::now();
    loop {
        let mut buffer = BytesMut::with_capacity(CHUNK_BYTES);
        let item = match from.read_buf(&mut buffer).await {
            Ok(0) => Item::Finished,
            Ok(_) => Item::Bytes(buffer.freeze()),
            Err(_) => Item::Broken,
        };
        let Flow { delay, jitter, .. } = *orders.borrow().flow(direction);
        let late = delay + jitter.mul_f64(rng.random());
        // Never before what came earlier.
        last = last.max(Instant::now() + late);
        let over = !matches!(item, Item::Bytes(_));
        if queue.send((last, item)).await.is_err() || over {
            return;
        }
    }
}
