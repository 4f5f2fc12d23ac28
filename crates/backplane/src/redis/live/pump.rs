//! The subscription: one connection of the process, made again for ever.
//!
//! Owns: the socket, and how long it may be silent. Never does: decode what is pushed. Talks to: the server.
//! Start reading at: [`run`].

use std::{io, sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use redis::{Client, ConnectionAddr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    time::{sleep, timeout},
};

use super::{hub::Hub, link::pause_after};
use crate::redis::{
    connection::run_of,
    resp::{self, Reply},
};

/// Bytes of one read.
const READ_BYTES: usize = 64 * 1024;

/// How the first attempt went: `Err` is what the server said against it.
pub(super) type First = oneshot::Sender<Result<(), String>>;

/// Why there is no subscription.
enum Failure {
    /// The server answered, with an error.
    Said(String),
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Said(text) => f.write_str(text),
            Self::Io(error) => error.fmt(f),
        }
    }
}

/// Subscribes and hears, for ever. `patience`: how long the server may say nothing, even to a PING.
pub(super) async fn run(
    hub: Arc<Hub>,
    client: Client,
    channel: String,
    patience: Duration,
    first: First,
) {
    let (mut failures, mut first) = (0, Some(first));
    loop {
        let late = || Failure::Io(io::ErrorKind::TimedOut.into());
        let subscribed = timeout(patience, subscribe(&client, &channel)).await;
        let why = match subscribed.unwrap_or_else(|_| Err(late())) {
            Ok(mut subscription) => {
                hub.subscribed(Arc::clone(&subscription.run), subscription.n);
                answer(&mut first, Ok(()));
                if failures > 0 {
                    tracing::info!("live signals are heard again");
                }
                failures = 0;
                Failure::Io(subscription.hear(&hub, patience).await)
            }
            Err(why) => {
                let said = if let Failure::Said(text) = &why { Err(text.clone()) } else { Ok(()) };
                answer(&mut first, said);
                why
            }
        };
        if failures == 0 {
            tracing::warn!(%why, "live signals are not heard");
        }
        sleep(pause_after(failures)).await;
        failures = failures.saturating_add(1);
    }
}

fn answer(first: &mut Option<First>, outcome: Result<(), String>) {
    if let Some(first) = first.take() {
        let _ = first.send(outcome);
    }
}

struct Subscription {
    stream: TcpStream,
    buffer: BytesMut,
    /// Which start of the server it is to.
    run: Arc<str>,
    /// Flushes that had been published before.
    n: u64,
}

fn put_command(out: &mut Vec<u8>, parts: &[&str]) {
    out.extend_from_slice(format!("*{}\r\n", parts.len()).as_bytes());
    for part in parts {
        out.extend_from_slice(format!("${}\r\n{part}\r\n", part.len()).as_bytes());
    }
}

/// The counter is read *before* the subscription stands: what falls between the two shows as a gap, not as nothing.
async fn subscribe(client: &Client, channel: &str) -> Result<Subscription, Failure> {
    let info = client.get_connection_info();
    let ConnectionAddr::Tcp(host, port) = info.addr() else {
        return Err(Failure::Said("subscriptions speak TCP without TLS".to_owned()));
    };
    let mut stream = TcpStream::connect((host.as_str(), *port)).await?;
    stream.set_nodelay(true)?;
    let (mut hello, mut expected) = (Vec::new(), 3);
    let settings = info.redis_settings();
    if let Some(password) = settings.password() {
        put_command(&mut hello, &["AUTH", settings.username().unwrap_or("default"), password]);
        expected += 1;
    }
    put_command(&mut hello, &["INFO"]);
    put_command(&mut hello, &["GET", channel]);
    put_command(&mut hello, &["SUBSCRIBE", channel]);
    stream.write_all(&hello).await?;
    let (mut buffer, mut answers) = (BytesMut::new(), Vec::new());
    while answers.len() < expected {
        match resp::take(&mut buffer).map_err(io::Error::other)? {
            Some(Reply::Error(text)) => {
                return Err(Failure::Said(String::from_utf8_lossy(&text).into_owned()));
            }
            Some(answer) => answers.push(answer),
            None if stream.read_buf(&mut buffer).await? == 0 => {
                return Err(Failure::Io(io::ErrorKind::UnexpectedEof.into()));
            }
            None => {}
        }
    }
    let text = |at: usize| match answers.get(at) {
        Some(Reply::Text(text)) => String::from_utf8_lossy(text).into_owned(),
        _ => String::new(),
    };
    let run = run_of(&text(expected - 3)).map_err(Failure::Said)?;
    let n = text(expected - 2).parse().unwrap_or(0);
    Ok(Subscription { stream, buffer, run, n })
}

impl Subscription {
    /// Hears until the connection is of no use any more.
    async fn hear(&mut self, hub: &Hub, patience: Duration) -> io::Error {
        let mut asked = false;
        loop {
            match self.pushes(hub) {
                Ok(()) => {}
                Err(error) => return error,
            }
            let mut room = (&mut self.buffer).limit(READ_BYTES);
            match timeout(patience, self.stream.read_buf(&mut room)).await {
                Ok(Ok(0)) => return io::ErrorKind::UnexpectedEof.into(),
                Ok(Ok(_)) => asked = false,
                Ok(Err(error)) => return error,
                Err(_) if asked => return io::ErrorKind::TimedOut.into(),
                Err(_) => {
                    asked = true;
                    let mut ping = Vec::new();
                    put_command(&mut ping, &["PING"]);
                    match timeout(patience, self.stream.write_all(&ping)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => return error,
                        Err(_) => return io::ErrorKind::TimedOut.into(),
                    }
                }
            }
        }
    }

    fn pushes(&mut self, hub: &Hub) -> Result<(), io::Error> {
        while let Some(reply) = resp::take(&mut self.buffer).map_err(io::Error::other)? {
            // The answer to PING has two parts.
            let Reply::Array(parts) = reply else { continue };
            let Ok([kind, _, push]) = <[Bytes; 3]>::try_from(parts) else { continue };
            if kind == b"message"[..] {
                hub.hear(push);
            }
        }
        Ok(())
    }
}
