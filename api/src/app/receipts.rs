//! How far everybody has got, and writing that down.
//!
//! Owns: merging the store's cursors with the live ones; the flusher. Never does: publish receipts (the broker does).
//! Talks to: the store, `Live`. Start reading at: [`App::receipts`], [`flush_receipts`].

use std::{collections::HashMap, sync::Arc, time::Duration};

use backplane::{Cursors, Live, Signal};
use protocol::{ConversationId, UserId, limits::RECEIPT_NAMES_MAX};
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::{App, AppError};
use crate::{auth::AuthContext, store::Store};

/// Messages to count for in one request.
const SEQS_MAX: usize = 100;
/// Receipts are stored at most this often.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// Cursors that wait for the store: 200,000 × about 64 B. Beyond it new ones are dropped until the next flush; their clients send them again.
const WAITING_MAX: usize = 200_000;

/// How far one person has got.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ReceiptInfo {
    /// Who.
    #[schema(value_type = String)]
    pub user: UserId,
    /// On a device up to here.
    pub delivered: u64,
    /// Read up to here.
    pub read: u64,
}

/// How many have got to a message.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ReceiptCount {
    /// The message.
    pub seq: u64,
    /// People on whose devices it is.
    pub delivered: usize,
    /// People who have read it.
    pub read: usize,
}

/// By person in small conversations, as counts in large ones.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Receipts {
    /// At most 32 members.
    Receipts(Vec<ReceiptInfo>),
    /// More.
    Counts(Vec<ReceiptCount>),
}

impl App {
    /// Everybody's cursors. Somebody who has receipts off is not shown, and sees nobody but themselves.
    pub async fn receipts(
        &self,
        who: AuthContext,
        id: ConversationId,
        seqs: &[u64],
    ) -> Result<Receipts, AppError> {
        if seqs.len() > SEQS_MAX {
            return Err(AppError::TooLarge("more than 100 seqs"));
        }
        let members = self.members_of(who, id).await?;
        let mut cursors: HashMap<UserId, Cursors> =
            self.store().cursors(id).await?.into_iter().collect();
        // Live may be away: then the store's cursors are at most a second old.
        for (user, newer) in self.live().receipts_get(id).await.unwrap_or_default() {
            merge(cursors.entry(user).or_default(), newer);
        }
        // Who has not been here yet has got to nothing, and is waited for.
        for user in &members {
            cursors.entry(*user).or_default();
        }
        let users = self.store().users(members.clone()).await?;
        let silent: Vec<UserId> = users.iter().filter(|u| u.receipts_off).map(|u| u.id).collect();
        let alone = silent.contains(&who.user);
        let shown = |user: &UserId| *user == who.user || !(alone || silent.contains(user));
        cursors.retain(|user, _| members.contains(user) && shown(user));
        if members.len() <= RECEIPT_NAMES_MAX {
            let info = |(user, cursors): (UserId, Cursors)| ReceiptInfo {
                user,
                delivered: cursors.delivered,
                read: cursors.read,
            };
            let mut receipts: Vec<_> = cursors.into_iter().map(info).collect();
            receipts.sort_unstable_by_key(|receipt| receipt.user);
            return Ok(Receipts::Receipts(receipts));
        }
        let others = || cursors.iter().filter(|(user, _)| **user != who.user).map(|(_, c)| c);
        let count = |seq: &u64| ReceiptCount {
            seq: *seq,
            delivered: others()
                .filter(|cursors| cursors.delivered.max(cursors.read) >= *seq)
                .count(),
            read: others().filter(|cursors| cursors.read >= *seq).count(),
        };
        Ok(Receipts::Counts(seqs.iter().map(count).collect()))
    }

    async fn members_of(
        &self,
        who: AuthContext,
        id: ConversationId,
    ) -> Result<Vec<UserId>, AppError> {
        let standing = self.standing(who.user, id).await?;
        Ok(match id.direct_members() {
            Some((a, b)) => vec![a, b],
            None => standing.group()?.members.keys().copied().collect(),
        })
    }
}

fn merge(into: &mut Cursors, newer: Cursors) {
    into.delivered = into.delivered.max(newer.delivered);
    into.read = into.read.max(newer.read);
}

/// Writes cursors that moved into the store, at most once a second; runs until it is dropped. What the store refuses waits
/// and is merged with what comes; what a lost signal held, the client sends again at its next resume (LOG.md §5).
pub(crate) async fn flush_receipts(live: Arc<dyn Live>, store: Arc<dyn Store>) {
    let mut signals = live.subscribe();
    let mut waiting: HashMap<(ConversationId, UserId), Cursors> = HashMap::new();
    let mut next_flush = Instant::now();
    loop {
        let due = !waiting.is_empty();
        tokio::select! {
            biased;
            // First: a stream of signals must not hold the flush back.
            () = tokio::time::sleep_until(next_flush), if due => {
                let batch = waiting.iter().map(|((id, user), cursors)| (*id, *user, *cursors));
                if let Err(error) = store.merge_cursors(batch.collect()).await {
                    tracing::warn!(%error, "receipts wait for the store");
                } else {
                    waiting.clear();
                }
                next_flush = Instant::now() + FLUSH_EVERY;
            }
            received = signals.next() => {
                for signal in received.unwrap_or_default() {
                    let (Signal::Receipt { conversation, user, cursors }
                    | Signal::OwnReceipt { conversation, user, cursors }) = signal
                    else {
                        continue;
                    };
                    if waiting.len() < WAITING_MAX || waiting.contains_key(&(conversation, user)) {
                        merge(waiting.entry((conversation, user)).or_default(), cursors);
                    }
                }
            }
        }
    }
}
