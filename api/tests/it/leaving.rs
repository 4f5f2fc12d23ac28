//! Taking one's data along, and ending an account.

use serde_json::json;

use crate::{
    client::{Answer, Raw},
    harness::{PASSWORD, Server},
    person::Person,
};

async fn end(who: &Person, password: &str) -> Answer {
    who.send("DELETE", "/api/me", json!({ "password": password })).await
}

#[tokio::test]
async fn an_export_holds_what_is_mine_and_nothing_of_others() {
    let server = Server::spawn().await;
    let [ada, bob, cyd] = server.people(["ada", "bob", "cyd"]).await;
    let (direct, group) = (ada.direct(&bob).await, bob.group(&[&ada, &cyd], "joined").await);
    ada.say(&direct, "mine, direct").await;
    let gone = ada.say(&direct, "mine, deleted").await;
    ada.erase(&direct, gone).await.ok();
    ada.say(&group, "mine, in a group").await;
    bob.say(&group, "bob's").await;
    cyd.say(&group, "last word").await;
    ada.block(&cyd).await;
    let answer = ada.get("/api/me/export").await;
    let name = answer.header("content-disposition").unwrap();
    assert_eq!(name, "attachment; filename=\"webchat-export.json\"");
    let export = answer.json();
    let texts: Vec<&str> = export["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts, ["mine, direct", "mine, in a group"]);
    assert_eq!((&export["me"]["username"], &export["truncated"]), (&json!("ada"), &json!(false)));
    assert_eq!(export["blocked"][0]["id"], json!(cyd.id));
    assert_eq!(export["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(export["conversations"].as_array().unwrap().len(), 2);
    let text = export.to_string();
    assert!(!text.contains("password") && !text.contains("last word"), "{text}");
}

#[tokio::test]
async fn an_ended_account_leaves_its_words_and_no_name() {
    let server = Server::spawn().await;
    let [ada, bob, cyd] = server.people(["ada", "bob", "cyd"]).await;
    let (direct, group) = (bob.direct(&ada).await, bob.group(&[&ada, &cyd], "joined").await);
    bob.say(&direct, "to ada").await;
    bob.say(&group, "to all").await;
    bob.give_role(&group, &cyd, "admin").await.ok();
    let other_device = server.login("bob").await;
    end(&bob, "wrong password").await.refused(401, "bad_credentials");
    let answer = end(&bob, PASSWORD).await;
    assert_eq!((answer.status, answer.cookies().len()), (204, 2));
    for gone in [&bob, &other_device] {
        gone.get("/api/me").await.refused(401, "unauthorized");
    }
    other_device.post("/api/auth/refresh", json!({})).await.refused(401, "unauthorized");
    let token = format!("Bearer {}", bob.reply["socket_token"].as_str().unwrap());
    let raw = Raw::new("GET", "/api/conversations").with("authorization", &token);
    server.client().raw(raw).await.refused(401, "unauthorized");

    assert_eq!(ada.texts(&direct).await, ["to ada"]);
    assert_eq!(ada.texts(&group).await, ["to all"]);
    let card =
        json!({ "id": bob.id, "username": "", "display_name": "Deleted account", "about": "" });
    assert_eq!(ada.conversation(&direct).await["other"], card);
    assert_eq!(ada.get(&format!("/api/users/{}", bob.id)).await.ok(), card);
    assert_eq!(ada.get("/api/users?q=bob").await.ok()["users"], json!([]));
    let seen = cyd.conversation(&group).await;
    assert_eq!((&seen["role"], &seen["members_count"]), (&json!("owner"), &json!(2)));
    assert_eq!(cyd.texts(&group).await, ["to all"], "who inherits sees what they saw");
    let login = json!({ "username": "bob", "password": PASSWORD });
    server.client().post("/api/auth/login", login).await.refused(401, "bad_credentials");
    ada.post("/api/conversations/direct", json!({ "user": bob.id })).await.ok();
    cyd.post("/api/conversations/direct", json!({ "user": bob.id }))
        .await
        .refused(404, "not_found");

    let new = server.person("bob").await;
    assert_ne!(new.id, bob.id, "the name is free, the account another one");
    assert_eq!(new.get("/api/conversations").await.ok()["conversations"], json!([]));
    assert!(new.found("ada").await.is_empty());
}

#[tokio::test]
async fn the_last_member_takes_the_group_along_and_others_are_not_touched() {
    let server = Server::spawn().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let alone = bob.group(&[], "joined").await;
    let shared = ada.group(&[&bob], "joined").await;
    end(&bob, PASSWORD).await.ok();
    ada.get(&format!("/api/conversations/{alone}")).await.refused(404, "not_found");
    let members = ada.get(&format!("/api/conversations/{shared}/members")).await.ok();
    assert_eq!(members["members"].as_array().unwrap().len(), 1);
    let adding = json!({ "users": [bob.id] });
    let path = format!("/api/conversations/{shared}/members");
    ada.post(&path, adding).await.refused(404, "not_found");
}

#[tokio::test]
async fn the_last_administrator_appoints_another_one_first() {
    let server = Server::spawn().await;
    let [ada, bob, cyd] = server.people(["ada", "bob", "cyd"]).await;
    end(&ada, PASSWORD).await.refused(409, "conflict");
    let path = |of: &Person| format!("/api/admin/users/{}", of.id);
    ada.patch(&path(&bob), json!({ "admin": true })).await.ok();
    ada.patch(&path(&bob), json!({ "disabled": true })).await.ok();
    end(&ada, PASSWORD).await.refused(409, "conflict");
    ada.get("/api/me").await.ok();
    ada.patch(&path(&cyd), json!({ "admin": true })).await.ok();
    end(&ada, PASSWORD).await.ok();
    cyd.get("/api/admin/settings").await.ok();
}
