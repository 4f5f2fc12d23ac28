//! A person's side of the HTTP interface: one account, its cookies, one kept-alive connection.
//!
//! Owns: the calls that a chat client needs. Never does: retry (the caller knows what a failure means to it).
//! Talks to: the api. Start reading at: [`Account::call`].

use std::{collections::HashMap, net::IpAddr, net::SocketAddr, time::Duration};

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, client::conn::http1::SendRequest, header};
use hyper_util::rt::TokioIo;
use protocol::{ConversationId, UserId};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::timeout};

use crate::{
    history::{Delivery, Slot},
    socket::connect_tcp,
    stamp::Stamp,
    wire::Frame,
};

/// For one call, connect included.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// Events per page; the contract allows no more.
const PAGE: u64 = 200;
/// Tries of a call that is answered 429 or 503.
const TRIES_MAX: u32 = 50;

/// An answer with another status than 2xx.
#[derive(Debug, Clone)]
pub struct Refused {
    /// HTTP status.
    pub status: u16,
    /// The problem document, if it was one.
    pub problem: Value,
    /// `Retry-After`.
    pub retry_after: Option<u64>,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http {}: {}", self.status, self.problem)
    }
}
impl std::error::Error for Refused {}

/// One kept-alive connection; aborting the task closes it.
#[derive(Debug)]
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One account and its login.
#[derive(Debug)]
pub struct Account {
    target: SocketAddr,
    source: Option<IpAddr>,
    cookies: HashMap<String, String>,
    connection: Option<Connection>,
    /// Who.
    pub user: UserId,
    /// Bearer for the socket.
    pub socket_token: String,
    /// When it ends (Unix milliseconds).
    pub expires_at_ms: u64,
}

/// A page of `events?after=`.
#[derive(Debug, Clone, Default)]
pub struct EventsPage {
    /// Lifetime of the numbering.
    pub epoch: u32,
    /// Last seq of the conversation.
    pub head: u64,
    /// What follows `after`, in order.
    pub slots: Vec<Delivery>,
}

/// Reads a durable event or a hole as a slot. `None`: another frame.
pub fn slot_of(frame: &Frame<'_>) -> Option<Delivery> {
    let (seq, slot) = match frame.kind {
        "hole" => (frame.hole_from, Slot::HoleTo(frame.hole_to)),
        "message" => {
            let stamp = Stamp::parse(frame.text());
            (frame.seq, stamp.map_or(Slot::Corrupt, |s| Slot::Message(s.id)))
        }
        _ if frame.is_event() => (frame.seq, Slot::Other),
        _ => return None,
    };
    Some(Delivery { epoch: frame.epoch, seq, slot })
}

impl Account {
    /// Nobody yet: [`Account::register`] or [`Account::login`] next.
    pub fn new(target: SocketAddr, source: Option<IpAddr>) -> Self {
        Self {
            target,
            source,
            cookies: HashMap::new(),
            connection: None,
            user: UserId(0),
            socket_token: String::new(),
            expires_at_ms: 0,
        }
    }

    /// One request. Errors: [`Refused`] for any status but 2xx; everything else means "nobody knows what became of it".
    pub async fn call(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Bytes> {
        let result = timeout(CALL_TIMEOUT, self.call_once(method, path, body)).await;
        let result = result.unwrap_or_else(|_| Err(anyhow!("no answer in time: {path}")));
        if result.as_ref().is_err_and(|e| e.downcast_ref::<Refused>().is_none()) {
            self.connection = None;
        }
        result
    }

    async fn call_once(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Bytes> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.target.to_string())
            .header("x-webchat", "1");
        if !self.cookies.is_empty() {
            request = request.header(header::COOKIE, self.cookie_header());
        }
        let bytes = match body {
            Some(json) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Bytes::from(json.to_string())
            }
            None => Bytes::new(),
        };
        let connection = self.connected().await?;
        connection.sender.ready().await?;
        let response = connection.sender.send_request(request.body(Full::new(bytes))?).await?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.into_body().collect().await?.to_bytes();
        for cookie in headers.get_all(header::SET_COOKIE) {
            self.keep_cookie(cookie.to_str().unwrap_or(""));
        }
        if (200..300).contains(&status) {
            return Ok(text);
        }
        let retry_after = headers.get(header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|v| v.to_str().ok()?.parse().ok());
        let problem = serde_json::from_slice(&text).unwrap_or(Value::Null);
        Err(Refused { status, problem, retry_after }.into())
    }

    async fn connected(&mut self) -> anyhow::Result<&mut Connection> {
        if self.connection.as_ref().is_none_or(|c| c.sender.is_closed()) {
            let stream = connect_tcp(self.target, self.source).await?;
            let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
            let (sender, driver) = handshake.await?;
            // Its end is seen at the next call, as an error of the sender.
            let task = tokio::spawn(async move { drop(driver.await) });
            self.connection = Some(Connection { sender, task });
        }
        self.connection.as_mut().context("invariant: connected just now")
    }

    /// The `Cookie` header of this login.
    pub fn cookie_header(&self) -> String {
        let pairs: Vec<String> = self.cookies.iter().map(|(k, v)| format!("{k}={v}")).collect();
        pairs.join("; ")
    }

    fn keep_cookie(&mut self, set: &str) {
        if let Some((name, value)) = set.split(';').next().and_then(|pair| pair.split_once('=')) {
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// [`Account::call`] with a JSON answer; waits out 429 and 503 as they ask for.
    pub async fn json(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        for _ in 0..TRIES_MAX {
            match self.call(method.clone(), path, body).await {
                Ok(text) if text.is_empty() => return Ok(Value::Null),
                Ok(text) => return Ok(serde_json::from_slice(&text)?),
                Err(error) => match error.downcast_ref::<Refused>() {
                    Some(r) if r.status == 429 || r.status == 503 => {
                        let wait = r.problem["retry_after_ms"].as_u64();
                        let wait = wait.unwrap_or(r.retry_after.unwrap_or(1) * 1000);
                        tokio::time::sleep(Duration::from_millis(wait.clamp(20, 5_000))).await;
                    }
                    _ => return Err(error.context(format!("{method} {path}"))),
                },
            }
        }
        bail!("{path} was refused {TRIES_MAX} times")
    }

    fn signed_in(&mut self, reply: &Value) -> anyhow::Result<()> {
        let user = reply["user"]["id"].as_str().context("no user.id in the answer")?;
        self.user = user.parse()?;
        let token = reply["socket_token"].as_str().context("no socket_token in the answer")?;
        self.socket_token = token.to_owned();
        self.expires_at_ms = reply["expires_at"].as_u64().context("no expires_at")?;
        Ok(())
    }

    /// Makes the account, and is signed in.
    pub async fn register(&mut self, username: &str, password: &str) -> anyhow::Result<()> {
        let body = json!({"username": username, "password": password});
        let reply = self.json(Method::POST, "/api/auth/register", Some(&body)).await?;
        self.signed_in(&reply)
    }

    /// Signs in.
    pub async fn login(&mut self, username: &str, password: &str) -> anyhow::Result<()> {
        let body = json!({"username": username, "password": password});
        let reply = self.json(Method::POST, "/api/auth/login", Some(&body)).await?;
        self.signed_in(&reply)
    }

    /// New tokens of the same session.
    pub async fn refresh(&mut self) -> anyhow::Result<()> {
        let reply = self.json(Method::POST, "/api/auth/refresh", Some(&json!({}))).await?;
        self.signed_in(&reply)
    }

    /// The direct conversation with somebody, made if it is new.
    pub async fn direct(&mut self, user: UserId) -> anyhow::Result<ConversationId> {
        let body = json!({"user": user.to_string()});
        id_of(&self.json(Method::POST, "/api/conversations/direct", Some(&body)).await?)
    }

    /// A new group with these members beside oneself.
    pub async fn group(
        &mut self,
        title: &str,
        members: &[UserId],
    ) -> anyhow::Result<ConversationId> {
        let members: Vec<String> = members.iter().map(ToString::to_string).collect();
        let body = json!({"title": title, "members": members});
        id_of(&self.json(Method::POST, "/api/conversations", Some(&body)).await?)
    }

    /// Epoch and head of each of one's conversations.
    pub async fn heads(&mut self) -> anyhow::Result<Vec<(ConversationId, u32, u64)>> {
        let reply = self.json(Method::GET, "/api/conversations", None).await?;
        let list = reply["conversations"].as_array().context("no list of conversations")?;
        list.iter()
            .map(|one| {
                let head = &one["head"];
                let epoch = head["epoch"].as_u64().context("no head.epoch")?;
                let seq = head["seq"].as_u64().context("no head.seq")?;
                Ok((id_of(one)?, u32::try_from(epoch)?, seq))
            })
            .collect()
    }

    /// The contiguous events after `after`, one page, reaching `min_seq` if given.
    pub async fn events(
        &mut self,
        conversation: ConversationId,
        after: u64,
        min_seq: Option<u64>,
    ) -> anyhow::Result<EventsPage> {
        let min = min_seq.map_or(String::new(), |seq| format!("&min_seq={seq}"));
        let path =
            format!("/api/conversations/{conversation}/events?after={after}&limit={PAGE}{min}");
        let reply = self.json(Method::GET, &path, None).await?;
        let mut page = EventsPage {
            epoch: u32::try_from(reply["epoch"].as_u64().context("no epoch")?)?,
            head: reply["head"].as_u64().context("no head")?,
            slots: Vec::new(),
        };
        for event in reply["events"].as_array().context("no events")? {
            let text = event.to_string();
            let frame = Frame::scan(&text).context("an event that is no object")?;
            page.slots.push(slot_of(&frame).context("an event of unknown kind")?);
        }
        Ok(page)
    }

    /// All slots of a conversation after `after`, page by page to its head.
    pub async fn all_events(
        &mut self,
        conversation: ConversationId,
        after: u64,
    ) -> anyhow::Result<EventsPage> {
        let mut all = EventsPage::default();
        let mut at = after;
        loop {
            let page = self.events(conversation, at, None).await?;
            let end = page.slots.last().map_or(at, |d| end_of(*d));
            all.slots.extend(page.slots);
            (all.epoch, all.head) = (page.epoch, page.head);
            if end >= page.head {
                return Ok(all);
            }
            if end == at {
                bail!("{conversation}: no event after {at}, but the head is {}", page.head);
            }
            at = end;
        }
    }
}

/// The last seq that a slot covers.
pub fn end_of(delivery: Delivery) -> u64 {
    if let Slot::HoleTo(to) = delivery.slot { to } else { delivery.seq }
}

fn id_of(conversation: &Value) -> anyhow::Result<ConversationId> {
    Ok(conversation["id"].as_str().context("no id in the answer")?.parse()?)
}
