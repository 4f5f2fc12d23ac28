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
    pub(crate) decoder: RefCell<Decoder>,
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

    /// Writes frames behind what waits already. What does not fit is kept: the caller bounds it by not calling while
    /// [`Self::is_blocked`], except with a close frame.
    pub(crate) fn write(&self, frames: impl IntoIterator<Item = Bytes>) -> Written {
        self.pending.borrow_mut().get_or_insert_default().frames.extend(frames);
        self.write_pending()
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
            let slices: SmallVec<[IoSlice<'_>; SLICES_MAX]> =
                pending.frames.iter().take(SLICES_MAX).map(|frame| IoSlice::new(frame)).collect();
            let result = self.stream.try_write_vectored(&slices);
            drop(slices);
            match result {
                Ok(0) => return Written::Gone,
                Ok(written) => advance(&mut pending.frames, written),
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

fn advance(frames: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(front) = frames.front_mut() {
        if written < front.len() {
            front.advance(written);
            return;
        }
        written -= front.len();
        frames.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_write_keeps_the_rest_of_its_frame() {
        let mut frames: VecDeque<Bytes> = ["abc", "de", "f"].map(Bytes::from).into();
        advance(&mut frames, 4);
        assert_eq!(frames, ["e", "f"].map(Bytes::from));
        advance(&mut frames, 2);
        assert!(frames.is_empty());
    }
}
