//! Browser tests: the real page in a real Chromium against a real server.
//!
//! Owns: the server of the run, how Playwright is started and counted. Never does: skip them quietly.
//! Talks to: the dev build of `webchat`, npx playwright. Start reading at: [`run`].

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::Context;

use crate::{
    report::Outcome,
    steps::{npm, run as run_command, target_dir},
};

/// A server of the run; dropped = killed.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    /// Starts the dev build on free ports, and waits until it says its address.
    fn start(folder: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new(target_dir().join("debug/webchat"))
            .args(["--port", "0", "--admin-port", "0", "--data"])
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()
            .context("webchat is not built")?;
        let stdout = child.stdout.take().context("no stdout")?;
        let mut server = Self { child, url: String::new() };
        let mut lines = BufReader::new(stdout).lines();
        // Its end ends this loop, too.
        while let Some(line) = lines.next().transpose()? {
            let mut words = line.split_whitespace();
            if let Some(url) = words.find(|word| word.starts_with("http://localhost:")) {
                url.clone_into(&mut server.url);
                return Ok(server);
            }
        }
        anyhow::bail!("webchat ended before it was ready")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
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

/// Runs all specs, or those whose path contains `filter`, on one fresh server: the first registers its administrator.
pub(crate) fn run(filter: Option<&str>) -> anyhow::Result<Outcome> {
    let browser =
        chromium().context("no chromium: ./test installs it (apt-get install chromium)")?;
    let data = target_dir().join(format!("e2e-data-{}", std::process::id()));
    std::fs::create_dir_all(&data)?;
    let server = Server::start(&data)?;
    let report = target_dir().join("playwright.json");
    let _ = std::fs::remove_file(&report);
    let mut arguments = vec!["run", "e2e", "--", "--reporter=list,json"];
    arguments.extend(filter);
    let mut command = npm(&arguments);
    command
        .env("WEBCHAT_URL", &server.url)
        .env("WEBCHAT_BIN", target_dir().join("debug/webchat"))
        .env("WEBCHAT_CHROMIUM", browser)
        .env("PLAYWRIGHT_JSON_OUTPUT_NAME", &report);
    let ran = run_command("playwright", &mut command);
    drop(server);
    let _ = std::fs::remove_dir_all(&data);
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
    anyhow::ensure!(outcome.passed + bad > 0, "no browser test ran");
    Ok(outcome)
}
