//! What a sequencer does not know of a batch's conversations and producers is asked of the archive first.
//!
//! Owns: the order of the questions. Never does: decide. Talks to: an [`Archive`]. Start reading at: [`recall`].

use crate::{
    Archive, ArchiveError, Envelope,
    sequencer::{ProducerKey, Sequencer},
};

/// Installs what the archive knows; what it does not know either stays unknown. A producer's first publish is asked for,
/// too: it may be a late re-send of one that was forgotten (R11). Errors: the archive's; the batch is not stored then.
pub(crate) async fn recall(
    sequencer: &mut Sequencer,
    archive: &dyn Archive,
    envelopes: &[Envelope],
) -> Result<(), ArchiveError> {
    let mut asked: Option<ProducerKey> = None;
    for envelope in envelopes {
        let conversation = envelope.conversation;
        if !sequencer.knows(conversation) {
            let Some(head) = archive.head(conversation).await? else { continue };
            sequencer.seed(conversation, head);
        }
        let producer = (conversation, envelope.from, envelope.producer);
        // Runs of one producer stand together, so the one asked last is the one to look at.
        if asked == Some(producer) || sequencer.knows_producer(&producer) {
            continue;
        }
        asked = Some(producer);
        if let Some(state) = archive.find(envelope.key()).await?.producer {
            sequencer.install(producer, state);
        }
    }
    Ok(())
}
