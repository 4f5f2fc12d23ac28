//! Users of the live server with the rights that `live_acl` lists, and no others.

use backplane::{
    Cursors, Live, NodeId, Revocation, Signal, View,
    redis::{LiveRole, RedisLive, live_acl},
};
use protocol::{ConversationId, SessionId, UserId};

use crate::{
    live::{change, options, raw, server, sorted},
    server::Server,
};

async fn user(server: &Server, name: &str, role: LiveRole) -> RedisLive {
    let mut connection = raw(server).await;
    let mut create = redis::cmd("ACL");
    create.arg("SETUSER").arg(name).arg("reset").arg("on").arg(">secret");
    create.arg(live_acl(role, "wc"));
    create.query_async::<String>(&mut connection).await.unwrap();
    let mut options = options(server);
    options.server = server.url().replace("redis://", &format!("redis://{name}:secret@"));
    options.loads = role == LiveRole::Api;
    RedisLive::connect(options).await.unwrap()
}

/// What was refused to anybody: command or key, and who it was.
async fn refused(server: &Server) -> Vec<String> {
    let mut connection = raw(server).await;
    let log = redis::cmd("ACL").arg("LOG").to_owned();
    let log: Vec<redis::Value> = log.query_async(&mut connection).await.unwrap();
    log.iter().map(|entry| format!("{entry:?}")).collect()
}

const NODE: NodeId = NodeId(1);

#[tokio::test]
async fn each_user_may_do_what_it_has_to_and_nothing_was_refused() {
    let server = server();
    let api = user(&server, "api", LiveRole::Api).await;
    api.snapshot().await.unwrap();
    let broker = user(&server, "broker", LiveRole::Broker).await;
    let mut stream = broker.subscribe();
    broker.publish(vec![Signal::Heartbeat { node: NODE }]).await.unwrap();
    broker.announce(NODE, vec![change(1, true, 5), change(2, true, 5)]).await.unwrap();
    broker.announce(NODE, vec![change(2, false, 6)]).await.unwrap();
    let heard = stream.next().await.unwrap();
    assert_eq!(heard, [Signal::Heartbeat { node: NODE }]);
    // The list is gone: prepare, fill and commit, too.
    let mut connection = raw(&server).await;
    let gone = redis::cmd("DEL").arg("wc:{live}:pres:0000000000000001").to_owned();
    gone.query_async::<u64>(&mut connection).await.unwrap();
    broker.publish(vec![Signal::Heartbeat { node: NODE }]).await.unwrap();
    for live in [&api, &broker] {
        assert_eq!(sorted(live.snapshot().await.unwrap()), [(1, vec![1])]);
    }
    let (ada, session) = (UserId(1), SessionId(7));
    let conversation = ConversationId::direct(ada, UserId(2));
    for cursors in [Cursors { delivered: 2, read: 1 }, Cursors { delivered: 1, read: 2 }] {
        broker.receipts_merge(vec![(conversation, ada, cursors)]).await.unwrap();
    }
    for _ in 0..2 {
        api.revoke(Revocation::Session(session), 1_000, 60_000).await.unwrap();
        let all = Revocation::User { user: UserId(9), except: None };
        api.revoke(all, 1_000, 60_000).await.unwrap();
        api.view_put(ada, View::default()).await.unwrap();
        api.publish(vec![Signal::Revoked(Revocation::Session(session))]).await.unwrap();
    }
    for live in [&api, &broker] {
        assert_eq!(live.is_revoked(ada, session, 0).await, Ok(true));
        assert_eq!(live.view_get(ada).await, Ok(Some(View::default())));
        let both = vec![(ada, Cursors { delivered: 2, read: 2 })];
        assert_eq!(live.receipts_get(conversation).await, Ok(both));
    }
    // As a heartbeat of another node buries one that is silent.
    let mut silent = redis::cmd("HSET");
    let long_ago = [("since", "0"), ("\0\0\0\0\0\0\0\u{5}", "0")];
    silent.arg("wc:{live}:nodes").arg(&long_ago);
    silent.query_async::<u64>(&mut connection).await.unwrap();
    broker.publish(vec![Signal::Heartbeat { node: NODE }]).await.unwrap();
    let buried = Signal::NodeGone { node: NodeId(5) };
    while !stream.next().await.unwrap().contains(&buried) {}
    broker.leave(NODE).await.unwrap();
    assert_eq!(refused(&server).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_broker_writes_no_revocations_nor_views_and_an_api_no_presence() {
    let server = server();
    let api = user(&server, "api", LiveRole::Api).await;
    api.snapshot().await.unwrap();
    let broker = user(&server, "broker", LiveRole::Broker).await;
    let revoked = broker.revoke(Revocation::Session(SessionId(7)), 1_000, 60_000).await;
    let cached = broker.view_put(UserId(1), View::default()).await;
    let announced = api.announce(NODE, vec![change(1, true, 5)]).await;
    for outcome in [revoked, cached, announced] {
        let why = outcome.expect_err("it may not").0;
        assert!(why.contains("NOPERM") || why.contains("permission"), "{why}");
    }
    assert_eq!(broker.is_revoked(UserId(1), SessionId(7), 0).await, Ok(false));
    assert!(!refused(&server).await.is_empty(), "the server notes it");
}
