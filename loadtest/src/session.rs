//! A device's memory: positions, pendings, the resume token. PROTOCOL.md §4 and §5 as a state machine.
//!
//! Owns: what is applied to the application and what still has to be sent. Never does: IO or clocks (they are passed in).
//! Talks to: nobody. Start reading at: [`Session::on_frame`].

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use protocol::{ConversationId, ErrorCode, Producer, error::Retry};

use crate::{
    history::{Delivery, Gauge, Log, Observation, Outcome, Publish, Slot},
    http::{end_of, slot_of},
    stamp::{MessageId, Stamp},
    wire::{self, Frame},
};

/// Waiting time when a `later` error names none.
const RETRY_MS: u64 = 50;
/// Live events kept aside per conversation while a gap is fetched; more are fetched as well.
const HELD_MAX: usize = 4_096;

/// A publish that is not safe yet.
#[derive(Debug, Clone)]
struct Pending {
    no: u64,
    text: String,
    /// Index in the log's publishes.
    record: usize,
    /// On this connection, without an answer.
    in_flight: bool,
    /// An attempt ended without an answer: it may be stored.
    maybe: bool,
    acked: Option<(u32, u64)>,
    /// Has an ack, and is sent again all the same: whether the ack still holds, or who tells of `persisted`, is open.
    again: bool,
}

/// One conversation, as the device knows it.
#[derive(Debug, Default)]
struct Place {
    epoch: u32,
    /// Everything up to here is applied.
    seq: u64,
    /// Seen above a gap.
    held: BTreeMap<u64, Delivery>,
    next_no: u64,
    pendings: VecDeque<Pending>,
    /// The lowest `no` that a final refusal has freed. Later pendings move down to it when nothing is in flight any more:
    /// an answer names only its `no`, and must not meet another pending under it.
    freed: Option<u64>,
}

impl Place {
    /// Whether it may send now.
    fn renumber(&mut self) -> bool {
        let Some(freed) = self.freed else { return true };
        if self.pendings.iter().any(|pending| pending.in_flight) {
            return false;
        }
        self.next_no = freed - 1;
        for later in self.pendings.iter_mut().filter(|pending| pending.no > freed) {
            self.next_no += 1;
            later.no = self.next_no;
        }
        self.freed = None;
        true
    }
}

/// What the outside has to do after a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Todo {
    /// Nothing.
    Nothing,
    /// Compare all positions with the heads, and fetch what lacks.
    FetchAll,
    /// The server stops: reconnect after so many milliseconds.
    Leave(u64),
}

/// A device that stays: it survives its connections.
#[derive(Debug)]
pub struct Session {
    producer: Producer,
    places: HashMap<ConversationId, Place>,
    /// Newest `at`.
    pub token: Option<String>,
    /// The replay after the last `welcome` is over.
    pub live: bool,
    /// Conversations with a gap to fetch.
    pub gaps: BTreeSet<ConversationId>,
    /// Sends again not before then (nanoseconds on the run's clock).
    pub resend_at_ns: Option<u64>,
    /// Messages acked on first or later attempts.
    pub acked: u64,
    /// The newest ack.
    pub last_ack: Option<(ConversationId, u64)>,
    /// Pendings that are in flight on this connection.
    pub in_flight: usize,
    k: u64,
    /// What this device did and saw.
    pub log: Log,
    /// Error replies by code, for the report.
    pub errors: BTreeMap<String, u64>,
    /// Intended-to-delivery latencies of others' messages (nanoseconds), if somebody collects them.
    pub latencies: Option<Vec<u64>>,
}

impl Session {
    /// A device that follows nothing yet.
    pub fn new(process: String, producer: Producer) -> Self {
        Self {
            producer,
            places: HashMap::new(),
            token: None,
            live: false,
            gaps: BTreeSet::new(),
            resend_at_ns: None,
            acked: 0,
            last_ack: None,
            in_flight: 0,
            k: 0,
            log: Log { process, ..Log::default() },
            errors: BTreeMap::new(),
            latencies: None,
        }
    }

    /// Follows a conversation from a position on.
    pub fn follow(&mut self, conversation: ConversationId, epoch: u32, seq: u64) {
        self.places.entry(conversation).or_insert(Place { epoch, seq, ..Place::default() });
    }

    /// The position in a conversation.
    pub fn position(&self, conversation: ConversationId) -> u64 {
        self.places.get(&conversation).map_or(0, |place| place.seq)
    }

    /// All conversations it follows.
    pub fn conversations(&self) -> Vec<ConversationId> {
        self.places.keys().copied().collect()
    }

    /// Pendings that are not settled by `persisted` yet.
    pub fn unsettled(&self) -> usize {
        self.places.values().map(|place| place.pendings.len()).sum()
    }

    /// Pendings without an ack.
    pub fn unacked(&self) -> usize {
        let waiting = |place: &Place| place.pendings.iter().filter(|p| p.acked.is_none()).count();
        self.places.values().map(waiting).sum()
    }

    /// Pendings of one conversation without an ack.
    pub fn unacked_in(&self, conversation: ConversationId) -> usize {
        let place = self.places.get(&conversation);
        place.map_or(0, |place| place.pendings.iter().filter(|p| p.acked.is_none()).count())
    }

    /// Makes a message and puts its publish into `out`.
    pub fn publish(
        &mut self,
        conversation: ConversationId,
        bytes: usize,
        intended_ns: u64,
        now_ns: u64,
        out: &mut Vec<String>,
    ) {
        self.k += 1;
        let id = MessageId { maker: self.producer.0, k: self.k };
        let text = Stamp { id, intended_ns }.text(bytes);
        let place = self.places.entry(conversation).or_default();
        let sends = place.renumber();
        place.next_no += 1;
        let record = self.log.publishes.len();
        let no = place.next_no;
        if sends {
            out.push(wire::publish(conversation, self.producer, no, &text));
        }
        place.pendings.push_back(Pending {
            no,
            text,
            record,
            in_flight: sends,
            maybe: false,
            acked: None,
            again: false,
        });
        self.in_flight += usize::from(sends);
        let outcome = Outcome::Info;
        self.log.publishes.push(Publish { id, conversation, invoked_ns: now_ns, outcome });
    }

    /// The connection is gone: what was in flight may be stored.
    pub fn disconnected(&mut self) {
        self.live = false;
        self.in_flight = 0;
        for pending in self.places.values_mut().flat_map(|place| &mut place.pendings) {
            pending.maybe |= pending.in_flight;
            pending.in_flight = false;
        }
    }

    /// Sends again what has no ack; after a `welcome` also the newest acked one of each conversation, so that this connection
    /// counts as one that published there and hears `persisted`, and all that an earlier epoch acked: `persisted` of the
    /// present one does not speak of them (R17).
    pub fn resend(&mut self, after_welcome: bool, out: &mut Vec<String>) {
        self.resend_at_ns = None;
        for (&conversation, place) in &mut self.places {
            if !place.renumber() {
                continue;
            }
            let newest_acked = place.pendings.iter().rposition(|p| p.acked.is_some());
            let newest_epoch =
                place.pendings.iter().filter_map(|p| p.acked).map(|(epoch, _)| epoch).max();
            for (i, pending) in place.pendings.iter_mut().enumerate() {
                let earlier = pending.acked.is_some_and(|(epoch, _)| Some(epoch) < newest_epoch);
                pending.again |= after_welcome && (newest_acked == Some(i) || earlier);
                if (pending.acked.is_none() || pending.again) && !pending.in_flight {
                    out.push(wire::publish(conversation, self.producer, pending.no, &pending.text));
                    pending.in_flight = true;
                    self.in_flight += 1;
                }
            }
        }
    }

    /// Takes one frame. `now_ns` is the run's clock.
    pub fn on_frame(&mut self, frame: &Frame<'_>, now_ns: u64) -> Todo {
        if !frame.at.is_empty() {
            self.token = Some(frame.at.to_owned());
        }
        match frame.kind {
            "welcome" => {
                self.live = frame.resume != "resumed";
                if self.live {
                    return Todo::FetchAll;
                }
            }
            "resumed" => self.live = true,
            "ack" => self.on_ack(frame, now_ns),
            "error" => self.on_error(frame, now_ns),
            "persisted" => self.on_persisted(frame),
            "goaway" => return Todo::Leave(frame.reconnect_in_ms),
            _ => {
                if let (Some(conversation), Some(delivery)) = (frame.conversation, slot_of(frame)) {
                    self.note_latency(frame, now_ns);
                    self.on_slot(conversation, delivery);
                }
            }
        }
        Todo::Nothing
    }

    fn note_latency(&mut self, frame: &Frame<'_>, now_ns: u64) {
        let own = frame.producer == Some(self.producer);
        if let Some(latencies) = self.latencies.as_mut().filter(|_| !own && frame.kind == "message")
            && let Some(stamp) = Stamp::parse(frame.text())
        {
            latencies.push(now_ns.saturating_sub(stamp.intended_ns));
        }
    }

    fn pending(&mut self, frame: &Frame<'_>) -> Option<(&mut Pending, &mut Publish)> {
        let own = frame.producer == Some(self.producer);
        let place = self.places.get_mut(&frame.conversation?).filter(|_| own)?;
        let no = frame.no?;
        let pending = place.pendings.iter_mut().find(|p| p.no == no)?;
        if pending.in_flight {
            pending.in_flight = false;
            self.in_flight -= 1;
        }
        let publish = self.log.publishes.get_mut(pending.record)?;
        Some((pending, publish))
    }

    fn on_ack(&mut self, frame: &Frame<'_>, now_ns: u64) {
        let (epoch, seq) = (frame.epoch, frame.seq);
        let Some((pending, publish)) = self.pending(frame) else { return };
        pending.again = false;
        let again = pending.acked.replace((epoch, seq));
        // An ack of the same publish with another place is a divergence: the later one is judged.
        if again != Some((epoch, seq)) {
            publish.outcome = Outcome::Ok { epoch, seq, at_ns: now_ns };
            self.acked += u64::from(again.is_none());
            self.last_ack = frame.conversation.map(|c| (c, seq));
            self.enter_epoch(frame.conversation, epoch);
        }
    }

    fn on_error(&mut self, frame: &Frame<'_>, now_ns: u64) {
        *self.errors.entry(frame.code.to_owned()).or_insert(0) += 1;
        let code = ErrorCode::ALL.iter().find(|code| code.as_str() == frame.code);
        let retry = code.map_or(Retry::Later, |code| code.retry());
        let wait = frame.retry_after_ms.unwrap_or(RETRY_MS).max(1);
        let Some((pending, publish)) = self.pending(frame) else { return };
        pending.maybe |= retry == Retry::Unknown;
        if retry == Retry::Never {
            if pending.acked.is_none() && !pending.maybe {
                publish.outcome = Outcome::Fail;
            }
            self.drop_refused(frame);
        } else if code == Some(&ErrorCode::OutOfOrder) {
            self.doubt(frame.conversation, |pending| frame.expected <= Some(pending.no));
            let place = frame.conversation.and_then(|c| self.places.get_mut(&c));
            if let (Some(place), Some(expected)) = (place, frame.expected)
                && place.pendings.front().is_some_and(|first| first.no > expected)
            {
                // What had that number is gone from the log, and not pending any more.
                place.freed = Some(expected);
            }
        }
        let at = now_ns + wait * 1_000_000;
        self.resend_at_ns = Some(self.resend_at_ns.map_or(at, |before| before.max(at)));
    }

    /// R14: a final refusal frees its `no`. `reused` does not.
    fn drop_refused(&mut self, frame: &Frame<'_>) {
        let reused = frame.code == ErrorCode::Reused.as_str();
        let place = frame.conversation.and_then(|c| self.places.get_mut(&c));
        let Some(place) = place else { return };
        let Some(at) = place.pendings.iter().position(|p| Some(p.no) == frame.no) else { return };
        let Some(refused) = place.pendings.remove(at) else { return };
        if refused.acked.is_some() {
            // Stored all the same: its `no` is used, and that of the earlier ones. Nobody tells one who may not write there
            // any more when they are safe.
            let in_flight = &mut self.in_flight;
            place.pendings.retain(|pending| {
                *in_flight -= usize::from(pending.acked.is_some() && pending.in_flight);
                pending.acked.is_none()
            });
        } else if !reused {
            place.freed = Some(place.freed.map_or(refused.no, |freed| freed.min(refused.no)));
        }
    }

    /// Sends acked publishes again: what was acked may be gone in a new epoch (R17), and is if a later one is out of order.
    fn doubt(&mut self, conversation: Option<ConversationId>, which: impl Fn(&Pending) -> bool) {
        let place = conversation.and_then(|conversation| self.places.get_mut(&conversation));
        for pending in place.into_iter().flat_map(|place| &mut place.pendings) {
            pending.again |= pending.acked.is_some() && which(pending);
        }
    }

    /// What an earlier epoch acked is sent again.
    fn enter_epoch(&mut self, conversation: Option<ConversationId>, epoch: u32) {
        let earlier = |pending: &Pending| pending.acked.is_some_and(|(acked, _)| acked < epoch);
        self.doubt(conversation, earlier);
        self.resend_at_ns.get_or_insert(0);
    }

    fn on_persisted(&mut self, frame: &Frame<'_>) {
        let Some(conversation) = frame.conversation else { return };
        let Some(place) = self.places.get_mut(&conversation) else { return };
        let (epoch, seq) = (frame.epoch, frame.seq);
        self.log.observations.push(Observation {
            conversation,
            gauge: Gauge::Persisted,
            epoch,
            value: seq,
        });
        let in_flight = &mut self.in_flight;
        place.pendings.retain(|p| {
            let safe = p.acked.is_some_and(|(e, s)| e == epoch && s <= seq);
            *in_flight -= usize::from(safe && p.in_flight);
            !safe
        });
    }

    /// R22: apply, ignore, or note a gap.
    pub fn on_slot(&mut self, conversation: ConversationId, delivery: Delivery) {
        let place = self.places.entry(conversation).or_default();
        if delivery.epoch > place.epoch {
            // Numbering goes on above what was used: the slots between are fetched like any gap.
            place.epoch = delivery.epoch;
            self.enter_epoch(Some(conversation), delivery.epoch);
        }
        let place = self.places.entry(conversation).or_default();
        if end_of(delivery) <= place.seq {
            return;
        }
        if delivery.seq > place.seq + 1 {
            if place.held.len() < HELD_MAX {
                place.held.insert(delivery.seq, delivery);
            }
            self.gaps.insert(conversation);
            return;
        }
        apply(&mut self.log, conversation, place, delivery);
        while let Some(entry) = place.held.first_entry() {
            if *entry.key() > place.seq + 1 {
                break;
            }
            let held = entry.remove();
            if end_of(held) > place.seq {
                apply(&mut self.log, conversation, place, held);
            }
        }
        if place.held.is_empty() {
            self.gaps.remove(&conversation);
        }
    }
}

fn apply(log: &mut Log, conversation: ConversationId, place: &mut Place, mut delivery: Delivery) {
    // A hole may reach back over what is known already: the application is handed the rest of it.
    if matches!(delivery.slot, Slot::HoleTo(_)) {
        delivery.seq = delivery.seq.max(place.seq + 1);
    }
    place.seq = end_of(delivery);
    log.deliveries.entry(conversation).or_default().push(delivery);
}

#[cfg(test)]
mod tests {
    use protocol::UserId;

    use super::*;

    fn conversation() -> ConversationId {
        ConversationId::direct(UserId(1), UserId(2))
    }

    fn session() -> Session {
        let mut session = Session::new("d".into(), Producer(7));
        session.follow(conversation(), 1, 0);
        session
    }

    fn frame(session: &mut Session, text: &str) -> Todo {
        session.on_frame(&Frame::scan(text).unwrap(), 1_000)
    }

    fn event(session: &mut Session, seq: u64) {
        let c = conversation();
        let text = format!(
            r#"{{"type":"created","conversation":"{c}","epoch":1,"seq":{seq},"at":"1-{seq}"}}"#
        );
        frame(session, &text);
    }

    fn seqs(session: &Session) -> Vec<u64> {
        session.log.deliveries[&conversation()].iter().map(|d| d.seq).collect()
    }

    fn answer(session: &mut Session, kind: &str, no: u64, rest: &str) {
        let (c, p) = (conversation(), Producer(7));
        let head = format!(r#""conversation":"{c}","producer":"{p}","no":{no}"#);
        frame(session, &format!(r#"{{"type":"{kind}",{head},{rest}}}"#));
    }

    #[test]
    fn r22_events_are_applied_once_in_order_and_gaps_wait_for_their_fetch() {
        let mut session = session();
        for seq in [1, 2, 2, 1, 5, 4] {
            event(&mut session, seq);
        }
        assert_eq!(seqs(&session), [1, 2]);
        assert!(session.gaps.contains(&conversation()));
        let slot = Slot::HoleTo(3);
        session.on_slot(conversation(), Delivery { epoch: 1, seq: 2, slot });
        assert_eq!(seqs(&session), [1, 2, 3, 4, 5]);
        assert!(session.gaps.is_empty());
        assert_eq!(session.token.as_deref(), Some("1-4"));
    }

    #[test]
    fn r16_an_ack_moves_no_position_and_the_event_behind_it_does() {
        let (mut session, mut out) = (session(), Vec::new());
        session.publish(conversation(), 60, 0, 0, &mut out);
        answer(&mut session, "ack", 1, r#""epoch":1,"seq":2"#);
        assert_eq!(session.position(conversation()), 0);
        event(&mut session, 1);
        event(&mut session, 2);
        assert_eq!(session.position(conversation()), 2);
    }

    #[test]
    fn a_pending_lives_until_it_is_persisted_and_is_sent_again_after_a_loss() {
        let (mut session, mut out) = (session(), Vec::new());
        for _ in 0..3 {
            session.publish(conversation(), 60, 0, 0, &mut out);
        }
        answer(&mut session, "ack", 1, r#""epoch":1,"seq":2"#);
        answer(&mut session, "ack", 2, r#""epoch":1,"seq":3"#);
        assert_eq!((session.unsettled(), session.unacked(), session.in_flight), (3, 1, 1));
        session.disconnected();
        let first = std::mem::take(&mut out);
        session.resend(true, &mut out);
        assert_eq!(out, first[1..], "the newest acked one and all without an ack");
        let c = conversation();
        frame(
            &mut session,
            &format!(r#"{{"type":"persisted","conversation":"{c}","epoch":1,"seq":2}}"#),
        );
        assert_eq!(session.unsettled(), 2);
    }

    /// An old one was acked under its old epoch, and the connection ended before its `persisted`: only the newest one was sent
    /// again, `persisted` spoke of the new epoch, and the old one stayed for ever (simulator seeds 2184 and 3474).
    #[test]
    fn r17_after_a_welcome_all_that_an_earlier_epoch_acked_is_sent_again() {
        let (mut session, mut out) = (session(), Vec::new());
        for _ in 0..3 {
            session.publish(conversation(), 60, 0, 0, &mut out);
        }
        answer(&mut session, "ack", 2, r#""epoch":2,"seq":1048580"#);
        answer(&mut session, "ack", 3, r#""epoch":2,"seq":1048581"#);
        answer(&mut session, "ack", 1, r#""epoch":1,"seq":2"#);
        let first = std::mem::take(&mut out);
        session.disconnected();
        session.resend(true, &mut out);
        assert_eq!(out, [first[0].clone(), first[2].clone()]);
    }

    #[test]
    fn r14_a_final_refusal_frees_its_number() {
        let (mut session, mut out) = (session(), Vec::new());
        for _ in 0..3 {
            session.publish(conversation(), 60, 0, 0, &mut out);
        }
        answer(&mut session, "error", 1, r#""code":"forbidden","message":"""#);
        out.clear();
        session.resend(false, &mut out);
        assert!(out.is_empty(), "the answers to 2 and 3 are still to come under these numbers");
        for no in 2..=3 {
            answer(&mut session, "error", no, r#""code":"out_of_order","message":"","expected":1"#);
        }
        session.resend(false, &mut out);
        assert_eq!(out.len(), 2);
        assert!(out[0].contains(r#""no":1,"#) && out[1].contains(r#""no":2,"#));
        assert_eq!(session.log.publishes[0].outcome, Outcome::Fail);
    }

    #[test]
    fn a_refusal_after_a_lost_answer_stays_unknown() {
        let (mut session, mut out) = (session(), Vec::new());
        session.publish(conversation(), 60, 0, 0, &mut out);
        session.disconnected();
        session.resend(true, &mut out);
        answer(&mut session, "error", 1, r#""code":"forbidden","message":"""#);
        assert_eq!(session.log.publishes[0].outcome, Outcome::Info);
    }
}
