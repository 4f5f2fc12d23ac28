//! Ports: taken at the start, listened on when there is something to answer.
//!
//! Owns: binding, the limit of open files. Never does: accept. Talks to: the system. Start reading at: [`Port::take`].

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

/// Connections that wait for `accept`.
const BACKLOG: u32 = 1_024;
/// Open files that are no sockets of clients: log, store, listeners, and room to spare.
const FILES_RESERVED: u64 = 256;

/// A port cannot be taken.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}; if something else does, choose another with {option}: {error}"
)]
pub struct PortError {
    address: SocketAddr,
    option: &'static str,
    error: io::Error,
}

/// A port that is ours and does not listen yet: who connects is refused at once and tries the next process.
#[derive(Debug)]
pub struct Port {
    socket: TcpSocket,
    address: SocketAddr,
    option: &'static str,
}

impl Port {
    /// Takes it; 0 = any free one. `option` names the setting for people.
    pub fn take(address: SocketAddr, option: &'static str) -> Result<Self, PortError> {
        let failed = |error| PortError { address, option, error };
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        };
        let socket = socket.map_err(failed)?;
        // After a restart the old connections of the port are still winding up.
        socket.set_reuseaddr(true).map_err(failed)?;
        socket.bind(address).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address, option })
    }

    /// With the port that it has.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens. Errors: somebody else does by now.
    pub fn listen(self) -> Result<TcpListener, PortError> {
        let Self { socket, address, option } = self;
        socket.listen(BACKLOG).map_err(|error| PortError { address, option, error })
    }
}

/// Raises the limit of open files as far as the system lets us, and says how many clients fit.
pub fn sockets_max() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Refused: the old limit stays, and is what is read below.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files.saturating_sub(FILES_RESERVED)).unwrap_or(usize::MAX)
}

/// Tells whoever started the process where it listens; one line per address.
pub fn announce(what: &str, address: SocketAddr) {
    use std::io::Write;
    let mut out = io::stdout();
    // Whoever started us may have stopped listening.
    let _ = writeln!(out, "{what}: http://{address}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_port_refuses_until_it_listens_and_is_taken_once() {
        let port = Port::take(([127, 0, 0, 1], 0).into(), "--port").unwrap();
        let address = port.address();
        assert!(TcpStream::connect(address).await.is_err());
        let listener = port.listen().unwrap();
        assert!(TcpStream::connect(address).await.is_ok());
        let second = Port::take(address, "--port").and_then(Port::listen).unwrap_err();
        assert!(second.to_string().contains("--port"), "{second}");
        drop(listener);
    }
}
