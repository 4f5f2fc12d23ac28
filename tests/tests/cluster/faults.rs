//! The fault campaign in its short form: `cargo xtask faults` is the long one.

use loadtest::{
    cluster::starter::Options,
    scenario::cluster::{FaultsPlan, run},
};

/// H1–H9, H12 on a whole cluster: every acked message is in history exactly once, in order, without holes, and every
/// client that stayed has each exactly once, whatever died, stood still or lost its memory meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_while_a_nemesis_works_on_the_cluster() {
    let seed = rand::random();
    let plan = FaultsPlan { seed, faults: 22, ..FaultsPlan::default() };
    let result = run(plan, Options::default()).await.unwrap();
    assert!(result.holds(), "seed {seed}: {}\n{result:#?}", result.verdict);
    assert!(result.struck.len() >= 20 && result.acked >= 1_000, "{}", result.acked);
}
