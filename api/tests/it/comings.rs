//! People who come and go at random while others write: everybody sees exactly what was written while they were in.

use serde_json::Value;

use crate::{harness::Server, person::Person, person::texts};

const STEPS: usize = 90;
/// Between two comparisons.
const COMPARE_EVERY: usize = 15;

/// Numbers that are the same in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

/// What the group should be.
#[derive(Default)]
struct Model {
    /// Everything that was ever said, with its seq.
    said: Vec<(u64, String)>,
    /// Since when each person is in; `None`: not in.
    since: Vec<Option<u64>>,
}

impl Model {
    fn visible(&self, person: usize) -> Vec<String> {
        let Some(since) = self.since[person] else { return Vec::new() };
        let seen = self.said.iter().filter(|(seq, _)| *seq >= since);
        seen.map(|(_, text)| text.clone()).collect()
    }

    async fn holds(&self, people: &[Person], at: &str) {
        for (number, person) in people.iter().enumerate() {
            let expected = self.visible(number);
            let path = format!("/api/conversations/{at}/messages?limit=100");
            if self.since[number].is_none() {
                person.get(&path).await.refused(404, "not_found");
                assert!(person.found("word").await.is_empty());
                continue;
            }
            assert_eq!(texts(&person.get(&path).await.ok()), expected);
            let mut found = person.found("word").await;
            found.reverse();
            let newest = expected.len().saturating_sub(20);
            assert_eq!(found, expected[newest..], "search");
            let events = person.events(at, "").await;
            let events: Vec<Value> = events["events"].as_array().unwrap().clone();
            let messages = events.iter().filter(|event| event["type"] == "message");
            let raw: Vec<&str> = messages.map(|m| m["body"]["text"].as_str().unwrap()).collect();
            assert_eq!(raw, expected, "events");
            let last = person.conversation(at).await["last_message"]["text"].clone();
            assert_eq!(last.as_str(), expected.last().map(String::as_str), "last message");
        }
    }
}

async fn play(seed: u64) {
    let server = Server::spawn().await;
    let people = server.people(["ada", "bob", "cyd", "dan"]).await;
    let at = people[0].group(&[], "joined").await;
    let mut dice = Dice(seed);
    let mut model = Model { since: vec![Some(1), None, None, None], ..Model::default() };
    for step in 0..STEPS {
        // The first one owns the group and stays.
        let someone = 1 + dice.roll(3);
        let person = &people[someone];
        match (dice.roll(6), model.since[someone]) {
            (0, None) => model.since[someone] = Some(people[0].add(&at, person).await),
            (0, Some(_)) => {
                people[0].remove(&at, person).await.ok();
                model.since[someone] = None;
            }
            (1, Some(_)) => {
                person.remove(&at, person).await.ok();
                model.since[someone] = None;
            }
            (2, Some(_)) => {
                let now = person.conversation(&at).await["role"].clone();
                let role = if now == "member" { "admin" } else { "member" };
                people[0].give_role(&at, person, role).await.ok();
            }
            _ => {
                let speaker = dice.roll(4);
                let text = format!("word {step}");
                let path = format!("/api/conversations/{at}/messages");
                let body = serde_json::json!({ "text": text });
                let answer = people[speaker].post(&path, body).await;
                if model.since[speaker].is_none() {
                    answer.refused(404, "not_found");
                } else {
                    model.said.push((answer.ok()["seq"].as_u64().unwrap(), text));
                }
            }
        }
        if step % COMPARE_EVERY == COMPARE_EVERY - 1 {
            model.holds(&people, &at).await;
        }
    }
}

#[tokio::test]
async fn everybody_sees_exactly_what_was_said_while_they_were_in() {
    for seed in [3, 1_764_000_000_001] {
        play(seed).await;
    }
}

#[tokio::test]
async fn nobody_speaks_after_their_removal() {
    let server = Server::spawn().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let at = ada.group(&[&bob], "joined").await;
    let path = format!("/api/conversations/{at}/messages");
    for _ in 0..20 {
        let say = || bob.post(&path, serde_json::json!({ "text": "still in" }));
        let (removed, one, two) = tokio::join!(ada.remove(&at, &bob), say(), say());
        let removed = removed.ok()["seq"].as_u64().unwrap();
        for said in [one, two] {
            match said.status {
                200 => assert!(said.json()["seq"].as_u64().unwrap() < removed),
                _ => drop(said.refused(404, "not_found")),
            }
        }
        assert_eq!(say().await.status, 404);
        ada.add(&at, &bob).await;
    }
}
