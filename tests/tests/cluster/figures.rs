//! What figures of a cluster are made of.

use loadtest::{
    driver::Arrivals,
    scenario::{
        pairs::{self, PairsPlan, Partner},
        sides::{Place, Side},
    },
};
use tokio::task::LocalSet;

/// One publish in an append, two log servers, a persister that counts: all settings take effect, and all CPU is counted.
#[tokio::test]
async fn a_side_runs_with_its_settings_and_every_process_is_counted() {
    let side: Side = "ours+single+logs=2".parse().unwrap();
    let running = side.start(&Place::default(), 8).await.unwrap();
    let people = &running.population.people;
    let partner = |i: usize| Partner {
        token: people[i].token.clone(),
        conversation: running.population.direct_of(i).unwrap(),
    };
    let partners: Vec<Partner> = (0..people.len()).map(partner).collect();
    let arrivals = Arrivals::Closed { window: 4 };
    let plan = PairsPlan { arrivals, text_bytes: 64, warmup_s: 0.2, measure_s: 1.0, seed: 1 };
    let figure = pairs::run(plan, running.address, &partners, &running.servers);
    let found = LocalSet::new().run_until(figure).await.unwrap();
    assert!(found.acked > 0 && found.acked == found.delivered, "{found:?}");
    assert_eq!(found.cost.messages_per_append, Some(1.0), "{found:?}");
    let used = |name: &str| found.cost.cpu_us_by_process.iter().any(|(process, _)| process == name);
    assert!(["log", "log-2", "broker-1", "api-1"].into_iter().all(used), "{found:?}");
}
