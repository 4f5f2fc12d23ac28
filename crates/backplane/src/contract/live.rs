//! Laws of [`Live`](crate::Live): order, versions, maxima, revocations that stay. It may lose signals, but must say so.
//!
//! Owns: what nodes and apis rely on. Never does: durability. Talks to: nobody. Start reading at: [`check_live`].

use std::collections::BTreeMap;

use protocol::{SessionId, UserId, event::UserChange};

use super::{Law, LiveHarness, Outcome, Report, check, direct, ensure, same, text};
use crate::{Cursors, NodeId, PresenceChange, Revocation, Signal, SignalStream, View};

/// Checks every law of [`Live`](crate::Live), each on a state of its own. Needs a tokio runtime.
pub async fn check_live<H: LiveHarness>(make: impl AsyncFn() -> H) -> Report {
    let laws: Vec<Law<H>> = vec![
        ("signals come to all in order", |h| Box::pin(in_order(h))),
        ("a slow subscriber is told", |h| Box::pin(loss_is_told(h))),
        ("presence deltas add up to the snapshot", |h| Box::pin(presence(h))),
        ("a node that leaves is gone", |h| Box::pin(leave(h))),
        ("a revocation stays as long as asked", |h| Box::pin(revocation(h))),
        ("a revoked user may log in again", |h| Box::pin(revoked_user(h))),
        ("cursors only grow", |h| Box::pin(receipts(h))),
        ("a view is as of what it says", |h| Box::pin(views(h))),
    ];
    check(laws, make).await
}

fn heartbeat(node: u64) -> Signal {
    Signal::Heartbeat { node: NodeId(node) }
}

async fn take(stream: &mut Box<dyn SignalStream>, count: usize) -> Result<Vec<Signal>, String> {
    let mut signals = Vec::new();
    while signals.len() < count {
        signals.extend(stream.next().await.map_err(|lost| format!("lost {lost}"))?);
    }
    Ok(signals)
}

async fn in_order<H: LiveHarness>(h: &mut H) -> Outcome {
    let live = h.live();
    live.publish(vec![heartbeat(0)]).await.map_err(text)?;
    let (mut a, mut b) = (live.subscribe(), live.subscribe());
    let all: Vec<Signal> = (1..=40).map(heartbeat).collect();
    for flush in all.chunks(3) {
        live.publish(flush.to_vec()).await.map_err(text)?;
    }
    same(&take(&mut a, all.len()).await?, &all, "signals since the subscription")?;
    same(&take(&mut b, all.len()).await?, &all, "the same for everyone")
}

/// However many it has missed: afterwards it gets the newest ones again.
async fn loss_is_told<H: LiveHarness>(h: &mut H) -> Outcome {
    const FLUSHES: u64 = 100_000;
    let live = h.live();
    let mut slow = live.subscribe();
    for i in 1..=FLUSHES {
        live.publish(vec![heartbeat(i)]).await.map_err(text)?;
    }
    let (mut last, mut seen, mut lost) = (0, 0, 0);
    while last != FLUSHES {
        match slow.next().await {
            Err(count) => lost += count,
            Ok(signals) => {
                for signal in signals {
                    let Signal::Heartbeat { node } = signal else {
                        return Err(text(signal));
                    };
                    ensure(node.0 > last, || format!("{} after {last}", node.0))?;
                    (last, seen) = (node.0, seen + 1);
                }
            }
        }
    }
    ensure(seen == FLUSHES || lost > 0, || format!("{seen} of {FLUSHES}, and nothing was said"))?;
    ensure(seen < FLUSHES, || "the memory of a subscription is not bounded".to_owned())
}

fn change(user: u64, online: bool, as_of: u64) -> PresenceChange {
    PresenceChange { user: UserId(user), online, as_of }
}

async fn presence<H: LiveHarness>(h: &mut H) -> Outcome {
    let (live, node) = (h.live(), NodeId(7));
    let mut stream = live.subscribe();
    let flushes = [
        vec![change(1, true, 10), change(2, true, 10)],
        vec![change(1, false, 20)],
        vec![change(2, true, 30), change(3, true, 30)],
    ];
    for flush in &flushes {
        live.announce(node, flush.clone()).await.map_err(text)?;
    }
    live.announce(NodeId(8), vec![change(1, true, 5)]).await.map_err(text)?;
    let (mut users, mut version) = (BTreeMap::new(), 0);
    for signal in take(&mut stream, 4).await? {
        let Signal::Presence { node: from, version: new, changes } = signal else {
            return Err(text(signal));
        };
        if from != node {
            continue;
        }
        ensure(version == 0 || new == version + 1, || format!("version {new} after {version}"))?;
        version = new;
        for change in changes {
            match change.online {
                true => users.insert(change.user, change.as_of),
                false => users.remove(&change.user),
            };
        }
    }
    let mut lists = live.snapshot().await.map_err(text)?;
    lists.sort_unstable_by_key(|list| list.node);
    same(&lists.iter().map(|list| list.node.0).collect(), &vec![7, 8], "nodes")?;
    same(&lists[0].version, &version, "version of the snapshot")?;
    let listed: BTreeMap<UserId, u64> = lists[0].users.iter().copied().collect();
    same(&listed, &users, "users of the snapshot and of the deltas")
}

async fn leave<H: LiveHarness>(h: &mut H) -> Outcome {
    let (live, node) = (h.live(), NodeId(7));
    live.announce(node, vec![change(1, true, 10)]).await.map_err(text)?;
    let mut stream = live.subscribe();
    live.leave(node).await.map_err(text)?;
    same(&take(&mut stream, 1).await?, &vec![Signal::NodeGone { node }], "the farewell")?;
    let lists = live.snapshot().await.map_err(text)?;
    ensure(lists.is_empty(), || format!("still there: {lists:?}"))
}

async fn revocation<H: LiveHarness>(h: &mut H) -> Outcome {
    const KEEP_MS: u64 = 600_000;
    let (live, user, session) = (h.live(), UserId(1), SessionId(5));
    let mut stream = live.subscribe();
    let revoked = Revocation::Session(session);
    live.revoke(revoked, h.now_ms(), KEEP_MS).await.map_err(text)?;
    same(&take(&mut stream, 1).await?, &vec![Signal::Revoked(revoked)], "what nodes hear")?;
    let issued = h.now_ms();
    let is = live.is_revoked(user, session, issued).await.map_err(text)?;
    let other = live.is_revoked(user, SessionId(6), issued).await.map_err(text)?;
    same(&(is, other), &(true, false), "the session and another one")?;
    h.pass(KEEP_MS - 1_000);
    live.revoke(Revocation::Session(SessionId(9)), h.now_ms(), KEEP_MS).await.map_err(text)?;
    let late = live.is_revoked(user, session, issued).await.map_err(text)?;
    ensure(late, || "forgotten before its time".to_owned())
}

async fn revoked_user<H: LiveHarness>(h: &mut H) -> Outcome {
    let (live, user, kept) = (h.live(), UserId(1), SessionId(5));
    h.pass(10_000);
    let before = h.now_ms() - 5_000;
    let revoked = Revocation::User { user, except: Some(kept) };
    live.revoke(revoked, h.now_ms(), 600_000).await.map_err(text)?;
    h.pass(5_000);
    let after = h.now_ms();
    let mut answers = Vec::new();
    for (user, session, issued) in [
        (user, SessionId(6), before),
        (user, kept, before),
        (user, SessionId(7), after),
        (UserId(2), SessionId(6), before),
    ] {
        answers.push(live.is_revoked(user, session, issued).await.map_err(text)?);
    }
    same(&answers, &vec![true, false, false, false], "old, kept, new login, somebody else")
}

async fn receipts<H: LiveHarness>(h: &mut H) -> Outcome {
    let (live, user) = (h.live(), UserId(1));
    let at = |delivered, read| Cursors { delivered, read };
    let receipt = |cursors| Signal::Receipt { conversation: direct(), user, cursors };
    let mut stream = live.subscribe();
    for cursors in [at(5, 2), at(4, 1), at(3, 4)] {
        live.receipts_merge(vec![(direct(), user, cursors)]).await.map_err(text)?;
    }
    let changed = Signal::UserChanged { user, what: UserChange::Profile };
    live.publish(vec![changed.clone()]).await.map_err(text)?;
    let wanted = vec![receipt(at(5, 2)), receipt(at(5, 4)), changed];
    same(&take(&mut stream, 3).await?, &wanted, "what moved, and nothing for what did not")?;
    let kept = live.receipts_get(direct()).await.map_err(text)?;
    same(&kept, &vec![(user, at(5, 4))], "the larger of each")
}

/// A cache may forget, but never hands out what was not put in.
async fn views<H: LiveHarness>(h: &mut H) -> Outcome {
    let (live, user) = (h.live(), UserId(1));
    let view = View { blocked: vec![UserId(9)], ..View::default() };
    live.view_put(user, view.clone()).await.map_err(text)?;
    let cached = live.view_get(user).await.map_err(text)?;
    ensure(cached.is_none() || cached == Some(view), || format!("another view: {cached:?}"))?;
    let other = live.view_get(UserId(2)).await.map_err(text)?;
    ensure(other.is_none(), || format!("a view that nobody put: {other:?}"))
}
