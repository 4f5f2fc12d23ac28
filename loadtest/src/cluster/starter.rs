//! Starts the table's processes, and does to each of them what operators and accidents do.
//!
//! Owns: a folder (settings, logs, data, the state file), the processes it started, proxies between them if asked for.
//! Never does: touch a process that is not in its state file. Talks to: the programs. Start reading at: [`Cluster::up`].

mod command;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use super::{
    probe,
    process::{Identity, Process, Signal},
    programs::Programs,
    topology::{Kind, Row, Topology},
};
use crate::{faults::proxy::FaultProxy, server};

/// From the start of a process to its first good answer. An empty log waits one lease (10 s) for its nodes.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks.
const POLL: Duration = Duration::from_millis(20);
/// A broker drains, Redis and the api write what they have.
const END_TIMEOUT: Duration = Duration::from_secs(30);
/// Lines of a process's output that a failure shows.
const TAIL_LINES: usize = 15;
/// The state file in the cluster's folder.
const STATE: &str = "cluster.json";

/// How to start a cluster.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What it is made of.
    pub topology: Topology,
    /// Where it lives; `None`: a temporary folder that goes with it.
    pub folder: Option<PathBuf>,
    /// What is started.
    pub programs: Programs,
    /// Further arguments of brokers and apis.
    pub arguments: Vec<String>,
    /// Further arguments of apis only.
    pub api_arguments: Vec<String>,
    /// Further arguments of brokers only.
    pub broker_arguments: Vec<String>,
    /// Further arguments of log servers, over their file.
    pub log_arguments: Vec<String>,
    /// Cores of every server, as taskset takes them.
    pub cores: Option<String>,
    /// A proxy before each server that a broker or an api connects to. They live as long as this value.
    pub proxied: bool,
    /// The processes outlive this value: `up` and `down` are separate runs.
    pub detached: bool,
    /// How long a reload of nginx leaves open sockets alone; zero: 5 s.
    pub nginx_shutdown: Duration,
    /// Of the proxies.
    pub seed: u64,
}

/// What the state file holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    topology: Topology,
    rows: Vec<Row>,
    arguments: Vec<String>,
    running: BTreeMap<String, Identity>,
}

/// A process's row and how it does.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Which.
    #[serde(flatten)]
    pub row: Row,
    /// Its id, if it runs.
    pub pid: Option<u32>,
    /// Why it is not ready; `None`: it is.
    pub trouble: Option<String>,
}

/// The way from one process to another, with faults.
#[derive(Debug)]
pub struct Link {
    /// Who connects: `broker-1`.
    pub from: String,
    /// To whom: `log`.
    pub to: String,
    /// The way.
    pub proxy: FaultProxy,
}

/// A cluster. Dropped = all of it is killed, unless it is detached.
#[derive(Debug)]
pub struct Cluster {
    options: Options,
    folder: PathBuf,
    temporary: bool,
    state: State,
    processes: BTreeMap<String, Process>,
    links: Vec<Link>,
}

impl Cluster {
    /// Starts everything that does not run yet, and waits until all of it is ready. Errors: what was started here is ended.
    pub async fn up(options: Options) -> anyhow::Result<Self> {
        let mut cluster = Self::prepare(options).await?;
        let mut names: Vec<String> = cluster.rows().iter().map(|row| row.name.clone()).collect();
        names.retain(|name| !cluster.runs(name));
        if let Err(error) = cluster.start_all(&names).await {
            for name in &names {
                // Not all of them run; the first error is the one to tell.
                let _ = cluster.kill(name);
            }
            return Err(error);
        }
        Ok(cluster)
    }

    /// Runs another command of one of its programs to the end, with the arguments that the process has. It must not run.
    pub fn run_command(&mut self, name: &str, arguments: &[&str]) -> anyhow::Result<()> {
        ensure!(!self.runs(name), "{name} runs");
        let row = self.row(name)?.clone();
        let output = self.command(&row)?.args(arguments).output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?} of {name} failed: {error}");
        Ok(())
    }

    async fn start_all(&mut self, names: &[String]) -> anyhow::Result<()> {
        for name in names {
            self.start(name)?;
        }
        self.wait_all_ready(READY_TIMEOUT).await
    }

    /// The folder and the proxies, nothing started yet; a test may start in any order.
    pub async fn prepare(options: Options) -> anyhow::Result<Self> {
        let (folder, temporary) = match &options.folder {
            Some(folder) => (folder.clone(), false),
            None => (server::temporary_folder()?, true),
        };
        std::fs::create_dir_all(&folder)?;
        let folder = folder.canonicalize()?;
        let state = if folder.join(STATE).exists() {
            let state = read_state(&folder)?;
            let same = state.topology == options.topology;
            ensure!(same, "{} holds another cluster: {:?}", folder.display(), state.topology);
            State { arguments: options.arguments.clone(), ..state }
        } else {
            State {
                topology: options.topology,
                rows: options.topology.rows()?,
                arguments: options.arguments.clone(),
                running: BTreeMap::new(),
            }
        };
        let mut cluster = Self::of(options, folder, temporary, state);
        cluster.lay_links().await?;
        cluster.write_secret()?;
        cluster.save()?;
        Ok(cluster)
    }

    /// The cluster that an earlier run left in a folder, as it is.
    pub fn attach(folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.canonicalize().with_context(|| format!("{}", folder.display()))?;
        let state = read_state(&folder)?;
        let options = Options {
            topology: state.topology,
            arguments: state.arguments.clone(),
            detached: true,
            ..Options::default()
        };
        Ok(Self::of(options, folder, false, state))
    }

    fn of(options: Options, folder: PathBuf, temporary: bool, state: State) -> Self {
        let running = state.running.iter().filter(|(_, identity)| identity.runs());
        let attach =
            |(name, identity): (&String, &Identity)| (name.clone(), Process::attach(*identity));
        let processes = running.map(attach).collect();
        Self { options, folder, temporary, state, processes, links: Vec::new() }
    }

    fn write_secret(&self) -> anyhow::Result<()> {
        use std::{io::Write, os::unix::fs::OpenOptionsExt};
        let path = self.secret();
        if !path.exists() {
            let words: [u64; 4] = rand::random();
            let text: String = words.map(|word| format!("{word:016x}")).concat();
            let mut open = std::fs::OpenOptions::new();
            open.create_new(true).write(true).mode(0o600).open(path)?.write_all(text.as_bytes())?;
        }
        Ok(())
    }

    fn secret(&self) -> PathBuf {
        self.folder.join("cluster.secret")
    }

    fn save(&mut self) -> anyhow::Result<()> {
        let running = self.processes.iter().map(|(name, p)| (name.clone(), p.identity));
        self.state.running = running.collect();
        let text = serde_json::to_string_pretty(&self.state)?;
        // Another run never sees half of it.
        let new = self.folder.join("cluster.json.new");
        std::fs::write(&new, text)?;
        std::fs::rename(new, self.folder.join(STATE))?;
        Ok(())
    }

    /// The table.
    pub fn rows(&self) -> &[Row] {
        &self.state.rows
    }

    /// One process's row. Errors: there is none of that name.
    pub fn row(&self, name: &str) -> anyhow::Result<&Row> {
        let all = || self.rows().iter().map(|row| row.name.as_str()).collect::<Vec<_>>().join(", ");
        let found = self.rows().iter().find(|row| row.name == name);
        found.with_context(|| format!("no process {name:?}; there are {}", all()))
    }

    /// The rows of one kind.
    pub fn of_kind(&self, kind: Kind) -> Vec<Row> {
        self.rows().iter().filter(|row| row.kind == kind).cloned().collect()
    }

    /// The program of the log and the live server.
    pub fn redis(&self) -> &Path {
        &self.options.programs.redis
    }

    /// Lines of panics in all outputs: a cluster that comes back by itself hides them otherwise.
    pub fn panics(&self) -> Vec<String> {
        let mut all = Vec::new();
        for row in self.rows() {
            let text = std::fs::read(self.log_file(&row.name)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines = text.lines().filter(|line| line.contains("panicked at"));
            all.extend(lines.map(|line| format!("{}: {line}", row.name)));
        }
        all
    }

    /// Where it lives.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A process's data.
    pub fn data(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A process's output.
    pub fn log_file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    /// The way from one process to another, if it is proxied.
    pub fn link(&self, from: &str, to: &str) -> anyhow::Result<&FaultProxy> {
        let found = self.links.iter().find(|link| link.from == from && link.to == to);
        found.map(|link| &link.proxy).with_context(|| format!("no proxy from {from} to {to}"))
    }

    /// All proxied ways.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Whether it runs.
    pub fn runs(&mut self, name: &str) -> bool {
        self.processes.get_mut(name).is_some_and(Process::runs)
    }

    /// Its id. Errors: it does not run.
    pub fn identity(&mut self, name: &str) -> anyhow::Result<Identity> {
        self.row(name)?;
        let process = self.processes.get_mut(name).filter(|process| process.identity.runs());
        process.map(|process| process.identity).with_context(|| format!("{name} does not run"))
    }

    /// Starts one, on its ports and its folder, without waiting for it.
    pub fn start(&mut self, name: &str) -> anyhow::Result<()> {
        ensure!(!self.runs(name), "{name} runs already");
        let row = self.row(name)?.clone();
        let command = self.command(&row).with_context(|| format!("settings of {name}"))?;
        let log = self.log_file(name);
        let process = Process::start(command, &log, self.options.detached)?;
        self.processes.insert(name.to_owned(), process);
        self.save()
    }

    /// Waits until it answers. Errors: it ended, or did not get ready; with the end of its output.
    pub async fn wait_ready(&mut self, name: &str, limit: Duration) -> anyhow::Result<()> {
        let row = self.row(name)?.clone();
        let begun = Instant::now();
        loop {
            let trouble = match probe::ready(&row).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if !self.runs(name) {
                bail!("{name} ended instead of getting ready:\n{}", self.tail(name));
            }
            if begun.elapsed() > limit {
                let tail = self.tail(name);
                bail!("{name} is not ready after {limit:?} ({trouble:#}):\n{tail}");
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until everything is ready.
    pub async fn wait_all_ready(&mut self, limit: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        let names: Vec<String> = self.rows().iter().map(|row| row.name.clone()).collect();
        for name in names {
            self.wait_ready(&name, limit.saturating_sub(begun.elapsed())).await?;
        }
        Ok(())
    }

    /// The end of a process's output.
    pub fn tail(&self, name: &str) -> String {
        let text = std::fs::read(self.log_file(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// `kill -9`, and waits until it is gone. Errors: it did not run.
    pub fn kill(&mut self, name: &str) -> anyhow::Result<()> {
        self.identity(name)?;
        if let Some(mut process) = self.processes.remove(name) {
            process.kill()?;
        }
        self.save()
    }

    /// Asks it to end, as an operator does; kills it if it takes too long. True: it ended by itself.
    pub async fn end(&mut self, name: &str) -> anyhow::Result<bool> {
        self.row(name)?;
        let by_itself = match self.processes.get_mut(name) {
            Some(process) => process.end(END_TIMEOUT).await?,
            None => true,
        };
        self.processes.remove(name);
        self.save()?;
        Ok(by_itself)
    }

    /// Ends it and starts it again; waits until it is ready. True: it ended by itself.
    pub async fn restart(&mut self, name: &str) -> anyhow::Result<bool> {
        let by_itself = self.end(name).await?;
        self.start(name)?;
        self.wait_ready(name, READY_TIMEOUT).await?;
        Ok(by_itself)
    }

    /// Sends a signal: `STOP` and `CONT` of a pause, `HUP` for a reload of nginx. Errors: it does not run.
    pub fn signal(&mut self, name: &str, signal: Signal) -> anyhow::Result<()> {
        let sent = self.identity(name)?.signal(signal);
        ensure!(sent, "{name} is gone");
        Ok(())
    }

    /// How each of them does.
    pub async fn status(&mut self) -> Vec<Status> {
        let mut all = Vec::new();
        for row in self.rows().to_vec() {
            let pid = self.identity(&row.name).ok().map(|identity| identity.pid);
            let trouble = match pid {
                None => Some("does not run".to_owned()),
                Some(_) => probe::ready(&row).await.err().map(|error| format!("{error:#}")),
            };
            all.push(Status { row, pid, trouble });
        }
        all
    }

    /// Ends everything, last started first. The folder stays.
    pub async fn down(&mut self) -> anyhow::Result<()> {
        let names: Vec<String> = self.rows().iter().rev().map(|row| row.name.clone()).collect();
        for name in names {
            self.end(&name).await?;
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.options.detached {
            for process in self.processes.values_mut() {
                // What does not die here cannot be helped; the test's own failure says more.
                let _ = process.kill();
            }
        }
        if self.temporary && !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

fn read_state(folder: &Path) -> anyhow::Result<State> {
    let path = folder.join(STATE);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("{}: no cluster was started in this folder", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{}", path.display()))
}
