//! `check`: every dependency tried once, and told.
//!
//! Owns: what log and live state say, the form of the report. Never does: wait, load a function, or write.
//! Talks to: `backplane::redis`. Start reading at: [`Shared::findings`].

use std::{fmt::Display, sync::Arc, time::Duration};

use backplane::{Archive, Log, redis::RedisLog};
use tokio::time::timeout;

use super::{Shared, links};

/// One dependency.
const TRY_WITHIN: Duration = Duration::from_secs(5);

/// What a dependency said.
#[derive(Debug)]
pub struct Finding {
    /// Which, for people.
    pub name: String,
    /// How it is, or what is wrong.
    pub result: Result<String, String>,
}

/// Tries one dependency.
pub async fn finding<E: Display>(
    name: impl Into<String>,
    attempt: impl Future<Output = Result<String, E>>,
) -> Finding {
    let result = match timeout(TRY_WITHIN, attempt).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    };
    Finding { name: name.into(), result }
}

/// Prints them all. Whether all are good.
pub fn report(findings: &[Finding]) -> bool {
    for Finding { name, result } in findings {
        match result {
            Ok(text) => println!("ok      {name}: {text}"),
            Err(text) => println!("FAILED  {name}: {text}"),
        }
    }
    findings.iter().all(|finding| finding.result.is_ok())
}

impl Shared {
    /// Log, with the durability level found, and live state.
    pub async fn findings(&self, archive: Arc<dyn Archive>) -> Vec<Finding> {
        let urls: Vec<String> = self.logs.iter().map(ToString::to_string).collect();
        let log = finding(format!("log {}", urls.join(" ")), async {
            // Appends nothing and answers no fence: under its name nobody ever hears of it.
            let node = u64::from(std::process::id());
            let log = RedisLog::open(self.log_options(node, archive, false)).await?;
            let wanted = self.durability.level();
            let found = log.info().durability;
            Ok::<_, backplane::redis::RedisError>(format!("level {found}, {wanted} is asked for"))
        });
        let url = self.live.first().map(ToString::to_string).unwrap_or_default();
        let live = finding(format!("live {url}"), async {
            let live = self.connect_live(false).await.map_err(|error| error.to_string())?;
            links::answers(&live).await.map(|()| "answers".to_owned())
        });
        let (log, live) = tokio::join!(log, live);
        vec![log, live]
    }
}
