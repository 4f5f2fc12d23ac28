//! The harness tested end to end against a fake server over real sockets: a server that keeps its promises passes, and
//! each broken promise is found under its name. A green kill test proves nothing until these have been red.

#![allow(clippy::unwrap_used, reason = "a test")]

mod fake;

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use fake::{Fake, Fault};
use loadtest::{
    checker::Anomaly,
    driver::Arrivals,
    faults::proxy::FaultProxy,
    scenario::{
        fanout::{self, FanoutPlan},
        fleet::{Fleet, FleetPlan},
        idle::{self, IdlePlan},
        kill::{KillPlan, KillResult, Victim, run_on},
        pairs::{self, PairsPlan, Partner},
        population::{Population, Seeded},
        servers::Servers,
        world::World,
    },
};
use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use tokio::time::sleep;

fn plan() -> KillPlan {
    KillPlan {
        kills: 4,
        connections: 24,
        people: 6,
        group_size: 3,
        window: 4,
        text_bytes: 80,
        between_ms: (20, 80),
        heal_ms: 20_000,
        seed: 7,
    }
}

async fn result(fault: Fault, plan: KillPlan) -> KillResult {
    let mut fake = Fake::start(fault).await;
    run_on(plan, &mut fake).await.unwrap()
}

#[track_caller]
fn finds(result: &KillResult, anomaly: Anomaly) {
    assert!(!result.holds());
    assert!(
        result.judged.report.anomalies.contains_key(&anomaly),
        "{anomaly:?} not in {}",
        result.judged.report
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_keeps_its_promises_passes() {
    let result = result(Fault::None, plan()).await;
    assert!(
        result.holds(),
        "{} unsettled {} behind {}",
        result.judged.report,
        result.judged.unsettled,
        result.judged.behind
    );
    assert!(
        result.judged.report.acked > 500 && result.kills.len() == 4,
        "{}",
        result.judged.report
    );
    assert!(
        result.judged.losses >= 4 * 24,
        "every kill cuts every connection: {}",
        result.judged.losses
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn untidy_delivery_is_put_right_by_the_client() {
    let result = result(Fault::Untidy, plan()).await;
    assert!(result.holds(), "{}", result.judged.report);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dedupe_switched_off_is_found() {
    finds(&result(Fault::DedupeOff, plan()).await, Anomaly::Duplicate);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acks_before_the_sync_are_found() {
    let result = result(Fault::FsyncOff, KillPlan { heal_ms: 4_000, ..plan() }).await;
    assert!(!result.holds());
    let found = |anomaly| result.judged.report.anomalies.contains_key(&anomaly);
    let lost = found(Anomaly::LostWrite) || found(Anomaly::DivergentOffset);
    assert!(lost, "{}", result.judged.report);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_loss_is_found() {
    finds(&result(Fault::SilentLoss, plan()).await, Anomaly::LostWrite);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_differs_from_the_history_is_found() {
    finds(&result(Fault::WrongText, plan()).await, Anomaly::DivergentOffset);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_misses_the_readers_own_ack_is_found() {
    let plan = KillPlan { kills: 2, between_ms: (1_500, 2_000), ..plan() };
    finds(&result(Fault::StaleReads, plan).await, Anomaly::StaleRead);
}

/// People of a fake world with their partners' direct conversations.
async fn partners(fake: &Fake, people: usize) -> (World, Vec<Partner>) {
    let world = World::build(fake.address(), "p", people, people).await.unwrap();
    let mut partners = Vec::new();
    for (i, person) in world.people.iter().enumerate() {
        let other = world.people[i ^ 1].user;
        let token = person.account.lock().await.socket_token.clone();
        let conversation = person.account.lock().await.direct(other).await.unwrap();
        partners.push(Partner { token, conversation });
    }
    (world, partners)
}

#[tokio::test]
async fn figures_of_pairs_count_every_message_once() {
    let fake = Fake::start(Fault::None).await;
    let (_, partners) = partners(&fake, 4).await;
    let pids = [std::process::id()];
    for arrivals in [Arrivals::Closed { window: 2 }, Arrivals::Open { rate: 400.0 }] {
        let plan = PairsPlan { arrivals, text_bytes: 128, warmup_s: 0.1, measure_s: 1.0, seed: 1 };
        let found =
            pairs::run(plan, fake.address(), &partners, &Servers::unnamed(&pids)).await.unwrap();
        assert!(found.delivered > 100 && found.acked == found.delivered, "{found:?}");
        assert!(found.cost.cpu_us_per_message > 0.0 && found.delivery.count == found.delivered);
        if let Arrivals::Open { rate } = arrivals {
            assert!((found.delivered_per_s / rate - 1.0).abs() < 0.3, "{}", found.delivered_per_s);
        }
    }
}

#[tokio::test]
async fn figures_of_fan_out_count_every_receiver() {
    let fake = Fake::start(Fault::None).await;
    let (world, partners) = partners(&fake, 6).await;
    let (group, _) = *world.conversations.iter().find(|(id, _)| id.is_group()).unwrap();
    let tokens: Vec<String> = partners.into_iter().map(|p| p.token).collect();
    let plan = FanoutPlan { window: 2, text_bytes: 128, warmup: 3, messages: 20, pause_ms: 0 };
    let pids = [std::process::id()];
    let found = fanout::run(plan, fake.address(), group, &tokens, &pids).await.unwrap();
    assert_eq!((found.subscribers, found.deliveries, found.delivery.count), (6, 120, 120));
}

#[tokio::test]
async fn idle_connections_each_hear_one_message_in_every_wave() {
    let fake = Fake::start(Fault::None).await;
    let (world, partners) = partners(&fake, 4).await;
    let people = world.people.iter().zip(&partners);
    let people = people.map(|(p, q)| Seeded { user: p.user, token: q.token.clone() }).collect();
    let population = Population { people, groups: Vec::new() };
    let plan = IdlePlan { connections: 4, waves: 2, idle_s: 0.2, calm_s: 0.1, message_window: 2 };
    let pids = [std::process::id()];
    let found = idle::run(plan, fake.address(), &population, &pids).await.unwrap();
    assert_eq!(found.waves.iter().map(|wave| wave.messages).collect::<Vec<_>>(), [4, 4]);
    assert!(found.waves[1].idle_cpu_us_per_s.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_move_to_another_address_when_theirs_dies() {
    let fake = Fake::start(Fault::None).await;
    let [first, second] = [
        FaultProxy::start(fake.address(), 1).await.unwrap(),
        FaultProxy::start(fake.address(), 2).await.unwrap(),
    ];
    let world = World::build(fake.address(), "moving-", 4, 4).await.unwrap();
    let heal = Duration::from_secs(20);
    let plan = FleetPlan { connections: 12, window: 2, text_bytes: 80, per_second: 50, heal };
    let mut rng = Pcg64Mcg::seed_from_u64(3);
    let fleet = Fleet::launch(&plan, &[vec![first.address, second.address]], &world, &mut rng);
    fleet.send();
    fleet.wait_for_acks(50).await.unwrap();
    let accepted = |proxy: &FaultProxy| proxy.stats().accepted.load(Relaxed);
    let before = [accepted(&first), accepted(&second)];
    assert!(before.iter().all(|n| *n > 0) && before.iter().sum::<u64>() == 12, "{before:?}");
    first.refuse(true);
    first.cut();
    let begun = Instant::now();
    while accepted(&second) < 12 {
        assert!(begun.elapsed() < heal, "not everybody moved: {}", accepted(&second));
        sleep(Duration::from_millis(5)).await;
    }
    fleet.wait_for_acks(50).await.unwrap();
    assert_eq!(accepted(&first), before[0], "nobody went back");
    let judged = fleet.finish(&world).await.unwrap();
    assert!(judged.holds(), "{}", judged.report);
    assert!(judged.losses >= before[0]);
}
