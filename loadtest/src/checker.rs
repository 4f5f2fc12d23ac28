//! Judges a history: H1–H9 of the promise, each in one pass.
//!
//! Owns: the anomalies and the rules that find them. Linear in the history: ids are unique and places explicit, so
//! nothing has to be searched for. Never does: IO. Talks to: nobody. Start reading at: [`check`].

use std::collections::{BTreeMap, HashMap, HashSet};

use protocol::ConversationId;
use serde::Serialize;

use crate::{
    history::{Delivery, Final, Gauge, History, Log, Outcome, Slot},
    stamp::MessageId,
};

/// Examples kept of each anomaly.
const EXAMPLES_MAX: usize = 10;

/// What can be wrong. Names follow `jepsen.tests.kafka` where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Anomaly {
    /// H1: acked, but not in the final history.
    LostWrite,
    /// H1: in the final history, but never handed to the application of a device that stayed.
    MissedDelivery,
    /// H2: handed to one application twice, or stored twice.
    Duplicate,
    /// H3: one place holds two things, or one message has two places, depending on whom one asks.
    DivergentOffset,
    /// H4: a device's application was handed a slot that does not follow the one before.
    SkippedPoll,
    /// H4: the same, backwards.
    InvertedPoll,
    /// H4: the final history has a gap that is not declared as a hole.
    UndeclaredGap,
    /// H5: messages of one maker stand in another order than they were made.
    SenderReordered,
    /// H5: acked before the other was begun, and yet stands after it.
    RealTimeReordered,
    /// H6: handed to an application, but not in the final history.
    Phantom,
    /// H6: a message that nobody sent.
    Unsent,
    /// H6: a payload whose check sum is wrong.
    Corrupt,
    /// H7: refused for good, and yet there.
    AbortedRead,
    /// H8: a read that did not reach the reader's own ack.
    StaleRead,
    /// H9: a number that may only grow fell.
    NonMonotonic,
}

/// How often, and a few cases.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Found {
    /// How often.
    pub count: u64,
    /// The first few, in words.
    pub examples: Vec<String>,
}

/// The verdict.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Publishes begun.
    pub publishes: u64,
    /// Of these acked.
    pub acked: u64,
    /// Refused for good.
    pub failed: u64,
    /// Unknown to the end.
    pub info: u64,
    /// Slots handed to applications.
    pub deliveries: u64,
    /// Conversations with a final history.
    pub conversations: u64,
    /// What is wrong; empty = all holds.
    pub anomalies: BTreeMap<Anomaly, Found>,
}

impl Report {
    /// Whether H1–H9 hold.
    pub fn holds(&self) -> bool {
        self.anomalies.is_empty()
    }

    fn add(&mut self, anomaly: Anomaly, example: impl FnOnce() -> String) {
        let found = self.anomalies.entry(anomaly).or_default();
        found.count += 1;
        if found.examples.len() < EXAMPLES_MAX {
            found.examples.push(example());
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{} publishes ({} acked, {} refused, {} unknown), {} deliveries, {} conversations",
            self.publishes, self.acked, self.failed, self.info, self.deliveries, self.conversations
        )?;
        if self.holds() {
            return write!(f, "H1-H9 hold");
        }
        for (anomaly, found) in &self.anomalies {
            writeln!(f, "{anomaly:?}: {}", found.count)?;
            for example in &found.examples {
                writeln!(f, "    {example}")?;
            }
        }
        Ok(())
    }
}

/// Where the final history has a message. No epoch: seqs are not used again in a later one, in which a place may come back.
#[derive(Debug, Clone, Copy)]
struct Place {
    conversation: ConversationId,
    seq: u64,
}

/// The final history, indexed both ways.
#[derive(Debug, Default)]
struct Index {
    by_id: HashMap<MessageId, Place>,
    by_place: HashMap<(ConversationId, u64), Slot>,
}

/// Judges a history.
pub fn check(history: &History) -> Report {
    let mut report = Report::default();
    let index = check_final(history, &mut report);
    let sent = check_publishes(history, &index, &mut report);
    check_sent(&index, &sent, &mut report);
    check_sender_order(history, &mut report);
    check_real_time_order(history, &index, &mut report);
    for log in &history.logs {
        check_deliveries(log, history, &index, &mut report);
        check_reads_and_gauges(log, &mut report);
    }
    report
}

/// H2, H3, H4, H6 within the final history itself.
fn check_final(history: &History, report: &mut Report) -> Index {
    let mut index = Index::default();
    for (&conversation, last) in &history.last {
        report.conversations += 1;
        let mut next = last.first;
        for Delivery { seq, slot, .. } in last.slots.iter().copied() {
            if seq != next {
                report.add(Anomaly::UndeclaredGap, || {
                    format!("{conversation}: expected seq {next}, found {seq}")
                });
            }
            next = seq + 1;
            match slot {
                Slot::HoleTo(to) => next = to + 1,
                Slot::Corrupt => report
                    .add(Anomaly::Corrupt, || format!("{conversation} seq {seq} in the history")),
                Slot::Message(id) => {
                    let place = Place { conversation, seq };
                    if let Some(other) = index.by_id.insert(id, place) {
                        report.add(Anomaly::Duplicate, || {
                            format!("{id:?} is stored at {other:?} and at {place:?}")
                        });
                    }
                }
                Slot::Other => {}
            }
            index.by_place.insert((conversation, seq), slot);
        }
    }
    index
}

/// H1, H3, H7 for each publish. Returns what was sent.
fn check_publishes(history: &History, index: &Index, report: &mut Report) -> HashSet<MessageId> {
    let mut sent = HashSet::new();
    for publish in history.logs.iter().flat_map(|log| &log.publishes) {
        let id = publish.id;
        report.publishes += 1;
        sent.insert(id);
        let place = index.by_id.get(&id);
        match publish.outcome {
            Outcome::Ok { seq, .. } => {
                report.acked += 1;
                match place {
                    None => report.add(Anomaly::LostWrite, || {
                        format!("{id:?} acked at {} seq {seq}", publish.conversation)
                    }),
                    Some(p) if (p.conversation, p.seq) != (publish.conversation, seq) => {
                        report.add(Anomaly::DivergentOffset, || {
                            format!("{id:?} acked at seq {seq}, stored at {p:?}")
                        });
                    }
                    Some(_) => {}
                }
            }
            Outcome::Fail => {
                report.failed += 1;
                if let Some(p) = place {
                    report.add(Anomaly::AbortedRead, || format!("{id:?} was refused, is at {p:?}"));
                }
            }
            Outcome::Info => report.info += 1,
        }
    }
    sent
}

/// H6: nothing is there that nobody sent.
fn check_sent(index: &Index, sent: &HashSet<MessageId>, report: &mut Report) {
    for (id, place) in index.by_id.iter().filter(|(id, _)| !sent.contains(id)) {
        report.add(Anomaly::Unsent, || format!("{id:?} at {place:?}"));
    }
}

/// H5, first half: each maker's messages stand in the order they were made.
fn check_sender_order(history: &History, report: &mut Report) {
    for (conversation, last) in &history.last {
        let mut newest: HashMap<u64, u64> = HashMap::new();
        for Delivery { seq, slot, .. } in &last.slots {
            let Slot::Message(MessageId { maker, k }) = slot else { continue };
            let before = newest.insert(*maker, *k).unwrap_or(0);
            if before > *k {
                report.add(Anomaly::SenderReordered, || {
                    format!("{conversation} seq {seq}: maker {maker:x} {k} after {before}")
                });
            }
        }
    }
}

/// H5, second half: ack(a) before invoke(b) ⇒ seq(a) < seq(b), over all senders of a conversation.
fn check_real_time_order(history: &History, index: &Index, report: &mut Report) {
    // At equal times an invoke comes first: only a strictly earlier ack binds.
    let mut moments: Vec<(u64, bool, ConversationId, u64, MessageId)> = Vec::new();
    for publish in history.logs.iter().flat_map(|log| &log.publishes) {
        if let Some(place) = index.by_id.get(&publish.id) {
            let at = (publish.conversation, place.seq, publish.id);
            moments.push((publish.invoked_ns, false, at.0, at.1, at.2));
            if let Outcome::Ok { at_ns, .. } = publish.outcome {
                moments.push((at_ns, true, at.0, at.1, at.2));
            }
        }
    }
    moments.sort_unstable();
    let mut acked: HashMap<ConversationId, u64> = HashMap::new();
    for (_, is_ack, conversation, seq, id) in moments {
        let floor = acked.entry(conversation).or_insert(0);
        if is_ack {
            *floor = seq.max(*floor);
        } else if seq <= *floor {
            report.add(Anomaly::RealTimeReordered, || {
                format!("{conversation}: {id:?} has seq {seq}, begun after {floor} was acked")
            });
        }
    }
}

/// H1–H4, H6 for what one application was handed.
fn check_deliveries(log: &Log, history: &History, index: &Index, report: &mut Report) {
    let process = &log.process;
    for (&conversation, deliveries) in &log.deliveries {
        let mut next = deliveries.first().map_or(0, |d| d.seq);
        let mut ids = HashSet::new();
        for Delivery { seq, slot, .. } in deliveries.iter().copied() {
            report.deliveries += 1;
            let where_ = || format!("{process} {conversation} seq {seq}, expected {next}");
            if seq > next {
                report.add(Anomaly::SkippedPoll, where_);
            } else if seq < next {
                report.add(Anomaly::InvertedPoll, where_);
            }
            next = if let Slot::HoleTo(to) = slot { to + 1 } else { seq + 1 };
            match slot {
                Slot::Message(id) if !ids.insert(id) => {
                    report.add(Anomaly::Duplicate, || format!("{process} was handed {id:?} again"));
                }
                Slot::Corrupt => report.add(Anomaly::Corrupt, || format!("{process} seq {seq}")),
                _ => {}
            }
            check_slot(process, conversation, seq, slot, index, report);
        }
    }
    check_complete(log, history, report);
}

/// H3, H6: what was handed over is what the server still holds there.
fn check_slot(
    process: &str,
    conversation: ConversationId,
    seq: u64,
    slot: Slot,
    index: &Index,
    report: &mut Report,
) {
    let stored = index.by_place.get(&(conversation, seq));
    let case = || format!("{process} {conversation} seq {seq}: handed {slot:?}, stored {stored:?}");
    match (slot, stored) {
        (Slot::Message(id), None) if index.by_id.contains_key(&id) => {
            report.add(Anomaly::DivergentOffset, case);
        }
        (Slot::Message(_) | Slot::Other, None) => report.add(Anomaly::Phantom, case),
        (Slot::Message(id), Some(Slot::Message(other))) if id == *other => {}
        (Slot::Message(_), Some(_)) | (Slot::Other, Some(Slot::Message(_))) => {
            report.add(Anomaly::DivergentOffset, case);
        }
        _ => {}
    }
}

/// H1, second half: a device that stayed was handed all there is.
fn check_complete(log: &Log, history: &History, report: &mut Report) {
    for conversation in &log.complete {
        let Some(Final { slots, .. }) = history.last.get(conversation) else { continue };
        let handed = log.deliveries.get(conversation).map_or(&[][..], Vec::as_slice);
        let first = handed.first().map_or(0, |d| d.seq);
        let ids: HashSet<Slot> = handed.iter().map(|d| d.slot).collect();
        let process = &log.process;
        for stored in slots.iter().filter(|s| s.seq >= first) {
            let Slot::Message(id) = stored.slot else { continue };
            if !ids.contains(&stored.slot) {
                report.add(Anomaly::MissedDelivery, || {
                    format!("{process} was never handed {conversation} seq {} {id:?}", stored.seq)
                });
            }
        }
    }
}

/// H8, H9.
fn check_reads_and_gauges(log: &Log, report: &mut Report) {
    let process = &log.process;
    for read in log.reads.iter().filter(|read| read.reached < read.min_seq) {
        report.add(Anomaly::StaleRead, || format!("{process} {read:?}"));
    }
    let mut newest: HashMap<(ConversationId, Gauge), (u32, u64)> = HashMap::new();
    for seen in &log.observations {
        let now = (seen.epoch, seen.value);
        let before = newest.insert((seen.conversation, seen.gauge), now).unwrap_or((0, 0));
        if before > now {
            report.add(Anomaly::NonMonotonic, || format!("{process} {seen:?} after {before:?}"));
        }
    }
}
