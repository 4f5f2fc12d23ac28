//! What an api process can be told: options, environment, TOML.
//!
//! Owns: names, defaults, rules of what only an api has. Never does: open anything. Talks to: clap, `process`.
//! Start reading at: [`Settings::resolve`].

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use api::seed::SeedUsers;
use clap::{Args, Parser, Subcommand};
use process::{
    cluster::{Shared, SharedOptions},
    settings::{self, Wrong},
};
use serde::{Deserialize, Serialize};

/// Port of page and api.
const PORT: u16 = 8080;
/// Port of metrics and health.
const ADMIN_PORT: u16 = 9600;
/// Port for brokers.
const INTERNAL_PORT: u16 = 9700;

/// Accounts, history, the page and the persister of a WebChat cluster: everything but /ws.
#[derive(Debug, Parser)]
#[command(name = "webchat-api", version, about)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) options: Options,
    /// Without one: serve.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What else the program does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tries store, keys, log and live state once, and tells how they are.
    Check,
    /// Makes people, groups and socket tokens for load tests, while no api runs on the folder. Never on an instance that
    /// people use.
    SeedUsers(SeedUsers),
}

/// Options. Each one also as `WEBCHAT_…` in the environment and in the TOML file.
#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) shared: SharedOptions,
    /// Folder of keys, pepper and store. One api runs on it.
    #[arg(long, global = true, env = "WEBCHAT_DATA")]
    data: Option<PathBuf>,
    /// Address for brokers. It speaks plain http: a network that nobody else is in.
    #[arg(long, global = true, env = "WEBCHAT_INTERNAL_LISTEN")]
    internal_listen: Option<IpAddr>,
    /// Port for brokers: archive and public keys, with the secret only; 0 = any free one.
    #[arg(long, global = true, env = "WEBCHAT_INTERNAL_PORT")]
    internal_port: Option<u16>,
    /// Counts messages and stores none: for load tests of log and brokers only.
    #[arg(long, global = true, env = "WEBCHAT_STORE_COUNTS_ONLY")]
    store_counts_only: bool,
}

/// Everything resolved. The same names as in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    #[serde(flatten)]
    pub(crate) shared: Shared,
    /// Folder of keys, pepper and store.
    pub(crate) data: PathBuf,
    /// Address for brokers.
    pub(crate) internal_listen: IpAddr,
    /// Port for brokers.
    pub(crate) internal_port: u16,
    /// Counts messages and stores none: for load tests of log and brokers only.
    pub(crate) store_counts_only: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shared: Shared::new(PORT, ADMIN_PORT),
            data: PathBuf::from("data"),
            internal_listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            internal_port: INTERNAL_PORT,
            store_counts_only: false,
        }
    }
}

impl Settings {
    /// Defaults, then the file, then environment and options.
    pub(crate) fn read(options: &Options) -> Result<Self, Wrong> {
        let mut settings: Self = settings::read(options.shared.config.as_deref())?;
        settings.shared.merge(&options.shared);
        if let Some(data) = &options.data {
            settings.data.clone_from(data);
        }
        settings.internal_listen = options.internal_listen.unwrap_or(settings.internal_listen);
        settings.internal_port = options.internal_port.unwrap_or(settings.internal_port);
        settings.store_counts_only |= options.store_counts_only;
        Ok(settings)
    }

    /// What somebody may have set without wanting it.
    pub(crate) fn warn(&self) {
        self.shared.warn();
        if self.store_counts_only {
            tracing::warn!("store_counts_only is set: messages are counted, and LOST for history");
        }
    }

    /// The same, and good to start with. Errors: all of them at once, each with what to do.
    pub(crate) fn resolve(options: &Options) -> Result<Self, Wrong> {
        let settings = Self::read(options)?;
        let problems = settings.problems();
        if problems.is_empty() { Ok(settings) } else { Err(Wrong(problems)) }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = self.shared.problems();
        if self.data.as_os_str().is_empty() {
            problems.push("data is empty: name a folder, --data DIR".to_owned());
        }
        problems
    }

    /// Where brokers ask.
    pub(crate) fn internal_address(&self) -> SocketAddr {
        SocketAddr::new(self.internal_listen, self.internal_port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_errors_are_told_at_once_each_with_what_to_do() {
        let cli = Cli::try_parse_from(["webchat-api", "--listen", "0.0.0.0", "--origin", "x"]);
        let mut settings = Settings::read(&cli.unwrap().options).unwrap();
        // An option cannot be empty, a file can say so.
        settings.data = PathBuf::new();
        let text = Wrong(settings.problems()).to_string();
        let expected = ["--behind-proxy", "origin", "--log ", "--live ", "secret", "--data"];
        assert_eq!(text.lines().count(), expected.len(), "{text}");
        for part in expected {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn the_sample_file_is_a_settings_file_and_its_comments_tell_the_defaults() {
        let sample = include_str!("../../../../deploy/config/api.toml");
        let settings: Settings = settings::parse(sample).unwrap();
        // Every line that is commented out is a key with its default.
        let all: String = sample
            .lines()
            .map(|line| {
                line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line)
            })
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(settings::parse::<Settings>(&all).unwrap(), settings);
        let names = toml::Table::try_from(Settings::default()).unwrap();
        let given: toml::Table = toml::from_str(&all).unwrap();
        assert_eq!(names.keys().collect::<Vec<_>>(), given.keys().collect::<Vec<_>>());
    }

    #[test]
    fn what_is_printed_is_a_settings_file() {
        let printed = toml::to_string(&Settings::default()).unwrap();
        assert_eq!(settings::parse::<Settings>(&printed).unwrap(), Settings::default());
        assert!(settings::parse::<Settings>("archives = []").is_err(), "that is a broker's");
    }
}
