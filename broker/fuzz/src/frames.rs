//! Client frames: programs of messages, and their bytes.
//!
//! Owns: [`program`] and [`bytes_of`]. Never does: break anything (`mutate` does). Talks to: nobody.
//! Start reading at: [`program`].

use protocol::limits::{FRAGMENTS_MAX, MESSAGE_BYTES_MAX};
use rand::RngExt;

use crate::{
    Random,
    mutate::{one_in, pick, size, text},
    reference::Seen,
};

/// One frame of a client.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    fin: bool,
    opcode: u8,
    payload: Vec<u8>,
}

/// Sizes at which a header or a verdict changes.
const EDGES: &[usize] =
    &[0, 1, 2, 125, 126, 127, 128, 255, 256, 65_534, MESSAGE_BYTES_MAX - 1, MESSAGE_BYTES_MAX];

fn message_size(random: &mut Random) -> usize {
    match random.random_range(0..8) {
        // Big ones are slow to check; they are rare.
        0 if one_in(random, 4) => EDGES[random.random_range(0..EDGES.len())],
        0 => EDGES[random.random_range(0..9)],
        _ => size(random, 2_000),
    }
}

fn control(random: &mut Random) -> (Frame, Seen) {
    let payload: Vec<u8> = (0..size(random, 125)).map(|_| random.random()).collect();
    if one_in(random, 3) {
        (Frame { fin: true, opcode: 10, payload }, Seen::Pong)
    } else {
        (Frame { fin: true, opcode: 9, payload: payload.clone() }, Seen::Ping(payload))
    }
}

fn closing(random: &mut Random) -> (Frame, Seen) {
    if one_in(random, 3) {
        return (Frame { fin: true, opcode: 8, payload: Vec::new() }, Seen::Close(None));
    }
    let code = [1000u16, 1001, 1003, 1007, 1011, 1014, 3000, 4999][random.random_range(0..8)];
    let mut payload = code.to_be_bytes().to_vec();
    let reason = size(random, 110);
    payload.extend(text(random, reason).into_bytes());
    (Frame { fin: true, opcode: 8, payload }, Seen::Close(Some(code)))
}

/// A message in 1 … 16 frames, cut anywhere, also inside characters, with control frames between them.
fn message(random: &mut Random, frames: &mut Vec<Frame>, seen: &mut Vec<Seen>) {
    let length = message_size(random);
    let is_text = !one_in(random, 6);
    let payload = if is_text {
        let mut text = text(random, length);
        while text.len() > MESSAGE_BYTES_MAX {
            text.pop();
        }
        text.into_bytes()
    } else {
        (0..length).map(|_| random.random()).collect()
    };
    let parts = if one_in(random, 2) { 1 } else { random.random_range(1..=FRAGMENTS_MAX) };
    let mut cuts: Vec<usize> = (1..parts).map(|_| random.random_range(0..=payload.len())).collect();
    cuts.extend([0, payload.len()]);
    cuts.sort_unstable();
    for (i, pair) in cuts.windows(2).enumerate() {
        let opcode = if i > 0 { 0 } else { 2 - u8::from(is_text) };
        let (fin, payload) = (i + 1 == parts, payload[pair[0]..pair[1]].to_vec());
        frames.push(Frame { fin, opcode, payload });
        if !fin && one_in(random, 8) {
            let (frame, what) = control(random);
            frames.push(frame);
            seen.push(what);
        }
    }
    seen.push(if is_text { Seen::Text(payload) } else { Seen::Binary(payload) });
}

/// What a well-behaved client sends, and what must come out of it.
pub(crate) fn program(random: &mut Random) -> (Vec<Frame>, Vec<Seen>) {
    let (mut frames, mut seen) = (Vec::new(), Vec::new());
    for _ in 0..=size(random, 6) {
        if one_in(random, 4) {
            let (frame, what) = control(random);
            frames.push(frame);
            seen.push(what);
        } else {
            message(random, &mut frames, &mut seen);
        }
    }
    if one_in(random, 4) {
        let (frame, what) = closing(random);
        frames.push(frame);
        seen.push(what);
    }
    (frames, seen)
}

/// Breaks the rules of framing, each in a way of its own.
pub(crate) fn spoil(random: &mut Random, frames: &mut Vec<Frame>) {
    let at = random.random_range(0..frames.len());
    let frame = &mut frames[at];
    match random.random_range(0..8) {
        0 => frame.opcode = random.random_range(0..16),
        1 => frame.fin = !frame.fin,
        2 => frame.opcode |= pick(random, &[&0x10u8, &0x20, &0x40]),
        3 => frame.payload.resize(MESSAGE_BYTES_MAX + random.random_range(0..3), b'x'),
        4 => frame.payload.resize(random.random_range(120..130), b'x'),
        5 => {
            let copy = frame.clone();
            let many = random.random_range(1..20);
            frames.splice(at..at, std::iter::repeat_n(copy, many));
        }
        6 => drop(frames.remove(at)),
        _ => {
            let other = random.random_range(0..frames.len());
            frames.swap(at, other);
        }
    }
}

/// How often [`bytes_of`] lies in a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Headers {
    /// Never.
    Honest,
    /// Now and then: no mask, a longer form than needed, another length than the payload's.
    Lying,
}

/// The bytes on the wire, masked with random keys.
pub(crate) fn bytes_of(random: &mut Random, frames: &[Frame], headers: Headers) -> Vec<u8> {
    let mut out = Vec::new();
    for frame in frames {
        let lie = if headers == Headers::Lying && one_in(random, 4) {
            random.random_range(1..5)
        } else {
            0
        };
        let mut length = frame.payload.len() as u64;
        if lie == 1 {
            let huge =
                [126, 65_535, 65_536, 65_537, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, u64::MAX];
            length = huge[random.random_range(0..huge.len())];
        }
        let masked = if lie == 2 { 0 } else { 0x80 };
        let form = match length {
            _ if lie == 3 => 127,
            n if lie == 4 && n <= 0xffff => 126,
            n @ 0..=125 => n as u8,
            126..=0xffff => 126,
            _ => 127,
        };
        out.extend([u8::from(frame.fin) << 7 | frame.opcode, masked | form]);
        match form {
            126 => out.extend((length as u16).to_be_bytes()),
            127 => out.extend(length.to_be_bytes()),
            _ => {}
        }
        let key: [u8; 4] = random.random();
        if masked != 0 {
            out.extend(key);
        }
        out.extend(frame.payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    }
    out
}
