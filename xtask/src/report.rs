//! Counts of a step, and the closing line.
//!
//! Owns: [`Outcome`]. Never does: run anything. Talks to: stdout. Start reading at: [`Outcome`].

/// What a step, or all of them together, came to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) passed: u64,
    /// One line each: what failed.
    pub(crate) failures: Vec<String>,
}

impl Outcome {
    pub(crate) fn passed(count: u64) -> Self {
        Self { passed: count, failures: Vec::new() }
    }

    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Self { passed: 0, failures: vec![what.into()] }
    }

    /// One check with a name.
    pub(crate) fn check(name: &str, good: bool) -> Self {
        if good { Self::passed(1) } else { Self::failed(name) }
    }

    pub(crate) fn add(&mut self, other: Outcome) {
        self.passed += other.passed;
        self.failures.extend(other.failures);
    }

    /// Prints the failures and the closing line that people and CI read. Errors: if anything failed, or nothing ran.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        for failure in &self.failures {
            println!("FAILED: {failure}");
        }
        println!("{} passed, {} failed", self.passed, self.failures.len());
        anyhow::ensure!(self.failures.is_empty(), "{} failed", self.failures.len());
        anyhow::ensure!(self.passed > 0, "no test ran");
        Ok(())
    }
}
