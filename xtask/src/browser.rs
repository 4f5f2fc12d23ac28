//! Browser tests: the real page in a real Chromium against a real server, and against a cluster of them.
//!
//! Owns: the servers of the run, how Playwright is started and counted. Never does: skip them quietly.
//! Talks to: the dev builds of `webchat` and `loadtest`, npx playwright. Start reading at: [`run`].

use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::Context;

use crate::{
    report::Outcome,
    steps::{npm, run as run_command, target_dir},
};

/// A server or a cluster of the run; dropped = ended.
struct Served {
    child: Child,
    url: String,
    ends_with_input: bool,
}

impl Served {
    /// The dev build of the one process, on free ports.
    fn one(folder: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(target_dir().join("debug/webchat"));
        command.args(["--port", "0", "--admin-port", "0", "--data"]).arg(folder);
        Self::start(&mut command)
    }

    /// nginx, three brokers, one api, two Redis, as dev builds. More people register there within a minute than one
    /// address may; every browser here has the same one.
    fn cluster(folder: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(target_dir().join("debug/loadtest"));
        command.args(["cluster", "up", "--hold", "--dir"]).arg(folder);
        command.args(["--arg=--trusted-source", "--arg=127.0.0.1/32"]);
        // Ctrl-C ends this run; it hears of that by its input, and ends its processes in order.
        let mut served = Self::start(command.process_group(0))?;
        served.ends_with_input = true;
        Ok(served)
    }

    /// Waits until it says its address.
    fn start(command: &mut Command) -> anyhow::Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("{name} is not built"))?;
        let stdout = child.stdout.take().context("no stdout")?;
        let mut served = Self { child, url: String::new(), ends_with_input: false };
        let mut lines = BufReader::new(stdout).lines();
        // Its end ends this loop, too.
        while let Some(line) = lines.next().transpose()? {
            let mut words = line.split_whitespace();
            if let Some(url) = words.find(|word| word.starts_with("http://localhost:")) {
                url.clone_into(&mut served.url);
                return Ok(served);
            }
        }
        anyhow::bail!("{name} ended before it was ready")
    }
}

impl Served {
    /// Ends a cluster. Fails if a process of it panicked or stayed.
    fn end(mut self) -> Outcome {
        // Waiting closes the input first.
        let good = self.child.wait().is_ok_and(|status| status.success());
        Outcome::check("the cluster of the browser tests ends in order", good)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if !self.ends_with_input {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

fn chromium() -> Option<std::path::PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|candidate| candidate.is_file())
}

/// What has to hold behind nginx as well, and what only several brokers can show.
const CLUSTER_SPECS: [&str; 5] = [
    "e2e/chat.spec.ts",
    "e2e/cluster.spec.ts",
    "e2e/extras.spec.ts",
    "e2e/offline.spec.ts",
    "e2e/proxy.spec.ts",
];

/// Runs all specs, or those whose path contains `filter`, on one fresh server (the first registers its administrator),
/// then those of a cluster on a cluster.
pub(crate) fn run(filter: Option<&str>) -> anyhow::Result<Outcome> {
    let folder = target_dir().join(format!("e2e-data-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let server = Served::one(&folder)?;
    let specs: Vec<&str> = filter.into_iter().collect();
    let outcome = playwright(&server.url, &specs, &[]);
    drop(server);
    let _ = std::fs::remove_dir_all(&folder);
    let mut outcome = outcome?;

    let mut specs = CLUSTER_SPECS.to_vec();
    specs.retain(|spec| filter.is_none_or(|word| spec.contains(word)));
    if !specs.is_empty() {
        let folder = target_dir().join(format!("e2e-cluster-{}", std::process::id()));
        let cluster = Served::cluster(&folder)?;
        outcome.add(playwright(&cluster.url, &specs, &[("WEBCHAT_CLUSTER", folder)])?);
        outcome.add(cluster.end());
    }
    anyhow::ensure!(outcome.passed > 0 || !outcome.failures.is_empty(), "no browser test ran");
    Ok(outcome)
}

fn playwright(url: &str, specs: &[&str], more: &[(&str, PathBuf)]) -> anyhow::Result<Outcome> {
    let browser =
        chromium().context("no chromium: ./test installs it (apt-get install chromium)")?;
    let report = target_dir().join("playwright.json");
    let _ = std::fs::remove_file(&report);
    // A word may name a spec of the cluster only.
    let mut command = npm(&["run", "e2e", "--", "--reporter=list,json", "--pass-with-no-tests"]);
    command
        .args(specs)
        .envs(more.iter().map(|(name, value)| (name, value)))
        .env("WEBCHAT_URL", url)
        .env("WEBCHAT_BIN", target_dir().join("debug/webchat"))
        .env("WEBCHAT_LOADTEST", target_dir().join("debug/loadtest"))
        .env("WEBCHAT_CHROMIUM", browser)
        .env("PLAYWRIGHT_JSON_OUTPUT_NAME", &report);
    let ran = run_command("playwright", &mut command);
    let text = std::fs::read_to_string(&report).context("playwright wrote no report")?;
    let json: serde_json::Value = serde_json::from_str(&text)?;
    let number = |key: &str| json["stats"][key].as_u64().unwrap_or(0);
    let mut outcome = Outcome { passed: number("expected"), ..Outcome::default() };
    let bad = number("unexpected") + number("flaky") + number("skipped");
    let failures = (1..=bad).map(|n| format!("browser test failed, flaky or skipped ({n})"));
    outcome.failures.extend(failures);
    if bad == 0 {
        outcome.failures.extend(ran.failures);
    }
    Ok(outcome)
}
