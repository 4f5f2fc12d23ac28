//! What the Redis function costs: time within it per message by batch and run, with a sync before every answer and without.
//!
//! Owns: the servers that it starts, the table on stdout. Never does: judge, or use a server of somebody else's. Talks to:
//! `backplane::redis`. Start reading at: [`main`].

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use backplane::{
    Appender, Envelope, Log, Verdict,
    memory_archive::MemoryArchive,
    redis::{Level, Options, RedisLog},
};
use benches::input::{created, envelope};
use clap::Parser;
use protocol::{ConversationId, Pos, UserId, limits};
use tokio::task::JoinSet;

/// Batch, run of one producer in it, appenders at once. The last is what one command per message costs when as many are
/// under way as in the first.
const SHAPES: [(usize, usize, usize); 10] = [
    (16, 1, 1),
    (16, 4, 1),
    (16, 16, 1),
    (64, 1, 1),
    (64, 4, 1),
    (64, 16, 1),
    (256, 1, 1),
    (256, 4, 1),
    (256, 16, 1),
    (1, 1, 16),
];
const BODY_BYTES: usize = 107;

/// Measures the Redis function on servers of its own. A table with tabs on stdout.
#[derive(Parser)]
struct Args {
    /// Messages of one measurement.
    #[arg(long, default_value_t = 50_000)]
    messages: usize,
    /// Conversations that they go to in turn, each with one producer whose window is full.
    #[arg(long, default_value_t = 4_000)]
    conversations: u64,
    /// Rounds; each measures every shape under both settings.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The server's program.
    #[arg(long, env = "WEBCHAT_REDIS_SERVER", default_value = "redis-server")]
    server: PathBuf,
}

/// A server on a free port, in a folder that goes with it. `TMPDIR` chooses the disk.
struct Server {
    child: Child,
    folder: PathBuf,
    port: u16,
}

impl Server {
    fn start(program: &PathBuf, sync: &str) -> anyhow::Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let folder = std::env::temp_dir().join(format!("webchat-bench-redis-{port}"));
        std::fs::create_dir_all(&folder)?;
        let child = Command::new(program)
            .args(["--port", &port.to_string(), "--dir"])
            .arg(&folder)
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"])
            .args(["--appendfsync", sync, "--auto-aof-rewrite-percentage", "0"])
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let server = Self { child, folder, port };
        let begun = Instant::now();
        while server.info("server").is_err() {
            if begun.elapsed() > Duration::from_secs(10) {
                bail!("the server does not answer");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    fn info(&self, section: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(format!("INFO {section}\r\nQUIT\r\n").as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    /// Calls of functions and the microseconds in them; CPU seconds of the process; bytes of the append-only file.
    fn reading(&self) -> anyhow::Result<Reading> {
        let calls = self.info("commandstats")?;
        let line = calls.lines().find_map(|line| line.strip_prefix("cmdstat_fcall:"));
        let of = |text: &str, name: &str| -> Option<f64> {
            text.split([',', '\n']).find_map(|part| part.trim().strip_prefix(name)?.parse().ok())
        };
        let cpu = self.info("cpu")?;
        let used = |name| of(&cpu, name).unwrap_or(0.0);
        let persistence = self.info("persistence")?;
        Ok(Reading {
            function_us: line.and_then(|line| of(line, "usec=")).context("no FCALL")?,
            cpu_us: 1e6 * (used("used_cpu_sys:") + used("used_cpu_user:")),
            file_bytes: of(&persistence, "aof_current_size:").unwrap_or(0.0),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

struct Reading {
    function_us: f64,
    cpu_us: f64,
    file_bytes: f64,
}

async fn open(server: &Server) -> anyhow::Result<RedisLog> {
    let url = format!("redis://127.0.0.1:{}", server.port);
    let mut options = Options::new(vec![url], 1, Arc::new(MemoryArchive::default()));
    (options.level_min, options.lease_ms) = (Level::L1, 50);
    let log = RedisLog::open(options).await?;
    while log.rejoin(0, 1, Pos::default(), Pos::default()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(log)
}

/// Publishes of the users `first + 1 ..= first + count`, who write in turn.
struct Writer {
    first: u64,
    next: Vec<u64>,
    turn: usize,
}

fn conversation(user: u64) -> ConversationId {
    ConversationId::direct(UserId(user), UserId(1 << 40))
}

impl Writer {
    fn batch(&mut self, size: usize, run: usize) -> Vec<Envelope> {
        let mut batch = Vec::with_capacity(size);
        while batch.len() < size {
            let at = self.turn % self.next.len();
            self.turn += 1;
            let user = self.first + at as u64 + 1;
            for _ in 0..run {
                let no = self.next[at];
                batch.push(envelope(conversation(user), UserId(user), no, BODY_BYTES));
                self.next[at] += 1;
            }
        }
        batch
    }
}

async fn store(appender: &mut dyn Appender, batch: &[Envelope]) -> anyhow::Result<()> {
    let verdicts = appender.append(batch).await?;
    let stored = verdicts.iter().all(|verdict| matches!(verdict, Verdict::Stored { .. }));
    if stored { Ok(()) } else { bail!("not stored: {verdicts:?}") }
}

async fn born(log: &RedisLog, first: u64, count: u64) -> anyhow::Result<Writer> {
    let births: Vec<_> =
        (first + 1..=first + count).map(|user| created(conversation(user), UserId(user))).collect();
    let mut appender = log.appender(0);
    for batch in births.chunks(256) {
        store(&mut *appender, batch).await?;
    }
    let mut writer = Writer { first, next: vec![2; count as usize], turn: 0 };
    // Every window full, as of users who have written for a while: in singles at the end, which is how they are found.
    for (run, size) in [(limits::DEDUPE_WINDOW, 256), (1, 256)] {
        for _ in 0..(count as usize * run).div_ceil(size) {
            store(&mut *appender, &writer.batch(size, run)).await?;
        }
    }
    Ok(writer)
}

async fn measure(
    args: &Args,
    sync: &str,
    (size, run, appenders): (usize, usize, usize),
) -> anyhow::Result<()> {
    let server = Server::start(&args.server, sync)?;
    let log = open(&server).await?;
    let mut writers = Vec::new();
    for i in 0..appenders as u64 {
        let each = args.conversations / appenders as u64;
        writers.push(born(&log, i * each, each).await?);
    }
    let (before, begun) = (server.reading()?, Instant::now());
    let (mut tasks, rounds) = (JoinSet::new(), args.messages / size / appenders);
    for mut writer in writers {
        let mut appender = log.appender(0);
        tasks.spawn(async move {
            for _ in 0..rounds {
                store(&mut *appender, &writer.batch(size, run)).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let (seconds, after) = (begun.elapsed().as_secs_f64(), server.reading()?);
    let n = (rounds * size * appenders) as f64;
    println!(
        "{sync}\t{size}\t{run}\t{appenders}\t{:.2}\t{:.2}\t{:.2}\t{:.0}",
        (after.function_us - before.function_us) / n,
        (after.cpu_us - before.cpu_us) / n,
        1e6 * seconds / n,
        (after.file_bytes - before.file_bytes) / n,
    );
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    println!("sync\tbatch\trun\tappenders\tfunction_us\tcpu_us\twall_us\tfile_bytes");
    for _ in 0..args.rounds {
        for shape in SHAPES {
            for sync in ["always", "everysec"] {
                measure(&args, sync, shape).await?;
            }
        }
    }
    Ok(())
}
