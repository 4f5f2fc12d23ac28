//! When a shard sheds load, and what: the overload ladder.
//!
//! Owns: the step and its hysteresis. Never does: the shedding (`route` and the flush of signals do), a clock.
//! Talks to: nobody. Start reading at: [`Ladder::observe`].

/// Steps of the ladder: nothing shed; typing and changes of presence; receipts too; publishes refused.
pub const STEPS: [&str; 4] = ["none", "signals", "receipts", "publishes"];

/// A tick this late (ms) stands for step 1, 2, 3. The tick is the first thing that a shard does when it has its turn, so
/// it is late by one round of all that is ready: 250 ms is what everybody's messages wait as well.
const LATE_MS: [u64; 3] = [250, 1_000, 3_000];
/// So many percent of the unacked publishes that a shard may have stand for step 1, 2; at 100 each further one is refused
/// by itself.
const UNACKED_PERCENT: [u64; 2] = [50, 75];
/// A step is left, one at a time, after this long without a reading that asks for it.
const CALM_MS: u64 = 2_000;

/// The overload ladder of one shard.
#[derive(Debug, Default)]
pub struct Ladder {
    step: u8,
    /// What the reading before this one asked for.
    before: u8,
    /// The last reading that asked for `step`, or when `step` was reached from above.
    asked_ms: u64,
}

impl Ladder {
    /// Takes the readings of one tick and says which step holds, 0–3. Two readings in a row raise it: a machine that stood
    /// still once is not overloaded. `full`: the log has no room, which asks for the last step.
    pub fn observe(
        &mut self,
        late_ms: u64,
        (unacked, unacked_max): (usize, usize),
        full: bool,
        now_ms: u64,
    ) -> u8 {
        let percent = unacked as u64 * 100 / (unacked_max as u64).max(1);
        let by_time = LATE_MS.iter().filter(|at| late_ms >= **at).count();
        let by_log = UNACKED_PERCENT.iter().filter(|at| percent >= **at).count();
        let by_room = if full { STEPS.len() - 1 } else { 0 };
        let asks = by_time.max(by_log).max(by_room) as u8;
        let sure = asks.min(self.before);
        self.before = asks;
        if sure >= self.step {
            (self.step, self.asked_ms) = (sure, now_ms);
        } else if asks >= self.step {
            self.asked_ms = now_ms;
        } else if self.asked_ms + CALM_MS <= now_ms {
            (self.step, self.asked_ms) = (self.step - 1, now_ms);
        }
        self.step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Readings of (late ms, unacked of 100), one every 100 ms, and the step after each.
    fn check(readings: &[(u64, usize)], expected: &[u8]) {
        let mut ladder = Ladder::default();
        let steps: Vec<u8> = (1..)
            .zip(readings)
            .map(|(tick, (late, unacked))| {
                ladder.observe(*late, (*unacked, 100), false, tick * 100)
            })
            .collect();
        assert_eq!(steps, expected, "{readings:?}");
    }

    #[test]
    fn two_late_ticks_raise_it_and_one_does_not() {
        check(&[(0, 0), (9_000, 0), (0, 0)], &[0, 0, 0]);
        check(&[(300, 0), (300, 0)], &[0, 1]);
        check(&[(1_000, 0), (5_000, 0), (3_000, 0)], &[0, 2, 3]);
        check(&[(5_000, 0), (300, 0)], &[0, 1]);
    }

    #[test]
    fn a_log_that_does_not_answer_raises_it_to_two() {
        check(&[(0, 50), (0, 80), (0, 100), (0, 100)], &[0, 1, 2, 2]);
    }

    #[test]
    fn a_log_without_room_raises_it_to_the_top() {
        let mut ladder = Ladder::default();
        let steps = [100, 200, 2_300].map(|at| ladder.observe(0, (0, 100), at < 300, at));
        assert_eq!(steps, [0, 3, 2]);
    }

    #[test]
    fn it_falls_one_step_at_a_time_after_two_calm_seconds() {
        let mut ladder = Ladder::default();
        ladder.observe(3_000, (0, 100), false, 1_000);
        assert_eq!(ladder.observe(3_000, (0, 100), false, 1_100), 3);
        assert_eq!(ladder.observe(0, (0, 100), false, 3_000), 3, "1.9 s");
        assert_eq!(ladder.observe(0, (0, 100), false, 3_100), 2);
        assert_eq!(
            ladder.observe(1_000, (0, 100), false, 4_000),
            2,
            "not calm: the two seconds begin again"
        );
        assert_eq!(ladder.observe(0, (0, 100), false, 5_900), 2);
        assert_eq!(ladder.observe(0, (0, 100), false, 6_000), 1);
        assert_eq!(ladder.observe(0, (0, 100), false, 8_000), 0);
        assert_eq!(ladder.observe(0, (0, 100), false, 99_000), 0);
    }
}
