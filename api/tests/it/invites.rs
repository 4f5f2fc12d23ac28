//! Links that let people into a group.

use serde_json::json;

use crate::harness::Server;

#[tokio::test]
async fn a_link_lets_in_until_it_is_revoked() {
    let server = Server::spawn().await;
    let [ada, bob, cyd] = server.people(["ada", "bob", "cyd"]).await;
    let at = ada.group(&[], "joined").await;
    ada.say(&at, "before").await;
    let path = format!("/api/conversations/{at}/invite");
    let invite = ada.post(&path, json!({})).await.ok();
    let code = invite["code"].as_str().unwrap();
    assert_eq!(code.len(), 22);
    assert_eq!(invite["path"], format!("/join/{code}"));
    assert_eq!(ada.post(&path, json!({})).await.ok(), invite, "the same until it is revoked");
    let link = format!("/api/invites/{code}");
    server.client().get(&link).await.refused(401, "unauthorized");
    let preview = bob.get(&link).await.ok();
    assert_eq!(preview, json!({ "title": "Engines", "members_count": 1 }));
    bob.get(&format!("/api/conversations/{at}")).await.refused(404, "not_found");

    let joined = bob.post(&link, json!({})).await.ok();
    assert_eq!((&joined["id"], &joined["role"]), (&json!(at), &json!("member")));
    assert!(bob.texts(&at).await.is_empty(), "history is of those who were there");
    let head = joined["head"]["seq"].as_u64().unwrap();
    let again = bob.post(&link, json!({})).await.ok();
    assert_eq!(again["head"]["seq"], head, "who is in already just gets there");

    assert_eq!(ada.delete(&path).await.status, 204);
    cyd.get(&link).await.refused(404, "not_found");
    cyd.post(&link, json!({})).await.refused(404, "not_found");
    bob.say(&at, "still in").await;
    let new = ada.post(&path, json!({})).await.ok();
    assert_ne!(new["code"], invite["code"]);
    cyd.post(&link, json!({})).await.refused(404, "not_found");
    cyd.post(&format!("/api/invites/{}", new["code"].as_str().unwrap()), json!({})).await.ok();
}

#[tokio::test]
async fn codes_that_are_none_lead_nowhere() {
    let server = Server::spawn().await;
    let ada = server.person("ada").await;
    let registration = ada.post("/api/admin/invites", json!({})).await.ok();
    let registration = registration["code"].as_str().unwrap().to_owned();
    for code in ["x", "%27%20or%201=1", &"A".repeat(22), &"A".repeat(5_000), &registration] {
        let link = format!("/api/invites/{code}");
        ada.get(&link).await.refused(404, "not_found");
        ada.post(&link, json!({})).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn who_was_removed_may_come_back_by_a_link_and_who_joins_a_link_race_is_in_once() {
    let server = Server::spawn().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let at = ada.group(&[&bob], "joined").await;
    let invite = ada.post(&format!("/api/conversations/{at}/invite"), json!({})).await.ok();
    let link = format!("/api/invites/{}", invite["code"].as_str().unwrap());
    ada.remove(&at, &bob).await.ok();
    let both = tokio::join!(bob.post(&link, json!({})), bob.post(&link, json!({})));
    let heads = [both.0.ok(), both.1.ok()].map(|c| c["head"]["seq"].as_u64().unwrap());
    assert_eq!(heads, [3, 3], "one event");
    assert_eq!(ada.conversation(&at).await["members_count"], 2);
}

#[tokio::test]
async fn a_link_into_a_group_that_everybody_left_leads_nowhere() {
    let server = Server::spawn().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let at = ada.group(&[], "joined").await;
    let invite = ada.post(&format!("/api/conversations/{at}/invite"), json!({})).await.ok();
    let link = format!("/api/invites/{}", invite["code"].as_str().unwrap());
    ada.remove(&at, &ada).await.ok();
    bob.get(&link).await.refused(404, "not_found");
    bob.post(&link, json!({})).await.refused(404, "not_found");
}
