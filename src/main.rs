//! `webchat`: broker and api in one process.
//!
//! Owns: the composition. Never does: product work. Talks to: broker, api, the local log. Start reading at: [`main`].

mod config;

use clap::Parser;
use config::{Cli, Settings};

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let settings = Settings::resolve(&cli.options)?;
    if cli.options.print_config {
        print!("{}", toml::to_string(&settings)?);
        return Ok(());
    }
    anyhow::bail!(
        "this revision cannot serve yet: docs/STATUS.md says what is there and what comes next"
    )
}
