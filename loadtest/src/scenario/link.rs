//! A lean connection for figures: no pendings, no resume, no history; what costs nothing cannot distort.
//!
//! Owns: opening many at a bounded pace. Never does: survive a loss (a figure with a loss is void). Talks to: the broker.
//! Start reading at: [`open_all`].

use std::{net::IpAddr, net::SocketAddr, time::Duration};

use anyhow::{Context, ensure};
use tokio::{task::JoinSet, time::timeout};

use crate::{
    socket::{Socket, Upgrade, next_source_ip},
    wire::{self, Frame},
};

/// Connects under way at a time.
const OPENING_MAX: usize = 128;
/// From the upgrade to `welcome`.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(15);

/// Opens one and waits for its `welcome`.
pub async fn open(
    target: SocketAddr,
    source: Option<IpAddr>,
    token: &str,
) -> anyhow::Result<Socket> {
    let mut socket = Socket::open(target, source, &Upgrade::bearer(token)).await?;
    socket.queue(wire::hello(None).as_bytes());
    let text =
        timeout(WELCOME_TIMEOUT, socket.next_text()).await.context("no welcome in time")??;
    let text = std::str::from_utf8(&text)?;
    let frame = Frame::scan(text).context("not an object")?;
    ensure!(frame.kind == "welcome", "instead of welcome: {text}");
    Ok(socket)
}

/// Opens one for each token, in order, from as many source addresses as needed.
pub async fn open_all(target: SocketAddr, tokens: &[String]) -> anyhow::Result<Vec<Socket>> {
    let mut sockets: Vec<Option<Socket>> = Vec::new();
    sockets.resize_with(tokens.len(), || None);
    let mut tasks = JoinSet::new();
    let keep = |done: Result<(usize, anyhow::Result<Socket>), _>,
                sockets: &mut [Option<Socket>]| {
        let (i, socket) = done?;
        sockets[i] = Some(socket.with_context(|| format!("connection {i}"))?);
        anyhow::Ok(())
    };
    for (i, token) in tokens.iter().cloned().enumerate() {
        while tasks.len() >= OPENING_MAX {
            let done = tasks.join_next().await.context("invariant: tasks run")?;
            keep(done, &mut sockets)?;
        }
        tasks.spawn(async move { (i, open(target, Some(next_source_ip()), &token).await) });
    }
    while let Some(done) = tasks.join_next().await {
        keep(done, &mut sockets)?;
    }
    Ok(sockets.into_iter().flatten().collect())
}
