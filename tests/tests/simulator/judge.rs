//! The verdict on a run: the load test's checker for H1–H7 and H9, and what only the simulation knows: who was a member when.
//!
//! Start reading at [`judge`].

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use backplane::{Archive, Envelope, Key, Logged, StoredEvent, memory_archive::MemoryArchive};
use loadtest::{
    checker,
    history::{Final, Gauge, History, Log, Outcome, Slot},
};
use protocol::{ConversationId, EventKind, UserId, limits};

use crate::{
    office::slots_of,
    world::{Stats, at_once},
};

/// Seqs from the first to the last, both included.
type Spans = Vec<(u64, u64)>;

/// Who was in a conversation when, and who may see what.
#[derive(Default)]
struct Rights {
    /// May write: from the joining event's seq up to the removal's.
    member: BTreeMap<UserId, Spans>,
    /// May see: from `since` up to the removal's seq.
    sees: BTreeMap<UserId, Spans>,
}

/// Judges what devices saw against what the store holds in the end.
pub(crate) fn judge(
    mut logs: Vec<(UserId, Log)>,
    conversations: &[ConversationId],
    archive: &MemoryArchive,
    epoch: u32,
) -> Result<Stats, String> {
    let mut wrong = Vec::new();
    let mut history = History::default();
    for conversation in conversations {
        let events = all_events(*conversation, archive);
        let rights = rights_of(*conversation, &events);
        check_senders(*conversation, &events, &rights, &mut wrong);
        let slots = slots_of(1, &events);
        logs.iter_mut().for_each(|(user, log)| excuse(*conversation, *user, log, &rights, epoch));
        for (user, log) in &logs {
            check_sight(*conversation, *user, log, &rights, &mut wrong);
            check_complete(*conversation, *user, log, &rights, &slots, &mut wrong);
        }
        history.last.insert(*conversation, Final { slots, first: 1 });
    }
    for (_, log) in &mut logs {
        // Each node tells what it knows of W, and one that lags is told of after one that does not.
        log.observations.retain(|seen| seen.gauge != Gauge::Persisted);
    }
    let fingerprint = fingerprint(&logs);
    history.logs = logs.into_iter().map(|(_, log)| log).collect();
    let report = checker::check(&history);
    if !report.holds() {
        wrong.push(report.to_string());
    }
    if !wrong.is_empty() {
        return Err(wrong.join("\n"));
    }
    let (publishes, acked, refused) = (report.publishes, report.acked, report.failed);
    let deliveries = report.deliveries;
    Ok(Stats { publishes, acked, refused, deliveries, fingerprint, ..Stats::default() })
}

/// What an earlier epoch acked and a stale log lost comes back from its author's pendings, unless they were removed before
/// they could send it again: no ack can promise that (RELIABILITY.md §1).
fn excuse(conversation: ConversationId, user: UserId, log: &mut Log, rights: &Rights, epoch: u32) {
    let mut spans = rights.member.get(&user).into_iter().flatten();
    let removed = conversation.is_group() && spans.any(|(_, until)| *until != u64::MAX);
    for publish in log.publishes.iter_mut().filter(|publish| publish.conversation == conversation) {
        if matches!(publish.outcome, Outcome::Ok { epoch: acked, .. } if removed && acked < epoch) {
            publish.outcome = Outcome::Info;
        }
    }
}

fn all_events(conversation: ConversationId, archive: &MemoryArchive) -> Vec<StoredEvent> {
    let mut events: Vec<StoredEvent> = Vec::new();
    loop {
        let from = events.last().map_or(1, |event| event.seq + 1);
        let page = at_once(archive.range(conversation, from, u64::MAX)).unwrap_or_default();
        let last = page.len() < limits::PAGE_MAX;
        events.extend(page);
        if last {
            return events;
        }
    }
}

fn rights_of(conversation: ConversationId, events: &[StoredEvent]) -> Rights {
    let mut rights = Rights::default();
    if let Some((a, b)) = conversation.direct_members() {
        for user in [a, b] {
            rights.member.insert(user, vec![(1, u64::MAX)]);
            rights.sees.insert(user, vec![(1, u64::MAX)]);
        }
        return rights;
    }
    for event in events {
        let Some(kind) = event.kind.filter(|kind| kind.changes_membership()) else { continue };
        for change in changes_of(event, kind) {
            let member = rights.member.entry(change.user).or_default();
            let sees = rights.sees.entry(change.user).or_default();
            let open = member.last().is_some_and(|(_, until)| *until == u64::MAX);
            match (open, change.role) {
                (false, Some(_)) => {
                    member.push((event.seq, u64::MAX));
                    sees.push((change.since, u64::MAX));
                }
                (true, Some(_)) => {
                    let first = sees.last_mut().expect("opened together");
                    first.0 = first.0.min(change.since);
                }
                (true, None) => {
                    member.last_mut().expect("it is open").1 = event.seq;
                    sees.last_mut().expect("opened together").1 = event.seq;
                }
                (false, None) => {}
            }
        }
    }
    rights
}

fn changes_of(event: &StoredEvent, kind: EventKind) -> Vec<protocol::body::MemberChange> {
    let StoredEvent { conversation, from: user, producer, no, .. } = *event;
    let key = Key { conversation, user, producer, no };
    let envelope = Envelope::new(key, 0, kind, event.body.clone());
    Logged { seq: event.seq, ordinal: event.ordinal, envelope }.membership_changes()
}

fn within(spans: Option<&Spans>, seq: u64) -> bool {
    spans.is_some_and(|spans| spans.iter().any(|(from, to)| (*from..=*to).contains(&seq)))
}

/// A message has seq s only if its sender was a member at s.
fn check_senders(
    conversation: ConversationId,
    events: &[StoredEvent],
    rights: &Rights,
    wrong: &mut Vec<String>,
) {
    for event in events.iter().filter(|event| event.kind == Some(EventKind::Message)) {
        if !within(rights.member.get(&event.from), event.seq) {
            let (from, seq) = (event.from, event.seq);
            wrong.push(format!("{conversation} seq {seq} is from {from}, no member at that place"));
        }
    }
}

/// H10: nothing is shown to somebody who may not see it.
fn check_sight(
    conversation: ConversationId,
    user: UserId,
    log: &Log,
    rights: &Rights,
    wrong: &mut Vec<String>,
) {
    let handed = log.deliveries.get(&conversation).map_or(&[][..], Vec::as_slice);
    for delivery in handed {
        let shown = !matches!(delivery.slot, Slot::HoleTo(_));
        if shown && !within(rights.sees.get(&user), delivery.seq) {
            let (process, seq) = (&log.process, delivery.seq);
            wrong.push(format!("{process} was shown {conversation} seq {seq} (H10)"));
        }
    }
}

/// What a device has applied is what it would fetch now.
fn check_complete(
    conversation: ConversationId,
    user: UserId,
    log: &Log,
    rights: &Rights,
    slots: &[loadtest::history::Delivery],
    wrong: &mut Vec<String>,
) {
    let spans = rights.sees.get(&user);
    let Some((since, u64::MAX)) = spans.and_then(|spans| spans.last()) else { return };
    let handed = log.deliveries.get(&conversation).map_or(&[][..], Vec::as_slice);
    let applied: BTreeMap<u64, Slot> = handed.iter().map(|d| (d.seq, d.slot)).collect();
    for fresh in slots.iter().filter(|fresh| fresh.seq >= *since) {
        let is_hole = matches!(fresh.slot, Slot::HoleTo(_));
        if !is_hole && applied.get(&fresh.seq) != Some(&fresh.slot) {
            let (process, seq) = (&log.process, fresh.seq);
            let applied = applied.get(&seq);
            wrong.push(format!(
                "{process} has {applied:?} at {conversation} seq {seq}, a fresh fetch has {:?}",
                fresh.slot
            ));
        }
    }
}

fn fingerprint(logs: &[(UserId, Log)]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (_, log) in logs {
        let sorted: BTreeMap<_, _> = log.deliveries.iter().collect();
        for (conversation, deliveries) in sorted {
            conversation.hash(&mut hasher);
            deliveries.iter().for_each(|d| (d.seq, d.slot).hash(&mut hasher));
        }
    }
    hasher.finish()
}
