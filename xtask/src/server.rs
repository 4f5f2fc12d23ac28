//! Starts a real `webchat` for a test and ends it by its pid.
//!
//! Owns: the child process. Never does: leave one behind. Talks to: the binary. Start reading at: [`Server::start`].

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context;

use crate::steps::target_dir;

/// A running server; dropped = killed.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
}

impl Server {
    /// Starts the dev build on a free port with its data in `folder`, and waits until it says its address.
    pub(crate) fn start(folder: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new(target_dir().join("debug/webchat"))
            .args(["--port", "0", "--admin-port", "0", "--data"])
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()
            .context("webchat is not built")?;
        let stdout = child.stdout.take().context("no stdout")?;
        let mut server = Self { child, url: String::new() };
        let begun = Instant::now();
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            if let Some(url) =
                line.split_whitespace().find(|word| word.starts_with("http://localhost:"))
            {
                server.url = url.trim_end_matches('/').to_owned();
                return Ok(server);
            }
            anyhow::ensure!(
                begun.elapsed() < Duration::from_secs(60),
                "webchat did not start in 60 s"
            );
        }
        anyhow::bail!("webchat ended before it was ready")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
