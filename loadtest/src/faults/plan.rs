//! Which faults, in which order, how hard: a pure function of a seed.
//!
//! Owns: the kinds (their codes are the project's fault matrix) and the bounds of each. Never does: hurt anything.
//! Talks to: nobody. Start reading at: [`Plan`].

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Code {
    /// `kill -9` of a broker.
    F1,
    /// `kill -9` of the log server.
    F2,
    /// The log server dies while a sync is under way.
    F3,
    /// Its disk fails, or is full.
    F5,
    /// A replica that lacks the newest writes takes its place.
    F6,
    /// Its data is gone.
    F7,
    /// A broker and Redis do not hear each other, or one of them does not.
    F8,
    /// Late, slow and broken-off replies of Redis.
    F10,
    /// A process stands still and goes on as if nothing had been.
    F11,
    /// The persister's process is killed.
    F14,
    /// Subscriptions are cut again and again.
    F17,
    /// All brokers are restarted in turn.
    F19,
    /// All brokers die at once, and all clients come back at once.
    F20,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::F1,
        Self::F2,
        Self::F3,
        Self::F5,
        Self::F6,
        Self::F7,
        Self::F8,
        Self::F10,
        Self::F11,
        Self::F14,
        Self::F17,
        Self::F19,
        Self::F20,
    ];

    /// Whether it needs `strace`.
    pub fn needs_trace(self) -> bool {
        matches!(self, Self::F3 | Self::F5)
    }
}

impl std::str::FromStr for Code {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let found = Self::ALL.into_iter().find(|code| format!("{code:?}") == text);
        found.ok_or_else(|| anyhow::anyhow!("no fault {text:?}; there are {:?}", Self::ALL))
    }
}

/// Which way a partition is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ways {
    /// Neither hears the other.
    Both,
    /// Redis does not hear the broker.
    Up,
    /// The broker does not hear Redis.
    Down,
}

/// What becomes of a reply of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It is late by some milliseconds, and up to as many more.
    Late(u64),
    /// It comes with so many bytes per second.
    Trickle(u32),
    /// It breaks off after so many bytes.
    Broken(u64),
    /// It never comes: what was asked is done, and the connection is cut.
    Lost(u64),
}

/// One fault with its numbers. Brokers are numbered from 0. Times are milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// F1.
    KillBroker { broker: usize, down_ms: u64 },
    /// F2.
    KillLog { down_ms: u64 },
    /// F3: each sync takes `sync_ms`; the kill comes after `after_ms`.
    KillLogInSync { sync_ms: u64, after_ms: u64 },
    /// F5.
    FailSync { full: bool },
    /// F6: the replica has heard nothing for `lag_ms` when the first one dies.
    StaleFailover { lag_ms: u64 },
    /// F7.
    WipeLog,
    /// F8. `live`: from the live server, otherwise from the log.
    Partition { broker: usize, live: bool, ways: Ways, loses: bool, for_ms: u64 },
    /// F10.
    Replies { broker: usize, reply: Reply, for_ms: u64 },
    /// F11, of a broker.
    PauseBroker { broker: usize, for_ms: u64 },
    /// F11, of the log server.
    PauseLog { for_ms: u64 },
    /// F11, of the api.
    PauseApi { for_ms: u64 },
    /// F14.
    KillApi { down_ms: u64 },
    /// F17.
    DropSubscriptions { every_ms: u64, for_ms: u64 },
    /// F19.
    Roll,
    /// F20.
    Storm { down_ms: u64 },
}

impl Fault {
    /// Its kind.
    pub fn code(&self) -> Code {
        match self {
            Self::KillBroker { .. } => Code::F1,
            Self::KillLog { .. } => Code::F2,
            Self::KillLogInSync { .. } => Code::F3,
            Self::FailSync { .. } => Code::F5,
            Self::StaleFailover { .. } => Code::F6,
            Self::WipeLog => Code::F7,
            Self::Partition { .. } => Code::F8,
            Self::Replies { .. } => Code::F10,
            Self::PauseBroker { .. } | Self::PauseLog { .. } | Self::PauseApi { .. } => Code::F11,
            Self::KillApi { .. } => Code::F14,
            Self::DropSubscriptions { .. } => Code::F17,
            Self::Roll => Code::F19,
            Self::Storm { .. } => Code::F20,
        }
    }

    /// How long all processes may take to be ready again once it is over.
    pub fn heals_within(&self) -> Duration {
        match self {
            // An empty log waits a whole lease for nodes that it may have forgotten, then numbers are restored.
            Self::WipeLog | Self::StaleFailover { .. } => Duration::from_secs(60),
            _ => Duration::from_secs(45),
        }
    }
}

/// A fault, and the calm before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Milliseconds after everything was well again.
    pub calm_ms: u64,
    /// What happens then.
    #[serde(flatten)]
    pub fault: Fault,
}

/// How hard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bounds {
    /// Which kinds. Each is drawn once before one is drawn again.
    pub codes: Vec<Code>,
    /// Brokers there are.
    pub brokers: usize,
    /// The longest pause and partition.
    pub longest_ms: u64,
    /// The longest calm.
    pub calm_ms: u64,
}

/// An endless list of steps: the same for the same seed and bounds.
#[derive(Debug, Clone)]
pub struct Plan {
    bounds: Bounds,
    rng: Pcg64Mcg,
    bag: Vec<Code>,
}

impl Plan {
    /// From a seed.
    pub fn new(seed: u64, bounds: Bounds) -> Self {
        Self { bounds, rng: Pcg64Mcg::seed_from_u64(seed), bag: Vec::new() }
    }

    fn draw(&mut self) -> Option<Code> {
        if self.bag.is_empty() {
            self.bag.clone_from(&self.bounds.codes);
        }
        let len = self.bag.len();
        (len > 0).then(|| self.bag.swap_remove(self.rng.random_range(0..len)))
    }

    /// From `least` up to the bound, or just `least` if that is above it; short ones are more likely, as in life.
    fn a_while(&mut self, least: u64) -> u64 {
        let most = self.bounds.longest_ms.max(least);
        let part: f64 = self.rng.random();
        least + ((most - least) as f64 * part * part) as u64
    }

    fn fault(&mut self, code: Code) -> Fault {
        let broker = self.rng.random_range(0..self.bounds.brokers.max(1));
        let down_ms = self.rng.random_range(0..=500);
        match code {
            Code::F1 => Fault::KillBroker { broker, down_ms },
            Code::F2 => Fault::KillLog { down_ms },
            Code::F3 => {
                let sync_ms = self.rng.random_range(200..=2_000);
                Fault::KillLogInSync { sync_ms, after_ms: self.rng.random_range(50..=1_500) }
            }
            Code::F5 => Fault::FailSync { full: self.rng.random() },
            Code::F6 => Fault::StaleFailover { lag_ms: self.rng.random_range(50..=1_500) },
            Code::F7 => Fault::WipeLog,
            Code::F8 => {
                let ways = [Ways::Both, Ways::Up, Ways::Down][self.rng.random_range(0..3)];
                let live = self.rng.random_range(0..4) == 0;
                let loses = self.rng.random();
                Fault::Partition { broker, live, ways, loses, for_ms: self.a_while(500) }
            }
            Code::F10 => {
                let reply = match self.rng.random_range(0..4) {
                    0 => Reply::Late(self.rng.random_range(5..=300)),
                    1 => Reply::Trickle(self.rng.random_range(2_000..=50_000)),
                    2 => Reply::Broken(self.rng.random_range(0..=400)),
                    _ => Reply::Lost(self.rng.random_range(1..=2_000)),
                };
                Fault::Replies { broker, reply, for_ms: self.rng.random_range(300..=2_000) }
            }
            Code::F11 => match self.rng.random_range(0..5) {
                0 => Fault::PauseApi { for_ms: self.a_while(500) },
                1 | 2 => Fault::PauseLog { for_ms: self.a_while(500) },
                _ => Fault::PauseBroker { broker, for_ms: self.a_while(500) },
            },
            Code::F14 => Fault::KillApi { down_ms },
            Code::F17 => {
                let every_ms = self.rng.random_range(20..=300);
                let for_ms = self.rng.random_range(500..=2_500);
                Fault::DropSubscriptions { every_ms, for_ms }
            }
            Code::F19 => Fault::Roll,
            Code::F20 => Fault::Storm { down_ms },
        }
    }
}

impl Iterator for Plan {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let code = self.draw()?;
        let fault = self.fault(code);
        let calm_ms = self.rng.random_range(0..=self.bounds.calm_ms);
        Some(Step { calm_ms, fault })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn bounds() -> Bounds {
        Bounds { codes: Code::ALL.to_vec(), brokers: 3, longest_ms: 60_000, calm_ms: 900 }
    }

    #[test]
    fn a_seed_is_a_plan() {
        let first = |seed| Plan::new(seed, bounds()).take(100).collect::<Vec<_>>();
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }

    #[test]
    fn each_kind_comes_once_in_a_round_and_within_the_bounds() {
        let steps: Vec<Step> = Plan::new(3, bounds()).take(13 * 40).collect();
        for round in steps.chunks(13) {
            let codes: BTreeSet<Code> = round.iter().map(|step| step.fault.code()).collect();
            assert_eq!(codes.len(), 13, "{round:?}");
        }
        let mut brokers = BTreeSet::new();
        for step in &steps {
            assert!(step.calm_ms <= 900);
            match step.fault {
                Fault::PauseBroker { broker, for_ms } | Fault::Partition { broker, for_ms, .. } => {
                    assert!((500..=60_000).contains(&for_ms));
                    brokers.insert(broker);
                }
                _ => {}
            }
        }
        assert_eq!(brokers, BTreeSet::from([0, 1, 2]));
    }

    #[test]
    fn nothing_to_draw_is_the_end_of_the_plan() {
        assert!(Plan::new(1, Bounds { codes: Vec::new(), ..bounds() }).next().is_none());
        assert_eq!("F17".parse::<Code>().unwrap(), Code::F17);
        assert!("F4".parse::<Code>().is_err());
    }
}
