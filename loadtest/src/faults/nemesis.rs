//! Does to a cluster what a plan says, and undoes it: kills, pauses, cuts, wipes.
//!
//! Owns: the steps of each fault, from the first blow until nothing hurts any more. Never does: choose (the plan does), judge.
//! Talks to: the starter, the proxies, Redis. Start reading at: [`Nemesis::strike`].

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::time::sleep;

use super::{
    plan::{Fault, Reply, Ways},
    proxy::{Direction, FaultProxy, Flow, Mode},
    trace::{Trace, Trouble},
};
use crate::cluster::{
    probe,
    process::{Process, Signal},
    settings,
    starter::Cluster,
    topology::{FreePorts, Kind},
};

/// For a replica to hold what its primary held, and for a server to notice that its disk fails.
const REDIS_TIMEOUT: Duration = Duration::from_secs(20);
/// Between two looks.
const POLL: Duration = Duration::from_millis(10);
const LOG: &str = "log";

/// The doer.
#[derive(Debug)]
pub struct Nemesis<'a> {
    cluster: &'a mut Cluster,
}

impl<'a> Nemesis<'a> {
    /// Over a cluster with proxies.
    pub fn new(cluster: &'a mut Cluster) -> Self {
        Self { cluster }
    }

    /// Does one fault and ends it: every process is started or goes on, every way is open. They may not be ready yet.
    /// Errors: the fault could not be done, so the run proves nothing.
    pub async fn strike(&mut self, fault: &Fault) -> anyhow::Result<()> {
        match *fault {
            Fault::KillBroker { broker, down_ms } => {
                let name = self.name(Kind::Broker, broker)?;
                self.kill_and_start(&[name], down_ms).await
            }
            Fault::KillLog { down_ms } => self.kill_and_start(&[LOG.to_owned()], down_ms).await,
            Fault::KillApi { down_ms } => {
                let name = self.name(Kind::Api, 0)?;
                self.kill_and_start(&[name], down_ms).await
            }
            Fault::Storm { down_ms } => {
                let all = self.cluster.of_kind(Kind::Broker).into_iter().map(|row| row.name);
                let all: Vec<String> = all.collect();
                self.kill_and_start(&all, down_ms).await
            }
            Fault::KillLogInSync { sync_ms, after_ms } => {
                self.kill_in_sync(sync_ms, after_ms).await
            }
            Fault::FailSync { full } => self.fail_sync(full).await,
            Fault::StaleFailover { lag_ms } => self.stale_failover(lag_ms).await,
            Fault::WipeLog => {
                self.cluster.kill(LOG)?;
                std::fs::remove_dir_all(self.cluster.data(LOG))?;
                self.cluster.start(LOG)
            }
            Fault::Partition { broker, live, ways, loses, for_ms } => {
                let from = self.name(Kind::Broker, broker)?;
                let link = self.cluster.link(&from, if live { "live" } else { LOG })?;
                partition(link, ways, loses, for_ms).await;
                Ok(())
            }
            Fault::Replies { broker, reply, for_ms } => {
                let from = self.name(Kind::Broker, broker)?;
                disturb(self.cluster.link(&from, LOG)?, reply, for_ms).await;
                Ok(())
            }
            Fault::PauseBroker { broker, for_ms } => {
                let name = self.name(Kind::Broker, broker)?;
                self.pause(&name, for_ms).await
            }
            Fault::PauseLog { for_ms } => self.pause(LOG, for_ms).await,
            Fault::PauseApi { for_ms } => {
                let name = self.name(Kind::Api, 0)?;
                self.pause(&name, for_ms).await
            }
            Fault::DropSubscriptions { every_ms, for_ms } => {
                self.drop_subscriptions(every_ms, for_ms).await
            }
            Fault::Roll => self.roll().await,
        }
    }

    fn name(&self, kind: Kind, n: usize) -> anyhow::Result<String> {
        let row = self.cluster.of_kind(kind).into_iter().nth(n);
        row.map(|row| row.name).with_context(|| format!("no {kind:?} of number {n}"))
    }

    async fn kill_and_start(&mut self, names: &[String], down_ms: u64) -> anyhow::Result<()> {
        for name in names {
            self.cluster.kill(name)?;
        }
        sleep(Duration::from_millis(down_ms)).await;
        for name in names {
            self.cluster.start(name)?;
        }
        Ok(())
    }

    fn trace_output(&self) -> PathBuf {
        self.cluster.log_file("strace")
    }

    async fn kill_in_sync(&mut self, sync_ms: u64, after_ms: u64) -> anyhow::Result<()> {
        let victim = self.cluster.identity(LOG)?;
        let slow = Trouble::SlowSync(Duration::from_millis(sync_ms));
        let trace = Trace::begin(victim, slow, &self.trace_output()).await?;
        sleep(Duration::from_millis(after_ms)).await;
        self.cluster.kill(LOG)?;
        drop(trace);
        self.cluster.start(LOG)
    }

    /// The log server has to end by itself: it must not answer what it could not keep.
    async fn fail_sync(&mut self, full: bool) -> anyhow::Result<()> {
        let victim = self.cluster.identity(LOG)?;
        let file = newest_append_file(&self.cluster.data(LOG).join("appendonlydir"))?;
        let trouble = if full { Trouble::Full(&file) } else { Trouble::FailedSync };
        let trace = Trace::begin(victim, trouble, &self.trace_output()).await?;
        let begun = Instant::now();
        while self.cluster.runs(LOG) {
            let late = begun.elapsed() > REDIS_TIMEOUT;
            ensure!(!late, "the log server lives on with a disk that fails (full: {full})");
            sleep(POLL).await;
        }
        drop(trace);
        self.cluster.start(LOG)
    }

    /// A replica follows, is cut off, and after some writes that it never hears of it takes the place of the first one.
    async fn stale_failover(&mut self, lag_ms: u64) -> anyhow::Result<()> {
        let primary = self.cluster.row(LOG)?.port;
        let folder = self.cluster.data("log-replica");
        // What an earlier try left.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder)?;
        let port = FreePorts::default().take()?;
        let text = settings::log(port, &folder)? + &format!("replicaof 127.0.0.1 {primary}\n");
        let file = self.cluster.folder().join("log-replica.conf");
        std::fs::write(&file, text)?;
        let mut command = Command::new(self.cluster.redis());
        command.arg(file);
        let output = self.cluster.log_file("log-replica");
        let mut replica = Owned(Process::start(command, &output, false)?);
        wait_for_copy(port).await.context("the replica does not follow")?;
        probe::redis(port, "REPLICAOF NO ONE").await?;
        sleep(Duration::from_millis(lag_ms)).await;
        self.cluster.kill(LOG)?;
        ensure!(replica.0.end(REDIS_TIMEOUT).await?, "the replica does not write what it has");
        std::fs::remove_dir_all(self.cluster.data(LOG))?;
        std::fs::rename(&folder, self.cluster.data(LOG))?;
        self.cluster.start(LOG)
    }

    async fn pause(&mut self, name: &str, for_ms: u64) -> anyhow::Result<()> {
        self.cluster.signal(name, Signal::STOP)?;
        sleep(Duration::from_millis(for_ms)).await;
        self.cluster.signal(name, Signal::CONT)
    }

    async fn drop_subscriptions(&mut self, every_ms: u64, for_ms: u64) -> anyhow::Result<()> {
        let ports: Vec<u16> =
            [Kind::Log, Kind::Live].map(|k| self.cluster.of_kind(k)[0].port).to_vec();
        let begun = Instant::now();
        let mut dropped = 0u64;
        while begun.elapsed() < Duration::from_millis(for_ms) {
            for port in &ports {
                let reply = probe::redis(*port, "CLIENT KILL TYPE pubsub").await?;
                dropped += reply.parse::<u64>().unwrap_or(0);
            }
            sleep(Duration::from_millis(every_ms)).await;
        }
        ensure!(dropped > 0, "nobody was subscribed");
        Ok(())
    }

    async fn roll(&mut self) -> anyhow::Result<()> {
        for row in self.cluster.of_kind(Kind::Broker) {
            let by_itself = self.cluster.restart(&row.name).await?;
            ensure!(by_itself, "{} did not end its drain", row.name);
        }
        Ok(())
    }
}

/// A process that is killed if nobody ended it.
struct Owned(Process);

impl Drop for Owned {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.0.kill();
    }
}

async fn partition(link: &FaultProxy, ways: Ways, loses: bool, for_ms: u64) {
    let mode = if loses { Mode::Discard } else { Mode::Stall };
    let flow = Flow { mode, ..Flow::default() };
    match ways {
        Ways::Both => link.set_both(flow),
        Ways::Up => link.set(Direction::Up, flow),
        Ways::Down => link.set(Direction::Down, flow),
    }
    sleep(Duration::from_millis(for_ms)).await;
    link.heal();
}

async fn disturb(link: &FaultProxy, reply: Reply, for_ms: u64) {
    match reply {
        Reply::Late(ms) => {
            let delay = Duration::from_millis(ms);
            link.set(Direction::Down, Flow { delay, jitter: delay, ..Flow::default() });
        }
        Reply::Trickle(trickle) => {
            link.set(Direction::Down, Flow { trickle, ..Flow::default() });
        }
        Reply::Broken(bytes) => link.cut_in_reply(bytes),
        Reply::Lost(bytes) => link.eat_replies(bytes),
    }
    sleep(Duration::from_millis(for_ms)).await;
    link.heal();
}

/// The file that writes go to now: the one with the highest number.
fn newest_append_file(folder: &std::path::Path) -> anyhow::Result<PathBuf> {
    let number = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?;
        name.strip_suffix(".incr.aof")?.rsplit('.').next()?.parse::<u64>().ok()
    };
    let files = std::fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let newest = files.filter(|path| number(path).is_some()).max_by_key(number);
    newest.with_context(|| format!("no append-only file in {}", folder.display()))
}

/// Until the replica holds a copy, also on its own disk.
async fn wait_for_copy(port: u16) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let trouble = match probe::redis(port, "INFO").await {
            Err(error) => format!("{error:#}"),
            Ok(info) => {
                let says = |line: &str| info.lines().any(|other| other == line);
                let wanted = [
                    "master_link_status:up",
                    "master_sync_in_progress:0",
                    "aof_enabled:1",
                    "aof_rewrite_in_progress:0",
                    "aof_rewrite_scheduled:0",
                    "loading:0",
                ];
                let missing: Vec<_> = wanted.iter().filter(|line| !says(line)).collect();
                if missing.is_empty() {
                    return Ok(());
                }
                format!("{missing:?}")
            }
        };
        ensure!(begun.elapsed() < REDIS_TIMEOUT, "{trouble}");
        sleep(POLL).await;
    }
}
