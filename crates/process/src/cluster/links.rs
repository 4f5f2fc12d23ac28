//! Log and live state over Redis, as every process of a cluster opens and watches them.
//!
//! Owns: waiting for them at the start, the level asked for, noticing when one goes away. Never does: append or publish.
//! Talks to: `backplane::redis`. Start reading at: [`Links::open`].

use std::{sync::Arc, time::Duration};

use backplane::{
    Archive, Live, Log,
    redis::{Level, LiveOptions, LiveStartError, Options, RedisError, RedisLive, RedisLog},
};
use protocol::{SessionId, UserId};
use tokio::time::{sleep, timeout};

use super::{Durability, Shared};
use crate::wait::{Failed, Need};

/// Between two looks at what may have gone away.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Every so many looks the level is asked for, too: somebody may have changed a setting.
const LOOKS_PER_LEVEL: u32 = 10;
/// One look.
const LOOK_WITHIN: Duration = Duration::from_secs(3);

/// Why a process cannot run with its settings.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The log.
    #[error("{0}; durability = \"everysec\" would accept L1")]
    Level(RedisError),
    /// The log.
    #[error(transparent)]
    Log(#[from] RedisError),
    /// The live state.
    #[error(transparent)]
    Live(#[from] LiveStartError),
}

/// What of it is there.
#[derive(Debug, Clone)]
pub struct Needs {
    /// Appends can be tried.
    pub log: Need,
    /// The level is not below the one asked for.
    pub durability: Need,
    /// Signals, presence, revocations.
    pub live: Need,
}

impl Default for Needs {
    fn default() -> Self {
        let [log, durability, live] = ["log", "durability", "live"].map(Need::new);
        Self { log, durability, live }
    }
}

/// The two servers, opened.
#[derive(Debug, Clone)]
pub struct Links {
    /// The durable log.
    pub log: RedisLog,
    /// Signals and shared ephemeral state.
    pub live: RedisLive,
    level_min: Level,
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_millis() as u64
}

impl Durability {
    /// The level that it stands for.
    pub fn level(self) -> Level {
        match self {
            Self::Always => Level::L2,
            Self::Everysec => Level::L1,
        }
    }
}

impl Shared {
    pub(super) fn log_options(&self, node: u64, archive: Arc<dyn Archive>, loads: bool) -> Options {
        let level_min = self.durability.level();
        Options { loads, level_min, ..Options::new(self.log_urls(), node, archive) }
    }

    pub(super) async fn connect_live(&self, loads: bool) -> Result<RedisLive, LiveStartError> {
        let server = self.live.first().map(|url| url.reveal().to_owned()).unwrap_or_default();
        let options = LiveOptions::new(server, Arc::new(now_ms));
        RedisLive::connect(LiveOptions { loads, ..options }).await
    }
}

impl Links {
    /// Waits for both. `node` names this run of the process in the log, `loads` says whether it may load functions.
    /// Errors: settings that no waiting makes good.
    pub async fn open(
        shared: &Shared,
        node: u64,
        archive: &Arc<dyn Archive>,
        loads: bool,
        needs: &Needs,
    ) -> Result<Self, LinkError> {
        let log = needs.log.wait_for(|| async {
            let options = shared.log_options(node, Arc::clone(archive), loads);
            RedisLog::open(options).await.map_err(|error| match error {
                RedisError::Server { .. } => Failed::Away(LinkError::Log(error)),
                RedisError::Level { .. } => Failed::Final(LinkError::Level(error)),
                RedisError::Servers(_) => Failed::Final(LinkError::Log(error)),
            })
        });
        let live = async {
            let live = shared.connect_live(loads).await?;
            let answers = || async { answers(&live).await.map_err(Failed::Away) };
            // A server that is away is always worth waiting for.
            let _: Result<(), String> = needs.live.wait_for(answers).await;
            Ok(live)
        };
        let (log, live) = tokio::try_join!(log, live)?;
        needs.durability.set(true, &"");
        tracing::info!(level = log.info().durability, "the log is at this level");
        Ok(Self { log, live, level_min: shared.durability.level() })
    }

    /// Notes what goes away and comes back, for ever.
    pub async fn watch(self, needs: Needs) {
        for look in 1_u32.. {
            sleep(LOOK_EVERY).await;
            let (log, live) = tokio::join!(self.log_answers(), answers(&self.live));
            let why = |answer: &Result<(), String>| answer.clone().err().unwrap_or_default();
            needs.log.set(log.is_ok(), &why(&log));
            needs.live.set(live.is_ok(), &why(&live));
            if look.is_multiple_of(LOOKS_PER_LEVEL)
                && let Ok(Ok(level)) = timeout(LOOK_WITHIN, self.log.level()).await
            {
                let told = format!("the log is at {level}, {} is asked for", self.level_min);
                needs.durability.set(level >= self.level_min, &told);
            }
        }
    }

    async fn log_answers(&self) -> Result<(), String> {
        for partition in 0..self.log.info().partitions {
            let end = timeout(LOOK_WITHIN, self.log.end(partition)).await;
            let end = end.map_err(|_| "no answer in time".to_owned())?;
            end.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// A question that costs the server next to nothing.
pub(super) async fn answers(live: &RedisLive) -> Result<(), String> {
    match timeout(LOOK_WITHIN, live.is_revoked(UserId(1), SessionId(0), 0)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}
