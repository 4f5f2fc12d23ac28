//! What is under the api fails: what the client hears, and that nothing is promised that is not there.

use std::sync::{Arc, atomic::Ordering::SeqCst};

use backplane::{
    Archive, ArchiveError, BoxFuture, Found, Head, Key, StoredEvent, View, local::MemoryDisk,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use protocol::{ConversationId, SessionId, UserId};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::harness::{ORIGIN, Odd, Server};

const KEY: &str = "00000000000000aa";

/// A server whose log is on a disk that can fail.
async fn on(disk: &MemoryDisk) -> Server {
    Server::spawn_odd(Odd { disk: Some(Arc::new(disk.clone())), ..Odd::default() }).await
}

#[tokio::test]
async fn what_the_log_has_no_room_for_is_503_and_the_same_request_works_later() {
    let disk = MemoryDisk::default();
    let server = on(&disk).await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let at = ada.direct(&bob).await;
    let path = format!("/api/conversations/{at}/messages");
    let publish = async || ada.keyed(KEY, "POST", &path, &json!({ "text": "once" })).await;
    disk.faults.room.store(0, SeqCst);
    publish().await.refused(503, "unavailable");
    assert!(ada.texts(&at).await.is_empty(), "reads go on, and it is not there");
    disk.faults.room.store(u64::MAX, SeqCst);
    let first = publish().await.ok();
    assert_eq!(publish().await.ok(), first);
    assert_eq!(ada.texts(&at).await, ["once"]);
}

/// After a sync that failed nobody knows what is on the disk: neither yes nor no is an answer.
#[tokio::test]
async fn what_the_log_may_have_is_504() {
    let disk = MemoryDisk::default();
    let server = on(&disk).await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let at = ada.direct(&bob).await;
    let path = format!("/api/conversations/{at}/messages");
    disk.faults.fail_sync.store(true, SeqCst);
    ada.keyed(KEY, "POST", &path, &json!({ "text": "perhaps" })).await.refused(504, "unknown");
}

/// Panics when it is asked for a view, which the api does for those who are put into a new group.
#[derive(Debug)]
struct Falling(Arc<dyn Archive>);

type Answer<'a, T> = BoxFuture<'a, Result<T, ArchiveError>>;

impl Archive for Falling {
    fn view(&self, _: UserId) -> Answer<'_, View> {
        panic!("put in on purpose")
    }

    fn head(&self, conversation: ConversationId) -> Answer<'_, Option<Head>> {
        self.0.head(conversation)
    }

    fn find(&self, key: Key) -> Answer<'_, Found> {
        self.0.find(key)
    }

    fn contacts(&self, user: UserId, people: Vec<UserId>) -> Answer<'_, Vec<UserId>> {
        self.0.contacts(user, people)
    }

    fn ended(&self, sessions: Vec<(UserId, SessionId)>) -> Answer<'_, Vec<SessionId>> {
        self.0.ended(sessions)
    }

    fn range(&self, id: ConversationId, from: u64, to: u64) -> Answer<'_, Vec<StoredEvent>> {
        self.0.range(id, from, to)
    }
}

#[tokio::test]
async fn a_handler_that_panics_is_500_and_its_connection_goes_on() {
    let archive = |real| -> Arc<dyn Archive> { Arc::new(Falling(real)) };
    let server = Server::spawn_odd(Odd { archive: Some(archive), ..Odd::default() }).await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let cookie = format!("webchat_access={}", ada.cookie("webchat_access").unwrap());
    let mut call = async |method: &str, path: &str, body: &Value| {
        let request = Request::builder().method(method).uri(path).header("host", "chat.test");
        let request = request.header("origin", ORIGIN).header("x-webchat", "1");
        let request = request.header("cookie", &cookie).header("content-type", "application/json");
        let body = Full::new(Bytes::from(body.to_string()));
        sender.ready().await.unwrap();
        let (head, body) =
            sender.send_request(request.body(body).unwrap()).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status.as_u16(), serde_json::from_slice::<Value>(&body).unwrap())
    };
    let group = json!({ "title": "Engines", "members": [bob.id], "history": "joined" });
    let (status, problem) = call("POST", "/api/conversations", &group).await;
    assert_eq!((status, &problem["code"]), (500, &json!("internal")));
    assert!(!problem.to_string().contains("on purpose"), "what went wrong is nobody's business");
    let (status, me) = call("GET", "/api/me", &json!({})).await;
    assert_eq!((status, &me["id"]), (200, &json!(ada.id)));
    connection.abort();
}
