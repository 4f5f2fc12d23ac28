//! People for figures: seeded by the server's own tool, thousands in seconds, where registering them would hash
//! a password each.
//!
//! Owns: reading what `webchat seed-users` wrote. Never does: HTTP. Talks to: the binary, before the server runs.
//! Start reading at: [`Population::seed`].

use std::{collections::HashMap, path::Path};

use anyhow::{Context, ensure};
use protocol::{ConversationId, UserId};
use serde::Serialize;

use crate::server::{Options, Server};

/// The lists that the command writes.
const TOKENS: &str = "seed-tokens.txt";
const GROUPS: &str = "seed-groups.txt";

/// One seeded person.
#[derive(Debug, Clone)]
pub struct Seeded {
    /// Who.
    pub user: UserId,
    /// Bearer for the socket.
    pub token: String,
}

/// What to seed.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct SeedPlan {
    /// People. Each even one has a direct conversation with the next one.
    pub people: usize,
    /// Groups that each person is in.
    pub groups_per_person: usize,
    /// Members of a group.
    pub group_size: usize,
}

/// Everybody that was seeded.
#[derive(Debug, Clone, Default)]
pub struct Population {
    /// In the order they were made.
    pub people: Vec<Seeded>,
    /// Groups and their members' indexes.
    pub groups: Vec<(ConversationId, Vec<usize>)>,
}

impl Population {
    /// Seeds a data folder. The server must not run on it.
    pub fn seed(options: &Options, data: &Path, plan: SeedPlan) -> anyhow::Result<Self> {
        Server::run_command(options, data, &Self::seed_arguments(data, plan))?;
        Self::read(data, plan)
    }

    /// The command of a program of ours that seeds; its lists go into `folder`.
    pub fn seed_arguments(folder: &Path, plan: SeedPlan) -> Vec<String> {
        let text = |name: &str| folder.join(name).display().to_string();
        let options = [
            ("--count", plan.people.to_string()),
            ("--tokens", text(TOKENS)),
            ("--groups-per-user", plan.groups_per_person.to_string()),
            ("--group-size", plan.group_size.to_string()),
            ("--groups", text(GROUPS)),
        ];
        let options = options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
        ["seed-users".to_owned()].into_iter().chain(options).collect()
    }

    /// Reads the lists of that command.
    pub fn read(folder: &Path, plan: SeedPlan) -> anyhow::Result<Self> {
        let tokens = std::fs::read_to_string(folder.join(TOKENS)).context("the list of tokens")?;
        let groups = std::fs::read_to_string(folder.join(GROUPS)).context("the list of groups")?;
        let population = Self::parse(&tokens, &groups)?;
        ensure!(population.people.len() == plan.people, "not everybody was seeded");
        Ok(population)
    }

    /// The same people and groups for a server of another make, which knows nobody: the token is the user's id.
    pub fn unseeded(plan: SeedPlan) -> Self {
        let user = |i: usize| UserId(i as u64 + 1);
        let person = |i| Seeded { user: user(i), token: user(i).to_string() };
        let group = |n: usize| {
            let members = (0..plan.group_size).map(|k| (n + k) % plan.people.max(1)).collect();
            (ConversationId::group(n as u128), members)
        };
        let groups = 0..plan.people * plan.groups_per_person / plan.group_size.max(1);
        Self { people: (0..plan.people).map(person).collect(), groups: groups.map(group).collect() }
    }

    fn parse(tokens: &str, groups: &str) -> anyhow::Result<Self> {
        let mut population = Self::default();
        let mut index = HashMap::new();
        for line in tokens.lines() {
            let mut words = line.split_whitespace();
            let user: UserId = words.next().context("no user id")?.parse()?;
            let token = words.nth(1).context("no socket token")?.to_owned();
            index.insert(user, population.people.len());
            population.people.push(Seeded { user, token });
        }
        for line in groups.lines() {
            let mut words = line.split_whitespace();
            let id = words.next().context("no group id")?.parse()?;
            let members = words
                .map(|word| index.get(&word.parse()?).copied().context("a member nobody seeded"))
                .collect::<anyhow::Result<_>>()?;
            population.groups.push((id, members));
        }
        Ok(population)
    }

    /// The direct conversation of a person with their partner (the next even or odd one).
    pub fn direct_of(&self, i: usize) -> Option<ConversationId> {
        let partner = self.people.get(i ^ 1)?;
        Some(ConversationId::direct(self.people[i].user, partner.user))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_read() {
        let tokens = "0000000000000001 00000000000000000000000000000009 aaa 1\n\
                      0000000000000002 00000000000000000000000000000008 bbb 1\n";
        let groups = "80000000000000000000000000000001 0000000000000001 0000000000000002\n";
        let population = Population::parse(tokens, groups).unwrap();
        assert_eq!(population.people[1].token, "bbb");
        assert_eq!(population.groups[0].1, [0, 1]);
        let direct = ConversationId::direct(UserId(1), UserId(2));
        assert_eq!(population.direct_of(1), Some(direct));
        assert!(
            Population::parse(tokens, "80000000000000000000000000000001 0000000000000007").is_err()
        );
    }
}
