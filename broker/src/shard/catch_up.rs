//! Replays: a connection that comes back gets what it missed from the Tail, in pages, as its outbox drains.
//!
//! Owns: `welcome` and what follows it until all is live. Never does: the store. Talks to: the Tail.
//! Start reading at: [`Shard::welcome`], then [`Shard::pump`].

use backplane::{Logged, Membership, tail::Place};
use protocol::{
    Pos, ServerFrame, Token,
    body::target_of,
    event::{Resume, encode_event},
    limits,
};

use super::{
    Actions, Now, Shard,
    delivery::{hole, is_about_before, may_be_withheld},
    records::{CatchUp, Stage},
};
use crate::{
    metrics::Resumed,
    websocket::encode::{begin, finish_text},
};

/// Bytes ([`backplane::Envelope::cost`]) of one page. With events of 96 bytes a page and the batch that it ends in are
/// 1,365 + 1,024 events: above a quarter of the outbox (1,024) that still fits into its 4,096.
const PAGE_BYTES: usize = 128 * 1024;

impl Shard {
    /// Answers `hello` and begins the replay, if there is one.
    pub(super) fn welcome(
        &mut self,
        slot: u32,
        token: Option<&str>,
        memberships: &[Membership],
        now: Now,
        actions: &mut Actions,
    ) {
        let reached = token.map(|text| self.covered(slot, text, memberships));
        let resume = match &reached {
            None => Resume::Fresh,
            Some(None) => Resume::Reset,
            Some(Some(_)) => Resume::Resumed,
        };
        match resume {
            Resume::Fresh => {}
            Resume::Resumed => self.metrics.resumed[Resumed::Memory as usize].add(1),
            Resume::Reset => self.metrics.resumed[Resumed::Reset as usize].add(1),
        }
        let connection = &mut self.connections[slot as usize];
        let frame = ServerFrame::Welcome {
            protocol: protocol::SUBPROTOCOL.to_owned(),
            user: connection.principal.user,
            session: connection.principal.session,
            node: self.config.node.clone(),
            expires_at: connection.principal.expires_at_ms,
            server_time: now.wall_ms,
            durability: self.config.durability.clone(),
            heartbeat_ms: limits::PING_INTERVAL_MS,
            resume,
            // During a replay the newest token is the old one: whoever is cut off now resumes from there again.
            at: reached.as_ref().and_then(Option::as_ref).unwrap_or(&self.cursor).to_string(),
        };
        connection.stage = match reached.flatten() {
            Some(reached) => Stage::Catching(Box::new(CatchUp {
                reached,
                events: 0,
                groups: Self::windows(memberships),
            })),
            None => Stage::Live,
        };
        self.send(slot, &frame, now, actions);
        self.pump(slot, now, actions);
    }

    /// The positions of a token, if the Tail holds all after them and that is not too much.
    fn covered(&self, slot: u32, token: &str, memberships: &[Membership]) -> Option<Token> {
        let mut token: Token = token.parse().ok()?;
        if token.0.len() != self.tails.len() {
            return None;
        }
        let user = self.connections[slot as usize].principal.user;
        let mut events = 0;
        for ((pos, tail), cursor) in token.0.iter_mut().zip(&self.tails).zip(&self.cursor.0) {
            let tail = tail.read();
            if !tail.covers(*pos) || cursor.epoch != pos.epoch {
                return None;
            }
            // Another shard of this node may be ahead: what this one still reads comes live, and is known already.
            *pos = (*pos).min(*cursor);
            events += tail.count_since(pos.n, user, memberships.iter().map(|m| m.conversation));
        }
        (events <= limits::RESUME_EVENTS_MAX).then_some(token)
    }

    /// Replays pages while the outbox is below a quarter; at the cursor the connection goes live.
    pub(super) fn pump(&mut self, slot: u32, now: Now, actions: &mut Actions) {
        loop {
            let connection = &mut self.connections[slot as usize];
            let quarter = connection.outbox.events() * 4 < self.config.outbox_events_max
                && connection.outbox.bytes() * 4 < self.config.outbox_bytes_max;
            let Stage::Catching(catch_up) = &mut connection.stage else { return };
            let behind =
                (0..self.tails.len()).find(|p| catch_up.reached.0[*p] != self.cursor.0[*p]);
            let Some(partition) = behind else {
                let events = catch_up.events;
                connection.stage = Stage::Live;
                let frame = ServerFrame::Resumed { events, at: self.cursor.to_string() };
                return self.send(slot, &frame, now, actions);
            };
            if !quarter {
                return;
            }
            self.replay_page(slot, partition, now, actions);
        }
    }

    fn replay_page(&mut self, slot: u32, partition: usize, now: Now, actions: &mut Actions) {
        let connection = &self.connections[slot as usize];
        let Stage::Catching(catch_up) = &connection.stage else { return };
        let (from, cursor) = (catch_up.reached.0[partition], self.cursor.0[partition]);
        let user = connection.principal.user;
        let page = {
            let tail = self.tails[partition].read();
            tail.covers(from).then(|| {
                let groups = catch_up.groups.iter().map(|(id, ..)| *id);
                tail.since(from.n, cursor.n, user, groups, PAGE_BYTES)
            })
        };
        // Trimmed away, or a new epoch, while the client read slowly: it starts over from the api.
        let Some(page) = page else {
            return self.close(slot, protocol::CloseCode::SlowConsumer, actions);
        };
        for place in &page.events {
            for frame in self.replayed(slot, partition, place) {
                self.push(slot, frame, false, now, actions);
            }
        }
        if let Stage::Catching(catch_up) = &mut self.connections[slot as usize].stage {
            catch_up.reached.0[partition] = Pos::new(cursor.epoch, page.reached);
            catch_up.events += page.events.len() as u64;
        }
    }

    /// What one event of the Tail is for one connection: itself, a hole, or nothing.
    fn replayed(&self, slot: u32, partition: usize, place: &Place) -> Vec<bytes::Bytes> {
        let (event, batch) = (place.event(), &place.batch);
        let connection = &self.connections[slot as usize];
        let Stage::Catching(catch_up) = &connection.stage else { return Vec::new() };
        let user = connection.principal.user;
        let mut at = catch_up.reached.clone();
        at.0[partition] = Pos::new(batch.pos.epoch, batch.pos.n - 1);
        let at = at.to_string();
        let conversation = event.envelope.conversation;
        let own = own_change(event, user);
        let window = catch_up.groups.iter().find(|(id, ..)| *id == conversation);
        let visible = match window {
            Some((_, since, until)) => (*since..=*until).contains(&event.seq),
            None => !conversation.is_group(),
        };
        if !visible && own.is_none() {
            return Vec::new();
        }
        let epoch = batch.pos.epoch;
        let record = self.user_index.get(&user).map(|i| &self.users[*i as usize]);
        let target = target_of(event.envelope.kind, &event.envelope.body);
        let before = window.is_some_and(|(_, since, _)| is_about_before(target, *since));
        let blocked =
            may_be_withheld(event) && record.is_some_and(|r| r.blocks(event.envelope.from));
        if before || blocked {
            return vec![hole(conversation, epoch, event.seq, event.seq, &at)];
        }
        let mut frames = Vec::with_capacity(2);
        let joined = window.is_some_and(|(_, since, _)| *since == event.seq);
        if joined && own.is_some_and(|o| o.1) && event.seq > 1 {
            frames.push(hole(conversation, epoch, 1, event.seq - 1, &at));
        }
        let mut json = Vec::with_capacity(event.envelope.body.len() + 256);
        begin(&mut json);
        encode_event(&mut json, &event.head(epoch, batch.ts), &event.envelope.body, &at);
        frames.push(finish_text(&mut json));
        frames
    }
}

/// Whether the event names the user, and whether it brings them in.
fn own_change(event: &Logged, user: protocol::UserId) -> Option<(u64, bool)> {
    if !event.envelope.kind.changes_membership() {
        return None;
    }
    let changes = event.membership_changes();
    changes.iter().find(|c| c.user == user).map(|c| (c.since, c.role.is_some()))
}
