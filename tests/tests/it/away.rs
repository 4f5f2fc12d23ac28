//! Coming back after ten events, after ten thousand, and over a restart.

use std::{collections::HashMap, sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};

use loadtest::{
    checker::check,
    clock::Clock,
    device::{Device, Phase, Place, Plan, Progress},
    history::{Final, History},
    http::end_of,
    scenario::{fleet::read_all, world::World},
    server::{Options, Server},
    session::Session,
};
use protocol::{ConversationId, Producer};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

/// For anything that has to happen.
const LIMIT: Duration = Duration::from_secs(60);

struct Town {
    server: Server,
    world: World,
    clock: Clock,
}

/// A device under way.
struct Running {
    phase: watch::Sender<Phase>,
    task: JoinHandle<Session>,
}

impl Town {
    fn session(&self, person: usize) -> Session {
        let mut session = Session::new(format!("person {person}"), Producer(rand::random()));
        for conversation in &self.world.people[person].conversations {
            session.follow(*conversation, 0, 0);
        }
        session
    }

    fn start(
        &self,
        person: usize,
        session: Session,
        begin: Phase,
        progress: &Arc<Progress>,
    ) -> Running {
        let person = &self.world.people[person];
        let place = Place {
            targets: vec![self.server.address],
            source: Some(person.source),
            account: person.account.clone(),
            clock: self.clock,
            progress: Arc::clone(progress),
        };
        // The one conversation that the first person is in, too.
        let groups = person.conversations.iter().copied().filter(|id| id.is_group());
        let plan =
            Plan { conversations: groups.collect(), window: 16, text_bytes: 64, per_second: 0 };
        let (phase, told) = watch::channel(begin);
        let task = tokio::spawn(Device::new(place, session, plan, rand::random()).run(told));
        Running { phase, task }
    }

    /// Everybody but the first person writes until there are `n` more messages.
    async fn chatter(&self, n: u64) -> Vec<Session> {
        let progress = Arc::<Progress>::default();
        let writers: Vec<Running> = (1..self.world.people.len())
            .flat_map(|person| (0..3).map(move |_| person))
            .map(|person| self.start(person, self.session(person), Phase::Send, &progress))
            .collect();
        until("enough messages", || progress.acked.load(Relaxed) >= n).await;
        let mut sessions = Vec::new();
        for writer in &writers {
            writer.phase.send_replace(Phase::Settle);
        }
        until("every answer", || progress.unsettled.load(Relaxed) == 0).await;
        for writer in writers {
            writer.phase.send_replace(Phase::Stop);
            sessions.push(timeout(LIMIT, writer.task).await.unwrap().unwrap());
        }
        sessions
    }

    /// The first person connects with what they remember, and stays until they have everything.
    async fn come_back(&self, session: Session) -> (Session, HashMap<ConversationId, Final>) {
        let last = read_all(&self.world).await.unwrap();
        let head = |f: &Final| f.slots.last().map_or(0, |slot| end_of(*slot));
        let heads = last.iter().map(|(id, f)| (*id, head(f))).collect();
        let running = self.start(0, session, Phase::Converge(Arc::new(heads)), &Arc::default());
        let session = timeout(LIMIT, running.task).await.expect("everything arrives").unwrap();
        (session, last)
    }
}

fn received(session: &Session) -> usize {
    session.log.deliveries.values().map(Vec::len).sum()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let waited = timeout(LIMIT, async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("never came: {what}"));
}

/// R26–R28: whatever the absence, nothing is missing and nothing comes twice.
#[tokio::test(flavor = "multi_thread")]
async fn r28_away_for_ten_events_for_ten_thousand_and_over_a_restart() {
    let server = Server::start(Options::default()).await.unwrap();
    let world = World::build(server.address, "away-", 12, 12).await.unwrap();
    let mut town = Town { server, world, clock: Clock::start() };
    let (mut returner, _) = town.come_back(town.session(0)).await;
    let mut logs = Vec::new();
    for (events, restart) in [(10, false), (10_000, false), (10, true), (2_000, true)] {
        let before = received(&returner);
        logs.extend(town.chatter(events).await.into_iter().map(|session| session.log));
        if restart {
            town.server.restart().await.unwrap();
        }
        let (session, last) = town.come_back(returner).await;
        returner = session;
        returner.log.complete = returner.conversations();
        logs.push(std::mem::take(&mut returner.log));
        let report = check(&History { logs: logs.clone(), last });
        assert!(report.holds(), "{events} events, restart {restart}: {report:#?}");
        returner.log = logs.pop().unwrap();
        let fresh = received(&returner) - before;
        assert!(fresh as u64 >= events, "it was away for {events} and got {fresh}");
    }
}
