//! Live state on a real server: the contract suite unchanged, two processes, caches, users with few rights.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use backplane::{
    Cursors, Live, NodeId, PresenceChange, Revocation, Signal, SignalStream, View,
    contract::{LiveHarness, broken, check_live},
    live::NodePresence,
    redis::{LiveOptions, LiveStartError, RedisLive},
};
use protocol::{ConversationId, Pos, SessionId, UserId};

use crate::server::Server;

/// Live state needs no disk.
pub(crate) fn server() -> Server {
    Server::start_with(&["--appendonly", "no"])
}

pub(crate) fn options(server: &Server) -> LiveOptions {
    let mut options = LiveOptions::new(server.url(), Arc::new(|| 1_000_000));
    options.answer_timeout = Duration::from_secs(2);
    options
}

pub(crate) async fn connect(server: &Server) -> RedisLive {
    RedisLive::connect(options(server)).await.unwrap()
}

struct OnRedis {
    _server: Server,
    live: RedisLive,
    now: Arc<AtomicU64>,
}

impl LiveHarness for OnRedis {
    fn live(&self) -> Arc<dyn Live> {
        Arc::new(self.live.clone())
    }

    fn now_ms(&self) -> u64 {
        self.now.load(SeqCst)
    }

    fn pass(&mut self, ms: u64) {
        self.now.fetch_add(ms, SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_state_on_redis_keeps_the_contract() {
    let report = check_live(async || {
        let (server, now) = (server(), Arc::new(AtomicU64::new(1_000)));
        let clock = Arc::clone(&now);
        let mut options = options(&server);
        options.clock = Arc::new(move || clock.load(SeqCst));
        let live = RedisLive::connect(options).await.unwrap();
        OnRedis { _server: server, live, now }
    })
    .await;
    assert_eq!(broken(&report), Vec::<String>::new());
}

pub(crate) fn change(user: u64, online: bool, as_of: u64) -> PresenceChange {
    PresenceChange { user: UserId(user), online, as_of }
}

/// The next signals that `pick` takes something from; what was lost is passed over.
pub(crate) async fn wait_for<T>(
    stream: &mut Box<dyn SignalStream>,
    mut pick: impl FnMut(&Signal) -> Option<T>,
) -> T {
    let waiting = async {
        loop {
            let Ok(signals) = stream.next().await else { continue };
            if let Some(found) = signals.iter().find_map(&mut pick) {
                return found;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it never came")
}

pub(crate) fn sorted(mut lists: Vec<NodePresence>) -> Vec<(u64, Vec<u64>)> {
    lists.sort_unstable_by_key(|list| list.node);
    let users = |list: NodePresence| {
        let mut users: Vec<u64> = list.users.iter().map(|(user, _)| user.0).collect();
        users.sort_unstable();
        (list.node.0, users)
    };
    lists.into_iter().map(users).collect()
}

#[tokio::test]
async fn two_processes_see_each_other() {
    let server = server();
    let (a, b) = (connect(&server).await, connect(&server).await);
    let (mut at_a, mut at_b) = (a.subscribe(), b.subscribe());
    a.announce(NodeId(1), vec![change(10, true, 5)]).await.unwrap();
    b.announce(NodeId(2), vec![change(10, true, 6), change(11, true, 6)]).await.unwrap();
    for stream in [&mut at_a, &mut at_b] {
        for node in 1..=2 {
            wait_for(stream, |signal| match signal {
                Signal::Presence { node: NodeId(from), version: 1, .. } if *from == node => {
                    Some(())
                }
                _ => None,
            })
            .await;
        }
    }
    let expected = vec![(1, vec![10]), (2, vec![10, 11])];
    assert_eq!(sorted(a.snapshot().await.unwrap()), expected);
    assert_eq!(sorted(b.snapshot().await.unwrap()), expected);
    a.leave(NodeId(1)).await.unwrap();
    wait_for(&mut at_b, |s| (*s == Signal::NodeGone { node: NodeId(1) }).then_some(())).await;
    assert_eq!(sorted(b.snapshot().await.unwrap()), [(2, vec![10, 11])]);
    assert!(a.announce(NodeId(1), vec![]).await.is_err(), "it said goodbye");
    b.revoke(Revocation::Session(SessionId(7)), 1_000, 60_000).await.unwrap();
    assert_eq!(a.is_revoked(UserId(1), SessionId(7), 0).await, Ok(true));
}

/// More than one call takes, and than Lua's stack.
#[tokio::test]
async fn a_list_of_many_is_announced_and_read() {
    let server = server();
    let (a, b) = (connect(&server).await, connect(&server).await);
    let users: Vec<u64> = (1..=10_000).collect();
    let all = |online| users.iter().map(|user| change(*user, online, 5)).collect::<Vec<_>>();
    a.announce(NodeId(1), all(true)).await.unwrap();
    assert_eq!(sorted(b.snapshot().await.unwrap()), [(1, users.clone())]);
    a.announce(NodeId(1), all(false)).await.unwrap();
    assert_eq!(sorted(b.snapshot().await.unwrap()), [(1, vec![])]);
}

#[tokio::test]
async fn the_view_of_the_later_position_stays() {
    let server = server();
    let live = connect(&server).await;
    let (user, view) = (UserId(1), |as_of: &[(u32, u64)], blocked: u64| View {
        as_of: as_of.iter().map(|(epoch, n)| Pos::new(*epoch, *n)).collect(),
        blocked: vec![UserId(blocked)],
        ..View::default()
    });
    // Put, and what is there then.
    for (put, there) in [
        (view(&[(1, 5)], 1), 1),
        (view(&[(1, 4)], 2), 1),
        (view(&[(1, 5)], 3), 3),
        (view(&[(2, 1)], 4), 4),
        (view(&[(1, 9)], 5), 4),
        (view(&[(2, 1), (1, 1)], 6), 6),
        (view(&[(2, 0), (1, 0)], 7), 6),
        (view(&[(2, 0), (1, 2)], 8), 8),
    ] {
        live.view_put(user, put.clone()).await.unwrap();
        let cached = live.view_get(user).await.unwrap().unwrap();
        assert_eq!(cached.blocked, [UserId(there)], "after {put:?}");
    }
}

#[tokio::test]
async fn nothing_that_is_kept_in_numbers_stays_for_ever() {
    let server = server();
    let live = connect(&server).await;
    let (user, conversation) = (UserId(1), ConversationId::direct(UserId(1), UserId(2)));
    live.view_put(user, View::default()).await.unwrap();
    live.revoke(Revocation::Session(SessionId(1)), 1_000, 60_000).await.unwrap();
    let all = Revocation::User { user, except: None };
    live.revoke(all, 1_000, 60_000).await.unwrap();
    live.revoke(all, 2_000, 1_000).await.unwrap();
    let cursors = Cursors { delivered: 4, read: 3 };
    live.receipts_merge(vec![(conversation, user, cursors)]).await.unwrap();
    let mut connection = raw(&server).await;
    for (key, ms_min) in [
        (format!("wc:{{live}}:um:{user}"), 1_000_000),
        (format!("wc:{{live}}:gone:s:{}", SessionId(1)), 50_000),
        (format!("wc:{{live}}:gone:u:{user}"), 50_000),
        (format!("wc:{{live}}:rcpt:{conversation}"), 500_000),
    ] {
        let left: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut connection).await.unwrap();
        assert!(left > ms_min, "{key}: {left}");
    }
    assert_eq!(live.is_revoked(user, SessionId(2), 2_000).await, Ok(true));
    assert_eq!(live.is_revoked(user, SessionId(2), 2_001).await, Ok(false));
}

pub(crate) async fn raw(server: &Server) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(server.url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

#[tokio::test]
async fn garbage_on_the_channel_is_counted_and_harms_nothing() {
    let server = server();
    let live = connect(&server).await;
    let mut stream = live.subscribe();
    let mut connection = raw(&server).await;
    for garbage in ["", "short", "a longer text that is no flush of signals at all"] {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg("wc:{live}:signals").arg(garbage);
        publish.query_async::<i64>(&mut connection).await.unwrap();
    }
    let user = UserId(1);
    let put = redis::cmd("SET").arg(format!("wc:{{live}}:um:{user}")).arg("garbage").to_owned();
    put.query_async::<String>(&mut connection).await.unwrap();
    assert_eq!(live.view_get(user).await, Ok(None));
    let heartbeat = Signal::Heartbeat { node: NodeId(3) };
    live.publish(vec![heartbeat.clone()]).await.unwrap();
    assert_eq!(stream.next().await, Ok(vec![heartbeat]));
    assert_eq!(live.garbage(), 4);
}

#[tokio::test]
async fn what_waiting_does_not_mend_is_said_at_the_start() {
    let url = RedisLive::connect(LiveOptions::new("http://x".to_owned(), Arc::new(|| 0))).await;
    assert!(matches!(url, Err(LiveStartError::Url)), "{url:?}");
    let server = server();
    let mut connection = raw(&server).await;
    let mut guard = redis::cmd("CONFIG");
    guard.arg("SET").arg("requirepass").arg("right");
    guard.query_async::<String>(&mut connection).await.unwrap();
    let wrong = options(&server);
    let refused = RedisLive::connect(wrong).await;
    assert!(matches!(refused, Err(LiveStartError::Refused(_))), "{refused:?}");
    let mut right = options(&server);
    right.server = server.url().replace("redis://", "redis://:right@");
    RedisLive::connect(right).await.unwrap().snapshot().await.unwrap();
}
