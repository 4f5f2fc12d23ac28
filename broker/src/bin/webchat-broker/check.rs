//! `webchat-broker check`.
//!
//! Owns: what only a broker depends on. Never does: serve. Talks to: `process`, an api's internal port.
//! Start reading at: [`check`].

use std::sync::Arc;

use backplane::Archive;
use internal::{HttpArchive, KeyKeeper, Peers, PeersOptions};
use process::cluster::{finding, report};
use protocol::{ConversationId, UserId};

use crate::settings::Settings;

/// Tries everything once. Whether all is good.
pub(crate) async fn check(settings: &Settings) -> anyhow::Result<bool> {
    let secret = settings.shared.secret().map_err(anyhow::Error::msg)?;
    let mut findings = Vec::new();
    for address in settings.addresses() {
        let name = address.to_string();
        let peers = Peers::new(vec![address], &secret, PeersOptions::default());
        let archive = HttpArchive::new(peers.clone());
        let nobody = ConversationId::direct(UserId(1), UserId(1));
        let answered = finding(format!("archive {name}"), async {
            archive.head(nobody).await.map(|_| "answers".to_owned())
        });
        findings.push(answered.await);
        let keys = finding(format!("keys {name}"), async {
            KeyKeeper::fetch(&peers).await.map(|_| "fetched".to_owned())
        });
        findings.push(keys.await);
    }
    let peers = Peers::new(settings.addresses(), &secret, PeersOptions::default());
    findings.extend(settings.shared.findings(Arc::new(HttpArchive::new(peers))).await);
    Ok(report(&findings))
}
