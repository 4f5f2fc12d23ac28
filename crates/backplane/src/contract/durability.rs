//! Laws: what was answered stays, what was read stays, a batch is all or nothing, numbers never fall.
//!
//! Owns: crashes. Never does: dedupe for its own sake. Talks to: nobody. Start reading at: [`laws`].

use std::sync::{Arc, Mutex, PoisonError};

use protocol::EventKind;

use super::{
    Law, LogHarness, Outcome, append, begin, dense_and_unique, direct, ensure, envelope, events_of,
    message, messages, partition, read_all, same, store, text,
};
use crate::{Batch, Envelope, Verdict};

pub(super) fn laws<H: LogHarness>() -> Vec<Law<H>> {
    vec![
        ("stored is in read after a crash", |h| Box::pin(stored_survives(h))),
        ("followed is in read after a crash", |h| Box::pin(followed_survives(h))),
        ("a batch is all or nothing", |h| Box::pin(all_or_nothing(h))),
        ("a lost reply is found out by the same batch", |h| Box::pin(lost_reply(h))),
        ("heads never fall", |h| Box::pin(heads_never_fall(h))),
        ("one bad envelope leaves the others together", |h| Box::pin(one_bad_envelope(h))),
        ("two nodes append into one order", |h| Box::pin(two_nodes(h))),
    ]
}

/// Each crash follows a verdict at once: nothing later helps it to become durable.
async fn stored_survives<H: LogHarness>(h: &mut H) -> Outcome {
    begin(&h.log()).await?;
    for no in 1..=12 {
        let asked = message(5, no);
        let verdicts = append(&h.log(), std::slice::from_ref(&asked)).await?;
        let [Verdict::Stored { seq, pos, ts }] = verdicts[..] else {
            return Err(format!("wanted Stored, got {verdicts:?}"));
        };
        if no % 3 == 0 {
            h.crash().await;
        }
        let batches = read_all(&h.log()).await?;
        let there = batches.iter().find(|batch| batch.pos == pos && batch.ts == ts);
        let event = there.and_then(|batch| batch.events.iter().find(|event| event.seq == seq));
        let envelope = event.map(|event| &event.envelope);
        ensure(envelope == Some(&asked), || format!("no {no} is not at {pos} with seq {seq}"))?;
    }
    dense_and_unique(&events_of(&read_all(&h.log()).await?, direct()))
}

async fn followed_survives<H: LogHarness>(h: &mut H) -> Outcome {
    let log = h.log();
    begin(&log).await?;
    let first = log.first(partition(&log)).await.map_err(text)?;
    let (seen, writing) = (Arc::new(Mutex::new(Vec::new())), Arc::clone(&log));
    let (mut follower, seeing) = (log.follow(partition(&log), first), Arc::clone(&seen));
    let follow = tokio::spawn(async move {
        while let Ok(batch) = follower.next().await {
            seeing.lock().unwrap_or_else(PoisonError::into_inner).push(batch);
        }
    });
    let write = tokio::spawn(async move {
        let mut appender = writing.appender(partition(&writing));
        for no in 1.. {
            if appender.append(&[message(5, no)]).await.is_err() {
                return;
            }
        }
    });
    let count =
        |seen: &Mutex<Vec<Arc<Batch>>>| seen.lock().unwrap_or_else(PoisonError::into_inner).len();
    while count(&seen) < 10 {
        tokio::task::yield_now().await;
    }
    // What it returns after this line may be of a run that is over; it is not looked at.
    let followed = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    stop(write).await;
    stop(follow).await;
    drop(log);
    h.crash().await;
    let batches = read_all(&h.log()).await?;
    for batch in followed {
        ensure(batches.contains(&batch), || format!("{} was followed and is gone", batch.pos))?;
    }
    Ok(())
}

/// Whether it ended by itself or here makes no difference.
async fn stop(task: tokio::task::JoinHandle<()>) {
    task.abort();
    let _ = task.await;
}

/// Four nodes append batches of five until one crash ends them all, with batches under way.
async fn all_or_nothing<H: LogHarness>(h: &mut H) -> Outcome {
    const SIZE: u64 = 5;
    begin(&h.log()).await?;
    let acked = Arc::new(Mutex::new(Vec::new()));
    let nodes: Vec<_> = (1..=4)
        .map(|producer| {
            let (log, acked) = (h.log(), Arc::clone(&acked));
            tokio::spawn(async move {
                let mut appender = log.appender(partition(&log));
                for round in 0.. {
                    let batch = messages(producer, round * SIZE + 1..=(round + 1) * SIZE);
                    let Ok(verdicts) = appender.append(&batch).await else { return };
                    let mut acked = acked.lock().unwrap_or_else(PoisonError::into_inner);
                    acked.extend(batch.iter().map(Envelope::key).zip(verdicts));
                }
            })
        })
        .collect();
    while acked.lock().unwrap_or_else(PoisonError::into_inner).len() < 200 {
        tokio::task::yield_now().await;
    }
    let acked = acked.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for node in nodes {
        stop(node).await;
    }
    h.crash().await;
    let batches = read_all(&h.log()).await?;
    let events = events_of(&batches, direct());
    dense_and_unique(&events)?;
    for (key, verdict) in acked {
        let Verdict::Stored { seq, .. } = verdict else {
            return Err(format!("wanted Stored, got {verdict:?}"));
        };
        ensure(events.contains(&(seq, key)), || format!("{key:?} was acked and is gone"))?;
    }
    for producer in 1..=4 {
        let mine = |batch: &Batch| {
            batch.events.iter().filter(|e| e.envelope.producer.0 == producer).count() as u64
        };
        let parts: Vec<u64> = batches.iter().map(|batch| mine(batch)).collect();
        ensure(parts.iter().all(|part| part % SIZE == 0), || format!("torn batches: {parts:?}"))?;
    }
    Ok(())
}

/// The caller is gone before the answer; whether the batch was stored, only the same batch again can tell.
async fn lost_reply<H: LogHarness>(h: &mut H) -> Outcome {
    begin(&h.log()).await?;
    for (round, crash) in [(0, false), (1, true), (2, false), (3, true)] {
        let batch = messages(5, round * 3 + 1..=round * 3 + 3);
        let log = h.log();
        let mut appender = log.appender(partition(&log));
        // Polled once: under way, and then nobody listens any more.
        let mut lost = appender.append(&batch);
        let _ = std::future::poll_fn(|context| {
            std::task::Poll::Ready(lost.as_mut().poll(context).is_ready())
        })
        .await;
        drop(lost);
        drop((appender, log));
        if crash {
            h.crash().await;
        }
        let verdicts = append(&h.log(), &batch).await?;
        let seqs: Vec<u64> = verdicts
            .iter()
            .filter_map(|verdict| match verdict {
                Verdict::Stored { seq, .. } | Verdict::Dup { seq, .. } => Some(*seq),
                _ => None,
            })
            .collect();
        let first = 2 + round * 3;
        same(&seqs, &(first..first + 3).collect(), "seqs after a lost reply")?;
    }
    dense_and_unique(&events_of(&read_all(&h.log()).await?, direct()))
}

async fn heads_never_fall<H: LogHarness>(h: &mut H) -> Outcome {
    begin(&h.log()).await?;
    let (mut head, mut ordinal, mut epoch) = (1, 0, 0);
    for no in 1..=9 {
        let kind = if no % 3 == 0 { EventKind::Reaction } else { EventKind::Message };
        let verdicts = append(&h.log(), &[envelope(direct(), 5, no, kind)]).await?;
        let [Verdict::Stored { seq, pos, .. }] = verdicts[..] else {
            return Err(format!("wanted Stored, got {verdicts:?}"));
        };
        ensure(pos.epoch > epoch || (pos.epoch == epoch && seq == head + 1), || {
            format!("seq {seq} in epoch {} after {head} in {epoch}", pos.epoch)
        })?;
        let batches = read_all(&h.log()).await?;
        let last = batches.last().and_then(|batch| batch.events.last()).map(|e| e.ordinal);
        ordinal += u64::from(kind == EventKind::Message);
        same(&last, &Some(ordinal), "messages so far")?;
        (head, epoch) = (seq, pos.epoch);
        if no % 2 == 0 {
            h.crash().await;
        }
    }
    Ok(())
}

async fn one_bad_envelope<H: LogHarness>(h: &mut H) -> Outcome {
    let log = h.log();
    begin(&log).await?;
    let batch = [message(5, 1), message(5, 9), message(5, 2), message(6, 1)];
    let verdicts = append(&log, &batch).await?;
    let [
        Verdict::Stored { seq: 2, pos: a, .. },
        Verdict::OutOfOrder { expected: 2 },
        Verdict::Stored { seq: 3, pos: b, .. },
        Verdict::Stored { seq: 4, pos: c, .. },
    ] = verdicts[..]
    else {
        return Err(format!("{verdicts:?}"));
    };
    ensure(a == b && b == c, || format!("one batch at {a}, {b} and {c}"))?;
    let seqs = store(&log, &[message(5, 3)]).await?;
    same(&seqs, &vec![5], "the seq after a refused envelope")
}

/// Two appenders, two followers: both see one order, in which each node's own order is kept.
async fn two_nodes<H: LogHarness>(h: &mut H) -> Outcome {
    const EACH: u64 = 60;
    let log = h.log();
    begin(&log).await?;
    let after = log.end(partition(&log)).await.map_err(text)?;
    let node = |producer: u64| {
        let log = h.log();
        tokio::spawn(async move {
            for no in 1..=EACH {
                store(&log, &[message(producer, no)]).await?;
            }
            Ok::<(), String>(())
        })
    };
    let (a, b) = (node(1), node(2));
    let mut seen: Vec<Vec<Arc<Batch>>> = Vec::new();
    for _ in 0..2 {
        let mut follower = log.follow(partition(&log), after);
        let (mut batches, mut events) = (Vec::new(), 0);
        while events < 2 * EACH as usize {
            let batch = follower.next().await.map_err(text)?;
            events += batch.events.len();
            batches.push(batch);
        }
        seen.push(batches);
    }
    a.await.map_err(text)??;
    b.await.map_err(text)??;
    ensure(seen[0] == seen[1], || "two followers saw different logs".to_owned())?;
    for producer in 1..=2 {
        let numbers: Vec<u64> = events_of(&seen[0], direct())
            .iter()
            .filter(|(_, key)| key.producer.0 == producer)
            .map(|(_, key)| key.no)
            .collect();
        same(&numbers, &(1..=EACH).collect(), "a node's own order")?;
    }
    dense_and_unique(&events_of(&read_all(&log).await?, direct()))
}
