//! Token buckets by key, in a map of bounded size.
//!
//! Owns: [`RateLimiter`], [`Rate`]. Never does: read a clock (the caller passes it), or decide what a key is.
//! Talks to: nobody. Start reading at: [`RateLimiter::take`].

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::{BuildHasher, Hash},
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

/// Keys that one limiter remembers: 16 B each and the map's overhead, under 2 MiB.
const KEYS_MAX: usize = 32_768;

/// How fast a bucket fills, and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Tokens per second.
    pub per_second: f64,
    /// Tokens at most, and at first.
    pub burst: f64,
}

impl Rate {
    /// A rate of `count` per minute, all of which may come at once.
    pub const fn per_minute(count: u32) -> Self {
        Self { per_second: count as f64 / 60.0, burst: count as f64 }
    }

    /// A steady rate with a burst.
    pub const fn per_second(count: u32, burst: u32) -> Self {
        Self { per_second: count as f64, burst: burst as f64 }
    }
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at_ms: u64,
}

/// Buckets of one kind. At [`KEYS_MAX`] keys the refilled ones are forgotten; if all are in use, new keys share one
/// bucket, so that neither memory nor the limit can be escaped by inventing keys.
#[derive(Debug)]
pub struct RateLimiter {
    rate: Rate,
    hasher: RandomState,
    buckets: Mutex<HashMap<u64, Bucket>>,
}

/// The bucket that keys share once the map is full.
const SHARED_KEY: u64 = 0;

impl RateLimiter {
    /// A limiter whose keys all have the same rate.
    pub fn new(rate: Rate) -> Self {
        Self { rate, hasher: RandomState::new(), buckets: Mutex::default() }
    }

    /// Takes one token. Errors: milliseconds until there is one again.
    pub fn take<K: Hash>(&self, key: K, now_ms: u64) -> Result<(), u64> {
        let mut key = self.hasher.hash_one(key).max(1);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= KEYS_MAX && !buckets.contains_key(&key) {
            let rate = self.rate;
            buckets.retain(|_, bucket| rate.level(*bucket, now_ms) < rate.burst);
            if buckets.len() >= KEYS_MAX {
                key = SHARED_KEY;
            }
        }
        let fresh = Bucket { tokens: self.rate.burst, at_ms: now_ms };
        let bucket = buckets.entry(key).or_insert(fresh);
        bucket.tokens = self.rate.level(*bucket, now_ms);
        bucket.at_ms = now_ms.max(bucket.at_ms);
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        let wait_ms = (1.0 - bucket.tokens) / self.rate.per_second * 1_000.0;
        // Half a microsecond less: what is a whole number but for rounding stays one.
        Err(((wait_ms - 0.0005).ceil() as u64).max(1))
    }
}

impl Rate {
    fn level(self, bucket: Bucket, now_ms: u64) -> f64 {
        let passed = now_ms.saturating_sub(bucket.at_ms) as f64 / 1_000.0;
        (bucket.tokens + passed * self.per_second).min(self.burst)
    }
}

/// What an address counts as: IPv4 as it is (also when mapped into IPv6), IPv6 by its /64, which is one customer's.
pub fn address_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_tells_the_wait_and_refills() {
        let limiter = RateLimiter::new(Rate::per_second(2, 3));
        for _ in 0..3 {
            assert_eq!(limiter.take("a", 1_000), Ok(()));
        }
        assert_eq!(limiter.take("a", 1_000), Err(500));
        assert_eq!(limiter.take("b", 1_000), Ok(()), "keys are independent");
        assert_eq!(limiter.take("a", 1_499), Err(1));
        assert_eq!(limiter.take("a", 1_500), Ok(()));
        assert!(limiter.take("a", 0).is_err(), "a clock that steps back gives nothing");
    }

    #[test]
    fn inventing_keys_neither_grows_the_map_nor_escapes_the_limit() {
        let limiter = RateLimiter::new(Rate::per_second(1, 2));
        for key in 0..KEYS_MAX {
            assert_eq!(limiter.take(key, 0), Ok(()));
        }
        let passed = (0..1_000).filter(|n| limiter.take(("new", n), 0).is_ok()).count();
        assert_eq!(passed, 2, "new keys share one bucket");
        assert!(limiter.buckets.lock().unwrap().len() <= KEYS_MAX + 1);
        assert_eq!(limiter.take("later", 60_000), Ok(()), "refilled buckets are forgotten");
        assert_eq!(limiter.buckets.lock().unwrap().len(), 1);
    }

    #[test]
    fn addresses_count_by_v4_or_by_v6_network() {
        let key = |text: &str| address_key(text.parse().unwrap());
        assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:ffff"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
    }
}
