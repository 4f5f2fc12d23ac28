//! Laws: W only grows and only by its owner; nothing above W − retention is trimmed; numbering goes on behind a trim.
//!
//! Owns: W, leases, trim. Never does: dedupe. Talks to: nobody. Start reading at: [`laws`].

use protocol::Pos;

use super::{
    Law, LogHarness, Outcome, begin, dense_and_unique, direct, ensure, events_of, following,
    message, partition, persist, read_after, read_all, same, store, text,
};
use crate::{Lease, LogError};

pub(super) fn laws<H: LogHarness>() -> Vec<Law<H>> {
    vec![
        ("trim stops at W − retention", |h| Box::pin(trim_stops(h))),
        ("append goes on after trim and crash", |h| Box::pin(append_after_trim(h))),
        ("W is monotone and needs the newest lease", |h| Box::pin(watermark(h))),
    ]
}

fn refused<T: std::fmt::Debug>(result: &Result<T, LogError>, what: &str) -> Outcome {
    ensure(matches!(result, Err(LogError::Refused(_))), || format!("{what}: {result:?}"))
}

async fn trim_stops<H: LogHarness>(h: &mut H) -> Outcome {
    let log = h.log();
    begin(&log).await?;
    for no in 1..=150 {
        store(&log, &[message(5, no)]).await?;
    }
    let p = partition(&log);
    let stored = persist(h).await?;
    refused(&log.trim(p, Pos::new(stored.epoch, 1)).await, "a trim of what is stored and young")?;
    h.pass(h.retention_ms() + 1);
    for no in 151..=160 {
        store(&log, &[message(5, no)]).await?;
    }
    let above = Pos::new(stored.epoch, stored.n + 5);
    refused(&log.trim(p, above).await, "a trim above W")?;
    let floor = log.trimmable(p).await.map_err(text)?;
    ensure(floor.n > 0 && floor <= stored, || format!("trimmable {floor}, W {stored}"))?;
    refused(&log.trim(p, Pos::new(floor.epoch, floor.n + 1)).await, "a trim above trimmable")?;
    log.trim(p, floor).await.map_err(text)?;
    same(&log.first(p).await.map_err(text)?, &floor, "first after a trim")?;
    let rest = read_after(&log, stored).await?;
    same(&rest.len(), &10, "batches above W after a trim")
}

async fn append_after_trim<H: LogHarness>(h: &mut H) -> Outcome {
    let (log, upto) = following::trimmed(h).await?;
    let seqs = store(&log, &[message(5, 201)]).await?;
    same(&seqs, &vec![205], "the seq after a trim")?;
    let end = log.end(partition(&log)).await.map_err(text)?;
    drop(log);
    h.crash().await;
    let log = h.log();
    same(&log.end(partition(&log)).await.map_err(text)?, &end, "the end after a trim and a crash")?;
    same(&store(&log, &[message(5, 202)]).await?, &vec![206], "the seq after both")?;
    let first = log.first(partition(&log)).await.map_err(text)?;
    ensure(first <= upto, || format!("first is {first}, trimmed was {upto}"))?;
    // What trim and crash left is a gapless end of the conversation.
    let events = events_of(&read_all(&log).await?, direct());
    let lowest = events.first().map_or(0, |(seq, _)| *seq);
    let moved: Vec<_> = events.iter().map(|(seq, key)| (seq + 1 - lowest, *key)).collect();
    dense_and_unique(&moved)
}

async fn watermark<H: LogHarness>(h: &mut H) -> Outcome {
    let log = h.log();
    let p = partition(&log);
    begin(&log).await?;
    for no in 1..=5 {
        store(&log, &[message(5, no)]).await?;
    }
    let end = log.end(p).await.map_err(text)?;
    let at = |n: u64| Pos::new(end.epoch, n);
    let zombie = log.lease(p).await.map_err(text)?;
    let owner = log.lease(p).await.map_err(text)?;
    ensure(owner > zombie, || format!("lease {owner:?} after {zombie:?}"))?;
    refused(&log.advance(p, at(2), zombie).await, "an advance by an older lease")?;
    refused(&log.advance(p, at(2), Lease(owner.0 + 1)).await, "an advance by no lease")?;
    refused(&log.advance(p, at(end.n + 1), owner).await, "an advance above the end")?;
    log.advance(p, at(4), owner).await.map_err(text)?;
    log.advance(p, at(2), owner).await.map_err(text)?;
    same(&log.watermark(p).await.map_err(text)?, &at(4), "W after a step back")
}
