//! What a cluster is: one table of processes, their ports and their order.
//!
//! Owns: names, kinds, ports. Never does: start anything. Talks to: the kernel, for free ports.
//! Start reading at: [`Topology::rows`].

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::Context;
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Tries to find a free port; one of a few thousand is taken on a usual machine.
const PORT_TRIES_MAX: u32 = 200;
/// Ports below are left to those who know them by name.
const PORT_MIN: u16 = 10_240;
/// Where the kernel takes ports for outgoing connections from, unless it says otherwise.
const EPHEMERAL: u16 = 32_768;

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Redis with a file that is synced before each answer.
    Log,
    /// Redis without files.
    Live,
    /// `webchat-api`.
    Api,
    /// `webchat-broker`.
    Broker,
    /// The load balancer.
    Nginx,
}

/// How many of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// Log servers, one per partition.
    #[serde(default = "one")]
    pub logs: usize,
    /// Brokers.
    pub brokers: usize,
    /// Apis. More than one need a store that they share.
    pub apis: usize,
    /// Whether nginx stands in front.
    pub nginx: bool,
}

impl Default for Topology {
    fn default() -> Self {
        Self { logs: 1, brokers: 3, apis: 1, nginx: true }
    }
}

/// A state file of before has no number.
fn one() -> usize {
    1
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// `log`, `log-2`, `live`, `api-1`, `broker-2`, `nginx`.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// What it is for the others.
    pub port: u16,
    /// Metrics and health, of our own programs.
    pub admin: Option<u16>,
    /// `Archive` and public keys for brokers, of an api.
    pub internal: Option<u16>,
}

/// A port on loopback as an address.
pub fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

impl Row {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        local(self.port)
    }
}

impl Topology {
    /// The table, without ports, in the order of starting. (Any order has to work; this one waits least.)
    pub fn names(&self) -> Vec<(String, Kind)> {
        let numbered = |name: &str, kind, count| {
            (1..=count).map(|n| (format!("{name}-{n}"), kind)).collect::<Vec<_>>()
        };
        // The first one is called as the only one is.
        let mut names = vec![("log".to_owned(), Kind::Log)];
        names.extend((2..=self.logs).map(|n| (format!("log-{n}"), Kind::Log)));
        names.push(("live".to_owned(), Kind::Live));
        names.extend(numbered("api", Kind::Api, self.apis));
        names.extend(numbered("broker", Kind::Broker, self.brokers));
        if self.nginx {
            names.push(("nginx".to_owned(), Kind::Nginx));
        }
        names
    }

    /// The table with free ports.
    pub fn rows(&self) -> anyhow::Result<Vec<Row>> {
        let mut ports = FreePorts::default();
        let mut rows = Vec::new();
        for (name, kind) in self.names() {
            let ours = matches!(kind, Kind::Api | Kind::Broker);
            let port = ports.take()?;
            let admin = if ours { Some(ports.take()?) } else { None };
            let internal = if kind == Kind::Api { Some(ports.take()?) } else { None };
            rows.push(Row { name, kind, port, admin, internal });
        }
        Ok(rows)
    }
}

/// Free ports below those of outgoing connections: a process that was killed finds its port free again, since no
/// connection of anybody's has got it meanwhile.
#[derive(Debug, Default)]
pub struct FreePorts {
    given: Vec<u16>,
}

impl FreePorts {
    /// One that nobody listens on now, and that was not given before.
    pub fn take(&mut self) -> anyhow::Result<u16> {
        let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
        let first = range.ok().and_then(|text| text.split_whitespace().next()?.parse().ok());
        let end = first.unwrap_or(EPHEMERAL).max(PORT_MIN + 1_000);
        for _ in 0..PORT_TRIES_MAX {
            let port = rand::rng().random_range(PORT_MIN..end);
            let free = !self.given.contains(&port)
                && TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
            if free {
                self.given.push(port);
                return Ok(port);
            }
        }
        None.context("no free port")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_each_process_once_and_gives_each_its_own_ports() {
        let rows = Topology { logs: 2, brokers: 3, apis: 2, nginx: true }.rows().unwrap();
        let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        let servers = ["log", "log-2", "live"];
        let ours = ["api-1", "api-2", "broker-1", "broker-2", "broker-3", "nginx"];
        assert_eq!(names, [&servers[..], &ours].concat());
        let mut ports: Vec<u16> =
            rows.iter().flat_map(|r| [Some(r.port), r.admin, r.internal]).flatten().collect();
        assert_eq!(ports.len(), 9 + 5 + 2);
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 9 + 5 + 2);
    }
}
