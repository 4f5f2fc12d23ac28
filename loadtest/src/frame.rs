//! The client's half of RFC 6455 framing, written apart from the broker's so that neither hides the other's mistake.
//!
//! Owns: encoding masked frames, decoding unmasked ones, joining fragments. Never does: IO.
//! Talks to: nobody. Start reading at: [`Decoder::decode`].

use bytes::{Buf, Bytes, BytesMut};

/// Bytes of one message from the server that we are willing to hold.
const INCOMING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// RFC 6455 §5.2.
pub mod opcode {
    /// Later part of a fragmented message.
    pub const CONTINUATION: u8 = 0;
    /// UTF-8 text.
    pub const TEXT: u8 = 1;
    /// Bytes.
    pub const BINARY: u8 = 2;
    /// End.
    pub const CLOSE: u8 = 8;
    /// Are you there.
    pub const PING: u8 = 9;
    /// Yes.
    pub const PONG: u8 = 10;
}

/// The server broke the framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameError(pub &'static str);

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "bad frame from the server: {}", self.0)
    }
}
impl std::error::Error for FrameError {}

/// One message or control frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A whole text message. Shape: a slice of the read buffer, never copied.
    Text(Bytes),
    /// To be answered with a Pong of the same bytes.
    Ping(Bytes),
    /// Answer to a Ping of ours.
    Pong,
    /// The server ends the connection: code (if it gave one) and reason.
    Close(Option<u16>, String),
}

/// Appends one final, masked frame.
pub fn encode(out: &mut Vec<u8>, opcode: u8, payload: &[u8], mask: [u8; 4]) {
    encode_part(out, 0x80 | opcode, payload, mask);
}

/// Appends one masked frame with the given first byte (FIN, reserved bits, opcode): hostile input uses it too.
pub fn encode_part(out: &mut Vec<u8>, first: u8, payload: &[u8], mask: [u8; 4]) {
    out.push(first);
    push_length(out, 0x80, payload.len());
    out.extend_from_slice(&mask);
    let from = out.len();
    out.extend_from_slice(payload);
    for (i, byte) in out[from..].iter_mut().enumerate() {
        *byte ^= mask[i & 3];
    }
}

/// Appends the length field, with the mask bit as given (0x80 or 0).
pub fn push_length(out: &mut Vec<u8>, mask_bit: u8, length: usize) {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => out.push(mask_bit | short),
        (_, Ok(medium)) => {
            out.push(mask_bit | 126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Takes bytes in, gives messages out.
#[derive(Debug, Default)]
pub struct Decoder {
    /// What was read and not decoded yet. The reader appends here.
    pub buffer: BytesMut,
    fragments: Option<BytesMut>,
}

impl Decoder {
    /// The next message, if all of it is here. Errors: [`FrameError`]; the connection is of no use afterwards.
    pub fn decode(&mut self) -> Result<Option<Incoming>, FrameError> {
        loop {
            let Some((first, payload)) = self.take_frame()? else { return Ok(None) };
            let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
            match opcode {
                opcode::PING => return Ok(Some(Incoming::Ping(payload))),
                opcode::PONG => return Ok(Some(Incoming::Pong)),
                opcode::CLOSE => return close(&payload).map(Some),
                opcode::TEXT if self.fragments.is_some() => {
                    return Err(FrameError("new message inside a fragmented one"));
                }
                opcode::TEXT if fin => return Ok(Some(Incoming::Text(payload))),
                opcode::TEXT => self.fragments = Some(BytesMut::from(&payload[..])),
                opcode::CONTINUATION => {
                    let Some(message) = &mut self.fragments else {
                        return Err(FrameError("continuation of nothing"));
                    };
                    if message.len() + payload.len() > INCOMING_BYTES_MAX {
                        return Err(FrameError("message too large"));
                    }
                    message.extend_from_slice(&payload);
                    if fin && let Some(whole) = self.fragments.take() {
                        return Ok(Some(Incoming::Text(whole.freeze())));
                    }
                }
                _ => return Err(FrameError("opcode that webchat.v1 does not use")),
            }
        }
    }

    fn take_frame(&mut self) -> Result<Option<(u8, Bytes)>, FrameError> {
        let b = &self.buffer[..];
        let [first, second, ..] = *b else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(FrameError("reserved bits"));
        }
        if second & 0x80 != 0 {
            return Err(FrameError("masked"));
        }
        let (header, length) = match (second, b) {
            (126, [_, _, h, l, ..]) => (4, usize::from(u16::from_be_bytes([*h, *l]))),
            (127, [_, _, rest @ ..]) if rest.len() >= 8 => {
                let mut eight = [0; 8];
                eight.copy_from_slice(&rest[..8]);
                (10, usize::try_from(u64::from_be_bytes(eight)).unwrap_or(usize::MAX))
            }
            (126 | 127, _) => return Ok(None),
            (short, _) => (2, usize::from(short)),
        };
        if length > INCOMING_BYTES_MAX {
            return Err(FrameError("frame too large"));
        }
        if b.len() < header + length {
            return Ok(None);
        }
        self.buffer.advance(header);
        Ok(Some((first, self.buffer.split_to(length).freeze())))
    }
}

fn close(payload: &[u8]) -> Result<Incoming, FrameError> {
    match payload {
        [] => Ok(Incoming::Close(None, String::new())),
        [_] => Err(FrameError("close with half a code")),
        [high, low, reason @ ..] => {
            let reason = String::from_utf8(reason.to_vec());
            let reason = reason.map_err(|_| FrameError("close reason is not utf-8"))?;
            Ok(Incoming::Close(Some(u16::from_be_bytes([*high, *low])), reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        push_length(&mut out, 0, payload.len());
        out.extend_from_slice(payload);
        out
    }

    #[test]
    fn frames_come_out_whole_however_the_bytes_are_cut() {
        let mut bytes = server_frame(0x81, b"short");
        bytes.extend(server_frame(0x01, &[b'a'; 300]));
        bytes.extend(server_frame(0x89, b"?"));
        bytes.extend(server_frame(0x80, &vec![b'b'; 70_000]));
        bytes.extend(server_frame(0x88, b"\x03\xe8bye"));
        for cut in [1, 2, 3, 7, 1000, bytes.len()] {
            let (mut decoder, mut seen) = (Decoder::default(), Vec::new());
            for part in bytes.chunks(cut) {
                decoder.buffer.extend_from_slice(part);
                while let Some(one) = decoder.decode().unwrap() {
                    seen.push(one);
                }
            }
            assert_eq!(seen.len(), 4, "cut {cut}");
            assert_eq!(seen[0], Incoming::Text(Bytes::from_static(b"short")));
            assert_eq!(seen[1], Incoming::Ping(Bytes::from_static(b"?")));
            assert!(matches!(&seen[2], Incoming::Text(t) if t.len() == 70_300));
            assert_eq!(seen[3], Incoming::Close(Some(1000), "bye".into()));
        }
    }

    #[test]
    fn what_a_server_must_not_send_is_an_error() {
        for bad in
            [&[0xc1, 0][..], &[0x81, 0x80, 0, 0, 0, 0], &[0x80, 0], &[0x82, 0], &[0x88, 1, 3]]
        {
            let mut decoder = Decoder::default();
            decoder.buffer.extend_from_slice(bad);
            assert!(decoder.decode().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn encoding_masks_the_payload() {
        let mut out = Vec::new();
        encode(&mut out, opcode::TEXT, b"hey", [1, 2, 3, 4]);
        assert_eq!(out, [0x81, 0x83, 1, 2, 3, 4, b'h' ^ 1, b'e' ^ 2, b'y' ^ 3]);
    }
}
