//! Processes that a test owns: each ends with its guard, by its own id.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hyper::Method;
use loadtest::http::{Account, Refused};

use crate::{LIMIT, until};

/// A folder that goes with the test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Relaxed);
        let path = std::env::temp_dir().join(format!("webchat-cluster-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A program of ours, beside this test's own.
pub(crate) fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let folders = own.ancestors().skip(1).take(2);
    let beside = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    beside.unwrap_or_else(|| {
        panic!("{name} is not built: cargo build --features broker/cluster,api/cluster --bins")
    })
}

/// The Redis under test: named by the environment, or on the path.
fn redis_program() -> PathBuf {
    if let Some(named) = std::env::var_os("WEBCHAT_REDIS_SERVER") {
        return named.into();
    }
    let folders: Vec<PathBuf> =
        std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
    let there = |name: &str| folders.iter().map(|folder| folder.join(name)).find(|p| p.is_file());
    there("redis-server").or_else(|| there("valkey-server")).expect("no redis-server on the path")
}

type Lines = Arc<Mutex<Vec<String>>>;

/// A running process with what it has said.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    out: Lines,
    err: Lines,
}

impl Process {
    pub(crate) fn start(name: &'static str, command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let out = keep(child.stdout.take().unwrap());
        let err = keep(child.stderr.take().unwrap());
        Self { name, child, out, err }
    }

    /// Where it listens, by the name that it gives the address.
    pub(crate) async fn address(&mut self, what: &str) -> SocketAddr {
        let start = format!("{what}: http://");
        let begun = Instant::now();
        loop {
            let told = self.out.lock().unwrap().iter().find_map(|line| {
                line.strip_prefix(&start).map(|rest| rest.parse::<SocketAddr>().unwrap())
            });
            if let Some(address) = told {
                return address;
            }
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() || begun.elapsed() > LIMIT {
                panic!("{} says no {what} ({ended:?}): {}", self.name, self.said());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Everything on stderr so far.
    pub(crate) fn said(&self) -> String {
        self.err.lock().unwrap().join("\n")
    }

    pub(crate) fn term(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    /// How it ends by itself, at most so long from now.
    pub(crate) async fn ends_within(&mut self, limit: Duration) -> ExitStatus {
        let begun = Instant::now();
        loop {
            // A thread that reads holds its lines until the pipe is at its end: all that was said is there.
            let read = [&self.out, &self.err].map(|lines| Arc::strong_count(lines) == 1);
            if let (Some(status), [true, true]) = (self.child.try_wait().unwrap(), read) {
                return status;
            }
            assert!(begun.elapsed() < limit, "{} does not end: {}", self.name, self.said());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {} said:\n{}", self.name, self.said());
        }
    }
}

/// Reads a pipe to its end, in a thread that ends with the process.
fn keep(pipe: impl Read + Send + 'static) -> Lines {
    let lines = Lines::default();
    let kept = Arc::clone(&lines);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            kept.lock().unwrap().push(line);
        }
    });
    lines
}

/// A Redis server on a port; `settings` beside the usual ones.
pub(crate) fn redis(folder: &Folder, name: &'static str, port: u16, settings: &str) -> Process {
    let data = folder.path(name);
    std::fs::create_dir_all(&data).unwrap();
    let mut command = Command::new(redis_program());
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir", &data]);
    command.args(["--save", "", "--loglevel", "warning"]).args(settings.split_whitespace());
    Process::start(name, &mut command)
}

/// What a log server must be set to.
pub(crate) const LOG: &str = "--appendonly yes --appendfsync always --no-appendfsync-on-rewrite no \
                              --maxmemory-policy noeviction";
pub(crate) const LIVE: &str = "--appendonly no";

/// Ports and files of one cluster. Nothing runs yet.
pub(crate) struct Plan {
    pub(crate) folder: Folder,
    pub(crate) log: u16,
    pub(crate) live: u16,
    pub(crate) internal: u16,
}

impl Plan {
    pub(crate) fn new() -> Self {
        let folder = Folder::new();
        std::fs::write(folder.path("secret"), "a secret of forty bytes for this test only\n")
            .unwrap();
        Self { folder, log: free_port(), live: free_port(), internal: free_port() }
    }

    /// What every process is told.
    pub(crate) fn shared(&self) -> Vec<String> {
        let url = |port: u16| format!("redis://127.0.0.1:{port}");
        let pairs = [
            ("--port", "0".to_owned()),
            ("--admin-port", "0".to_owned()),
            ("--log", url(self.log)),
            ("--live", url(self.live)),
            ("--cluster-secret-file", self.folder.path("secret")),
            ("--trusted-source", "127.0.0.0/8".to_owned()),
        ];
        pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }

    pub(crate) fn api_command(&self) -> Command {
        let mut command = Command::new(program("webchat-api"));
        command.args(self.shared()).args(["--data", &self.folder.path("data")]);
        command.args(["--internal-port", &self.internal.to_string()]);
        command
    }

    pub(crate) fn broker_command(&self) -> Command {
        let mut command = Command::new(program("webchat-broker"));
        let archive = format!("http://127.0.0.1:{}", self.internal);
        command.args(self.shared()).args(["--archive", &archive, "--shards", "2"]);
        command
    }

    pub(crate) fn log_server(&self) -> Process {
        redis(&self.folder, "log", self.log, LOG)
    }

    pub(crate) fn live_server(&self) -> Process {
        redis(&self.folder, "live", self.live, LIVE)
    }

    pub(crate) fn api(&self) -> Process {
        Process::start("webchat-api", &mut self.api_command())
    }

    pub(crate) fn broker(&self) -> Process {
        Process::start("webchat-broker", &mut self.broker_command())
    }
}

/// The lines of `/readyz?verbose` by name; what is missing has `-` or `~`.
pub(crate) async fn readiness(admin: SocketAddr) -> HashMap<String, char> {
    let mut account = Account::new(admin, None);
    let text = match account.call(Method::GET, "/readyz", None).await {
        Ok(_) => return HashMap::from([("ready".to_owned(), '+')]),
        Err(error) if error.downcast_ref::<Refused>().is_none() => return HashMap::new(),
        Err(_) => http(admin, "/readyz?verbose").await,
    };
    let line = |line: &str| {
        let (mark, name) = line.strip_prefix('[')?.split_once("] ")?;
        Some((name.to_owned(), mark.chars().next()?))
    };
    text.lines().filter_map(line).collect()
}

/// The body of a GET, whatever its status.
pub(crate) async fn http(address: SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

pub(crate) async fn ready(admin: SocketAddr) {
    until("readiness", || async { readiness(admin).await.contains_key("ready") }).await;
}

/// Runs a program to its end.
pub(crate) fn run(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

pub(crate) fn exists(path: &str) -> bool {
    Path::new(path).exists()
}
