//! A `webchat` process of our own: started, killed with SIGKILL, started again on the same ports and data.
//!
//! Owns: the child and, if it made one, its data folder. Never does: end any other process, or leave its own behind.
//! Talks to: the binary. Start reading at: [`Server::start`].

use std::{
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use hyper::Method;

use crate::http::Account;

/// From the start of the process to its first good answer; a restart reads the log, a debug build is slow.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks.
const POLL: Duration = Duration::from_millis(20);
/// Lines of the server's output kept for a failure's report.
const OUTPUT_LINES_MAX: usize = 50;

/// How to start a server.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The binary; `None`: [`binary`].
    pub binary: Option<PathBuf>,
    /// Its data; `None`: a temporary folder that goes with the server.
    pub data: Option<PathBuf>,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// Cores, as `taskset -c` takes them.
    pub cores: Option<String>,
}

/// The binary under test: `WEBCHAT_BIN`, or the one next to this program's profile.
pub fn binary() -> PathBuf {
    binary_of("webchat", "WEBCHAT_BIN")
}

/// One of our programs: named by the environment, or next to this program's profile.
pub(crate) fn binary_of(name: &str, variable: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let own = std::env::current_exe().unwrap_or_default();
    // target/<profile>/loadtest, or target/<profile>/deps/<test>.
    let folders = own.ancestors().skip(1).take(2);
    let beside = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    beside.unwrap_or_else(|| name.into())
}

/// A running server. Dropped = killed.
#[derive(Debug)]
pub struct Server {
    options: Options,
    data: PathBuf,
    temporary: bool,
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its admin port.
    pub admin: SocketAddr,
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

pub(crate) fn temporary_folder() -> anyhow::Result<PathBuf> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    // Only uniqueness matters.
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("webchat-{}-{n}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

impl Server {
    /// Starts one and waits until it answers.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let (data, temporary) = match &options.data {
            Some(folder) => (folder.clone(), false),
            None => (temporary_folder()?, true),
        };
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (address, admin) = (local(free_port()?), local(free_port()?));
        let child = spawn(&options, &data, address, admin)?;
        let mut server = Self { options, data, temporary, child, address, admin };
        server.wait_ready().await?;
        Ok(server)
    }

    /// Where its data is.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, and waits until the process is gone.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().context("kill")?;
        self.child.wait().context("wait")?;
        Ok(())
    }

    /// Starts it again on the same ports and data, without waiting for it to be ready.
    pub fn spawn_again(&mut self) -> anyhow::Result<()> {
        self.child = spawn(&self.options, &self.data, self.address, self.admin)?;
        Ok(())
    }

    /// Kills, starts again and waits until it answers.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        self.spawn_again()?;
        self.wait_ready().await
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until `GET /readyz` on the admin port is 200.
    pub async fn wait_ready(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("webchat ended with {status} instead of getting ready");
            }
            let mut probe = Account::new(self.admin, None);
            let error = match probe.call(Method::GET, "/readyz", None).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            if begun.elapsed() > READY_TIMEOUT {
                return Err(error.context("webchat did not get ready in time"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The text of `/metrics`.
    pub async fn metrics(&self) -> anyhow::Result<String> {
        let mut admin = Account::new(self.admin, None);
        let text = admin.call(Method::GET, "/metrics", None).await?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Runs another command of the same binary on the same data, to its end; the server must not run.
    pub fn run_command(
        options: &Options,
        data: &Path,
        arguments: &[String],
    ) -> anyhow::Result<String> {
        let program = options.binary.clone().unwrap_or_else(binary);
        let mut command = Command::new(&program);
        command.args(arguments).arg("--data").arg(data);
        let output = command.output().with_context(|| format!("{}", program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            bail!("{arguments:?} failed: {error}");
        }
        Ok(text)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be dead already; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if self.temporary {
            let _ = std::fs::remove_dir_all(&self.data);
        }
    }
}

fn spawn(
    options: &Options,
    data: &Path,
    address: SocketAddr,
    admin: SocketAddr,
) -> anyhow::Result<Child> {
    let program = options.binary.clone().unwrap_or_else(binary);
    let mut command = match &options.cores {
        Some(cores) => {
            let mut command = Command::new("taskset");
            command.args(["-c", cores]).arg(&program);
            command
        }
        None => Command::new(&program),
    };
    command
        .args(["--port", &address.port().to_string()])
        .args(["--admin-port", &admin.port().to_string()])
        .arg("--data")
        .arg(data)
        .args(&options.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("start {}", program.display()))?;
    let quiet = std::env::var_os("WEBCHAT_SERVER_OUTPUT").is_none();
    let outputs = [
        child.stdout.take().map(|out| Box::new(out) as Box<dyn std::io::Read + Send>),
        child.stderr.take().map(|out| Box::new(out) as Box<dyn std::io::Read + Send>),
    ];
    for output in outputs.into_iter().flatten() {
        // The thread ends with the pipe, that is with the process.
        std::thread::spawn(move || drain(output, quiet));
    }
    Ok(child)
}

/// Reads a pipe to its end so that the server never blocks on it; shows it if asked to.
fn drain(output: Box<dyn std::io::Read + Send>, quiet: bool) {
    for (n, line) in BufReader::new(output).lines().map_while(Result::ok).enumerate() {
        if !quiet || (line.contains("panicked") && n < OUTPUT_LINES_MAX) {
            eprintln!("server: {line}");
        }
    }
}
