//! A person on one broker, with the load test's socket.

use std::{net::SocketAddr, time::Duration};

use hyper::Method;
use loadtest::{
    frame::Incoming,
    http::Account,
    socket::{OpenError, Socket, Upgrade},
    wire,
};
use protocol::{ConversationId, ErrorCode, Producer, UserId};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::LIMIT;

pub(crate) const PASSWORD: &str = "a long enough password";

pub(crate) struct Person {
    api: SocketAddr,
    pub(crate) account: Account,
    socket: Option<Socket>,
    producer: Producer,
    no: u64,
}

impl Person {
    pub(crate) async fn register(api: SocketAddr, name: &str) -> Self {
        let mut account = Account::new(api, None);
        account.register(name, PASSWORD).await.unwrap();
        let producer = Producer(rand::random());
        Self { api, account, socket: None, producer, no: 0 }
    }

    /// The same login, not connected yet: another tab, as far as the socket goes.
    pub(crate) fn another(&self) -> Self {
        let mut account = Account::new(self.api, None);
        account.user = self.account.user;
        account.socket_token.clone_from(&self.account.socket_token);
        Self { api: self.api, account, socket: None, producer: Producer(rand::random()), no: 0 }
    }

    pub(crate) fn user(&self) -> UserId {
        self.account.user
    }

    pub(crate) async fn try_connect(&mut self, broker: SocketAddr) -> Result<(), OpenError> {
        let upgrade = Upgrade::bearer(&self.account.socket_token);
        let mut socket = Socket::open(broker, None, &upgrade).await?;
        socket.queue(wire::hello(None).as_bytes());
        self.socket = Some(socket);
        self.next("welcome", |_| true).await;
        Ok(())
    }

    pub(crate) async fn connect(&mut self, broker: SocketAddr) {
        self.try_connect(broker).await.unwrap();
    }

    pub(crate) fn socket(&mut self) -> &mut Socket {
        self.socket.as_mut().expect("connected")
    }

    /// The next frame of a type that fits; others are passed over.
    pub(crate) async fn next(&mut self, kind: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let socket = self.socket();
        let waited = timeout(LIMIT, async {
            loop {
                let text = socket.next_text().await.unwrap_or_else(|e| panic!("{kind}: {e}"));
                let frame: Value = serde_json::from_slice(&text).unwrap();
                if frame["type"] == kind && fits(&frame) {
                    return frame;
                }
            }
        });
        waited.await.unwrap_or_else(|_| panic!("never came: {kind}"))
    }

    pub(crate) async fn say(&mut self, conversation: ConversationId, text: &str) -> u64 {
        self.no += 1;
        let (no, producer) = (self.no, self.producer);
        let publish = wire::publish(conversation, producer, no, text);
        self.socket().queue(publish.as_bytes());
        let ack = self.next("ack", |ack| ack["no"] == no).await;
        ack["seq"].as_u64().unwrap()
    }

    /// Sends without waiting for the answer.
    pub(crate) fn publish(&mut self, conversation: ConversationId, no: u64, text: &str) {
        let publish = wire::publish(conversation, self.producer, no, text);
        self.socket().queue(publish.as_bytes());
    }

    /// What is published next has numbers from 1 on again.
    pub(crate) fn new_producer(&mut self) {
        (self.producer, self.no) = (Producer(rand::random()), 0);
    }

    /// The answer to one publish: its seq, or why not and when to come again.
    pub(crate) async fn answer(
        &mut self,
        no: u64,
        limit: Duration,
    ) -> Result<u64, (ErrorCode, Option<u64>)> {
        let socket = self.socket();
        let waited = timeout(limit, async {
            loop {
                let text = socket.next_text().await.unwrap_or_else(|e| panic!("{no}: {e}"));
                let frame: Value = serde_json::from_slice(&text).unwrap();
                if frame["no"] != no || !(frame["type"] == "ack" || frame["type"] == "error") {
                    continue;
                }
                if frame["type"] == "ack" {
                    return Ok(frame["seq"].as_u64().unwrap());
                }
                let code = serde_json::from_value(frame["code"].clone()).unwrap();
                return Err((code, frame["retry_after_ms"].as_u64()));
            }
        });
        waited.await.unwrap_or_else(|_| panic!("no answer to {no} within {limit:?}"))
    }

    /// All that is stored of a conversation, as the api tells it.
    pub(crate) async fn events(&mut self, conversation: ConversationId) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        loop {
            let after = all.last().map_or(0, |e| e["to"].as_u64().or(e["seq"].as_u64()).unwrap());
            let path = format!("/api/conversations/{conversation}/events?after={after}&limit=200");
            let page = self.account.json(Method::GET, &path, None).await.unwrap();
            let events = page["events"].as_array().unwrap();
            if events.is_empty() {
                return all;
            }
            all.extend(events.iter().cloned());
        }
    }

    pub(crate) async fn hears(&mut self, text: &str) -> u64 {
        let message = self.next("message", |message| message["body"]["text"] == text).await;
        message["seq"].as_u64().unwrap()
    }

    /// Watches somebody and waits until they are told as online or not.
    pub(crate) fn watch(&mut self, user: UserId) {
        let watch = json!({"type": "watch", "people": [user.to_string()], "conversations": []});
        self.socket().queue(watch.to_string().as_bytes());
    }

    pub(crate) async fn sees(&mut self, user: UserId, online: bool) {
        let name = user.to_string();
        let told = |presence: &Value| {
            let people = presence["people"].as_array().into_iter().flatten();
            people.into_iter().any(|one| one["user"] == name.as_str() && one["online"] == online)
        };
        self.next("presence", told).await;
    }

    /// The code of the close that comes, and whether a `goaway` came before it.
    pub(crate) async fn closed(&mut self, limit: Duration) -> (Option<u16>, bool) {
        let mut warned = false;
        let socket = self.socket();
        let waited = timeout(limit, async {
            loop {
                match socket.next().await {
                    Ok(Incoming::Close(code, _)) => return code,
                    Ok(Incoming::Text(text)) => {
                        let frame: Value = serde_json::from_slice(&text).unwrap();
                        warned |= frame["type"] == "goaway";
                    }
                    Ok(_) => {}
                    Err(_) => return None,
                }
            }
        });
        let code = waited.await.unwrap_or_else(|_| panic!("not closed within {limit:?}"));
        (code, warned)
    }
}
