//! The checker checked: a good history passes, and each anomaly, put into it, is found under its name.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::HashMap;

use loadtest::{
    checker::{Anomaly, check},
    history::{Delivery, Final, Gauge, History, Log, Observation, Outcome, Publish, Read, Slot},
    stamp::MessageId,
};
use protocol::{ConversationId, UserId};

const MESSAGES: u64 = 20;

fn conversation() -> ConversationId {
    ConversationId::direct(UserId(1), UserId(2))
}

fn id(maker: u64, k: u64) -> MessageId {
    MessageId { maker, k }
}

/// Two makers in turn; seq 1 is the birth of the conversation, seq 12 a hole; one device saw all of it.
fn good() -> History {
    let mut slots = vec![Delivery { epoch: 1, seq: 1, slot: Slot::Other }];
    let mut logs = vec![
        Log { process: "a".into(), ..Log::default() },
        Log { process: "b".into(), ..Log::default() },
    ];
    for n in 0..MESSAGES {
        let mut seq = slots.last().unwrap().seq + 1;
        if seq == 12 {
            slots.push(Delivery { epoch: 1, seq, slot: Slot::HoleTo(12) });
            seq = 13;
        }
        let (maker, k) = (n % 2, n / 2 + 1);
        slots.push(Delivery { epoch: 1, seq, slot: Slot::Message(id(maker, k)) });
        logs[usize::from(maker == 1)].publishes.push(Publish {
            id: id(maker, k),
            conversation: conversation(),
            invoked_ns: n * 10,
            outcome: Outcome::Ok { epoch: 1, seq, at_ns: n * 10 + 5 },
        });
    }
    for log in &mut logs {
        log.deliveries.insert(conversation(), slots.clone());
        log.complete.push(conversation());
        log.reads.push(Read { conversation: conversation(), min_seq: 5, reached: 9 });
        for value in [3, 3, 9] {
            log.observations.push(Observation {
                conversation: conversation(),
                gauge: Gauge::Head,
                epoch: 1,
                value,
            });
        }
    }
    let last = HashMap::from([(conversation(), Final { slots, first: 1 })]);
    History { logs, last }
}

/// Spoils a good history and expects exactly this anomaly among the found ones.
#[track_caller]
fn finds(anomaly: Anomaly, spoil: impl FnOnce(&mut History)) {
    let mut history = good();
    spoil(&mut history);
    let report = check(&history);
    assert!(report.anomalies.contains_key(&anomaly), "{anomaly:?} not among:\n{report}");
    let found = &report.anomalies[&anomaly];
    assert!(found.count >= 1 && !found.examples.is_empty());
    assert!(!report.holds());
}

fn slots(history: &mut History) -> &mut Vec<Delivery> {
    &mut history.last.get_mut(&conversation()).unwrap().slots
}

fn handed(history: &mut History) -> &mut Vec<Delivery> {
    history.logs[0].deliveries.get_mut(&conversation()).unwrap()
}

#[test]
fn a_good_history_passes_and_is_counted() {
    let report = check(&good());
    assert!(report.holds(), "{report}");
    assert_eq!((report.publishes, report.acked, report.info), (MESSAGES, MESSAGES, 0));
    assert_eq!(report.deliveries, 2 * (MESSAGES + 2));
}

#[test]
fn an_unknown_outcome_may_appear_or_not() {
    let mut history = good();
    history.logs[0].publishes[3].outcome = Outcome::Info;
    let never = Publish { id: id(0, 999), outcome: Outcome::Info, ..history.logs[0].publishes[3] };
    history.logs[0].publishes.push(never);
    assert!(check(&history).holds());
}

#[test]
fn h1_a_lost_write_is_found() {
    finds(Anomaly::LostWrite, |h| slots(h)[4].slot = Slot::HoleTo(5));
}

#[test]
fn h1_a_missed_delivery_is_found() {
    finds(Anomaly::MissedDelivery, |h| {
        let _ = handed(h).pop();
    });
    finds(Anomaly::MissedDelivery, |h| handed(h)[4].slot = Slot::HoleTo(5));
    finds(Anomaly::MissedDelivery, |h| h.logs[0].deliveries.clear());
}

#[test]
fn h2_a_duplicate_is_found_in_the_store_and_at_the_device() {
    finds(Anomaly::Duplicate, |h| {
        let again = slots(h)[3].slot;
        slots(h).push(Delivery { epoch: 1, seq: MESSAGES + 3, slot: again });
    });
    finds(Anomaly::Duplicate, |h| {
        let again = *handed(h).last().unwrap();
        handed(h).push(Delivery { seq: again.seq + 1, ..again });
    });
}

#[test]
fn h3_divergent_places_are_found() {
    finds(Anomaly::DivergentOffset, |h| {
        h.logs[0].publishes[2].outcome = Outcome::Ok { epoch: 1, seq: 19, at_ns: 45 };
    });
    finds(Anomaly::DivergentOffset, |h| handed(h)[5].slot = Slot::Message(id(1, 1)));
    finds(Anomaly::DivergentOffset, |h| handed(h)[5].slot = Slot::Other);
}

#[test]
fn h4_gaps_and_inversions_are_found() {
    finds(Anomaly::SkippedPoll, |h| {
        let _ = handed(h).remove(7);
    });
    finds(Anomaly::InvertedPoll, |h| handed(h).swap(7, 8));
    finds(Anomaly::UndeclaredGap, |h| {
        let _ = slots(h).remove(7);
    });
    finds(Anomaly::UndeclaredGap, |h| {
        let _ = slots(h).remove(0);
    });
}

#[test]
fn h5_a_reordered_sender_is_found() {
    finds(Anomaly::SenderReordered, |h| {
        let (a, b) = (slots(h)[3].slot, slots(h)[5].slot);
        (slots(h)[3].slot, slots(h)[5].slot) = (b, a);
    });
}

#[test]
fn h5_an_order_against_real_time_is_found() {
    finds(Anomaly::RealTimeReordered, |h| {
        let (a, b) = (slots(h)[3].slot, slots(h)[4].slot);
        (slots(h)[3].slot, slots(h)[4].slot) = (b, a);
    });
}

#[test]
fn h6_phantoms_and_unsent_messages_are_found() {
    finds(Anomaly::Phantom, |h| {
        let _ = slots(h).pop();
    });
    finds(Anomaly::Unsent, |h| slots(h)[3].slot = Slot::Message(id(77, 1)));
    finds(Anomaly::Corrupt, |h| slots(h)[3].slot = Slot::Corrupt);
    finds(Anomaly::Corrupt, |h| handed(h)[3].slot = Slot::Corrupt);
}

#[test]
fn h7_what_was_refused_and_appears_is_found() {
    finds(Anomaly::AbortedRead, |h| h.logs[0].publishes[3].outcome = Outcome::Fail);
}

#[test]
fn h8_a_stale_read_is_found() {
    finds(Anomaly::StaleRead, |h| h.logs[0].reads[0].reached = 4);
}

#[test]
fn h9_a_falling_number_is_found_and_a_new_epoch_is_none() {
    finds(Anomaly::NonMonotonic, |h| h.logs[0].observations[2].value = 2);
    finds(Anomaly::NonMonotonic, |h| h.logs[0].observations[1].epoch = 2);
    let mut history = good();
    let observation = &mut history.logs[0].observations[2];
    (observation.epoch, observation.value) = (2, 1);
    assert!(check(&history).holds());
}
