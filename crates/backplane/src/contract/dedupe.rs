//! Laws: the same publish is stored once, however often and however late it comes.
//!
//! Owns: keys and numbers of producers. Never does: membership. Talks to: nobody. Start reading at: [`laws`].

use bytes::Bytes;
use protocol::{EventKind, Pos, limits};

use super::{
    Law, LogHarness, Outcome, append, begin, dense_and_unique, direct, events_of, message,
    messages, partition, persist, read_all, same, store, text,
};
use crate::{Archive, Earlier, Envelope, Verdict};

pub(super) fn laws<H: LogHarness>() -> Vec<Law<H>> {
    vec![
        ("the same batch twice is all Dup", |h| Box::pin(same_batch_twice(h))),
        ("a duplicate is told what the first one was told", |h| Box::pin(told_the_same(h))),
        ("a key with other content is Reused", |h| Box::pin(reused(h))),
        ("numbers of a producer leave no gap", |h| Box::pin(numbers(h))),
        ("what the log forgot the archive knows", |h| Box::pin(beyond_the_window(h))),
        ("a re-send after 15 minutes is stored once", |h| Box::pin(late_resend(h))),
        ("a first publish after 15 minutes is stored once", |h| Box::pin(late_first(h))),
        ("what an append makes the log forget it still recognises", |h| {
            Box::pin(forgotten_by_itself(h))
        }),
        ("nothing above W is forgotten", |h| Box::pin(unstored_is_remembered(h))),
    ]
}

/// What those who were stored are told when they come again.
fn dups(verdicts: &[Verdict]) -> Vec<Verdict> {
    let again = |verdict: &Verdict| match *verdict {
        Verdict::Stored { seq, pos, ts } => Verdict::Dup { seq, pos, ts },
        other => other,
    };
    verdicts.iter().map(again).collect()
}

async fn same_batch_twice<H: LogHarness>(h: &mut H) -> Outcome {
    begin(&h.log()).await?;
    let batch = messages(5, 1..=4);
    let first = append(&h.log(), &batch).await?;
    for crash in [false, true] {
        if crash {
            h.crash().await;
        }
        let log = h.log();
        let end = log.end(partition(&log)).await.map_err(text)?;
        same(&append(&log, &batch).await?, &dups(&first), "verdicts of a re-send")?;
        same(&log.end(partition(&log)).await.map_err(text)?, &end, "the end after a re-send")?;
    }
    let twice = [message(6, 1), message(6, 1)];
    let verdicts = append(&h.log(), &twice).await?;
    let dup = matches!(verdicts[..], [Verdict::Stored { seq: 6, .. }, Verdict::Dup { seq: 6, .. }]);
    super::ensure(dup, || format!("one envelope twice in a batch: {verdicts:?}"))?;
    dense_and_unique(&events_of(&read_all(&h.log()).await?, direct()))
}

/// From memory, after a restart, and (without the batch's place, which is below W then) from the archive.
async fn told_the_same<H: LogHarness>(h: &mut H) -> Outcome {
    begin(&h.log()).await?;
    let mut first = append(&h.log(), &[message(5, 1)]).await?;
    h.pass(1_000);
    first.extend(append(&h.log(), &messages(5, 2..=3)).await?);
    for crash in [false, true] {
        if crash {
            h.crash().await;
        }
        h.pass(1_000);
        let again = append(&h.log(), &messages(5, 1..=3)).await?;
        same(&again, &dups(&first), "verdicts of a re-send a second later")?;
    }
    let [.., Verdict::Stored { seq, pos, ts }] = first[..] else {
        return Err(format!("not stored: {first:?}"));
    };
    persist(h).await?;
    let found = h.archive().find(message(5, 3).key()).await.map_err(text)?;
    let hash = message(5, 3).hash;
    let earlier = Earlier { no: 3, hash, seq, pos: Pos::new(pos.epoch, 0), ts };
    same(&found.stored, &Some(earlier), "what the archive knows")?;
    same(&found.producer.and_then(|p| p.recent.last().copied()), &Some(earlier), "and installs")
}

async fn reused<H: LogHarness>(h: &mut H) -> Outcome {
    let log = h.log();
    begin(&log).await?;
    store(&log, &messages(5, 1..=2)).await?;
    let other =
        Envelope::new(message(5, 2).key(), 0, EventKind::Message, Bytes::from_static(b"{}"));
    same(&append(&log, &[other]).await?, &vec![Verdict::Reused { seq: 3 }], "other content")?;
    same(&store(&log, &[message(5, 3)]).await?, &vec![4], "the next number")
}

async fn numbers<H: LogHarness>(h: &mut H) -> Outcome {
    begin(&h.log()).await?;
    store(&h.log(), &messages(5, 1..=2)).await?;
    h.crash().await;
    let log = h.log();
    let gap = vec![Verdict::OutOfOrder { expected: 3 }];
    same(&append(&log, &[message(5, 4)]).await?, &gap, "a gap")?;
    let verdicts = append(&log, &[message(5, 4), message(5, 3), message(5, 4)]).await?;
    let fits = matches!(
        verdicts[..],
        [
            Verdict::OutOfOrder { expected: 3 },
            Verdict::Stored { seq: 4, .. },
            Verdict::Stored { seq: 5, .. }
        ]
    );
    super::ensure(fits, || format!("a batch that closes its own gap: {verdicts:?}"))
}

/// More publishes than the log keeps, and a producer of which it knows nothing.
async fn beyond_the_window<H: LogHarness>(h: &mut H) -> Outcome {
    begin(&h.log()).await?;
    let window = limits::DEDUPE_WINDOW as u64;
    store(&h.log(), &messages(5, 1..=window + 3)).await?;
    persist(h).await?;
    let log = h.log();
    same(&append(&log, &[message(5, 3)]).await?, &vec![Verdict::OldId], "beyond the window")?;
    let oldest = message(5, 4);
    let verdicts = append(&log, std::slice::from_ref(&oldest)).await?;
    super::ensure(matches!(verdicts[..], [Verdict::Dup { seq: 5, .. }]), || {
        format!("the oldest that is kept: {verdicts:?}")
    })?;
    let found = h.archive().find(message(5, 3).key()).await.map_err(text)?;
    same(&found.stored.map(|earlier| earlier.seq), &Some(4), "what the archive knows")?;
    same(&append(&log, &[message(6, 9)]).await?, &vec![Verdict::OldId], "nothing known")?;
    log.install(direct(), message(6, 9).from, message(6, 9).producer, Default::default())
        .await
        .map_err(text)?;
    let gap = vec![Verdict::OutOfOrder { expected: 1 }];
    same(&append(&log, &[message(6, 9)]).await?, &gap, "known to have nothing")?;
    let state = crate::ProducerState { last: 8, recent: Vec::new() };
    log.install(direct(), message(6, 9).from, message(6, 9).producer, state).await.map_err(text)?;
    same(&append(&log, &[message(6, 9)]).await?, &gap, "install only where nothing is known")
}

/// Makes the log forget all that is stored: time passes, and others publish.
async fn forget<H: LogHarness>(h: &mut H) -> Outcome {
    for no in 1..=4 {
        persist(h).await?;
        h.pass(limits::DEDUPE_MS + 1);
        store(&h.log(), &[message(99, no)]).await?;
    }
    persist(h).await.map(|_| ())
}

async fn late_resend<H: LogHarness>(h: &mut H) -> Outcome {
    begin(&h.log()).await?;
    store(&h.log(), &messages(5, 1..=3)).await?;
    forget(h).await?;
    let (log, late) = (h.log(), message(5, 3));
    let verdicts = append(&log, std::slice::from_ref(&late)).await?;
    match verdicts[..] {
        [Verdict::Dup { seq: 4, .. }] => {}
        [Verdict::OldId] => {
            let found = h.archive().find(late.key()).await.map_err(text)?;
            same(&found.stored.map(|earlier| earlier.seq), &Some(4), "what the archive knows")?;
            let state = found.producer.unwrap_or_default();
            log.install(direct(), late.from, late.producer, state).await.map_err(text)?;
        }
        _ => return Err(format!("a re-send after 15 minutes: {verdicts:?}")),
    }
    same(&store(&log, &[message(5, 4)]).await?, &vec![9], "the publish after it")?;
    dense_and_unique(&events_of(&read_all(&log).await?, direct()))
}

async fn late_first<H: LogHarness>(h: &mut H) -> Outcome {
    if !h.recognises_late_first() {
        return Ok(());
    }
    begin(&h.log()).await?;
    store(&h.log(), &[message(5, 1)]).await?;
    forget(h).await?;
    let verdicts = append(&h.log(), &[message(5, 1)]).await?;
    super::ensure(matches!(verdicts[..], [Verdict::Dup { seq: 2, .. }]), || {
        format!("a first publish after 15 minutes: {verdicts:?}")
    })
}

/// Found by the simulator: the archive was asked first, and then the generation dropped that held the publish.
async fn forgotten_by_itself<H: LogHarness>(h: &mut H) -> Outcome {
    if !h.recognises_late_first() {
        return Ok(());
    }
    begin(&h.log()).await?;
    store(&h.log(), &[message(5, 1)]).await?;
    persist(h).await?;
    h.pass(limits::DEDUPE_MS + 1);
    store(&h.log(), &[message(99, 1)]).await?;
    persist(h).await?;
    h.pass(limits::DEDUPE_MS + 1);
    let verdicts = append(&h.log(), &[message(5, 1)]).await?;
    super::ensure(matches!(verdicts[..], [Verdict::Dup { seq: 2, .. }]), || {
        format!("a re-send whose own append ends its generation: {verdicts:?}")
    })
}

async fn unstored_is_remembered<H: LogHarness>(h: &mut H) -> Outcome {
    begin(&h.log()).await?;
    let first = append(&h.log(), &messages(5, 1..=3)).await?;
    for no in 1..=4 {
        h.pass(limits::DEDUPE_MS + 1);
        store(&h.log(), &[message(99, no)]).await?;
    }
    let verdicts = append(&h.log(), &messages(5, 1..=3)).await?;
    same(&verdicts, &dups(&first), "an hour without a persister")
}
