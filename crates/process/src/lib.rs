//! What every server process of ours does the same: read its settings, wait for what it needs, listen, and end.
//!
//! Owns: the rules of settings files, what the processes of a cluster are all told, signals, backoff. Never does: know what a
//! process serves. Talks to: toml, the system. Start reading at: [`settings::parse`], then [`cluster`].

#[cfg(feature = "cluster")]
pub mod cluster;
pub mod end;
pub mod listen;
pub mod settings;
pub mod url;
pub mod wait;

use tracing_subscriber::EnvFilter;

/// Logs to stderr, by the filter in `WEBCHAT_LOG` (default `info`).
pub fn start_logging() {
    let filter = EnvFilter::try_from_env("WEBCHAT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
