//! What the kernel says about the server's processes and this machine.
//!
//! Owns: CPU from schedstat, memory from smaps_rollup, the environment block of a result. Never does: estimate.
//! Talks to: /proc. Start reading at: [`cpu_ns`], [`memory`].

use std::fs;

use anyhow::Context;
use serde::Serialize;

/// Nanoseconds of one tick in `/proc/PID/stat`: Linux shows users 100 a second on every machine.
const TICK_NS: u64 = 10_000_000;

/// Nanoseconds on a core so far, over all threads of all these processes.
///
/// schedstat is exact but forgets threads that ended; stat remembers them in ticks of 10 ms. The larger one is right
/// to a tick in either case, and never falls.
pub fn cpu_ns(pids: &[u32]) -> anyhow::Result<u64> {
    let mut sum = 0;
    for pid in pids {
        let exact: u64 = cpu_by_thread_ns(*pid)?.iter().map(|(_, ns)| ns).sum();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The second field is a name in brackets that may hold anything; utime and stime are fields 14 and 15.
        let rest = stat.rsplit_once(')').context("odd stat")?.1;
        let ticks = rest.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
        let ticks = ticks.sum::<Result<u64, _>>()?;
        sum += exact.max(ticks * TICK_NS);
    }
    Ok(sum)
}

/// CPU of each thread name, summed: where the time goes.
pub fn cpu_by_thread_ns(pid: u32) -> anyhow::Result<Vec<(String, u64)>> {
    let mut by_name = std::collections::BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = task?.path();
        let Ok(name) = fs::read_to_string(path.join("comm")) else { continue };
        let Ok(text) = fs::read_to_string(path.join("schedstat")) else { continue };
        let ns: u64 = text.split_whitespace().next().unwrap_or("0").parse()?;
        *by_name.entry(name.trim().to_owned()).or_insert(0) += ns;
    }
    Ok(by_name.into_iter().collect())
}

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Memory {
    /// Resident.
    pub rss: u64,
    /// Of it, memory that is no file's.
    pub anonymous: u64,
}

/// Memory of all these processes together.
pub fn memory(pids: &[u32]) -> anyhow::Result<Memory> {
    let mut sum = Memory::default();
    for pid in pids {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let field = |name: &str| -> u64 {
            let line = text.lines().find(|line| line.starts_with(name));
            let kb = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
            kb.unwrap_or(0) * 1024
        };
        sum.rss += field("Rss:");
        sum.anonymous += field("Anonymous:");
    }
    Ok(sum)
}

/// Kernel memory that sockets may hold: `(slab bytes, tcp buffer bytes)`, of the whole machine.
pub fn kernel_memory() -> (u64, u64) {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let slab = text.lines().find(|line| line.starts_with("Slab:"));
    let slab = slab.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    let text = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let tcp = text.lines().find(|line| line.starts_with("TCP:"));
    let pages = tcp.and_then(|line| line.split_whitespace().last()?.parse::<u64>().ok());
    (slab.unwrap_or(0) * 1024, pages.unwrap_or(0) * 4096)
}

/// The machine and the build, as far as they matter to a figure.
#[derive(Debug, Clone, Serialize)]
pub struct Environment {
    /// The whole command line.
    pub command: String,
    /// `git rev-parse HEAD`, with `-dirty` if files differ.
    pub commit: String,
    /// Optimised or not: of this program, and so of the servers next to it.
    pub build: &'static str,
    /// Kernel release.
    pub kernel: String,
    /// Model of the processor.
    pub cpu: String,
    /// Cores that this process may use at its start.
    pub cores: usize,
    /// Bytes of memory.
    pub memory: u64,
    /// Open files per process.
    pub open_files: String,
    /// Load average at the start: whether the machine was ours alone.
    pub load_average: String,
}

impl Environment {
    /// Looks around.
    pub fn read() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let after_colon = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key)).map(str::to_owned);
            line.and_then(|l| Some(l.split_once(':')?.1.trim().to_owned())).unwrap_or_default()
        };
        let memory = after_colon(&read("/proc/meminfo"), "MemTotal");
        let kb: u64 = memory.split(' ').next().and_then(|v| v.parse().ok()).unwrap_or(0);
        let limits = read("/proc/self/limits");
        let open_files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        Self {
            command: std::env::args().collect::<Vec<_>>().join(" "),
            commit: commit(),
            build: if cfg!(debug_assertions) { "debug: no figures" } else { "release" },
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cpu: after_colon(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: kb * 1024,
            open_files: open_files
                .unwrap_or_default()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join("/"),
            load_average: read("/proc/loadavg").trim().to_owned(),
        }
    }
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let head = git(&["rev-parse", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    let changes = git(&["status", "--porcelain", "--untracked-files=no"]).unwrap_or_default();
    if changes.is_empty() { head } else { format!("{head}-dirty") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_cpu_and_memory() {
        let own = std::process::id();
        let before = cpu_ns(&[own]).unwrap();
        let mut x = 1u64;
        while cpu_ns(&[own]).unwrap() == before {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        assert!(memory(&[own]).unwrap().rss > 100_000);
        assert!(!cpu_by_thread_ns(own).unwrap().is_empty());
        assert!(!Environment::read().kernel.is_empty());
    }
}
