//! Browser tests: the real page in a real Chromium against a real server.
//!
//! Owns: how Playwright is started and counted. Never does: skip them quietly. Talks to: npx playwright.
//! Start reading at: [`run`].

use anyhow::Context;

use crate::{
    report::Outcome,
    server::Server,
    steps::{npm, root, run as run_command, target_dir},
};

fn chromium() -> Option<std::path::PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|candidate| candidate.is_file())
}

/// Runs all specs, or those whose path contains `filter`, each file with the server of this call.
pub(crate) fn run(filter: Option<&str>) -> anyhow::Result<Outcome> {
    let browser = chromium().context("no chromium found: apt-get install chromium")?;
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
        .env("PLAYWRIGHT_JSON_OUTPUT_NAME", &report)
        .env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1");
    let ran = run_command("playwright", &mut command);
    drop(server);
    let _ = std::fs::remove_dir_all(&data);
    let text = std::fs::read_to_string(&report).context("playwright wrote no report")?;
    let json: serde_json::Value = serde_json::from_str(&text)?;
    let number = |key: &str| json["stats"][key].as_u64().unwrap_or(0);
    let mut outcome = Outcome::passed(number("expected"));
    let bad = number("unexpected") + number("flaky") + number("skipped");
    outcome
        .failures
        .extend((0..bad).map(|n| format!("browser test failed, flaky or skipped ({})", n + 1)));
    if bad == 0 {
        outcome.failures.extend(ran.failures);
    }
    anyhow::ensure!(outcome.passed + bad > 0, "no browser test ran in {}", root().display());
    Ok(outcome)
}
