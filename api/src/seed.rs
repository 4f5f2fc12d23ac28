//! `seed-users`: people, groups and tokens for load tests, thousands in seconds. The same in every program with an api.
//!
//! Owns: who is in which group. Never does: passwords (nobody seeded can log in with one). Talks to: the store, the log.
//! Start reading at: [`seed`].

use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
};

use backplane::{AppendError, Envelope, Key, Log, LogError, Partition, Verdict};
use protocol::{
    ConversationId, EventKind, Producer, Role, SessionId, UserId,
    body::{CreatedBody, HistoryAccess, MemberChange, canonical},
    limits::{GROUP_MEMBERS_MAX, GROUPS_PER_USER_MAX},
};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use token::{Audience, Claims, Keyring};

use crate::{
    clock::Clock,
    persister::Persister,
    store::{NewSession, NewUser, Store, StoreError},
};

/// Never the hash of anything.
const NO_PASSWORD: &str = "!";
/// Accounts made in one transaction.
const USERS_AT_ONCE: usize = 1_000;
/// People seeded at a time, at most: what one file of tokens is good for.
const COUNT_MAX: usize = 1_000_000;

/// What to seed.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "options", derive(clap::Args))]
pub struct SeedUsers {
    /// People. Each even one gets a direct conversation with the next one.
    #[cfg_attr(feature = "options", arg(long))]
    pub count: usize,
    /// File for a line per person: user id, session, socket token, its end in Unix milliseconds.
    #[cfg_attr(feature = "options", arg(long))]
    pub tokens: PathBuf,
    /// Groups that each person is in.
    #[cfg_attr(feature = "options", arg(long, default_value_t = 0))]
    pub groups_per_user: usize,
    /// Members of a group.
    #[cfg_attr(feature = "options", arg(long, default_value_t = 8))]
    pub group_size: usize,
    /// File for a line per group: its id, then its members.
    #[cfg_attr(feature = "options", arg(long))]
    pub groups: Option<PathBuf>,
    /// Hours that the tokens are good for.
    #[cfg_attr(feature = "options", arg(long, default_value_t = 12))]
    pub hours: u64,
}

/// Into what. No server runs on it.
#[derive(Debug)]
pub struct Ground<'a> {
    /// Accounts and sessions go here at once, conversations over the log.
    pub store: &'a dyn Store,
    /// Takes the conversations.
    pub log: &'a dyn Log,
    /// Brings them from the log into the store.
    pub persister: &'a Persister,
    /// Signs the tokens.
    pub keyring: &'a Keyring,
    /// Time of it all.
    pub clock: &'a Clock,
}

/// Why not everything was seeded. What was made before stays.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The plan asks for too much or too little.
    #[error("{0}: {1}")]
    Plan(&'static str, String),
    /// A name or an id that was drawn at random is somebody's.
    #[error("a random id or name was taken; run it again")]
    Taken,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log cannot say where it ends.
    #[error(transparent)]
    Log(#[from] LogError),
    /// See [`AppendError`].
    #[error("a conversation was not made: {0}")]
    Append(#[from] AppendError),
    /// The log refuses one.
    #[error("a conversation was not made")]
    Refused,
    /// A list cannot be written.
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
}

fn check(plan: &SeedUsers) -> Result<(), SeedError> {
    let at_most = |name, is: usize, max: usize| match is <= max {
        true => Ok(()),
        false => Err(SeedError::Plan(name, format!("at most {max}"))),
    };
    at_most("--count", plan.count, COUNT_MAX)?;
    at_most("--groups-per-user", plan.groups_per_user, GROUPS_PER_USER_MAX)?;
    if !(2..=GROUP_MEMBERS_MAX).contains(&plan.group_size) {
        return Err(SeedError::Plan("--group-size", format!("2 to {GROUP_MEMBERS_MAX}")));
    }
    Ok(())
}

/// Seeds, and returns what was made as (people, groups).
pub async fn seed(ground: &Ground<'_>, plan: &SeedUsers) -> Result<(usize, usize), SeedError> {
    check(plan)?;
    // The log admits a process that has just started only after a while.
    ground.persister.caught_up().await?;
    let people = make_people(ground, plan.count).await?;
    write_tokens(ground, &people, plan).await?;
    let groups = make_groups(ground, &people, plan).await?;
    if let Some(file) = &plan.groups {
        let mut text = String::new();
        for (id, members) in &groups {
            let _ = write!(text, "{id}");
            for member in members {
                let _ = write!(text, " {member}");
            }
            text.push('\n');
        }
        std::fs::write(file, text).map_err(|error| SeedError::File(file.clone(), error))?;
    }
    Ok((people.len(), groups.len()))
}

async fn make_people(ground: &Ground<'_>, count: usize) -> Result<Vec<UserId>, SeedError> {
    let run: u32 = rand::random();
    let now = ground.clock.now_ms();
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
        let made = ground.store.seed_users(some.to_vec()).await?;
        if made != some.len() {
            return Err(SeedError::Taken);
        }
    }
    Ok(ids)
}

async fn write_tokens(
    ground: &Ground<'_>,
    people: &[UserId],
    plan: &SeedUsers,
) -> Result<(), SeedError> {
    let now = ground.clock.now_ms();
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
        ground.store.create_session(new, 2).await?;
        let mut claims = Claims::new(Audience::Socket, *user, id, now / 1_000);
        claims.exp = expires_at / 1_000;
        let _ = writeln!(text, "{user} {id} {} {expires_at}", ground.keyring.sign(&claims));
    }
    let file = &plan.tokens;
    write_private(file, text.as_bytes()).map_err(|error| SeedError::File(file.clone(), error))
}

/// Tokens are as good as passwords.
fn write_private(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).open(file)?.write_all(bytes)
}

/// Direct conversations of neighbours, and groups: `groups_per_user` times everybody is shuffled and dealt out.
async fn make_groups(
    ground: &Ground<'_>,
    people: &[UserId],
    plan: &SeedUsers,
) -> Result<Vec<(ConversationId, Vec<UserId>)>, SeedError> {
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
    let info = ground.log.info();
    for partition in 0..info.partitions {
        let here = |birth: &&Envelope| info.partition_of(birth.conversation) == partition;
        let births: Vec<Envelope> = births.iter().filter(here).cloned().collect();
        append_all(ground.log, partition, &births).await?;
    }
    ground.persister.caught_up().await?;
    Ok(groups)
}

async fn append_all(
    log: &dyn Log,
    partition: Partition,
    mut rest: &[Envelope],
) -> Result<(), SeedError> {
    let info = log.info();
    let mut appender = log.appender(partition);
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take(info.batch_envelopes_max).take_while(|envelope| {
            bytes += envelope.cost();
            bytes <= info.batch_bytes_max
        });
        let (now, later) = rest.split_at(fits.count().max(1));
        let verdicts = appender.append(now).await?;
        if !verdicts.iter().all(|verdict| matches!(verdict, Verdict::Stored { .. })) {
            return Err(SeedError::Refused);
        }
        rest = later;
    }
    Ok(())
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
