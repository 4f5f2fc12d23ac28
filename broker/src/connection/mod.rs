//! The tasks of one connection: one that reads for as long as it lives, and short ones when something has to wait.
//!
//! Owns: waiting for a socket. Never does: read or write while it waits. Talks to: [`Host`]. They are owned by the
//! shard's `LocalSet`: dropping it ends them all. Start reading at: [`read_loop`].

pub(crate) mod lookup;

use std::{future::poll_fn, net::Shutdown, rc::Rc, time::Duration};

use bytes::Bytes;
use tokio::{
    task::yield_now,
    time::{Instant, timeout_at},
};

use crate::{
    host::{Host, Reading},
    metrics::Closed,
    socket::{Socket, Written},
};

/// Time for the last frames to leave and the client's close to come.
const FAREWELL: Duration = Duration::from_secs(2);

/// Waits until the socket has something, and lets the host read it into the shard's buffer.
pub(crate) async fn read_loop(host: Rc<Host>, socket: Rc<Socket>) {
    loop {
        if socket.closing.get() {
            return;
        }
        // Not `readable()`: its wait list is part of every idle connection's task, the slot for one reader is there anyway.
        if poll_fn(|context| socket.stream.poll_read_ready(context)).await.is_err() {
            return host.gone(socket.id, Closed::IoError);
        }
        match host.read(&socket) {
            Reading::Dry => {}
            Reading::More => yield_now().await,
            Reading::Over => return,
        }
    }
}

/// Goes on writing to a socket that was full, then with its outbox.
pub(crate) async fn unblock(host: Rc<Host>, socket: Rc<Socket>) {
    loop {
        let writable = socket.stream.writable().await;
        if socket.closing.get() {
            return;
        }
        match writable.map(|()| socket.write_pending()) {
            Ok(Written::All) => return host.flush(&[socket.id]),
            Ok(Written::Blocked) => {}
            Ok(Written::Gone) | Err(_) => return host.gone(socket.id, Closed::IoError),
        }
    }
}

/// Writes the last frames, says that there are no more, and waits for the client to go: closing with unread bytes would
/// reset the connection, and the close frame would be lost on its way.
pub(crate) async fn farewell(socket: Rc<Socket>, mut frames: Vec<Bytes>) {
    let deadline = Instant::now() + FAREWELL;
    socket.forget_pong();
    let mut written = socket.write(&mut frames);
    while written == Written::Blocked {
        written = match timeout_at(deadline, socket.stream.writable()).await {
            Ok(Ok(())) => socket.write_pending(),
            _ => Written::Gone,
        };
    }
    let handle = socket2::SockRef::from(&socket.stream);
    if written == Written::All && handle.shutdown(Shutdown::Write).is_ok() {
        while let Ok(Ok(())) = timeout_at(deadline, socket.stream.readable()).await {
            match socket.stream.try_read(&mut [0; 1024]) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
    }
    // Wakes the reader, so that it lets go of the socket.
    let _ = handle.shutdown(Shutdown::Both);
}
