//! The steps of a whole test run, each counted.
//!
//! Owns: their order. Never does: judge a single test. Talks to: cargo, npm. Start reading at: [`test`].

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::Context;

use crate::{browser, conformance, deps, report::Outcome, tidy};

/// The top of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_path_buf()
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

pub(crate) fn npm(arguments: &[&str]) -> Command {
    let mut command = Command::new("npm");
    command.arg("--prefix").arg("frontend").args(arguments);
    command
}

/// Runs a command with its output on the terminal; the name is the failure's text.
pub(crate) fn run(name: &str, command: &mut Command) -> Outcome {
    let good = command.status().is_ok_and(|status| status.success());
    Outcome::check(name, good)
}

/// What the whole workspace is linted, built and tested with. One set for all three: with another one cargo would build
/// backplane, and everything above it, again. With `cluster` the programs of a cluster are built, which its tests start.
const FEATURES: [&str; 2] = ["--features", "backplane/redis,broker/cluster,api/cluster"];

fn workspace(command: &[&str], rest: &[&str]) -> Command {
    cargo(&[command, &["--locked", "--workspace"], &FEATURES, rest].concat())
}

fn step(name: &str, total: &mut Outcome, work: impl FnOnce() -> anyhow::Result<Outcome>) {
    println!("\n=== {name}");
    let begun = Instant::now();
    let outcome = work().unwrap_or_else(|error| Outcome::failed(format!("{name}: {error:#}")));
    let seconds = begun.elapsed().as_secs();
    println!(
        "--- {name}: {} passed, {} failed, {seconds} s",
        outcome.passed,
        outcome.failures.len()
    );
    total.add(outcome);
}

/// Everything. A failed step does not hide the later ones.
pub(crate) fn test() -> anyhow::Result<()> {
    let mut total = Outcome::default();
    step("frontend: install and build", &mut total, || {
        let mut outcome = run("npm ci", &mut npm(&["ci", "--no-audit", "--no-fund"]));
        outcome.add(run("frontend build", &mut npm(&["run", "build"])));
        Ok(outcome)
    });
    step("frontend: types, lints, unit tests", &mut total, frontend);
    step("rust: format, lints, tidy, dependencies", &mut total, || Ok(static_checks()));
    step("rust: build", &mut total, || {
        Ok(run("cargo build", &mut workspace(&["build"], &["--bins", "--examples"])))
    });
    step("rust: tests", &mut total, nextest);
    step("websocket conformance", &mut total, conformance::run);
    step("browser: the page in chromium", &mut total, || browser::run(None));
    println!();
    total.finish()
}

/// The browser tests by themselves.
pub(crate) fn e2e(filter: Option<&str>) -> anyhow::Result<()> {
    let mut outcome = run("frontend build", &mut npm(&["run", "build"]));
    outcome.add(run("cargo build", &mut workspace(&["build"], &["--bins"])));
    outcome.add(browser::run(filter)?);
    outcome.finish()
}

/// The kill test in its long form, on the release build.
pub(crate) fn kill(kills: u32) -> anyhow::Result<()> {
    let build = ["build", "--locked", "--release", "-p", "webchat", "-p", "loadtest", "--bins"];
    let mut outcome = run("cargo build", &mut cargo(&build));
    let mut loadtest = Command::new(target_dir().join("release/loadtest"));
    loadtest.arg("kill").args(["--kills", &kills.to_string()]);
    outcome.add(run("kill test", &mut loadtest));
    outcome.finish()
}

/// What needs no server: quick enough to run before every commit.
pub(crate) fn check() -> anyhow::Result<()> {
    static_checks().finish()
}

fn static_checks() -> Outcome {
    let mut outcome = run("cargo fmt --check", &mut cargo(&["fmt", "--all", "--check"]));
    let mut clippy = workspace(&["clippy"], &["--all-targets", "--", "-D", "warnings"]);
    outcome.add(run("clippy", &mut clippy));
    outcome.add(tidy::run());
    outcome.add(deps::run());
    outcome
}

fn frontend() -> anyhow::Result<Outcome> {
    let mut outcome = run("frontend check", &mut npm(&["run", "check"]));
    let file = target_dir().join("vitest.json");
    std::fs::create_dir_all(target_dir())?;
    let _ = std::fs::remove_file(&file);
    let report = format!("--outputFile={}", file.display());
    let arguments = ["run", "test", "--", "--reporter=default", "--reporter=json", &report];
    let ran = run("vitest", &mut npm(&arguments));
    let text = std::fs::read_to_string(&file).context("vitest wrote no report")?;
    let json: serde_json::Value = serde_json::from_str(&text)?;
    outcome.passed += json["numPassedTests"].as_u64().unwrap_or(0);
    let failed = json["numFailedTests"].as_u64().unwrap_or(0);
    outcome.failures.extend((0..failed).map(|n| format!("vitest: failure {}", n + 1)));
    if failed == 0 {
        outcome.failures.extend(ran.failures);
    }
    Ok(outcome)
}

/// Runs all Rust tests and counts from the runner's closing line.
fn nextest() -> anyhow::Result<Outcome> {
    let log = target_dir().join("nextest.log");
    let file = std::fs::File::create(&log)?;
    let mut child =
        workspace(&["nextest", "run"], &["--color", "never"]).stderr(Stdio::piped()).spawn()?;
    let stderr = child.stderr.take().context("no stderr")?;
    copy_lines(stderr, file)?;
    let good = child.wait()?.success();
    let text = std::fs::read_to_string(&log)?;
    let mut outcome = count_nextest(&text);
    if !good && outcome.failures.is_empty() {
        outcome.failures.push("cargo nextest did not finish".into());
    }
    Ok(outcome)
}

fn copy_lines(from: impl std::io::Read, mut to: std::fs::File) -> anyhow::Result<()> {
    use std::io::{BufRead, Write};
    for line in std::io::BufReader::new(from).split(b'\n') {
        let line = line?;
        to.write_all(&line)?;
        to.write_all(b"\n")?;
        let text = String::from_utf8_lossy(&line);
        if !text.trim_start().starts_with("PASS ") {
            eprintln!("{text}");
        }
    }
    Ok(())
}

/// `Summary [ 3.1s] 120 tests run: 118 passed (1 slow), 2 failed, 0 skipped`, and a `FAIL [` line per failure.
fn count_nextest(text: &str) -> Outcome {
    let summary = text.lines().rev().find(|line| line.trim_start().starts_with("Summary ["));
    let passed = summary
        .and_then(|line| line.split("tests run:").nth(1))
        .and_then(|rest| rest.split("passed").next())
        .and_then(|number| number.trim().parse().ok())
        .unwrap_or(0);
    let mut failures: Vec<String> = text
        .lines()
        .map(str::trim_start)
        .filter(|line| {
            ["FAIL [", "TIMEOUT [", "SIGABRT [", "SIGSEGV ["].iter().any(|p| line.starts_with(p))
        })
        .map(|line| line.split(']').nth(1).unwrap_or(line).trim().to_owned())
        .collect();
    failures.sort();
    failures.dedup();
    Outcome { passed, failures }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_come_from_the_runners_own_lines() {
        let text = "        PASS [   0.1s] a b\n        FAIL [   0.2s] broker it::r1_x\n     Summary [   3.1s] 3 tests run: 2 passed (1 slow), 1 failed, 0 skipped\n        FAIL [   0.2s] broker it::r1_x\n";
        let outcome = count_nextest(text);
        assert_eq!(outcome.passed, 2, "the slow one counts as passed");
        assert_eq!(outcome.failures, ["broker it::r1_x"]);
    }
}
