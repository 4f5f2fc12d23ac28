//! The packed form of a batch's events: what one log record holds.
//!
//! Owns: bytes ↔ events. Never does: checksums (the record around it does). Talks to: nobody.
//! Start reading at: [`encode`].

use bytes::{Buf, BufMut, Bytes};
use protocol::{ConversationId, EventKind, Producer, UserId};

use crate::{Envelope, Logged};

/// Version of the form, the first byte.
const VERSION: u8 = 1;
/// Bytes of an event before its body.
const HEAD_BYTES: usize = 16 + 8 * 7 + 1 + 4;

/// Bytes that are no packed batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a packed batch")]
pub struct Malformed;

/// Appends the packed form. Little endian: version u8, count u32, then per event conversation u128, seq, ordinal, from,
/// producer, no, mver, hash u64, kind u8, body length u32, body.
pub fn encode(events: &[Logged], out: &mut Vec<u8>) {
    out.put_u8(VERSION);
    out.put_u32_le(events.len() as u32);
    for Logged { seq, ordinal, envelope: e } in events {
        out.put_u128_le(e.conversation.0);
        for word in [*seq, *ordinal, e.from.0, e.producer.0, e.no, e.mver, e.hash] {
            out.put_u64_le(word);
        }
        out.put_u8(e.kind as u8);
        out.put_u32_le(e.body.len() as u32);
        out.put_slice(&e.body);
    }
}

/// Reads the packed form. Shape: bodies are slices of `blob`, not copies. Errors: [`Malformed`], on any other input.
pub fn decode(mut blob: Bytes) -> Result<Vec<Logged>, Malformed> {
    if blob.len() < 5 || blob.get_u8() != VERSION {
        return Err(Malformed);
    }
    let count = blob.get_u32_le() as usize;
    if count > blob.len() / HEAD_BYTES {
        return Err(Malformed);
    }
    let mut events = Vec::with_capacity(count);
    for _ in 0..count {
        if blob.len() < HEAD_BYTES {
            return Err(Malformed);
        }
        // Ids are taken as they are: what was acknowledged must be readable, whoever let it in.
        let conversation = ConversationId(blob.get_u128_le());
        let seq = blob.get_u64_le();
        let ordinal = blob.get_u64_le();
        let from = UserId(blob.get_u64_le());
        let producer = Producer(blob.get_u64_le());
        let no = blob.get_u64_le();
        let mver = blob.get_u64_le();
        let hash = blob.get_u64_le();
        let kind = EventKind::from_u8(blob.get_u8()).ok_or(Malformed)?;
        let length = blob.get_u32_le() as usize;
        if length > blob.len() {
            return Err(Malformed);
        }
        let body = blob.split_to(length);
        let envelope = Envelope { conversation, from, producer, no, mver, kind, hash, body };
        events.push(Logged { seq, ordinal, envelope });
    }
    if blob.is_empty() { Ok(events) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event() -> impl Strategy<Value = Logged> {
        (
            any::<u128>(),
            any::<[u64; 6]>(),
            1u64..u64::MAX >> 1,
            0usize..7,
            prop::collection::vec(any::<u8>(), 0..200),
        )
            .prop_map(|(id, words, from, kind, body)| Logged {
                seq: words[0],
                ordinal: words[1],
                envelope: Envelope {
                    conversation: ConversationId::group(id),
                    from: UserId(from),
                    producer: Producer(words[2]),
                    no: words[3],
                    mver: words[4],
                    kind: EventKind::ALL[kind],
                    hash: words[5],
                    body: body.into(),
                },
            })
    }

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked(events in prop::collection::vec(event(), 0..20)) {
            let mut out = Vec::new();
            encode(&events, &mut out);
            prop_assert_eq!(decode(out.into()), Ok(events));
        }

        #[test]
        fn garbage_and_truncation_are_refused_without_panic(
            events in prop::collection::vec(event(), 1..4), cut in any::<prop::sample::Index>(), noise in any::<(u8, u8)>()
        ) {
            let mut out = Vec::new();
            encode(&events, &mut out);
            let at = cut.index(out.len());
            prop_assert_eq!(decode(Bytes::copy_from_slice(&out[..at])), Err(Malformed));
            out[at] = noise.0;
            out.push(noise.1);
            // Noise may make another good batch; the record's checksum is what tells. Here it must only not panic.
            let _ = decode(out.into());
        }
    }
}
