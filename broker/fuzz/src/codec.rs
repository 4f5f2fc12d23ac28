//! Frames: the decoder against the reference, in any split and at any pace; and server frames back to their payload.
//!
//! Owns: the invariants of the codec. Never does: generate (frames does). Talks to: `broker::websocket`.
//! Start reading at: [`case`].

use broker::websocket::{Decoder, Input, Limits, decode::Flow, encode};
use protocol::{
    CloseCode,
    limits::{CONTROL_BYTES_MAX, MESSAGE_ASSEMBLY_MS_MAX, MESSAGE_BYTES_MAX},
};
use rand::{RngExt, SeedableRng};

use crate::{
    Broken, Random, allocation, ensure,
    frames::{Headers, bytes_of, program, spoil},
    mutate::{mutate, one_in, size},
    reference::{Expected, Seen, expect},
};

/// Bytes that a decoder may hold: an incomplete frame and an incomplete message, each in a buffer that doubles as it grows.
const HELD_MAX: usize = 2 * (14 + MESSAGE_BYTES_MAX) + 2 * MESSAGE_BYTES_MAX;
/// Bytes at once while it works: the same, and what a read of [`CHUNK_MAX`] adds to the incomplete frame.
const PEAK_MAX: usize = HELD_MAX + 2 * CHUNK_MAX;
/// Bytes of one read: the shard's scratch buffer.
const CHUNK_MAX: usize = 64 * 1024;

/// One read: the bytes up to here, at this time.
#[derive(Debug, Clone, Copy)]
struct Read {
    upto: usize,
    now_ms: u64,
}

/// One case.
pub(crate) fn case(random: &mut Random) -> Result<(), Broken> {
    server_frame(random)?;
    let (mut frames, seen) = program(random);
    match random.random_range(0..5) {
        0 => {
            let bytes = bytes_of(random, &frames, Headers::Honest);
            let expected = expect(&bytes);
            let same = expected.seen.iter().map(|(_, seen)| seen).eq(&seen);
            ensure(same && expected.refused.is_none(), || {
                format!("the reference differs from the program {frames:?}: {expected:?}")
            })?;
            check(random, &bytes)
        }
        1 => {
            spoil(random, &mut frames);
            let bytes = bytes_of(random, &frames, Headers::Honest);
            check(random, &bytes)
        }
        2 => {
            let bytes = bytes_of(random, &frames, Headers::Lying);
            check(random, &bytes)
        }
        3 => {
            let mut bytes = bytes_of(random, &frames, Headers::Honest);
            mutate(random, &mut bytes, &[]);
            check(random, &bytes)
        }
        _ => {
            let noise: Vec<u8> = (0..size(random, 400)).map(|_| random.random()).collect();
            check(random, &noise)
        }
    }
}

/// Any bytes as a client's; how they are split follows from their length.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), Broken> {
    check(&mut Random::seed_from_u64(bytes.len() as u64), bytes)
}

/// All at once, byte by byte, and in a random split.
fn check(random: &mut Random, bytes: &[u8]) -> Result<(), Broken> {
    let expected = expect(bytes);
    let at_once: Vec<Read> = (1..=bytes.len().div_ceil(CHUNK_MAX))
        .map(|n| Read { upto: (n * CHUNK_MAX).min(bytes.len()), now_ms: 5 })
        .collect();
    compare(bytes, &at_once, &expected)?;
    if bytes.len() < 2_000 {
        let each: Vec<Read> = (1..=bytes.len()).map(|upto| Read { upto, now_ms: 5 }).collect();
        compare(bytes, &each, &expected)?;
    }
    compare(bytes, &random_reads(random, bytes.len()), &expected)
}

fn random_reads(random: &mut Random, length: usize) -> Vec<Read> {
    let slow = one_in(random, 2);
    let (mut reads, mut upto, mut now_ms) = (Vec::new(), 0, 1_000);
    while upto < length {
        upto = (upto + 1 + size(random, 4_000)).min(length);
        if slow && one_in(random, 3) {
            now_ms += size(random, 6_000) as u64;
        }
        reads.push(Read { upto, now_ms });
    }
    reads
}

fn owned(input: &Input<'_>) -> Seen {
    match input {
        Input::Text(text) => Seen::Text(text.to_vec()),
        Input::Binary(bytes) => Seen::Binary(bytes.to_vec()),
        Input::Ping(payload) => Seen::Ping(payload.to_vec()),
        Input::Pong => Seen::Pong,
        Input::Close(code) => Seen::Close(*code),
    }
}

/// What the reference says of one read: the verdict, and whether something is left open.
fn verdict(expected: &Expected, reads: &[Read], i: usize) -> (Result<(), CloseCode>, bool) {
    let Read { upto, now_ms } = reads[i];
    if let Some((after, code)) = expected.refused
        && after <= upto
    {
        return (Err(code), true);
    }
    let open = expected.units.iter().find(|(start, end)| *start < upto && *end > upto);
    let Some((start, _)) = open else { return (Ok(()), false) };
    let began = reads.iter().find(|read| read.upto > *start).map_or(now_ms, |read| read.now_ms);
    let late = now_ms - began > MESSAGE_ASSEMBLY_MS_MAX;
    (if late { Err(CloseCode::TooBig) } else { Ok(()) }, true)
}

/// Feeds the reads one after the other and compares everything that can be seen of the decoder after each.
fn compare(bytes: &[u8], reads: &[Read], expected: &Expected) -> Result<(), Broken> {
    let mut decoder = Decoder::default();
    let (mut seen, mut from) = (Vec::new(), 0);
    for (i, read) in reads.iter().enumerate() {
        let mut chunk = bytes[from..read.upto].to_vec();
        let mut stopped = false;
        let fed = decoder.feed(&mut chunk, read.now_ms, &Limits::PRODUCT, |input| {
            seen.push(owned(&input));
            stopped = matches!(input, Input::Close(_));
            if stopped { Flow::Stop } else { Flow::Continue }
        });
        let context = |what: &str| {
            let before = &reads[i.saturating_sub(3)..i];
            format!("{what} at {read:?} (number {i}, after {before:?}) of {bytes:02x?}")
        };
        let due = expected.seen.iter().filter(|(end, _)| *end <= read.upto).map(|(_, seen)| seen);
        ensure(seen.iter().eq(due), || context("other messages than the reference's"))?;
        if stopped {
            return ensure(fed == Ok(()), || context("an error behind the close"));
        }
        let (due, open) = verdict(expected, reads, i);
        ensure(fed == due, || context(&format!("{fed:?} and not {due:?}")))?;
        if fed.is_err() {
            break;
        }
        ensure(decoder.is_open() == open, || context("is_open is wrong"))?;
        let held = decoder.held();
        let held_max = if open { HELD_MAX } else { 0 };
        ensure(held <= held_max, || context(&format!("{held} bytes held")))?;
        from = read.upto;
    }
    seen.iter().try_for_each(sound)?;
    memory(bytes, reads)
}

/// What is promised of every input, whatever the bytes.
fn sound(seen: &Seen) -> Result<(), Broken> {
    let good = match seen {
        Seen::Text(text) => text.len() <= MESSAGE_BYTES_MAX && std::str::from_utf8(text).is_ok(),
        Seen::Binary(bytes) => bytes.len() <= MESSAGE_BYTES_MAX,
        Seen::Ping(payload) => payload.len() <= CONTROL_BYTES_MAX,
        Seen::Pong | Seen::Close(_) => true,
    };
    ensure(good, || format!("a promise of Input does not hold: {seen:02x?}"))
}

/// The same again with a sink that allocates nothing: what the allocator hands out is the decoder's own.
fn memory(bytes: &[u8], reads: &[Read]) -> Result<(), Broken> {
    let mut copy = bytes.to_vec();
    let ((), peak) = allocation::peak_of(|| {
        let (mut decoder, mut from) = (Decoder::default(), 0);
        for read in reads {
            let mut stopped = false;
            let chunk = &mut copy[from..read.upto];
            let fed = decoder.feed(chunk, read.now_ms, &Limits::PRODUCT, |input| {
                stopped = matches!(input, Input::Close(_));
                if stopped { Flow::Stop } else { Flow::Continue }
            });
            if stopped || fed.is_err() {
                break;
            }
            from = read.upto;
        }
    });
    ensure(peak <= PEAK_MAX, || {
        format!("{peak} bytes at once for {} bytes in {reads:?}", bytes.len())
    })
}

/// A frame of ours gives its payload back to a client that knows nothing but RFC 6455 §5.2.
fn server_frame(random: &mut Random) -> Result<(), Broken> {
    let edges = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000];
    let length =
        if one_in(random, 20) { edges[random.random_range(0..8)] } else { size(random, 300) };
    let payload: Vec<u8> = (0..length).map(|_| random.random()).collect();
    for (opcode, frame) in [(1, encode::text(&payload)), (2, encode::binary(&payload))] {
        let unpacked = unpack(&frame);
        ensure(unpacked == Some((0x80 | opcode, &payload[..])), || {
            format!(
                "a server frame of {length} bytes is malformed: {:02x?}",
                &frame[..12.min(frame.len())]
            )
        })?;
    }
    let short = &payload[..length.min(CONTROL_BYTES_MAX)];
    let pong = encode::pong(short);
    ensure(unpack(&pong) == Some((0x8a, short)), || format!("a malformed pong: {pong:02x?}"))
}

/// First byte and payload of a whole, unmasked frame with the shortest header that holds its length.
fn unpack(frame: &[u8]) -> Option<(u8, &[u8])> {
    let (header, length) = match frame.get(1)? {
        126 => (4, u64::from(u16::from_be_bytes(frame.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(frame.get(2..10)?.try_into().ok()?)),
        short => (2, u64::from(*short)),
    };
    let shortest = match length {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    };
    let payload = &frame[header..];
    (header == shortest && payload.len() as u64 == length).then_some((frame[0], payload))
}
