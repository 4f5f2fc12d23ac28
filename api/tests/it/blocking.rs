//! What a block hides, and from whom.

use serde_json::{Value, json};

use crate::harness::Server;

#[tokio::test]
async fn a_blocked_person_is_not_read_by_who_blocked_them_and_by_all_others() {
    let server = Server::spawn().await;
    let [ada, bob, cyd] = server.people(["ada", "bob", "cyd"]).await;
    let at = ada.group(&[&bob, &cyd], "joined").await;
    let own = ada.say(&at, "from ada").await;
    let rude = bob.say(&at, "rude words").await;
    bob.react(&at, own, "👎").await.ok();
    let answer = cyd.reply(&at, rude, "do not").await;
    ada.block(&bob).await;
    let list = ada.get("/api/me/blocked").await.ok();
    assert_eq!(list["users"][0]["id"], json!(bob.id));

    assert_eq!(ada.texts(&at).await, ["from ada", "do not"]);
    let page = ada.page(&at, "").await;
    let items = page["items"].as_array().unwrap();
    assert_eq!(items[1]["reactions"], json!([]), "nor their emoji");
    assert_eq!((&items[2]["seq"], &items[2]["reply_to"]), (&json!(answer), &Value::Null));
    let events = ada.events(&at, "").await;
    let frames: Vec<&str> =
        events["events"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(frames, ["created", "message", "hole", "message"]);
    assert_eq!((&events["events"][2]["from"], &events["events"][2]["to"]), (&json!(3), &json!(4)));
    assert!(ada.found("rude").await.is_empty());
    bob.say(&at, "more rude words").await;
    assert_eq!(ada.conversation(&at).await["last_message"]["text"], "do not");
    assert_eq!(ada.page(&at, &format!("around={rude}&limit=2")).await["items"][0]["seq"], own);

    assert_eq!(cyd.texts(&at).await.len(), 4, "others read them");
    assert_eq!(bob.texts(&at).await.len(), 4, "and they are not told");
    let seen = ada.conversation(&at).await;
    assert_eq!(seen["unread"], 1, "the answer: what is not shown is not counted");
    // What they do to the group is seen: it holds for everybody. So is that they took away what somebody else wrote.
    ada.give_role(&at, &bob, "admin").await.ok();
    bob.erase(&at, answer).await.ok();
    let items = ada.page(&at, "").await["items"].clone();
    assert_eq!((&items[2]["seq"], &items[2]["deleted"]), (&json!(answer), &json!(true)));
    let events = ada.events(&at, &format!("after={answer}")).await["events"].clone();
    let kinds: Vec<&str> =
        events.as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["hole", "member", "delete"]);
    bob.patch(&format!("/api/conversations/{at}"), json!({ "title": "Bob's" })).await.ok();
    assert_eq!(ada.conversation(&at).await["title"], "Bob's");

    ada.delete(&format!("/api/me/blocked/{}", bob.id)).await.ok();
    assert_eq!(ada.texts(&at).await.len(), 4, "all of it is back");
}

#[tokio::test]
async fn who_blocks_whom_is_checked() {
    let server = Server::spawn().await;
    let [ada, bob] = server.people(["ada", "bob"]).await;
    let path = |id: &str| format!("/api/me/blocked/{id}");
    ada.put(&path(&ada.id), json!({})).await.refused(409, "conflict");
    ada.put(&path("00000000000000ff"), json!({})).await.refused(404, "not_found");
    for _ in 0..2 {
        assert_eq!(ada.put(&path(&bob.id), json!({})).await.status, 204);
    }
    assert_eq!(ada.get("/api/me/blocked").await.ok()["users"].as_array().unwrap().len(), 1);
    assert_eq!(bob.get("/api/me/blocked").await.ok()["users"], json!([]));
    for _ in 0..2 {
        assert_eq!(ada.delete(&path(&bob.id)).await.status, 204);
    }
}
