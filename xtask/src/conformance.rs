//! RFC 6455 conformance: the 247 core Autobahn cases against the broker's codec.
//!
//! Owns: running the cases and reading their verdicts. Never does: accept "failed". Talks to: kosoku, the echo example.
//! Start reading at: [`run`].

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use anyhow::Context;

use crate::{
    report::Outcome,
    steps::{root, target_dir},
};

/// 247 core cases and 54 of sizes and speed (9.*). 12 and 13 are about compression, which is never negotiated.
const CORE_CASES: u64 = 301;

/// Starts the echo server on a free port and runs the cases.
pub(crate) fn run() -> anyhow::Result<Outcome> {
    let mut echo = Command::new(target_dir().join("debug/examples/echo"))
        .arg("127.0.0.1:0")
        .stdout(Stdio::piped())
        .spawn()
        .context("the echo example is not built: cargo build -p broker --example echo")?;
    let stdout = echo.stdout.take().context("no stdout")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let address = line.split_whitespace().last().context("echo printed no address")?.to_owned();
    let reports = target_dir().join("conformance");
    let _ = std::fs::remove_dir_all(&reports);
    let ran = Command::new(root().join(".venv/bin/kosoku"))
        .args(["-x", "12.*", "-x", "13.*", "-o"])
        .arg(&reports)
        .arg(&address)
        .stdout(Stdio::null())
        .status();
    let _ = echo.kill();
    let _ = echo.wait();
    ran.context("kosoku did not run: ./test installs it into .venv")?;
    let text = std::fs::read_to_string(reports.join("index.json"))?;
    let json: serde_json::Value = serde_json::from_str(&text)?;
    let agent = json.as_object().and_then(|o| o.values().next()).context("empty report")?;
    let mut outcome = Outcome::default();
    for (case, verdict) in agent.as_object().context("odd report")? {
        let behavior = verdict["behavior"].as_str().unwrap_or("none");
        let close = verdict["behaviorClose"].as_str().unwrap_or("none");
        let good = |v: &str| matches!(v, "OK" | "NON-STRICT" | "INFORMATIONAL");
        if good(behavior) && good(close) {
            outcome.passed += 1;
        } else {
            outcome.failures.push(format!("autobahn case {case}: {behavior}, close {close}"));
        }
    }
    let ran = outcome.passed + outcome.failures.len() as u64;
    if ran != CORE_CASES {
        outcome.failures.push(format!("autobahn: {ran} cases ran, not {CORE_CASES}"));
    }
    Ok(outcome)
}
