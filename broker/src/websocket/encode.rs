//! Server frames: header and payload in one shared buffer, encoded once for all recipients.
//!
//! Owns: frame headers. Never does: masks (a server's frames have none), fragments. Talks to: nobody.
//! Start reading at: [`text`].

use bytes::Bytes;
use protocol::CloseCode;

const FIN: u8 = 0x80;

/// Bytes that [`begin`] leaves free for the longest header that we send (payloads are under 4 GiB).
const HEADER_ROOM: usize = 10;

/// A buffer to append a payload to, before [`finish_text`].
pub fn begin(out: &mut Vec<u8>) {
    out.clear();
    out.resize(HEADER_ROOM, 0);
}

/// The text frame around what was appended since [`begin`]. Shape: one allocation, header included.
pub fn finish_text(out: &mut [u8]) -> Bytes {
    let length = out.len() - HEADER_ROOM;
    let start = match length {
        0..=125 => {
            out[HEADER_ROOM - 1] = length as u8;
            HEADER_ROOM - 2
        }
        126..=0xffff => {
            out[HEADER_ROOM - 2..HEADER_ROOM].copy_from_slice(&(length as u16).to_be_bytes());
            out[HEADER_ROOM - 3] = 126;
            HEADER_ROOM - 4
        }
        _ => {
            out[HEADER_ROOM - 8..HEADER_ROOM].copy_from_slice(&(length as u64).to_be_bytes());
            out[HEADER_ROOM - 9] = 127;
            HEADER_ROOM - 10
        }
    };
    out[start] = FIN | 1;
    Bytes::copy_from_slice(&out[start..])
}

/// A text frame.
pub fn text(payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(payload.len() + HEADER_ROOM);
    begin(&mut out);
    out.extend_from_slice(payload);
    finish_text(&mut out)
}

/// A frame of any kind, for the conformance server.
pub fn binary(payload: &[u8]) -> Bytes {
    let mut frame = text(payload).to_vec();
    frame[0] = FIN | 2;
    frame.into()
}

fn control(opcode: u8, payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(payload.len() + 2);
    out.extend_from_slice(&[FIN | opcode, payload.len() as u8]);
    out.extend_from_slice(payload);
    out.into()
}

/// A ping without payload.
pub fn ping() -> Bytes {
    Bytes::from_static(&[FIN | 9, 0])
}

/// A ping, and these frames after it, as one piece: what is sent together is queued and written as one.
pub fn ping_then(frames: &[u8]) -> Bytes {
    [&ping(), frames].concat().into()
}

/// The answer to a ping.
pub fn pong(payload: &[u8]) -> Bytes {
    control(10, payload)
}

/// A close frame with our code and reason.
pub fn close(code: CloseCode) -> Bytes {
    close_with(code.code(), code.reason())
}

/// A close frame with any code; the reason is at most 123 bytes.
pub fn close_with(code: u16, reason: &str) -> Bytes {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(&reason.as_bytes()[..reason.len().min(123)]);
    control(8, &payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_as_short_as_the_payload_allows() {
        for (length, header) in [
            (0usize, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 0xff, 0xff]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let frame = text(&vec![b'x'; length]);
            assert_eq!(frame[..header.len()], header, "{length}");
            assert_eq!(frame.len(), header.len() + length);
        }
        assert_eq!(&close(CloseCode::Normal)[..], b"\x88\x08\x03\xe8normal");
        assert_eq!((&ping()[..], &pong(b"a")[..]), (&b"\x89\x00"[..], &b"\x8a\x01a"[..]));
    }
}
