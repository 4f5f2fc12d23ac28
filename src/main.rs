//! `webchat`: broker and api in one process.
//!
//! Owns: the composition. Never does: product work. Talks to: broker, api, the local log. Start reading at: [`serve::serve`].

mod config;
mod demo;
mod parts;
mod reset_password;
mod serve;

use std::{path::Path, process::ExitCode};

use api::seed::{self, Ground, SeedUsers};
use clap::Parser;
use config::{Cli, Command, Settings};
use parts::Parts;

/// Sockets come and go in waves: glibc's heap keeps the holes of each (docs/adr/0008-allocator.md).
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
    process::start_logging();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match &cli.command {
            None => serve::serve(settings, cli.options.demo).await,
            Some(Command::SeedUsers(plan)) => seed(&settings.data, plan).await,
            Some(Command::ResetPassword { username }) => {
                reset_password::reset(&settings.data, username).await
            }
        }
    })
}

/// Seeds a folder that no server runs on.
async fn seed(data: &Path, plan: &SeedUsers) -> anyhow::Result<()> {
    let parts = Parts::open(data).await?;
    let ground = Ground {
        store: &*parts.store,
        log: &*parts.log,
        persister: &parts.persister,
        keyring: &parts.keyring,
        clock: &parts.clock,
    };
    let (people, groups) = seed::seed(&ground, plan).await?;
    println!("seeded {people} people and {groups} groups");
    parts.close().await;
    Ok(())
}
