//! The deployed nginx file, with small upstreams of ours behind it that say who they are.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use hyper::{Method, header};
use loadtest::{
    cluster::{
        process::Signal,
        starter::{Cluster, Options},
        topology::{Kind, Topology},
    },
    http::{Account, Refused},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use crate::{SOON, until};

/// Answers each request with its name; after an upgrade it sends back what it gets.
struct Upstream {
    name: String,
    heads: Arc<Mutex<Vec<String>>>,
    open: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Upstream {
    async fn start(name: &str, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let (heads, open) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let own = (name.to_owned(), heads.clone(), open.clone());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (name, heads, open) = own.clone();
                connections.spawn(async move {
                    // The other side may go at any time.
                    let _ = answer(stream, &name, &heads, &open).await;
                });
            }
        });
        Self { name: name.to_owned(), heads, open, task }
    }

    fn requests(&self) -> usize {
        self.heads.lock().unwrap().len()
    }

    /// The first request's, in lower case.
    fn first_head(&self) -> String {
        self.heads.lock().unwrap()[0].to_lowercase()
    }

    /// Gone, with all its connections.
    async fn die(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

async fn answer(
    mut stream: TcpStream,
    name: &str,
    heads: &Mutex<Vec<String>>,
    open: &AtomicUsize,
) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        buffer.drain(..end);
        heads.lock().unwrap().push(head.clone());
        if head.to_lowercase().contains("upgrade: websocket") {
            break;
        }
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
        stream.write_all(text.as_bytes()).await?;
    }
    let text = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Name: {name}\r\n\r\n"
    );
    stream.write_all(text.as_bytes()).await?;
    open.fetch_add(1, Relaxed);
    let mut bytes = vec![0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut bytes).await {
        if stream.write_all(&bytes[..n]).await.is_err() {
            break;
        }
    }
    open.fetch_sub(1, Relaxed);
    Ok(())
}

/// nginx, two brokers and two apis.
struct Front {
    cluster: Cluster,
    port: u16,
    brokers: Vec<Upstream>,
    apis: Vec<Upstream>,
}

async fn front(shutdown: Duration) -> Front {
    let topology = Topology { brokers: 2, apis: 2, ..Topology::default() };
    let options = Options { topology, nginx_shutdown: shutdown, ..Options::default() };
    let mut cluster = Cluster::prepare(options).await.unwrap();
    let mut upstreams = [Vec::new(), Vec::new()];
    for (n, kind) in [Kind::Broker, Kind::Api].into_iter().enumerate() {
        for row in cluster.of_kind(kind) {
            upstreams[n].push(Upstream::start(&row.name, row.address()).await);
        }
    }
    cluster.start("nginx").unwrap();
    cluster.wait_ready("nginx", SOON).await.unwrap();
    let port = cluster.row("nginx").unwrap().port;
    let [brokers, apis] = upstreams;
    Front { cluster, port, brokers, apis }
}

/// An open WebSocket and who is at its other end.
async fn open(port: u16) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let head = "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                X-Forwarded-For: 6.6.6.6\r\nSec-WebSocket-Version: 13\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let read = timeout(SOON, stream.read_buf(&mut answer)).await.expect("in time").unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    let name = answer.lines().find_map(|l| l.strip_prefix("X-Name: ")).unwrap().to_owned();
    (stream, name)
}

async fn echoes(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut heard = vec![0; text.len()];
    timeout(SOON, stream.read_exact(&mut heard)).await.expect("in time").unwrap();
    assert_eq!(heard, text.as_bytes());
}

async fn ask(port: u16, method: Method, path: &str) -> Result<String, u16> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let answer = Account::new(address, None).call(method, path, None).await;
    match answer {
        Ok(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
        Err(error) => Err(error.downcast::<Refused>().expect("an answer").status),
    }
}

#[tokio::test]
async fn sockets_pass_and_are_shared_out_by_what_is_open() {
    let front = front(Duration::from_secs(5)).await;
    let mut sockets = Vec::new();
    for _ in 0..6 {
        let (mut socket, name) = open(front.port).await;
        echoes(&mut socket, "hello").await;
        sockets.push((socket, name));
    }
    let at = |name: &str| sockets.iter().filter(|(_, n)| n == name).count();
    assert_eq!((at("broker-1"), at("broker-2")), (3, 3));
    // Who lost its sockets gets the next ones: taking turns would not do that, nor workers that count for themselves.
    sockets.retain(|(_, name)| name == "broker-2");
    let broker = &front.brokers[0];
    until("the first one is empty", || async { broker.open.load(Relaxed) == 0 }).await;
    for _ in 0..3 {
        let (socket, name) = open(front.port).await;
        assert_eq!(name, "broker-1");
        sockets.push((socket, name));
    }
    assert!(front.apis.iter().all(|api| api.requests() == 0), "the socket is the brokers'");
    let head = front.brokers[0].first_head();
    assert!(head.contains("connection: upgrade"), "{head}");
}

/// In the file once per location: one that sets a header inherits none.
#[tokio::test]
async fn what_a_client_says_of_its_own_address_reaches_nobody() {
    let front = front(Duration::from_secs(5)).await;
    let _socket = open(front.port).await;
    let mut stream = TcpStream::connect(("127.0.0.1", front.port)).await.unwrap();
    let head = "GET /api/x HTTP/1.1\r\nHost: x\r\nForwarded: for=6.6.6.6\r\n\
                X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let asked = || front.apis.iter().find(|api| api.requests() == 1);
    until("the api is asked", || async { asked().is_some() }).await;
    let broker = front.brokers.iter().find(|broker| broker.requests() == 1).unwrap();
    for upstream in [broker, asked().unwrap()] {
        let head = upstream.first_head();
        let own: Vec<&str> = head.lines().filter(|line| line.contains("forwarded")).collect();
        let right = ["x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http"];
        assert_eq!(own, right, "{}", upstream.name);
        assert!(head.contains("\r\nhost: x\r\n"), "{head}");
    }
}

#[tokio::test]
async fn requests_go_round_and_a_dead_upstream_is_skipped() {
    let mut front = front(Duration::from_secs(5)).await;
    for _ in 0..10 {
        ask(front.port, Method::GET, "/api/x").await.unwrap();
    }
    let counts: Vec<usize> = front.apis.iter().map(Upstream::requests).collect();
    assert!(counts.iter().all(|n| (4..=6).contains(n)), "{counts:?}");
    assert!(front.brokers.iter().all(|broker| broker.requests() == 0));
    let dead = front.apis.remove(0);
    assert_eq!(dead.name, "api-1");
    dead.die().await;
    front.brokers.remove(0).die().await;
    for _ in 0..10 {
        assert_eq!(ask(front.port, Method::GET, "/").await.unwrap(), "api-2");
        // Nothing was sent to the dead one yet, so this may go to another, too.
        assert_eq!(ask(front.port, Method::POST, "/api/x").await.unwrap(), "api-2");
        assert_eq!(open(front.port).await.1, "broker-2");
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_reaches_anybody() {
    let front = front(Duration::from_secs(5)).await;
    let mut stream = TcpStream::connect(("127.0.0.1", front.port)).await.unwrap();
    let head = format!(
        "POST /api/x HTTP/1.1\r\nHost: x\r\n{}: {}\r\n\r\n",
        header::CONTENT_LENGTH,
        2 * 1024 * 1024
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 13];
    timeout(SOON, stream.read_exact(&mut answer)).await.expect("in time").unwrap();
    assert_eq!(answer, b"HTTP/1.1 413 ");
    let mut stream = TcpStream::connect(("127.0.0.1", front.port)).await.unwrap();
    let cookie = "x".repeat(10_000);
    let head = format!("GET /api/x HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    timeout(SOON, stream.read_exact(&mut answer)).await.expect("in time").unwrap();
    assert_eq!(answer, b"HTTP/1.1 400 ");
    assert!(front.apis.iter().all(|api| api.requests() == 0));
}

#[tokio::test]
async fn a_reload_leaves_open_sockets_alone_for_as_long_as_it_says() {
    let shutdown = Duration::from_millis(1_500);
    let mut front = front(shutdown).await;
    let (mut old, _) = open(front.port).await;
    let reloaded = Instant::now();
    front.cluster.signal("nginx", Signal::HUP).unwrap();
    // The old workers say that they are on their way out.
    let log = front.cluster.folder().join("nginx/access.log");
    until("new workers serve", || async {
        let answered = ask(front.port, Method::GET, "/api/x").await.is_ok();
        answered && shutting_down(front.cluster.folder())
    })
    .await;
    assert!(log.exists());
    let (mut new, _) = open(front.port).await;
    echoes(&mut old, "still here").await;
    let mut end = [0; 1];
    let read = timeout(SOON, old.read(&mut end)).await.expect("it is cut at last");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    let lived = reloaded.elapsed();
    assert!(lived >= shutdown, "cut too early: {lived:?}");
    assert!(lived < shutdown * 4, "cut too late: {lived:?}");
    echoes(&mut new, "a socket of the new workers stays").await;
    let open = || front.brokers.iter().map(|b| b.open.load(Relaxed)).sum::<usize>();
    until("the broker hears of the end", || async { open() == 1 }).await;
}

/// Whether a worker of this nginx has stopped listening; workers say so in their title.
pub(crate) fn shutting_down(folder: &std::path::Path) -> bool {
    let pid = std::fs::read_to_string(folder.join("nginx/nginx.pid")).unwrap_or_default();
    let parent = format!("PPid:\t{}\n", pid.trim());
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let read =
            |name: &str| std::fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        read("status").contains(&parent) && read("cmdline").contains("shutting down")
    })
}
