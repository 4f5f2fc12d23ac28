//! Laws: followers get every batch, once, in order, or are told what is missing.
//!
//! Owns: followers and reads. Never does: trimming for its own sake. Talks to: nobody. Start reading at: [`laws`].

use std::sync::Arc;

use protocol::Pos;

use super::{
    Law, LogHarness, Outcome, begin, ensure, message, messages, partition, persist, read_all, same,
    store, text,
};
use crate::{Batch, Gap, Log, ReadError};

pub(super) fn laws<H: LogHarness>() -> Vec<Law<H>> {
    vec![
        ("a follower gets everything once in order", |h| Box::pin(in_order(h))),
        ("a follower that is dropped while it waits loses nothing", |h| Box::pin(cancel_safe(h))),
        ("no n is skipped without a Gap", |h| Box::pin(gap_is_told(h))),
        ("a read is bounded and makes progress", |h| Box::pin(bounded_read(h))),
        ("a batch fits the caps that info names", |h| Box::pin(caps(h))),
    ]
}

/// Starts behind, catches up while others append, and goes on live.
async fn in_order<H: LogHarness>(h: &mut H) -> Outcome {
    const BEFORE: u64 = 80;
    const AFTER: u64 = 80;
    let log = h.log();
    begin(&log).await?;
    for no in 1..=BEFORE {
        store(&log, &[message(5, no)]).await?;
    }
    let first = log.first(partition(&log)).await.map_err(text)?;
    let mut follower = log.follow(partition(&log), first);
    let writing = Arc::clone(&log);
    let writer = tokio::spawn(async move {
        for no in BEFORE + 1..=BEFORE + AFTER {
            store(&writing, &[message(5, no)]).await?;
        }
        Ok::<(), String>(())
    });
    let mut seen: Vec<Arc<Batch>> = Vec::new();
    for n in 1..=1 + BEFORE + AFTER {
        let batch = follower.next().await.map_err(text)?;
        same(&batch.pos.n, &(first.n + n), "n of a follower")?;
        seen.push(batch);
    }
    writer.await.map_err(text)??;
    ensure(seen == read_all(&log).await?, || "followed and read differ".to_owned())
}

async fn cancel_safe<H: LogHarness>(h: &mut H) -> Outcome {
    let log = h.log();
    begin(&log).await?;
    let end = log.end(partition(&log)).await.map_err(text)?;
    let mut follower = log.follow(partition(&log), end);
    for no in 1..=20 {
        let mut waiting = follower.next();
        let early = std::future::poll_fn(|context| {
            std::task::Poll::Ready(waiting.as_mut().poll(context).is_ready())
        })
        .await;
        ensure(!early, || format!("a batch before no {no} was appended"))?;
        drop(waiting);
        store(&log, &[message(5, no)]).await?;
        let batch = follower.next().await.map_err(text)?;
        same(&batch.pos.n, &(end.n + no), "n after a dropped wait")?;
    }
    Ok(())
}

/// Stored, old and trimmed up to somewhere in the middle.
pub(super) async fn trimmed<H: LogHarness>(h: &mut H) -> Result<(Arc<dyn Log>, Pos), String> {
    let log = h.log();
    begin(&log).await?;
    for no in 1..=200 {
        store(&log, &[message(5, no)]).await?;
    }
    persist(h).await?;
    h.pass(h.retention_ms() + 1);
    store(&log, &messages(6, 1..=3)).await?;
    let upto = log.trimmable(partition(&log)).await.map_err(text)?;
    ensure(upto.n > 0, || "nothing can be trimmed although all is stored and old".to_owned())?;
    log.trim(partition(&log), upto).await.map_err(text)?;
    Ok((log, upto))
}

async fn gap_is_told<H: LogHarness>(h: &mut H) -> Outcome {
    let (log, upto) = trimmed(h).await?;
    let lost = Pos::new(upto.epoch, upto.n - 1);
    let first = Pos::new(upto.epoch, upto.n + 1);
    let told = log.read(partition(&log), lost, 1).await;
    same(&told, &Err(ReadError::Trimmed { first }), "a read behind the trim")?;
    match log.follow(partition(&log), lost).next().await {
        Err(Gap::Trimmed { first: there }) => same(&there, &first, "where a Gap says to go on")?,
        other => return Err(format!("a follower behind the trim: {other:?}")),
    }
    let next = log.follow(partition(&log), upto).next().await.map_err(text)?;
    same(&next.pos, &first, "the first batch behind the trim")
}

async fn bounded_read<H: LogHarness>(h: &mut H) -> Outcome {
    let log = h.log();
    begin(&log).await?;
    for no in 1..=30 {
        store(&log, &[message(5, no)]).await?;
    }
    let all = read_all(&log).await?;
    for (i, batch) in all.iter().enumerate().skip(1) {
        let one = log.read(partition(&log), all[i - 1].pos, 1).await.map_err(text)?;
        same(&one, &vec![Arc::clone(batch)], "a read of one byte")?;
    }
    let end = log.end(partition(&log)).await.map_err(text)?;
    same(&all.last().map(|batch| batch.pos), &Some(end), "the end")?;
    let none = log.read(partition(&log), end, usize::MAX).await.map_err(text)?;
    ensure(none.is_empty(), || format!("{} batches behind the end", none.len()))
}

/// The largest batch that `info` allows is taken, and found again after a crash.
async fn caps<H: LogHarness>(h: &mut H) -> Outcome {
    let log = h.log();
    begin(&log).await?;
    let info = log.info();
    ensure(!info.durability.is_empty() && info.partitions > 0, || format!("{info:?}"))?;
    let cost = message(5, 1_000).cost();
    let count = info.batch_envelopes_max.min(info.batch_bytes_max / cost) as u64;
    same(&store(&log, &messages(5, 1..=count)).await?.len(), &(count as usize), "the largest")?;
    drop(log);
    h.crash().await;
    let stored: usize = read_all(&h.log()).await?.iter().map(|batch| batch.events.len()).sum();
    same(&stored, &(count as usize + 1), "events after a crash")
}
