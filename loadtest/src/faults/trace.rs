//! A process whose system calls fail or are late, by `strace`.
//!
//! Owns: the tracer. Never does: leave it behind. Talks to: `strace`. Start reading at: [`Trace::begin`].

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};

use crate::cluster::process::{Identity, Process};

/// For the tracer to get hold of its process.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two looks.
const POLL: Duration = Duration::from_millis(5);

/// A running tracer. Dropped = it lets go, and the process goes on unharmed.
#[derive(Debug)]
pub struct Trace(Process);

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
pub enum Trouble<'a> {
    /// Each sync takes so long.
    SlowSync(Duration),
    /// The next sync fails: the disk is broken.
    FailedSync,
    /// The next write to this file fails: the disk is full.
    Full(&'a Path),
}

/// Whether `strace` is there.
pub fn is_there() -> bool {
    let mut command = Command::new("strace");
    let quiet = command.arg("-V").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Who traces a process; 0 = nobody.
fn tracer(pid: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    line.and_then(|pid| pid.trim().parse().ok()).unwrap_or(0)
}

impl Trace {
    /// Gets hold of a process with all its threads, and waits until it has. Errors: not allowed, or no `strace`.
    pub async fn begin(
        victim: Identity,
        trouble: Trouble<'_>,
        output: &Path,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-p", &victim.pid.to_string()]);
        match trouble {
            Trouble::SlowSync(late) => {
                let inject = format!("inject=fdatasync:delay_enter={}us", late.as_micros());
                command.args(["-e", "trace=fdatasync", "-e", &inject]);
            }
            Trouble::FailedSync => {
                command.args(["-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO"]);
            }
            Trouble::Full(file) => {
                command.arg("-P").arg(file);
                command.args(["-e", "trace=write", "-e", "inject=write:error=ENOSPC"]);
            }
        }
        let mut trace = Self(Process::start(command, output, false)?);
        let begun = Instant::now();
        while tracer(victim.pid) == 0 {
            if !trace.0.runs() {
                // A victim that the trouble has killed already was held, too.
                if !victim.runs() {
                    break;
                }
                bail!("strace ended: it may not trace, see {}", output.display());
            }
            ensure!(begun.elapsed() < ATTACH_TIMEOUT, "strace does not get hold of its process");
            tokio::time::sleep(POLL).await;
        }
        Ok(trace)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // A tracer that is killed lets its process go on.
        let _ = self.0.kill();
    }
}
