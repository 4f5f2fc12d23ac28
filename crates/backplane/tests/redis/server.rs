//! A real log server as a child process, on a free port of the loopback and a folder of its own.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::{Duration, Instant},
};

static COUNT: AtomicU64 = AtomicU64::new(0);

/// The program: named by the environment, or on the path.
fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("WEBCHAT_REDIS_SERVER") {
        return named.into();
    }
    let folders: Vec<PathBuf> =
        std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
    let there = |name: &str| folders.iter().map(|folder| folder.join(name)).find(|p| p.is_file());
    there("redis-server").or_else(|| there("valkey-server")).expect(
        "no log server: put redis-server or valkey-server on the path, or name one in WEBCHAT_REDIS_SERVER",
    )
}

pub(crate) struct Server {
    child: Option<Child>,
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
    settings: Vec<String>,
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Server {
    /// Started, and ready to answer.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with further settings.
    pub(crate) fn start_with(settings: &[&str]) -> Self {
        let name = format!("webchat-redis-{}-{}", std::process::id(), COUNT.fetch_add(1, SeqCst));
        let folder = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let settings = settings.iter().map(|s| (*s).to_owned()).collect();
        let mut server = Self { child: None, folder, port: 0, settings };
        server.begin();
        server
    }

    fn begin(&mut self) {
        // Somebody may take the port between the look and the start: then another one.
        for _ in 0..20 {
            if self.port == 0 {
                self.port = free_port();
            }
            let mut child = self.command().spawn().unwrap_or_else(|error| {
                panic!("{} (WEBCHAT_REDIS_SERVER, or from the path): {error}", program().display())
            });
            if answers(self.port, &mut child) {
                self.child = Some(child);
                return;
            }
            let _ = child.kill();
            let _ = child.wait();
            self.port = 0;
        }
        panic!("the log server does not answer");
    }

    fn command(&self) -> Command {
        let mut command = Command::new(program());
        command.arg("--port").arg(self.port.to_string()).arg("--dir").arg(&self.folder);
        let fixed = "--bind 127.0.0.1 --save  --appendonly yes --appendfsync always \
                     --no-appendfsync-on-rewrite no --maxmemory-policy noeviction --loglevel warning";
        for argument in fixed.split(' ').filter(|a| !a.is_empty()) {
            command.arg(argument);
            if argument == "--save" {
                command.arg("");
            }
        }
        command.args(&self.settings);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Ends without warning, as `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts again on the same folder, if possible on the same port.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.begin();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Asks until there is an answer other than `LOADING`.
fn answers(port: u16, child: &mut Child) -> bool {
    use std::io::{Read, Write};
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) {
            stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            let mut answer = [0; 7];
            let asked = stream.write_all(b"PING\r\n").and_then(|()| stream.read_exact(&mut answer));
            if asked.is_ok() && answer.starts_with(b"+PONG") {
                return true;
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// A copy of a folder, as a replica or a backup has it.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
