//! `kill -9` at random moments: the short form of `loadtest kill`.

use loadtest::{
    scenario::kill::{KillPlan, run},
    server::Options,
};

/// R10, R11, R17, R20, R22, R26–R28 on the real binary: every acked message is in history exactly once, in order, without
/// holes, and every client that stayed has each exactly once.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_when_the_server_is_killed() {
    let seed = rand::random();
    let plan = KillPlan { kills: 5, seed, between_ms: (200, 1_200), ..KillPlan::default() };
    let result = run(plan, Options::default()).await.unwrap();
    assert!(result.holds(), "seed {seed}: {result:#?}");
    assert!(result.judged.report.acked >= 1_000 && result.kills.len() == 5, "{:?}", result.kills);
    assert!(result.kills.iter().any(|kill| kill.unacked > 0), "killed in the middle of sending");
}
