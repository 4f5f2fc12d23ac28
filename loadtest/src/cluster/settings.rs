//! What each process is told: arguments and files, made from the same files that an operator deploys.
//!
//! Owns: the places of `deploy/` that belong to one installation. Never does: write or start anything.
//! Talks to: nobody. Start reading at: [`fill`].

use std::{path::Path, time::Duration};

use anyhow::{Context, ensure};

use super::topology::{Kind, Row};

const NGINX: &str = include_str!("../../../deploy/nginx/webchat.conf");
const LOG: &str = include_str!("../../../deploy/redis/log.conf");
const LIVE: &str = include_str!("../../../deploy/redis/live.conf");

/// Memory of the log server here: several clusters fit on one machine.
const LOG_MEMORY: &str = "maxmemory 1gb";
const LIVE_MEMORY: &str = "maxmemory 256mb";
/// Of clusters on loopback, as an ACL rule sets it.
const PASSWORD: &str = ">loopback-only";
/// Connections of one nginx worker, two for each WebSocket: within the 20,000 descriptors of a usual hard limit.
const WORKER_CONNECTIONS: u32 = 9_000;

/// Replaces what stands between `# <place>` and `# </place>`. Errors: the file has no such place.
pub fn fill(text: &str, place: &str, with: &str) -> anyhow::Result<String> {
    let (begin, end) = (format!("# <{place}>\n"), format!("# </{place}>\n"));
    let (before, rest) = text.split_once(&begin).with_context(|| format!("no {begin}"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("no {end}"))?;
    ensure!(!after.contains(&begin), "{place} is there twice");
    Ok(format!("{before}{with}\n{after}"))
}

fn redis(text: &str, port: u16, folder: &Path, memory: &str) -> anyhow::Result<String> {
    let place = format!("bind 127.0.0.1\nport {port}\ndir {}", folder.display());
    users(&fill(&fill(text, "place", &place)?, "memory", memory)?)
}

/// The deployed users with a password of ours, and the default one, by which the starter and the faults look in.
fn users(text: &str) -> anyhow::Result<String> {
    let lines = text.lines().filter(|line| line.starts_with("user webchat-"));
    let own = |line: &str| {
        let words = line.split(' ').map(|word| if word.starts_with('#') { PASSWORD } else { word });
        words.collect::<Vec<_>>().join(" ")
    };
    let lines: Vec<String> = lines.map(own).collect();
    ensure!(lines.len() == 2, "a broker's user and an api's");
    fill(text, "users", &lines.join("\n"))
}

/// The log server's file.
pub fn log(port: u16, folder: &Path) -> anyhow::Result<String> {
    redis(LOG, port, folder, LOG_MEMORY)
}

/// The live server's file.
pub fn live(port: u16, folder: &Path) -> anyhow::Result<String> {
    redis(LIVE, port, folder, LIVE_MEMORY)
}

/// An nginx of our own: no root, no daemon, everything below one folder.
#[derive(Debug, Clone)]
pub struct Nginx<'a> {
    /// Where it may write.
    pub folder: &'a Path,
    /// Where it listens, on loopback.
    pub port: u16,
    /// Ports of the brokers.
    pub brokers: Vec<u16>,
    /// Ports of the apis.
    pub apis: Vec<u16>,
    /// How long a reload leaves open sockets alone.
    pub shutdown: Duration,
}

impl Nginx<'_> {
    /// Its file.
    pub fn text(&self) -> anyhow::Result<String> {
        let folder = self.folder.display();
        let servers = |ports: &[u16]| {
            let line = |port| format!("server 127.0.0.1:{port} max_fails=1 fail_timeout=1s;");
            // An upstream without a server is an error; nobody listens on this one.
            if ports.is_empty() {
                return line(&9);
            }
            ports.iter().map(line).collect::<Vec<_>>().join("\n")
        };
        let process = format!("daemon off;\npid {folder}/nginx.pid;\nerror_log stderr warn;");
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("\n{kind}_temp_path {folder}/{kind};"))
            .concat();
        let logs = format!("access_log {folder}/access.log webchat;{temporary}");
        // The group of listeners may be behind one that is full: the kernel's own bound is above this one.
        let listen = format!("listen 127.0.0.1:{} backlog=4096;", self.port);
        let shutdown = format!("worker_shutdown_timeout {}ms;", self.shutdown.as_millis());
        let places = [
            ("process", process),
            ("shutdown", shutdown),
            ("connections", format!("worker_connections {WORKER_CONNECTIONS};")),
            ("logs", logs),
            ("brokers", servers(&self.brokers)),
            ("apis", servers(&self.apis)),
            ("listen", listen),
            ("redirect", String::new()),
        ];
        let fill_in = |text: String, (place, with): (&str, String)| fill(&text, place, &with);
        places.into_iter().try_fold(NGINX.to_owned(), fill_in)
    }
}

/// What a program of ours needs to know of the others.
#[derive(Debug, Clone)]
pub struct Surroundings<'a> {
    /// Addresses of the log servers as this process sees them (a proxy may be between).
    pub logs: Vec<u16>,
    /// The same of the live server.
    pub live: u16,
    /// The same of each api's internal port.
    pub archives: Vec<u16>,
    /// Ports that a browser may use: nginx's, or the api's own.
    pub public: Vec<u16>,
    /// Secret of internal calls.
    pub secret: &'a Path,
    /// The process's own folder.
    pub folder: &'a Path,
}

/// The arguments of a broker or an api. Errors: the row is of another kind.
pub fn arguments(row: &Row, around: &Surroundings<'_>) -> anyhow::Result<Vec<String>> {
    let mut all = Vec::new();
    let mut set = |name: &str, value: String| all.extend([format!("--{name}"), value]);
    set("port", row.port.to_string());
    set("admin-port", row.admin.context("no admin port")?.to_string());
    let user = if row.kind == Kind::Api { "webchat-api" } else { "webchat-broker" };
    let password = PASSWORD.trim_start_matches('>');
    let server = |port: u16| format!("redis://{user}:{password}@127.0.0.1:{port}");
    for port in &around.logs {
        set("log", server(*port));
    }
    set("live", server(around.live));
    set("cluster-secret-file", around.secret.display().to_string());
    // nginx is the only one whose word on a client's address counts. Devices come from other addresses of loopback.
    set("trusted-proxy", "127.0.0.1".to_owned());
    for port in &around.public {
        set("origin", format!("http://127.0.0.1:{port}"));
        set("origin", format!("http://localhost:{port}"));
    }
    match row.kind {
        Kind::Broker => {
            for port in &around.archives {
                set("archive", format!("http://127.0.0.1:{port}"));
            }
        }
        Kind::Api => {
            set("internal-port", row.internal.context("no internal port")?.to_string());
            set("data", around.folder.display().to_string());
        }
        kind => anyhow::bail!("{kind:?} is none of our programs"),
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_replaced_and_a_missing_one_is_an_error() {
        let text = "a\n  # <x>\n  b\n  # </x>\nc\n";
        assert_eq!(fill(text, "x", "d").unwrap(), "a\n  d\nc\n");
        assert!(fill(text, "y", "d").is_err());
    }

    #[test]
    fn the_deployed_files_have_all_places_and_nothing_of_an_example_is_left() {
        let folder = Path::new("/tmp/x");
        let shutdown = Duration::from_secs(3);
        let nginx =
            Nginx { folder, port: 8000, brokers: vec![8001, 8002], apis: vec![8003], shutdown };
        let texts = [nginx.text().unwrap(), log(1, folder).unwrap(), live(2, folder).unwrap()];
        for text in &texts {
            let of_example = ["10.0.0", "/var/", "example.org", "# <", "# </"];
            let left: Vec<&str> = text
                .lines()
                .filter(|line| !line.contains("`# <name>`"))
                .filter(|line| of_example.iter().any(|word| line.contains(word)))
                .collect();
            assert!(left.is_empty(), "{left:?}");
        }
        assert!(texts[1].contains("appendfsync always"));
    }
}
