//! Laws: conversations are born once, and nothing is stored under a membership that is no longer so.
//!
//! Owns: births, membership versions, heads from the archive. Never does: keys. Talks to: nobody.
//! Start reading at: [`laws`].

use protocol::{EventKind, limits};

use super::{
    Law, LogHarness, Outcome, append, begin, direct, ensure, envelope, group, message, partition,
    persist, same, store, text,
};
use crate::{Envelope, Verdict};

pub(super) fn laws<H: LogHarness>() -> Vec<Law<H>> {
    vec![
        ("a conversation is born by created", |h| Box::pin(birth(h))),
        ("an old membership version is stale", |h| Box::pin(stale(h))),
        ("a membership version survives a crash", |h| Box::pin(mver_survives(h))),
        ("heads come back from the archive", |h| Box::pin(heads_from_the_archive(h))),
    ]
}

fn under(mver: u64, mut envelope: Envelope) -> Envelope {
    envelope.mver = mver;
    envelope
}

async fn birth<H: LogHarness>(h: &mut H) -> Outcome {
    let log = h.log();
    let unborn = append(&log, &[message(5, 1)]).await?;
    same(&unborn, &vec![Verdict::UnknownConversation], "a message before the birth")?;
    let both = [envelope(direct(), 0, 1, EventKind::Created), under(0, message(5, 1))];
    same(&store(&log, &both).await?, &vec![1, 2], "a birth and a message in one batch")?;
    let again = [envelope(direct(), 8, 1, EventKind::Created)];
    let there = vec![Verdict::StaleMembership { mver: 0 }];
    same(&append(&log, &again).await?, &there, "a second birth under another key")?;
    let dup = append(&log, &both[..1]).await?;
    ensure(matches!(dup[..], [Verdict::Dup { seq: 1, .. }]), || format!("its own: {dup:?}"))
}

async fn stale<H: LogHarness>(h: &mut H) -> Outcome {
    let log = h.log();
    store(&log, &[envelope(group(), 0, 1, EventKind::Created)]).await?;
    let say = |no, mver| under(mver, envelope(group(), 5, no, EventKind::Message));
    let change = |no, mver| under(mver, envelope(group(), 6, no, EventKind::Member));
    let end = log.end(partition(&log)).await.map_err(text)?;
    let unborn = append(&log, &[say(1, 0)]).await?;
    same(&unborn, &vec![Verdict::StaleMembership { mver: 1 }], "authorised before the birth")?;
    same(&log.end(partition(&log)).await.map_err(text)?, &end, "the end after a refusal")?;
    let verdicts = append(&log, &[say(1, 1), change(1, 1), say(2, 1), say(2, 3)]).await?;
    let fits = matches!(
        verdicts[..],
        [
            Verdict::Stored { seq: 2, .. },
            Verdict::Stored { seq: 3, .. },
            Verdict::StaleMembership { mver: 3 },
            Verdict::Stored { seq: 4, .. }
        ]
    );
    ensure(fits, || format!("a change in the middle of a batch: {verdicts:?}"))?;
    let lost = append(&log, &[change(2, 1)]).await?;
    same(&lost, &vec![Verdict::StaleMembership { mver: 3 }], "the loser of two changes")
}

async fn mver_survives<H: LogHarness>(h: &mut H) -> Outcome {
    store(&h.log(), &[envelope(group(), 0, 1, EventKind::Created)]).await?;
    store(&h.log(), &[under(1, envelope(group(), 6, 1, EventKind::Member))]).await?;
    // The last event before the crash is no membership event: the version must come from it all the same.
    store(&h.log(), &[under(2, envelope(group(), 5, 1, EventKind::Message))]).await?;
    h.crash().await;
    let say = |mver| under(mver, envelope(group(), 5, 2, EventKind::Message));
    let stale = append(&h.log(), &[say(1)]).await?;
    same(&stale, &vec![Verdict::StaleMembership { mver: 2 }], "after a crash")?;
    same(&store(&h.log(), &[say(2)]).await?, &vec![4], "the next seq")
}

/// Everything of a conversation is stored, old and trimmed away; then somebody writes.
async fn heads_from_the_archive<H: LogHarness>(h: &mut H) -> Outcome {
    begin(&h.log()).await?;
    store(&h.log(), &[envelope(group(), 0, 1, EventKind::Created)]).await?;
    store(&h.log(), &[under(1, envelope(group(), 6, 1, EventKind::Member))]).await?;
    for no in 1..=4 {
        persist(h).await?;
        h.pass(limits::DEDUPE_MS.max(h.retention_ms()) + 1);
        store(&h.log(), &[message(99, no)]).await?;
    }
    persist(h).await?;
    let log = h.log();
    let upto = log.trimmable(partition(&log)).await.map_err(text)?;
    log.trim(partition(&log), upto).await.map_err(text)?;
    drop(log);
    h.crash().await;
    let say = |mver| under(mver, envelope(group(), 5, 1, EventKind::Message));
    let stale = append(&h.log(), &[say(1)]).await?;
    same(&stale, &vec![Verdict::StaleMembership { mver: 2 }], "the version in the archive")?;
    same(&store(&h.log(), &[say(2)]).await?, &vec![3], "the seq after the archive's head")
}
