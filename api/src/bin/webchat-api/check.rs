//! `webchat-api check`.
//!
//! Owns: what only an api depends on. Never does: serve, or make a data folder. Talks to: `process`, the folder.
//! Start reading at: [`check`].

use std::sync::Arc;

use api::StoreArchive;
use process::cluster::{finding, report};

use crate::{parts, settings::Settings};

/// Tries everything once. Whether all is good.
pub(crate) async fn check(settings: &Settings) -> anyhow::Result<bool> {
    let folder = settings.data.display();
    let mut findings = Vec::new();
    let store = parts::open_store(&settings.data, false);
    let partitions = settings.shared.logs.len() as u16;
    let opened = store.as_ref().map(|store| StoreArchive::new(store.read.clone(), partitions));
    let told = finding(format!("store {folder}"), async {
        let store = store.as_ref().map_err(|error| format!("{error:#}"))?;
        let users = store.read.has_users().await.map_err(|error| error.to_string())?;
        Ok::<_, String>(if users { "has people" } else { "is empty" }.to_owned())
    });
    findings.push(told.await);
    let keys = finding(format!("keys {folder}"), async {
        parts::open_keys(&settings.data, false)
            .map(|keys| format!("{} signs", keys.kid()))
            .map_err(|error| format!("{error:#}"))
    });
    findings.push(keys.await);
    let archive: Arc<dyn backplane::Archive> = match opened {
        Ok(archive) => Arc::new(archive),
        // Asked only after a loss of the log, which a check does not mend.
        Err(_) => Arc::new(backplane::memory_archive::MemoryArchive::default()),
    };
    findings.extend(settings.shared.findings(archive).await);
    Ok(report(&findings))
}
