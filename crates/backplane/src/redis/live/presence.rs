//! Presence lists: those of this process are kept here as they should be, and written again wherever they are not so.
//!
//! Owns: the lists of its own nodes, and their versions. Never does: decide who is online. Talks to: the link.
//! Start reading at: [`RedisLive::announce_all`], then [`RedisLive::rewrite`].

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
};

use foldhash::fast::RandomState;
use protocol::UserId;
use redis::Value;

use super::{RedisLive, keys::Keys, packed};
use crate::{
    LiveError, NodeId, PresenceChange, Signal,
    live::NodePresence,
    redis::{connection::number, fault::Fault},
};

/// Changes of one call: some 5 ms of the server's time. More go out in several, each with a version of its own.
const CHANGES_MAX: usize = 4_096;
/// Versions that a list skips when it is written again, so that others notice and read it.
const SKIP: u64 = 2;
/// Attempts at one rewriting: each that fails has learned the version there.
const REWRITES_MAX: usize = 3;
/// Silent nodes that one heartbeat buries.
const BURIALS_MAX: usize = 4;

/// The list of one node of this process.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// That the server is believed to have.
    version: u64,
    users: HashMap<UserId, u64, RandomState>,
    /// What the server has is not known, or not this list.
    stale: bool,
    /// It said goodbye: nothing of it may come back.
    left: bool,
}

impl Own {
    fn apply(&mut self, changes: &[PresenceChange]) {
        for change in changes {
            if change.online {
                self.users.insert(change.user, change.as_of);
            } else {
                self.users.remove(&change.user);
            }
        }
    }

    /// The list's version there, as it was told: another one makes it stale.
    fn found(&mut self, version: u64) {
        if version != self.version {
            self.version = self.version.max(version);
            self.stale = true;
        }
    }
}

pub(super) type SharedOwn = Arc<tokio::sync::Mutex<Own>>;

fn odd() -> LiveError {
    LiveError("an answer is not as it should be".to_owned())
}

fn int(value: Option<&Value>) -> Result<u64, LiveError> {
    match value {
        Some(Value::Int(n)) => u64::try_from(*n).map_err(|_| odd()),
        _ => Err(odd()),
    }
}

fn array(value: &Value) -> Result<&[Value], LiveError> {
    match value {
        Value::Array(parts) => Ok(parts),
        _ => Err(odd()),
    }
}

fn words(value: &Value) -> Option<[u8; 8]> {
    match value {
        Value::BulkString(bytes) => bytes.as_slice().try_into().ok(),
        _ => None,
    }
}

fn node_ids(value: Option<&Value>) -> Result<Vec<NodeId>, LiveError> {
    let ids = array(value.ok_or_else(odd)?)?;
    Ok(ids.iter().filter_map(words).map(|id| NodeId(u64::from_be_bytes(id))).collect())
}

/// HGETALL of a list. `None`: there is none.
fn read_list(node: NodeId, fields: &[Value]) -> Result<Option<NodePresence>, LiveError> {
    let (mut version, mut users) = (None, Vec::with_capacity(fields.len() / 2));
    for pair in fields.chunks_exact(2) {
        if let (Some(user), Some(as_of)) = (words(&pair[0]), words(&pair[1])) {
            users.push((UserId(u64::from_be_bytes(user)), u64::from_le_bytes(as_of)));
        } else if pair[0] == Value::BulkString(b"v".to_vec()) {
            let told: u64 = redis::from_redis_value(pair[1].clone()).map_err(|_| odd())?;
            version = Some(told);
        }
    }
    Ok(version.map(|version| NodePresence { node, version, users }))
}

impl RedisLive {
    fn keys(&self) -> &Keys {
        &self.0.keys
    }

    fn own(&self, node: NodeId) -> Option<SharedOwn> {
        self.0.own.lock().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    fn own_or_new(&self, node: NodeId) -> SharedOwn {
        let mut own = self.0.own.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(own.entry(node).or_default())
    }

    /// A call on a node's list: channel, nodes, list and new list are its keys.
    async fn call_list(
        &self,
        function: &str,
        node: NodeId,
        arguments: &[&[u8]],
    ) -> Result<Value, Fault> {
        let [list, new] = self.keys().lists(node);
        let keys = [self.keys().signals.as_str(), &self.keys().nodes, &list, &new];
        let (id, silent) = (node.0.to_be_bytes(), self.silent_ms());
        let arguments = [&[id.as_slice()], arguments, &[silent.as_slice()]].concat();
        self.0.link.call(function, &keys, &arguments).await
    }

    fn silent_ms(&self) -> Vec<u8> {
        number(self.0.options.silent_ms)
    }

    pub(super) async fn announce_all(
        &self,
        node: NodeId,
        changes: Vec<PresenceChange>,
    ) -> Result<(), LiveError> {
        let own = self.own_or_new(node);
        let mut own = own.lock().await;
        if own.left {
            return Err(LiveError("the node has left".to_owned()));
        }
        // As it should be, whatever becomes of the calls.
        own.apply(&changes);
        if changes.is_empty() {
            return self.announce_some(node, &mut own, &[]).await;
        }
        for some in changes.chunks(CHANGES_MAX) {
            self.announce_some(node, &mut own, some).await?;
        }
        Ok(())
    }

    async fn announce_some(
        &self,
        node: NodeId,
        own: &mut Own,
        changes: &[PresenceChange],
    ) -> Result<(), LiveError> {
        if !own.stale {
            let version = own.version + 1;
            let mut packed = Vec::new();
            packed::put_changes(&mut packed, changes);
            let signal = Signal::Presence { node, version, changes: changes.to_vec() };
            let signals = packed::signals(&[signal]);
            // Until there is an answer nobody knows; this future may be dropped, too.
            own.stale = true;
            let arguments = [number(own.version), packed, signals];
            let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
            let answer = self.call_list("announce", node, &arguments).await?;
            let answer = array(&answer)?;
            let n = int(answer.first())?;
            if n > 0 {
                self.0.hub.published(n);
                (own.version, own.stale) = (version, false);
                return Ok(());
            }
            own.found(int(answer.get(1))?);
        }
        self.rewrite(node, own, changes).await
    }

    /// Writes the whole list beside the old one in steps, and puts it there in one. `changes` are published with it; its
    /// version skips one, so that who missed anything reads it.
    async fn rewrite(
        &self,
        node: NodeId,
        own: &mut Own,
        changes: &[PresenceChange],
    ) -> Result<(), LiveError> {
        for _ in 0..REWRITES_MAX {
            self.call_list("prepare", node, &[]).await?;
            let all = own.users.iter();
            let all = all.map(|(user, as_of)| PresenceChange {
                user: *user,
                online: true,
                as_of: *as_of,
            });
            let all: Vec<PresenceChange> = all.collect();
            for some in all.chunks(CHANGES_MAX) {
                let mut packed = Vec::new();
                packed::put_changes(&mut packed, some);
                self.call_list("fill", node, &[&packed]).await?;
            }
            let version = own.version + SKIP;
            let signal = Signal::Presence { node, version, changes: changes.to_vec() };
            let arguments = [number(version), number(all.len() as u64), packed::signals(&[signal])];
            let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
            let answer = self.call_list("commit", node, &arguments).await?;
            let answer = array(&answer)?;
            let n = int(answer.first())?;
            if n > 0 {
                self.0.hub.published(n);
                (own.version, own.stale) = (version, false);
                tracing::info!(node = node.0, users = all.len(), "presence was written again");
                return Ok(());
            }
            own.found(int(answer.get(1))?);
        }
        Err(LiveError("somebody else writes this node's list".to_owned()))
    }

    /// Publishes signals that hold a heartbeat of a node of this process which has a list: looks after that list, too, and
    /// after nodes that are silent. `None`: it has none.
    pub(super) async fn publish_heartbeat(
        &self,
        node: NodeId,
        signals: &[u8],
    ) -> Option<Result<(), LiveError>> {
        let own = self.own(node)?;
        let mut own = own.lock().await;
        if own.left {
            return None;
        }
        Some(self.beat(node, &mut own, signals).await)
    }

    async fn beat(&self, node: NodeId, own: &mut Own, signals: &[u8]) -> Result<(), LiveError> {
        let answer = self.call_list("beat", node, &[signals]).await?;
        let answer = array(&answer)?;
        self.0.hub.published(int(answer.first())?);
        own.found(int(answer.get(1))?);
        // The signals are out: what does not succeed now is tried with the next heartbeat.
        if own.stale
            && let Err(error) = self.rewrite(node, own, &[]).await
        {
            tracing::debug!(%error, "presence is written again with the next heartbeat");
        }
        for dead in node_ids(answer.get(2))?.into_iter().take(BURIALS_MAX) {
            let gone = packed::signals(&[Signal::NodeGone { node: dead }]);
            if let Ok(Value::Int(1..)) = self.call_list("bury", dead, &[&gone]).await {
                tracing::warn!(node = dead.0, "a silent node's presence was removed");
            }
        }
        Ok(())
    }

    pub(super) async fn leave_now(&self, node: NodeId) -> Result<(), LiveError> {
        let own = self.own_or_new(node);
        let mut own = own.lock().await;
        *own = Own { left: true, ..Own::default() };
        let gone = packed::signals(&[Signal::NodeGone { node }]);
        let answer = self.call_list("leave", node, &[&gone]).await?;
        self.0.hub.published(int(Some(&answer))?);
        Ok(())
    }

    /// The lists of all that live. One that is known to be older than what was heard, or to be missing, makes it an error:
    /// the server was lost, and its owner has yet to write it again.
    pub(super) async fn read_lists(&self) -> Result<Vec<NodePresence>, LiveError> {
        let expected = self.0.hub.expected();
        let mut living = redis::cmd("FCALL");
        living.arg(super::function("living")).arg(1).arg(&self.keys().nodes);
        living.arg(self.silent_ms());
        let nodes = node_ids(Some(&self.0.link.read(&living).await?))?;
        let mut lists = Vec::with_capacity(nodes.len());
        for node in nodes {
            let mut command = redis::cmd("HGETALL");
            command.arg(&self.keys().lists(node)[0]);
            let fields = self.0.link.read(&command).await?;
            lists.extend(read_list(node, array(&fields)?)?);
        }
        for (node, version) in expected {
            let there = lists.iter().find(|list| list.node == node);
            let is_behind = there.map_or_else(|| self.0.hub.knows(node), |l| l.version < version);
            if is_behind {
                return Err(LiveError(format!("the list of node {} is yet to come", node.0)));
            }
        }
        self.0.hub.read(&lists);
        Ok(lists)
    }
}
