//! What each role may do on a log server: the rules of its user, for `ACL SETUSER` or a `user` line of the configuration.
//!
//! Owns: the lists. Never does: make users (whoever runs the server does). Talks to: nobody. Start reading at:
//! [`rules`].
//!
//! Functions run with the rights of their caller, so a role holds every command that its functions call, on the log's keys
//! only. What a broker never holds: other keys, other channels, patterns of channels, loading functions, scripts of its own,
//! trimming, settings, and dropping anything but what a fence and the older half of the dedupe state leave behind. It can
//! write to the log whatever it likes, as it can through `append`: a broker is trusted with that.
//!
//! An example, with the prefix `wc`: `user broker on >secret ~wc:{*}:* &wc:{*}:log -@all +fcall …`.

/// Who speaks to a log server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Appends, follows, answers fences.
    Broker,
    /// And loads the functions, moves W, trims, builds an epoch.
    Api,
}

/// Said by the connection itself, and for the level.
const OWN: [&str; 6] = ["+ping", "+hello", "+info", "+config|get", "+subscribe", "+fcall"];
/// Called by the functions that both roles use.
const CALLED: [&str; 17] = [
    "+time",
    "+hget",
    "+hmget",
    "+hset",
    "+hsetnx",
    "+hdel",
    "+hexists",
    "+hlen",
    "+hvals",
    "+hgetall",
    "+hincrby",
    "+xadd",
    "+xrange",
    "+xrevrange",
    "+publish",
    "+zadd",
    "+zpopmin",
];

/// The rules, without a password (`>…` or `#…` goes in front). `prefix` as in [`super::Options`]. Roles on Redis 7.0 or
/// later, for the selector in parentheses.
pub fn rules(role: Role, prefix: &str) -> Vec<String> {
    let mut rules = vec!["on".to_owned(), "resetkeys".to_owned(), format!("~{prefix}:{{*}}:*")];
    rules.extend(["resetchannels".to_owned(), format!("&{prefix}:{{*}}:log"), "-@all".to_owned()]);
    rules.extend(OWN.into_iter().chain(CALLED).map(str::to_owned));
    match role {
        Role::Broker => {
            let keys = ["answers", "given", "order", "dedupe:*"];
            let keys = keys.map(|key| format!("~{prefix}:{{*}}:{key}")).join(" ");
            rules.push(format!("(+unlink {keys})"));
        }
        Role::Api => rules.extend(["+unlink", "+xtrim", "+function|load"].map(str::to_owned)),
    }
    rules
}
