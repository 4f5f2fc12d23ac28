//! Who is seen online: the people of a dead broker soon not, and nobody else any different, whatever live state does.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use loadtest::cluster::process::Signal;
use protocol::UserId;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{SOON, client::Person, until, whole::Whole};

/// The promise: 8 s of silence, a heartbeat of 2 s to notice it by, and what a flush takes.
const DEAD_WITHIN: Duration = Duration::from_secs(15);
/// Whoever is wrong about a death has told it by then: 8 s of silence, one heartbeat, one flush.
const WRONG_BY_THEN: Duration = Duration::from_secs(11);
const PAUSE: Duration = Duration::from_secs(10);

type Told = Arc<Mutex<Vec<(UserId, bool)>>>;

/// Somebody who watches others, and all they were told, in order.
struct Watcher {
    name: &'static str,
    told: Told,
    task: JoinHandle<()>,
}

impl Watcher {
    async fn start(
        whole: &Whole,
        name: &'static str,
        broker: SocketAddr,
        people: &[UserId],
    ) -> Self {
        let mut person = Person::register(whole.api(), name).await;
        person.connect(broker).await;
        let people: Vec<String> = people.iter().map(ToString::to_string).collect();
        let watch = json!({"type": "watch", "people": people, "conversations": []});
        person.socket().queue(watch.to_string().as_bytes());
        let told = Told::default();
        let own = Arc::clone(&told);
        let task = tokio::spawn(async move {
            // It ends with its broker, or with the test.
            while let Ok(text) = person.socket().next_text().await {
                let frame: Value = serde_json::from_slice(&text).unwrap();
                if frame["type"] != "presence" {
                    continue;
                }
                let people = frame["people"].as_array().into_iter().flatten();
                let one = |one: &Value| {
                    let user = one["user"].as_str().unwrap().parse().unwrap();
                    (user, one["online"].as_bool().unwrap())
                };
                own.lock().unwrap().extend(people.map(one));
            }
        });
        Self { name, told, task }
    }

    /// What was told last of each.
    fn online(&self) -> HashSet<UserId> {
        let mut online = HashSet::new();
        for (user, is_online) in self.told.lock().unwrap().iter() {
            if *is_online {
                online.insert(*user)
            } else {
                online.remove(user)
            };
        }
        online
    }

    async fn sees(&self, people: &[UserId]) {
        let expected = people.iter().copied().collect();
        let what = format!("{} sees {people:?} and nobody else", self.name);
        until(&what, || async { self.online() == expected }).await;
    }

    /// Begins a new page of what is told.
    fn forget(&self) -> Vec<(UserId, bool)> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn arrive(person: &mut Person, broker: SocketAddr) {
    // Whether a session is revoked cannot be known while live state is away: 503 until it is back.
    until("somebody new is let in", || {
        let mut again = person.another();
        async move { again.try_connect(broker).await.is_ok() }
    })
    .await;
    person.connect(broker).await;
}

/// Nobody is told to be offline for so long.
async fn nobody_flickers(watchers: &[&Watcher], limit: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < limit {
        for watcher in watchers {
            let told = watcher.told.lock().unwrap().clone();
            let at = begun.elapsed();
            let all_online = told.iter().all(|(_, online)| *online);
            assert!(all_online, "{} was told {told:?} after {at:?}", watcher.name);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_of_a_dead_broker_go_and_nobody_else_flickers_whatever_live_state_does() {
    let mut whole = Whole::up(3, false, false).await;
    let brokers = whole.brokers();
    let mut people = Vec::new();
    for name in ["ada", "bob", "cyd", "dan", "eve", "fay"] {
        people.push(Person::register(whole.api(), name).await);
    }
    let ids: Vec<UserId> = people.iter().map(Person::user).collect();
    // One on the first broker, two on the second, one on the third; two come later.
    for (n, broker) in [0, 1, 1, 2].into_iter().enumerate() {
        people[n].connect(brokers[broker]).await;
    }
    // One more has a second socket elsewhere than on the broker that dies, and stays.
    let mut second = people[2].another();
    second.connect(brokers[2]).await;
    let here = Watcher::start(&whole, "here", brokers[0], &ids).await;
    let there = Watcher::start(&whole, "there", brokers[2], &ids).await;
    let watchers = [&here, &there];
    for watcher in watchers {
        watcher.sees(&ids[..4]).await;
        watcher.forget();
    }

    let killed = Instant::now();
    whole.cluster.kill("broker-2").unwrap();
    until("the dead broker's people are offline", || async {
        watchers.iter().all(|watcher| watcher.told.lock().unwrap().contains(&(ids[1], false)))
    })
    .await;
    let took = killed.elapsed();
    println!("killed broker: its people are offline after {took:?}");
    assert!(took < DEAD_WITHIN, "{took:?}");
    for watcher in watchers {
        // That somebody is online may be told again; that somebody is not, only once, and of nobody else.
        let mut told = watcher.forget();
        told.retain(|(_, online)| !online);
        assert_eq!(told, [(ids[1], false)], "{}: only who is gone", watcher.name);
    }

    whole.cluster.kill("live").unwrap();
    whole.cluster.start("live").unwrap();
    whole.cluster.wait_ready("live", SOON).await.unwrap();
    let restarted = Instant::now();
    arrive(&mut people[4], brokers[2]).await;
    until("the newcomer is seen", || async {
        watchers.iter().all(|watcher| watcher.online().contains(&ids[4]))
    })
    .await;
    println!("live state restarted: a newcomer is seen after {:?}", restarted.elapsed());
    nobody_flickers(&watchers, WRONG_BY_THEN).await;

    whole.cluster.signal("live", Signal::STOP).unwrap();
    nobody_flickers(&watchers, PAUSE).await;
    whole.cluster.signal("live", Signal::CONT).unwrap();
    let resumed = Instant::now();
    arrive(&mut people[5], brokers[0]).await;
    until("the next newcomer is seen", || async {
        watchers.iter().all(|watcher| watcher.online().contains(&ids[5]))
    })
    .await;
    println!("live state goes on: a newcomer is seen after {:?}", resumed.elapsed());
    nobody_flickers(&watchers, WRONG_BY_THEN).await;
}
