//! The rules of the house that no lint knows, as checks over the sources.
//!
//! Owns: headers, sizes, rule ids, forbidden words. Never does: change a file. Talks to: git ls-files.
//! Start reading at: [`run`].

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use crate::{report::Outcome, steps::root};

/// A file longer than this is two files.
const FILE_LINES_MAX: usize = 600;
/// A React component or a module of the page.
const PAGE_LINES_MAX: usize = 400;
/// A function longer than this is two functions.
const FUNCTION_LINES_MAX: usize = 70;
/// Files that are allowed to break a size rule, with `path: rule`; an entry that is no longer needed fails the check.
const EXCEPTIONS: &str = "xtask/tidy-exceptions.txt";

/// All checks.
pub(crate) fn run() -> Outcome {
    let files = sources();
    let mut outcome = Outcome::default();
    outcome.add(named("module headers", headers(&files)));
    outcome.add(named("sizes", sizes(&files)));
    outcome.add(named("rule ids", rule_ids(&files)));
    outcome.add(named("forbidden words", forbidden_words(&files)));
    outcome
}

fn named(name: &str, problems: Vec<String>) -> Outcome {
    if problems.is_empty() {
        return Outcome::passed(1);
    }
    let failures = problems.into_iter().map(|p| format!("tidy, {name}: {p}")).collect();
    Outcome { passed: 0, failures }
}

/// Path → text of every tracked or new text file.
type Sources = BTreeMap<String, String>;

fn sources() -> Sources {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .output()
        .map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
        .unwrap_or_default();
    listed
        .lines()
        .filter_map(|path| {
            Some((path.to_owned(), std::fs::read_to_string(root().join(path)).ok()?))
        })
        .collect()
}

fn extension(path: &str) -> &str {
    Path::new(path).extension().and_then(|e| e.to_str()).unwrap_or("")
}

fn is_rust(path: &str) -> bool {
    extension(path) == "rs"
}

fn is_page(path: &str) -> bool {
    path.starts_with("frontend/src/") && matches!(extension(path), "ts" | "tsx")
}

/// Every module says what it owns, what it never does, whom it talks to, and where to start.
fn headers(files: &Sources) -> Vec<String> {
    let product = |path: &str| {
        is_rust(path)
            && path.contains("src/")
            && !path.contains("/fuzz/")
            && !path.contains("/tests/")
            && !path.contains("/examples/")
    };
    let words = ["owns:", "never does:", "talks to:", "start reading at:"];
    files
        .iter()
        .filter(|(path, _)| product(path))
        .filter_map(|(path, text)| {
            let header: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
            let header = header.to_lowercase();
            let missing: Vec<_> = words.iter().filter(|word| !header.contains(**word)).collect();
            (!missing.is_empty()).then(|| format!("{path}: header lacks {missing:?}"))
        })
        .collect()
}

fn sizes(files: &Sources) -> Vec<String> {
    let mut allowed: BTreeSet<String> = files
        .get(EXCEPTIONS)
        .map(String::as_str)
        .unwrap_or("")
        .lines()
        .map(str::to_owned)
        .collect();
    allowed.retain(|line| !line.is_empty() && !line.starts_with('#'));
    let mut problems = Vec::new();
    for (path, text) in files {
        let lines = text.lines().count();
        let limit = if is_rust(path) {
            FILE_LINES_MAX
        } else if is_page(path) && !path.contains(".test.") && !path.ends_with("texts.ts") {
            PAGE_LINES_MAX
        } else {
            continue;
        };
        if lines > limit && !allowed.remove(&format!("{path}: file")) {
            problems.push(format!("{path}: {lines} lines, at most {limit}"));
        }
        if is_rust(path) {
            let long = long_functions(text);
            if !long.is_empty() && !allowed.remove(&format!("{path}: function")) {
                problems.extend(long.into_iter().map(|f| format!("{path}: {f}")));
            }
        }
    }
    problems.extend(
        allowed.into_iter().map(|line| format!("{EXCEPTIONS}: {line:?} is no longer needed")),
    );
    problems
}

/// Functions over the limit. rustfmt puts the closing brace at the indentation of the `fn` line.
fn long_functions(text: &str) -> Vec<String> {
    let mut long = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    for (start, line) in lines.iter().enumerate() {
        let body = line.trim_start();
        let is_function = body.starts_with("fn ")
            || body.split(" fn ").next().is_some_and(|before| {
                body.contains(" fn ")
                    && before.split(' ').all(|w| {
                        w.starts_with("pub")
                            || matches!(w, "async" | "const" | "unsafe")
                            || w.ends_with(')')
                    })
            });
        if !is_function || body.ends_with(';') {
            continue;
        }
        let indent = line.len() - body.len();
        let end = lines[start..].iter().position(|l| {
            l.len() > indent && l.as_bytes()[indent] == b'}' && l[..indent].trim().is_empty()
        });
        let Some(length) = end else { continue };
        if length > FUNCTION_LINES_MAX {
            long.push(format!(
                "line {}: function of {length} lines, at most {FUNCTION_LINES_MAX}",
                start + 1
            ));
        }
    }
    long
}

/// The rules of PROTOCOL.md and the tests that prove them name the same numbers.
fn rule_ids(files: &Sources) -> Vec<String> {
    let rules: BTreeSet<u32> = files
        .get("PROTOCOL.md")
        .map(String::as_str)
        .unwrap_or("")
        .lines()
        .filter_map(|line| line.strip_prefix("- **R")?.split("**").next()?.parse().ok())
        .collect();
    let mut proven = BTreeSet::new();
    for (path, text) in files {
        if is_rust(path) {
            proven.extend(text.split("fn r").skip(1).filter_map(|rest| leading_number(rest, '_')));
        } else if path.starts_with("frontend/") && matches!(extension(path), "ts" | "tsx") {
            proven.extend(text.split("[R").skip(1).filter_map(|rest| leading_number(rest, ']')));
        }
    }
    let unproven = rules.difference(&proven).map(|n| format!("R{n} of PROTOCOL.md has no test"));
    let unknown =
        proven.difference(&rules).map(|n| format!("a test names R{n}, which PROTOCOL.md lacks"));
    unproven.chain(unknown).collect()
}

fn leading_number(text: &str, after: char) -> Option<u32> {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    (!digits.is_empty() && text[digits.len()..].starts_with(after)).then(|| digits.parse().ok())?
}

/// Muted tests, unfinished marks, and paths of one machine. The words are joined here so that this file stays clean.
fn forbidden_words(files: &Sources) -> Vec<String> {
    let words = [
        ["FIX", "ME"].concat(),
        ["#[", "ignore"].concat(),
        ["todo", "!("].concat(),
        ["unimpl", "emented!("].concat(),
        ["/wo", "rk/"].concat(),
        ["/ro", "ot/"].concat(),
        ["eslint-", "disable"].concat(),
        ["@ts-", "ignore"].concat(),
        ["dangerously", "SetInnerHTML"].concat(),
    ];
    let mut problems = Vec::new();
    for (path, text) in files {
        if path.ends_with("package-lock.json") || path.ends_with("Cargo.lock") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            if let Some(word) = words.iter().find(|word| line.contains(word.as_str())) {
                problems.push(format!("{path}:{}: {word}", number + 1));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(path: &str, text: &str) -> Sources {
        Sources::from([(path.to_owned(), text.to_owned())])
    }

    #[test]
    fn a_module_without_its_four_lines_is_named() {
        let good = "//! A.\n//!\n//! Owns: a. Never does: b. Talks to: c. Start reading at: d.\n";
        assert!(headers(&one("broker/src/a.rs", good)).is_empty());
        assert_eq!(headers(&one("broker/src/a.rs", "//! A.\n")).len(), 1);
    }

    #[test]
    fn long_functions_and_needless_exceptions_are_named() {
        let long =
            format!("    pub(crate) async fn long() {{\n{}    }}\n", "        a();\n".repeat(71));
        assert_eq!(long_functions(&long).len(), 1);
        assert!(long_functions("fn short() {\n    a();\n}\n").is_empty());
        assert_eq!(sizes(&one(EXCEPTIONS, "a.rs: file\n")).len(), 1);
    }

    #[test]
    fn rules_without_tests_and_tests_without_rules_are_named() {
        let mut files = one("PROTOCOL.md", "- **R1** a\n- **R2** b\n");
        files.insert("broker/src/x.rs".into(), "fn r1_holds() {}\nfn r3_holds() {}\n".into());
        assert_eq!(rule_ids(&files).len(), 2);
        files.insert("frontend/src/x.test.ts".into(), "it('[R2] holds'".into());
        assert_eq!(rule_ids(&files).len(), 1);
    }
}
