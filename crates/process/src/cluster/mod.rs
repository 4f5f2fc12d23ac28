//! What every process of a cluster is told: where it listens, the log, the live state, the secret.
//!
//! Owns: these settings, as options, environment and TOML, and their rules. Never does: open anything. Talks to: clap, serde.
//! Start reading at: [`Shared`], then [`Shared::merge`].

mod check;
mod links;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use clap::{Args, ValueEnum};
use internal::Secret;
use protocol::{Network, limits};
use serde::{Deserialize, Serialize};

pub use check::{Finding, finding, report};
pub use links::{LinkError, Links, Needs};

use crate::{settings, url::ServerUrl};

/// The environment may hold the secret itself; a file is better.
pub const SECRET_VARIABLE: &str = "WEBCHAT_CLUSTER_SECRET";

/// The level that the log must have for the process to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Synced before every answer (L2).
    #[default]
    Always,
    /// Synced every second (L1): power loss, and now and then a kill, loses a second of acknowledged messages.
    Everysec,
}

/// Options of every process of a cluster. Each one also as `WEBCHAT_…` in the environment and in the TOML file.
#[derive(Debug, Default, Args)]
pub struct SharedOptions {
    /// Port for clients, or for the proxy in front; 0 = any free one.
    #[arg(long, global = true, env = "WEBCHAT_PORT")]
    port: Option<u16>,
    /// Address to listen on. Other than loopback only with --behind-proxy.
    #[arg(long, global = true, env = "WEBCHAT_LISTEN")]
    listen: Option<IpAddr>,
    /// Port of metrics and health, on loopback only; 0 = any free one.
    #[arg(long, global = true, env = "WEBCHAT_ADMIN_PORT")]
    admin_port: Option<u16>,
    /// Log server, redis://user:password@host:port; one per partition, in the same order in every process.
    #[arg(long = "log", global = true, env = "WEBCHAT_LOGS", value_delimiter = ',')]
    logs: Vec<ServerUrl>,
    /// Server of presence, signals and revocations, redis://user:password@host:port.
    #[arg(long, global = true, env = "WEBCHAT_LIVE")]
    live: Option<ServerUrl>,
    /// The process does not start on a log below this level.
    #[arg(long, global = true, env = "WEBCHAT_DURABILITY")]
    durability: Option<Durability>,
    /// File with the secret of calls between processes, 32 bytes at least; or WEBCHAT_CLUSTER_SECRET.
    #[arg(long, global = true, env = "WEBCHAT_CLUSTER_SECRET_FILE")]
    cluster_secret_file: Option<PathBuf>,
    /// Something in front speaks https with the browsers and sets X-Forwarded-For.
    #[arg(long, global = true, env = "WEBCHAT_BEHIND_PROXY")]
    behind_proxy: bool,
    /// Addresses or blocks of the proxies whose X-Forwarded-For is believed; with --behind-proxy loopback by default.
    #[arg(
        long = "trusted-proxy",
        global = true,
        env = "WEBCHAT_TRUSTED_PROXIES",
        value_delimiter = ','
    )]
    trusted_proxies: Vec<Network>,
    /// Addresses or blocks without rate limits and limits per address: for load tests only.
    #[arg(
        long = "trusted-source",
        global = true,
        env = "WEBCHAT_TRUSTED_SOURCES",
        value_delimiter = ','
    )]
    trusted_sources: Vec<Network>,
    /// Origin of the page as browsers see it, such as https://chat.example.org; may be repeated.
    #[arg(long = "origin", global = true, env = "WEBCHAT_ORIGINS", value_delimiter = ',')]
    origins: Vec<String>,
    /// Settings as TOML.
    #[arg(long, global = true, env = "WEBCHAT_CONFIG")]
    pub config: Option<PathBuf>,
    /// Prints the settings in force as TOML, passwords masked, and ends.
    #[arg(long)]
    pub print_config: bool,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Addresses or blocks without rate limits and limits per address: for load tests only.
    pub trusted_sources: Vec<Network>,
}

/// The same, resolved, under the names of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    /// Port for clients.
    pub port: u16,
    /// Address of that port.
    pub listen: IpAddr,
    /// Port of metrics and health.
    pub admin_port: u16,
    /// Log servers, one per partition.
    pub logs: Vec<ServerUrl>,
    /// Server of the live state. A list of one, so that there may be none in a file that others complete.
    pub live: Vec<ServerUrl>,
    /// Least level of the log.
    pub durability: Durability,
    /// File of the secret; empty = from the environment.
    pub cluster_secret_file: PathBuf,
    /// Browsers come over https.
    pub behind_proxy: bool,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// Origins of our pages.
    pub origins: Vec<String>,
    /// `[limits]`
    pub limits: Limits,
}

impl Shared {
    /// The defaults of a process with these ports.
    pub fn new(port: u16, admin_port: u16) -> Self {
        Self {
            port,
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            admin_port,
            logs: Vec::new(),
            live: Vec::new(),
            durability: Durability::Always,
            cluster_secret_file: PathBuf::new(),
            behind_proxy: false,
            trusted_proxies: Vec::new(),
            origins: Vec::new(),
            limits: Limits::default(),
        }
    }

    /// Environment and options over the file. What was not given stays.
    pub fn merge(&mut self, options: &SharedOptions) {
        fn list<T: Clone>(target: &mut Vec<T>, given: &[T]) {
            if !given.is_empty() {
                *target = given.to_vec();
            }
        }
        self.port = options.port.unwrap_or(self.port);
        self.listen = options.listen.unwrap_or(self.listen);
        self.admin_port = options.admin_port.unwrap_or(self.admin_port);
        self.durability = options.durability.unwrap_or(self.durability);
        self.behind_proxy |= options.behind_proxy;
        if let Some(file) = &options.cluster_secret_file {
            self.cluster_secret_file.clone_from(file);
        }
        list(&mut self.logs, &options.logs);
        list(&mut self.live, options.live.as_slice());
        list(&mut self.origins, &options.origins);
        list(&mut self.trusted_proxies, &options.trusted_proxies);
        list(&mut self.limits.trusted_sources, &options.trusted_sources);
        settings::default_proxies(self.behind_proxy, &mut self.trusted_proxies);
    }

    /// Everything that is wrong, each with what to do.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = settings::front_problems(self.listen, self.behind_proxy, &self.origins);
        if self.logs.is_empty() {
            problems.push("logs is empty: name the log server, --log redis://host:port".to_owned());
        }
        if self.logs.len() > limits::PARTITIONS_MAX {
            let (count, max) = (self.logs.len(), limits::PARTITIONS_MAX);
            problems.push(format!("logs has {count} servers: at most {max}"));
        }
        if (1..self.logs.len()).any(|at| self.logs[..at].contains(&self.logs[at])) {
            problems.push("logs names a server twice: one server holds one partition".to_owned());
        }
        match self.live.len() {
            1 => {}
            0 => problems.push(
                "live is empty: name the server of the live state, --live redis://host:port"
                    .to_owned(),
            ),
            _ => problems.push("live has more than one server: name one".to_owned()),
        }
        problems.extend(self.secret().err());
        problems
    }

    /// The secret, from the file or the environment. Errors: not there, too short; with what to do.
    pub fn secret(&self) -> Result<Secret, String> {
        let secret = if self.cluster_secret_file.as_os_str().is_empty() {
            Secret::from_text(&std::env::var(SECRET_VARIABLE).unwrap_or_default())
        } else {
            Secret::from_file(&self.cluster_secret_file)
        };
        secret.map_err(|error| {
            format!(
                "{error}: make one with `head -c 32 /dev/urandom | base64 > FILE` and give all processes the same \
                 --cluster-secret-file FILE (or {SECRET_VARIABLE})"
            )
        })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.listen, self.port)
    }

    /// Where metrics and health are.
    pub fn admin_address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.admin_port))
    }

    /// The log servers, passwords included.
    pub fn log_urls(&self) -> Vec<String> {
        self.logs.iter().map(|url| url.reveal().to_owned()).collect()
    }

    /// Warns of what is allowed and unwise.
    pub fn warn(&self) {
        if !self.limits.trusted_sources.is_empty() {
            tracing::warn!(
                "limits.trusted_sources is set: no limits for load tests, not for people"
            );
        }
        if self.durability == Durability::Everysec {
            tracing::warn!("durability is everysec: a second of acknowledged messages may be lost");
        }
        let in_arguments =
            std::env::args().any(|text| text.contains("redis://") && text.contains('@'));
        if in_arguments {
            tracing::warn!(
                "an argument holds a password, which all users of this machine can read: use WEBCHAT_LOGS, \
                 WEBCHAT_LIVE or the settings file"
            );
        }
    }
}
