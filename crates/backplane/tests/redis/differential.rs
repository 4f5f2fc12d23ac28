//! The Lua function and the Rust sequencer are given the same batches: same verdicts, same log.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use backplane::{
    Batch, Envelope, Head, Key, Log, Verdict,
    memory_archive::MemoryArchive,
    redis::{Options, RedisLog},
    sequencer::Sequencer,
    sim::Random,
};
use bytes::Bytes;
use protocol::{ConversationId, EventKind, Pos, Producer, UserId, limits};

use crate::{bench::open_until_admitted, server::Server};

/// Few of everything, so that keys, gaps and stale versions meet; now and then a run, and numbers at the edge.
struct Maker {
    random: Random,
    next: std::collections::HashMap<(ConversationId, u64), u64>,
    mver: std::collections::HashMap<ConversationId, u64>,
}

impl Maker {
    fn conversation(&mut self) -> ConversationId {
        match self.random.below(4) {
            0 => ConversationId::direct(UserId(1), UserId(2)),
            1 => ConversationId::direct(UserId(u64::MAX >> 1), UserId(7)),
            other => ConversationId::group(u128::from(other) << 80),
        }
    }

    fn number(&mut self, usual: u64) -> u64 {
        match self.random.below(40) {
            0 => u64::MAX,
            1 => 0,
            2 => (1 << 53) + 1,
            3..=6 => self.random.below(60),
            7..=9 => usual.saturating_sub(1 + self.random.below(40)),
            10 => usual + 1,
            _ => usual,
        }
    }

    fn batch(&mut self) -> Vec<Envelope> {
        let mut batch = Vec::new();
        for _ in 0..1 + self.random.below(6) {
            let (conversation, producer) = (self.conversation(), 1 + self.random.below(3));
            let usual = *self.next.entry((conversation, producer)).or_insert(1);
            let first = self.number(usual);
            let known = self.mver.get(&conversation).copied().unwrap_or(0);
            let kind = match self.random.below(16) {
                0 | 1 => EventKind::Created,
                2 => EventKind::Member,
                3 => EventKind::Edit,
                _ => EventKind::Message,
            };
            let mver = if self.random.below(12) == 0 { self.random.below(9) } else { known };
            let mver = if kind == EventKind::Created { 0 } else { mver };
            let long = self.random.below(12) == 0;
            let count = if long { 1 + self.random.below(70) } else { 1 + self.random.below(4) };
            for i in 0..count {
                let key = Key {
                    conversation,
                    user: UserId(1),
                    producer: Producer(producer << 62),
                    no: first.wrapping_add(i),
                };
                let body = vec![b'0' + u8::from(self.random.below(30) == 0); 1 + i as usize % 5];
                batch.push(Envelope::new(key, mver, kind, Bytes::from(body)));
            }
        }
        batch
    }

    /// What the next batch should take for usual.
    fn learn(&mut self, batch: &[Envelope], verdicts: &[Verdict]) {
        for (e, verdict) in batch.iter().zip(verdicts) {
            let key = (e.conversation, e.producer.0 >> 62);
            match *verdict {
                Verdict::Stored { seq, .. } => {
                    self.next.insert(key, e.no + 1);
                    if e.kind.changes_membership() && e.conversation.is_group() {
                        self.mver.insert(e.conversation, seq);
                    }
                }
                Verdict::OutOfOrder { expected } => drop(self.next.insert(key, expected)),
                _ => {}
            }
        }
    }
}

/// The model's verdicts with the time that the server took.
fn at(ts: Option<u64>, verdict: Verdict) -> Verdict {
    match (verdict, ts) {
        (Verdict::Stored { seq, pos, .. }, Some(ts)) => Verdict::Stored { seq, pos, ts },
        (other, _) => other,
    }
}

fn time_of(verdicts: &[Verdict]) -> Option<u64> {
    verdicts.iter().find_map(|verdict| match verdict {
        Verdict::Stored { ts, .. } => Some(*ts),
        _ => None,
    })
}

/// Which kind of verdict, as an index.
fn kind(verdict: &Verdict) -> usize {
    match verdict {
        Verdict::Stored { .. } => 0,
        Verdict::Dup { .. } => 1,
        Verdict::Reused { .. } => 2,
        Verdict::OutOfOrder { .. } => 3,
        Verdict::StaleMembership { .. } => 4,
        Verdict::OldId => 5,
        Verdict::UnknownConversation => 6,
    }
}

/// How often each kind of verdict was given.
async fn one_run(log: &RedisLog, seed: u64, rounds: usize, ahead: &AtomicU64) -> [usize; 7] {
    let mut appender = log.appender(0);
    let begun = log.end(0).await.unwrap();
    let mut sequencer = Sequencer::new(begun.epoch, 0);
    let mut maker =
        Maker { random: Random::new(seed), next: Default::default(), mver: Default::default() };
    let (mut wanted, mut n, mut judged) = (Vec::<Batch>::new(), begun.n, [0; 7]);
    let lease = log.lease(0).await.unwrap();
    for round in 0..rounds {
        if maker.random.below(25) == 0 {
            // A quarter of an hour later all is stored: both forget the same generation.
            log.advance(0, Pos::new(begun.epoch, n), lease).await.unwrap();
            ahead.fetch_add(limits::DEDUPE_MS + 1, SeqCst);
            sequencer.rotate(ahead.load(SeqCst), Pos::new(begun.epoch, n));
        }
        let batch = maker.batch();
        let seen = appender.append(&batch).await.unwrap();
        let ts = time_of(&seen);
        // Redis keeps every conversation; the model asks again for those that it forgot with a generation.
        for asked in &batch {
            let place = wanted.iter().rev().flat_map(|batch| batch.events.iter().rev());
            let last = place.clone().find(|e| e.envelope.conversation == asked.conversation);
            if let Some(last) = last.filter(|_| !sequencer.knows(asked.conversation)) {
                let mver = maker.mver.get(&asked.conversation).copied().unwrap_or(0);
                let (seq, ordinal) = (last.seq, last.ordinal);
                sequencer.seed(asked.conversation, Head { seq, ordinal, mver, epoch: 1 });
            }
        }
        let plan = sequencer.plan(&batch, Pos::new(begun.epoch, n + 1), ts.unwrap_or(0));
        let model: Vec<Verdict> = plan.verdicts.iter().map(|v| at(ts, *v)).collect();
        for (i, (seen, model)) in seen.iter().zip(&model).enumerate() {
            let asked = &batch[i];
            assert_eq!(seen, model, "seed {seed}, round {round}, envelope {i}: {asked:?}");
        }
        assert_eq!(seen.len(), model.len());
        seen.iter().for_each(|verdict| judged[kind(verdict)] += 1);
        maker.learn(&batch, &seen);
        if let Some(batch) = &plan.batch {
            wanted.push(batch.clone());
            n += 1;
        }
        sequencer.commit(plan);
    }
    let mut after = begun;
    let mut written = Vec::new();
    loop {
        let page = log.read(0, after, 1 << 20).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.pos;
        written.extend(page.iter().map(|batch| (**batch).clone()));
    }
    assert_eq!(written.len(), wanted.len(), "seed {seed}");
    for (seen, model) in written.iter().zip(&wanted) {
        assert_eq!(seen, model, "seed {seed}");
    }
    judged
}

#[tokio::test]
async fn the_function_judges_and_numbers_as_the_model_does() {
    let mut judged = [0; 7];
    for seed in 0..24 {
        let server = Server::start();
        let ahead = Arc::new(AtomicU64::new(0));
        let (archive, clock) = (Arc::new(MemoryArchive::default()), Arc::clone(&ahead));
        let mut options = Options::new(vec![server.url()], 1, archive);
        options.lease_ms = 20;
        options.ahead_ms = Arc::new(move || clock.load(SeqCst));
        let log = open_until_admitted(options, Pos::default()).await;
        let run = one_run(&log, seed, 150, &ahead).await;
        judged.iter_mut().zip(run).for_each(|(sum, count)| *sum += count);
    }
    assert!(judged.iter().all(|count| *count > 50), "some verdicts are hardly tried: {judged:?}");
}
