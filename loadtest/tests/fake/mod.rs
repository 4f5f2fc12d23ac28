//! A server that speaks just enough of `webchat.v1` for the harness to be tested without one, and that can be told to
//! break one promise. It keeps everything in memory: its "crash" cuts every connection and keeps, or loses, what the
//! chosen fault says.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use loadtest::{frame::push_length, scenario::kill::Victim, wire::Frame};
use protocol::{ConversationId, UserId};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
};

/// Which promise is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// None.
    None,
    /// A re-sent publish is stored again.
    DedupeOff,
    /// A crash loses the newest events of each conversation, acked or not, and their numbers are used again.
    FsyncOff,
    /// Every 50th event is not sent to anybody, and the history forgets it as well.
    SilentLoss,
    /// Every 50th event is sent with the text of the one before.
    WrongText,
    /// Reads ignore `min_seq` and stop two events early.
    StaleReads,
    /// Live events come twice, and out of order: clients have to bear it.
    Untidy,
}

#[derive(Debug, Default)]
struct Conversation {
    members: Vec<UserId>,
    /// The fields of each event, seq 1 first: everything but braces and `at`.
    events: Vec<String>,
    dedupe: HashMap<(u64, u64), u64>,
}

#[derive(Debug, Default)]
struct State {
    users: HashMap<String, UserId>,
    conversations: HashMap<ConversationId, Conversation>,
    connections: HashMap<u64, (UserId, mpsc::UnboundedSender<String>)>,
    next: u64,
    publishes: u64,
    /// About to crash: publishes are stored and no longer answered.
    dying: bool,
}

/// The running fake.
pub(crate) struct Fake {
    state: Arc<Mutex<State>>,
    fault: Fault,
    address: SocketAddr,
    up: watch::Sender<u64>,
    accept: JoinHandle<()>,
}

impl Fake {
    pub(crate) async fn start(fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let (up, _) = watch::channel(1);
        let (shared, generation) = (state.clone(), up.clone());
        let accept = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let now = *generation.borrow();
                let mut ends = generation.subscribe();
                let state = shared.clone();
                tokio::spawn(async move {
                    // An odd generation is up; a crash cuts everything that was accepted before it.
                    let serve = async {
                        if now % 2 == 1 {
                            serve(stream, state, fault).await
                        }
                    };
                    tokio::select! {
                        () = serve => {}
                        _ = ends.wait_for(|g| *g != now) => {}
                    }
                });
            }
        });
        Self { state, fault, address, up, accept }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

impl Victim for Fake {
    fn address(&self) -> SocketAddr {
        self.address
    }

    async fn kill(&mut self) -> anyhow::Result<()> {
        // The moment between the append and its answer, made long enough that every crash meets some publishes in it.
        self.state.lock().unwrap().dying = true;
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.up.send_modify(|generation| *generation += 1);
        let mut state = self.state.lock().unwrap();
        state.connections.clear();
        state.dying = false;
        if self.fault == Fault::FsyncOff {
            for conversation in state.conversations.values_mut() {
                let keep = conversation.events.len().saturating_sub(5).max(1);
                conversation.events.truncate(keep);
                conversation.dedupe.retain(|_, seq| *seq as usize <= keep);
            }
        }
        Ok(())
    }

    async fn start_again(&mut self) -> anyhow::Result<()> {
        tokio::time::sleep(Duration::from_millis(30)).await;
        self.up.send_modify(|generation| *generation += 1);
        Ok(())
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>, fault: Fault) {
    let mut buffer = BytesMut::new();
    while let Some((head, body)) = request(&mut stream, &mut buffer).await {
        let first = head.lines().next().unwrap_or("");
        let mut words = first.split(' ');
        let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let header = |name: &str| {
            let line = head.lines().find(|line| line.to_lowercase().starts_with(name));
            line.and_then(|line| line.split_once(": ")).map(|(_, value)| value.to_owned())
        };
        if path == "/ws" {
            let user =
                header("authorization").and_then(|v| v.strip_prefix("Bearer ")?.parse().ok());
            return socket(stream, buffer, state, user.unwrap(), fault).await;
        }
        let user = header("cookie").and_then(|v| v.strip_prefix("access=")?.parse().ok());
        let (status, reply) = api(&state, method, path, user, &body, fault);
        let cookie =
            reply["socket_token"].as_str().map(|t| format!("Set-Cookie: access={t}; Path=/\r\n"));
        let (cookie, body) = (cookie.unwrap_or_default(), reply.to_string());
        let answer =
            format!("HTTP/1.1 {status} x\r\n{cookie}Content-Length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn request(stream: &mut TcpStream, buffer: &mut BytesMut) -> Option<(String, Value)> {
    loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
            let length = head.to_lowercase().lines().find_map(|line| {
                line.strip_prefix("content-length: ").map(|v| v.parse::<usize>().unwrap())
            });
            let length = length.unwrap_or(0);
            if buffer.len() >= end + 4 + length {
                buffer.advance(end + 4);
                let body = buffer.split_to(length);
                return Some((head, serde_json::from_slice(&body).unwrap_or(Value::Null)));
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

fn api(
    state: &Mutex<State>,
    method: &str,
    path: &str,
    user: Option<UserId>,
    body: &Value,
    fault: Fault,
) -> (u16, Value) {
    let mut state = state.lock().unwrap();
    let id = |value: &Value| value.as_str().unwrap().parse::<UserId>().unwrap();
    match (method, path) {
        ("POST", "/api/auth/register") => {
            let new = UserId(state.users.len() as u64 + 1);
            state.users.insert(body["username"].as_str().unwrap().to_owned(), new);
            let token = new.to_string();
            (
                201,
                json!({"user": {"id": token}, "session": "", "socket_token": token, "expires_at": 1}),
            )
        }
        ("POST", "/api/conversations/direct") => {
            let (me, other) = (user.unwrap(), id(&body["user"]));
            let conversation = ConversationId::direct(me, other);
            (200, create(&mut state, conversation, vec![me, other]))
        }
        ("POST", "/api/conversations") => {
            let mut members = vec![user.unwrap()];
            members.extend(body["members"].as_array().unwrap().iter().map(id));
            state.next += 1;
            let conversation = ConversationId::group(u128::from(state.next));
            (201, create(&mut state, conversation, members))
        }
        ("GET", "/api/conversations") => {
            let mine =
                state.conversations.iter().filter(|(_, c)| c.members.contains(&user.unwrap()));
            let list: Vec<Value> = mine
                .map(|(id, c)| json!({"id": id, "head": {"epoch": 1, "seq": c.events.len()}}))
                .collect();
            (200, json!({"conversations": list}))
        }
        _ => events(&state, path, fault),
    }
}

fn create(state: &mut State, id: ConversationId, members: Vec<UserId>) -> Value {
    let head = format!(r#""type":"created","conversation":"{id}","epoch":1,"seq":1"#);
    let conversation = state.conversations.entry(id).or_default();
    if conversation.events.is_empty() {
        *conversation = Conversation { members, events: vec![head], dedupe: HashMap::new() };
    }
    json!({"id": id})
}

fn events(state: &State, path: &str, fault: Fault) -> (u16, Value) {
    let number = |name: &str| {
        let at = path.find(&format!("{name}="))? + name.len() + 1;
        path[at..].split('&').next()?.parse::<usize>().ok()
    };
    let id: ConversationId = path.split('/').nth(3).unwrap().parse().unwrap();
    let conversation = &state.conversations[&id];
    let mut head = conversation.events.len();
    if fault == Fault::StaleReads && number("min_seq").is_some() {
        head = head.min(number("min_seq").unwrap()).saturating_sub(2);
    }
    let after = number("after").unwrap();
    let page: Vec<Value> = conversation.events[after.min(head)..head]
        .iter()
        .take(number("limit").unwrap())
        .map(|fields| serde_json::from_str(&format!("{{{fields}}}")).unwrap())
        .collect();
    (200, json!({"epoch": 1, "head": head, "events": page}))
}

async fn socket(
    mut stream: TcpStream,
    mut buffer: BytesMut,
    state: Arc<Mutex<State>>,
    user: UserId,
    fault: Fault,
) {
    let head = "HTTP/1.1 101 x\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
                Sec-WebSocket-Protocol: webchat.v1\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let (mut reader, mut writer) = stream.into_split();
    let connection = {
        let mut state = state.lock().unwrap();
        state.next += 1;
        let connection = state.next;
        state.connections.insert(connection, (user, sender.clone()));
        connection
    };
    let write = async {
        while let Some(text) = receiver.recv().await {
            let mut bytes = vec![0x81];
            push_length(&mut bytes, 0, text.len());
            bytes.extend_from_slice(text.as_bytes());
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    let read = async {
        loop {
            while let Some(text) = masked_text(&mut buffer) {
                command(&state, &sender, user, &text, fault);
            }
            if reader.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        }
    };
    tokio::select! { () = write => {}, () = read => {} }
    state.lock().unwrap().connections.remove(&connection);
}

/// The payload of the next masked frame; any other opcode than text ends the connection's usefulness here.
fn masked_text(buffer: &mut BytesMut) -> Option<String> {
    let (header, length) = match *buffer.get(1)? & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes([*buffer.get(2)?, *buffer.get(3)?]))),
        short => (2, usize::from(short)),
    };
    if buffer.len() < header + 4 + length {
        return None;
    }
    let frame = buffer.split_to(header + 4 + length);
    let mask = &frame[header..header + 4];
    let payload = frame[header + 4..].iter().enumerate().map(|(i, b)| b ^ mask[i & 3]).collect();
    String::from_utf8(payload).ok()
}

fn command(
    state: &Mutex<State>,
    sender: &mpsc::UnboundedSender<String>,
    user: UserId,
    text: &str,
    fault: Fault,
) {
    let Some(frame) = Frame::scan(text) else { return };
    let reply = |text: String| drop(sender.send(text));
    if frame.kind == "hello" {
        reply(format!(r#"{{"type":"welcome","user":"{user}","resume":"fresh","at":"1-1"}}"#));
    }
    if frame.kind != "publish" {
        return;
    }
    let (id, producer, no) =
        (frame.conversation.unwrap(), frame.producer.unwrap(), frame.no.unwrap());
    let mut state = state.lock().unwrap();
    state.publishes += 1;
    let nth = state.publishes;
    let conversation = state.conversations.get_mut(&id).unwrap();
    let known = conversation.dedupe.get(&(producer.0, no)).copied();
    let head = format!(r#""conversation":"{id}","producer":"{producer}","no":{no},"epoch":1"#);
    let (seq, is_new) = match known.filter(|_| fault != Fault::DedupeOff) {
        Some(seq) => (seq, false),
        None => (conversation.events.len() as u64 + 1, true),
    };
    if is_new {
        conversation.dedupe.insert((producer.0, no), seq);
        let body = frame.body;
        conversation.events.push(format!(
            r#""type":"message",{head},"seq":{seq},"ordinal":{seq},"from":"{user}","ts":1,"body":{body}"#
        ));
        deliver(&mut state, id, seq as usize, nth, fault);
    }
    let head_seq = state.conversations[&id].events.len();
    if state.dying {
        return;
    }
    reply(format!(r#"{{"type":"ack",{head},"seq":{seq},"ts":1}}"#));
    reply(format!(r#"{{"type":"persisted","conversation":"{id}","epoch":1,"seq":{head_seq}}}"#));
}

fn deliver(state: &mut State, id: ConversationId, seq: usize, nth: u64, fault: Fault) {
    let conversation = state.conversations.get_mut(&id).unwrap();
    let is_chosen = nth.is_multiple_of(50) && seq > 2;
    if is_chosen && fault == Fault::SilentLoss {
        conversation.events[seq - 1] =
            format!(r#""type":"hole","conversation":"{id}","epoch":1,"from":{seq},"to":{seq}"#);
        return;
    }
    let fields = &conversation.events[seq - 1];
    let mut frames = vec![format!(r#"{{{fields},"at":"1-{seq}"}}"#)];
    if is_chosen && fault == Fault::WrongText {
        let body =
            |fields: &str| fields[fields.find("\"body\"").unwrap_or(fields.len())..].to_owned();
        let other = body(&conversation.events[seq - 2]);
        if !other.is_empty() {
            frames[0] = frames[0].replace(&body(fields), &other);
        }
    }
    if fault == Fault::Untidy {
        frames.push(format!(r#"{{{},"at":"1-1"}}"#, conversation.events[seq.saturating_sub(2)]));
        frames.push(frames[0].clone());
        frames.rotate_left(nth as usize % 3);
    }
    for (user, sender) in state.connections.values() {
        if conversation.members.contains(user) {
            frames.iter().for_each(|frame| drop(sender.send(frame.clone())));
        }
    }
}
