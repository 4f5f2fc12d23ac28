//! Raw events by seq, as on the socket.
//!
//! Owns: what is withheld from whom, as holes. Never does: fold (pages.rs). Talks to: the history reader.
//! Start reading at: [`App::events`].

use backplane::{StoredEvent, sequencer::EPOCH_SKIP};
use protocol::{
    ConversationId, EventKind, UserId,
    body::target_of,
    event::{EventHead, ServerFrame, encode_event},
    limits::PAGE_MAX,
};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{App, AppError};
use crate::auth::AuthContext;

/// Events contiguous from the asked position + 1.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventPage {
    /// Lifetime of the numbering.
    pub epoch: u32,
    /// The last seq there is.
    pub head: u64,
    /// Frames exactly as on the socket, without `at`.
    #[schema(value_type = Vec<Object>)]
    pub events: Vec<Box<RawValue>>,
}

impl App {
    /// Events after a position. `min_seq`: the answer must be able to reach it. Errors: `Unavailable` if it is not there yet.
    pub async fn events(
        &self,
        who: AuthContext,
        id: ConversationId,
        after: u64,
        limit: Option<usize>,
        min_seq: Option<u64>,
    ) -> Result<EventPage, AppError> {
        self.stores_messages()?;
        let limit = limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX) as u64;
        let summary = self.summary(who, id).await?;
        let head = summary.conversation.head;
        if min_seq.is_some_and(|wanted| wanted > head.seq) {
            return Err(AppError::unavailable());
        }
        let since = summary.member.map_or(1, |member| member.since);
        let blocked = self.store().blocked(who.user).await?;
        let from = after.saturating_add(1);
        let mut frames = Frames::new(id, head.epoch, since);
        // What was before one's own time is one hole.
        if from < since && head.seq >= from {
            frames.skip(from, (since - 1).min(head.seq));
        }
        let begin = from.max(since);
        if begin <= head.seq {
            let mut events = self.history().events(id, begin, head.seq).await?;
            events.truncate(limit as usize);
            frames.epoch = events.last().map_or(head.epoch, |event| event.epoch);
            frames.next = begin;
            for event in &events {
                frames.push(event, &blocked)?;
            }
        }
        frames.end_hole()?;
        Ok(EventPage { epoch: head.epoch, head: head.seq, events: frames.out })
    }
}

/// Frames in the making; neighbouring holes become one.
struct Frames {
    id: ConversationId,
    epoch: u32,
    since: u64,
    /// The seq that comes next.
    next: u64,
    hole: Option<(u64, u64)>,
    out: Vec<Box<RawValue>>,
}

impl Frames {
    fn new(id: ConversationId, epoch: u32, since: u64) -> Self {
        Self { id, epoch, since, next: 1, hole: None, out: Vec::new() }
    }

    /// What an epoch left out when it began is a hole, and nothing else that is not there. Events are stored in order, so
    /// another gap is a fault: it is not passed off as nothing.
    fn pass_to(&mut self, event: &StoredEvent) -> Result<(), AppError> {
        let missing = event.seq.saturating_sub(self.next);
        if missing >= EPOCH_SKIP {
            self.skip(self.next, event.seq - 1);
        } else if missing > 0 {
            tracing::error!(conversation = %self.id, from = self.next, to = event.seq - 1,
                "events are missing in the store");
            return Err(AppError::unavailable());
        }
        self.next = event.seq + 1;
        Ok(())
    }

    fn skip(&mut self, from: u64, to: u64) {
        self.hole = Some((self.hole.map_or(from, |(first, _)| first), to));
    }

    fn push(&mut self, event: &StoredEvent, blocked: &[UserId]) -> Result<(), AppError> {
        self.pass_to(event)?;
        match event.kind {
            Some(kind)
                if !withheld(kind, event.from, blocked)
                    && !is_about_before(kind, event, self.since) =>
            {
                self.end_hole()?;
                let head = EventHead {
                    kind,
                    conversation: self.id,
                    epoch: event.epoch,
                    seq: event.seq,
                    ordinal: event.ordinal,
                    from: event.from,
                    producer: event.producer,
                    no: event.no,
                    ts: event.ts,
                };
                let mut frame = Vec::with_capacity(event.body.len() + 256);
                encode_event(&mut frame, &head, &event.body, "");
                self.raw(frame)
            }
            _ => {
                self.skip(event.seq, event.seq);
                Ok(())
            }
        }
    }

    fn end_hole(&mut self) -> Result<(), AppError> {
        let Some((from, to)) = self.hole.take() else { return Ok(()) };
        let (conversation, epoch) = (self.id, self.epoch);
        let frame = ServerFrame::Hole { conversation, epoch, from, to, at: String::new() };
        self.raw(serde_json::to_vec(&frame).unwrap_or_default())
    }

    fn raw(&mut self, frame: Vec<u8>) -> Result<(), AppError> {
        let frame = String::from_utf8(frame).ok().and_then(|text| RawValue::from_string(text).ok());
        self.out
            .push(frame.ok_or_else(|| AppError::Internal("a stored body is no json".to_owned()))?);
        Ok(())
    }
}

/// Whether an event is about a message from before somebody's time: the new words of an old message are as old as it is.
fn is_about_before(kind: EventKind, event: &StoredEvent, since: u64) -> bool {
    // Nobody was before the first event.
    since > 1 && target_of(kind, &event.body).is_some_and(|target| target < since)
}

/// The same rule as on the socket: what a blocked person writes and puts on messages is not shown; what changes the
/// conversation for everybody is, and that something was deleted.
fn withheld(kind: EventKind, from: UserId, blocked: &[UserId]) -> bool {
    let hideable = matches!(kind, EventKind::Message | EventKind::Edit | EventKind::Reaction);
    hideable && blocked.contains(&from)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use protocol::Producer;

    use super::*;

    fn frames(seqs: &[u64]) -> Result<Vec<String>, AppError> {
        let id = ConversationId::group(1);
        let mut frames = Frames::new(id, 2, 1);
        for (&seq, no) in seqs.iter().zip(1..) {
            let event = StoredEvent {
                conversation: id,
                epoch: 1 + u32::from(seq > EPOCH_SKIP),
                seq,
                ordinal: no,
                from: UserId(1),
                producer: Producer(1),
                no,
                ts: 1,
                kind: Some(EventKind::Message),
                body: Bytes::from_static(br#"{"text":"x"}"#),
            };
            frames.push(&event, &[])?;
        }
        frames.end_hole()?;
        Ok(frames.out.iter().map(|frame| frame.get().to_owned()).collect())
    }

    /// Found by a fault campaign: nobody got over the numbers that an epoch leaves out.
    #[test]
    fn what_an_epoch_left_out_is_a_hole_and_what_is_lost_is_not() {
        let after = EPOCH_SKIP + 3;
        let told = frames(&[1, 2, after, after + 1]).unwrap();
        assert_eq!(told.len(), 5);
        let hole: serde_json::Value = serde_json::from_str(&told[2]).unwrap();
        assert_eq!((hole["type"].as_str(), hole["from"].as_u64()), (Some("hole"), Some(3)));
        assert_eq!(hole["to"].as_u64(), Some(after - 1));
        assert!(frames(&[1, 2, 4]).is_err(), "a lost event is none");
    }
}
