//! `webchat seed-users`: people, groups and tokens for load tests, thousands in seconds.
//!
//! Owns: who is in which group. Never does: passwords (nobody seeded can log in with one). Talks to: the store, the log.
//! Start reading at: [`seed`].

use std::{fmt::Write as _, path::Path};

use anyhow::{Context, ensure};
use api::store::{NewSession, NewUser};
use backplane::{Envelope, Key, Log, Verdict};
use protocol::{
    ConversationId, EventKind, Producer, Role, SessionId, UserId,
    body::{CreatedBody, HistoryAccess, MemberChange, canonical},
    limits::{GROUP_MEMBERS_MAX, GROUPS_PER_USER_MAX},
};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use token::{Audience, Claims};

use crate::{config::SeedUsers, parts::Parts};

/// Never the hash of anything.
const NO_PASSWORD: &str = "!";
/// Accounts made in one transaction.
const USERS_AT_ONCE: usize = 1_000;
/// People seeded at a time, at most: what one file of tokens is good for.
const COUNT_MAX: usize = 1_000_000;

/// Seeds a folder that no server runs on.
pub(crate) async fn seed(data: &Path, plan: &SeedUsers) -> anyhow::Result<()> {
    ensure!(plan.count <= COUNT_MAX, "--count: at most {COUNT_MAX}");
    ensure!(
        plan.groups_per_user <= GROUPS_PER_USER_MAX,
        "--groups-per-user: at most {GROUPS_PER_USER_MAX}"
    );
    ensure!(
        (2..=GROUP_MEMBERS_MAX).contains(&plan.group_size),
        "--group-size: 2 to {GROUP_MEMBERS_MAX}"
    );
    let parts = Parts::open(data).await?;
    let people = make_people(&parts, plan.count).await?;
    write_tokens(&parts, &people, plan).await?;
    let groups = make_groups(&parts, &people, plan).await?;
    if let Some(file) = &plan.groups {
        let mut text = String::new();
        for (id, members) in &groups {
            let _ = write!(text, "{id}");
            for member in members {
                let _ = write!(text, " {member}");
            }
            text.push('\n');
        }
        std::fs::write(file, text).with_context(|| format!("{}", file.display()))?;
    }
    println!("seeded {} people and {} groups", people.len(), groups.len());
    parts.close().await;
    Ok(())
}

async fn make_people(parts: &Parts, count: usize) -> anyhow::Result<Vec<UserId>> {
    let run: u32 = rand::random();
    let now = parts.clock.now_ms();
    let new: Vec<NewUser> = (0..count)
        .map(|number| NewUser {
            id: UserId(rand::random::<u64>() >> 1),
            username: format!("seed-{run:08x}-{number}"),
            display_name: format!("Seeded {number}"),
            password_hash: NO_PASSWORD.to_owned(),
            created_at: now,
        })
        .collect();
    let ids = new.iter().map(|user| user.id).collect();
    for some in new.chunks(USERS_AT_ONCE) {
        let made = parts.store.seed_users(some.to_vec()).await?;
        ensure!(made == some.len(), "a random id or name was taken; run it again");
    }
    Ok(ids)
}

async fn write_tokens(parts: &Parts, people: &[UserId], plan: &SeedUsers) -> anyhow::Result<()> {
    let now = parts.clock.now_ms();
    let expires_at = now + plan.hours * 3_600_000;
    let mut text = String::new();
    for user in people {
        let id = SessionId(rand::random());
        let new = NewSession {
            id,
            user: *user,
            // Nobody has a token with this hash: the session cannot be refreshed.
            refresh_hash: rand::random(),
            user_agent: "seed-users".to_owned(),
            created_at: now,
            expires_at,
        };
        parts.store.create_session(new, 2).await?;
        let mut claims = Claims::new(Audience::Socket, *user, id, now / 1_000);
        claims.exp = expires_at / 1_000;
        let _ = writeln!(text, "{user} {id} {} {expires_at}", parts.keyring.sign(&claims));
    }
    let file = &plan.tokens;
    write_private(file, text.as_bytes()).with_context(|| format!("{}", file.display()))
}

/// Tokens are as good as passwords.
fn write_private(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).open(file)?.write_all(bytes)
}

/// Direct conversations of neighbours, and groups: `groups_per_user` times everybody is shuffled and dealt out.
async fn make_groups(
    parts: &Parts,
    people: &[UserId],
    plan: &SeedUsers,
) -> anyhow::Result<Vec<(ConversationId, Vec<UserId>)>> {
    let mut rng = StdRng::seed_from_u64(plan.count as u64);
    let mut groups = Vec::new();
    for _ in 0..plan.groups_per_user {
        let mut order = people.to_vec();
        order.shuffle(&mut rng);
        groups.extend(
            order
                .chunks(plan.group_size)
                .map(|members| (ConversationId::group(rand::random()), members.to_vec())),
        );
    }
    let direct = people
        .chunks_exact(2)
        .map(|pair| (ConversationId::direct(pair[0], pair[1]), pair.to_vec()));
    let births: Vec<Envelope> =
        direct.chain(groups.iter().cloned()).map(|(id, members)| birth(id, &members)).collect();
    let info = parts.log.info();
    let mut appender = parts.log.appender(0);
    let mut rest = &births[..];
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take(info.batch_envelopes_max).take_while(|envelope| {
            bytes += envelope.cost();
            bytes <= info.batch_bytes_max
        });
        let (now, later) = rest.split_at(fits.count().max(1));
        let verdicts = appender.append(now).await?;
        let all = verdicts.iter().all(|verdict| matches!(verdict, Verdict::Stored { .. }));
        ensure!(all, "a conversation was not made");
        rest = later;
    }
    parts.persister.caught_up().await?;
    Ok(groups)
}

fn birth(id: ConversationId, members: &[UserId]) -> Envelope {
    let group = id.is_group();
    let role = |i: usize| if group && i == 0 { Role::Owner } else { Role::Member };
    let members_of = members.iter().enumerate();
    let body = CreatedBody {
        title: group.then(|| format!("Seeded {}", &id.to_string()[..8]).into()),
        history: HistoryAccess::Joined,
        members: members_of
            .map(|(i, user)| MemberChange { user: *user, role: Some(role(i)), since: 1 })
            .collect(),
    };
    let key = Key {
        conversation: id,
        user: members[0],
        producer: Producer(rand::random::<u64>() >> 1),
        no: 1,
    };
    Envelope::new(key, 0, EventKind::Created, canonical(&body).into())
}
