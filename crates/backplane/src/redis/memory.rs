//! How full a log server's memory is, and when that is too full.
//!
//! Owns: the share of the limit, and its hysteresis. Never does: refuse (the appender does), make room (the persister
//! does). Talks to: nobody. Start reading at: [`Gauge::observe`].

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use crate::Room;

/// Shares of `maxmemory` in percent (LOG.md §3): above the first it is time to look, above the second publishes are refused,
/// and they are taken again below the third.
const YELLOW_PERCENT: u64 = 50;
const RED_PERCENT: u64 = 80;
const CALM_PERCENT: u64 = 70;

/// The last reading of one server.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    room: AtomicU8,
    per_mille: AtomicU64,
}

impl Gauge {
    /// Takes a reading. A limit of 0 is none: there is nothing to compare with.
    pub(super) fn observe(&self, used: u64, limit: u64) -> Room {
        let percent = used.saturating_mul(100).checked_div(limit).unwrap_or(0);
        let room = match percent {
            p if p > RED_PERCENT => Room::Red,
            p if p >= CALM_PERCENT && self.room() == Room::Red => Room::Red,
            p if p > YELLOW_PERCENT => Room::Yellow,
            _ => Room::Green,
        };
        // Relaxed: numbers that stand alone.
        self.room.store(room as u8, Relaxed);
        let per_mille = used.saturating_mul(1_000).checked_div(limit).unwrap_or(0);
        self.per_mille.store(per_mille, Relaxed);
        room
    }

    pub(super) fn ratio(&self) -> f64 {
        self.per_mille.load(Relaxed) as f64 / 1_000.0
    }

    pub(super) fn room(&self) -> Room {
        [Room::Green, Room::Yellow, Room::Red][usize::from(self.room.load(Relaxed).min(2))]
    }
}

/// Bytes in use and their limit, from INFO.
pub(super) fn of_info(info: &str) -> Option<(u64, u64)> {
    let field = |name: &str| {
        let mut lines = info.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
    };
    Some((field("used_memory")?, field("maxmemory")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn red_stays_until_there_is_room_again() {
        let gauge = Gauge::default();
        let readings = [(50, Room::Green), (51, Room::Yellow), (80, Room::Yellow), (81, Room::Red)];
        let down = [(70, Room::Red), (69, Room::Yellow), (75, Room::Yellow), (10, Room::Green)];
        for (percent, expected) in readings.into_iter().chain(down) {
            assert_eq!(gauge.observe(percent, 100), expected, "{percent}");
        }
        assert!((gauge.ratio() - 0.1).abs() < 1e-9);
        assert_eq!(gauge.observe(u64::MAX, 0), Room::Green, "without a limit");
        let info = "# Memory\r\nused_memory:12\r\nused_memory_rss:99\r\nmaxmemory:34\r\n";
        assert_eq!(of_info(info), Some((12, 34)));
        assert_eq!(of_info("role:master\r\n"), None);
    }
}
