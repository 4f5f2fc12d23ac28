//! Folding: what events make of an item of history. Used on stored events and on those that are not stored yet.
//!
//! Owns: [`Item`] and the rules of edits, deletes and reactions. Never does: IO, or decide who may write what.
//! Talks to: nobody. Start reading at: [`Item::apply`].

use backplane::Logged;
use bytes::Bytes;
use protocol::{
    EventKind, Producer, UserId,
    body::{DeleteBody, EditBody, MessageBody, ReactionBody},
};
use serde::{Deserialize, Serialize};

/// What stays of a message's body once it is deleted: the words are gone from the disk, the place stays.
pub const ERASED_MESSAGE: &[u8] = br#"{"text":""}"#;

/// An emoji on a message, with who put it there in order of their first time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaction {
    /// The emoji.
    pub emoji: String,
    /// Never empty.
    pub users: Vec<UserId>,
}

/// A message, folded. Its JSON is what a store may keep of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MessageState {
    /// Its text now; empty once deleted.
    pub text: String,
    /// What it answers.
    pub reply_to: Option<u64>,
    /// Files; none once deleted.
    pub attachments: Vec<String>,
    /// Unix milliseconds of the last edit.
    pub edited_ts: Option<u64>,
    /// A tombstone. Final: later edits and reactions change nothing.
    pub deleted: bool,
    /// None once deleted.
    pub reactions: Vec<Reaction>,
}

/// What an item is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemKind {
    /// A message.
    Message(MessageState),
    /// `created`, `member` or `settings`, with its canonical body.
    Note(EventKind, Bytes),
}

/// One line of history. Edits, deletes and reactions are no items: they change one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its place.
    pub seq: u64,
    /// Messages up to it.
    pub ordinal: u64,
    /// Who.
    pub from: UserId,
    /// The key.
    pub producer: Producer,
    /// The key.
    pub no: u64,
    /// Unix milliseconds.
    pub ts: u64,
    /// What.
    pub kind: ItemKind,
}

/// A body that is not what its kind says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed body of kind {0}")]
pub struct Malformed(pub &'static str);

/// What an event does to another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// New text.
    Edit {
        /// Of this message.
        target: u64,
        /// The text.
        text: String,
    },
    /// A tombstone.
    Delete {
        /// For this message.
        target: u64,
    },
    /// An emoji.
    React {
        /// On this message.
        target: u64,
        /// The emoji.
        emoji: String,
        /// On, or off.
        on: bool,
    },
}

impl Effect {
    /// The effect of a kind and body; `None` for kinds that are items themselves.
    pub fn of(kind: EventKind, body: &[u8]) -> Result<Option<Self>, Malformed> {
        let malformed = |_| Malformed(kind.as_str());
        Ok(Some(match kind {
            EventKind::Edit => {
                let EditBody { target, text } = serde_json::from_slice(body).map_err(malformed)?;
                Self::Edit { target, text: text.into_owned() }
            }
            EventKind::Delete => {
                let DeleteBody { target } = serde_json::from_slice(body).map_err(malformed)?;
                Self::Delete { target }
            }
            EventKind::Reaction => {
                let ReactionBody { target, emoji, on } =
                    serde_json::from_slice(body).map_err(malformed)?;
                Self::React { target, emoji: emoji.into_owned(), on }
            }
            EventKind::Message | EventKind::Created | EventKind::Member | EventKind::Settings => {
                return Ok(None);
            }
        }))
    }

    /// The message it is about.
    pub fn target(&self) -> u64 {
        match self {
            Self::Edit { target, .. } | Self::Delete { target } | Self::React { target, .. } => {
                *target
            }
        }
    }
}

impl MessageState {
    /// The state of a message that nothing happened to yet.
    pub fn of(body: &[u8]) -> Result<Self, Malformed> {
        let body: MessageBody<'_> =
            serde_json::from_slice(body).map_err(|_| Malformed(EventKind::Message.as_str()))?;
        Ok(Self {
            text: body.text.into_owned(),
            reply_to: body.reply_to,
            attachments: body.attachments.into_iter().map(|id| id.into_owned()).collect(),
            ..Self::default()
        })
    }

    /// Puts an emoji on or takes it off.
    fn react(&mut self, user: UserId, emoji: &str, on: bool) {
        let place = self.reactions.iter_mut().find(|reaction| reaction.emoji == emoji);
        match (place, on) {
            (Some(reaction), true) if !reaction.users.contains(&user) => reaction.users.push(user),
            (Some(reaction), false) => reaction.users.retain(|other| *other != user),
            (None, true) => {
                self.reactions.push(Reaction { emoji: emoji.to_owned(), users: vec![user] });
            }
            (Some(_), true) | (None, false) => {}
        }
        self.reactions.retain(|reaction| !reaction.users.is_empty());
    }
}

impl Item {
    /// The item that an event is; `None` for edits, deletes and reactions.
    pub fn of(event: &Logged, ts: u64) -> Result<Option<Self>, Malformed> {
        let envelope = &event.envelope;
        let kind = match envelope.kind {
            EventKind::Message => ItemKind::Message(MessageState::of(&envelope.body)?),
            EventKind::Created | EventKind::Member | EventKind::Settings => {
                ItemKind::Note(envelope.kind, envelope.body.clone())
            }
            EventKind::Edit | EventKind::Delete | EventKind::Reaction => return Ok(None),
        };
        let (from, producer, no) = (envelope.from, envelope.producer, envelope.no);
        Ok(Some(Self { seq: event.seq, ordinal: event.ordinal, from, producer, no, ts, kind }))
    }

    /// The message, if it is one.
    pub fn message(&self) -> Option<&MessageState> {
        match &self.kind {
            ItemKind::Message(message) => Some(message),
            ItemKind::Note(..) => None,
        }
    }

    /// Takes out what people whom the viewer blocked put on it.
    pub fn withhold_reactions(&mut self, blocked: &[UserId]) {
        let ItemKind::Message(message) = &mut self.kind else { return };
        if !blocked.is_empty() {
            for reaction in &mut message.reactions {
                reaction.users.retain(|user| !blocked.contains(user));
            }
            message.reactions.retain(|reaction| !reaction.users.is_empty());
        }
    }

    /// Whether a block hides it: what people write, never what the conversation is.
    pub fn is_withheld(&self, blocked: &[UserId]) -> bool {
        matches!(self.kind, ItemKind::Message(_)) && blocked.contains(&self.from)
    }

    /// Applies what an event of `from` at `ts` does to this item. Effects come in the order of their seqs, each once.
    pub fn apply(&mut self, effect: &Effect, from: UserId, ts: u64) {
        let ItemKind::Message(message) = &mut self.kind else { return };
        if message.deleted {
            return;
        }
        match effect {
            Effect::Edit { text, .. } => {
                message.text.clone_from(text);
                message.edited_ts = Some(ts);
            }
            Effect::Delete { .. } => {
                message.text.clear();
                message.attachments.clear();
                message.reactions.clear();
                message.deleted = true;
            }
            Effect::React { emoji, on, .. } => message.react(from, emoji, *on),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: UserId = UserId(1);
    const BOB: UserId = UserId(2);

    fn message(text: &str) -> Item {
        let kind = ItemKind::Message(MessageState { text: text.into(), ..Default::default() });
        Item { seq: 3, ordinal: 2, from: ADA, producer: Producer(1), no: 1, ts: 5, kind }
    }

    fn apply(item: &mut Item, kind: EventKind, body: &str, from: UserId, ts: u64) {
        let effect = Effect::of(kind, body.as_bytes()).unwrap().unwrap();
        assert_eq!(effect.target(), 3);
        item.apply(&effect, from, ts);
    }

    #[test]
    fn the_later_edit_wins_and_says_when() {
        let mut item = message("a");
        apply(&mut item, EventKind::Edit, r#"{"target":3,"text":"b"}"#, ADA, 7);
        apply(&mut item, EventKind::Edit, r#"{"target":3,"text":"c"}"#, ADA, 9);
        let state = item.message().unwrap();
        assert_eq!((state.text.as_str(), state.edited_ts), ("c", Some(9)));
    }

    #[test]
    fn a_tombstone_is_final() {
        let mut item = message("a");
        apply(&mut item, EventKind::Reaction, r#"{"target":3,"emoji":"x","on":true}"#, BOB, 6);
        apply(&mut item, EventKind::Delete, r#"{"target":3}"#, ADA, 7);
        let gone = item.clone();
        apply(&mut item, EventKind::Edit, r#"{"target":3,"text":"b"}"#, ADA, 8);
        apply(&mut item, EventKind::Reaction, r#"{"target":3,"emoji":"x","on":true}"#, BOB, 9);
        assert_eq!(item, gone);
        let state = item.message().unwrap();
        assert!(state.deleted && state.text.is_empty() && state.reactions.is_empty());
    }

    #[test]
    fn a_reaction_counts_once_per_person_and_vanishes_with_the_last() {
        let mut item = message("a");
        for user in [ADA, BOB, ADA] {
            apply(&mut item, EventKind::Reaction, r#"{"target":3,"emoji":"x","on":true}"#, user, 6);
        }
        assert_eq!(item.message().unwrap().reactions[0].users, [ADA, BOB]);
        for user in [ADA, BOB, BOB] {
            let off = r#"{"target":3,"emoji":"x","on":false}"#;
            apply(&mut item, EventKind::Reaction, off, user, 7);
        }
        assert!(item.message().unwrap().reactions.is_empty());
    }

    #[test]
    fn bodies_of_another_shape_are_told_apart_from_items() {
        assert_eq!(Effect::of(EventKind::Edit, b"{}"), Err(Malformed("edit")));
        assert_eq!(Effect::of(EventKind::Message, b"{}"), Ok(None));
        assert_eq!(MessageState::of(b"[]"), Err(Malformed("message")));
        assert_eq!(MessageState::of(ERASED_MESSAGE).unwrap().text, "");
    }
}
