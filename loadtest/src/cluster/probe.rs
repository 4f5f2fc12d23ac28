//! Whether a process answers, and a word with a Redis.
//!
//! Owns: one short question each. Never does: wait longer than its bound. Talks to: loopback.
//! Start reading at: [`ready`].

use std::{io, time::Duration};

use anyhow::{Context, ensure};
use hyper::Method;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::topology::{Kind, Row, local};
use crate::http::Account;

/// For one question.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of one part of a reply.
const REPLY_BYTES_MAX: usize = 1024 * 1024;
/// Parts of a reply that is a list.
const REPLY_PARTS_MAX: usize = 100_000;

/// Whether it is ready to serve. Errors: why not.
pub async fn ready(row: &Row) -> anyhow::Result<()> {
    match row.kind {
        Kind::Log | Kind::Live => {
            let reply = redis(row.port, "PING").await?;
            ensure!(reply == "PONG", "{reply}");
            Ok(())
        }
        Kind::Api | Kind::Broker => {
            get(row.admin.context("no admin port")?, "/readyz").await.map(drop)
        }
        Kind::Nginx => get(row.port, "/nginx-health").await.map(drop),
    }
}

/// `GET` on a port of loopback. Errors: also any status but 2xx.
pub async fn get(port: u16, path: &str) -> anyhow::Result<String> {
    let mut probe = Account::new(local(port), None);
    let call = probe.call(Method::GET, path, None);
    let text = timeout(ANSWER_TIMEOUT, call).await.context("no answer")??;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Says one line to a Redis; the reply as text, the parts of a list with blanks between. Errors: also an error reply.
pub async fn redis(port: u16, line: &str) -> anyhow::Result<String> {
    timeout(ANSWER_TIMEOUT, ask(port, line)).await.context("no answer")?
}

async fn ask(port: u16, line: &str) -> anyhow::Result<String> {
    let mut stream = BufReader::new(TcpStream::connect(local(port)).await?);
    stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).await?;
    let (mut parts, mut open) = (Vec::new(), 1);
    while open > 0 {
        open -= 1;
        let mut head = String::new();
        stream.read_line(&mut head).await?;
        let end = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let (kind, rest) = head.trim_end().split_at_checked(1).ok_or_else(end)?;
        match kind {
            "-" => anyhow::bail!("{rest}"),
            "*" => {
                open += rest.parse::<usize>().context("an array without a length")?;
                ensure!(open <= REPLY_PARTS_MAX, "a reply of {open} parts");
            }
            "$" => {
                let length: usize = rest.parse().context("a bulk reply without a length")?;
                ensure!(length <= REPLY_BYTES_MAX, "a reply of {length} bytes");
                let mut bytes = vec![0; length + 2];
                stream.read_exact(&mut bytes).await?;
                bytes.truncate(length);
                parts.push(String::from_utf8_lossy(&bytes).into_owned());
            }
            _ => parts.push(rest.to_owned()),
        }
    }
    Ok(parts.join(" "))
}
