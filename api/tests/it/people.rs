//! Finding people, profiles, who is online, how far others have read.

use std::sync::Arc;

use backplane::{Cursors, Live, NodeId, PresenceChange, Signal};
use protocol::{ConversationId, UserId};
use serde_json::{Value, json};

use crate::harness::{PASSWORD, Server, until};

fn names(list: &Value) -> Vec<String> {
    let users = list["users"].as_array().unwrap().iter();
    users.map(|user| user["username"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn people_are_found_by_the_beginning_of_any_word_of_their_names() {
    let server = Server::spawn().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    bob.patch("/api/me", json!({ "display_name": "Bob Le Bon" })).await.ok();
    let find = async |q: &str| names(&ada.get(&format!("/api/users?q={q}")).await.ok());
    for q in ["bo", "BON", "le", "bob%20bon"] {
        assert_eq!(find(q).await, ["bob"], "{q}");
    }
    assert!(find("ob").await.is_empty());
    assert_eq!(find("").await.len(), 2);
    let ids = format!("/api/users?ids={},00000000000000ff,{}", bob.id, ada.id);
    assert_eq!(names(&ada.get(&ids).await.ok()), ["bob", "ada"]);
    let card = ada.get(&format!("/api/users/{}", bob.id)).await.ok();
    assert_eq!(
        card,
        json!({ "id": bob.id, "username": "bob", "display_name": "Bob Le Bon", "about": "" })
    );
    ada.get("/api/users/00000000000000ff").await.refused(404, "not_found");
}

#[tokio::test]
async fn where_people_find_only_contacts_strangers_are_not_found() {
    let server = Server::spawn().await;
    let [ada, bob, cyd] = server.people(["ada", "bob", "cyd"]).await;
    ada.patch("/api/admin/settings", json!({ "directory": "contacts" })).await.ok();
    let find = async || names(&bob.get("/api/users?q=").await.ok());
    assert!(!find().await.contains(&"cyd".to_owned()));
    let at = ada.group(&[&bob, &cyd], "joined").await;
    assert!(find().await.contains(&"cyd".to_owned()));
    ada.remove(&at, &cyd).await.ok();
    assert!(!find().await.contains(&"cyd".to_owned()));
}

#[tokio::test]
async fn a_profile_changes_field_by_field() {
    let server = Server::spawn().await;
    let ada = server.person("ada").await;
    let change = async |body: Value| ada.patch("/api/me", body).await;
    let me = change(json!({ "display_name": " Ada L. ", "about": "one\ntwo" })).await.ok();
    assert_eq!((&me["display_name"], &me["about"]), (&json!("Ada L."), &json!("one\ntwo")));
    let me = change(json!({ "hidden": true })).await.ok();
    assert_eq!((&me["hidden"], &me["display_name"]), (&json!(true), &json!("Ada L.")));
    assert_eq!(change(json!({})).await.ok(), me);
    assert_eq!(ada.get("/api/me").await.ok(), me);
    change(json!({ "display_name": "" })).await.refused(400, "invalid_fields");
    change(json!({ "about": "x".repeat(281) })).await.refused(400, "invalid_fields");
    change(json!({ "admin": true })).await.refused(400, "bad_request");
    change(json!({ "username": "other" })).await.refused(400, "bad_request");
}

#[tokio::test]
async fn the_online_list_names_who_is_there() {
    let server = Server::spawn().await;
    let [ada, bob, cyd] = server.people(["ada", "bob", "cyd"]).await;
    cyd.patch("/api/me", json!({ "hidden": true })).await.ok();
    let announce = async |people: &[&crate::person::Person], online: bool| {
        let as_of = server.clock.now_ms();
        let change = |person: &&crate::person::Person| {
            let user: UserId = person.id.parse().unwrap();
            PresenceChange { user, online, as_of }
        };
        let changes: Vec<_> = people.iter().map(change).collect();
        server.live.announce(NodeId(7), changes).await.unwrap();
    };
    announce(&[&ada, &bob, &cyd], true).await;
    let list = async || ada.get("/api/online").await.ok();
    until("two are online", async || names(&list().await) == ["ada", "bob"]).await;
    let first = ada.get("/api/online?limit=1").await.ok();
    assert_eq!((&first["total"], names(&first)), (&json!(2), vec!["ada".to_owned()]));
    let next = crate::person::percent(first["next"].as_str().unwrap());
    let second = ada.get(&format!("/api/online?limit=1&after={next}")).await.ok();
    assert_eq!((names(&second), second.get("next")), (vec!["bob".to_owned()], None));
    announce(&[&bob], false).await;
    until("one is online", async || names(&list().await) == ["ada"]).await;
    ada.get("/api/online?after=x").await.refused(400, "invalid_fields");
}

#[tokio::test]
async fn receipts_are_of_members_and_of_those_who_give_them() {
    let server = Server::spawn().await;
    let [ada, bob, cyd] = server.people(["ada", "bob", "cyd"]).await;
    let at = ada.group(&[&bob, &cyd], "joined").await;
    let seq = ada.say(&at, "read me").await;
    let conversation: ConversationId = at.parse().unwrap();
    let live: Arc<dyn Live> = server.live.clone();
    let before = ada.get(&format!("/api/conversations/{at}/receipts")).await.ok();
    assert_eq!(before["receipts"].as_array().unwrap().len(), 3, "who was never here is waited for");
    for who in [&bob, &cyd] {
        let user: UserId = who.id.parse().unwrap();
        let cursors = Cursors { delivered: seq, read: seq };
        live.receipts_merge(vec![(conversation, user, cursors)]).await.unwrap();
        live.publish(vec![Signal::Receipt { conversation, user, cursors }]).await.unwrap();
    }
    let readers = async |who: &crate::person::Person| -> Vec<String> {
        let answer = who.get(&format!("/api/conversations/{at}/receipts")).await.ok();
        let receipts = answer["receipts"].as_array().unwrap().clone();
        let read = receipts.iter().filter(|receipt| receipt["read"] == json!(seq));
        let mut users: Vec<String> =
            read.map(|receipt| receipt["user"].as_str().unwrap().to_owned()).collect();
        users.sort();
        users
    };
    let sorted = |people: &[&crate::person::Person]| {
        let mut ids: Vec<String> = people.iter().map(|person| person.id.clone()).collect();
        ids.sort();
        ids
    };
    assert_eq!(readers(&ada).await, sorted(&[&ada, &bob, &cyd]));
    until("the store has them too", async || bob.conversation(&at).await["read"] == json!(seq))
        .await;
    assert_eq!(bob.conversation(&at).await["unread"], 0);
    cyd.patch("/api/me", json!({ "receipts_off": true })).await.ok();
    assert_eq!(readers(&ada).await, sorted(&[&ada, &bob]));
    assert_eq!(readers(&cyd).await, sorted(&[&cyd]), "who gives none sees none");
    ada.remove(&at, &bob).await.ok();
    assert_eq!(readers(&ada).await, sorted(&[&ada]));
    let next = ada.say(&at, "and me").await;
    let (user, cursors) = (cyd.id.parse().unwrap(), Cursors { delivered: next, read: next });
    live.publish(vec![Signal::OwnReceipt { conversation, user, cursors }]).await.unwrap();
    until("their own count follows", async || cyd.conversation(&at).await["unread"] == json!(0))
        .await;
}

#[tokio::test]
async fn above_32_members_receipts_are_counts() {
    let server = Server::spawn().await;
    let ada = server.person("ada").await;
    let mut others = Vec::new();
    for n in 0..33 {
        let body = json!({ "username": format!("user{n}"), "password": PASSWORD });
        let reply = server.client().post("/api/auth/register", body).await.ok();
        others.push(reply["user"]["id"].clone());
    }
    let body = json!({ "title": "Many", "members": others });
    let at = ada.post("/api/conversations", body).await.ok()["id"].as_str().unwrap().to_owned();
    let seq = ada.say(&at, "read me").await;
    let conversation: ConversationId = at.parse().unwrap();
    let user: UserId = others[0].as_str().unwrap().parse().unwrap();
    let cursors = Cursors { delivered: seq, read: 1 };
    server.live.receipts_merge(vec![(conversation, user, cursors)]).await.unwrap();
    let path = format!("/api/conversations/{at}/receipts");
    let counts = ada.get(&format!("{path}?seqs=0,1,{seq}")).await.ok();
    let expected = json!({ "counts": [
        { "seq": 0, "delivered": 33, "read": 33 },
        { "seq": 1, "delivered": 1, "read": 1 },
        { "seq": seq, "delivered": 1, "read": 0 },
    ] });
    assert_eq!(counts, expected);
    ada.get(&format!("{path}?seqs=x")).await.refused(400, "bad_request");
    let many = vec!["1"; 101].join(",");
    ada.get(&format!("{path}?seqs={many}")).await.refused(413, "too_large");
}
