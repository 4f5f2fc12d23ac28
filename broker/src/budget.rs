//! Token buckets: how much one connection may ask for.
//!
//! Owns: [`Bucket`]. Never does: a clock (it is passed in). Talks to: nobody. Start reading at: [`Bucket::take`].

use crate::config::Rate;

/// A token bucket of 8 bytes. Units: thousandths of a token; milliseconds of the node's monotonic clock, wrapping.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    milli: u32,
    at_ms: u32,
}

impl Bucket {
    /// A full bucket.
    pub fn full(rate: Rate, mono_ms: u64) -> Self {
        Self { milli: rate.burst.saturating_mul(1_000), at_ms: mono_ms as u32 }
    }

    /// Takes one token. Errors: milliseconds until there is one.
    pub fn take(&mut self, rate: Rate, mono_ms: u64) -> Result<(), u64> {
        let now = mono_ms as u32;
        let passed = u64::from(now.wrapping_sub(self.at_ms));
        let refilled = u64::from(self.milli) + passed * u64::from(rate.per_second);
        self.milli = refilled.min(u64::from(rate.burst) * 1_000) as u32;
        self.at_ms = now;
        if self.milli >= 1_000 {
            self.milli -= 1_000;
            return Ok(());
        }
        Err(u64::from(1_000 - self.milli).div_ceil(u64::from(rate.per_second.max(1))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r41_bucket_gives_its_burst_then_tells_when_the_next_token_comes() {
        let rate = Rate { per_second: 50, burst: 3 };
        let mut bucket = Bucket::full(rate, 0);
        assert!((0..3).all(|_| bucket.take(rate, 0).is_ok()));
        assert_eq!(bucket.take(rate, 0), Err(20));
        assert_eq!(bucket.take(rate, 20), Ok(()));
        assert!(bucket.take(rate, 20).is_err());
    }
}
