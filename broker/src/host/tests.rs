//! The edge without sockets. Owns: nothing. Never does: network. Talks to: one host. Start reading at: the top.

use std::panic::{AssertUnwindSafe, catch_unwind};

use backplane::{
    NodeId,
    local::{LocalLive, LocalLog, MemoryDisk, Options},
    memory_archive::MemoryArchive,
    tail::SharedTail,
};
use token::TokenRefused;

use super::*;
use crate::config::{BrokerConfig, ShardConfig};

fn host() -> Rc<Host> {
    let node = Node::new(BrokerConfig { shards: 1, ..BrokerConfig::new(NodeId(1)) });
    let archive: Arc<dyn Archive> = Arc::new(MemoryArchive::default());
    let mut options = Options::new(Arc::new(|| 1), Arc::new(|_| ()));
    options.segment_bytes = 1 << 20;
    let disk = Arc::new(MemoryDisk::default());
    let log = LocalLog::open(disk, Arc::clone(&archive), Pos::new(1, 0), options).unwrap();
    let around = Surroundings {
        log: Arc::new(log),
        live: Arc::new(LocalLive::new(Arc::new(|| 1))),
        archive,
        tails: vec![SharedTail::default()],
        appenders: Vec::new(),
        voice: Voice::new(Arc::clone(&node.metrics)).0,
        node,
    };
    let config = ShardConfig::of(&around.node.config, around.log.info());
    let refuse = Arc::new(|_: &str, _| Err(TokenRefused));
    let cursor = vec![Pos::new(1, 0)];
    let shard = Shard::new(config, around.tails.clone(), cursor, Arc::default(), refuse, 1);
    Host::new(0, shard, around, mpsc::channel(1).0)
}

#[tokio::test]
async fn late_ticks_raise_the_ladder_and_the_page_says_so() {
    let host = host();
    let shed = || host.around.node.metrics.render().contains("broker_shed_state 3");
    host.tick(Duration::from_secs(4));
    assert!(!shed(), "one stop of the machine");
    host.tick(Duration::from_secs(4));
    assert!(shed());
    assert_eq!(host.shard.borrow().ladder(), 3);
    // The next life of the shard begins at the bottom.
    host.ladder.replace(Ladder::default());
    host.tick(Duration::ZERO);
    assert!(host.around.node.metrics.render().contains("broker_shed_state 0"));
}

/// Up to sixty other tasks had their turn with it before the supervisor heard of the panic.
#[tokio::test]
async fn a_shard_that_a_step_left_half_done_does_not_serve_on() {
    let host = host();
    let step = |work: fn(&mut Shard)| {
        catch_unwind(AssertUnwindSafe(|| host.step(|shard, _, _| work(shard)))).is_ok()
    };
    assert!(step(|_| ()));
    assert!(!step(|_| panic!("put in on purpose")));
    assert!(!step(|_| ()), "it served on");
}
