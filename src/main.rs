//! `webchat`: broker and api in one process.
//!
//! Owns: the composition. Never does: product work. Talks to: broker, api, the local log. Start reading at: [`run`].

mod config;

use std::process::ExitCode;

use clap::Parser;
use config::{Cli, Settings};

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // For a person: what is wrong and what to do, whatever RUST_BACKTRACE says.
            eprintln!("webchat: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    let settings = Settings::resolve(&cli.options)?;
    if cli.options.print_config {
        print!("{}", toml::to_string(&settings)?);
        return Ok(());
    }
    anyhow::bail!(
        "this revision cannot serve yet: docs/STATUS.md says what is there and what comes next"
    )
}
