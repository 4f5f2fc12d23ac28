//! What a broker process can be told: options, environment, TOML.
//!
//! Owns: names, defaults, rules of what only a broker has. Never does: open anything. Talks to: clap, `process`.
//! Start reading at: [`Settings::resolve`].

use clap::{Args, Parser, Subcommand};
use internal::Address;
use process::{
    cluster::{Shared, SharedOptions},
    settings::{self, Wrong},
};
use protocol::limits::BATCH_ENVELOPES_MAX;
use serde::{Deserialize, Serialize};

/// Port of the sockets.
const PORT: u16 = 8081;
/// Port of metrics and health.
const ADMIN_PORT: u16 = 9601;
/// More threads than cores of any machine.
const SHARDS_MAX: usize = 256;

/// The sockets of a WebChat cluster: /ws, and nothing else for clients.
#[derive(Debug, Parser)]
#[command(name = "webchat-broker", version, about)]
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
    /// Tries log, live state, archive and keys once, and tells how they are.
    Check,
}

/// Options. Each one also as `WEBCHAT_…` in the environment and in the TOML file.
#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) shared: SharedOptions,
    /// Internal address of an api, http://host:port; may be repeated, they are tried in turn.
    #[arg(long = "archive", global = true, env = "WEBCHAT_ARCHIVES", value_delimiter = ',')]
    archives: Vec<String>,
    /// Shard threads; 0 = one per core.
    #[arg(long, global = true, env = "WEBCHAT_SHARDS")]
    shards: Option<usize>,
    /// Publishes of one append to the log at most; 1 shows in a load test what batching is worth.
    #[arg(long, global = true, env = "WEBCHAT_APPEND_ENVELOPES_MAX")]
    append_envelopes_max: Option<usize>,
}

/// Everything resolved. The same names as in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    #[serde(flatten)]
    pub(crate) shared: Shared,
    /// Internal addresses of apis.
    pub(crate) archives: Vec<String>,
    /// 0 = one per core.
    pub(crate) shards: usize,
    /// Publishes of one append to the log at most.
    pub(crate) append_envelopes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shared: Shared::new(PORT, ADMIN_PORT),
            archives: Vec::new(),
            shards: 0,
            append_envelopes_max: BATCH_ENVELOPES_MAX,
        }
    }
}

impl Settings {
    /// Defaults, then the file, then environment and options.
    pub(crate) fn read(options: &Options) -> Result<Self, Wrong> {
        let mut settings: Self = settings::read(options.shared.config.as_deref())?;
        settings.shared.merge(&options.shared);
        settings.shards = options.shards.unwrap_or(settings.shards);
        settings.append_envelopes_max =
            options.append_envelopes_max.unwrap_or(settings.append_envelopes_max);
        if !options.archives.is_empty() {
            settings.archives.clone_from(&options.archives);
        }
        Ok(settings)
    }

    /// The same, and good to start with. Errors: all of them at once, each with what to do.
    pub(crate) fn resolve(options: &Options) -> Result<Self, Wrong> {
        let settings = Self::read(options)?;
        let problems = settings.problems();
        if problems.is_empty() { Ok(settings) } else { Err(Wrong(problems)) }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = self.shared.problems();
        if self.archives.is_empty() {
            problems.push(
                "archives is empty: name the internal address of an api, --archive http://host:9700"
                    .to_owned(),
            );
        }
        let wrong = self.archives.iter().filter(|text| text.parse::<Address>().is_err());
        problems.extend(wrong.map(|text| {
            format!(
                "archives: {text:?} is not of the form http://host:port of an api's internal port"
            )
        }));
        if self.shards > SHARDS_MAX {
            problems.push(format!("shards = {}: at most {SHARDS_MAX}", self.shards));
        }
        if !(1..=BATCH_ENVELOPES_MAX).contains(&self.append_envelopes_max) {
            let given = self.append_envelopes_max;
            problems.push(format!("append_envelopes_max = {given}: 1 to {BATCH_ENVELOPES_MAX}"));
        }
        problems
    }

    /// The apis. What is no address was refused before.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        self.archives.iter().filter_map(|text| text.parse().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> anyhow::Result<Settings> {
        let cli = Cli::try_parse_from([&["webchat-broker"], arguments].concat())?;
        Ok(Settings::resolve(&cli.options)?)
    }

    #[test]
    fn all_errors_are_told_at_once_each_with_what_to_do() {
        let mut arguments = vec!["--listen", "0.0.0.0", "--archive", "https://x"];
        arguments.extend(["--shards", "999", "--append-envelopes-max", "0"]);
        let text = parse(&arguments).unwrap_err().to_string();
        let expected =
            ["--behind-proxy", "--log ", "--live ", "secret", "https://x", "shards", "append_env"];
        assert_eq!(text.lines().count(), expected.len(), "{text}");
        for part in expected {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn the_sample_file_is_a_settings_file_and_its_comments_tell_the_defaults() {
        let sample = include_str!("../../../../deploy/config/broker.toml");
        let settings: Settings = settings::parse(sample).unwrap();
        assert_eq!(settings.addresses().len(), settings.archives.len());
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
    fn what_is_printed_is_a_settings_file_without_passwords() {
        let mut settings = Settings::default();
        settings.shared.logs = vec!["redis://broker:s3cret@log:6379".parse().unwrap()];
        let printed = toml::to_string(&settings).unwrap();
        assert!(!printed.contains("s3cret") && !format!("{settings:?}").contains("s3cret"));
        let error = settings::parse::<Settings>(&printed).unwrap_err().to_string();
        assert!(error.contains("put it in again"), "{error}");
        settings.shared.logs = vec!["redis://log:6379".parse().unwrap()];
        let printed = toml::to_string(&settings).unwrap();
        assert_eq!(settings::parse::<Settings>(&printed).unwrap(), settings);
    }
}
