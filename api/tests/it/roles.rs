//! What members, admins and owners of a group may do.

use serde_json::json;

use crate::{client::Answer, harness::Server, person::Person};

async fn rename(who: &Person, at: &str) -> Answer {
    who.patch(&format!("/api/conversations/{at}"), json!({ "title": "Other" })).await
}

#[tokio::test]
async fn members_talk_and_admins_rule() {
    let server = Server::spawn().await;
    let [ada, bob, cyd, dan] = server.people(["ada", "bob", "cyd", "dan"]).await;
    let at = ada.group(&[&bob, &cyd], "joined").await;
    let said = cyd.say(&at, "hello").await;
    let members = format!("/api/conversations/{at}/members");
    let adding = json!({ "users": [dan.id] });
    let invite = format!("/api/conversations/{at}/invite");
    // bob is a member.
    rename(&bob, &at).await.refused(403, "forbidden");
    bob.remove(&at, &cyd).await.refused(403, "forbidden");
    bob.give_role(&at, &bob, "owner").await.refused(403, "forbidden");
    bob.post(&members, adding.clone()).await.refused(403, "forbidden");
    bob.erase(&at, said).await.refused(403, "forbidden");
    bob.post(&invite, json!({})).await.refused(403, "forbidden");
    bob.delete(&invite).await.refused(403, "forbidden");
    // bob is an admin.
    ada.give_role(&at, &bob, "admin").await.ok();
    rename(&bob, &at).await.ok();
    assert_eq!(cyd.conversation(&at).await["title"], "Other");
    bob.post(&members, adding).await.ok();
    bob.remove(&at, &ada).await.refused(403, "forbidden");
    bob.give_role(&at, &cyd, "admin").await.refused(403, "forbidden");
    bob.edit(&at, said, "other words").await.refused(403, "forbidden");
    bob.erase(&at, said).await.ok();
    bob.remove(&at, &dan).await.ok();
    // Nobody is removed twice, nobody added twice.
    bob.remove(&at, &dan).await.refused(404, "not_found");
    bob.post(&members, json!({ "users": [cyd.id] })).await.refused(409, "conflict");
    bob.post(&members, json!({ "users": ["00000000000000ff"] })).await.refused(404, "not_found");
    bob.post(&members, json!({ "users": [] })).await.refused(409, "conflict");
    rename(&cyd, &at).await.refused(403, "forbidden");
}

#[tokio::test]
async fn a_group_always_has_an_owner() {
    let server = Server::spawn().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let at = ada.group(&[&bob], "joined").await;
    ada.remove(&at, &ada).await.refused(409, "conflict");
    ada.give_role(&at, &ada, "member").await.refused(409, "conflict");
    ada.give_role(&at, &bob, "owner").await.ok();
    ada.remove(&at, &ada).await.ok();
    ada.get(&format!("/api/conversations/{at}")).await.refused(404, "not_found");
    bob.remove(&at, &bob).await.ok();
    bob.get(&format!("/api/conversations/{at}")).await.refused(404, "not_found");
}

#[tokio::test]
async fn two_owners_who_leave_at_once_do_not_leave_members_without_one() {
    let server = Server::spawn().await;
    let [ada, bob, cyd] = server.people(["ada", "bob", "cyd"]).await;
    let at = ada.group(&[&bob, &cyd], "joined").await;
    ada.give_role(&at, &bob, "owner").await.ok();
    let left = tokio::join!(ada.remove(&at, &ada), bob.remove(&at, &bob));
    let mut statuses = [left.0.status, left.1.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "the second one is decided by what the first one left");
    assert_eq!(cyd.conversation(&at).await["members_count"], 2);
}

#[tokio::test]
async fn a_direct_conversation_is_no_group() {
    let server = Server::spawn().await;
    let [ada, bob, cyd] = server.people(["ada", "bob", "cyd"]).await;
    let at = ada.direct(&bob).await;
    let said = ada.say(&at, "hello").await;
    rename(&ada, &at).await.refused(403, "forbidden");
    ada.remove(&at, &bob).await.refused(403, "forbidden");
    ada.remove(&at, &ada).await.refused(403, "forbidden");
    ada.give_role(&at, &bob, "owner").await.refused(403, "forbidden");
    bob.erase(&at, said).await.refused(403, "forbidden");
    let path = format!("/api/conversations/{at}");
    let adding = json!({ "users": [cyd.id] });
    ada.post(&format!("{path}/members"), adding).await.refused(403, "forbidden");
    ada.post(&format!("{path}/invite"), json!({})).await.refused(403, "forbidden");
    let members = ada.get(&format!("{path}/members")).await.ok();
    assert_eq!(members["members"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn members_come_in_pages() {
    let server = Server::spawn().await;
    let [ada, bob, cyd] = server.people(["ada", "bob", "cyd"]).await;
    let at = ada.group(&[&bob, &cyd], "joined").await;
    let path = format!("/api/conversations/{at}/members?limit=2");
    let first = ada.get(&path).await.ok();
    let next = first["next"].as_str().unwrap();
    let second = ada.get(&format!("{path}&after={next}")).await.ok();
    assert!(second.get("next").is_none());
    let pages = [&first, &second].into_iter().flat_map(|page| page["members"].as_array().unwrap());
    let mut names: Vec<(String, String)> = pages
        .map(|m| {
            (m["user"]["username"].as_str().unwrap().into(), m["role"].as_str().unwrap().into())
        })
        .collect();
    names.sort();
    let expected = [("ada", "owner"), ("bob", "member"), ("cyd", "member")];
    assert_eq!(names, expected.map(|(name, role)| (name.to_owned(), role.to_owned())));
}

#[tokio::test]
async fn titles_and_members_of_a_new_group_are_checked() {
    let server = Server::spawn().await;
    let ada = server.person("ada").await;
    let make = async |title: &str, members: serde_json::Value| {
        ada.post("/api/conversations", json!({ "title": title, "members": members })).await
    };
    make("", json!([])).await.refused(400, "invalid_fields");
    make(&"x".repeat(81), json!([])).await.refused(400, "invalid_fields");
    make("a\nb", json!([])).await.refused(400, "invalid_fields");
    make("Nobody", json!(["00000000000000ff"])).await.refused(404, "not_found");
    let many: Vec<String> = (1..1_001).map(|n| format!("{n:016x}")).collect();
    make("Many", json!(many)).await.refused(413, "too_large");
    let alone = make("Alone", json!([ada.id, ada.id])).await;
    assert_eq!((alone.status, &alone.json()["members_count"]), (201, &json!(1)));
    let bad = json!({ "title": "x", "history": "some" });
    ada.post("/api/conversations", bad).await.refused(400, "bad_request");
}
