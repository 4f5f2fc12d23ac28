//! Somebody with an account, and what people do all day.

use std::ops::Deref;

use serde_json::{Value, json};

use crate::{
    client::{Answer, Client},
    harness::{PASSWORD, Server},
};

#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) client: Client,
    pub(crate) id: String,
    /// What registering or logging in answered.
    pub(crate) reply: Value,
}

impl Deref for Person {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Server {
    /// A new account, logged in.
    pub(crate) async fn person(&self, name: &str) -> Person {
        let client = self.client();
        let body = json!({ "username": name, "password": PASSWORD });
        let answer = client.post("/api/auth/register", body).await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        Person::of(client, answer.json())
    }

    /// The same account on another device.
    pub(crate) async fn login(&self, name: &str) -> Person {
        let client = self.client();
        let body = json!({ "username": name, "password": PASSWORD });
        let reply = client.post("/api/auth/login", body).await.ok();
        Person::of(client, reply)
    }

    pub(crate) async fn people<const N: usize>(&self, names: [&str; N]) -> [Person; N] {
        let mut people = Vec::with_capacity(N);
        for name in names {
            people.push(self.person(name).await);
        }
        people.try_into().unwrap()
    }
}

pub(crate) fn texts(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap().iter();
    items.filter_map(|item| Some(item["text"].as_str()?.to_owned())).collect()
}

impl Person {
    fn of(client: Client, reply: Value) -> Self {
        let id = reply["user"]["id"].as_str().unwrap().to_owned();
        Self { client, id, reply }
    }

    pub(crate) fn session(&self) -> String {
        self.reply["session"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn direct(&self, other: &Person) -> String {
        let answer = self.post("/api/conversations/direct", json!({ "user": other.id })).await;
        answer.ok()["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn group(&self, members: &[&Person], history: &str) -> String {
        let members: Vec<&str> = members.iter().map(|member| member.id.as_str()).collect();
        let body = json!({ "title": "Engines", "members": members, "history": history });
        let answer = self.post("/api/conversations", body).await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn say(&self, at: &str, text: &str) -> u64 {
        let path = format!("/api/conversations/{at}/messages");
        self.post(&path, json!({ "text": text })).await.ok()["seq"].as_u64().unwrap()
    }

    pub(crate) async fn reply(&self, at: &str, to: u64, text: &str) -> u64 {
        let path = format!("/api/conversations/{at}/messages");
        let body = json!({ "text": text, "reply_to": to });
        self.post(&path, body).await.ok()["seq"].as_u64().unwrap()
    }

    pub(crate) async fn edit(&self, at: &str, seq: u64, text: &str) -> Answer {
        self.put(&message(at, seq), json!({ "text": text })).await
    }

    pub(crate) async fn erase(&self, at: &str, seq: u64) -> Answer {
        self.delete(&message(at, seq)).await
    }

    pub(crate) async fn react(&self, at: &str, seq: u64, emoji: &str) -> Answer {
        let path = format!("{}/reactions/{}", message(at, seq), percent(emoji));
        self.put(&path, json!({})).await
    }

    /// A page of messages; `query` without the question mark.
    pub(crate) async fn page(&self, at: &str, query: &str) -> Value {
        self.get(&format!("/api/conversations/{at}/messages?{query}")).await.ok()
    }

    pub(crate) async fn texts(&self, at: &str) -> Vec<String> {
        texts(&self.page(at, "limit=100").await)
    }

    pub(crate) async fn events(&self, at: &str, query: &str) -> Value {
        self.get(&format!("/api/conversations/{at}/events?{query}")).await.ok()
    }

    pub(crate) async fn conversation(&self, at: &str) -> Value {
        self.get(&format!("/api/conversations/{at}")).await.ok()
    }

    pub(crate) async fn add(&self, at: &str, who: &Person) -> u64 {
        let path = format!("/api/conversations/{at}/members");
        let added = self.post(&path, json!({ "users": [who.id] })).await;
        added.ok()["seq"].as_u64().unwrap()
    }

    pub(crate) async fn remove(&self, at: &str, who: &Person) -> Answer {
        self.delete(&format!("/api/conversations/{at}/members/{}", who.id)).await
    }

    pub(crate) async fn give_role(&self, at: &str, who: &Person, role: &str) -> Answer {
        let path = format!("/api/conversations/{at}/members/{}", who.id);
        self.put(&path, json!({ "role": role })).await
    }

    pub(crate) async fn search(&self, words: &str) -> Value {
        self.get(&format!("/api/search?q={}", percent(words))).await.ok()
    }

    /// Texts of what a search finds, newest first.
    pub(crate) async fn found(&self, words: &str) -> Vec<String> {
        let hits = self.search(words).await;
        let hits = hits["hits"].as_array().unwrap().iter();
        hits.map(|hit| hit["text"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) async fn block(&self, who: &Person) {
        self.put(&format!("/api/me/blocked/{}", who.id), json!({})).await.ok();
    }
}

pub(crate) fn message(at: &str, seq: u64) -> String {
    format!("/api/conversations/{at}/messages/{seq}")
}

/// Percent-encodes everything but letters and digits.
pub(crate) fn percent(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric();
    let one =
        |byte: u8| if plain(&byte) { (byte as char).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}
