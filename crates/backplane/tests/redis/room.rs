//! What the log keeps and for how long: retention by bytes, memory that fills, and what was left out of a numbering.

use std::sync::Arc;

use backplane::{
    AppendError, Archive, ArchiveError, BoxFuture, Found, Head, Key, Log, Room, StoredEvent,
    Verdict, View, memory_archive::MemoryArchive, sequencer::EPOCH_SKIP,
};
use protocol::{ConversationId, Pos, SessionId, UserId};

use crate::bench::{
    append, ask, born, message, next, open_until_admitted, options, pause, persist, read_all, store,
};
use crate::fence::two;
use crate::server::Server;

fn long(no: u64) -> backplane::Envelope {
    let mut envelope = message(5, no);
    envelope.body = vec![b'x'; 1_000].into();
    envelope
}

#[tokio::test]
async fn what_is_stored_may_be_trimmed_once_there_is_enough_behind_it() {
    const KEPT: u64 = 20_000;
    let (server, archive) = (Server::start(), MemoryArchive::default());
    let mut options = options(&server, 1, &archive);
    options.retention_bytes = KEPT;
    let log = open_until_admitted(options, Pos::default()).await;
    store(&log, born()).await;
    for no in 1..=99 {
        store(&log, long(no)).await;
    }
    persist(&log, &archive, 80).await;
    // Head, place, key, the rest of the run, a hash, a size, a body.
    let entry = 31 + 24 + 32 + 19 + 8 + 4 + 1_000;
    let floor = log.trimmable(0).await.unwrap();
    let behind = (80 - floor.n) * entry;
    assert!(behind > KEPT && behind - entry <= KEPT, "{floor}: {behind} bytes");
    assert!(log.trim(0, Pos::new(1, floor.n + 1)).await.is_err(), "one more is too much");
    log.trim(0, floor).await.unwrap();
    assert_eq!(log.first(0).await, Ok(floor));
    assert_eq!(read_all(&log).await.len() as u64, 100 - floor.n);
}

async fn set_share(server: &Server, percent: u64) {
    let info: String = ask(server, &["INFO", "memory"]).await;
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    let limit = used.trim().parse::<u64>().unwrap() * 100 / percent;
    let () = ask(server, &["CONFIG", "SET", "maxmemory", &limit.to_string()]).await;
}

#[tokio::test]
async fn a_log_that_is_nearly_full_refuses_before_it_has_to() {
    let (server, archive) = (Server::start(), MemoryArchive::default());
    let log = open_until_admitted(options(&server, 1, &archive), Pos::default()).await;
    store(&log, born()).await;
    let mut follower = log.follow(0, Pos::new(1, 0));
    next(&mut *follower).await;
    let following = tokio::spawn(async move { follower.next().await });
    assert_eq!(log.room(0), Room::Green, "without a limit");
    let mut no = 0;
    for (percent, room) in [(40, Room::Green), (60, Room::Yellow), (90, Room::Red), (75, Room::Red)]
    {
        set_share(&server, percent).await;
        for _ in 0..2_000 {
            if log.room(0) == room {
                break;
            }
            pause().await;
        }
        assert_eq!(log.room(0), room, "at {percent} percent");
    }
    let refused = append(&log, &[message(6, 1)]).await;
    assert!(matches!(refused, Err(AppendError::NotStored { .. })), "{refused:?}");
    // Trimming and W go on, and appends too when there is room.
    persist(&log, &archive, 1).await;
    set_share(&server, 60).await;
    let verdicts = loop {
        match append(&log, &[message(6, 1)]).await {
            Ok(verdicts) => break verdicts,
            Err(AppendError::NotStored { .. }) => pause().await,
            other => panic!("{other:?}"),
        }
        no += 1;
        assert!(no < 2_000, "still red");
    };
    assert!(matches!(verdicts[..], [Verdict::Stored { seq: 2, .. }]));
    following.abort();
}

/// The seq before the first run of the log's last entry.
async fn before_last(server: &Server) -> u64 {
    type Entries = Vec<(String, Vec<Vec<u8>>)>;
    let entries: Entries = ask(server, &["XREVRANGE", "wc:{0}:log", "+", "-", "COUNT", "1"]).await;
    u64::from_le_bytes(entries[0].1[1][31..39].try_into().unwrap())
}

#[tokio::test]
async fn an_entry_that_is_given_back_still_tells_what_was_left_out_before_it() {
    let mut two = two().await;
    store(&two.a, message(5, 1)).await;
    let _: u64 = ask(&two.server, &["HSET", "wc:{0}:state", "run", "", "unheard", "1"]).await;
    assert!(append(&two.a, &[message(5, 2)]).await.is_err());
    two.restore(&[], Pos::default()).await;
    let copy = two.copy();
    let seq = store(&two.a, message(5, 2)).await.0;
    assert_eq!((seq, before_last(&two.server).await), (3 + EPOCH_SKIP, 2));
    let held = read_all(&two.a).await;
    two.roll_back(&copy);
    two.restore(&held, Pos::default()).await;
    assert_eq!(read_all(&two.b).await.last().unwrap().events[0].seq, seq);
    assert_eq!(before_last(&two.server).await, 2);
}

/// Answers nothing.
#[derive(Debug)]
struct Stuck(MemoryArchive);

impl Archive for Stuck {
    fn view(&self, user: UserId) -> BoxFuture<'_, Result<View, ArchiveError>> {
        self.0.view(user)
    }

    fn head(&self, _: ConversationId) -> BoxFuture<'_, Result<Option<Head>, ArchiveError>> {
        Box::pin(std::future::pending())
    }

    fn find(&self, key: Key) -> BoxFuture<'_, Result<Found, ArchiveError>> {
        self.0.find(key)
    }

    fn contacts(
        &self,
        user: UserId,
        people: Vec<UserId>,
    ) -> BoxFuture<'_, Result<Vec<UserId>, ArchiveError>> {
        self.0.contacts(user, people)
    }

    fn ended(
        &self,
        sessions: Vec<(UserId, SessionId)>,
    ) -> BoxFuture<'_, Result<Vec<SessionId>, ArchiveError>> {
        self.0.ended(sessions)
    }

    fn range(
        &self,
        conversation: ConversationId,
        from: u64,
        to: u64,
    ) -> BoxFuture<'_, Result<Vec<StoredEvent>, ArchiveError>> {
        self.0.range(conversation, from, to)
    }
}

#[tokio::test]
async fn an_archive_that_does_not_answer_holds_up_no_append_for_ever() {
    let two = two().await;
    let _: u64 = ask(&two.server, &["HSET", "wc:{0}:state", "run", "", "unheard", "1"]).await;
    assert!(append(&two.a, &[message(5, 1)]).await.is_err());
    two.restore(&[], Pos::default()).await;
    let mut stuck = options(&two.server, 3, &MemoryArchive::default());
    stuck.archive = Arc::new(Stuck(MemoryArchive::default()));
    stuck.answer_timeout = std::time::Duration::from_millis(200);
    let log = open_until_admitted(stuck, Pos::default()).await;
    let refused = append(&log, &[message(5, 1)]).await;
    assert!(matches!(refused, Err(AppendError::NotStored { .. })), "{refused:?}");
    store(&two.a, message(5, 1)).await;
}
