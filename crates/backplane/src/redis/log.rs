//! [`RedisLog`]: the [`Log`] of a cluster.
//!
//! Owns: opening, and the trait's answers over the functions. Never does: judge. Talks to: one server per partition.
//! Start reading at: [`RedisLog::open`].
//!
//! A log is closed to a process until [`Log::rejoin`] has answered `Admitted` without a lease to restore: after its start,
//! and after each start of the server. Followers answer for their node by themselves, but only the caller can restore.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use protocol::{ConversationId, Pos, Producer, UserId, limits};
use redis::Value;

use super::{
    Level, Options, RedisError,
    appender::RedisAppender,
    connection::{Server, number, part, pos},
    fault::Fault,
    follower::RedisFollower,
    packed,
};
use crate::{
    Admitted, Appender, Batch, BoxFuture, Follower, Lease, Log, LogError, LogInfo, Partition,
    ProducerState, ReadError, Room,
};

/// Bytes of restored entries in one call.
const RESTORE_BYTES: usize = 1024 * 1024;
/// Steps of a new epoch, each of up to 1 MiB: more than a log may hold.
const BUILD_STEPS_MAX: usize = 1_000_000;

/// The durable log on Redis. Clones share it.
#[derive(Debug, Clone)]
pub struct RedisLog {
    servers: Arc<[Arc<Server>]>,
    levels: Arc<[String]>,
}

impl RedisLog {
    /// Connects to every server and learns the level in force. Errors: a server away, or below the level asked for.
    pub async fn open(options: Options) -> Result<Self, RedisError> {
        let count = options.servers.len();
        if count == 0 || count > limits::PARTITIONS_MAX {
            return Err(RedisError::Servers(count));
        }
        let (mut servers, mut levels) = (Vec::new(), Vec::new());
        for (partition, url) in options.servers.iter().enumerate() {
            let partition = partition as Partition;
            let failed = |reason| RedisError::Server { partition, reason };
            let server = Server::new(partition, url, options.clone()).map_err(failed)?;
            server.shared().await.map_err(|fault| failed(fault.to_string()))?;
            let (level, why, told) = match (server.level().await, options.level_assumed) {
                (Ok((level, why)), _) => (level, why, level.to_string()),
                (Err(_), Some(level)) => (level, "assumed", format!("{level} assumed")),
                (Err(fault), None) => return Err(failed(fault.to_string())),
            };
            if level < options.level_min {
                return Err(RedisError::Level { partition, level, wanted: options.level_min, why });
            }
            server.look().await.map_err(|fault| failed(fault.to_string()))?;
            servers.push(Arc::new(server));
            levels.push(told);
        }
        Ok(Self { servers: servers.into(), levels: levels.into() })
    }

    fn server(&self, partition: Partition) -> Result<&Arc<Server>, Fault> {
        let none = || Fault::Refused(format!("there is no partition {partition}"));
        self.servers.get(usize::from(partition)).ok_or_else(none)
    }

    /// The level in force now, at the weakest of the servers.
    pub async fn level(&self) -> Result<Level, LogError> {
        let mut weakest = Level::L3;
        for server in &*self.servers {
            weakest = weakest.min(server.level().await.map_err(away)?.0);
        }
        Ok(weakest)
    }

    async fn status(&self, partition: Partition) -> Result<Vec<Value>, Fault> {
        Ok(self.server(partition)?.call("status", |_| Vec::new()).await?.0)
    }
}

fn away(fault: Fault) -> LogError {
    LogError::Unavailable(fault.to_string())
}

/// An answer that has nothing to say but whether it was done.
fn done(answer: &[Value]) -> Result<(), LogError> {
    let kind: String = part(answer, 0).map_err(away)?;
    match &*kind {
        "ok" => Ok(()),
        "closed" => Err(LogError::Unavailable("the log is fenced".to_owned())),
        "above" => Err(LogError::Refused("above what is allowed")),
        _ => Err(LogError::Refused("without the lease")),
    }
}

/// What a read gives of an open log.
pub(super) struct Page {
    pub(super) run: Arc<str>,
    pub(super) end: Pos,
    /// Trimmed up to here.
    pub(super) first: Pos,
    pub(super) common: Pos,
    pub(super) batches: Vec<Arc<Batch>>,
}

/// Entries after a place. `None`: the log is fenced.
pub(super) async fn read_page(
    server: &Server,
    after: Pos,
    bytes_max: usize,
) -> Result<Option<Page>, Fault> {
    let arguments = |run: &str| {
        let (epoch, bytes) = (u64::from(after.epoch), bytes_max.clamp(1, 1 << 40) as u64);
        vec![run.as_bytes().to_vec(), number(epoch), number(after.n), number(bytes)]
    };
    let (answer, run) = server.call("read", arguments).await?;
    let kind: String = part(&answer, 0)?;
    if kind == "closed" {
        return Ok(None);
    }
    let end = pos(&answer, 1)?;
    let first = Pos::new(end.epoch, part(&answer, 3)?);
    let entries: Vec<Value> = part(&answer, 6)?;
    let mut batches = Vec::with_capacity(entries.len());
    for entry in entries {
        let Value::BulkString(entry) = entry else {
            return Err(Fault::Refused("an entry that is none".to_owned()));
        };
        let odd = |_| Fault::Refused("an entry that cannot be read".to_owned());
        batches.push(Arc::new(packed::decode(Bytes::from(entry)).map_err(odd)?));
    }
    Ok(Some(Page { run, end, first, common: pos(&answer, 4)?, batches }))
}

/// What a `rejoin` said.
enum Rejoined {
    Open(Admitted),
    Turn(Admitted),
    Wait,
    Build,
}

async fn tell(
    server: &Server,
    node: u64,
    seen: Pos,
    watermark: Pos,
    restores: bool,
) -> Result<Rejoined, Fault> {
    let (options, before) = (&server.options, server.run());
    let arguments = |run: &str| {
        vec![
            run.as_bytes().to_vec(),
            number(node),
            number(u64::from(seen.epoch)),
            number(seen.n),
            number(u64::from(watermark.epoch)),
            number(watermark.n),
            number(server.lease_until.load(Ordering::SeqCst)),
            number(u64::from(restores)),
            number(options.lease_ms),
            number((options.ahead_ms)()),
            before.as_deref().unwrap_or("").as_bytes().to_vec(),
            number(u64::from(options.loads)),
        ]
    };
    let (answer, run) = server.call("rejoin", arguments).await?;
    let kind: String = part(&answer, 0)?;
    match &*kind {
        "open" => {
            let end = pos(&answer, 1)?;
            server.admit(&run, end.epoch);
            server.listed(&run, part(&answer, 3)?);
            Ok(Rejoined::Open(Admitted { epoch: end.epoch, end, restore: None }))
        }
        "turn" => {
            let (epoch, lease) = (part(&answer, 1)?, part(&answer, 4)?);
            let end = pos(&answer, 2)?;
            server.had_turn();
            Ok(Rejoined::Turn(Admitted { epoch, end, restore: Some(Lease(lease)) }))
        }
        "build" => Ok(Rejoined::Build),
        _ => Ok(Rejoined::Wait),
    }
}

/// Writes the new epoch to its end, step by step; several may do it at once. It takes the right to trim, which a broker does
/// not have; and an epoch that nobody may build has nobody to ask for heads, either.
async fn build(server: &Server) -> Result<(), Fault> {
    for _ in 0..BUILD_STEPS_MAX {
        let (answer, _) = server.call("build", |run| vec![run.as_bytes().to_vec()]).await?;
        let kind: String = part(&answer, 0)?;
        match &*kind {
            "more" => {}
            "open" => return Ok(()),
            _ => break,
        }
    }
    Err(Fault::Refused("the new epoch was not begun".to_owned()))
}

/// Tells a fenced log what this node has seen, without asking for a turn. Whether it is open now.
pub(super) async fn answer_fence(
    server: &Server,
    seen: Pos,
    watermark: Pos,
) -> Result<bool, Fault> {
    match tell(server, server.options.node, seen, watermark, false).await? {
        Rejoined::Open(_) => Ok(true),
        Rejoined::Build if server.options.loads => build(server).await.map(|()| false),
        Rejoined::Build => Ok(false),
        Rejoined::Turn(_) | Rejoined::Wait => Ok(false),
    }
}

impl Log for RedisLog {
    fn info(&self) -> LogInfo {
        LogInfo {
            partitions: self.servers.len() as Partition,
            durability: self.levels.iter().min().cloned().unwrap_or_default(),
            batch_envelopes_max: limits::BATCH_ENVELOPES_MAX,
            batch_bytes_max: limits::BATCH_BYTES_MAX,
        }
    }

    fn room(&self, partition: Partition) -> Room {
        self.servers.get(usize::from(partition)).map_or(Room::Green, |server| server.room())
    }

    fn memory_ratio(&self, partition: Partition) -> f64 {
        self.servers.get(usize::from(partition)).map_or(0.0, |server| server.memory_ratio())
    }

    fn appender(&self, partition: Partition) -> Box<dyn Appender> {
        let at = usize::from(partition) % self.servers.len();
        Box::new(RedisAppender::new(Arc::clone(&self.servers[at])))
    }

    fn follow(&self, partition: Partition, after: Pos) -> Box<dyn Follower> {
        let at = usize::from(partition) % self.servers.len();
        Box::new(RedisFollower::new(Arc::clone(&self.servers[at]), after))
    }

    fn read(
        &self,
        partition: Partition,
        after: Pos,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Vec<Arc<Batch>>, ReadError>> {
        Box::pin(async move {
            let away = |fault: Fault| ReadError::Unavailable(fault.to_string());
            let server = self.server(partition).map_err(away)?;
            let page = read_page(server, after, bytes_max).await.map_err(away)?;
            let Some(Page { end, first, batches, .. }) = page else {
                return Err(ReadError::Unavailable("the log is fenced".to_owned()));
            };
            let n = if after.epoch < end.epoch { 0 } else { after.n };
            if n < first.n {
                return Err(ReadError::Trimmed { first: Pos::new(first.epoch, first.n + 1) });
            }
            Ok(batches)
        })
    }

    fn end(&self, partition: Partition) -> BoxFuture<'_, Result<Pos, LogError>> {
        Box::pin(async move { pos(&self.status(partition).await.map_err(away)?, 1).map_err(away) })
    }

    fn first(&self, partition: Partition) -> BoxFuture<'_, Result<Pos, LogError>> {
        Box::pin(async move {
            let status = self.status(partition).await.map_err(away)?;
            let (epoch, n) = (part(&status, 1).map_err(away)?, part(&status, 3).map_err(away)?);
            Ok(Pos::new(epoch, n))
        })
    }

    fn watermark(&self, partition: Partition) -> BoxFuture<'_, Result<Pos, LogError>> {
        Box::pin(async move {
            let status = self.status(partition).await.map_err(away)?;
            let (epoch, n) = (part(&status, 1).map_err(away)?, part(&status, 4).map_err(away)?);
            let watermark = Pos::new(epoch, n);
            self.server(partition).map_err(away)?.saw_watermark(watermark);
            Ok(watermark)
        })
    }

    fn lease(&self, partition: Partition) -> BoxFuture<'_, Result<Lease, LogError>> {
        Box::pin(async move {
            let server = self.server(partition).map_err(away)?;
            let calling = server.call("lease", |run| vec![run.as_bytes().to_vec()]);
            let (answer, _) = calling.await.map_err(away)?;
            done(&answer)?;
            Ok(Lease(part(&answer, 1).map_err(away)?))
        })
    }

    fn advance(
        &self,
        partition: Partition,
        to: Pos,
        lease: Lease,
    ) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            let server = self.server(partition).map_err(away)?;
            let arguments = |run: &str| {
                let place = [lease.0, u64::from(to.epoch), to.n].map(number);
                [vec![run.as_bytes().to_vec()], place.to_vec()].concat()
            };
            done(&server.call("advance", arguments).await.map_err(away)?.0)?;
            server.saw_watermark(to);
            Ok(())
        })
    }

    fn trim(&self, partition: Partition, upto: Pos) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            let server = self.server(partition).map_err(away)?;
            let Options { retention_ms, retention_bytes, ahead_ms, .. } = &server.options;
            let arguments = |run: &str| {
                let (epoch, ahead) = (u64::from(upto.epoch), ahead_ms());
                let rest = [epoch, upto.n, ahead, *retention_ms, *retention_bytes].map(number);
                [vec![run.as_bytes().to_vec()], rest.to_vec()].concat()
            };
            done(&server.call("trim", arguments).await.map_err(away)?.0)
        })
    }

    fn trimmable(&self, partition: Partition) -> BoxFuture<'_, Result<Pos, LogError>> {
        Box::pin(async move {
            let server = self.server(partition).map_err(away)?;
            let Options { retention_ms, retention_bytes, ahead_ms, .. } = &server.options;
            let arguments =
                |_: &str| [ahead_ms(), *retention_ms, *retention_bytes].map(number).to_vec();
            let (answer, _) = server.call("trimmable", arguments).await.map_err(away)?;
            pos(&answer, 0).map_err(away)
        })
    }

    fn install(
        &self,
        conversation: ConversationId,
        user: UserId,
        producer: Producer,
        state: ProducerState,
    ) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            let server = self.server(self.info().partition_of(conversation)).map_err(away)?;
            let mut key = Vec::new();
            packed::put_key(&mut key, conversation, user, producer);
            let arguments = |run: &str| {
                let segments = packed::segments(&state, server.epoch());
                let epoch = number(u64::from(server.epoch()));
                vec![run.as_bytes().to_vec(), key.clone(), number(state.last), segments, epoch]
            };
            done(&server.call("install", arguments).await.map_err(away)?.0)
        })
    }

    fn rejoin(
        &self,
        partition: Partition,
        _: u64,
        seen: Pos,
        watermark: Pos,
    ) -> BoxFuture<'_, Result<Admitted, LogError>> {
        Box::pin(async move {
            let server = self.server(partition).map_err(away)?;
            // A process is one node, whoever in it asks: its followers keep the lease under this number.
            let node = server.options.node;
            let (seen, watermark) = (server.saw(seen), server.saw_watermark(watermark));
            let wait = || Err(LogError::Unavailable("other nodes have not answered".to_owned()));
            match tell(server, node, seen, watermark, true).await.map_err(away)? {
                Rejoined::Open(admitted) | Rejoined::Turn(admitted) => Ok(admitted),
                Rejoined::Build if server.options.loads => {
                    build(server).await.map_err(away)?;
                    match tell(server, node, seen, watermark, true).await.map_err(away)? {
                        Rejoined::Open(admitted) => Ok(admitted),
                        _ => wait(),
                    }
                }
                Rejoined::Wait | Rejoined::Build => wait(),
            }
        })
    }

    fn restore(
        &self,
        partition: Partition,
        batches: Vec<Arc<Batch>>,
        lease: Lease,
    ) -> BoxFuture<'_, Result<Pos, LogError>> {
        Box::pin(async move {
            let server = self.server(partition).map_err(away)?;
            let entries: Vec<Vec<u8>> = batches.iter().map(|batch| packed::encode(batch)).collect();
            let mut rest = &entries[..];
            loop {
                let mut bytes = 0;
                let fits = rest.iter().take_while(|entry| {
                    bytes += entry.len();
                    bytes <= RESTORE_BYTES
                });
                let count = fits.count().max(1).min(rest.len());
                let (page, others) = rest.split_at(count);
                rest = others;
                let arguments = |run: &str| {
                    let Options { ahead_ms, lease_ms, .. } = &server.options;
                    let last = u64::from(rest.is_empty());
                    let head = [lease.0, ahead_ms(), *lease_ms, last].map(number);
                    [&[run.as_bytes().to_vec()], &head[..], page].concat()
                };
                let (answer, _) = server.call("restore", arguments).await.map_err(away)?;
                done(&answer)?;
                if rest.is_empty() {
                    if part(&answer, 1) == Ok(1) && server.options.loads {
                        build(server).await.map_err(away)?;
                    }
                    return pos(&self.status(partition).await.map_err(away)?, 1).map_err(away);
                }
            }
        })
    }
}
