//! Hostile input beside honest people: the short form of `loadtest hostile`.

use loadtest::{
    scenario::hostile::{HostilePlan, run},
    server::{Options, Server},
};
use tokio::task::LocalSet;

/// What the attacks may leave behind in the server's memory: caches and the allocator's reserve, not a part per attack.
const GROWTH_MAX: u64 = 128 * 1024 * 1024;

/// R5, R6, R9 and the threats of the socket: each case gets its named answer, and the honest go on.
#[tokio::test]
async fn every_hostile_case_gets_its_named_answer() {
    let server = Server::start(Options::default()).await.unwrap();
    let plan = HostilePlan { half_open: 200, stalled: 5, stall_messages: 700, calm_s: 0.5 };
    let result = LocalSet::new().run_until(Box::pin(run(plan, &server, Vec::new()))).await.unwrap();
    assert!(result.wrong().is_empty(), "{:#?}", result.wrong());
    assert_eq!(result.stalled_closed, 5, "slow consumers are closed");
    assert!(result.growth() < GROWTH_MAX, "memory grew by {}", result.growth());
}
