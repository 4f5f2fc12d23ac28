//! What figures are compared of: a cluster of ours with settings, and a server of another make.
//!
//! Owns: how each is named, started fresh and ended. Never does: measure. Talks to: the cluster starter, Redis, Node.
//! Start reading at: [`Side`].

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use super::{
    population::{Population, SeedPlan},
    servers::Servers,
};
use crate::{
    cluster::{
        probe,
        process::{Process, pinned},
        programs::Programs,
        starter::{Cluster, Options},
        topology::{FreePorts, Kind, Topology, local},
    },
    server,
};

/// From the start of a process to its first good answer.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks.
const POLL: Duration = Duration::from_millis(20);

/// One of those compared. As text: `ours` or `node`, each with settings: `ours+everysec+logs=2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// One broker, one api, live and log servers.
    Ours(Ours),
    /// `peers/node-ws` and its Redis.
    Node(Node),
}

/// Settings of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ours {
    /// The log server syncs every second instead of before each answer.
    pub everysec: bool,
    /// One publish in an append.
    pub single: bool,
    /// The persister stores, instead of counting.
    pub stored: bool,
    /// Log servers.
    pub logs: usize,
    /// Shards of the broker.
    pub shards: usize,
}

impl Default for Ours {
    fn default() -> Self {
        Self { everysec: false, single: false, stored: false, logs: 1, shards: 1 }
    }
}

/// Settings of the other make. Its authors would use `everysec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Node {
    /// Its Redis syncs before each answer.
    pub always: bool,
    /// Publishes only: nothing is kept.
    pub volatile: bool,
}

impl FromStr for Side {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut words = text.split('+');
        let mut side = match words.next() {
            Some("ours") => Self::Ours(Ours::default()),
            Some("node") => Self::Node(Node::default()),
            _ => bail!("{text:?}: it begins with `ours` or `node`"),
        };
        for word in words {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            match (&mut side, name) {
                (Self::Ours(ours), "everysec") => ours.everysec = true,
                (Self::Ours(ours), "single") => ours.single = true,
                (Self::Ours(ours), "stored") => ours.stored = true,
                (Self::Ours(ours), "logs") => ours.logs = value.parse().context("logs=N")?,
                (Self::Ours(ours), "shards") => ours.shards = value.parse().context("shards=N")?,
                (Self::Node(node), "always") => node.always = true,
                (Self::Node(node), "volatile") => node.volatile = true,
                _ => bail!(
                    "{word:?}: ours has everysec, single, stored, logs=N, shards=N; \
                     node has always, volatile"
                ),
            }
        }
        Ok(side)
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut put = |is: bool, word: &str| if is { write!(f, "{word}") } else { Ok(()) };
        match self {
            Self::Ours(Ours { everysec, single, stored, logs, shards }) => {
                put(true, "ours")?;
                put(*everysec, "+everysec")?;
                put(*single, "+single")?;
                put(*stored, "+stored")?;
                put(*logs != 1, &format!("+logs={logs}"))?;
                put(*shards != 1, &format!("+shards={shards}"))
            }
            Self::Node(Node { always, volatile }) => {
                put(true, "node")?;
                put(*always, "+always")?;
                put(*volatile, "+volatile")
            }
        }
    }
}

/// Where and with what sides are started.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// Programs of ours, and Redis.
    pub programs: Programs,
    /// Cores of all servers, as taskset takes them.
    pub cores: Option<String>,
    /// Folder of the other make, installed (`npm ci`).
    pub peer: PathBuf,
}

/// A side that runs. Dropped = all of it is killed.
#[derive(Debug)]
pub struct Running {
    /// Where people connect.
    pub address: SocketAddr,
    /// Whose CPU counts.
    pub servers: Servers,
    /// Who may connect.
    pub population: Population,
    _owner: Owner,
}

#[derive(Debug)]
enum Owner {
    Cluster(#[allow(dead_code, reason = "held for its drop")] Box<Cluster>),
    Node(#[allow(dead_code, reason = "held for its drop")] Peer),
}

impl Side {
    /// Starts it on fresh data, with people.
    pub async fn start(self, place: &Place, people: usize) -> anyhow::Result<Running> {
        let plan = SeedPlan { people, groups_per_person: 0, group_size: 2 };
        match self {
            Self::Ours(ours) => ours.start(place, plan).await,
            Self::Node(node) => node.start(place, plan).await,
        }
    }
}

impl Ours {
    fn options(self, place: &Place) -> Options {
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut options = Options {
            topology: Topology { logs: self.logs, brokers: 1, apis: 1, nginx: false },
            programs: place.programs.clone(),
            cores: place.cores.clone(),
            arguments: words(&["--trusted-source", "127.0.0.0/8"]),
            broker_arguments: words(&["--shards", &self.shards.to_string()]),
            ..Options::default()
        };
        if self.everysec {
            options.arguments.extend(words(&["--durability", "everysec"]));
            options.log_arguments = words(&["--appendfsync", "everysec"]);
        }
        if self.single {
            options.broker_arguments.extend(words(&["--append-envelopes-max", "1"]));
        }
        if !self.stored {
            options.api_arguments = words(&["--store-counts-only"]);
        }
        options
    }

    async fn start(self, place: &Place, plan: SeedPlan) -> anyhow::Result<Running> {
        let mut cluster = Cluster::prepare(self.options(place)).await?;
        let rows = cluster.rows().to_vec();
        let (ours, redis): (Vec<_>, Vec<_>) =
            rows.iter().partition(|row| matches!(row.kind, Kind::Api | Kind::Broker));
        for row in &redis {
            cluster.start(&row.name)?;
        }
        for row in &redis {
            cluster.wait_ready(&row.name, READY_TIMEOUT).await?;
        }
        let folder = cluster.folder().to_owned();
        let arguments = Population::seed_arguments(&folder, plan);
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        cluster.run_command("api-1", &words)?;
        let population = Population::read(&folder, plan)?;
        for row in &ours {
            cluster.start(&row.name)?;
        }
        cluster.wait_all_ready(READY_TIMEOUT).await?;
        let broker = cluster.row("broker-1")?.clone();
        let mut servers = Servers { processes: Vec::new(), broker_admin: broker.admin };
        for row in &rows {
            servers.processes.push((row.name.clone(), cluster.identity(&row.name)?.pid));
        }
        let (address, owner) = (broker.address(), Owner::Cluster(Box::new(cluster)));
        Ok(Running { address, servers, population, _owner: owner })
    }
}

/// The processes of the other make, and their folder.
#[derive(Debug)]
struct Peer {
    processes: Vec<Process>,
    folder: PathBuf,
}

impl Drop for Peer {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // What does not die here cannot be helped.
            let _ = process.kill();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Node {
    async fn start(self, place: &Place, plan: SeedPlan) -> anyhow::Result<Running> {
        let script = place.peer.join("server.mjs");
        let installed = script.is_file() && place.peer.join("node_modules").is_dir();
        ensure!(installed, "{}: not there; npm ci in that folder", place.peer.display());
        let folder = server::temporary_folder()?;
        let mut peer = Peer { processes: Vec::new(), folder };
        let mut ports = FreePorts::default();
        let (redis, port) = (ports.take()?, ports.take()?);
        let conf = peer.folder.join("redis.conf");
        std::fs::write(&conf, self.redis(redis, &peer.folder))?;
        let cores = place.cores.as_deref();
        let mut command = pinned(&place.programs.redis, cores);
        command.arg(&conf);
        peer.processes.push(Process::start(command, &peer.folder.join("redis.log"), false)?);
        answers(async || probe::redis(redis, "PING").await).await.context("its Redis")?;
        let mut command = pinned(Path::new("node"), cores);
        command.arg(&script).args(["--port", &port.to_string()]);
        command.args(["--redis", &format!("redis://127.0.0.1:{redis}")]);
        if self.volatile {
            command.arg("--volatile");
        }
        peer.processes.push(Process::start(command, &peer.folder.join("node.log"), false)?);
        answers(async || probe::get(port, "/readyz").await).await.context("node")?;
        let pids = peer.processes.iter().map(|process| process.identity.pid);
        let names = ["redis", "node"].map(str::to_owned).into_iter();
        let servers = Servers { processes: names.zip(pids).collect(), broker_admin: None };
        let population = Population::unseeded(plan);
        Ok(Running { address: local(port), servers, population, _owner: Owner::Node(peer) })
    }

    fn redis(self, port: u16, folder: &Path) -> String {
        let sync = if self.always { "always" } else { "everysec" };
        let folder = folder.display();
        format!(
            "bind 127.0.0.1\nport {port}\ndir {folder}\nsave \"\"\n\
             appendonly yes\nappendfsync {sync}\nno-appendfsync-on-rewrite no\n"
        )
    }
}

/// Until a process answers. Errors: it did not in time.
async fn answers(mut ask: impl AsyncFnMut() -> anyhow::Result<String>) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        match ask().await {
            Ok(_) => return Ok(()),
            Err(error) if begun.elapsed() > READY_TIMEOUT => return Err(error),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_is_its_text() {
        let all = ["ours", "ours+everysec", "ours+single+logs=2", "ours+stored+shards=2"];
        for text in all.into_iter().chain(["node", "node+always", "node+volatile"]) {
            assert_eq!(text.parse::<Side>().unwrap().to_string(), text);
        }
        for text in ["", "theirs", "ours+always", "node+single", "ours+logs=x"] {
            assert!(text.parse::<Side>().is_err(), "{text}");
        }
    }
}
