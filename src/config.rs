//! What the operator says: options, environment, one TOML file; resolved into one [`Settings`].
//!
//! Owns: names, defaults, the refusal of a public bind without https. Never does: start anything.
//! Talks to: the settings file. Start reading at: [`Settings::resolve`].

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use api::seed::SeedUsers;
use clap::{Args, Parser, Subcommand};
use process::settings;
use protocol::Network;
use serde::{Deserialize, Serialize};

/// WebChat: a chat for everyone on one machine, in one process.
#[derive(Debug, Parser)]
#[command(name = "webchat", version, about)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) options: Options,
    /// Without one: serve.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What can be done to a data folder while no server runs on it.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes people, groups and socket tokens for load tests. Never on an instance that people use.
    SeedUsers(SeedUsers),
    /// Gives somebody a new password, which is printed; all their sessions end.
    ResetPassword {
        /// Log-in name.
        username: String,
    },
}

/// Options of the server. Each one also as `WEBCHAT_…` in the environment and in the TOML file.
#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// Port of the page, the api and the socket; 0 = any free one.
    #[arg(long, env = "WEBCHAT_PORT")]
    port: Option<u16>,
    /// Port of metrics and health, on loopback only; 0 = any free one.
    #[arg(long, env = "WEBCHAT_ADMIN_PORT")]
    admin_port: Option<u16>,
    /// Folder of everything that is kept.
    #[arg(long, global = true, env = "WEBCHAT_DATA")]
    data: Option<PathBuf>,
    /// Address to listen on. Other than loopback only with --behind-proxy.
    #[arg(long, env = "WEBCHAT_LISTEN")]
    listen: Option<IpAddr>,
    /// Something in front speaks https with the browsers and sets X-Forwarded-For.
    #[arg(long, env = "WEBCHAT_BEHIND_PROXY")]
    behind_proxy: bool,
    /// Origin of the page as browsers see it, such as https://chat.example.org; may be repeated.
    #[arg(long = "origin", env = "WEBCHAT_ORIGINS", value_delimiter = ',')]
    origins: Vec<String>,
    /// Shard threads; 0 = one per core.
    #[arg(long, env = "WEBCHAT_SHARDS")]
    shards: Option<usize>,
    /// Addresses or blocks without rate limits and limits per address: for load tests only.
    #[arg(long = "trusted-source", env = "WEBCHAT_TRUSTED_SOURCES", value_delimiter = ',')]
    trusted_sources: Vec<Network>,
    /// Settings as TOML.
    #[arg(long, global = true, env = "WEBCHAT_CONFIG")]
    config: Option<PathBuf>,
    /// Addresses or blocks of the proxies whose X-Forwarded-For is believed; with --behind-proxy loopback by default.
    #[arg(long = "trusted-proxy", env = "WEBCHAT_TRUSTED_PROXIES", value_delimiter = ',')]
    trusted_proxies: Vec<Network>,
    /// Puts some people and messages into an empty instance, to look around; prints how to log in.
    #[arg(long)]
    pub(crate) demo: bool,
    /// Prints the settings in force as TOML, and ends.
    #[arg(long)]
    pub(crate) print_config: bool,
}

/// Everything resolved. The same names as in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) port: u16,
    pub(crate) admin_port: u16,
    pub(crate) data: PathBuf,
    pub(crate) listen: IpAddr,
    pub(crate) behind_proxy: bool,
    pub(crate) origins: Vec<String>,
    pub(crate) trusted_proxies: Vec<Network>,
    /// 0 = one per core.
    pub(crate) shards: usize,
    pub(crate) limits: Limits,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Limits {
    /// Addresses or blocks without rate limits and limits per address: for load tests only.
    pub(crate) trusted_sources: Vec<Network>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            port: 8080,
            admin_port: 9600,
            data: PathBuf::from("data"),
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            behind_proxy: false,
            origins: Vec::new(),
            trusted_proxies: Vec::new(),
            shards: 0,
            limits: Limits::default(),
        }
    }
}

impl Settings {
    /// Defaults, then the file, then environment and options. Errors: all of them at once, each with what to do.
    pub(crate) fn resolve(options: &Options) -> anyhow::Result<Self> {
        let mut settings: Self = settings::read(options.config.as_deref())?;
        settings.port = options.port.unwrap_or(settings.port);
        settings.admin_port = options.admin_port.unwrap_or(settings.admin_port);
        settings.data = options.data.clone().unwrap_or(settings.data);
        settings.listen = options.listen.unwrap_or(settings.listen);
        settings.behind_proxy |= options.behind_proxy;
        settings.shards = options.shards.unwrap_or(settings.shards);
        if !options.origins.is_empty() {
            settings.origins.clone_from(&options.origins);
        }
        if !options.trusted_sources.is_empty() {
            settings.limits.trusted_sources.clone_from(&options.trusted_sources);
        }
        if !options.trusted_proxies.is_empty() {
            settings.trusted_proxies.clone_from(&options.trusted_proxies);
        }
        settings::default_proxies(settings.behind_proxy, &mut settings.trusted_proxies);
        let problems = settings.problems();
        anyhow::ensure!(problems.is_empty(), "{}", problems.join("\n"));
        Ok(settings)
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = settings::front_problems(self.listen, self.behind_proxy, &self.origins);
        if self.shards > 256 {
            problems.push(format!("shards = {}: at most 256", self.shards));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> anyhow::Result<Settings> {
        let cli = Cli::try_parse_from([&["webchat"], arguments].concat())?;
        Settings::resolve(&cli.options)
    }

    #[test]
    fn the_defaults_are_private() {
        let settings = parse(&[]).unwrap();
        assert!(settings.listen.is_loopback() && settings.origins.is_empty());
    }

    #[test]
    fn a_public_bind_without_https_is_refused_and_says_why() {
        let refused = parse(&["--listen", "0.0.0.0"]).unwrap_err().to_string();
        assert!(refused.contains("--behind-proxy"), "{refused}");
        assert!(parse(&["--listen", "0.0.0.0", "--behind-proxy"]).is_err(), "needs an origin");
        let good = parse(&[
            "--listen",
            "0.0.0.0",
            "--behind-proxy",
            "--origin",
            "https://chat.example.org",
        ])
        .unwrap();
        assert!(good.behind_proxy);
    }

    #[test]
    fn all_errors_are_told_at_once() {
        let arguments = ["--listen", "0.0.0.0", "--origin", "chat.example.org", "--shards", "1000"];
        assert_eq!(parse(&arguments).unwrap_err().to_string().lines().count(), 3);
    }

    #[test]
    fn the_printed_settings_are_a_settings_file_and_unknown_keys_are_errors() {
        let printed = toml::to_string(&Settings::default()).unwrap();
        assert_eq!(settings::parse::<Settings>(&printed).unwrap(), Settings::default());
        assert!(settings::parse::<Settings>("prot = 1").is_err());
    }
}
