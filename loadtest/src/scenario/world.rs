//! People, their logins and their conversations, made through HTTP as a client would.
//!
//! Owns: who talks with whom. Never does: sockets. Talks to: the api. Start reading at: [`World::build`].

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use anyhow::Context;
use protocol::{ConversationId, UserId};
use tokio::{sync::Mutex, task::JoinSet};

use crate::http::Account;

/// Accounts made at a time: hashing passwords takes a core of the server each.
const AT_A_TIME: usize = 4;
/// The password of everybody.
pub const PASSWORD: &str = "correct horse battery";

/// One person.
#[derive(Debug, Clone)]
pub struct Person {
    /// The login, shared by the person's devices.
    pub account: Arc<Mutex<Account>>,
    /// Who.
    pub user: UserId,
    /// The address that all of the person's connections come from.
    pub source: IpAddr,
    /// Their conversations.
    pub conversations: Vec<ConversationId>,
}

/// Everybody.
#[derive(Debug, Clone)]
pub struct World {
    /// In the order they were made.
    pub people: Vec<Person>,
    /// Every conversation, with a member's index.
    pub conversations: Vec<(ConversationId, usize)>,
}

/// An address of the person's own, so that limits per address treat test people as they treat real ones.
pub fn address_of(i: usize) -> IpAddr {
    let [.., high, low] = u32::try_from(i + 1).unwrap_or(u32::MAX).to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, 1, high, low))
}

/// Registers somebody new.
pub async fn register(target: SocketAddr, name: &str, i: usize) -> anyhow::Result<Person> {
    let source = address_of(i);
    let mut account = Account::new(target, Some(source));
    account.register(name, PASSWORD).await.with_context(|| format!("register {name}"))?;
    let user = account.user;
    let account = Arc::new(Mutex::new(account));
    Ok(Person { account, user, source, conversations: Vec::new() })
}

impl World {
    /// Registers `people`, a direct conversation of each with the next one, and a group of `group_size` for each run
    /// of that many people.
    pub async fn build(
        target: SocketAddr,
        prefix: &str,
        people: usize,
        group_size: usize,
    ) -> anyhow::Result<Self> {
        let mut made: Vec<Option<Person>> = vec![None; people];
        let mut tasks = JoinSet::new();
        for i in 0..people {
            if tasks.len() >= AT_A_TIME {
                let (i, person): (usize, anyhow::Result<Person>) =
                    tasks.join_next().await.context("invariant: tasks run")??;
                made[i] = Some(person?);
            }
            let name = format!("{prefix}{i}");
            tasks.spawn(async move { (i, register(target, &name, i).await) });
        }
        while let Some(done) = tasks.join_next().await {
            let (i, person) = done?;
            made[i] = Some(person?);
        }
        let people = made.into_iter().flatten().collect();
        let mut world = Self { people, conversations: Vec::new() };
        world.connect_people(group_size).await?;
        Ok(world)
    }

    async fn connect_people(&mut self, group_size: usize) -> anyhow::Result<()> {
        let count = self.people.len();
        for i in (0..count).filter(|_| count > 1) {
            let other = (i + 1) % count;
            let user = self.people[other].user;
            let id = self.people[i].account.lock().await.direct(user).await?;
            self.join(id, &[i, other]);
        }
        let indexes: Vec<usize> = (0..count).collect();
        for (n, members) in indexes.chunks(group_size.max(2)).enumerate() {
            let others: Vec<UserId> = members[1..].iter().map(|i| self.people[*i].user).collect();
            let account = self.people[members[0]].account.clone();
            let id = account.lock().await.group(&format!("group {n}"), &others).await?;
            self.join(id, members);
        }
        Ok(())
    }

    fn join(&mut self, id: ConversationId, members: &[usize]) {
        if self.conversations.iter().all(|(known, _)| *known != id) {
            self.conversations.push((id, members[0]));
            for i in members {
                self.people[*i].conversations.push(id);
            }
        }
    }
}
