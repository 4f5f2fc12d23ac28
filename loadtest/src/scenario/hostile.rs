//! Hostile input beside honest people: every case gets its named answer, memory stays, the honest notice little.
//!
//! Owns: the order of the attacks and the honest pair. Never does: judge times in a test (the figure is committed).
//! Talks to: a server of its own. Start reading at: [`run`].

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, ensure};
use hyper::Method;
use protocol::ConversationId;
use serde::Serialize;
use serde_json::json;
use tokio::{
    task::LocalSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    clock::Clock,
    driver::{Latency, Percentiles},
    http::{Account, Refused},
    procfs::{self, Memory},
    scenario::{
        attacks::{self, Answer, Attacker, Verdict},
        link,
        world::{Person, World, address_of, register},
    },
    server::Server,
    socket::Socket,
    stamp::{MessageId, Stamp},
    wire::{self, Frame},
};

/// Between the last attack and the last reading: longer than every timeout that an attack may hold.
const CALM: Duration = Duration::from_secs(8);
/// The honest pair's messages come in this distance: below the limit of 50 a second (PROTOCOL.md §9).
const HONEST_EVERY: Duration = Duration::from_millis(25);
/// Texts of this size stall a reader after few of them.
const STALL_TEXT_BYTES: usize = 16_000;

/// Settings.
#[derive(Debug, Clone, Serialize)]
pub struct HostilePlan {
    /// Handshakes that never end.
    pub half_open: usize,
    /// Readers that stop reading.
    pub stalled: usize,
    /// Messages of 16 kB written to them.
    pub stall_messages: u64,
    /// Seconds of the honest pair alone, before the attacks.
    pub calm_s: f64,
}

impl Default for HostilePlan {
    fn default() -> Self {
        Self { half_open: 500, stalled: 20, stall_messages: 700, calm_s: 2.0 }
    }
}

/// What the run found.
#[derive(Debug, Clone, Serialize)]
pub struct HostileResult {
    /// As planned.
    pub plan: HostilePlan,
    /// Each case.
    pub verdicts: Vec<Verdict>,
    /// Seconds until the last half-open handshake was ended.
    pub half_open_s: f64,
    /// Stalled readers that were closed.
    pub stalled_closed: usize,
    /// Server memory before the attacks and after.
    pub memory: (Memory, Memory),
    /// Publish to delivery of the honest pair, before.
    pub honest_before: Percentiles,
    /// During.
    pub honest_during: Percentiles,
}

impl HostileResult {
    /// Cases with another answer than the named one.
    pub fn wrong(&self) -> Vec<&Verdict> {
        self.verdicts.iter().filter(|verdict| !verdict.is_right()).collect()
    }

    /// Growth of the resident memory in bytes.
    pub fn growth(&self) -> u64 {
        self.memory.1.rss.saturating_sub(self.memory.0.rss)
    }
}

/// Runs everything. `extra_tokens` are refused as well (an expired one needs the server's key to make).
pub async fn run(
    plan: HostilePlan,
    server: &Server,
    extra_tokens: Vec<(&'static str, String)>,
) -> anyhow::Result<HostileResult> {
    let target = server.address;
    let world = World::build(target, "honest-", 2, 2).await?;
    let attacker = attacker(target, extra_tokens).await?;
    let local = LocalSet::new();
    let everything = async {
        let honest = Honest::open(target, &world).await?;
        let (honest, _) = measured(honest, sleep(Duration::from_secs_f64(plan.calm_s))).await?;
        let honest_before = honest.latency.percentiles();
        let honest = Honest { latency: Latency::default(), ..honest };
        // What the first use of each path allocates once is no growth.
        run_cases(&attacker).await;
        sleep(CALM).await;
        let before = procfs::memory(&[server.pid()])?;
        let (honest, attacked) = measured(honest, attack(&plan, &attacker, &world)).await?;
        let (verdicts, half_open, stalled_closed) = attacked?;
        sleep(CALM).await;
        let memory = (before, procfs::memory(&[server.pid()])?);
        anyhow::Ok(HostileResult {
            verdicts,
            half_open_s: half_open.as_secs_f64(),
            stalled_closed,
            memory,
            honest_before,
            honest_during: honest.latency.percentiles(),
            plan,
        })
    };
    local.run_until(everything).await
}

async fn attacker(
    target: SocketAddr,
    extra_tokens: Vec<(&'static str, String)>,
) -> anyhow::Result<Attacker> {
    let person = register(target, "mallory", 30_000).await?;
    let account = person.account.clone();
    let account = account.lock().await;
    let token = account.socket_token.clone();
    let mut bad_tokens = attacks::forged(&token)?;
    bad_tokens.extend(extra_tokens);
    Ok(Attacker { person, target, token, cookie: account.cookie_header(), bad_tokens })
}

async fn attack(
    plan: &HostilePlan,
    attacker: &Attacker,
    world: &World,
) -> anyhow::Result<(Vec<Verdict>, Duration, usize)> {
    let mut verdicts = run_cases(attacker).await;
    verdicts.extend(passwords(attacker.target).await);
    let half_open = attacks::half_open(attacker, plan.half_open).await?;
    let stalled = stall(plan, attacker.target, &world.people[0], world.conversations[0].0).await?;
    Ok((verdicts, half_open, stalled))
}

async fn run_cases(attacker: &Attacker) -> Vec<Verdict> {
    let mut tasks = tokio::task::JoinSet::new();
    for (case, expected, run) in attacks::cases(attacker) {
        tasks.spawn_local(async move {
            let got = run.await.map_err(|error| format!("{error:#}"));
            Verdict { case, expected, got }
        });
    }
    tasks.join_all().await
}

/// Every byte of a password counts, up to 256 of them (bcrypt alone stops at 72).
async fn passwords(target: SocketAddr) -> Vec<Verdict> {
    let long = "x".repeat(72);
    let attempt = |n: usize, name: &'static str, first: String, second: String| async move {
        let mut account = Account::new(target, Some(address_of(31_000 + n)));
        let name_ok = account.register(name, &first).await;
        match name_ok {
            Err(error) => status_of(error),
            Ok(()) => {
                let body = json!({"username": name, "password": second});
                let login = account.call(Method::POST, "/api/auth/login", Some(&body)).await;
                login.map_or_else(status_of, |_| Ok(Answer::Accepted))
            }
        }
    };
    let cases = [
        ("same 73 bytes", Answer::Accepted, format!("{long}a"), format!("{long}a")),
        ("another 73rd byte", Answer::Http(401), format!("{long}a"), format!("{long}b")),
        ("another byte after NUL", Answer::Http(401), "12345678\0a".into(), "12345678\0b".into()),
        ("257 bytes", Answer::Http(400), "x".repeat(257), "x".repeat(257)),
    ];
    let mut verdicts = Vec::new();
    for (n, (case, expected, first, second)) in cases.into_iter().enumerate() {
        let name = ["pw-same", "pw-last", "pw-nul", "pw-long"][n];
        let got = attempt(n, name, first, second).await.map_err(|error| format!("{error:#}"));
        verdicts.push(Verdict { case, expected: vec![expected], got });
    }
    verdicts
}

fn status_of(error: anyhow::Error) -> anyhow::Result<Answer> {
    match error.downcast_ref::<Refused>() {
        Some(refused) => Ok(Answer::Http(refused.status)),
        None => Err(error),
    }
}

/// Connections of one person that stop reading while big messages come. Returns how many the server closed.
async fn stall(
    plan: &HostilePlan,
    target: SocketAddr,
    person: &Person,
    conversation: ConversationId,
) -> anyhow::Result<usize> {
    let token = person.account.lock().await.socket_token.clone();
    let mut stalled = Vec::new();
    for _ in 0..plan.stalled {
        stalled.push(link::open(target, Some(person.source), &token).await?);
    }
    let mut writer = link::open(target, Some(person.source), &token).await?;
    let producer = protocol::Producer(0x5a5a_0000_0000_0001);
    let text = "z".repeat(STALL_TEXT_BYTES);
    for no in 1..=plan.stall_messages {
        send_until_acked(&mut writer, &wire::publish(conversation, producer, no, &text), no)
            .await?;
    }
    let mut closed = 0;
    for mut socket in stalled {
        let drained = async { while socket.next_text().await.is_ok() {} };
        closed += usize::from(timeout(Duration::from_secs(2), drained).await.is_ok());
    }
    Ok(closed)
}

async fn send_until_acked(socket: &mut Socket, command: &str, no: u64) -> anyhow::Result<()> {
    socket.queue(command.as_bytes());
    loop {
        let text =
            timeout(Duration::from_secs(20), socket.next_text()).await.context("no ack")??;
        let frame = Frame::scan(std::str::from_utf8(&text)?).context("not an object")?;
        match frame.kind {
            "ack" if frame.no == Some(no) => return Ok(()),
            "error" => {
                let wait = frame.retry_after_ms.with_context(|| format!("refused: {}", frame.code));
                sleep(Duration::from_millis(wait?)).await;
                socket.queue(command.as_bytes());
            }
            _ => {}
        }
    }
}

/// Two people who only want to talk.
struct Honest {
    from: Socket,
    to: Socket,
    conversation: ConversationId,
    no: u64,
    clock: Clock,
    latency: Latency,
}

impl Honest {
    async fn open(target: SocketAddr, world: &World) -> anyhow::Result<Self> {
        let [a, b] = &world.people[..] else { anyhow::bail!("two people are needed") };
        let mut sockets = Vec::new();
        for person in [a, b] {
            let token = person.account.lock().await.socket_token.clone();
            sockets.push(link::open(target, Some(person.source), &token).await?);
        }
        let (to, from) = (sockets.pop(), sockets.pop());
        let (from, to) = (from.context("two sockets")?, to.context("two sockets")?);
        let conversation = ConversationId::direct(a.user, b.user);
        let (clock, latency) = (Clock::start(), Latency::default());
        Ok(Self { from, to, conversation, no: 0, clock, latency })
    }

    /// One message at its moment, or late if the one before took too long.
    async fn one_at(&mut self, due: Instant) -> anyhow::Result<()> {
        tokio::time::sleep_until(due).await;
        let late = u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let intended = self.clock.now_ns().saturating_sub(late);
        let sent = timeout(Duration::from_secs(20), self.one(intended)).await;
        sent.context("an honest message did not arrive")?
    }

    /// One message, from the intended moment to its delivery.
    async fn one(&mut self, intended_ns: u64) -> anyhow::Result<()> {
        let producer = protocol::Producer(0x600d);
        self.no += 1;
        let id = MessageId { maker: producer.0, k: self.no };
        let text = Stamp { id, intended_ns }.text(128);
        let command = wire::publish(self.conversation, producer, self.no, &text);
        self.from.queue(command.as_bytes());
        loop {
            let text = tokio::select! {
                text = self.from.next_text() => text?,
                text = self.to.next_text() => {
                    let text = text?;
                    let frame = Frame::scan(std::str::from_utf8(&text)?).context("no object")?;
                    if frame.producer == Some(producer) && frame.no == Some(self.no) {
                        self.latency.record(self.clock.now_ns().saturating_sub(intended_ns));
                        return Ok(());
                    }
                    continue;
                }
            };
            let frame = Frame::scan(std::str::from_utf8(&text)?).context("not an object")?;
            ensure!(frame.kind != "error", "an honest message was refused: {}", frame.code);
        }
    }
}

/// Runs something with the honest pair talking beside it, open loop (a late message does not delay the next one's
/// intended time).
async fn measured<T>(
    mut honest: Honest,
    beside: impl Future<Output = T>,
) -> anyhow::Result<(Honest, T)> {
    let mut beside = std::pin::pin!(beside);
    let mut due = Instant::now();
    loop {
        let finished = {
            let mut one = std::pin::pin!(honest.one_at(due));
            tokio::select! {
                sent = &mut one => { sent?; None }
                value = &mut beside => { one.await?; Some(value) }
            }
        };
        due += HONEST_EVERY;
        if let Some(value) = finished {
            return Ok((honest, value));
        }
    }
}
