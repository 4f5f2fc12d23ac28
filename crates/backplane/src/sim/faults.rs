//! What may go wrong in a simulated log, and the random source that decides when.
//!
//! Owns: rates, and numbers from a seed. Never does: carry a fault out. Talks to: nobody. Start reading at: [`Faults`].

/// How often something goes wrong, in per mille of its occasions. The default is never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// An append is carried out and its answer lost: `Unknown`.
    pub drop_reply: u16,
    /// An append is refused, nothing stored: out of memory, or a full disk.
    pub refuse: u16,
    /// A push reaches its follower before the sync.
    pub push_early: u16,
    /// A push never arrives.
    pub drop_push: u16,
    /// A push arrives after later ones.
    pub delay_push: u16,
    /// A push arrives twice.
    pub double_push: u16,
    /// Appends wait for [`super::SimLog::sync`].
    pub hold_sync: bool,
}

impl Faults {
    /// All of them, each about as often as it takes for every pair to meet within a thousand appends.
    pub const ALL: Self = Self {
        drop_reply: 60,
        refuse: 40,
        push_early: 100,
        drop_push: 80,
        delay_push: 80,
        double_push: 80,
        hold_sync: true,
    };
}

/// Numbers from a seed (SplitMix64: Steele, Lea and Flood 2014): the same ones on every machine and in every release.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From a seed; any will do.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `0 .. count`; 0 if there are none.
    pub fn below(&mut self, count: u64) -> u64 {
        self.next_u64() % count.max(1)
    }

    /// True in so many of a thousand cases.
    pub fn per_mille(&mut self, rate: u16) -> bool {
        rate > 0 && self.below(1_000) < u64::from(rate)
    }
}
