//! The packed forms: runs of a call, its verdicts, and the entry that is in the log and in a push.
//!
//! Owns: bytes ↔ envelopes and batches. Never does: number (the function does). Talks to: nobody. Start reading at:
//! [`runs`]; the Lua side is `common.lua`.
//!
//! It is not the form of `codec.rs`: a run of one producer is judged and copied as a whole, so that the function does not
//! touch each message.

use bytes::{Buf, BufMut, Bytes};
use protocol::{ConversationId, EventKind, Pos, Producer, UserId};

use crate::{Batch, Envelope, Head, Logged, ProducerState, Verdict, codec::Malformed};

const ENTRY_VERSION: u8 = 1;
const ENTRY_BYTES: usize = 31;
/// Place, key, no, mver, kind, count.
const RUN_BYTES: usize = 24 + 32 + 19;
const VERDICT_BYTES: usize = 27;

/// Envelopes that are judged as one: one producer, one kind and mver, consecutive numbers. Membership events stand alone.
fn continues(before: &Envelope, next: &Envelope) -> bool {
    before.conversation == next.conversation
        && before.from == next.from
        && before.producer == next.producer
        && before.mver == next.mver
        && before.kind == next.kind
        && !next.kind.changes_membership()
        && before.no.checked_add(1) == Some(next.no)
}

pub(super) fn put_key(
    out: &mut Vec<u8>,
    conversation: ConversationId,
    user: UserId,
    producer: Producer,
) {
    out.put_u128(conversation.0);
    out.put_u64(user.0);
    out.put_u64(producer.0);
}

/// Head of a run, and its sizes and bodies.
fn put_run<'a>(
    head: &mut Vec<u8>,
    tail: &mut Vec<u8>,
    run: impl ExactSizeIterator<Item = &'a Envelope> + Clone,
) {
    let count = run.len() as u16;
    for (i, e) in run.clone().enumerate() {
        if i == 0 {
            put_key(head, e.conversation, e.from, e.producer);
            head.put_u64_le(e.no);
            head.put_u64_le(e.mver);
            head.put_u8(e.kind as u8);
            head.put_u16_le(count);
        }
        head.put_u64_le(e.hash);
        tail.put_u32_le(e.body.len() as u32);
    }
    run.for_each(|e| tail.put_slice(&e.body));
}

/// A batch as the arguments of a call: two for each run.
pub(super) fn runs(envelopes: &[Envelope]) -> Vec<Vec<u8>> {
    let mut arguments = Vec::new();
    for run in envelopes.chunk_by(continues) {
        let (mut head, mut tail) = (Vec::with_capacity(64), Vec::new());
        put_run(&mut head, &mut tail, run.iter());
        arguments.push(head);
        arguments.push(tail);
    }
    arguments
}

/// The verdicts of a call that made batch `pos` (if anything was stored) at `ts`.
pub(super) fn verdicts(mut packed: &[u8], pos: Pos, ts: u64) -> Result<Vec<Verdict>, Malformed> {
    let mut verdicts = Vec::new();
    while packed.has_remaining() {
        if packed.len() < VERDICT_BYTES {
            return Err(Malformed);
        }
        let (kind, count) = (packed.get_u8(), u64::from(packed.get_u16_le()));
        let (a, n, then) = (packed.get_u64_le(), packed.get_u64_le(), packed.get_u64_le());
        for i in 0..count {
            verdicts.push(match kind {
                1 => Verdict::Stored { seq: a + i, pos, ts },
                2 => Verdict::Dup { seq: a, pos: Pos::new(pos.epoch, n), ts: then },
                3 => Verdict::Reused { seq: a },
                4 => Verdict::OutOfOrder { expected: a },
                5 => Verdict::StaleMembership { mver: a },
                6 => Verdict::OldId,
                7 => Verdict::UnknownConversation,
                _ => return Err(Malformed),
            });
        }
    }
    Ok(verdicts)
}

/// What the archive said of a conversation, as the function takes it.
pub(super) fn put_seed(out: &mut Vec<u8>, conversation: ConversationId, head: Option<Head>) {
    let Head { seq, ordinal, mver, .. } = head.unwrap_or_default();
    out.put_u128(conversation.0);
    out.put_u8(u8::from(head.is_some()));
    out.put_u64_le(seq);
    out.put_u64_le(ordinal);
    out.put_u64_le(mver);
}

/// What is known of a producer as segments of one, in an epoch. The function counts back from `last`, so only what is
/// consecutive up to it goes in; the archive answers for the rest.
pub(super) fn segments(state: &ProducerState, epoch: u32) -> Vec<u8> {
    let (mut consecutive, mut no) = (Vec::new(), state.last);
    for earlier in state.recent.iter().rev().take(protocol::limits::DEDUPE_WINDOW) {
        if earlier.no != no {
            break;
        }
        consecutive.push(earlier);
        no = no.saturating_sub(1);
    }
    let mut out = Vec::new();
    for earlier in consecutive.into_iter().rev() {
        out.put_u8(1);
        out.put_u64_le(earlier.seq);
        out.put_u64_le(if earlier.pos.epoch == epoch { earlier.pos.n } else { 0 });
        out.put_u64_le(earlier.ts);
        out.put_u64_le(earlier.hash);
    }
    out
}

/// Reads an entry. Shape: bodies are slices of it, not copies. Errors: [`Malformed`], on any other input.
pub(super) fn decode(mut entry: Bytes) -> Result<Batch, Malformed> {
    if entry.len() < ENTRY_BYTES || entry.get_u8() != ENTRY_VERSION {
        return Err(Malformed);
    }
    let pos = Pos::new(entry.get_u32_le(), entry.get_u64_le());
    let ts = entry.get_u64_le();
    let _bytes_so_far = entry.get_u64_le();
    let n_runs = entry.get_u16_le();
    let mut events = Vec::new();
    for _ in 0..n_runs {
        decode_run(&mut entry, &mut events)?;
    }
    if entry.is_empty() { Ok(Batch { pos, ts, events }) } else { Err(Malformed) }
}

fn decode_run(entry: &mut Bytes, events: &mut Vec<Logged>) -> Result<(), Malformed> {
    if entry.len() < RUN_BYTES {
        return Err(Malformed);
    }
    let (_before, seq, mut ordinal) = (entry.get_u64_le(), entry.get_u64_le(), entry.get_u64_le());
    let conversation = ConversationId(entry.get_u128());
    let (from, producer) = (UserId(entry.get_u64()), Producer(entry.get_u64()));
    let (no, mver) = (entry.get_u64_le(), entry.get_u64_le());
    let kind = EventKind::from_u8(entry.get_u8()).ok_or(Malformed)?;
    let count = usize::from(entry.get_u16_le());
    if entry.len() < count * 12 {
        return Err(Malformed);
    }
    let mut hashes = entry.split_to(count * 8);
    let mut sizes = entry.split_to(count * 4);
    for i in 0..count as u64 {
        let (hash, size) = (hashes.get_u64_le(), sizes.get_u32_le() as usize);
        if size > entry.len() {
            return Err(Malformed);
        }
        let (body, no) = (entry.split_to(size), no.wrapping_add(i));
        ordinal = ordinal.wrapping_add(u64::from(kind == EventKind::Message));
        let envelope = Envelope { conversation, from, producer, no, mver, kind, hash, body };
        events.push(Logged { seq: seq.wrapping_add(i), ordinal, envelope });
    }
    Ok(())
}

/// A batch as an entry, to be restored: the log numbers its place and counts its bytes again.
pub(super) fn encode(batch: &Batch) -> Vec<u8> {
    let follows = |a: &Logged, b: &Logged| {
        a.seq + 1 == b.seq
            && a.ordinal + u64::from(b.envelope.kind == EventKind::Message) == b.ordinal
            && continues(&a.envelope, &b.envelope)
    };
    let mut out = Vec::with_capacity(batch.cost());
    out.put_u8(ENTRY_VERSION);
    out.put_u32_le(batch.pos.epoch);
    for word in [batch.pos.n, batch.ts, 0] {
        out.put_u64_le(word);
    }
    out.put_u16_le(batch.events.chunk_by(follows).count() as u16);
    for run in batch.events.chunk_by(follows) {
        let Some(first) = run.first() else { continue };
        let own = u64::from(first.envelope.kind == EventKind::Message);
        for word in [first.seq.saturating_sub(1), first.seq, first.ordinal.saturating_sub(own)] {
            out.put_u64_le(word);
        }
        let mut tail = Vec::new();
        put_run(&mut out, &mut tail, run.iter().map(|logged| &logged.envelope));
        out.extend_from_slice(&tail);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event() -> impl Strategy<Value = (u64, u8, Vec<u8>, u64)> {
        (0u64..3, 0u8..7, prop::collection::vec(any::<u8>(), 0..40), any::<u64>())
    }

    /// Few conversations and producers, consecutive numbers now and then: runs of all lengths.
    fn batch(events: Vec<(u64, u8, Vec<u8>, u64)>) -> Batch {
        let (mut seq, mut ordinal, mut no) = (7, 3, [0; 3]);
        let logged = events.into_iter().map(|(who, kind, body, hash)| {
            let kind = EventKind::ALL[usize::from(kind.min(2))];
            seq += 1;
            ordinal += u64::from(kind == EventKind::Message);
            no[who as usize] += 1;
            let envelope = Envelope {
                conversation: ConversationId::group(5),
                from: UserId(who),
                producer: Producer(1),
                no: no[who as usize],
                mver: 0,
                kind,
                hash,
                body: body.into(),
            };
            Logged { seq, ordinal, envelope }
        });
        Batch { pos: Pos::new(3, 9), ts: 77, events: logged.collect() }
    }

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked(events in prop::collection::vec(event(), 0..30)) {
            let batch = batch(events);
            prop_assert_eq!(decode(encode(&batch).into()), Ok(batch));
        }

        #[test]
        fn garbage_and_truncation_are_refused_without_panic(
            events in prop::collection::vec(event(), 1..4), cut in any::<prop::sample::Index>(), noise in any::<u8>()
        ) {
            let mut out = encode(&batch(events));
            let at = cut.index(out.len());
            prop_assert_eq!(decode(Bytes::copy_from_slice(&out[..at])), Err(Malformed));
            out[at] = noise;
            let _ = decode(out.clone().into());
            let _ = verdicts(&out, Pos::new(1, 1), 5);
        }
    }
}
