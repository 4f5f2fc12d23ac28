//! `--demo`: some people and messages in an empty instance, to look around in.
//!
//! Owns: what they say. Never does: touch an instance that somebody uses. Talks to: the app. Start reading at: [`fill`].

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Context;
use api::{
    Api,
    app::{account::Registration, groups::NewGroup, messages::NewMessage},
    auth::{AuthContext, Caller},
    store::Store,
};
use protocol::{ConversationId, Producer, body::HistoryAccess};

/// Everybody's. The server listens on this machine only, unless its operator says otherwise.
const PASSWORD: &str = "webchat-demo";
const PEOPLE: [(&str, &str); 4] =
    [("ada", "Ada Byron"), ("grace", "Grace Murray"), ("alan", "Alan Mathison"), ("mei", "林 美")];
/// Who says what in the group, in order.
const GROUP: [(usize, &str); 8] = [
    (
        0,
        "Welcome to WebChat 👋 Everything here is real: open a second browser and log in as *grace*.",
    ),
    (1, "Hello Ada! Ticks, typing, presence: all there."),
    (2, "Has anybody tried what happens when the server is killed in the middle of a message?"),
    (0, "Yes: it comes back, and so does the message. Once.\n\n```\nkill -9 $(pidof webchat)\n```"),
    (3, "搜索也支持中文：试试搜索「消息」。每条消息只出现一次。"),
    (2, "Good. Then I will write down how it works, see `LOG.md`… no, `ARCHITECTURE.md`."),
    (1, "> an ack is a promise\n\nI like that one."),
    (3, "午饭？🍜"),
];
const DIRECT: [(usize, &str); 3] = [
    (1, "Ada, do you have the notes on the engine?"),
    (0, "On my desk. I will send them tonight."),
    (1, "No hurry. Thank you!"),
];

/// Fills an instance that nobody has registered on; leaves any other alone.
pub(crate) async fn fill(api: &Api, store: &dyn Store) -> anyhow::Result<()> {
    if store.has_users().await? {
        println!("--demo: somebody has registered here already, so nothing was added");
        return Ok(());
    }
    let app = api.app();
    let caller = Caller { address: IpAddr::V4(Ipv4Addr::LOCALHOST), exempt: true };
    let mut people = Vec::new();
    for (username, name) in PEOPLE {
        let registration = Registration {
            username: username.to_owned(),
            password: PASSWORD.to_owned(),
            display_name: Some(name.to_owned()),
            invite: None,
        };
        let login = app.register(caller, registration, "demo".to_owned()).await?;
        people.push(AuthContext { user: login.reply.user.id, session: login.reply.session });
    }
    let key = || Producer(rand::random::<u64>() >> 1);
    let group = NewGroup {
        title: "Analytical Engine".to_owned(),
        members: people.iter().map(|who| who.user).collect(),
        history: HistoryAccess::All,
    };
    let group = app.create_group(people[0], key(), group).await?;
    let (_, direct) = app.direct(people[0], people[1].user).await?;
    let say = async |lines: &[(usize, &str)], id: ConversationId| {
        for (who, text) in lines {
            let message = NewMessage { text: (*text).to_owned(), reply_to: None };
            app.publish(people[*who], key(), id, message).await?;
        }
        anyhow::Ok(())
    };
    say(&GROUP, group.id).await.context("the group")?;
    say(&DIRECT, direct.id).await.context("the direct conversation")?;
    for who in people {
        app.revoke_session(who, who.session).await?;
    }
    let names: Vec<&str> = PEOPLE.iter().map(|(username, _)| *username).collect();
    println!("--demo: log in as {} with the password {PASSWORD}", names.join(", "));
    Ok(())
}
