//! What is stored together, and how: both phases, and events that cannot be stored.
//!
//! Owns: [`Group`] and its bounds, the tries of a poison event. Never does: move the cursor. Talks to: [`Ingest`].
//! Start reading at: [`write`].

use std::{collections::HashMap, sync::Arc, time::Duration};

use backplane::Batch;
use protocol::{ConversationId, limits};
use tokio::time::sleep;

use crate::{
    metrics::Metrics,
    store::{DeadLetter, Holes, Ingest, StoreError},
};

/// Events stored together: four of the log's largest batches.
const EVENTS_MAX: usize = 4 * limits::BATCH_ENVELOPES_MAX;
/// Bytes stored together.
const BYTES_MAX: usize = 8 * limits::BATCH_BYTES_MAX;
/// Tries before an event is put aside.
const TRIES: u32 = 5;
/// Between two tries of a poison event: what was wrong may have been of the moment.
const TRY_PAUSE: Duration = Duration::from_millis(10);

/// Batches in log order, bounded.
#[derive(Debug, Default)]
pub(super) struct Group {
    batches: Vec<Arc<Batch>>,
    events: usize,
    bytes: usize,
}

impl Group {
    pub(super) fn push(&mut self, batch: Arc<Batch>) {
        self.events += batch.events.len();
        self.bytes += batch.cost();
        self.batches.push(batch);
    }

    pub(super) fn is_full(&self) -> bool {
        self.events >= EVENTS_MAX || self.bytes >= BYTES_MAX
    }

    pub(super) fn first(&self) -> Option<&Batch> {
        self.batches.first().map(|batch| &**batch)
    }

    pub(super) fn into_batches(self) -> Vec<Arc<Batch>> {
        self.batches
    }
}

/// Both phases, until they have answered. An event that the store rejects [`TRIES`] times becomes a dead letter and a hole.
/// Errors: any other failure of the store; everything may be repeated.
pub(super) async fn write(
    store: &dyn Ingest,
    batches: &[Arc<Batch>],
    metrics: &Metrics,
) -> Result<(), StoreError> {
    let mut buried = Holes::new();
    let mut tries: HashMap<(ConversationId, u64), u32> = HashMap::new();
    loop {
        let (conversation, seq, reason) = match phases(store, batches, &buried).await {
            Err(StoreError::Rejected { conversation, seq, reason }) => (conversation, seq, reason),
            other => return other,
        };
        let place = (conversation, seq);
        let tried = tries.entry(place).or_default();
        *tried += 1;
        if *tried < TRIES {
            sleep(TRY_PAUSE).await;
            continue;
        }
        let letter = letter_of(batches, place, &reason).filter(|_| !buried.contains(&place));
        // A store that rejects what it was not given, or a hole, is broken: that is no matter of one event.
        let Some(letter) = letter else { return Err(StoreError::Internal(reason)) };
        tracing::error!(%conversation, seq, reason, "an event cannot be stored and is put aside");
        store.bury(letter).await?;
        metrics.dead_letter("rejected");
        buried.insert(place);
    }
}

async fn phases(
    store: &dyn Ingest,
    batches: &[Arc<Batch>],
    buried: &Holes,
) -> Result<(), StoreError> {
    let holes = store.insert_events(batches.to_vec(), Arc::new(buried.clone())).await?;
    store.project(batches.to_vec(), Arc::new(holes)).await
}

fn letter_of(
    batches: &[Arc<Batch>],
    (conversation, seq): (ConversationId, u64),
    reason: &str,
) -> Option<DeadLetter> {
    batches.iter().find_map(|batch| {
        let event = batch
            .events
            .iter()
            .find(|event| event.seq == seq && event.envelope.conversation == conversation)?;
        let (event, reason) = (event.clone(), reason.to_owned());
        Some(DeadLetter { pos: batch.pos, ts: batch.ts, event, reason })
    })
}
