//! What the server's configuration really promises (levels of `docs/`, RELIABILITY section 1).
//!
//! Owns: the rule from settings to level. Never does: change a setting. Talks to: nobody. Start reading at:
//! [`level_of`].

use std::{collections::HashMap, fmt};

/// How much of what was answered a log server keeps. Order: each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// No append-only file: any crash loses minutes.
    L0,
    /// Synced every second, or while a rewrite runs not at all: power loss, and now and then a kill, loses a second.
    L1,
    /// Synced before every answer, nothing evicted: loses with its disk, or by a failover to a replica that lags.
    L2,
    /// And written only while a replica is there.
    L3,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// What is asked for.
pub(super) const SETTINGS: [&str; 5] = [
    "appendonly",
    "appendfsync",
    "no-appendfsync-on-rewrite",
    "maxmemory-policy",
    "min-replicas-to-write",
];

/// The level, and what keeps it from being the next.
pub(super) fn level_of(settings: &HashMap<String, String>) -> (Level, &'static str) {
    let is = |name: &str, value: &str| settings.get(name).is_some_and(|set| set == value);
    if !is("appendonly", "yes") {
        return (Level::L0, "appendonly is not yes");
    }
    if !is("maxmemory-policy", "noeviction") {
        return (Level::L0, "maxmemory-policy is not noeviction");
    }
    if !is("appendfsync", "always") {
        return (Level::L1, "appendfsync is not always");
    }
    if !is("no-appendfsync-on-rewrite", "no") {
        return (Level::L1, "no-appendfsync-on-rewrite is not no");
    }
    if settings.get("min-replicas-to-write").is_none_or(|count| count == "0") {
        return (Level::L2, "min-replicas-to-write is 0");
    }
    (Level::L3, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_the_weakest_of_its_settings() {
        let good = ["yes", "always", "no", "noeviction", "1"];
        let check = |at: usize, value: &str, expected: Level| {
            let mut values = good;
            values[at] = value;
            let names = SETTINGS.iter().map(|name| (*name).to_owned());
            let settings = names.zip(values.iter().map(|value| (*value).to_owned())).collect();
            assert_eq!(level_of(&settings).0, expected, "{} {value}", SETTINGS[at]);
        };
        check(0, "yes", Level::L3);
        check(4, "0", Level::L2);
        check(2, "yes", Level::L1);
        check(1, "everysec", Level::L1);
        check(3, "allkeys-lru", Level::L0);
        check(0, "no", Level::L0);
        assert_eq!(level_of(&HashMap::new()).0, Level::L0);
    }
}
