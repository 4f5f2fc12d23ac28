//! The starter: everything comes up, dies alone, comes back with what it had, and ends with its owner.

use std::time::Duration;

use loadtest::cluster::{
    probe::{get, redis},
    process::Signal,
    starter::{Cluster, Options},
    topology::{Kind, Topology},
};

use crate::SOON;

/// The parts that need no program of ours.
fn foreign() -> Options {
    Options {
        topology: Topology { brokers: 0, apis: 0, ..Topology::default() },
        ..Options::default()
    }
}

#[tokio::test]
async fn the_log_keeps_what_it_answered_and_the_live_server_does_not() {
    let mut cluster = Cluster::up(foreign()).await.unwrap();
    let log = cluster.row("log").unwrap().port;
    let live = cluster.row("live").unwrap().port;
    for port in [log, live] {
        assert_eq!(redis(port, "SET kept yes").await.unwrap(), "OK");
    }
    for name in ["log", "live"] {
        let before = cluster.identity(name).unwrap();
        cluster.kill(name).unwrap();
        assert!(!cluster.runs(name) && cluster.kill(name).is_err());
        cluster.start(name).unwrap();
        cluster.wait_ready(name, SOON).await.unwrap();
        assert_ne!(cluster.identity(name).unwrap(), before);
    }
    assert_eq!(redis(log, "EXISTS kept").await.unwrap(), "1");
    assert_eq!(redis(live, "EXISTS kept").await.unwrap(), "0");
}

#[tokio::test]
async fn the_servers_have_the_settings_that_the_promise_rests_on() {
    let cluster = Cluster::up(foreign()).await.unwrap();
    let log = cluster.row("log").unwrap().port;
    let of = async |port, name: &str| redis(port, &format!("CONFIG GET {name}")).await.unwrap();
    for (name, value) in [
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("no-appendfsync-on-rewrite", "no"),
        ("maxmemory-policy", "noeviction"),
    ] {
        assert_eq!(of(log, name).await, format!("{name} {value}"));
    }
    assert_ne!(of(log, "maxmemory").await, "maxmemory 0");
    let buffers = of(log, "client-output-buffer-limit").await;
    assert!(buffers.contains("pubsub 268435456 67108864 60"), "{buffers}");
    let live = cluster.row("live").unwrap().port;
    assert_eq!(of(live, "appendonly").await, "appendonly no");
}

#[tokio::test]
async fn a_later_run_finds_the_cluster_of_an_earlier_one_and_ends_it() {
    let first = Cluster::up(foreign()).await.unwrap();
    let folder = first.folder().to_path_buf();
    // What `up` leaves behind is what `status`, `kill` and `down` start from.
    let mut second = Cluster::attach(&folder).unwrap();
    let status = second.status().await;
    assert_eq!(status.len(), 3);
    assert!(status.iter().all(|s| s.pid.is_some() && s.trouble.is_none()), "{status:?}");
    second.kill("nginx").unwrap();
    let status = Cluster::attach(&folder).unwrap().status().await;
    assert_eq!(status[2].row.kind, Kind::Nginx);
    assert!(status[2].pid.is_none() && status[2].trouble.is_some(), "{:?}", status[2]);
    second.restart("nginx").await.unwrap();
    assert!(second.row("broker-1").is_err());
    second.down().await.unwrap();
    let status = Cluster::attach(&folder).unwrap().status().await;
    assert!(status.iter().all(|s| s.pid.is_none()), "{status:?}");
    drop(first);
}

#[tokio::test]
async fn everything_ends_with_its_owner() {
    let mut cluster = Cluster::up(foreign()).await.unwrap();
    let folder = cluster.folder().to_path_buf();
    let all = ["log", "live", "nginx"].map(|name| cluster.identity(name).unwrap());
    // A stopped process hears nothing but SIGKILL.
    cluster.signal("log", Signal::STOP).unwrap();
    assert!(all.iter().all(|identity| identity.runs()));
    drop(cluster);
    assert!(!all.iter().any(|identity| identity.runs()));
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_process_that_does_not_get_ready_says_why() {
    let mut cluster = Cluster::prepare(foreign()).await.unwrap();
    std::fs::write(cluster.data("log"), "a file where the folder should be").unwrap();
    let error = format!("{:#}", cluster.start("log").unwrap_err());
    assert!(error.contains("log"), "{error}");
    let taken = std::net::TcpListener::bind(cluster.row("live").unwrap().address()).unwrap();
    cluster.start("live").unwrap();
    let error = cluster.wait_ready("live", Duration::from_secs(20)).await.unwrap_err().to_string();
    assert!(error.contains("ended") && error.contains("bind"), "its own words: {error}");
    drop(taken);
    cluster.start("nginx").unwrap();
    cluster.wait_ready("nginx", SOON).await.unwrap();
    let port = cluster.row("nginx").unwrap().port;
    let error = get(port, "/api/me").await.unwrap_err().to_string();
    assert!(error.contains("502"), "nobody behind it: {error}");
}

#[tokio::test]
async fn a_start_that_fails_leaves_nothing_running() {
    let mut options = foreign();
    options.programs.nginx = "/there/is/no/such/program".into();
    // Detached, as from the command line: nobody's end would end them.
    let folder = std::env::temp_dir().join(format!("webchat-half-{}", std::process::id()));
    (options.detached, options.folder) = (true, Some(folder.clone()));
    let error = format!("{:#}", Cluster::up(options).await.unwrap_err());
    assert!(error.contains("/there/is/no/such/program"), "{error}");
    let status = Cluster::attach(&folder).unwrap().status().await;
    assert!(status.iter().all(|s| s.pid.is_none()), "{status:?}");
    std::fs::remove_dir_all(folder).unwrap();
}
