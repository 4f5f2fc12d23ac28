//! What was appended over HTTP and is not stored yet. A message has its author's pending, which is sent again in a new
//! epoch; the birth of a conversation, an edit or a member has only this.
//!
//! Owns: [`Kept`] of one partition. Never does: append. Talks to: nobody. Start reading at: [`Kept::lost`].

use std::collections::VecDeque;

use backplane::{Envelope, Verdict};
use protocol::Pos;

/// Envelopes: 1,024 × at most 64 KiB of body = 64 MiB. Beyond it the store is far behind, and nothing is taken.
const KEPT_MAX: usize = 1_024;

/// In the order in which they were appended.
#[derive(Debug, Default)]
pub(crate) struct Kept(VecDeque<(Pos, Envelope)>);

impl Kept {
    /// Keeps what the log has taken, until [`Self::forget`].
    pub(crate) fn note(&mut self, verdict: &Verdict, envelope: Envelope) {
        // A place without a number is in the store.
        if let Some(pos) = verdict.pos().filter(|pos| pos.n > 0) {
            self.0.push_back((pos, envelope));
        }
    }

    /// Everything up to here is stored. It says nothing of another epoch's numbers.
    pub(crate) fn forget(&mut self, stored: Pos) {
        self.0.retain(|(pos, _)| pos.epoch != stored.epoch || pos.n > stored.n);
    }

    /// Takes out what an epoch that is over may have lost.
    pub(crate) fn lost(&mut self, epoch: u32) -> Vec<Envelope> {
        let (lost, rest) = std::mem::take(&mut self.0).into_iter().partition(|k| k.0.epoch < epoch);
        self.0 = rest;
        let lost: VecDeque<(Pos, Envelope)> = lost;
        lost.into_iter().map(|(_, envelope)| envelope).collect()
    }

    /// The epoch of the oldest; `None` = nothing is kept.
    pub(crate) fn epoch(&self) -> Option<u32> {
        self.0.front().map(|(pos, _)| pos.epoch)
    }

    /// Whether nothing more should be appended.
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= KEPT_MAX
    }
}
