//! `webchat-api`: accounts, history, the page and the persister of a cluster.
//!
//! Owns: putting store, log, live state and keys together. Never does: product work. Talks to: `Api::start`.
//! Start reading at: [`serve::serve`].

mod admin;
mod check;
mod parts;
mod seed;
mod serve;
mod settings;

use std::process::ExitCode;

use clap::Parser;
use settings::{Cli, Command, Settings};

/// Sockets come and go in waves: glibc's heap keeps the holes of each (docs/adr/0008-allocator.md).
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // For a person: what is wrong and what to do, whatever RUST_BACKTRACE says.
            eprintln!("webchat-api: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<bool> {
    if cli.options.shared.print_config {
        print!("{}", toml::to_string(&Settings::read(&cli.options)?)?);
        return Ok(true);
    }
    let settings = Settings::resolve(&cli.options)?;
    process::start_logging();
    settings.warn();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match &cli.command {
            None => serve::serve(settings).await.map(|()| true),
            Some(Command::Check) => check::check(&settings).await,
            Some(Command::SeedUsers(plan)) => seed::seed(&settings, plan).await.map(|()| true),
        }
    })
}
