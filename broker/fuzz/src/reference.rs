//! A second decoder of client frames, written for plainness: whole input at once, copies everywhere, no state.
//!
//! Owns: what RFC 6455 and PROTOCOL.md §1 say comes out of some bytes. Never does: look at the real decoder.
//! Talks to: the limits of the protocol. Start reading at: [`expect`].

use protocol::{CloseCode, limits};

/// One thing that comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
}

/// What should come out of some bytes.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    /// In order, each with the number of bytes after which it is complete.
    pub(crate) seen: Vec<(usize, Seen)>,
    /// First and past-the-end byte of each message (all its fragments, and what came between them) and of each control
    /// frame outside of one. The last may be open: its end is `usize::MAX`.
    pub(crate) units: Vec<(usize, usize)>,
    /// After how many bytes it must be refused, and how.
    pub(crate) refused: Option<(usize, CloseCode)>,
    /// After how many bytes a close frame ended it.
    pub(crate) stopped: Option<usize>,
}

/// A data message under way.
struct Open {
    text: bool,
    bytes: Vec<u8>,
    frames: usize,
    start: usize,
}

enum Step {
    /// The next frame begins here.
    Next(usize),
    /// The bytes end within the frame.
    Short,
    Refused(usize, CloseCode),
    Stopped(usize),
}

/// Decodes.
pub(crate) fn expect(bytes: &[u8]) -> Expected {
    let (mut expected, mut open, mut at) = (Expected::default(), None, 0);
    while at < bytes.len() {
        match frame(bytes, at, &mut open, &mut expected) {
            Step::Next(next) => at = next,
            Step::Short => {
                if open.is_none() {
                    expected.units.push((at, usize::MAX));
                }
                break;
            }
            Step::Refused(after, code) => {
                if open.is_none() {
                    expected.units.push((at, usize::MAX));
                }
                expected.refused = Some((after, code));
                break;
            }
            Step::Stopped(after) => {
                expected.stopped = Some(after);
                break;
            }
        }
    }
    if let Some(open) = open {
        expected.units.push((open.start, usize::MAX));
    }
    expected
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// One frame that begins at `at`.
fn frame(bytes: &[u8], at: usize, open: &mut Option<Open>, expected: &mut Expected) -> Step {
    use CloseCode::{InvalidUtf8, ProtocolError, TooBig};
    let Some([first, second]) = bytes.get(at..at + 2) else { return Step::Short };
    let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
    if first & 0x70 != 0 || second & 0x80 == 0 || !matches!(opcode, 0 | 1 | 2 | 8 | 9 | 10) {
        return Step::Refused(at + 2, ProtocolError);
    }
    let (extra, least) = match second & 0x7f {
        126 => (2, 126),
        127 => (8, 65_536),
        _ => (0, 0),
    };
    let Some(extended) = bytes.get(at + 2..at + 2 + extra) else { return Step::Short };
    let length = if extra == 0 { u64::from(second & 0x7f) } else { big_endian(extended) };
    let judged = at + 2 + extra;
    let control = opcode >= 8;
    if length < least || length >> 63 == 1 || (control && (!fin || length > 125)) {
        return Step::Refused(judged, ProtocolError);
    }
    if !control {
        if (opcode == 0) != open.is_some() {
            return Step::Refused(judged, ProtocolError);
        }
        let (so_far, frames) = open.as_ref().map_or((0, 0), |o| (o.bytes.len(), o.frames));
        if so_far as u64 + length > limits::MESSAGE_BYTES_MAX as u64
            || frames + 1 > limits::FRAGMENTS_MAX
        {
            return Step::Refused(judged, TooBig);
        }
    }
    let begin = judged + 4;
    let end = begin + length as usize;
    let (Some(key), Some(masked)) = (bytes.get(judged..begin), bytes.get(begin..end)) else {
        return Step::Short;
    };
    let payload: Vec<u8> = masked.iter().enumerate().map(|(i, b)| b ^ key[i % 4]).collect();
    if control {
        if open.is_none() {
            expected.units.push((at, end));
        }
        return control_frame(opcode, &payload, end, expected);
    }
    let message =
        open.get_or_insert(Open { text: opcode == 1, bytes: Vec::new(), frames: 0, start: at });
    message.bytes.extend(payload);
    message.frames += 1;
    if message.text
        && let Err(error) = std::str::from_utf8(&message.bytes)
        && (fin || error.error_len().is_some())
    {
        return Step::Refused(end, InvalidUtf8);
    }
    if fin && let Some(message) = open.take() {
        expected.units.push((message.start, end));
        let make = if message.text { Seen::Text } else { Seen::Binary };
        expected.seen.push((end, make(message.bytes)));
    }
    Step::Next(end)
}

fn control_frame(opcode: u8, payload: &[u8], end: usize, expected: &mut Expected) -> Step {
    match (opcode, payload) {
        (9, _) => expected.seen.push((end, Seen::Ping(payload.to_vec()))),
        (10, _) => expected.seen.push((end, Seen::Pong)),
        (_, []) => {
            expected.seen.push((end, Seen::Close(None)));
            return Step::Stopped(end);
        }
        (_, [_]) => return Step::Refused(end, CloseCode::ProtocolError),
        (_, [high, low, reason @ ..]) => {
            let code = u16::from(*high) << 8 | u16::from(*low);
            let may_be_sent = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            if !may_be_sent {
                return Step::Refused(end, CloseCode::ProtocolError);
            }
            if std::str::from_utf8(reason).is_err() {
                return Step::Refused(end, CloseCode::InvalidUtf8);
            }
            expected.seen.push((end, Seen::Close(Some(code))));
            return Step::Stopped(end);
        }
    }
    Step::Next(end)
}
