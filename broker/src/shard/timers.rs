//! Time: pings, silence, expiry, deadlines, flushes, drain slots.
//!
//! Owns: the wheel and the tick. Never does: a clock. Talks to: nobody. Start reading at: [`Shard::on_tick`].

use bytes::Bytes;
use protocol::{CloseCode, ServerFrame, limits};

use super::{
    Actions, ConnectionId, Now, Shard, encode,
    records::{Connection, Stage},
};
use crate::websocket::encode::{ping, ping_then};

/// Slots of one second each: above the longest ping interval (30 s) and the dead time (65 s).
const SLOTS: usize = 128;
const SLOT_MS: u64 = 1_000;
/// With a ping comes a `beat` unless something was sent this recently. Pings are at most 30 s apart, so the longest
/// silence is 35 s and a wheel slot: below the 40 s at which a client gives up.
const BEAT_AFTER_MS: u64 = 5_000;
/// A connection whose publishes in flight are not answered is closed this long after its drain slot.
const DRAIN_PATIENCE_MS: u64 = limits::APPEND_DEADLINE_MS + 1_000;

/// Each connection stands in one slot; what is really due is looked up when the slot comes.
#[derive(Debug)]
pub(super) struct Wheel {
    slots: Vec<Vec<ConnectionId>>,
    /// Slots up to here have been emptied.
    reached: Option<u64>,
}

impl Default for Wheel {
    fn default() -> Self {
        Self { slots: vec![Vec::new(); SLOTS], reached: None }
    }
}

impl Wheel {
    /// Puts a connection into the slot of `due_ms`, or of the farthest time that the wheel knows.
    pub(super) fn add(&mut self, id: ConnectionId, due_ms: u64) {
        let due = due_ms.div_ceil(SLOT_MS);
        let due =
            self.reached.map_or(due, |reached| due.clamp(reached + 1, reached + SLOTS as u64 - 1));
        self.slots[due as usize % SLOTS].push(id);
    }

    fn due(&mut self, now_ms: u64) -> Vec<ConnectionId> {
        let target = now_ms / SLOT_MS;
        // The first turn, and one after a long stop, empties every slot: an early look costs nothing but itself.
        let from = self.reached.map_or(target.saturating_sub(SLOTS as u64 - 1), |r| r + 1);
        let from = from.max((target + 1).saturating_sub(SLOTS as u64));
        self.reached = Some(target.max(self.reached.unwrap_or(0)));
        (from..=target)
            .flat_map(|slot| std::mem::take(&mut self.slots[slot as usize % SLOTS]))
            .collect()
    }
}

impl Shard {
    /// Time passed. The edge calls it every 50–250 ms.
    pub fn on_tick(&mut self, now: Now, actions: &mut Actions) {
        // Everybody who is pinged in one tick is told the same, and shares it.
        let mut heartbeat = None;
        for id in self.wheel.due(now.mono_ms) {
            if let Some(slot) = self.slot(id) {
                self.look_at(slot, &mut heartbeat, now, actions);
            }
        }
        self.retry_held(now, actions);
        self.expire_publishes(now, actions);
        self.expire_grace(now, actions);
        self.run_drain(now, actions);
        if self.flushed_ms + limits::QUIET_MS <= now.mono_ms {
            self.flushed_ms = now.mono_ms;
            self.flush_signals(now, actions);
            self.flush_persisted(now, actions);
            self.forget_recent(now);
            let queued: usize = self.connections.iter().map(|(_, c)| c.outbox.bytes()).sum();
            self.metrics.outbox_bytes.set(queued as u64);
            self.metrics.users.set(self.users.len() as u64);
            self.metrics.groups.set(self.groups.len() as u64);
        }
    }

    fn look_at(
        &mut self,
        slot: u32,
        heartbeat: &mut Option<Bytes>,
        now: Now,
        actions: &mut Actions,
    ) {
        let connection = &self.connections[slot as usize];
        let Connection { id, heard_ms, opened_ms, ping_at_ms, said_ms, .. } = *connection;
        let expires_at_ms = connection.principal.expires_at_ms;
        let waits_for_hello = matches!(connection.stage, Stage::Accepted);
        let late = if matches!(connection.stage, Stage::Closing) {
            return;
        } else if expires_at_ms <= now.wall_ms {
            Some(CloseCode::Unauthorized)
        } else if waits_for_hello && opened_ms + limits::HELLO_TIMEOUT_MS <= now.mono_ms {
            Some(CloseCode::HelloTimeout)
        } else if heard_ms + limits::DEAD_AFTER_MS <= now.mono_ms {
            Some(CloseCode::PingTimeout)
        } else {
            None
        };
        if let Some(code) = late {
            return self.close(slot, code, actions);
        }
        if ping_at_ms <= now.mono_ms {
            let beat = (said_ms + BEAT_AFTER_MS <= now.mono_ms)
                .then(|| self.beat(slot, heartbeat))
                .flatten();
            let is_seen = beat.is_some();
            self.push(slot, beat.unwrap_or_else(ping), false, now, actions);
            if !is_seen {
                // A ping alone is nothing that a script in a browser sees.
                self.connections[slot as usize].said_ms = said_ms;
            }
            self.schedule_ping(slot, now);
        }
        let mut due = self.connections[slot as usize].ping_at_ms;
        due = due.min(heard_ms + limits::DEAD_AFTER_MS);
        due = due.min(now.mono_ms + (expires_at_ms - now.wall_ms));
        if waits_for_hello {
            due = due.min(opened_ms + limits::HELLO_TIMEOUT_MS);
        }
        self.wheel.add(id, due);
    }

    /// A ping with a `beat`; `None` before the welcome. `shared`: that of all who are live.
    fn beat(&self, slot: u32, shared: &mut Option<Bytes>) -> Option<Bytes> {
        let beat = |at| ping_then(&encode(&ServerFrame::Beat { at }));
        match &self.connections[slot as usize].stage {
            Stage::Live => {
                Some(shared.get_or_insert_with(|| beat(self.cursor.to_string())).clone())
            }
            Stage::Catching(catch_up) => Some(beat(catch_up.reached.to_string())),
            _ => None,
        }
    }

    pub(super) fn schedule_ping(&mut self, slot: u32, now: Now) {
        let spread = limits::PING_INTERVAL_MS * limits::PING_JITTER_PERCENT / 100;
        let wait = limits::PING_INTERVAL_MS - spread + self.jitter(2 * spread);
        self.connections[slot as usize].ping_at_ms = now.mono_ms + wait;
    }

    /// The node stops: no more publishes, and for every connection a slot within the window.
    pub fn on_drain_begin(&mut self, window_ms: u64, now: Now, actions: &mut Actions) {
        self.draining = true;
        let ids: Vec<ConnectionId> = self.connections.iter().map(|(_, c)| c.id).collect();
        let width = window_ms / (ids.len() as u64).max(1);
        for (number, id) in ids.into_iter().enumerate() {
            let offset = width * number as u64 + self.jitter(width);
            self.drain.push_back((now.mono_ms + offset, id));
            let frame = encode(&ServerFrame::Goaway { reconnect_in_ms: offset });
            self.push(id.0 as u32, frame, false, now, actions);
        }
    }

    fn run_drain(&mut self, now: Now, actions: &mut Actions) {
        let mut waiting = Vec::new();
        while let Some((due, id)) = self.drain.front().copied() {
            if due > now.mono_ms {
                break;
            }
            self.drain.pop_front();
            let Some(slot) = self.slot(id) else { continue };
            let in_flight = self.connections[slot as usize].unacked > 0;
            if in_flight && due + DRAIN_PATIENCE_MS > now.mono_ms {
                waiting.push((due, id));
            } else {
                self.close(slot, CloseCode::ServiceRestart, actions);
            }
        }
        for entry in waiting.into_iter().rev() {
            self.drain.push_front(entry);
        }
    }

    /// Ends everything at once, for the end of the drain window.
    pub fn on_drain_end(&mut self, actions: &mut Actions) {
        self.close_matching(CloseCode::ServiceRestart, actions, |_| true);
    }
}
