//! A logout on one node ends the session everywhere, also while live state is away (ADR 0011).

use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::json;

use crate::{SOON, client::Person, until, whole::Whole};

/// The promise.
const AT_ONCE: Duration = Duration::from_secs(1);
/// The promise while live state is away: a look at each session every 30 s, and the answer.
const WITHOUT_LIVE: Duration = Duration::from_secs(35);

/// One login with a socket on each broker.
async fn everywhere(whole: &Whole, name: &str) -> (Person, Vec<Person>) {
    let person = Person::register(whole.api(), name).await;
    let mut sockets = Vec::new();
    for broker in whole.brokers() {
        let mut socket = person.another();
        socket.connect(broker).await;
        sockets.push(socket);
    }
    (person, sockets)
}

/// Logs out and waits until every socket is closed. Returns how long the last one took.
async fn log_out(mut person: Person, sockets: Vec<Person>, limit: Duration) -> Duration {
    let body = json!({});
    let begun = Instant::now();
    // Once, and with success: whoever logs out is not told to try again because live state is away.
    person.account.call(Method::POST, "/api/auth/logout", Some(&body)).await.unwrap();
    for mut socket in sockets {
        let (code, warned) = socket.closed(limit.saturating_sub(begun.elapsed())).await;
        assert_eq!((code, warned), (Some(4401), false));
    }
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_closes_the_sockets_on_all_brokers_also_with_live_state_away() {
    let mut whole = Whole::up(3, false, false).await;
    let (ada, of_ada) = everywhere(&whole, "ada").await;
    let (bob, of_bob) = everywhere(&whole, "bob").await;
    let (mut cy, mut of_cy) = everywhere(&whole, "cyd").await;
    let own = cy.account.direct(cy.user()).await.unwrap();

    let took = log_out(ada, of_ada, AT_ONCE).await;
    println!("logout: all sockets closed after {took:?}");

    whole.cluster.kill("live").unwrap();
    let took = log_out(bob, of_bob, WITHOUT_LIVE).await;
    println!("logout without live state: all sockets closed after {took:?}");

    // Nobody else was asked to leave: those sockets still write and hear.
    for socket in &mut of_cy {
        socket.say(own, "still here").await;
    }
    whole.cluster.start("live").unwrap();
    whole.cluster.wait_ready("live", SOON).await.unwrap();
    // What is revoked stays so when live state is there again, and whoever is not gets in.
    for broker in whole.brokers() {
        until("a socket is let in again", || {
            let mut again = cy.another();
            async move { again.try_connect(broker).await.is_ok() }
        })
        .await;
    }
}
