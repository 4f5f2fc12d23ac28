//! The log to the shards: each batch goes to the Tail, then to the ring.
//!
//! Owns: this node's cursor in one partition. Never does: wait for a shard. Talks to: `Log`. Start reading at: [`run`].

use std::{sync::Arc, time::Duration};

use backplane::{
    Batch, Gap, Log, LogError, Partition, ReadError, ring::Ring, standing::Standing,
    tail::SharedTail,
};
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
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It grows faster than it is read.
    #[error("the log grows faster than this node reads it")]
    Outrun,
}

/// Waits until the log lets this node take part, then reads everything that is still in it into the Tail, so that clients
/// can resume over a restart of the node. A log that goes away meanwhile, is trimmed or begins an epoch is begun again.
pub(crate) async fn catch_up(
    node: &Node,
    log: &dyn Log,
    partition: Partition,
    tail: &SharedTail,
    standing: &Standing,
) -> Result<(), CatchUpError> {
    let mut reads = 0;
    loop {
        standing.admitted().await;
        match read_all(node, log, partition, tail, &mut reads).await {
            Ok(after) => {
                standing.saw(after);
                tracing::info!(partition, at = %after, "read the log to its end");
                return Ok(());
            }
            Err(CatchUpError::Log(LogError::Unavailable(_)) | CatchUpError::Read(_)) => {
                tracing::warn!(partition, "the log did not let itself be read, trying again");
                sleep(RETRY).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn read_all(
    node: &Node,
    log: &dyn Log,
    partition: Partition,
    tail: &SharedTail,
    reads: &mut usize,
) -> Result<Pos, CatchUpError> {
    let mut after = log.first(partition).await?;
    tail.write().start(after);
    loop {
        *reads += 1;
        if *reads > READS_MAX {
            return Err(CatchUpError::Outrun);
        }
        let batches = log.read(partition, after, READ_BYTES).await?;
        let Some(last) = batches.last() else { return Ok(after) };
        if last.pos.epoch != after.epoch {
            return Err(ReadError::Unavailable("a new epoch began".to_owned()).into());
        }
        after = last.pos;
        let stored = log.watermark(partition).await?;
        let mut tail = tail.write();
        batches.into_iter().for_each(|batch| tail.push(batch));
        tail.evict(stored, node.now().wall_ms);
    }
}

/// Follows until the log closes.
pub(crate) async fn run(
    log: Arc<dyn Log>,
    partition: Partition,
    tail: SharedTail,
    ring: Arc<Ring>,
    shards: Arc<Shards>,
    standing: Arc<Standing>,
) {
    let mut after = tail.read().end();
    loop {
        let mut follower = log.follow(partition, after);
        let gap = loop {
            match follower.next().await {
                Ok(batch) => {
                    standing.saw(batch.pos);
                    pass_on(partition, batch, &tail, &ring);
                }
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
