//! `webchat-api seed-users`.
//!
//! Owns: putting store, log and keys together for it. Never does: serve. Talks to: `api::seed`, the parts.
//! Start reading at: [`seed`].

use std::sync::Arc;

use api::{
    Persister, StoreArchive,
    clock::Clock,
    metrics::Metrics,
    persister,
    seed::{self, Ground, SeedUsers},
};
use backplane::Archive;
use process::cluster::{Links, Needs};

use crate::{parts, settings::Settings};

/// Seeds a folder that no api runs on, and the log.
pub(crate) async fn seed(settings: &Settings, plan: &SeedUsers) -> anyhow::Result<()> {
    let store = parts::open_store(&settings.data, true)?;
    let keyring = parts::open_keys(&settings.data, true)?;
    let partitions = settings.shared.logs.len() as u16;
    let archive: Arc<dyn Archive> = Arc::new(StoreArchive::new(store.read.clone(), partitions));
    let (node, needs) = (rand::random(), Needs::default());
    let links = Links::open(&settings.shared, node, &archive, true, &needs).await?;
    let (clock, log) = (Clock::default(), Arc::new(links.log));
    let seams = persister::Seams { log: log.clone(), store: store.ingest, node };
    let persister = Persister::start(&seams, &clock, &Metrics::default());
    let ground = Ground {
        store: &*store.read,
        log: &*log,
        persister: &persister,
        keyring: &keyring,
        clock: &clock,
    };
    let (people, groups) = seed::seed(&ground, plan).await?;
    println!("seeded {people} people and {groups} groups");
    Ok(())
}
