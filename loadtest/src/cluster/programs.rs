//! Where the programs of a cluster are.
//!
//! Owns: the names and the places that are searched. Never does: start one. Talks to: the environment.
//! Start reading at: [`Programs`].

use std::path::PathBuf;

use crate::server;

/// The programs.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `webchat-broker`.
    pub broker: PathBuf,
    /// `webchat-api`.
    pub api: PathBuf,
    /// `redis-server` or `valkey-server`.
    pub redis: PathBuf,
    /// `nginx`.
    pub nginx: PathBuf,
}

impl Default for Programs {
    fn default() -> Self {
        Self {
            broker: server::binary_of("webchat-broker", "WEBCHAT_BROKER_BIN"),
            api: server::binary_of("webchat-api", "WEBCHAT_API_BIN"),
            redis: installed(&["redis-server", "valkey-server"], "WEBCHAT_REDIS_SERVER"),
            nginx: installed(&["nginx"], "WEBCHAT_NGINX"),
        }
    }
}

/// A program of the system: named by the environment, or on the path, or where only root looks.
fn installed(names: &[&str], variable: &str) -> PathBuf {
    if let Some(named) = std::env::var_os(variable) {
        return named.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .collect();
    let find = |name: &&str| folders.iter().map(|f| f.join(name)).find(|p| p.is_file());
    names.iter().find_map(find).unwrap_or_else(|| names[0].into())
}
