//! Properties of the sequencer: how publishes are cut into batches, and whether the process was started again in between,
//! makes no difference to what is stored.

use std::collections::HashMap;

use backplane::{Batch, Envelope, Key, Verdict, sequencer::Sequencer};
use bytes::Bytes;
use proptest::prelude::*;
use protocol::{ConversationId, EventKind, Pos, Producer, UserId};

/// Few of everything, so that keys, gaps and stale versions meet.
fn envelope() -> impl Strategy<Value = Envelope> {
    let kind = prop_oneof![
        1 => Just(EventKind::Created),
        5 => Just(EventKind::Message),
        1 => Just(EventKind::Member),
        1 => Just(EventKind::Edit)
    ];
    (0u8..3, 1u64..3, 1u64..6, 0u64..5, kind, 0u8..8).prop_map(
        |(place, producer, no, mver, kind, body)| {
            let conversation = match place {
                0 => ConversationId::direct(UserId(1), UserId(2)),
                other => ConversationId::group(u128::from(other)),
            };
            let key = Key { conversation, user: UserId(1), producer: Producer(producer), no };
            let mver = if conversation.is_group() { mver } else { 0 };
            Envelope::new(key, mver, kind, Bytes::from(vec![b'0' + body / 7]))
        },
    )
}

struct Run {
    sequencer: Sequencer,
    batches: Vec<Batch>,
}

impl Run {
    fn new() -> Self {
        Self { sequencer: Sequencer::new(1, 0), batches: Vec::new() }
    }

    fn append(&mut self, envelopes: &[Envelope]) -> Vec<Verdict> {
        let pos = Pos::new(1, self.batches.len() as u64 + 1);
        let plan = self.sequencer.plan(envelopes, pos, 5);
        let verdicts = plan.verdicts.clone();
        self.batches.extend(plan.batch.clone());
        self.sequencer.commit(plan);
        verdicts
    }

    fn restart(&mut self) {
        self.sequencer = Sequencer::new(1, 0);
        for batch in &self.batches {
            self.sequencer.replay(batch);
        }
    }
}

/// Without the place of the batch, which depends on how they are cut.
fn place_free(verdicts: &[Verdict]) -> Vec<Verdict> {
    let free = |verdict: &Verdict| match *verdict {
        Verdict::Stored { seq, .. } => Verdict::Stored { seq, pos: Pos::default(), ts: 0 },
        Verdict::Dup { seq, .. } => Verdict::Dup { seq, pos: Pos::default(), ts: 0 },
        other => other,
    };
    verdicts.iter().map(free).collect()
}

proptest! {
    #[test]
    fn batching_and_restarting_change_no_verdict(
        envelopes in prop::collection::vec(envelope(), 1..60), cuts in prop::collection::vec((1usize..9, any::<bool>()), 60)
    ) {
        let mut singly = Run::new();
        let wanted: Vec<Verdict> =
            envelopes.iter().flat_map(|e| singly.append(std::slice::from_ref(e))).collect();
        let (mut batched, mut seen, mut rest) = (Run::new(), Vec::new(), &envelopes[..]);
        for (size, restart) in cuts {
            let (batch, others) = rest.split_at(size.min(rest.len()));
            seen.extend(batched.append(batch));
            rest = others;
            if restart {
                batched.restart();
            }
        }
        prop_assert_eq!(place_free(&seen), place_free(&wanted));
    }

    #[test]
    fn what_is_stored_is_dense_once_and_in_its_producers_order(envelopes in prop::collection::vec(envelope(), 1..80)) {
        let mut run = Run::new();
        let verdicts: Vec<Verdict> = envelopes.chunks(4).flat_map(|batch| run.append(batch)).collect();
        let (mut heads, mut producers) = (HashMap::new(), HashMap::new());
        for event in run.batches.iter().flat_map(|batch| &batch.events) {
            let e = &event.envelope;
            let head: &mut u64 = heads.entry(e.conversation).or_default();
            let last: &mut u64 = producers.entry((e.conversation, e.producer)).or_default();
            prop_assert_eq!((event.seq, e.no), (*head + 1, *last + 1));
            prop_assert_eq!(e.kind == EventKind::Created, event.seq == 1);
            (*head, *last) = (event.seq, e.no);
        }
        for (asked, verdict) in envelopes.iter().zip(&verdicts) {
            let stored = |seq| {
                let events = run.batches.iter().flat_map(|batch| &batch.events);
                let mut there = events.filter(|e| e.envelope.key() == asked.key());
                there.next().filter(|e| e.seq == seq).map(|e| e.envelope.hash == asked.hash)
            };
            match *verdict {
                Verdict::Stored { seq, .. } | Verdict::Dup { seq, .. } => prop_assert_eq!(stored(seq), Some(true)),
                Verdict::Reused { seq } => prop_assert_eq!(stored(seq), Some(false)),
                _ => {}
            }
        }
    }
}

#[test]
fn a_plan_that_is_not_committed_leaves_no_trace() {
    let key = Key {
        conversation: ConversationId::direct(UserId(1), UserId(2)),
        user: UserId(1),
        producer: Producer(1),
        no: 1,
    };
    let created = Envelope::new(key, 0, EventKind::Created, Bytes::from_static(b"{}"));
    let sequencer = Sequencer::new(1, 0);
    let first = sequencer.plan(std::slice::from_ref(&created), Pos::new(1, 1), 5);
    let again = sequencer.plan(&[created], Pos::new(1, 1), 5);
    assert_eq!((first.batch.unwrap(), first.verdicts), (again.batch.unwrap(), again.verdicts));
}
