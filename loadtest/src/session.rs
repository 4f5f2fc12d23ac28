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
    producer: Producer,
    no: u64,
    text: String,
    /// Index in the log's publishes.
    record: usize,
    /// On this connection, without an answer.
    in_flight: bool,
    /// The newest epoch that was known when it was sent last.
    sent_in: u32,
    /// The highest `no` of its producer that was acked then.
    sent_after: u64,
    /// An attempt ended without an answer: it may be stored under its present key, now or later.
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
    /// The newest epoch that anything told of.
    newest: u32,
    /// For what is made next; none: the device's own.
    producer: Option<Producer>,
    next_no: u64,
    pendings: VecDeque<Pending>,
    /// The highest `no` with an ack, by producer.
    acked: BTreeMap<Producer, u64>,
    /// Producers that pendings have to leave once no answer is due: an answer names its key alone.
    leaving: BTreeMap<Producer, Leaving>,
    /// Refused, and yet these keys may be stored: an earlier attempt had no answer.
    refused_in_doubt: BTreeSet<(Producer, u64)>,
}

/// From which `no` on pendings leave their producer (R14).
#[derive(Debug, Clone, Copy)]
struct Leaving {
    /// Those of which every attempt was answered.
    from: u64,
    /// All others as well: nothing at or above it can be stored, whatever is under way.
    closed: u64,
}

/// Makes producers after the first one.
#[derive(Debug)]
struct Producers {
    first: Producer,
    made: u64,
}

impl Producers {
    /// Not random, so that a run from a seed stays one: a mix of the first one and a count.
    fn next(&mut self) -> Producer {
        self.made += 1;
        let step = self.first.0.wrapping_add(self.made.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mixed = (step ^ step >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Producer(mixed ^ mixed >> 31)
    }
}

impl Pending {
    /// To be sent on this connection.
    fn waits(&self) -> bool {
        (self.acked.is_none() || self.again) && !self.in_flight
    }
}

impl Place {
    fn acked(&self, producer: Producer) -> u64 {
        self.acked.get(&producer).copied().unwrap_or(0)
    }

    fn leave(&mut self, producer: Producer, from: u64, closed: bool) {
        let leaving = self.leaving.entry(producer).or_insert(Leaving { from, closed: u64::MAX });
        leaving.from = leaving.from.min(from);
        if closed {
            leaving.closed = leaving.closed.min(from);
        }
    }

    /// Gives new keys to what has to leave its producer. False: answers are due, nothing may be sent.
    fn move_on(&mut self, producers: &mut Producers) -> bool {
        if self.leaving.is_empty() {
            return true;
        }
        if self.pendings.iter().any(|pending| pending.in_flight) {
            return false;
        }
        for (old, Leaving { from, closed }) in std::mem::take(&mut self.leaving) {
            let (next, mut no) = (producers.next(), 0);
            let later = self.pendings.iter_mut().filter(|p| p.producer == old && p.no >= from);
            for pending in later.filter(|p| p.acked.is_none() && (p.no >= closed || !p.maybe)) {
                no += 1;
                (pending.producer, pending.no, pending.maybe) = (next, no, false);
            }
            if self.producer.unwrap_or(producers.first) == old {
                (self.producer, self.next_no) = (Some(next), no);
            }
        }
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
    producers: Producers,
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
            producers: Producers { first: producer, made: 0 },
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
        self.places.entry(conversation).or_insert(Place {
            epoch,
            newest: epoch,
            seq,
            ..Place::default()
        });
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
        let id = MessageId { maker: self.producers.first.0, k: self.k };
        let text = Stamp { id, intended_ns }.text(bytes);
        let place = self.places.entry(conversation).or_default();
        let ready = place.move_on(&mut self.producers);
        place.next_no += 1;
        let record = self.log.publishes.len();
        let (producer, no) = (place.producer.unwrap_or(self.producers.first), place.next_no);
        // Behind what waits it waits, too, and behind what is under way under another producer.
        let before = |p: &Pending| p.waits() || p.in_flight && p.producer != producer;
        let sends = ready && !place.pendings.iter().any(before);
        if sends {
            out.push(wire::publish(conversation, producer, no, &text));
        }
        place.pendings.push_back(Pending {
            producer,
            no,
            text,
            record,
            in_flight: sends,
            sent_in: place.newest,
            sent_after: place.acked(producer),
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

    /// Sends again what has no ack; after a `welcome` also the newest acked one of each conversation, so that
    /// this connection counts as one that published there and hears `persisted` (R17).
    pub fn resend(&mut self, after_welcome: bool, out: &mut Vec<String>) {
        self.resend_at_ns = None;
        for (&conversation, place) in &mut self.places {
            if !place.move_on(&mut self.producers) {
                continue;
            }
            let newest_acked = place.pendings.iter().rposition(|p| p.acked.is_some());
            let mut under_way = None;
            for (i, pending) in place.pendings.iter_mut().enumerate() {
                let producer = pending.producer;
                pending.again |= after_welcome && newest_acked == Some(i);
                if pending.waits() {
                    // One producer is pipelined; another one could overtake it.
                    if under_way.is_some_and(|before| before != producer) {
                        break;
                    }
                    out.push(wire::publish(conversation, producer, pending.no, &pending.text));
                    (pending.in_flight, pending.sent_in) = (true, place.newest);
                    pending.sent_after = place.acked.get(&producer).copied().unwrap_or(0);
                    self.in_flight += 1;
                }
                if pending.in_flight {
                    under_way = Some(producer);
                }
            }
        }
    }

    /// Once nothing is in flight any more, what waited for that is sent.
    fn wake(&mut self, conversation: Option<ConversationId>, now_ns: u64) {
        let Some(place) = conversation.and_then(|c| self.places.get(&c)) else { return };
        let idle = !place.pendings.iter().any(|pending| pending.in_flight);
        if idle && place.pendings.iter().any(Pending::waits) {
            self.resend_at_ns.get_or_insert(now_ns);
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
        if let Some(latencies) = self.latencies.as_mut().filter(|_| frame.kind == "message")
            && let Some(stamp) = Stamp::parse(frame.text())
            && stamp.id.maker != self.producers.first.0
        {
            latencies.push(now_ns.saturating_sub(stamp.intended_ns));
        }
    }

    fn pending(&mut self, frame: &Frame<'_>) -> Option<(&mut Pending, &mut Publish)> {
        let place = self.places.get_mut(&frame.conversation?)?;
        let key = (frame.producer?, frame.no?);
        let pending = place.pendings.iter_mut().find(|p| (p.producer, p.no) == key)?;
        if pending.in_flight {
            pending.in_flight = false;
            self.in_flight -= 1;
        }
        let publish = self.log.publishes.get_mut(pending.record)?;
        Some((pending, publish))
    }

    fn on_ack(&mut self, frame: &Frame<'_>, now_ns: u64) {
        let (epoch, seq) = (frame.epoch, frame.seq);
        let place = frame.conversation.and_then(|c| self.places.get(&c));
        let newest = place.map_or(0, |place| place.newest);
        let acked = frame.conversation.and_then(|c| self.places.get_mut(&c)).map(|p| &mut p.acked);
        if let (Some(acked), Some(producer), Some(no)) = (acked, frame.producer, frame.no) {
            let highest = acked.entry(producer).or_default();
            *highest = no.max(*highest);
        }
        let Some((pending, publish)) = self.pending(frame) else { return };
        // An answer to what was sent in an earlier epoch says nothing of this one.
        pending.again = epoch.max(pending.sent_in) < newest;
        pending.maybe = false;
        let late = pending.again;
        let again = pending.acked.replace((epoch, seq));
        // An ack of the same publish with another place is a divergence: the later one is judged.
        if again != Some((epoch, seq)) {
            let first = !matches!(publish.outcome, Outcome::Ok { .. });
            publish.outcome = Outcome::Ok { epoch, seq, at_ns: now_ns };
            self.acked += u64::from(first);
            self.last_ack = frame.conversation.map(|c| (c, seq));
            self.enter_epoch(frame.conversation, epoch);
        }
        if late {
            self.resend_at_ns.get_or_insert(now_ns);
        }
        self.wake(frame.conversation, now_ns);
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
            self.on_gap(frame);
        }
        let at = now_ns + wait * 1_000_000;
        self.resend_at_ns = Some(self.resend_at_ns.map_or(at, |before| before.max(at)));
    }

    /// The log wants an earlier `no` first (R13).
    fn on_gap(&mut self, frame: &Frame<'_>) {
        let place = frame.conversation.and_then(|c| self.places.get_mut(&c));
        let (Some(place), Some(producer), Some(no)) = (place, frame.producer, frame.no) else {
            return;
        };
        let Some(expected) = frame.expected else { return };
        let is = |p: &Pending, no| (p.producer, p.no) == (producer, no);
        if place.pendings.iter().any(|p| is(p, expected)) {
            let later = |p: &Pending| p.producer == producer && p.no >= expected;
            return self.doubt(frame.conversation, later);
        }
        let Some(at) = place.pendings.iter().position(|p| is(p, no)) else { return };
        let sent_after = place.pendings[at].sent_after;
        if sent_after < expected && expected <= place.acked(producer) {
            // Acked since this was sent: the answer is older than the ack.
            return;
        }
        let in_doubt = place.refused_in_doubt.contains(&(producer, expected));
        if in_doubt && place.pendings[at].maybe && place.pendings[at].acked.is_none() {
            // Should the refused one be stored after all, this one may be, too: it must not go out under another key.
            place.pendings.remove(at);
            place.refused_in_doubt.insert((producer, no));
            return;
        }
        // What had that number is refused, or gone from the log and not pending any more: nobody sends it again.
        place.pendings[at].acked = None;
        place.leave(producer, expected, !in_doubt);
    }

    /// R14: nothing behind a final refusal can be stored under its producer. `reused` is none.
    fn drop_refused(&mut self, frame: &Frame<'_>) {
        let reused = frame.code == ErrorCode::Reused.as_str();
        let place = frame.conversation.and_then(|c| self.places.get_mut(&c));
        let (Some(place), Some(producer), Some(no)) = (place, frame.producer, frame.no) else {
            return;
        };
        let at = place.pendings.iter().position(|p| (p.producer, p.no) == (producer, no));
        let Some(refused) = at.and_then(|at| place.pendings.remove(at)) else { return };
        if refused.acked.is_some() {
            // Stored all the same: its `no` is used, and that of the earlier ones. Nobody tells one who may not write there
            // any more when they are safe.
            let in_flight = &mut self.in_flight;
            place.pendings.retain(|pending| {
                *in_flight -= usize::from(pending.acked.is_some() && pending.in_flight);
                pending.acked.is_none()
            });
        } else if !reused {
            if refused.maybe {
                place.refused_in_doubt.insert((producer, no));
            }
            place.leave(producer, no + 1, !refused.maybe);
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
        if let Some(place) =
            conversation.and_then(|conversation| self.places.get_mut(&conversation))
        {
            place.newest = place.newest.max(epoch);
        }
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
mod tests;
