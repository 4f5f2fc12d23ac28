//! When messages are due, and how late everything was.
//!
//! Owns: the open schedule (seeded, absolute times), histograms, the generator's own lag. Never does: sockets.
//! Talks to: nobody. Start reading at: [`Schedule`], [`Latency`].

use hdrhistogram::Histogram;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;

/// Latencies above this count as this: 60 s.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// Significant figures of the histograms: 0.1 %.
const FIGURES: u8 = 3;
/// Under this part of the offered rate a run is saturated, and its latency is no latency.
const ACHIEVED_MIN: f64 = 0.99;
/// A generator that is later than this at its 99th percentile has measured itself.
const LAG_NS_MAX: u64 = 2_000_000;

/// How arrivals come.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// Closed loop: the next message when one of the window is answered. For the most throughput only.
    Closed {
        /// Messages in flight per sender.
        window: usize,
    },
    /// Open loop: independent arrivals at this rate over all senders, whatever the server does.
    Open {
        /// Messages per second.
        rate: f64,
    },
}

/// One sender's due times: a Poisson process from a seed. Sums of them are the whole run's Poisson process.
#[derive(Debug)]
pub struct Schedule {
    rng: Pcg64Mcg,
    mean_ns: f64,
    next_ns: f64,
}

impl Schedule {
    /// `rate` messages per second from `start_ns` on.
    pub fn new(rate: f64, start_ns: u64, seed: u64) -> Self {
        let mut schedule = Self {
            rng: Pcg64Mcg::seed_from_u64(seed),
            mean_ns: 1e9 / rate,
            next_ns: start_ns as f64,
        };
        schedule.advance();
        schedule
    }

    /// When the next message is due.
    pub fn due_ns(&self) -> u64 {
        self.next_ns as u64
    }

    /// Goes on to the one after.
    pub fn advance(&mut self) {
        let uniform: f64 = self.rng.random_range(f64::EPSILON..1.0);
        self.next_ns -= uniform.ln() * self.mean_ns;
    }
}

/// A histogram of nanoseconds.
#[derive(Debug, Clone)]
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_NS_MAX, FIGURES);
        Self(histogram.expect("invariant: constant bounds are valid"))
    }
}

/// A histogram in figures, microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Percentiles {
    /// Values.
    pub count: u64,
    /// Mean.
    pub mean_us: f64,
    /// Half are below.
    pub p50_us: f64,
    /// 90 %.
    pub p90_us: f64,
    /// 99 %.
    pub p99_us: f64,
    /// 99.9 %.
    pub p999_us: f64,
    /// The largest.
    pub max_us: f64,
}

impl Latency {
    /// Adds one value.
    pub fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns.max(1));
    }

    /// Adds another histogram.
    pub fn merge(&mut self, other: &Self) {
        // Same bounds, so that nothing can be out of range.
        let _ = self.0.add(&other.0);
    }

    /// In figures.
    pub fn percentiles(&self) -> Percentiles {
        let at = |q: f64| self.0.value_at_quantile(q) as f64 / 1e3;
        Percentiles {
            count: self.0.len(),
            mean_us: self.0.mean() / 1e3,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: self.0.max() as f64 / 1e3,
        }
    }

    /// The 99th percentile in nanoseconds.
    pub fn p99_ns(&self) -> u64 {
        self.0.value_at_quantile(0.99)
    }
}

/// Whether a run's latency may be called one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Yes.
    Valid,
    /// Closed loop: throughput and cost only, its latency is the loop's.
    ClosedLoop,
    /// The server did not take what was offered.
    Saturated,
    /// The generator was late itself.
    GeneratorLate,
}

/// Judges a run by the offered and achieved rates and the generator's lag.
pub fn verdict(arrivals: Arrivals, achieved: f64, lag: &Latency) -> Verdict {
    match arrivals {
        Arrivals::Closed { .. } => Verdict::ClosedLoop,
        Arrivals::Open { rate } if achieved < rate * ACHIEVED_MIN => Verdict::Saturated,
        Arrivals::Open { .. } if lag.p99_ns() > LAG_NS_MAX => Verdict::GeneratorLate,
        Arrivals::Open { .. } => Verdict::Valid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_has_its_rate_and_its_seed() {
        let count = |seed| {
            let mut schedule = Schedule::new(1_000.0, 5_000, seed);
            let mut due = Vec::new();
            while schedule.due_ns() < 10_000_000_000 {
                due.push(schedule.due_ns());
                schedule.advance();
            }
            due
        };
        let due = count(3);
        assert!((9_500..10_500).contains(&due.len()), "{}", due.len());
        assert!(due.is_sorted() && due[0] >= 5_000);
        assert_eq!(due, count(3));
        assert_ne!(due, count(4));
    }

    #[test]
    fn a_late_generator_and_a_saturated_server_are_told_apart() {
        let (mut late, open) = (Latency::default(), Arrivals::Open { rate: 100.0 });
        assert_eq!(verdict(open, 99.5, &late), Verdict::Valid);
        assert_eq!(verdict(open, 98.0, &late), Verdict::Saturated);
        late.record(50_000_000);
        assert_eq!(verdict(open, 100.0, &late), Verdict::GeneratorLate);
        assert_eq!(verdict(Arrivals::Closed { window: 1 }, 1.0, &late), Verdict::ClosedLoop);
    }

    #[test]
    fn percentiles_are_in_microseconds() {
        let mut latency = Latency::default();
        (1..=1000u64).for_each(|n| latency.record(n * 1_000));
        let p = latency.percentiles();
        assert!((p.p50_us - 500.0).abs() < 2.0 && (p.p99_us - 990.0).abs() < 2.0, "{p:?}");
        assert_eq!(p.count, 1000);
    }
}
