//! The packed forms: a flush of signals, presence changes, receipts, a user's view.
//!
//! Owns: bytes ↔ signals and views. Never does: number them (the functions do). Talks to: nobody.
//! Start reading at: [`signals`]; the Lua side is `live.lua`. Ids are big endian, numbers little endian.

use ::redis::Value;
use bytes::{Buf, BufMut};
use protocol::{ConversationId, Pos, Producer, Role, SessionId, UserId, event::UserChange};

use crate::{
    Cursors, GroupSize, Membership, NodeId, PresenceChange, Revocation, Signal, UserFlags, View,
    codec::Malformed,
};

/// First byte of what is published.
const SIGNALS_VERSION: u8 = 1;
/// First byte of a cached view.
const VIEW_VERSION: u8 = 1;
/// Bytes of a presence change: user, whether online, as_of.
const CHANGE_BYTES: usize = 17;
/// Bytes of a group in a view: conversation, role, since, mver, what is known of the group and its mver.
const GROUP_BYTES: usize = 16 + 1 + 8 + 8 + 1 + 8;
/// Functions count in doubles.
pub(super) const NUMBER_MAX: u64 = 1 << 53;

const TYPING: u8 = 1;
/// Also written by `receipts` in `live.lua`.
pub(super) const RECEIPT: u8 = 2;
const OWN_RECEIPT: u8 = 3;
const PRESENCE: u8 = 4;
const HEARTBEAT: u8 = 5;
const NODE_GONE: u8 = 6;
const USER_CHANGED: u8 = 7;
const SESSION_REVOKED: u8 = 8;
const USER_REVOKED: u8 = 9;

const USER_CHANGES: [UserChange; 5] = [
    UserChange::Profile,
    UserChange::Conversations,
    UserChange::Blocked,
    UserChange::Settings,
    UserChange::Sessions,
];
const ROLES: [Role; 3] = [Role::Member, Role::Admin, Role::Owner];

/// What stands before the count and the signals.
pub(super) const fn head() -> [u8; 1] {
    [SIGNALS_VERSION]
}

/// A flush: version, count, signals.
pub(super) fn signals(signals: &[Signal]) -> Vec<u8> {
    let mut out = Vec::with_capacity(5 + 48 * signals.len());
    out.put_slice(&head());
    out.put_u32_le(signals.len() as u32);
    signals.iter().for_each(|signal| put_signal(&mut out, signal));
    out
}

fn put_cursors(
    out: &mut Vec<u8>,
    kind: u8,
    conversation: ConversationId,
    user: UserId,
    cursors: Cursors,
) {
    out.put_u8(kind);
    out.put_u128(conversation.0);
    put_receipt(out, user, cursors);
}

/// A receipt within its conversation.
pub(super) fn put_receipt(out: &mut Vec<u8>, user: UserId, cursors: Cursors) {
    out.put_u64(user.0);
    out.put_u64_le(cursors.delivered.min(NUMBER_MAX));
    out.put_u64_le(cursors.read.min(NUMBER_MAX));
}

/// One field of a conversation's hash: user, cursors. `None`: it is not what was put there.
pub(super) fn receipt(field: &Value, value: &Value) -> Option<(UserId, Cursors)> {
    let (Value::BulkString(user), Value::BulkString(cursors)) = (field, value) else { return None };
    let user = UserId(u64::from_be_bytes(user.as_slice().try_into().ok()?));
    let (delivered, read) = cursors.split_at_checked(8)?;
    let number = |bytes: &[u8]| Some(u64::from_le_bytes(bytes.try_into().ok()?));
    Some((user, Cursors { delivered: number(delivered)?, read: number(read)? }))
}

/// Changes of a list, as signals and functions have them.
pub(super) fn put_changes(out: &mut Vec<u8>, changes: &[PresenceChange]) {
    for change in changes {
        out.put_u64(change.user.0);
        out.put_u8(u8::from(change.online));
        out.put_u64_le(change.as_of);
    }
}

fn put_signal(out: &mut Vec<u8>, signal: &Signal) {
    match signal {
        Signal::Typing { conversation, user, producer, no } => {
            out.put_u8(TYPING);
            out.put_u128(conversation.0);
            out.put_u64(user.0);
            out.put_u64(producer.0);
            out.put_u64_le(*no);
        }
        Signal::Receipt { conversation, user, cursors } => {
            put_cursors(out, RECEIPT, *conversation, *user, *cursors);
        }
        Signal::OwnReceipt { conversation, user, cursors } => {
            put_cursors(out, OWN_RECEIPT, *conversation, *user, *cursors);
        }
        Signal::Presence { node, version, changes } => {
            out.put_u8(PRESENCE);
            out.put_u64(node.0);
            out.put_u64_le(*version);
            out.put_u32_le(changes.len() as u32);
            put_changes(out, changes);
        }
        Signal::Heartbeat { node } => {
            out.put_u8(HEARTBEAT);
            out.put_u64(node.0);
        }
        Signal::NodeGone { node } => {
            out.put_u8(NODE_GONE);
            out.put_u64(node.0);
        }
        Signal::UserChanged { user, what } => {
            out.put_u8(USER_CHANGED);
            out.put_u64(user.0);
            let place = USER_CHANGES.iter().position(|known| known == what);
            out.put_u8(place.unwrap_or(USER_CHANGES.len()) as u8);
        }
        Signal::Revoked(Revocation::Session(session)) => {
            out.put_u8(SESSION_REVOKED);
            out.put_u128(session.0);
        }
        Signal::Revoked(Revocation::User { user, except }) => {
            out.put_u8(USER_REVOKED);
            out.put_u64(user.0);
            out.put_u8(u8::from(except.is_some()));
            out.put_u128(except.map_or(0, |session| session.0));
        }
    }
}

/// Cuts so many bytes off, if they are there.
fn cut<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], Malformed> {
    let (front, rest) = bytes.split_at_checked(count).ok_or(Malformed)?;
    *bytes = rest;
    Ok(front)
}

/// Reads a flush. Errors: [`Malformed`], on any other input; another version is one.
pub(super) fn read_signals(mut packed: &[u8]) -> Result<Vec<Signal>, Malformed> {
    let mut front = cut(&mut packed, 5)?;
    if front.get_u8() != SIGNALS_VERSION {
        return Err(Malformed);
    }
    let count = front.get_u32_le() as usize;
    // The shortest signal has 9 bytes.
    let mut signals = Vec::with_capacity(count.min(packed.len() / 9));
    for _ in 0..count {
        signals.push(read_signal(&mut packed)?);
    }
    if packed.is_empty() { Ok(signals) } else { Err(Malformed) }
}

fn read_signal(packed: &mut &[u8]) -> Result<Signal, Malformed> {
    match cut(packed, 1)?[0] {
        TYPING => {
            let mut b = cut(packed, 40)?;
            Ok(Signal::Typing {
                conversation: ConversationId(b.get_u128()),
                user: UserId(b.get_u64()),
                producer: Producer(b.get_u64()),
                no: b.get_u64_le(),
            })
        }
        kind @ (RECEIPT | OWN_RECEIPT) => {
            let mut b = cut(packed, 40)?;
            let (conversation, user) = (ConversationId(b.get_u128()), UserId(b.get_u64()));
            let cursors = Cursors { delivered: b.get_u64_le(), read: b.get_u64_le() };
            Ok(match kind {
                RECEIPT => Signal::Receipt { conversation, user, cursors },
                _ => Signal::OwnReceipt { conversation, user, cursors },
            })
        }
        PRESENCE => {
            let mut b = cut(packed, 20)?;
            let (node, version) = (NodeId(b.get_u64()), b.get_u64_le());
            let count = b.get_u32_le() as usize;
            let bytes = count.checked_mul(CHANGE_BYTES).ok_or(Malformed)?;
            let changes = read_changes(cut(packed, bytes)?);
            Ok(Signal::Presence { node, version, changes })
        }
        HEARTBEAT => Ok(Signal::Heartbeat { node: NodeId(cut(packed, 8)?.get_u64()) }),
        NODE_GONE => Ok(Signal::NodeGone { node: NodeId(cut(packed, 8)?.get_u64()) }),
        USER_CHANGED => {
            let mut b = cut(packed, 9)?;
            let (user, place) = (UserId(b.get_u64()), usize::from(b.get_u8()));
            let what = *USER_CHANGES.get(place).ok_or(Malformed)?;
            Ok(Signal::UserChanged { user, what })
        }
        SESSION_REVOKED => {
            let session = SessionId(cut(packed, 16)?.get_u128());
            Ok(Signal::Revoked(Revocation::Session(session)))
        }
        USER_REVOKED => {
            let mut b = cut(packed, 25)?;
            let (user, has, session) = (UserId(b.get_u64()), b.get_u8(), SessionId(b.get_u128()));
            Ok(Signal::Revoked(Revocation::User { user, except: (has == 1).then_some(session) }))
        }
        _ => Err(Malformed),
    }
}

/// `bytes` is a multiple of [`CHANGE_BYTES`] long.
fn read_changes(bytes: &[u8]) -> Vec<PresenceChange> {
    let change = |mut b: &[u8]| PresenceChange {
        user: UserId(b.get_u64()),
        online: b.get_u8() == 1,
        as_of: b.get_u64_le(),
    };
    bytes.chunks_exact(CHANGE_BYTES).map(change).collect()
}

/// A view in three parts: head, positions, the rest. The function compares the first two.
pub(super) fn view(view: &View) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let (mut positions, mut rest) = (Vec::new(), Vec::new());
    for pos in &view.as_of {
        positions.put_u32_le(pos.epoch);
        positions.put_u64_le(pos.n);
    }
    let UserFlags { hidden, receipts_off, disabled, contacts_only } = view.flags;
    let flags = [hidden, receipts_off, disabled, contacts_only];
    rest.put_u8(flags.iter().enumerate().map(|(bit, set)| u8::from(*set) << bit).sum());
    rest.put_u32_le(view.groups.len() as u32);
    for group in &view.groups {
        rest.put_u128(group.conversation.0);
        let role = ROLES.iter().position(|role| Some(*role) == group.role);
        rest.put_u8(role.map_or(0, |place| place as u8 + 1));
        rest.put_u64_le(group.since);
        rest.put_u64_le(group.mver);
        rest.put_u8(group.group.map_or(0, |size| 1 + u8::from(size.large)));
        rest.put_u64_le(group.group.map_or(0, |size| size.mver));
    }
    rest.put_u32_le(view.blocked.len() as u32);
    view.blocked.iter().for_each(|user| rest.put_u64(user.0));
    (vec![VIEW_VERSION, view.as_of.len() as u8], positions, rest)
}

/// Reads a view. Errors: [`Malformed`], on any other input; another version is one.
pub(super) fn read_view(mut packed: &[u8]) -> Result<View, Malformed> {
    let front = cut(&mut packed, 2)?;
    if front[0] != VIEW_VERSION {
        return Err(Malformed);
    }
    let pos = |mut b: &[u8]| Pos::new(b.get_u32_le(), b.get_u64_le());
    let as_of = cut(&mut packed, usize::from(front[1]) * 12)?.chunks_exact(12).map(pos).collect();
    let bits = cut(&mut packed, 1)?[0];
    let bit = |number: u8| bits >> number & 1 == 1;
    let flags =
        UserFlags { hidden: bit(0), receipts_off: bit(1), disabled: bit(2), contacts_only: bit(3) };
    let count = cut(&mut packed, 4)?.get_u32_le() as usize;
    let groups = cut(&mut packed, count.checked_mul(GROUP_BYTES).ok_or(Malformed)?)?;
    let groups = groups.chunks_exact(GROUP_BYTES).map(read_group).collect::<Result<_, _>>()?;
    let count = cut(&mut packed, 4)?.get_u32_le() as usize;
    let blocked = cut(&mut packed, count.checked_mul(8).ok_or(Malformed)?)?;
    let blocked = blocked.chunks_exact(8).map(|mut b| UserId(b.get_u64())).collect();
    if packed.is_empty() { Ok(View { as_of, groups, blocked, flags }) } else { Err(Malformed) }
}

fn read_group(mut b: &[u8]) -> Result<Membership, Malformed> {
    let conversation = ConversationId(b.get_u128());
    let role = match b.get_u8() {
        0 => None,
        place => Some(*ROLES.get(usize::from(place) - 1).ok_or(Malformed)?),
    };
    let (since, mver) = (b.get_u64_le(), b.get_u64_le());
    let (size, size_mver) = (b.get_u8(), b.get_u64_le());
    let group = (size > 0).then_some(GroupSize { mver: size_mver, large: size == 2 });
    Ok(Membership { conversation, role, since, mver, group })
}
