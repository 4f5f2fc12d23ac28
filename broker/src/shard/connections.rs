//! Connections: accept, commands, output, end.
//!
//! Owns: the life of a connection. Never does: sockets. Talks to: route. Start reading at: [`Shard::on_text`].

use bytes::Bytes;
use protocol::{
    CloseCode, Command, ConversationId, ErrorCode, Producer, ServerFrame, UserId, command::Refused,
};

use super::{
    Action, Actions, ConnectionId, Now, Principal, Shard,
    publish::NOBODY,
    records::{Connection, Stage},
};
use crate::{
    budget::Bucket,
    config::Rate,
    metrics::Published,
    outbox::Outbox,
    route::{Route, Standing, Who, conversation_of, route},
};

/// Bad commands: 10 in the life of a connection (PROTOCOL.md R9).
const BAD: Rate = Rate { per_second: 0, burst: 10 };

/// The key of a publish.
pub(super) type PublishKey = (ConversationId, Producer, u64);

/// An `error` under construction.
pub(super) fn error(id: Option<u32>, code: ErrorCode, key: Option<PublishKey>) -> ServerFrame {
    ServerFrame::Error {
        id,
        code,
        message: code.as_str().to_owned(),
        retry_after_ms: None,
        conversation: key.map(|k| k.0),
        producer: key.map(|k| k.1),
        no: key.map(|k| k.2),
        expected: None,
        seq: None,
    }
}

/// How a refused publish is counted.
pub(super) fn published(code: ErrorCode) -> Published {
    match code {
        ErrorCode::Forbidden | ErrorCode::NotExpected => Published::Denied,
        ErrorCode::Invalid => Published::Invalid,
        ErrorCode::TooLarge => Published::TooLarge,
        ErrorCode::RateLimited | ErrorCode::TooManyUnacked => Published::RateLimited,
        _ => Published::Error,
    }
}

fn key_of(command: &Command<'_>) -> Option<PublishKey> {
    match command {
        Command::Publish { conversation, producer, no, .. } => {
            Some((*conversation, *producer, *no))
        }
        _ => None,
    }
}

impl Shard {
    /// A connection was accepted and upgraded; it waits for `hello`.
    pub fn on_connect(&mut self, principal: Principal, now: Now) -> ConnectionId {
        self.generation = self.generation.wrapping_add(1);
        let entry = self.connections.vacant_entry();
        let id = ConnectionId(u64::from(self.generation) << 32 | entry.key() as u64);
        let full = |rate| Bucket::full(rate, now.mono_ms);
        let config = &self.config;
        entry.insert(Connection {
            id,
            principal,
            stage: Stage::Accepted,
            outbox: Outbox::default(),
            watch: None,
            unstored: None,
            opened_ms: now.mono_ms,
            heard_ms: now.mono_ms,
            said_ms: now.mono_ms,
            ping_at_ms: 0,
            publish: full(config.publish),
            receipt: full(config.receipt),
            typing: full(config.typing),
            other: full(config.other),
            frames: full(config.frames),
            bad: full(BAD),
            unacked: 0,
            woken: false,
            asking: false,
        });
        self.metrics.opened.add(1);
        self.metrics.connections.set(self.connections.len() as u64);
        self.schedule_ping(id.0 as u32, now);
        // A token may expire before that.
        let life_ms = principal.expires_at_ms.saturating_sub(now.wall_ms);
        self.wheel.add(id, now.mono_ms + protocol::limits::HELLO_TIMEOUT_MS.min(life_ms));
        id
    }

    /// Bytes came: the client lives.
    pub fn on_bytes_received(&mut self, id: ConnectionId, now: Now) {
        if let Some(slot) = self.slot(id) {
            self.connections[slot as usize].heard_ms = now.mono_ms;
        }
    }

    /// A frame of any kind came. Counts against the budget of frames (close 4429).
    pub fn on_frame(&mut self, id: ConnectionId, now: Now, actions: &mut Actions) {
        let Some(slot) = self.slot(id) else { return };
        let rate = self.config.frames;
        let connection = &mut self.connections[slot as usize];
        connection.heard_ms = now.mono_ms;
        if !connection.principal.trusted && connection.frames.take(rate, now.mono_ms).is_err() {
            self.close(slot, CloseCode::RateLimited, actions);
        }
    }

    /// A whole text message came (already checked as UTF-8). It is rewritten in place.
    pub fn on_text(
        &mut self,
        id: ConnectionId,
        message: &mut [u8],
        now: Now,
        actions: &mut Actions,
    ) {
        let Some(slot) = self.slot(id) else { return };
        if matches!(self.connections[slot as usize].stage, Stage::Closing) {
            return;
        }
        // Taken out for the call: the command borrows from the parser's buffers while the shard changes.
        let mut parser = self.parser.take().unwrap_or_default();
        match parser.parse(message) {
            Ok((command, id)) => self.on_command(slot, &command, id, now, actions),
            Err(refused) => self.on_bad(slot, refused, now, actions),
        }
        self.parser = Some(parser);
    }

    fn on_bad(&mut self, slot: u32, refused: Refused, now: Now, actions: &mut Actions) {
        let Refused { code, detail, id, key } = refused;
        if key.is_some() {
            self.metrics.published[published(code) as usize].add(1);
        }
        let mut frame = error(id, code, key);
        if let ServerFrame::Error { message, .. } = &mut frame {
            detail.clone_into(message);
        }
        self.send(slot, &frame, now, actions);
        let bad = &mut self.connections[slot as usize].bad;
        if code == ErrorCode::Invalid && bad.take(BAD, now.mono_ms).is_err() {
            self.close(slot, CloseCode::BadCommands, actions);
        }
    }

    fn charge(&mut self, slot: u32, command: &Command<'_>, now: Now) -> Result<(), u64> {
        let (config, connection) = (&self.config, &mut self.connections[slot as usize]);
        if connection.principal.trusted {
            return Ok(());
        }
        let (bucket, rate) = match command {
            Command::Publish { .. } => (&mut connection.publish, config.publish),
            Command::Receipt { .. } => (&mut connection.receipt, config.receipt),
            Command::Typing { .. } => (&mut connection.typing, config.typing),
            _ => (&mut connection.other, config.other),
        };
        bucket.take(rate, now.mono_ms)
    }

    fn on_command(
        &mut self,
        slot: u32,
        command: &Command<'_>,
        id: Option<u32>,
        now: Now,
        actions: &mut Actions,
    ) {
        if let Err(wait) = self.charge(slot, command, now) {
            if matches!(command, Command::Typing { .. }) {
                return;
            }
            if let Command::Publish { .. } = command {
                self.metrics.published[Published::RateLimited as usize].add(1);
            }
            let mut frame = error(id, ErrorCode::RateLimited, key_of(command));
            if let ServerFrame::Error { retry_after_ms, .. } = &mut frame {
                *retry_after_ms = Some(wait);
            }
            return self.send(slot, &frame, now, actions);
        }
        let connection = &self.connections[slot as usize];
        let user = connection.principal.user;
        let who = Who {
            user,
            welcomed: matches!(connection.stage, Stage::Live | Stage::Catching(_)),
            standing: conversation_of(command)
                .map_or(Standing::Stranger, |conversation| self.standing(user, conversation)),
            draining: self.draining,
            ladder: self.ladder,
        };
        let again = matches!(connection.stage, Stage::Loading(_));
        match route(command, who) {
            Route::Welcome if again => {
                self.send(slot, &error(id, ErrorCode::NotExpected, None), now, actions);
            }
            Route::Welcome => {
                if let Command::Hello { resume, .. } = command {
                    self.hello(slot, *resume, actions);
                }
            }
            Route::Append { mver } => self.publish(slot, command, id, Some(mver), now, actions),
            Route::Authorise => self.publish(slot, command, id, None, now, actions),
            Route::Recognise => self.publish(slot, command, id, Some(NOBODY), now, actions),
            Route::Receipt => self.receipt(slot, command, id, now, actions),
            Route::Typing => self.typing(slot, command, actions),
            Route::Watch => self.watch(slot, command, id, now, actions),
            Route::Reauth => self.reauth(slot, command, id, now, actions),
            Route::Ok => self.send(slot, &ServerFrame::Ok { id }, now, actions),
            Route::Drop => {}
            Route::Refuse(code) => {
                if let Command::Publish { .. } = command {
                    self.metrics.published[published(code) as usize].add(1);
                }
                let mut frame = error(id, code, key_of(command));
                if let (ServerFrame::Error { retry_after_ms, .. }, ErrorCode::Overloaded) =
                    (&mut frame, code)
                {
                    *retry_after_ms = Some(1_000);
                }
                self.send(slot, &frame, now, actions);
            }
        }
    }

    /// How a user stands in a conversation.
    pub(super) fn standing(&self, user: UserId, conversation: ConversationId) -> Standing {
        if !conversation.is_group() {
            return if conversation.names(user) {
                Standing::Member { mver: 0 }
            } else {
                Standing::Stranger
            };
        }
        if let Some(mver) = self.member_version(user, conversation) {
            return Standing::Member { mver };
        }
        let news = self.members_recent.get(&user).and_then(|recent| {
            recent.iter().rev().find(|r| r.membership.conversation == conversation)
        });
        if news.is_some_and(|news| news.membership.role.is_none()) {
            Standing::Removed
        } else {
            Standing::Unheard
        }
    }

    /// The newest version of a group at which a local user is known to be a member: what the ring told all, or what
    /// their own view told of them alone. A view ahead of the ring proves nothing about the other members.
    fn member_version(&self, user: UserId, conversation: ConversationId) -> Option<u64> {
        let group = &self.groups[*self.group_index.get(&conversation)? as usize];
        let user = *self.user_index.get(&user)?;
        let here = group.here.find(user)?;
        Some(group.mver.max(here.mver))
    }

    fn reauth(
        &mut self,
        slot: u32,
        command: &Command<'_>,
        id: Option<u32>,
        now: Now,
        actions: &mut Actions,
    ) {
        let Command::Reauth { token } = command else { return };
        let claims = (self.verify)(token, now.wall_ms / 1_000);
        let principal = &mut self.connections[slot as usize].principal;
        match claims {
            Ok(c) if c.sub == principal.user && c.sid == principal.session => {
                principal.expires_at_ms = principal.expires_at_ms.max(c.exp * 1_000);
                principal.issued_at_ms = principal.issued_at_ms.max(c.iat * 1_000);
                self.send(slot, &ServerFrame::Ok { id }, now, actions);
            }
            _ => self.send(slot, &error(id, ErrorCode::Unauthorized, None), now, actions),
        }
    }

    /// Moves queued frames (headers included) into `out`, whole ones, until `bytes_max` is passed. Returns their bytes.
    /// A replay goes on when this has emptied the outbox below a quarter.
    pub fn take_output(
        &mut self,
        id: ConnectionId,
        bytes_max: usize,
        out: &mut Vec<Bytes>,
        now: Now,
        actions: &mut Actions,
    ) -> usize {
        let Some(slot) = self.slot(id) else { return 0 };
        let connection = &mut self.connections[slot as usize];
        let taken = connection.outbox.take(bytes_max, out);
        // Still woken while something is left: the edge keeps taking until it gets nothing.
        connection.woken = connection.outbox.events() > 0;
        if matches!(connection.stage, Stage::Catching(_)) {
            self.pump(slot, now, actions);
        }
        taken
    }

    /// The socket is gone. Forgets the connection; its publishes in flight go on without it.
    pub fn on_disconnect(&mut self, id: ConnectionId, now: Now) {
        let Some(slot) = self.slot(id) else { return };
        self.unwatch(slot);
        let connection = self.connections.remove(slot as usize);
        self.metrics.connections.set(self.connections.len() as u64);
        self.unstored.remove(&slot);
        let user = connection.principal.user;
        self.leave_user(user, slot, now);
    }

    /// Ends connections whose session was revoked.
    pub(super) fn close_matching(
        &mut self,
        code: CloseCode,
        actions: &mut Actions,
        matches: impl Fn(&Principal) -> bool,
    ) {
        let slots: Vec<u32> = self
            .connections
            .iter()
            .filter(|(_, c)| matches(&c.principal))
            .map(|(slot, _)| slot as u32)
            .collect();
        for slot in slots {
            self.close(slot, code, actions);
        }
    }

    /// Reads a user's view again, or for the first time.
    pub(super) fn load_view(
        &mut self,
        load: super::users::Load,
        user: UserId,
        actions: &mut Actions,
    ) {
        let ticket = super::ViewTicket(self.ticket());
        self.views.insert(ticket, load);
        actions.push(Action::LoadView { ticket, user });
    }
}
