//! Users with the rights of their roles and no others.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use backplane::{
    Earlier, Log, ProducerState, Verdict,
    memory_archive::MemoryArchive,
    redis::{LiveRole, Options, RedisLog, Role, live_acl, rules},
};
use protocol::{Pos, Producer, UserId, limits};

use crate::bench::{
    append, ask, born, direct, message, next, options, pause, persist, rejoin, store,
};
use crate::server::Server;

/// What an operator deploys is what is tested here.
#[test]
fn the_deployed_files_have_the_users_with_these_rules() {
    let log = include_str!("../../../../deploy/redis/log.conf");
    let live = include_str!("../../../../deploy/redis/live.conf");
    let line = |name: &str, rules: Vec<String>| format!("user {name} PASSWORD {}", rules.join(" "));
    let of_live = |role| [vec!["on".to_owned()], live_acl(role, "wc")].concat();
    for (file, expected) in [
        (log, line("webchat-broker", rules(Role::Broker, "wc"))),
        (log, line("webchat-api", rules(Role::Api, "wc"))),
        (live, line("webchat-broker", of_live(LiveRole::Broker))),
        (live, line("webchat-api", of_live(LiveRole::Api))),
    ] {
        // The password is the one word that is an installation's own.
        let same = |found: &str| {
            let words = found.split(' ');
            words
                .map(|word| if word.starts_with('#') { "PASSWORD" } else { word })
                .eq(expected.split(' '))
        };
        assert!(file.lines().any(same), "missing: {expected}");
    }
}

fn as_user(name: &str, mut options: Options) -> Options {
    options.servers =
        vec![options.servers[0].replace("redis://", &format!("redis://{name}:secret@"))];
    options.loads = name == "api";
    options.lease_ms = 400;
    options.retention_ms = 0;
    options
}

/// On the command line, so that they are there after each start.
fn settings() -> Vec<String> {
    let user = |name: &str, role| {
        let head = ["--user".to_owned(), name.to_owned(), ">secret".to_owned()];
        [head.to_vec(), rules(role, "wc")].concat()
    };
    [user("broker", Role::Broker), user("api", Role::Api)].concat()
}

async fn denied(server: &Server) -> String {
    let entries: redis::Value = ask(server, &["ACL", "LOG"]).await;
    match entries {
        redis::Value::Array(entries) if entries.is_empty() => String::new(),
        other => format!("{other:?}"),
    }
}

/// Everything that the two programs do, a lost data set included; nothing of it is denied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broker_and_api_have_the_rights_that_they_need() {
    let settings = settings();
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let (mut server, archive) = (Server::start_with(&settings), MemoryArchive::default());
    let ahead = Arc::new(AtomicU64::new(0));
    let open = async |name: &str, node| {
        let mut options = as_user(name, options(&server, node, &archive));
        let clock = Arc::clone(&ahead);
        options.ahead_ms = Arc::new(move || clock.load(SeqCst));
        RedisLog::open(options).await.unwrap()
    };
    let (api, broker) = (open("api", 1).await, open("broker", 2).await);
    rejoin(&api, 1, Pos::default(), Pos::default()).await;
    rejoin(&broker, 2, Pos::default(), Pos::default()).await;
    store(&api, born()).await;
    let mut follower = broker.follow(0, Pos::new(1, 0));
    for no in 1..=20 {
        store(&broker, message(5, no)).await;
        next(&mut *follower).await;
    }
    persist(&api, &archive, 21).await;
    api.trim(0, api.trimmable(0).await.unwrap()).await.unwrap();
    // Twice: the second drops a generation, by a broker's append.
    for no in 21..=24 {
        ahead.fetch_add(limits::DEDUPE_MS + 1, SeqCst);
        store(&broker, message(5, no)).await;
        persist(&api, &archive, no + 1).await;
    }
    let earlier = Earlier { no: 6, hash: 1, seq: 3, pos: Pos::new(1, 0), ts: 7 };
    let known = ProducerState { last: 6, recent: vec![earlier] };
    broker.install(direct(), UserId(1), Producer(77), known).await.unwrap();
    let verdicts = append(&broker, &[message(77, 7)]).await.unwrap();
    assert!(matches!(verdicts[..], [Verdict::Stored { .. }]), "{verdicts:?}");
    let held = broker.read(0, broker.watermark(0).await.unwrap(), 1 << 20).await.unwrap();
    let seen = held.last().unwrap().pos;

    server.restart();
    assert_eq!(rejoin_both(&api, &broker, seen, &[]).await, 1);
    server.kill();
    std::fs::remove_dir_all(&server.folder).unwrap();
    std::fs::create_dir_all(&server.folder).unwrap();
    server.restart();
    assert_eq!(rejoin_both(&api, &broker, seen, &held).await, 2);
    store(&broker, message(8, 1)).await;
    assert_eq!(denied(&server).await, "");
}

/// Until both are in; what is held comes back by the broker. The epoch then.
async fn rejoin_both(
    api: &RedisLog,
    broker: &RedisLog,
    seen: Pos,
    held: &[Arc<backplane::Batch>],
) -> u32 {
    let (mut epochs, nodes) = ([0; 2], [(api, 1), (broker, 2)]);
    for round in 0..4_000 {
        let (log, node) = nodes[round % 2];
        match log.rejoin(0, node, seen, Pos::default()).await {
            Ok(admitted) => match admitted.restore {
                Some(lease) => drop(log.restore(0, held.to_vec(), lease).await.unwrap()),
                None => epochs[round % 2] = admitted.epoch,
            },
            Err(_) => pause().await,
        }
        if epochs[0] > 0 && epochs[0] == epochs[1] {
            return epochs[0];
        }
    }
    panic!("the log did not open again");
}

#[tokio::test]
async fn a_brokers_user_cannot_empty_the_log_nor_reach_beyond_it() {
    let settings = settings();
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let server = Server::start_with(&settings);
    let url = format!("redis://broker:secret@127.0.0.1:{}", server.port);
    let client = redis::Client::open(url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let forbidden: [&[&str]; 10] = [
        &["UNLINK", "wc:{0}:log"],
        &["DEL", "wc:{0}:order"],
        &["XTRIM", "wc:{0}:log", "MAXLEN", "0"],
        &["HGET", "other", "field"],
        &["PUBLISH", "other", "x"],
        &["PSUBSCRIBE", "*"],
        &["FLUSHALL"],
        &["CONFIG", "SET", "appendfsync", "no"],
        &["EVAL", "return 1", "0"],
        &["FUNCTION", "LOAD", "#!lua name=x\n"],
    ];
    for parts in forbidden {
        let mut command = redis::cmd(parts[0]);
        command.arg(&parts[1..]);
        let error = command.query_async::<redis::Value>(&mut connection).await.unwrap_err();
        assert_eq!(error.code(), Some("NOPERM"), "{parts:?}: {error}");
    }
}
