//! Live state whose server is killed, comes back empty or older, stands still, or drops its subscribers.

use std::{
    collections::HashMap,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use backplane::{Cursors, Live, NodeId, Revocation, Signal, SignalStream, redis::RedisLive};
use protocol::{ConversationId, SessionId, UserId};

use crate::{
    bench::pause,
    live::{change, connect, options, raw, server, sorted, wait_for},
    server::Server,
};

fn beat(node: u64) -> Vec<Signal> {
    vec![Signal::Heartbeat { node: NodeId(node) }]
}

fn signal(server: &Server, signal: &str) {
    let pid = server.pid().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
}

/// Asks until there is an answer, and that is as it should be.
async fn until<T, E>(mut ask: impl AsyncFnMut() -> Result<T, E>, is: impl Fn(&T) -> bool) -> T {
    let begun = Instant::now();
    loop {
        if let Ok(answer) = ask().await
            && is(&answer)
        {
            return answer;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "it never came to that");
        pause().await;
    }
}

/// What a listener knows: it applies deltas, and reads all lists after a loss or a gap, as brokers and apis do. Whoever was
/// online must never be missing from it.
struct Listener {
    live: RedisLive,
    stream: Box<dyn SignalStream>,
    versions: HashMap<NodeId, u64>,
    unread: bool,
    /// Lists that were read after a loss.
    snapshots: Vec<Vec<(u64, Vec<u64>)>>,
}

impl Listener {
    fn new(live: &RedisLive) -> Self {
        let (live, stream) = (live.clone(), live.subscribe());
        Self { live, stream, versions: HashMap::new(), unread: true, snapshots: Vec::new() }
    }

    async fn hear(&mut self) {
        let patience = Duration::from_millis(20);
        match tokio::time::timeout(patience, self.stream.next()).await {
            Ok(Ok(signals)) => {
                for signal in signals {
                    let Signal::Presence { node, version, .. } = signal else { continue };
                    let known = self.versions.insert(node, version).unwrap_or(0);
                    self.unread |= version > known + 1;
                }
            }
            Ok(Err(_)) => self.unread = true,
            Err(_) => {}
        }
        if self.unread
            && let Ok(lists) = self.live.snapshot().await
        {
            self.unread = false;
            self.versions = lists.iter().map(|list| (list.node, list.version)).collect();
            self.snapshots.push(sorted(lists));
        }
    }
}

/// Two nodes with a list each, known to a third process that only listens.
async fn two_nodes(server: &Server) -> (RedisLive, RedisLive, Listener) {
    let (a, b, c) = (connect(server).await, connect(server).await, connect(server).await);
    a.announce(NodeId(1), vec![change(10, true, 5), change(11, true, 5)]).await.unwrap();
    b.announce(NodeId(2), vec![change(20, true, 5)]).await.unwrap();
    let mut listener = Listener::new(&c);
    while listener.snapshots.is_empty() {
        listener.hear().await;
    }
    (a, b, listener)
}

const BOTH: [(u64, &[u64]); 2] = [(1, &[10, 11]), (2, &[20])];

fn is_both(lists: &[(u64, Vec<u64>)]) -> bool {
    lists.iter().map(|(node, users)| (*node, users.as_slice())).eq(BOTH)
}

/// Heartbeats of both, until the listener has read both lists anew; it never read fewer.
async fn heal(a: &RedisLive, b: &RedisLive, listener: &mut Listener) {
    let (begun, before) = (Instant::now(), listener.snapshots.len());
    while listener.snapshots.len() == before || listener.unread {
        // The second node comes later, so that there is a time in which one list is there and the other is not.
        let _ = a.publish(beat(1)).await;
        if begun.elapsed() > Duration::from_millis(300) {
            let _ = b.publish(beat(2)).await;
        }
        listener.hear().await;
        assert!(begun.elapsed() < Duration::from_secs(20), "not healed: {:?}", listener.snapshots);
    }
    for lists in &listener.snapshots {
        assert!(is_both(lists), "somebody flickered: {lists:?}");
    }
}

#[tokio::test]
async fn a_server_that_comes_back_empty_is_written_again_and_nobody_flickers() {
    let mut server = server();
    let (a, b, mut listener) = two_nodes(&server).await;
    let begun = Instant::now();
    server.restart();
    heal(&a, &b, &mut listener).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // And again, without a restart that a connection would notice.
    let mut connection = raw(&server).await;
    redis::cmd("FLUSHALL").query_async::<String>(&mut connection).await.unwrap();
    heal(&a, &b, &mut listener).await;
}

#[tokio::test]
async fn a_server_that_comes_back_older_is_not_believed() {
    let mut server = server();
    let (a, b, mut listener) = two_nodes(&server).await;
    a.announce(NodeId(1), vec![change(11, false, 6)]).await.unwrap();
    let mut connection = raw(&server).await;
    redis::cmd("SAVE").query_async::<String>(&mut connection).await.unwrap();
    a.announce(NodeId(1), vec![change(11, true, 7)]).await.unwrap();
    until(async || listener.live.snapshot().await, |lists| is_both(&sorted(lists.clone()))).await;
    listener.snapshots.clear();
    server.restart();
    let mut connection = raw(&server).await;
    let kept: u64 = redis::cmd("DBSIZE").query_async(&mut connection).await.unwrap();
    assert!(kept > 0, "this is about what was saved");
    heal(&a, &b, &mut listener).await;
}

#[tokio::test]
async fn changes_without_an_answer_are_in_the_list_that_is_written_again() {
    let server = server();
    let (mut hasty, other) = (options(&server), connect(&server).await);
    hasty.answer_timeout = Duration::from_millis(100);
    let live = RedisLive::connect(hasty).await.unwrap();
    live.announce(NodeId(1), vec![change(10, true, 5)]).await.unwrap();
    signal(&server, "-STOP");
    let begun = Instant::now();
    let unknown = live.announce(NodeId(1), vec![change(11, true, 6)]).await;
    let asked = live.is_revoked(UserId(1), SessionId(1), 0).await;
    signal(&server, "-CONT");
    assert!(unknown.is_err() && asked.is_err(), "{unknown:?} {asked:?}");
    assert!(begun.elapsed() < Duration::from_secs(2), "every command has a deadline");
    until(async || live.publish(beat(1)).await, |()| true).await;
    let expected = [(1, vec![10, 11])];
    until(async || other.snapshot().await, |lists| sorted(lists.clone()) == expected).await;
}

/// While it stands still nothing is answered and nobody dies; afterwards all goes on.
#[tokio::test]
async fn a_server_that_stood_still_is_nobodys_death() {
    let server = server();
    let mut brief = options(&server);
    brief.silent_ms = 400;
    brief.answer_timeout = Duration::from_millis(150);
    let a = RedisLive::connect(brief.clone()).await.unwrap();
    let b = RedisLive::connect(brief).await.unwrap();
    a.announce(NodeId(1), vec![change(10, true, 5)]).await.unwrap();
    b.announce(NodeId(2), vec![change(20, true, 5)]).await.unwrap();
    let mut stream = a.subscribe();
    signal(&server, "-STOP");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(900) {
        assert!(a.publish(beat(1)).await.is_err());
        pause().await;
    }
    signal(&server, "-CONT");
    until(async || a.publish(beat(1)).await, |()| true).await;
    let lists = until(async || a.snapshot().await, |_| true).await;
    assert_eq!(sorted(lists), [(1, vec![10]), (2, vec![20])]);
    // Then the second one is really silent, and is buried.
    let begun = Instant::now();
    loop {
        until(async || a.publish(beat(1)).await, |()| true).await;
        let next = tokio::time::timeout(Duration::from_millis(50), stream.next()).await;
        if matches!(&next, Ok(Ok(signals)) if signals.contains(&Signal::NodeGone { node: NodeId(2) }))
        {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "never buried");
    }
    assert!(begun.elapsed() > Duration::from_millis(200), "buried at once");
    let mut connection = raw(&server).await;
    let keys = ["wc:{live}:pres:0000000000000002", "wc:{live}:pres:0000000000000001"];
    let there = redis::cmd("EXISTS").arg(&keys).to_owned();
    assert_eq!(there.query_async::<u64>(&mut connection).await.unwrap(), 1);
    // It was not dead after all.
    until(async || b.publish(beat(2)).await, |()| true).await;
    let expected = [(1, vec![10]), (2, vec![20])];
    until(
        async || {
            let _ = a.publish(beat(1)).await;
            a.snapshot().await
        },
        |lists| sorted(lists.clone()) == expected,
    )
    .await;
}

#[tokio::test]
async fn a_subscriber_that_is_cut_off_hears_again_and_is_told_what_it_missed() {
    let server = server();
    let (a, b) = (connect(&server).await, connect(&server).await);
    let mut stream = b.subscribe();
    let mut connection = raw(&server).await;
    let kill = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").to_owned();
    let (mut heard, mut lost) = (0, 0);
    for round in 0..5u64 {
        kill.query_async::<i64>(&mut connection).await.unwrap();
        for _ in 0..10 {
            a.publish(beat(round)).await.unwrap();
        }
        let begun = Instant::now();
        let last = Signal::Heartbeat { node: NodeId(1_000 + round) };
        'round: loop {
            a.publish(vec![last.clone()]).await.unwrap();
            let next = tokio::time::timeout(Duration::from_millis(10), stream.next());
            match next.await {
                Ok(Ok(signals)) => {
                    heard += signals.len() as u64;
                    if signals.contains(&last) {
                        break 'round;
                    }
                }
                Ok(Err(count)) => lost += count,
                Err(_) => {}
            }
            assert!(begun.elapsed() < Duration::from_secs(2), "not healed in time");
        }
    }
    // Each flush was one signal. Those of the last round may still be on their way.
    let published = redis::cmd("GET").arg("wc:{live}:signals").to_owned();
    let published: u64 = published.query_async(&mut connection).await.unwrap();
    while heard + lost < published {
        match stream.next().await {
            Ok(signals) => heard += signals.len() as u64,
            Err(count) => lost += count,
        }
    }
    assert!(lost > 0, "nothing was ever lost: this tests nothing");
    assert_eq!(heard + lost, published, "each was heard, or told to be lost");
}

#[tokio::test]
async fn what_was_revoked_is_said_again_to_a_server_that_lost_it_or_was_away() {
    let mut server = server();
    let (a, b) = (connect(&server).await, connect(&server).await);
    let now = 1_000_000;
    let (kept, user) = (SessionId(1), UserId(5));
    a.revoke(Revocation::Session(kept), now, 600_000).await.unwrap();
    let all = Revocation::User { user, except: Some(SessionId(9)) };
    a.revoke(all, now, 600_000).await.unwrap();
    let mut stream = b.subscribe();
    server.kill();
    let late = SessionId(2);
    assert!(a.revoke(Revocation::Session(late), now, 600_000).await.is_err(), "it is away");
    assert!(b.is_revoked(user, kept, 0).await.is_err(), "and nobody knows");
    server.restart();
    for (session, expected) in [(kept, true), (SessionId(3), true), (SessionId(9), false)] {
        until(async || b.is_revoked(user, session, 5).await, |is| *is == expected).await;
    }
    until(async || b.is_revoked(UserId(6), late, 5).await, |is| *is).await;
    wait_for(&mut stream, |signal| match signal {
        Signal::Revoked(Revocation::Session(session)) => {
            assert_eq!(*session, late, "what everybody has heard is not said again");
            Some(())
        }
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn a_full_memory_stops_neither_signals_nor_revocations() {
    let server = server();
    let live = connect(&server).await;
    live.announce(NodeId(1), vec![change(1, true, 5)]).await.unwrap();
    let mut connection = raw(&server).await;
    let limit = redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("1").to_owned();
    limit.query_async::<String>(&mut connection).await.unwrap();
    let mut stream = live.subscribe();
    live.publish(beat(1)).await.unwrap();
    live.publish(beat(9)).await.unwrap();
    live.revoke(Revocation::Session(SessionId(4)), 1_000, 60_000).await.unwrap();
    assert_eq!(live.is_revoked(UserId(1), SessionId(4), 0).await, Ok(true));
    wait_for(&mut stream, |signal| matches!(signal, Signal::Revoked(_)).then_some(())).await;
    let conversation = ConversationId::direct(UserId(1), UserId(2));
    let receipts = vec![(conversation, UserId(1), Cursors { delivered: 1, read: 1 })];
    assert!(live.receipts_merge(receipts).await.is_err(), "this waits until there is room");
    live.leave(NodeId(1)).await.unwrap();
    assert_eq!(sorted(live.snapshot().await.unwrap()), []);
}

/// A server that is away at the start is waited for.
#[tokio::test]
async fn a_process_starts_without_its_live_server() {
    let mut server = server();
    server.kill();
    let live = Arc::new(connect(&server).await);
    assert!(live.publish(beat(1)).await.is_err());
    server.restart();
    let mut stream = live.subscribe();
    until(async || live.publish(beat(1)).await, |()| true).await;
    until(
        async || {
            let _ = live.publish(beat(2)).await;
            tokio::time::timeout(Duration::from_millis(20), stream.next()).await
        },
        |next| next.is_ok(),
    )
    .await;
}
