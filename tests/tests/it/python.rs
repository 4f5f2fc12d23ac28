//! A client in another language, written from PROTOCOL.md, while the server dies under it.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use loadtest::server::{Options, Server};
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};

const MESSAGES: usize = 300;
const LIMIT: Duration = Duration::from_secs(90);

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The interpreter with the client's packages: `./test` makes it.
fn python() -> PathBuf {
    std::env::var_os("WEBCHAT_PYTHON")
        .map_or_else(|| root().join(".venv/bin/python"), PathBuf::from)
}

fn client(server: &Server, name: &str, peer: &str) -> Child {
    let mut command = Command::new(python());
    command
        .arg(root().join("tests/python/chat.py"))
        .arg(format!("http://{}", server.address))
        .args([name, peer, &MESSAGES.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command.spawn().expect("the python of ./test: run it once")
}

async fn finish(child: Child) -> Vec<(u64, String, String)> {
    let output = timeout(LIMIT, child.wait_with_output()).await.expect("it ends").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn published(server: &Server) -> f64 {
    let metrics = server.metrics().await.unwrap_or_default();
    let good = metrics.lines().filter(|line| {
        line.starts_with("broker_messages_published_total") && line.contains("\"ok\"")
    });
    good.filter_map(|line| line.split_whitespace().last()?.parse::<f64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_written_from_the_protocol_survives_kills_complete() {
    let mut server = Server::start(Options::default()).await.unwrap();
    let ada = client(&server, "ada", "bob");
    let bob = client(&server, "bob", "ada");
    for _ in 0..2 {
        // In the middle of their talk: some are through, not all.
        timeout(LIMIT, async {
            while published(&server).await < 20.0 {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("they talk");
        server.restart().await.unwrap();
    }
    let (ada, bob) = (finish(ada).await, finish(bob).await);
    assert_eq!(ada, bob, "both hold the same conversation");
    assert_eq!(ada.len(), 2 * MESSAGES);
    for name in ["ada", "bob"] {
        let own = ada.iter().filter(|(_, _, text)| text.starts_with(name));
        let own: Vec<&str> = own.map(|(_, _, text)| text.as_str()).collect();
        let sent: Vec<String> = (1..=MESSAGES).map(|no| format!("{name} {no}")).collect();
        assert_eq!(own, sent, "each once, in order");
    }
}
