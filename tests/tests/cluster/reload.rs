//! nginx reloads twice while people write.
//!
//! Who reconnects: everybody whose socket goes through nginx, once for each reload, when `worker_shutdown_timeout` is over
//! (or by themselves before); a second reload within that time does not make it twice. Whoever is connected to a broker
//! directly, or came after the reload, notices nothing.

use std::time::Instant;

use loadtest::cluster::process::Signal;

use crate::{balancing::shutting_down, until, whole::Whole};

const THROUGH: usize = 24;

#[tokio::test(flavor = "multi_thread")]
async fn two_reloads_lose_nothing_and_cut_only_what_went_through_the_old_workers() {
    let mut whole = Whole::up(2, true, false).await;
    // Half of the devices through nginx, half straight to the brokers.
    let routes = [vec![whole.nginx()], whole.brokers()];
    let (world, fleet) = whole.people_who_write(&routes, 2 * THROUGH).await;
    let losses = || fleet.progress.losses.load(std::sync::atomic::Ordering::Relaxed);
    let live = || fleet.progress.live.load(std::sync::atomic::Ordering::Relaxed);
    until("all are connected", || async { live() == 2 * THROUGH }).await;
    for reload in 1..=2 {
        let before = losses();
        let begun = Instant::now();
        whole.cluster.signal("nginx", Signal::HUP).unwrap();
        let folder = whole.cluster.folder();
        until("old workers are on their way out", || async { shutting_down(folder) }).await;
        until("old workers are gone", || async { !shutting_down(folder) }).await;
        until("all are connected again", || async { live() == 2 * THROUGH }).await;
        fleet.wait_for_acks(THROUGH as u64).await.unwrap();
        let cut = losses() - before;
        println!("reload {reload}: {cut} of {} reconnected, {:?}", 2 * THROUGH, begun.elapsed());
        assert_eq!(cut, THROUGH as u64, "those through nginx, once");
    }
    let judged = whole.holds(&world, fleet).await;
    println!("two reloads: {} acked, 0 lost", judged.report.acked);
}
