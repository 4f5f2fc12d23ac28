//! What the users of the live server may do: the least that works.
//!
//! Owns: the rules, as `ACL SETUSER` takes them. Never does: set them. Talks to: nobody. Start reading at: [`live_acl`].
//!
//! Functions run with the rights of their caller, so what they call is listed with what is called from here.

/// Who connects to the live server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveRole {
    /// Announces, publishes, buries the dead; reads revocations and views, but writes neither.
    Broker,
    /// Revokes, caches views, loads the functions; reads presence, but does not write it.
    Api,
}

/// Of both: subscribing, and what publishing and reading call.
const BOTH: [&str; 14] = [
    "auth",
    "fcall",
    "fcall_ro",
    "get",
    "hgetall",
    "hmget",
    "incr",
    "info",
    "mget",
    "ping",
    "publish",
    "subscribe",
    "time",
    "hget",
];
/// Lists and receipts.
const BROKER: [&str; 6] = ["hset", "hdel", "hlen", "unlink", "rename", "pexpire"];
/// Revocations, views, the library.
const API: [&str; 4] = ["set", "pttl", "getrange", "function|load"];

/// Kinds of keys (see `keys.rs`) and whether each may be written.
const BROKER_KEYS: [(&str, bool); 6] = [
    ("signals", true),
    ("nodes", true),
    ("pres*", true),
    ("rcpt:*", true),
    ("gone:*", false),
    ("um:*", false),
];
const API_KEYS: [(&str, bool); 6] = [
    ("signals", true),
    ("gone:*", true),
    ("um:*", true),
    ("nodes", false),
    ("pres*", false),
    ("rcpt:*", false),
];

/// The rules of a user, for `ACL SETUSER name on >password …`. `prefix` is that of [`super::LiveOptions`].
pub fn live_acl(role: LiveRole, prefix: &str) -> Vec<String> {
    let (commands, keys) = match role {
        LiveRole::Broker => (&BROKER[..], BROKER_KEYS),
        LiveRole::Api => (&API[..], API_KEYS),
    };
    let mut rules: Vec<String> =
        ["resetkeys", "resetchannels", "-@all"].map(str::to_owned).to_vec();
    rules.extend(keys.iter().map(|(kind, writes)| {
        let mode = if *writes { "~" } else { "%R~" };
        format!("{mode}{prefix}:{{live}}:{kind}")
    }));
    rules.push(format!("&{prefix}:{{live}}:signals"));
    rules.extend(BOTH.iter().chain(commands).map(|command| format!("+{command}")));
    rules
}
