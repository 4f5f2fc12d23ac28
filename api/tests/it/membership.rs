//! Who sees what of a group: those who come late, those who go, those who come back. Whatever must not be seen has the
//! word `secret` in it, and no answer of any endpoint may contain that word.

use serde_json::{Value, json};

use crate::{
    harness::Server,
    person::{Person, message},
};

/// Everything that somebody can read of a conversation, in one text.
async fn all_that_is_seen(who: &Person, at: &str) -> String {
    let mut seen = String::new();
    for path in [
        format!("/api/conversations/{at}"),
        format!("/api/conversations/{at}/events"),
        format!("/api/conversations/{at}/messages?limit=100"),
        format!("/api/conversations/{at}/messages?around=3"),
        format!("/api/conversations/{at}/messages?after=0"),
        format!("/api/conversations/{at}/messages?before=5"),
        format!("/api/conversations/{at}/members"),
        format!("/api/conversations/{at}/receipts"),
        format!("/api/search?q=secret&conversation={at}"),
        "/api/search?q=secret".to_owned(),
        "/api/conversations".to_owned(),
        "/api/me/export".to_owned(),
    ] {
        seen.push_str(&format!(
            "{path}: {}\n",
            String::from_utf8_lossy(&who.get(&path).await.body)
        ));
    }
    seen
}

fn frames(page: &Value) -> Vec<String> {
    let frames = page["events"].as_array().unwrap().iter();
    frames
        .map(|frame| match frame["type"].as_str().unwrap() {
            "hole" => format!("hole {}-{}", frame["from"], frame["to"]),
            kind => format!("{kind} {}", frame["seq"]),
        })
        .collect()
}

#[tokio::test]
async fn who_joins_late_sees_nothing_of_before() {
    let server = Server::spawn().await;
    let [ada, bob, cyd] = server.people(["ada", "bob", "cyd"]).await;
    let at = ada.group(&[&bob], "joined").await;
    let early = ada.say(&at, "secret one").await;
    ada.say(&at, "secret two").await;
    let since = ada.add(&at, &cyd).await;
    let seen = cyd.conversation(&at).await;
    let joining = cyd.events(&at, &format!("after={}", since - 1)).await["events"][0].clone();
    assert_eq!(seen["activity_ts"], joining["ts"], "nor when it was said");
    assert_eq!((&seen["since"], &seen["unread"]), (&json!(since), &json!(0)));
    assert_eq!(seen["last_message"], Value::Null);
    // Later: an answer to something from before, an edit of it, an emoji on it.
    let answer = bob.reply(&at, early, "open answer").await;
    ada.edit(&at, early, "secret one!").await.ok();
    bob.react(&at, early, "👍").await.ok();
    ada.erase(&at, early + 1).await.ok();
    let seen = all_that_is_seen(&cyd, &at).await;
    assert!(!seen.replace("q=secret", "").contains("secret"), "{seen}");
    assert!(seen.contains("open answer"));
    let page = cyd.page(&at, "after=0").await;
    let items = page["items"].as_array().unwrap();
    assert_eq!(
        items.iter().map(|i| i["seq"].as_u64().unwrap()).collect::<Vec<_>>(),
        [since, answer]
    );
    assert_eq!((&items[1]["reply_to"], &page["more_before"]), (&Value::Null, &json!(false)));
    assert_eq!(cyd.conversation(&at).await["unread"], 1);
    let events = cyd.events(&at, "after=0").await;
    let expected =
        [format!("hole 1-{}", since - 1), format!("member {since}"), format!("message {answer}")];
    assert_eq!(frames(&events)[..3], expected);
    assert_eq!(frames(&events)[3..], [format!("hole {}-{}", answer + 1, answer + 3)]);
    assert_eq!(
        frames(&cyd.events(&at, "after=1&limit=1").await)[0],
        format!("hole 2-{}", since - 1)
    );
    // What one may not see one cannot act on either.
    cyd.react(&at, early, "👍").await.refused(404, "not_found");
    let report = format!("{}/report", message(&at, early));
    cyd.post(&report, json!({ "reason": "curious" })).await.refused(404, "not_found");
    cyd.erase(&at, early).await.refused(404, "not_found");
    cyd.edit(&at, early, "mine").await.refused(404, "not_found");
}

#[tokio::test]
async fn where_history_is_open_who_joins_late_sees_all() {
    let server = Server::spawn().await;
    let [ada, bob, cyd, dan] = server.people(["ada", "bob", "cyd", "dan"]).await;
    let at = ada.group(&[&bob], "all").await;
    let early = ada.say(&at, "for all").await;
    ada.add(&at, &cyd).await;
    assert_eq!(cyd.texts(&at).await, ["for all"]);
    assert_eq!(cyd.conversation(&at).await["since"], 1);
    assert_eq!(cyd.found("all").await, ["for all"]);
    assert_eq!(frames(&cyd.events(&at, "").await)[..2], ["created 1", "message 2"]);
    cyd.react(&at, early, "👍").await.ok();
    // The rule changes: for those who come after that.
    let path = format!("/api/conversations/{at}");
    ada.patch(&path, json!({ "history": "joined" })).await.ok();
    ada.add(&at, &dan).await;
    assert!(dan.texts(&at).await.is_empty());
    assert_eq!(cyd.texts(&at).await, ["for all"], "who sees it goes on seeing it");
}

#[tokio::test]
async fn another_role_changes_nothing_about_what_one_sees() {
    let server = Server::spawn().await;
    let [ada, bob, cyd] = server.people(["ada", "bob", "cyd"]).await;
    let at = ada.group(&[&bob], "joined").await;
    ada.say(&at, "first").await;
    let since = ada.add(&at, &cyd).await;
    ada.say(&at, "second").await;
    for role in ["admin", "owner", "member"] {
        for who in [&bob, &cyd] {
            ada.give_role(&at, who, role).await.ok();
        }
        assert_eq!(bob.texts(&at).await, ["first", "second"], "{role}");
        assert_eq!(cyd.texts(&at).await, ["second"], "{role}");
        assert_eq!(cyd.conversation(&at).await["since"], since, "{role}");
        assert_eq!(cyd.conversation(&at).await["role"], role);
    }
}

#[tokio::test]
async fn who_is_removed_sees_nothing_from_then_on_and_who_comes_back_not_what_was_between() {
    let server = Server::spawn().await;
    let [ada, bob, cyd] = server.people(["ada", "bob", "cyd"]).await;
    let at = ada.group(&[&bob, &cyd], "joined").await;
    ada.say(&at, "secret before").await;
    let own = bob.say(&at, "own words").await;
    assert!(all_that_is_seen(&bob, &at).await.contains("secret before"));
    ada.remove(&at, &bob).await.ok();
    ada.say(&at, "secret between").await;
    let seen = all_that_is_seen(&bob, &at).await;
    assert!(!seen.replace("q=secret", "").contains("secret"), "{seen}");
    assert!(!seen.contains("Engines"), "{seen}");
    assert!(seen.contains("own words"), "what one wrote is in one's own export");
    for path in ["", "/events", "/messages", "/members", "/receipts"] {
        bob.get(&format!("/api/conversations/{at}{path}")).await.refused(404, "not_found");
    }
    bob.post(&format!("/api/conversations/{at}/messages"), json!({ "text": "still here" }))
        .await
        .refused(404, "not_found");
    bob.edit(&at, own, "other words").await.refused(404, "not_found");

    let since = ada.add(&at, &bob).await;
    ada.say(&at, "welcome back").await;
    assert_eq!(bob.texts(&at).await, ["welcome back"]);
    let seen = all_that_is_seen(&bob, &at).await;
    assert!(!seen.replace("q=secret", "").contains("secret"), "{seen}");
    assert_eq!(frames(&bob.events(&at, "").await)[0], format!("hole 1-{}", since - 1));
    assert_eq!(bob.conversation(&at).await["unread"], 1);
    assert_eq!(cyd.texts(&at).await.len(), 4, "those who stayed see all of it");
}

#[tokio::test]
async fn a_direct_conversation_is_between_two() {
    let server = Server::spawn().await;
    let [ada, bob, cyd] = server.people(["ada", "bob", "cyd"]).await;
    let at = ada.direct(&bob).await;
    ada.say(&at, "secret of two").await;
    cyd.direct(&ada).await;
    let seen = all_that_is_seen(&cyd, &at).await;
    assert!(!seen.replace("q=secret", "").contains("secret"), "{seen}");
}
