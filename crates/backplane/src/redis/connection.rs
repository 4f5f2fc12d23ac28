//! Connections to one log server, and what this process knows of its partition.
//!
//! Owns: the connection for everything but appends; the run under which this process was admitted; the highest place that
//! it has seen, and in which run. Never does: reconnect under an appender. Talks to: the server. Start reading at: [`Server::call`].

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use protocol::Pos;
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, FromRedisValue, IntoConnectionInfo, Value,
    aio::MultiplexedConnection,
};
use tokio::time::{Instant, timeout};

use super::{Options, fault::Fault, level, library, memory};
use crate::{Partition, Room};

/// A server on the same network answers at once or is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Memory is looked at so often: at 100 MB/s a tenth of a GiB too late.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A call may wait for two connections and for two answers, each with checks that are answers, too: so many timeouts.
const CALL_TIMEOUTS: u32 = 4;

/// The keys of a partition, in the order of `common.lua`. The part in braces keeps them in one slot of a cluster.
const KEYS: [&str; 9] =
    ["state", "log", "heads", "dedupe:0", "dedupe:1", "nodes", "answers", "given", "order"];

/// A connection to one start of the server. Clones share it, and its order.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    inner: MultiplexedConnection,
    /// Which start.
    pub(super) run: Arc<str>,
    /// Which connection.
    id: u64,
}

/// Under which run this process may append, and in which epoch.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    pub(super) run: Arc<str>,
    pub(super) epoch: u32,
}

#[derive(Debug, Default)]
struct Known {
    admission: Option<Admission>,
    /// The last epoch that was heard of.
    epoch: u32,
    /// The highest place followed or named by a verdict.
    seen: Pos,
    watermark: Pos,
    /// The run in which the log was last found open, and knew of this process.
    run: Option<Arc<str>>,
}

/// One partition's server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) partition: Partition,
    pub(super) options: Options,
    client: Client,
    keys: [String; KEYS.len()],
    commands: tokio::sync::Mutex<Option<Connection>>,
    connections: AtomicU64,
    known: Mutex<Known>,
    gauge: memory::Gauge,
    /// When its memory was looked at last.
    looked: Mutex<Option<Instant>>,
    /// Turns to restore that this process was given.
    turns: AtomicU64,
    /// Until when this node's lease runs, by the server's clock, as it was told.
    pub(super) lease_until: AtomicU64,
}

impl Server {
    pub(super) fn new(partition: Partition, url: &str, options: Options) -> Result<Self, String> {
        // Its name and version are no business of the server's, and ask for a right of their own.
        let nameless = |info: ConnectionInfo| {
            let settings = info.redis_settings().clone().set_skip_set_lib_name();
            Client::open(info.set_redis_settings(settings))
        };
        let client = url.into_connection_info().and_then(nameless);
        let client = client.map_err(|_| "not the URL of a server".to_owned())?;
        let prefix = &options.prefix;
        Ok(Self {
            partition,
            client,
            keys: KEYS.map(|name| format!("{prefix}:{{{partition}}}:{name}")),
            options,
            commands: tokio::sync::Mutex::default(),
            connections: AtomicU64::new(0),
            known: Mutex::default(),
            gauge: memory::Gauge::default(),
            looked: Mutex::default(),
            turns: AtomicU64::new(0),
            lease_until: AtomicU64::new(0),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The log's key, which is its channel, too.
    pub(super) fn channel(&self) -> &str {
        &self.keys[1]
    }

    pub(super) fn admission(&self) -> Option<Admission> {
        self.known().admission.clone()
    }

    pub(super) fn admit(&self, run: &Arc<str>, epoch: u32) {
        let mut known = self.known();
        known.epoch = epoch;
        known.admission = Some(Admission { run: Arc::clone(run), epoch });
    }

    /// The run in which this process was part of the log last; `None`: in none yet.
    pub(super) fn run(&self) -> Option<Arc<str>> {
        self.known().run.clone()
    }

    /// Whether this is the run in which this process was part of the log last, or it was in none yet.
    pub(super) fn is_at_home(&self, run: &Arc<str>) -> bool {
        self.known().run.get_or_insert_with(|| Arc::clone(run)) == run
    }

    /// The log is open in this run, and lists this process.
    pub(super) fn listed(&self, run: &Arc<str>, until: u64) {
        self.known().run = Some(Arc::clone(run));
        self.lease_until.store(until, Ordering::SeqCst);
    }

    /// Nothing may be appended before the next `rejoin`.
    pub(super) fn dismiss(&self) {
        self.known().admission = None;
    }

    pub(super) fn epoch(&self) -> u32 {
        self.known().epoch
    }

    /// How often this process has had a turn to restore. What its followers have read ahead of their callers is not given
    /// back, so from then on it must not be delivered.
    pub(super) fn turns(&self) -> u64 {
        self.turns.load(Ordering::SeqCst)
    }

    pub(super) fn had_turn(&self) {
        self.turns.fetch_add(1, Ordering::SeqCst);
    }

    /// Notes a place that this process knows of now.
    pub(super) fn saw(&self, pos: Pos) -> Pos {
        let mut known = self.known();
        known.seen = known.seen.max(pos);
        known.seen
    }

    /// The same for W.
    pub(super) fn saw_watermark(&self, pos: Pos) -> Pos {
        let mut known = self.known();
        known.watermark = known.watermark.max(pos);
        known.watermark
    }

    /// A new connection, and which start of the server it is to. Errors: never unknown, nothing was asked yet.
    pub(super) async fn connect(&self) -> Result<Connection, Fault> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(self.options.answer_timeout));
        let refused = |error| Fault::unconnected(&error);
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        let mut inner = connecting.await.map_err(refused)?;
        let info: String = redis::cmd("INFO").query_async(&mut inner).await.map_err(refused)?;
        let run = run_of(&info).map_err(Fault::Refused)?;
        let id = self.connections.fetch_add(1, Ordering::Relaxed);
        let mut connection = Connection { inner, run, id };
        if self.options.loads && !self.is_loaded(&mut connection).await {
            self.load(&mut connection).await.map_err(refused)?;
        }
        Ok(connection)
    }

    /// Whether they are there, and of this text. Loading is a write, which every node would make at every connection.
    async fn is_loaded(&self, connection: &mut Connection) -> bool {
        let status = self.ask(connection, "status", &[]).await;
        status.is_ok_and(|status| part(&status, 7) == Ok(library::checksum()))
    }

    async fn load(&self, connection: &mut Connection) -> Result<(), redis::RedisError> {
        let mut command = redis::cmd("FUNCTION");
        command.arg("LOAD").arg("REPLACE").arg(library::source(self.options.mutation));
        command.query_async(&mut connection.inner).await
    }

    /// One call on a connection of the caller's.
    pub(super) async fn ask(
        &self,
        connection: &mut Connection,
        function: &str,
        arguments: &[Vec<u8>],
    ) -> Result<Vec<Value>, Fault> {
        let mut command = redis::cmd("FCALL");
        command.arg(format!("{}_{function}", library::NAME)).arg(KEYS.len()).arg(&self.keys);
        for argument in arguments {
            command.arg(argument.as_slice());
        }
        let answer = command.query_async(&mut connection.inner).await;
        answer.map_err(|error| Fault::of(&error))
    }

    /// Like [`Self::ask`], and loads the functions if they are not there.
    pub(super) async fn ask_loaded(
        &self,
        connection: &mut Connection,
        function: &str,
        arguments: &[Vec<u8>],
    ) -> Result<Vec<Value>, Fault> {
        match self.ask(connection, function, arguments).await {
            Err(Fault::Unloaded) if self.options.loads => {
                self.load(connection).await.map_err(|error| Fault::unconnected(&error))?;
                self.ask(connection, function, arguments).await
            }
            answer => answer,
        }
    }

    /// One call on the shared connection, which is made anew after it broke. `arguments` is given the run. Whatever is
    /// asked here may be asked twice, so a connection that broke meanwhile is no failure yet. Others may wait for the same
    /// connection, and all of it together is bounded, too.
    pub(super) async fn call(
        &self,
        function: &str,
        arguments: impl Fn(&str) -> Vec<Vec<u8>>,
    ) -> Result<(Vec<Value>, Arc<str>), Fault> {
        let calling = async {
            match self.try_call(function, &arguments).await {
                Err(Fault::Broken(_)) => self.try_call(function, &arguments).await,
                answer => answer,
            }
        };
        let late = || Err(Fault::Unknown(format!("{function} took too long")));
        timeout(CALL_TIMEOUTS * self.options.answer_timeout, calling)
            .await
            .unwrap_or_else(|_| late())
    }

    async fn try_call(
        &self,
        function: &str,
        arguments: &impl Fn(&str) -> Vec<Vec<u8>>,
    ) -> Result<(Vec<Value>, Arc<str>), Fault> {
        let mut connection = self.shared().await?;
        let arguments = arguments(&connection.run);
        let answer = self.ask_loaded(&mut connection, function, &arguments).await;
        if answer.as_ref().is_err_and(Fault::ends_connection) {
            self.give_up(&connection).await;
        }
        Ok((answer?, connection.run))
    }

    /// The next call makes another connection, if nobody has yet.
    async fn give_up(&self, connection: &Connection) {
        let mut shared = self.commands.lock().await;
        if shared.as_ref().is_some_and(|there| there.id == connection.id) {
            *shared = None;
        }
    }

    /// Everything that this start of the server did before it heard of this is synced when it answers. Another start knows
    /// nothing of what the one before may have lost.
    pub(super) async fn ping(&self, run: &str) -> Result<(), Fault> {
        let mut connection = self.shared().await?;
        if &*connection.run != run {
            return Err(Fault::Refused("another start of the server".to_owned()));
        }
        let answer = redis::cmd("PING").query_async(&mut connection.inner).await;
        let answer = answer.map_err(|error| Fault::of(&error));
        if answer.as_ref().is_err_and(Fault::ends_connection) {
            self.give_up(&connection).await;
        }
        answer
    }

    pub(super) async fn shared(&self) -> Result<Connection, Fault> {
        let mut shared = self.commands.lock().await;
        if let Some(connection) = &*shared {
            return Ok(connection.clone());
        }
        let connection = self.connect().await?;
        *shared = Some(connection.clone());
        Ok(connection)
    }

    pub(super) fn memory_ratio(&self) -> f64 {
        self.gauge.ratio()
    }

    pub(super) fn room(&self) -> Room {
        self.gauge.room()
    }

    /// Looks how full the server's memory is, once in [`LOOK_EVERY`] whoever asks.
    pub(super) async fn look(&self) -> Result<(), Fault> {
        let now = Instant::now();
        {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            if looked.is_some_and(|at| now < at + LOOK_EVERY) {
                return Ok(());
            }
            *looked = Some(now);
        }
        let mut connection = self.shared().await?;
        let mut command = redis::cmd("INFO");
        command.arg("memory");
        let info: String =
            command.query_async(&mut connection.inner).await.map_err(|error| Fault::of(&error))?;
        let Some((used, limit)) = memory::of_info(&info) else {
            return Err(Fault::Refused("INFO tells nothing of memory".to_owned()));
        };
        let (before, room) = (self.gauge.room(), self.gauge.observe(used, limit));
        if before != room {
            tracing::warn!(partition = self.partition, ?room, used, limit, "memory of the log");
        }
        Ok(())
    }

    /// The level in force, and what keeps it from being the next.
    pub(super) async fn level(&self) -> Result<(level::Level, &'static str), Fault> {
        let mut connection = self.shared().await?;
        let mut command = redis::cmd("CONFIG");
        command.arg("GET").arg(&level::SETTINGS);
        let settings: HashMap<String, String> =
            command.query_async(&mut connection.inner).await.map_err(|error| Fault::of(&error))?;
        Ok(level::level_of(&settings))
    }
}

/// The server's start, from INFO. Errors: a replica, or too old.
pub(super) fn run_of(info: &str) -> Result<Arc<str>, String> {
    let field = |name: &str| {
        let mut lines = info.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    if field("role").is_some_and(|role| role != "master") {
        return Err("a replica".to_owned());
    }
    field("run_id").map(Arc::from).ok_or_else(|| "INFO names no run_id".to_owned())
}

/// Numbers as arguments.
pub(super) fn number(value: u64) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// One part of an answer. Errors: the functions gave something else than they should.
pub(super) fn part<T: FromRedisValue>(answer: &[Value], at: usize) -> Result<T, Fault> {
    let odd = || Fault::Unknown(format!("part {at} of an answer is not as it should be"));
    let value = answer.get(at).cloned().ok_or_else(odd)?;
    redis::from_redis_value(value).map_err(|_| odd())
}

/// A place in an answer: epoch, then n.
pub(super) fn pos(answer: &[Value], at: usize) -> Result<Pos, Fault> {
    Ok(Pos::new(part(answer, at)?, part(answer, at + 1)?))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::memory_archive::MemoryArchive;

    /// Answers each command by the word that it knows it by, as long as the connection lasts.
    async fn answer(mut stream: TcpStream, script: Arc<[(&'static str, String)]>) {
        let mut heard = vec![0; 16 * 1024];
        while let Ok(bytes @ 1..) = stream.read(&mut heard).await {
            let text = String::from_utf8_lossy(&heard[..bytes]).into_owned();
            // Handshakes of the client: one answer per command that is not known.
            let mut answers = String::new();
            for command in text.split('*').filter(|part| part.contains('$')) {
                let known = script.iter().find(|(word, _)| command.contains(word));
                answers += known.map_or("+OK\r\n", |(_, answer)| answer);
            }
            if answers.ends_with("CUT") {
                let _ = stream.write_all(answers.trim_end_matches("CUT").as_bytes()).await;
                return;
            }
            if stream.write_all(answers.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn info(run: &str) -> (&'static str, String) {
        let text = format!("role:master\r\nrun_id:{run}\r\n");
        ("INFO", format!("${}\r\n{text}\r\n", text.len()))
    }

    /// A server that takes connections with this script; how many it took.
    async fn scripted(script: Vec<(&'static str, String)>) -> (Server, Arc<AtomicU64>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let (taken, script) = (Arc::new(AtomicU64::new(0)), Arc::from(script));
        let count = Arc::clone(&taken);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(answer(stream, Arc::clone(&script)));
            }
        });
        let mut options = Options::new(vec![url.clone()], 1, Arc::new(MemoryArchive::default()));
        options.loads = false;
        options.answer_timeout = Duration::from_millis(300);
        (Server::new(0, &url, options).unwrap(), taken)
    }

    #[tokio::test]
    async fn a_ping_to_another_start_of_the_server_proves_nothing() {
        let (server, _) = scripted(vec![info("b"), ("PING", "+PONG\r\n".to_owned())]).await;
        assert_eq!(server.ping("b").await, Ok(()));
        assert!(server.ping("a").await.is_err(), "pushes of a are not durable because b answers");
    }

    async fn outcome(reply: &str) -> (Fault, u64) {
        let (server, taken) = scripted(vec![info("a"), ("FCALL", reply.to_owned())]).await;
        let mut fault = None;
        for _ in 0..2 {
            fault = server.call("status", |_| Vec::new()).await.err();
        }
        (fault.expect("no answer"), taken.load(Ordering::SeqCst))
    }

    /// The code, whether nothing was carried out, and whether the connection is kept.
    #[tokio::test]
    async fn what_an_error_says_about_the_call_and_about_the_connection() {
        let refused = [
            "OOM command not allowed when used memory > 'maxmemory'.",
            "MISCONF Errors writing to the AOF file: No space left on device",
            "LOADING Redis is loading the dataset in memory",
            "BUSY Redis is busy running a script.",
            "NOREPLICAS Not enough good replicas to write.",
            "NOPERM this user has no permissions to run the 'fcall' command",
        ];
        for text in refused {
            let (fault, taken) = outcome(&format!("-{text}\r\n")).await;
            assert!(matches!(fault, Fault::Refused(_)), "{text}: {fault:?}");
            assert_eq!(taken, 1, "{text}");
        }
        for text in
            ["READONLY You can't write against a read only replica.", "NOAUTH Authentication"]
        {
            let (fault, taken) = outcome(&format!("-{text}\r\n")).await;
            assert!(matches!(fault, Fault::Replaced(_)), "{text}: {fault:?}");
            assert_eq!(taken, 2, "{text}: another connection each time");
        }
        let (fault, _) = outcome("-ERR Function not found\r\n").await;
        assert_eq!(fault, Fault::Unloaded);
        for text in ["-TORN half of it\r\n", "*1\r\n$9\r\nhal CUT", "CUT"] {
            let (fault, taken) = outcome(text).await;
            assert!(matches!(fault, Fault::Broken(_) | Fault::Unknown(_)), "{text}: {fault:?}");
            assert!(taken >= 2, "{text}: {taken}");
        }
    }
}
