//! One process: started with its output in a file, told signals by its id, and never mistaken for another one.
//!
//! Owns: the child, if this run started it. Never does: signal an id that belongs to somebody else by now.
//! Talks to: the kernel, /proc. Start reading at: [`Process`].

use std::{
    fs::OpenOptions,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use serde::{Deserialize, Serialize};

/// Between two looks whether a process is gone.
const POLL: Duration = Duration::from_millis(5);
/// For the kernel to take a killed process away.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// A program on these cores, as `taskset -c` takes them; `None`: wherever this one may run.
pub fn pinned(program: &Path, cores: Option<&str>) -> Command {
    let Some(cores) = cores else { return Command::new(program) };
    let mut command = Command::new("taskset");
    command.args(["-c", cores]).arg(program);
    command
}

/// Which process, also for a later run: ids are used again, an id with its start is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its id.
    pub pid: u32,
    /// When it started, in ticks since boot.
    pub started: u64,
}

/// What `/proc/PID/stat` says behind the name: state, parent, start.
fn stat(pid: u32) -> Option<(char, u32, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold blanks and brackets: the last one ends it.
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    let state = fields.first()?.chars().next()?;
    Some((state, fields.get(1)?.parse().ok()?, fields.get(19)?.parse().ok()?))
}

impl Identity {
    fn of(pid: u32) -> Option<Self> {
        stat(pid).map(|(_, _, started)| Self { pid, started })
    }

    /// Whether it still runs (stopped counts, dead and unburied does not).
    pub fn runs(&self) -> bool {
        stat(self.pid).is_some_and(|(state, _, started)| {
            started == self.started && !matches!(state, 'Z' | 'X')
        })
    }

    /// Sends a signal if the process is still the one that was meant. False: it is gone.
    pub fn signal(&self, signal: Signal) -> bool {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        self.runs() && pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
    }

    /// Its children: workers of nginx, a rewriting Redis.
    fn children(&self) -> Vec<Self> {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_child = |pid: &u32| stat(*pid).is_some_and(|(_, parent, _)| parent == self.pid);
        pids.filter(is_child).filter_map(Self::of).collect()
    }
}

/// A process that was started by this run or an earlier one.
#[derive(Debug)]
pub struct Process {
    /// Which.
    pub identity: Identity,
    child: Option<Child>,
}

impl Process {
    /// Starts one. Its output is added to `output`. `detached`: it does not get the signals of this terminal.
    pub fn start(mut command: Command, output: &Path, detached: bool) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(output);
        let file = file.with_context(|| format!("{}", output.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        if detached {
            command.process_group(0);
        }
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        // Its entry is there until we bury it, however short it lives.
        let identity = Identity::of(child.id()).context("invariant: an unburied child has one")?;
        Ok(Self { identity, child: Some(child) })
    }

    /// One that an earlier run started.
    pub fn attach(identity: Identity) -> Self {
        Self { identity, child: None }
    }

    /// Whether it still runs. Buries it if not.
    pub fn runs(&mut self) -> bool {
        match &mut self.child {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => self.identity.runs(),
        }
    }

    /// Waits until it is gone. False: it is not.
    fn gone_within(&mut self, limit: Duration) -> bool {
        let begun = Instant::now();
        while self.runs() {
            if begun.elapsed() > limit {
                return false;
            }
            std::thread::sleep(POLL);
        }
        true
    }

    /// `kill -9`, its children as well, and waits until all are gone. Blocks, usually for milliseconds.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let children = self.identity.children();
        self.identity.signal(Signal::KILL);
        for child in &children {
            child.signal(Signal::KILL);
        }
        let gone = self.gone_within(KILL_TIMEOUT);
        ensure!(gone, "process {} survives SIGKILL", self.identity.pid);
        let begun = Instant::now();
        while children.iter().any(Identity::runs) {
            ensure!(begun.elapsed() < KILL_TIMEOUT, "a child of {} stays", self.identity.pid);
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Asks it to end, and kills it if it has not within `limit`. True: it ended by itself.
    pub async fn end(&mut self, limit: Duration) -> anyhow::Result<bool> {
        // A stopped one could not hear the other signal.
        self.identity.signal(Signal::CONT);
        self.identity.signal(Signal::TERM);
        let begun = Instant::now();
        while self.runs() {
            if begun.elapsed() > limit {
                self.kill()?;
                return Ok(false);
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start(command, Path::new("/dev/null"), false).unwrap()
    }

    #[tokio::test]
    async fn it_ends_when_asked_and_is_killed_when_it_does_not_listen() {
        let mut good = shell("exec sleep 100");
        assert!(good.runs() && good.identity.runs());
        assert!(good.end(Duration::from_secs(10)).await.unwrap());
        assert!(!good.identity.runs() && !good.identity.signal(Signal::KILL));

        let mut deaf = shell("trap '' TERM; while :; do sleep 0.05; done");
        // Until the trap is set the signal would end it.
        let begun = Instant::now();
        while !ignores_term(deaf.identity.pid) && begun.elapsed() < KILL_TIMEOUT {
            std::thread::sleep(POLL);
        }
        assert!(!deaf.end(Duration::from_millis(200)).await.unwrap());
        assert!(!deaf.runs());
    }

    fn ignores_term(pid: u32) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| mask & (1 << 14) != 0)
    }

    #[test]
    fn children_go_with_it_and_a_later_run_finds_it_again() {
        let mut parent = shell("sleep 100 & wait");
        let begun = Instant::now();
        while parent.identity.children().is_empty() && begun.elapsed() < KILL_TIMEOUT {
            std::thread::sleep(POLL);
        }
        let children = parent.identity.children();
        assert_eq!(children.len(), 1);
        let mut attached = Process::attach(parent.identity);
        assert!(attached.runs());
        parent.kill().unwrap();
        assert!(!attached.runs() && !children[0].runs());
        let other = Identity { pid: std::process::id(), started: 1 };
        assert!(!other.runs(), "the same id, another start");
    }
}
