//! A client of the simulation: the load test's own device memory, driven step by step.
//!
//! Start reading at [`Device::work`].

use std::collections::BTreeMap;

use loadtest::{
    history::{Delivery, Outcome, Slot},
    session::{Session, Todo},
    wire::{self, Frame},
};
use protocol::{ConversationId, Producer, UserId};

use crate::{
    Mutant,
    node::{Down, pick},
    office::Page,
    world::Around,
};

/// Publishes without an answer, at most.
const WINDOW: usize = 8;
/// Longest wait before a reconnect.
const BACKOFF_MS: u64 = 400;

/// Where a device is connected: node, life of the node, link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    node: usize,
    life: u64,
    link: u64,
}

pub(crate) struct Device {
    pub(crate) user: UserId,
    pub(crate) session: Session,
    mutant: Mutant,
    place: Option<Place>,
    reconnect_at_ms: u64,
    welcomed: bool,
    heads_wanted: bool,
    /// A page that is on its way from the api.
    /// With what lived when it was asked for.
    coming: Option<(ConversationId, u64, Option<Page>)>,
    /// The highest seq that came live: a page that was on its way before may end below it.
    live: BTreeMap<ConversationId, u64>,
    left: u32,
    /// Acks that did not hold: within an epoch what is acked stays where it is (R10).
    pub(crate) moved: Vec<String>,
}

impl Device {
    pub(crate) fn new(number: u64, user: UserId, publishes: u32, mutant: Mutant) -> Self {
        let name = format!("device {number} of {user}");
        Self {
            user,
            session: Session::new(name, Producer(0xd0 + number)),
            mutant,
            place: None,
            reconnect_at_ms: 0,
            welcomed: false,
            heads_wanted: false,
            coming: None,
            live: BTreeMap::new(),
            left: publishes,
            moved: Vec::new(),
        }
    }

    /// One small thing, whichever.
    pub(crate) fn work(&mut self, around: &mut Around<'_>) {
        let Some(place) = self.place else { return self.connect(around) };
        match around.random.below(20) {
            0..=9 => self.read(place, 1 + around.random.below(6) as usize, around),
            10..=13 => self.publish(place, around),
            14 => self.send_again(place, around),
            15..=18 => self.fetch(around),
            _ if around.random.per_mille(around.rate(60)) => self.drop_link(around),
            _ if around.random.per_mille(around.rate(10)) => {
                // The app starts again: what it keeps is positions and pendings.
                self.session.token = None;
                self.drop_link(around);
            }
            _ => {}
        }
    }

    /// Everything but new messages.
    pub(crate) fn work_all(&mut self, around: &mut Around<'_>) {
        let Some(place) = self.place else { return self.connect(around) };
        self.read(place, 64, around);
        self.send_again(place, around);
        for _ in 0..4 {
            self.fetch(around);
        }
    }

    fn connect(&mut self, around: &mut Around<'_>) {
        if self.reconnect_at_ms > around.now.mono_ms {
            return;
        }
        let alive: Vec<usize> = around.alive();
        let Some(&node) = pick(&alive, around.random) else { return };
        let Some((life, link)) = around.accept(node, self.user) else { return };
        let place = Place { node, life, link };
        self.place = Some(place);
        self.send(place, vec![wire::hello(self.session.token.as_deref())], around);
    }

    fn send(&mut self, place: Place, mut out: Vec<String>, around: &mut Around<'_>) {
        // The session keeps its conversations in a hash map; the seed alone decides here. Sorted by conversation.
        out.sort_by(|a, b| a.get(..70).cmp(&b.get(..70)));
        let name = &self.session.log.process;
        around.trace(|| format!("{name} to node {}: {out:?}", place.life));
        if let Some(link) = around.link(place.node, place.life, place.link) {
            link.up.extend(out);
        }
    }

    /// The connection is gone, and the node does not know yet.
    fn drop_link(&mut self, around: &mut Around<'_>) {
        let name = &self.session.log.process;
        around.trace(|| format!("{name} has lost its connection"));
        if let Some(place) = self.place.take()
            && let Some(link) = around.link(place.node, place.life, place.link)
        {
            link.gone = true;
        }
        self.session.disconnected();
        self.welcomed = false;
        self.coming = None;
        self.reconnect_at_ms = around.now.mono_ms + around.random.below(BACKOFF_MS);
    }

    /// Comes back right now.
    pub(crate) fn reconnect(&mut self, around: &mut Around<'_>) {
        self.drop_link(around);
        self.reconnect_at_ms = 0;
        self.connect(around);
    }

    fn read(&mut self, place: Place, frames: usize, around: &mut Around<'_>) {
        let now_ns = around.now_ns();
        for _ in 0..frames {
            let Some(link) = around.link(place.node, place.life, place.link) else {
                return self.drop_link(around);
            };
            match link.down.pop_front() {
                None => return,
                Some(Down::Close) => return self.drop_link(around),
                Some(Down::Text(text)) => {
                    let name = &self.session.log.process;
                    around.trace(|| format!("{name} from node {}: {text}", place.life));
                    let frame = Frame::scan(&text).expect("the broker writes JSON objects");
                    self.take(&frame, place, now_ns, around);
                }
            }
        }
    }

    fn take(&mut self, frame: &Frame<'_>, place: Place, now_ns: u64, around: &mut Around<'_>) {
        let before: Vec<Outcome> = self.session.log.publishes.iter().map(|p| p.outcome).collect();
        let todo = self.session.on_frame(frame, now_ns);
        for (publish, before) in self.session.log.publishes.iter().zip(before) {
            if let (Outcome::Ok { epoch, seq, .. }, Outcome::Ok { epoch: e, seq: s, .. }) =
                (publish.outcome, before)
                && (epoch == e && seq != s)
            {
                let id = publish.id;
                self.moved.push(format!("{id:?}, acked at {s}, moved within its epoch to {seq}"));
            }
        }
        if let (true, Some(conversation)) = (frame.is_event(), frame.conversation) {
            let live = self.live.entry(conversation).or_default();
            *live = frame.seq.max(*live);
        }
        if frame.kind == "welcome" {
            self.welcomed = true;
            let mut out = Vec::new();
            self.session.resend(true, &mut out);
            self.send(place, out, around);
        }
        if todo == Todo::FetchAll {
            self.heads_wanted = true;
        }
        if let (Mutant::AckTakenAsPosition, "ack", Some(conversation)) =
            (self.mutant, frame.kind, frame.conversation)
        {
            let seq = self.session.position(conversation) + 1;
            if frame.seq >= seq {
                let slot = Slot::HoleTo(frame.seq);
                self.session.on_slot(conversation, Delivery { epoch: frame.epoch, seq, slot });
            }
        }
    }

    fn publish(&mut self, place: Place, around: &mut Around<'_>) {
        let may = self.welcomed
            && self.left > 0
            && self.session.in_flight < WINDOW
            && self.session.resend_at_ns.is_none();
        if !may {
            return;
        }
        let conversations = around.conversations_of(self.user);
        let Some(&conversation) = pick(&conversations, around.random) else { return };
        let count = 1 + around.random.below(3);
        let (now, mut out) = (around.now_ns(), Vec::new());
        for _ in 0..count {
            self.left = self.left.saturating_sub(1);
            self.session.publish(conversation, 0, now, now, &mut out);
        }
        self.send(place, out, around);
    }

    fn send_again(&mut self, place: Place, around: &mut Around<'_>) {
        if self.welcomed && self.session.resend_at_ns.is_some_and(|at| at <= around.now_ns()) {
            let mut out = Vec::new();
            self.session.resend(false, &mut out);
            self.send(place, out, around);
        }
    }

    /// Asks the api for one thing, or takes its answer; what lives meanwhile is kept aside by the session.
    fn fetch(&mut self, around: &mut Around<'_>) {
        if let Some((conversation, live, page)) = self.coming.take() {
            return self.take_page(conversation, live, page);
        }
        if !self.welcomed {
            return;
        }
        if self.heads_wanted {
            let Some(heads) = around.office.heads(self.user, around.log, around.archive) else {
                return;
            };
            self.heads_wanted = false;
            for (conversation, head) in heads {
                if self.session.position(conversation) < head {
                    self.session.gaps.insert(conversation);
                }
            }
        } else if let Some(conversation) = self.session.gaps.first().copied() {
            let after = self.session.position(conversation);
            let office = &around.office;
            let page = office.events(self.user, conversation, after, around.log, around.archive);
            if let Some(page) = page {
                let live = self.live.get(&conversation).copied().unwrap_or(0);
                self.coming = Some((conversation, live, page));
            }
        }
    }

    fn take_page(&mut self, conversation: ConversationId, asked: u64, page: Option<Page>) {
        let live = self.live.get(&conversation).copied().unwrap_or(0);
        let Some(page) = page else {
            // Not a member: nothing is to be had, unless they were added again since.
            if live == asked {
                self.session.gaps.remove(&conversation);
            }
            return;
        };
        for slot in page.slots {
            self.session.on_slot(conversation, slot);
        }
        if self.session.position(conversation) < live.max(page.head) {
            // The store is behind the log, or this page behind what lives: asked again.
            self.session.gaps.insert(conversation);
        } else {
            self.session.gaps.remove(&conversation);
        }
    }

    /// What has not come to rest.
    pub(crate) fn unrest(&self) -> Option<String> {
        let session = &self.session;
        let calm = self.welcomed
            && session.live
            && session.unsettled() == 0
            && session.gaps.is_empty()
            && !self.heads_wanted
            && self.coming.is_none();
        (!calm).then(|| {
            format!(
                "{}: welcomed {}, live {}, unsettled {}, unacked {}, gaps {:?}, errors {:?}",
                session.log.process,
                self.welcomed,
                session.live,
                session.unsettled(),
                session.unacked(),
                session.gaps,
                session.errors
            )
        })
    }
}
