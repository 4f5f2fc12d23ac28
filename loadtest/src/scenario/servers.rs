//! The processes behind a figure, and what they have used and done so far.
//!
//! Owns: [`Servers`], [`Sample`]. Never does: start or end one. Talks to: /proc, the admin port of a broker.
//! Start reading at: [`Servers::sample`].

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{cluster::probe, procfs};

/// Whose CPU counts.
#[derive(Debug, Clone, Default)]
pub struct Servers {
    /// All of them: what each is called, and its id.
    pub processes: Vec<(String, u32)>,
    /// Admin port of a broker of ours: how it appends.
    pub broker_admin: Option<u16>,
}

/// What they have used and done since they started.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    process_ns: BTreeMap<String, u64>,
    thread_ns: BTreeMap<String, u64>,
    appends: u64,
    appended: u64,
}

/// The difference of two samples, for each of a number of messages.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Cost {
    /// CPU of all servers.
    pub cpu_us_per_message: f64,
    /// Of it by process.
    pub cpu_us_by_process: Vec<(String, f64)>,
    /// Of it by thread name, as `process/thread`.
    pub cpu_us_by_thread: Vec<(String, f64)>,
    /// Messages in one append of the broker, which is one round trip; `None`: none of ours, or none appended.
    pub messages_per_append: Option<f64>,
}

impl Servers {
    /// Those that have no names of their own.
    pub fn unnamed(pids: &[u32]) -> Self {
        let named = |pid: &u32| (format!("server-{pid}"), *pid);
        Self { processes: pids.iter().map(named).collect(), broker_admin: None }
    }

    /// Looks at all of them, one after another. Errors: one is gone.
    pub async fn sample(&self) -> anyhow::Result<Sample> {
        let mut sample = Sample::default();
        for (name, pid) in &self.processes {
            sample.process_ns.insert(name.clone(), procfs::cpu_ns(&[*pid])?);
            for (thread, ns) in procfs::cpu_by_thread_ns(*pid)? {
                sample.thread_ns.insert(format!("{name}/{thread}"), ns);
            }
        }
        if let Some(port) = self.broker_admin {
            let text = probe::get(port, "/metrics").await?;
            sample.appends = counter(&text, "broker_backplane_batch_messages_count");
            sample.appended = counter(&text, "broker_backplane_batch_messages_sum");
        }
        Ok(sample)
    }
}

/// One number of a text of metrics; 0 if it is not there, as for what was never counted.
fn counter(text: &str, name: &str) -> u64 {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<f64>().ok();
    text.lines().find_map(value).unwrap_or(0.0) as u64
}

impl Sample {
    /// What was used since `before` for each of `messages`.
    pub fn since(&self, before: &Self, messages: u64) -> Cost {
        let per = |ns: u64| ns as f64 / 1e3 / messages.max(1) as f64;
        let difference = |now: &BTreeMap<String, u64>, then: &BTreeMap<String, u64>| {
            // A thread that ended and one that took its name cannot be told apart: never below zero.
            let one = |(name, ns): (&String, &u64)| {
                let ns = ns.saturating_sub(then.get(name).copied().unwrap_or(0));
                (name.clone(), per(ns))
            };
            now.iter().map(one).filter(|(_, us)| *us >= 0.005).collect::<Vec<_>>()
        };
        let by_process = difference(&self.process_ns, &before.process_ns);
        let appends = self.appends - before.appends.min(self.appends);
        let appended = self.appended - before.appended.min(self.appended);
        Cost {
            cpu_us_per_message: by_process.iter().map(|(_, us)| us).sum(),
            cpu_us_by_process: by_process,
            cpu_us_by_thread: difference(&self.thread_ns, &before.thread_ns),
            messages_per_append: (appends > 0).then(|| appended as f64 / appends as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_a_difference_per_message() {
        let text = "# TYPE x histogram\nx_count 2\nx_countess 9\nx_sum 64\n";
        assert_eq!((counter(text, "x_count"), counter(text, "x_sum")), (2, 64));
        assert_eq!(counter(text, "y"), 0);
        let at = |ns, appends, appended| Sample {
            process_ns: BTreeMap::from([("log".to_owned(), ns), ("idle".to_owned(), 5)]),
            thread_ns: BTreeMap::from([("log/io".to_owned(), ns)]),
            appends,
            appended,
        };
        let cost = at(21_000, 6, 84).since(&at(1_000, 2, 20), 10);
        assert_eq!(cost.cpu_us_by_process, [("log".to_owned(), 2.0)]);
        assert_eq!(cost.cpu_us_by_thread, [("log/io".to_owned(), 2.0)]);
        assert_eq!((cost.cpu_us_per_message, cost.messages_per_append), (2.0, Some(16.0)));
    }

    #[tokio::test]
    async fn this_process_can_be_looked_at() {
        let servers = Servers::unnamed(&[std::process::id()]);
        let sample = servers.sample().await.unwrap();
        assert_eq!(sample.process_ns.len(), 1);
        assert!(sample.thread_ns.len() > 1, "{:?}", sample.thread_ns);
    }
}
