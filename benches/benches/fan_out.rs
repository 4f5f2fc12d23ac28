//! The shard's fan-out: one message of a group, encoded once, into the outboxes of N recipients; and what a hundred direct
//! conversations cost, where every event has an encoding of its own.

use std::sync::Arc;

use backplane::{Batch, LogInfo, Logged, Membership, UserFlags, View, tail::SharedTail};
use benches::input::{batch, envelope};
use broker::{
    config::ShardConfig,
    presence::PresenceMap,
    shard::{Action, Actions, ConnectionId, Now, Principal, Shard},
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use protocol::{ConversationId, Pos, Role, SessionId, UserId};

const NOW: Now = Now { mono_ms: 1_000_000, wall_ms: 1_764_000_000_000 };
const TEXT_BYTES: usize = 100;
/// Bytes of one write.
const WRITE_BYTES: usize = 64 * 1024;

struct Fixture {
    shard: Shard,
    connections: Vec<ConnectionId>,
    n: u64,
}

impl Fixture {
    /// So many users with a live connection each; all of them are members of `group` if there is one.
    fn new(users: u64, group: Option<ConversationId>) -> Self {
        let log = LogInfo {
            partitions: 1,
            durability: "fsync".to_owned(),
            batch_envelopes_max: 1_024,
            batch_bytes_max: 256 * 1024,
        };
        let tail = SharedTail::default();
        tail.write().start(Pos::new(1, 0));
        let shard = Shard::new(
            ShardConfig::new("node".to_owned(), log),
            vec![tail],
            vec![Pos::new(1, 0)],
            Arc::new(PresenceMap::default()),
            Arc::new(|_, _| Err(token::TokenRefused)),
            7,
        );
        let mut fixture = Self { shard, connections: Vec::new(), n: 0 };
        (1..=users).for_each(|user| fixture.connect(UserId(user), group));
        fixture.drain();
        fixture
    }

    fn connect(&mut self, user: UserId, group: Option<ConversationId>) {
        let principal = Principal {
            user,
            session: SessionId(u128::from(user.0)),
            expires_at_ms: NOW.wall_ms + 600_000,
            issued_at_ms: NOW.wall_ms,
            trusted: false,
        };
        let (connection, mut actions) = (self.shard.on_connect(principal, NOW), Actions::new());
        let mut hello = br#"{"type":"hello"}"#.to_vec();
        self.shard.on_text(connection, &mut hello, NOW, &mut actions);
        let view = actions.iter().find_map(|action| match action {
            Action::LoadView { ticket, .. } => Some(*ticket),
            _ => None,
        });
        let groups = group.map(|conversation| Membership {
            conversation,
            role: Some(Role::Member),
            since: 1,
            mver: 1,
            group: None,
        });
        let answer = View {
            groups: groups.into_iter().collect(),
            blocked: Vec::new(),
            flags: UserFlags::default(),
            as_of: vec![Pos::new(1, 0)],
        };
        self.shard.on_view(view.expect("hello reads the view"), Ok(answer), NOW, &mut actions);
        self.connections.push(connection);
    }

    fn deliver(&mut self, batch: &Arc<Batch>) -> usize {
        let mut actions = Actions::new();
        self.shard.on_batch(0, batch, NOW, &mut actions);
        actions.len()
    }

    /// What the sockets do after it.
    fn drain(&mut self) -> usize {
        let (mut actions, mut out, mut bytes) = (Actions::new(), Vec::new(), 0);
        for connection in &self.connections {
            bytes += self.shard.take_output(*connection, WRITE_BYTES, &mut out, NOW, &mut actions);
            out.clear();
        }
        bytes
    }

    fn next(&mut self) -> u64 {
        self.n += 1;
        self.n
    }
}

fn group(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fan out");
    let conversation = ConversationId::group(7);
    for recipients in [1, 10, 100, 1_000] {
        group.throughput(Throughput::Elements(recipients));
        group.bench_function(BenchmarkId::new("a group of", recipients), |bencher| {
            let mut fixture = Fixture::new(recipients, Some(conversation));
            let message = envelope(conversation, UserId(1), 2, TEXT_BYTES);
            bencher.iter(|| {
                let batch = batch(fixture.next() + 1, message.clone());
                assert_eq!(fixture.deliver(&batch) as u64, recipients, "everybody is woken");
                fixture.drain()
            });
        });
    }
    group.finish();
}

fn direct(criterion: &mut Criterion) {
    const PAIRS: u64 = 100;
    let mut group = criterion.benchmark_group("fan out");
    group.throughput(Throughput::Elements(2 * PAIRS));
    group.bench_function("a batch of 100 direct messages, both sides here", |bencher| {
        let mut fixture = Fixture::new(2 * PAIRS, None);
        bencher.iter(|| {
            let n = fixture.next();
            let logged = (1..=PAIRS).map(|pair| {
                let (from, to) = (UserId(2 * pair - 1), UserId(2 * pair));
                let message = envelope(ConversationId::direct(from, to), from, n, TEXT_BYTES);
                Logged { seq: n + 1, ordinal: n, envelope: message }
            });
            let (pos, ts) = (Pos::new(1, n), NOW.wall_ms);
            let batch = Arc::new(Batch { pos, ts, events: logged.collect() });
            assert_eq!(fixture.deliver(&batch) as u64, 2 * PAIRS, "everybody is woken");
            fixture.drain()
        });
    });
    group.finish();
}

criterion_group!(benches, group, direct);
criterion_main!(benches);
