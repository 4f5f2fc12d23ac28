//! Another start of the server: nobody appends before everybody has said what it has seen, and what was lost comes back.

use std::sync::Arc;

use backplane::{AppendError, Archive, Batch, Gap, Log, Verdict, memory_archive::MemoryArchive};
use backplane::{redis::RedisLog, sequencer::EPOCH_SKIP};
use protocol::{EventKind, Pos};

use crate::bench::{
    append, born, direct, envelope, message, next, open_until_admitted, options, pause, persist,
    read_all, rejoin, store,
};
use crate::server::{Server, copy_folder};

pub(crate) struct Two {
    pub(crate) server: Server,
    archive: MemoryArchive,
    pub(crate) a: RedisLog,
    pub(crate) b: RedisLog,
}

/// Nodes 1 and 2, and the conversation.
pub(crate) async fn two() -> Two {
    let (server, archive) = (Server::start(), MemoryArchive::default());
    let a = open_until_admitted(options(&server, 1, &archive), Pos::default()).await;
    let b = open_until_admitted(options(&server, 2, &archive), Pos::default()).await;
    assert_eq!(store(&a, born()).await, (1, Pos::new(1, 1)));
    Two { server, archive, a, b }
}

impl Two {
    /// The server as it was some time ago takes over.
    pub(crate) fn roll_back(&mut self, copy: &std::path::Path) {
        self.server.kill();
        std::fs::remove_dir_all(&self.server.folder).unwrap();
        copy_folder(copy, &self.server.folder);
        std::fs::remove_dir_all(copy).unwrap();
        self.server.restart();
    }

    pub(crate) fn copy(&self) -> std::path::PathBuf {
        let copy = self.server.folder.with_extension("copy");
        copy_folder(&self.server.folder, &copy);
        copy
    }

    /// Both nodes give back what they hold, each at its turn.
    pub(crate) async fn restore(&self, held: &[Arc<Batch>], watermark: Pos) -> u32 {
        let seen = held.last().map_or(Pos::default(), |batch| batch.pos);
        let (mut open, mut gave) = ([false; 2], 0);
        for round in 0..4_000 {
            let (at, node) = (round % 2, round as u64 % 2 + 1);
            let log = [&self.a, &self.b][at];
            match log.rejoin(0, node, seen, watermark).await {
                Ok(admitted) => match admitted.restore {
                    None => open[at] = true,
                    Some(lease) => {
                        gave += 1;
                        let own: Vec<_> = held.iter().skip(at).cloned().collect();
                        log.restore(0, own, lease).await.unwrap();
                    }
                },
                Err(_) => pause().await,
            }
            if open == [true; 2] {
                return gave;
            }
        }
        panic!("the log did not open again");
    }
}

async fn is_fenced(log: &RedisLog) -> bool {
    matches!(append(log, &[message(50, 1)]).await, Err(AppendError::Fenced { epoch: 1 }))
}

#[tokio::test]
async fn after_a_restart_the_same_epoch_goes_on_once_all_have_answered() {
    let mut two = two().await;
    let mut follower = two.b.follow(0, Pos::new(1, 0));
    assert_eq!(next(&mut *follower).await.pos, Pos::new(1, 1));
    let mut appender = two.a.appender(0);
    appender.append(&[message(5, 1)]).await.unwrap();
    two.server.restart();
    // The old connection is gone: whether it was carried out, only the same batch again can tell.
    let lost = appender.append(&[message(5, 2)]).await;
    assert!(matches!(lost, Err(AppendError::Unknown | AppendError::Fenced { .. })), "{lost:?}");
    assert!(is_fenced(&two.a).await && is_fenced(&two.b).await);
    assert!(
        two.a.rejoin(0, 1, Pos::new(1, 2), Pos::default()).await.is_err(),
        "b has not answered"
    );
    assert!(is_fenced(&two.a).await);
    let admitted = rejoin(&two.b, 2, Pos::new(1, 2), Pos::default()).await;
    assert_eq!((admitted.epoch, admitted.end, admitted.restore), (1, Pos::new(1, 2), None));
    // It is open, but this node has not been told so: it may not have said what it has seen.
    assert!(is_fenced(&two.a).await);
    rejoin(&two.a, 1, Pos::new(1, 2), Pos::default()).await;
    let verdicts = appender.append(&[message(5, 1), message(5, 2)]).await.unwrap();
    assert!(
        matches!(
            verdicts[..],
            [
                Verdict::Dup { seq: 2, .. },
                Verdict::Stored { seq: 3, pos: Pos { epoch: 1, n: 3 }, .. }
            ]
        ),
        "{verdicts:?}"
    );
    for n in 2..=3 {
        assert_eq!(next(&mut *follower).await.pos, Pos::new(1, n), "a follower goes on");
    }
}

/// Followers answer for their node, so that one that never appends holds nobody up.
#[tokio::test]
async fn a_node_that_only_follows_answers_by_its_follower() {
    let mut two = two().await;
    let mut follower = two.b.follow(0, Pos::new(1, 0));
    next(&mut *follower).await;
    two.server.restart();
    let waiting = tokio::spawn(async move { next(&mut *follower).await.pos });
    let admitted = rejoin(&two.a, 1, Pos::new(1, 1), Pos::default()).await;
    assert_eq!(admitted.end, Pos::new(1, 1));
    store(&two.a, message(5, 1)).await;
    assert_eq!(waiting.await.unwrap(), Pos::new(1, 2));
}

#[tokio::test]
async fn a_copy_that_lacks_something_begins_an_epoch_with_everything_that_was_seen() {
    let mut two = two().await;
    for no in 1..=3 {
        store(&two.a, message(5, no)).await;
    }
    persist(&two.a, &two.archive, 2).await;
    let copy = two.copy();
    let batch: Vec<_> = (4..=40).map(|no| message(5, no)).collect();
    append(&two.a, &batch).await.unwrap();
    store(&two.b, message(6, 1)).await;
    let (held, stored) = (read_all(&two.a).await, Pos::new(1, 2));
    let mut follower = two.a.follow(0, held.last().unwrap().pos);
    two.roll_back(&copy);
    assert!(is_fenced(&two.a).await);
    assert_eq!(two.restore(&held, stored).await, 2, "each had its turn, once");

    let again = read_all(&two.b).await;
    let events = |batches: &[Arc<Batch>]| -> Vec<_> {
        batches.iter().flat_map(|batch| batch.events.clone()).collect()
    };
    assert_eq!(events(&again), events(&held[2..]), "all above W, under the old seqs");
    let places: Vec<Pos> = again.iter().map(|batch| batch.pos).collect();
    assert_eq!(places, (1..=4).map(|n| Pos::new(2, n)).collect::<Vec<_>>());
    assert!(matches!(
        follower.next().await,
        Err(Gap::EpochChanged { epoch: 2, common: Pos { epoch: 1, n: 2 } })
    ));
    let mut persister = two.b.follow(0, stored);
    assert_eq!(next(&mut *persister).await.pos, Pos::new(2, 1), "the epoch begins behind W");

    // What is known still is: in memory with its place in this epoch, or as stored.
    let verdicts = append(&two.a, &[message(5, 40), message(6, 1), message(5, 41)]).await.unwrap();
    let next_seq = 42 + 1 + EPOCH_SKIP;
    let [
        Verdict::Dup { seq: 41, pos: Pos { epoch: 2, n: 3 }, .. },
        Verdict::Dup { seq: 42, pos: Pos { epoch: 2, n: 4 }, .. },
        Verdict::Stored { seq, pos: Pos { epoch: 2, n: 5 }, .. },
    ] = verdicts[..]
    else {
        panic!("{verdicts:?}");
    };
    assert_eq!(seq, next_seq);
    assert_eq!(store(&two.b, message(6, 2)).await, (next_seq + 1, Pos::new(2, 6)), "once");
}

#[tokio::test]
async fn a_log_that_lost_everything_asks_nodes_and_archive() {
    let mut two = two().await;
    store(&two.a, message(5, 1)).await;
    persist(&two.a, &two.archive, 2).await;
    let quiet = store(&two.a, message(5, 2)).await.0;
    let held = read_all(&two.a).await;
    two.server.kill();
    std::fs::remove_dir_all(&two.server.folder).unwrap();
    std::fs::create_dir_all(&two.server.folder).unwrap();
    two.server.restart();
    two.restore(&held[2..], Pos::new(1, 2)).await;
    let again = read_all(&two.a).await;
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].events, held[2].events);
    // A birth would be a second one: the archive knows better.
    let second = append(&two.a, &[envelope(7, 1, EventKind::Created)]).await.unwrap();
    assert_eq!(second, [Verdict::StaleMembership { mver: 0 }]);
    assert_eq!(store(&two.b, message(8, 1)).await, (quiet + 1 + EPOCH_SKIP, Pos::new(2, 2)));
    assert_eq!(store(&two.b, message(8, 2)).await.0, quiet + 2 + EPOCH_SKIP);
    let head = two.archive.head(direct()).await.unwrap().unwrap();
    assert!(head.seq < quiet, "the log's own head was the higher one");
}

/// What a node that says nothing had seen, nobody can tell (ADR 0007).
#[tokio::test]
async fn a_lease_that_runs_out_without_an_answer_begins_an_epoch() {
    let mut two = two().await;
    two.server.restart();
    let begun = std::time::Instant::now();
    let admitted = rejoin(&two.a, 1, Pos::new(1, 1), Pos::default()).await;
    assert!(begun.elapsed().as_millis() >= u128::from(crate::bench::LEASE_MS) - 50);
    assert_eq!((admitted.epoch, admitted.end), (2, Pos::new(1, 1)));
    two.a.restore(0, Vec::new(), admitted.restore.expect("a turn")).await.unwrap();
    assert_eq!(rejoin(&two.a, 1, Pos::new(1, 1), Pos::default()).await.epoch, 2);
    assert_eq!(store(&two.a, message(5, 1)).await, (2 + EPOCH_SKIP, Pos::new(2, 2)));
    // The silent one comes back: it has to tell, and learns of the epoch.
    assert!(append(&two.b, &[message(6, 1)]).await.is_err());
    assert_eq!(rejoin(&two.b, 2, Pos::new(1, 1), Pos::default()).await.epoch, 2);
    store(&two.b, message(6, 1)).await;
}

/// More than one step of it; the server ends between two.
#[tokio::test]
async fn an_epoch_that_was_not_finished_is_begun_again_as_another() {
    let mut two = two().await;
    for no in 1..=150 {
        store(&two.a, message(5, no)).await;
    }
    let held = read_all(&two.a).await;
    let copy = two.copy();
    store(&two.a, message(5, 151)).await;
    let all = read_all(&two.a).await;
    two.roll_back(&copy);
    let seen = all.last().unwrap().pos;
    // The other node lets its turn pass; this one gives, and then there is one step only.
    assert!(two.a.rejoin(0, 1, seen, Pos::default()).await.is_err());
    assert!(two.b.rejoin(0, 2, Pos::new(1, 1), Pos::default()).await.unwrap().restore.is_some());
    let lease = rejoin(&two.a, 1, seen, Pos::default()).await.restore.unwrap();
    two.a.restore(0, all.clone(), lease).await.unwrap();
    raw_build_step(&two.server).await;
    two.server.restart();
    two.restore(&all, Pos::default()).await;
    let again = read_all(&two.a).await;
    assert_eq!(
        again.first().unwrap().pos,
        Pos::new(3, 1),
        "the number of the torn one is not used"
    );
    assert_eq!(again.len(), held.len() + 1);
    let events = |batches: &[Arc<Batch>]| -> Vec<_> {
        batches.iter().flat_map(|batch| batch.events.clone()).collect()
    };
    assert_eq!(events(&again), events(&all));
}

async fn raw_build_step(server: &Server) {
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let info: String = redis::cmd("INFO").query_async(&mut connection).await.unwrap();
    let run = info.lines().find_map(|line| line.strip_prefix("run_id:")).unwrap().trim();
    let mut command = redis::cmd("FCALL");
    command.arg("webchat_log_1_build").arg(9);
    for key in
        ["state", "log", "heads", "dedupe:0", "dedupe:1", "nodes", "answers", "given", "order"]
    {
        command.arg(format!("wc:{{0}}:{key}"));
    }
    let step: (String,) = command.arg(run).query_async(&mut connection).await.unwrap();
    assert_eq!(step.0, "more");
}

/// A node that sees other bytes under a place that it knows ends the epoch for all.
#[tokio::test]
async fn a_push_that_rewrites_the_past_is_a_rollback() {
    let two = two().await;
    let mut follower = two.b.follow(0, Pos::new(1, 1));
    store(&two.a, message(5, 1)).await;
    // The first may come by the read, of which no checksum is kept; later ones are pushed.
    assert_eq!(next(&mut *follower).await.pos, Pos::new(1, 2));
    let waiting = tokio::spawn(async move {
        let pushed = next(&mut *follower).await;
        (follower.next().await, pushed)
    });
    let client = redis::Client::open(two.server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    loop {
        let range = redis::cmd("PUBSUB").arg("NUMSUB").arg("wc:{0}:log").to_owned();
        let (_, count): (String, u64) = range.query_async(&mut connection).await.unwrap();
        if count > 0 {
            break;
        }
    }
    store(&two.a, message(5, 2)).await;
    let entry: redis::Value = redis::cmd("XREVRANGE")
        .arg(&["wc:{0}:log", "+", "-", "COUNT", "1"])
        .query_async(&mut connection)
        .await
        .unwrap();
    let mut bytes = bytes_of(&entry).expect("an entry");
    *bytes.last_mut().unwrap() ^= 1;
    let mut publish = redis::cmd("PUBLISH");
    publish.arg("wc:{0}:log").arg(bytes);
    let _: u64 = publish.query_async(&mut connection).await.unwrap();
    for _ in 0..2_000 {
        if append(&two.a, &[message(5, 3)]).await.is_err() {
            break;
        }
        pause().await;
    }
    assert!(matches!(append(&two.a, &[message(5, 9)]).await, Err(AppendError::Fenced { .. })));
    two.restore(&[], Pos::default()).await;
    assert_eq!(two.a.end(0).await.unwrap().epoch, 2);
    let (gap, pushed) = waiting.await.unwrap();
    assert_eq!(pushed.pos, Pos::new(1, 3));
    assert!(matches!(gap, Err(Gap::EpochChanged { epoch: 2, .. }) | Ok(_)), "{gap:?}");
}

/// The first bytes that are long enough for an entry.
fn bytes_of(value: &redis::Value) -> Option<Vec<u8>> {
    match value {
        redis::Value::BulkString(bytes) if bytes.len() > 31 => Some(bytes.clone()),
        redis::Value::Array(parts) => parts.iter().find_map(bytes_of),
        _ => None,
    }
}

/// The push fails behind the writes: nobody may go on with half a batch, and nobody may lose it either.
#[tokio::test]
async fn an_append_that_was_torn_ends_the_epoch_and_is_stored_once() {
    let two = two().await;
    let client = redis::Client::open(two.server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut acl = async |rule: &str| {
        let mut command = redis::cmd("ACL");
        command.arg(&["SETUSER", "default", rule]);
        let () = command.query_async(&mut connection).await.unwrap();
    };
    store(&two.a, message(5, 1)).await;
    let mut appender = two.a.appender(0);
    appender.append(&[message(6, 1)]).await.unwrap();
    acl("resetchannels").await;
    assert_eq!(appender.append(&[message(6, 2)]).await, Err(AppendError::Unknown));
    acl("allchannels").await;
    let fenced = appender.append(&[message(6, 2)]).await;
    assert!(matches!(fenced, Err(AppendError::Fenced { epoch: 1 })), "{fenced:?}");
    two.restore(&[], Pos::default()).await;
    let verdicts = appender.append(&[message(6, 2)]).await.unwrap();
    let again = Pos::new(2, 4);
    assert!(
        matches!(verdicts[..], [Verdict::Dup { seq: 4, pos, .. }] if pos == again),
        "{verdicts:?}"
    );
    assert_eq!(read_all(&two.b).await.len(), 4);
    assert_eq!(store(&two.b, message(6, 3)).await, (5 + EPOCH_SKIP, Pos::new(2, 5)));
}
