//! The log to the shards: each batch goes to the Tail, then to the ring.
//!
//! Owns: this node's cursor in one partition. Never does: wait for a shard. Talks to: `Log`. Start reading at: [`run`].

use std::{sync::Arc, time::Duration};

use backplane::{Batch, Gap, Log, LogError, Partition, ReadError, ring::Ring, tail::SharedTail};
use protocol::Pos;
use tokio::time::sleep;

use crate::{mail::Mail, node::Node, runtime::Shards};

/// Bytes of one read while catching up.
const READ_BYTES: usize = 1024 * 1024;
/// Between tries to reach the log.
const RETRY: Duration = Duration::from_millis(500);
/// Reads over which the start may take; each is up to [`READ_BYTES`] of what is at most 256 MiB behind W, plus what is
/// above it. A log that outruns this for so long is not one that this node can follow.
const READS_MAX: usize = 1_000_000;

/// The log could not be read to its end at the start.
#[derive(Debug, thiserror::Error)]
pub enum CatchUpError {
    /// It has no answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// It was trimmed while it was read, or has no answer.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It grows faster than it is read.
    #[error("the log grows faster than this node reads it")]
    Outrun,
}

/// Reads everything that is still in the log into the Tail, so that clients can resume over a restart of the node.
pub(crate) async fn catch_up(
    node: &Node,
    log: &dyn Log,
    partition: Partition,
    tail: &SharedTail,
) -> Result<(), CatchUpError> {
    let mut after = log.first(partition).await?;
    tail.write().start(after);
    for _ in 0..READS_MAX {
        let batches = log.read(partition, after, READ_BYTES).await?;
        let Some(last) = batches.last() else {
            tracing::info!(partition, at = %after, "read the log to its end");
            return Ok(());
        };
        after = last.pos;
        let stored = log.watermark(partition).await?;
        let mut tail = tail.write();
        batches.into_iter().for_each(|batch| tail.push(batch));
        tail.evict(stored, node.now().wall_ms);
    }
    Err(CatchUpError::Outrun)
}

/// Follows until the log closes.
pub(crate) async fn run(
    log: Arc<dyn Log>,
    partition: Partition,
    tail: SharedTail,
    ring: Arc<Ring>,
    shards: Arc<Shards>,
) {
    let mut after = tail.read().end();
    loop {
        let mut follower = log.follow(partition, after);
        let gap = loop {
            match follower.next().await {
                Ok(batch) => pass_on(partition, batch, &tail, &ring),
                Err(gap) => break gap,
            }
        };
        after = match gap {
            Gap::Closed => return,
            Gap::Trimmed { first } => Pos::new(first.epoch, first.n.saturating_sub(1)),
            Gap::EpochChanged { epoch, .. } => Pos::new(epoch, 0),
        };
        tracing::warn!(partition, %gap, "the log does not continue; connections resume");
        tail.write().start(after);
        shards.send_all(|| Mail::Reposition);
        sleep(RETRY).await;
    }
}

/// The Tail first: whoever reads the ring may look into the Tail.
fn pass_on(partition: Partition, batch: Arc<Batch>, tail: &SharedTail, ring: &Ring) {
    tail.write().push(Arc::clone(&batch));
    ring.push(partition, batch);
}
