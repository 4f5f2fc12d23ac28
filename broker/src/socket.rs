//! One socket of a shard: decoder state, and what could not be written yet. The only place that reads or writes bytes.
//!
//! Owns: [`Socket`]. Never does: decide what is said, wait. Talks to: the kernel. Start reading at: [`Socket::write`].

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice},
};

use bytes::{Buf, Bytes};
use smallvec::SmallVec;
use tokio::{io::Interest, net::TcpStream};

use crate::{admission::Seat, shard::ConnectionId, websocket::Decoder};

/// Frames per system call: 4 KiB of stack for their slices.
const SLICES_MAX: usize = 256;

/// Frames together no longer than this are copied into one buffer on the stack: a ping with its beat, an ack with its event.
const COPY_BYTES_MAX: usize = 2 * 1024;

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// All of it is in the kernel.
    All,
    /// The rest is kept; go on when the socket is writable.
    Blocked,
    /// The socket is dead.
    Gone,
}

/// What waits for the kernel; the first frame may be written in part.
#[derive(Debug, Default)]
struct Pending {
    frames: VecDeque<Bytes>,
    /// The answer to the newest ping: an older one is not sent any more (RFC 6455 §5.5.3).
    pong: Option<Bytes>,
}

/// A connection's socket. An idle one owns neither read nor write buffer.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) id: ConnectionId,
    pub(crate) stream: TcpStream,
    /// In the middle of a message; else there is nothing to keep.
    pub(crate) decoder: RefCell<Option<Box<Decoder>>>,
    /// The connection is over: only the farewell may touch the stream.
    pub(crate) closing: Cell<bool>,
    pending: RefCell<Option<Box<Pending>>>,
    _seat: Seat,
}

impl Socket {
    pub(crate) fn new(id: ConnectionId, stream: TcpStream, seat: Seat) -> Self {
        Self {
            id,
            stream,
            decoder: RefCell::default(),
            closing: Cell::new(false),
            pending: RefCell::default(),
            _seat: seat,
        }
    }

    /// Reads without waiting. A read that does not fill the buffer has emptied the socket: readiness is given back with it,
    /// which saves the second call that would only say so (one of two for most messages). Errors: `WouldBlock`: wait.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut emptied = None;
        let tried = self.stream.try_io(Interest::READABLE, || {
            let read = rustix::io::read(&self.stream, &mut *buffer)?;
            if read == 0 || read == buffer.len() {
                return Ok(read);
            }
            emptied = Some(read);
            Err(ErrorKind::WouldBlock.into())
        });
        emptied.map_or(tried, Ok)
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.pending.borrow().is_some()
    }

    /// Writes frames behind what waits already, and empties `frames`. What does not fit is kept: the caller bounds it by
    /// not calling while [`Self::is_blocked`], except with a close frame.
    pub(crate) fn write(&self, frames: &mut Vec<Bytes>) -> Written {
        if self.is_blocked() {
            self.keep(frames.drain(..));
            return self.write_pending();
        }
        let mut done = 0;
        while done < frames.len() {
            match self.write_some(frames[done..].iter()) {
                Ok(0) => return Written::Gone,
                Ok(written) => done += advance(&mut frames[done..], written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.keep(frames.drain(done..));
                    frames.clear();
                    return Written::Blocked;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Written::Gone,
            }
        }
        frames.clear();
        Written::All
    }

    fn keep(&self, frames: impl Iterator<Item = Bytes>) {
        self.pending.borrow_mut().get_or_insert_default().frames.extend(frames);
    }

    /// One system call: a plain one for a single frame, or for a few small ones copied together, which is cheaper than a
    /// vectored one.
    fn write_some<'a>(
        &self,
        frames: impl ExactSizeIterator<Item = &'a Bytes> + Clone,
    ) -> io::Result<usize> {
        if frames.len() == 1 {
            return self.stream.try_write(frames.last().map_or(&[][..], |frame| frame));
        }
        let bytes: usize = frames.clone().take(SLICES_MAX).map(Bytes::len).sum();
        if bytes <= COPY_BYTES_MAX {
            let mut copy: SmallVec<[u8; COPY_BYTES_MAX]> = SmallVec::new();
            frames.take(SLICES_MAX).for_each(|frame| copy.extend_from_slice(frame));
            return self.stream.try_write(&copy);
        }
        let slices: SmallVec<[IoSlice<'_>; SLICES_MAX]> =
            frames.take(SLICES_MAX).map(|frame| IoSlice::new(frame)).collect();
        self.stream.try_write_vectored(&slices)
    }

    /// Answers a ping, now or when the socket takes bytes again. One answer waits at most.
    pub(crate) fn pong(&self, frame: Bytes) -> Written {
        self.pending.borrow_mut().get_or_insert_default().pong = Some(frame);
        self.write_pending()
    }

    /// No pong may follow a close frame.
    pub(crate) fn forget_pong(&self) {
        if let Some(pending) = self.pending.borrow_mut().as_mut() {
            pending.pong = None;
        }
    }

    /// Goes on with what waits.
    pub(crate) fn write_pending(&self) -> Written {
        let mut slot = self.pending.borrow_mut();
        let Some(pending) = slot.as_mut() else { return Written::All };
        loop {
            if pending.frames.is_empty() {
                let Some(pong) = pending.pong.take() else {
                    *slot = None;
                    return Written::All;
                };
                pending.frames.push_back(pong);
            }
            let result = self.write_some(pending.frames.iter());
            match result {
                Ok(0) => return Written::Gone,
                Ok(written) => {
                    let done = advance(pending.frames.make_contiguous(), written);
                    pending.frames.drain(..done);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Written::Blocked,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Written::Gone,
            }
        }
    }

    /// A last frame without waiting: nothing is sent if the stream stands in the middle of another frame.
    pub(crate) fn try_last_word(&self, frame: &Bytes) {
        if !self.is_blocked() {
            let _ = self.stream.try_write(frame);
        }
    }
}

/// Passes over what was written. Returns how many frames are written whole; the next one has lost its written part.
fn advance(frames: &mut [Bytes], mut written: usize) -> usize {
    for (done, frame) in frames.iter_mut().enumerate() {
        if written < frame.len() {
            frame.advance(written);
            return done;
        }
        written -= frame.len();
    }
    frames.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_write_keeps_the_rest_of_its_frame() {
        let mut frames = ["abc", "de", "f"].map(Bytes::from);
        assert_eq!(advance(&mut frames, 4), 1);
        assert_eq!(frames[1..], ["e", "f"].map(Bytes::from));
        assert_eq!(advance(&mut frames[1..], 2), 2);
    }
}
