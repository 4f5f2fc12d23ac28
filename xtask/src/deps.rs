//! Rules over the dependency graph: licences, banned crates, who may depend on whom.
//!
//! Owns: the lists. Never does: the network. Talks to: cargo metadata, cargo tree. Start reading at: [`run`].

use anyhow::Context;
use serde_json::Value;

use crate::{report::Outcome, steps::cargo};

/// Licences that may enter; an expression is good when one of its alternatives is made of these.
const LICENCES: &[&str] = &[
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "Unicode-3.0",
    "Unlicense",
    "CC0-1.0",
    "OpenSSL",
    "MPL-2.0",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
];

/// One crypto provider, none of them twice (aws-lc); nothing that needs system libraries.
const BANNED: &[&str] = &["ring", "openssl", "openssl-sys", "native-tls"];

/// Features that each of these is looked at with: the programs of a cluster obey the same rules as the libraries.
const WITH_FEATURES: &[(&str, &str)] =
    &[("broker", "cluster"), ("api", "cluster"), ("process", "cluster"), ("backplane", "redis")];

/// `(package, what its tree must not hold)`: the broker knows no database, and `webchat` builds fast.
const FORBIDDEN_EDGES: &[(&str, &[&str])] = &[
    ("broker", &["mongodb", "aws-sdk-s3", "rusqlite", "axum", "api"]),
    ("api", &["broker"]),
    ("webchat", &["mongodb", "aws-sdk-s3", "redis"]),
    ("internal", &["api", "broker", "axum", "rusqlite"]),
    ("process", &["api", "broker", "axum", "rusqlite"]),
    ("loadtest", &["broker", "api", "backplane"]),
    ("backplane", &["broker", "api", "token"]),
    ("protocol", &["tokio", "backplane", "broker", "api", "token"]),
];

pub(crate) fn run() -> Outcome {
    let mut outcome = Outcome::default();
    match packages() {
        Ok(packages) => {
            for (name, licence) in &packages {
                if BANNED.contains(&name.as_str()) {
                    outcome.failures.push(format!("dependency {name} is banned"));
                }
                if !licence_is_good(licence) {
                    outcome.failures.push(format!("dependency {name} has licence {licence:?}"));
                }
            }
            outcome.passed += u64::from(outcome.failures.is_empty());
        }
        Err(error) => outcome.failures.push(format!("cargo metadata: {error:#}")),
    }
    for (package, forbidden) in FORBIDDEN_EDGES {
        match tree(package) {
            Ok(tree) => {
                let found: Vec<_> =
                    forbidden.iter().filter(|name| tree.iter().any(|t| t == *name)).collect();
                let name = format!("the tree of {package} holds {found:?}");
                outcome.add(Outcome::check(&name, found.is_empty()));
            }
            Err(error) => outcome.failures.push(format!("cargo tree -p {package}: {error:#}")),
        }
    }
    outcome
}

fn packages() -> anyhow::Result<Vec<(String, String)>> {
    let output = cargo(&["metadata", "--locked", "--format-version", "1"]).output()?;
    let json: Value = serde_json::from_slice(&output.stdout).context("not json")?;
    let text = |v: &Value| v.as_str().unwrap_or("").to_owned();
    let list = json["packages"].as_array().context("no packages")?;
    Ok(list.iter().map(|p| (text(&p["name"]), text(&p["license"]))).collect())
}

fn tree(package: &str) -> anyhow::Result<Vec<String>> {
    let mut arguments = vec!["tree", "--locked", "-p", package, "-e", "normal"];
    arguments.extend(["--prefix", "none", "--format", "{p}"]);
    if let Some((_, features)) = WITH_FEATURES.iter().find(|(name, _)| *name == package) {
        arguments.extend(["--features", features]);
    }
    let output = cargo(&arguments).output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    Ok(text
        .lines()
        .skip(1)
        .filter_map(|l| l.split_whitespace().next())
        .map(str::to_owned)
        .collect())
}

fn licence_is_good(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], "").replace('/', " OR ");
    plain.split(" OR ").any(|way| way.split(" AND ").all(|one| LICENCES.contains(&one.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_expressions_are_read_as_alternatives() {
        assert!(licence_is_good("MIT OR GPL-3.0"));
        assert!(licence_is_good("(MIT OR Apache-2.0) AND Unicode-3.0"));
        assert!(licence_is_good("MIT/Apache-2.0"));
        assert!(!licence_is_good("GPL-3.0-only"));
        assert!(!licence_is_good(""));
    }
}
