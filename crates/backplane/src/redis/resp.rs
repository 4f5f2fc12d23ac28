//! The little of RESP2 that a subscription hears: replies cut out of a buffer without copying.
//!
//! Owns: where a reply ends. Never does: IO. Talks to: nobody. Start reading at: [`take`].

use bytes::{Bytes, BytesMut};

/// Bytes of one reply at most: a batch may hold 512 KiB, INFO a few.
const REPLY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Parts of an array at most: a message has three.
const PARTS_MAX: usize = 8;

/// A whole reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// `+OK`, `:1`, `$…`: what it says.
    Text(Bytes),
    /// `-ERR …`.
    Error(Bytes),
    /// Their texts.
    Array(Vec<Bytes>),
}

/// Bytes that are no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a reply")]
pub(super) struct NotReply;

/// Where a line begins and ends, and where the next begins.
fn line(bytes: &[u8], at: usize) -> Option<(u8, &[u8], usize)> {
    let rest = bytes.get(at..)?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let (kind, text) = rest[..end].split_first()?;
    Some((*kind, text, at + end + 2))
}

fn number(text: &[u8]) -> Result<usize, NotReply> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(NotReply)
}

/// A single value from `at`: its range and what follows it. `None`: not all there yet.
type Single = (u8, std::ops::Range<usize>, usize);

fn single(bytes: &[u8], at: usize) -> Result<Option<Single>, NotReply> {
    let Some((kind, text, next)) = line(bytes, at) else { return Ok(None) };
    match kind {
        b'+' | b'-' | b':' => Ok(Some((kind, at + 1..next - 2, next))),
        b'$' if text == b"-1" => Ok(Some((kind, next..next, next))),
        b'$' => {
            let length = number(text)?;
            if length > REPLY_BYTES_MAX {
                return Err(NotReply);
            }
            let end = next + length;
            Ok((bytes.len() >= end + 2).then_some((kind, next..end, end + 2)))
        }
        _ => Err(NotReply),
    }
}

/// Takes the first reply out of the buffer, if all of it is there. Errors: the connection is of no use any more.
pub(super) fn take(buffer: &mut BytesMut) -> Result<Option<Reply>, NotReply> {
    let Some(&first) = buffer.first() else { return Ok(None) };
    if first != b'*' {
        let Some((kind, range, next)) = single(buffer, 0)? else { return Ok(None) };
        let text = buffer.split_to(next).freeze().slice(range);
        return Ok(Some(if kind == b'-' { Reply::Error(text) } else { Reply::Text(text) }));
    }
    let Some((_, count, mut next)) = line(buffer, 0) else { return Ok(None) };
    let count = number(count)?;
    if count > PARTS_MAX {
        return Err(NotReply);
    }
    let mut ranges = Vec::with_capacity(count);
    for _ in 0..count {
        let Some((_, range, after)) = single(buffer, next)? else { return Ok(None) };
        ranges.push(range);
        next = after;
    }
    let whole = buffer.split_to(next).freeze();
    Ok(Some(Reply::Array(ranges.into_iter().map(|range| whole.slice(range)).collect())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Result<Vec<Reply>, NotReply> {
        let (mut buffer, mut replies) = (BytesMut::from(text), Vec::new());
        while let Some(reply) = take(&mut buffer)? {
            replies.push(reply);
        }
        assert!(buffer.is_empty());
        Ok(replies)
    }

    #[test]
    fn replies_are_cut_at_their_ends() {
        let message = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$4\r\na\r\nb\r\n";
        let parts = ["message", "c", "a\r\nb"].map(|part| Bytes::from_static(part.as_bytes()));
        let array = Reply::Array(parts.to_vec());
        let subscribed = b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n".as_slice();
        let texts = b"+OK\r\n$2\r\nab\r\n-ERR no\r\n".as_slice();
        let seen = all(&[message.as_slice(), texts, message].concat());
        let text = |text: &'static str| Reply::Text(Bytes::from_static(text.as_bytes()));
        let error = Reply::Error(Bytes::from_static(b"ERR no"));
        assert_eq!(seen, Ok(vec![array.clone(), text("OK"), text("ab"), error, array]));
        assert!(
            matches!(all(subscribed).as_deref(), Ok([Reply::Array(parts)]) if parts.len() == 3)
        );
        for cut in 0..message.len() {
            assert_eq!(take(&mut BytesMut::from(&message[..cut])), Ok(None), "{cut} bytes");
        }
    }

    #[test]
    fn what_is_no_reply_or_too_long_is_refused() {
        for bad in ["hello\r\n", "*9\r\n", "$99999999\r\n", "$x\r\n", "*1\r\n*1\r\n"] {
            assert_eq!(take(&mut BytesMut::from(bad.as_bytes())), Err(NotReply), "{bad}");
        }
    }
}
