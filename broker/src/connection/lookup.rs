//! Questions that a shard has to the archive, the log and the live state, asked beside it.
//!
//! Owns: the order of reads (W before a view, the head before a view), their deadline. Never does: decide.
//! Talks to: `Log`, `Live`, `Archive`. Start reading at: [`view`].

use std::{rc::Rc, time::Duration};

use backplane::{
    Archive, ArchiveError, Found, Head, Key, LogError, Revocation, Signal, View,
    archive::SESSIONS_MAX,
};
use protocol::{ConversationId, SessionId, UserId};
use tokio::{
    task::yield_now,
    time::{sleep, timeout},
};

use crate::{
    host::Host,
    shard::{AppendTicket, Principal, ViewTicket, WatchTicket},
};

/// A question that has no answer by then is answered with an error.
const DEADLINE: Duration = Duration::from_secs(5);
/// Pause between two looks at how far the store is.
const STORE_POLL: Duration = Duration::from_millis(20);
/// Sessions checked in a row before others get their turn.
const CHECKS_IN_A_ROW: usize = 64;

async fn ask<T>(
    host: &Host,
    question: impl Future<Output = Result<T, ArchiveError>>,
) -> Result<T, ArchiveError> {
    let asked = async {
        let _turn = host.lookups.acquire().await;
        question.await
    };
    timeout(DEADLINE, asked).await.unwrap_or_else(|_| Err(ArchiveError("no answer in time".into())))
}

/// Reads W, *then* the view: a membership event that the view lacks is above W, and the shard has heard it.
pub(crate) async fn view(host: Rc<Host>, ticket: ViewTicket, user: UserId) {
    let view = ask(&host, read_view(&host, user)).await;
    host.step(|shard, now, actions| shard.on_view(ticket, view, now, actions));
}

async fn read_view(host: &Host, user: UserId) -> Result<View, ArchiveError> {
    let mut stored = Vec::new();
    for partition in 0..host.around.tails.len() {
        let watermark = host.around.log.watermark(partition as u16).await;
        stored.push(watermark.map_err(|error| ArchiveError(error.to_string()))?);
    }
    if let Ok(Some(cached)) = host.around.live.view_get(user).await {
        let fresh = cached.as_of.len() == stored.len()
            && cached.as_of.iter().zip(&stored).all(|(seen, stored)| seen >= stored);
        if fresh {
            return Ok(cached);
        }
    }
    host.around.archive.view(user).await
}

/// Reads the head, *then* the view: the view includes the membership that the head names.
pub(crate) async fn authority(
    host: Rc<Host>,
    ticket: AppendTicket,
    conversation: ConversationId,
    user: UserId,
) {
    let question = read_authority(&*host.around.archive, conversation, user);
    let answer = ask(&host, question).await;
    host.step(|shard, now, actions| shard.on_authority(ticket, answer, now, actions));
}

async fn read_authority(
    archive: &dyn Archive,
    conversation: ConversationId,
    user: UserId,
) -> Result<(Option<Head>, View), ArchiveError> {
    let head = archive.head(conversation).await?;
    Ok((head, archive.view(user).await?))
}

/// Waits for the store, *then* asks: who was met a moment ago is a contact.
pub(crate) async fn contacts(
    host: Rc<Host>,
    ticket: WatchTicket,
    user: UserId,
    people: Vec<UserId>,
) {
    let answer = match timeout(DEADLINE, wait_for_store(&host)).await {
        Ok(Ok(())) => ask(&host, host.around.archive.contacts(user, people.clone())).await,
        _ => Err(ArchiveError("the store is behind".to_owned())),
    };
    host.step(|shard, now, actions| shard.on_contacts(ticket, &people, answer, now, actions));
}

async fn wait_for_store(host: &Host) -> Result<(), LogError> {
    for partition in 0..host.around.tails.len() as u16 {
        let end = host.around.log.end(partition).await?;
        while host.around.log.watermark(partition).await? < end {
            sleep(STORE_POLL).await;
        }
    }
    Ok(())
}

/// Finds what is stored of an old publish, and reminds the log of its producer.
pub(crate) async fn old(host: Rc<Host>, ticket: AppendTicket, key: Key) {
    let answer = ask(&host, find(&host, key)).await;
    host.step(|shard, now, actions| shard.on_found(ticket, answer, now, actions));
}

async fn find(host: &Host, key: Key) -> Result<Found, ArchiveError> {
    let found = host.around.archive.find(key).await?;
    if let Some(producer) = &found.producer {
        let Key { conversation, user, producer: name, .. } = key;
        let installed = host.around.log.install(conversation, user, name, producer.clone()).await;
        installed.map_err(|error| ArchiveError(error.to_string()))?;
    }
    Ok(found)
}

/// Looks whether sessions were revoked without this node hearing of it. Where live state has no answer, the archive has the
/// last word on a session: who logged out while live state was away is found within the same time (ADR 0011).
pub(crate) async fn revocations(host: Rc<Host>, principals: Vec<Principal>) {
    for (number, principal) in principals.iter().enumerate() {
        let Principal { user, session, issued_at_ms, .. } = *principal;
        let question = host.around.live.is_revoked(user, session, issued_at_ms);
        match timeout(DEADLINE, question).await {
            Ok(Ok(true)) => end(&host, session),
            Ok(Ok(false)) => {}
            // It is away: asking it for each of the others would only take longer.
            Ok(Err(_)) | Err(_) => return ended(&host, &principals[number..]).await,
        }
        if number % CHECKS_IN_A_ROW == 0 {
            yield_now().await;
        }
    }
}

/// The same, by the archive. Without an answer in time the round ends: the next one asks again, and rounds do not pile up.
async fn ended(host: &Rc<Host>, principals: &[Principal]) {
    for some in principals.chunks(SESSIONS_MAX) {
        let sessions = some.iter().map(|principal| (principal.user, principal.session)).collect();
        let Ok(over) = ask(host, host.around.archive.ended(sessions)).await else { return };
        over.into_iter().for_each(|session| end(host, session));
    }
}

fn end(host: &Rc<Host>, session: SessionId) {
    let signal = Signal::Revoked(Revocation::Session(session));
    host.step(|shard, now, actions| shard.on_signals(&[signal], now, actions));
}
