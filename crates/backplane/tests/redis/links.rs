//! Connections that are there and of no use, and functions that are there and not the right ones.

use backplane::{AppendError, Log, memory_archive::MemoryArchive, redis::RedisLog};
use protocol::Pos;

use crate::bench::{ask, born, message, next, open_until_admitted, options, pause, store};
use crate::follow::{append_silently, subscribed};
use crate::server::Server;

async fn ready(server: &Server) -> RedisLog {
    let archive = MemoryArchive::default();
    let log = open_until_admitted(options(server, 1, &archive), Pos::default()).await;
    store(&log, born()).await;
    log
}

/// Ids of connections, as the server counts them.
async fn connections(server: &Server, kind: &str, command: &str) -> Vec<u64> {
    let list: String = ask(server, &["CLIENT", "LIST", "TYPE", kind]).await;
    let lines = list.lines().filter(|line| line.contains(command));
    let id = |line: &str| line.strip_prefix("id=")?.split(' ').next()?.parse().ok();
    lines.filter_map(id).collect()
}

/// Behind a name or an address that moves, the master may be another server by now.
#[tokio::test]
async fn a_connection_to_a_server_that_became_a_replica_is_given_up() {
    let server = Server::start();
    let log = ready(&server).await;
    let mut appender = log.appender(0);
    appender.append(&[message(5, 1)]).await.unwrap();
    let before = connections(&server, "normal", "cmd=fcall").await;
    assert!(before.len() >= 2, "one for appends, one for the rest: {before:?}");
    let () = ask(&server, &["REPLICAOF", "127.0.0.1", "1"]).await;
    let refused = appender.append(&[message(5, 2)]).await;
    assert!(matches!(refused, Err(AppendError::NotStored { .. })), "{refused:?}");
    assert!(log.lease(0).await.is_err());
    let left = connections(&server, "replica", "cmd=fcall").await;
    assert!(left.is_empty());
    let mut left = connections(&server, "normal", "cmd=fcall").await;
    for _ in 0..500 {
        left.retain(|id| before.contains(id));
        // The last one is the first log of `open_until_admitted`, which waits for nothing.
        if left.is_empty() {
            break;
        }
        pause().await;
        left = connections(&server, "normal", "cmd=fcall").await;
    }
    assert!(left.is_empty(), "still there: {left:?} of {before:?}");
    let () = ask(&server, &["REPLICAOF", "NO", "ONE"]).await;
    appender.append(&[message(5, 2)]).await.unwrap();
}

/// It is open and silent, as behind a middlebox that has forgotten it.
#[tokio::test]
async fn a_subscription_that_misses_pushes_is_made_anew() {
    let server = Server::start();
    let log = ready(&server).await;
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut follower = log.follow(0, Pos::new(1, 0));
    next(&mut *follower).await;
    let following = tokio::spawn(async move {
        loop {
            next(&mut *follower).await;
        }
    });
    subscribed(&mut connection).await;
    let before = connections(&server, "pubsub", "").await;
    for _ in 0..1_000 {
        append_silently(&mut connection).await;
        let now = connections(&server, "pubsub", "").await;
        if !now.is_empty() && now != before {
            following.abort();
            return;
        }
        pause().await;
    }
    panic!("the same subscription to the end");
}

/// The data set keeps functions. A release that mended them without another name was never used.
#[tokio::test]
async fn functions_that_have_another_text_are_loaded_anew() {
    let server = Server::start();
    ready(&server).await;
    let code = async || -> String {
        let list: redis::Value = ask(&server, &["FUNCTION", "LIST", "WITHCODE"]).await;
        format!("{list:?}")
    };
    assert!(!code().await.contains("-- of an older release"));
    let library = include_str!("../../src/redis/common.lua");
    let older = format!(
        "#!lua name=webchat_log_1\nlocal NAME, WINDOW, DEDUPE_MS, EPOCH_SKIP = 'webchat_log_1_', 32, 1, 1\n\
         -- of an older release\n{library}\n{}\n{}\n{}",
        include_str!("../../src/redis/append.lua"),
        include_str!("../../src/redis/keep.lua"),
        include_str!("../../src/redis/fence.lua"),
    );
    let _: String = ask(&server, &["FUNCTION", "LOAD", "REPLACE", &older]).await;
    assert!(code().await.contains("-- of an older release"));
    let archive = MemoryArchive::default();
    let mut broker = options(&server, 2, &archive);
    broker.loads = false;
    RedisLog::open(broker).await.unwrap();
    assert!(code().await.contains("-- of an older release"), "a broker may not load");
    RedisLog::open(options(&server, 3, &archive)).await.unwrap();
    assert!(!code().await.contains("-- of an older release"));
}
