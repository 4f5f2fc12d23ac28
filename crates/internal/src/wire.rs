//! The calls of the internal port: JSON over POST, one path per call.
//!
//! Owns: the form of questions, answers and refusals, the limits of both, and the conversions from and to the types of the
//! seam. Never does: IO. Talks to: nobody. Start reading at: [`Call`].
//!
//! A question with a field that is not known is refused: its asker means something that would be ignored. An answer may
//! have further fields: apis are replaced before brokers. What cannot be answered that way gets another `v`.

use backplane::{
    Earlier, Found, GroupSize, Head, Key, Membership, ProducerState, StoredEvent, UserFlags, View,
};
use bytes::Bytes;
use protocol::{ConversationId, EventKind, Pos, Producer, Role, SessionId, UserId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Bytes of a question: two hundred people who are watched are 4 KiB.
pub const QUESTION_BYTES_MAX: usize = 16 * 1024;
/// Bytes of an answer: a page of 200 events of 64 KiB, every byte of which may be escaped.
pub const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Where the public keys are (GET).
pub const KEYS_PATH: &str = "/internal/v1/keys";

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Without the secret.
    Denied,
    /// There is no such call.
    NoCall,
    /// Not a question.
    Malformed,
    /// The question is too large.
    TooLarge,
    /// Too many questions at a time. Worth trying elsewhere, or later.
    Busy,
    /// The store does not answer, or not in time. Worth trying elsewhere, or later.
    Unavailable,
    /// The store holds something that cannot be told. Trying again does not help.
    Internal,
}

impl Refusal {
    /// The HTTP status that it travels with.
    pub fn status(self) -> u16 {
        match self {
            Self::Denied => 401,
            Self::NoCall => 404,
            Self::Malformed => 400,
            Self::TooLarge => 413,
            Self::Busy | Self::Unavailable => 503,
            Self::Internal => 500,
        }
    }

    /// Whether the same question may be answered by another api, or later.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Busy | Self::Unavailable)
    }
}

/// The body of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Which.
    pub outcome: Refusal,
}

/// A question of a broker.
pub trait Call: Serialize + DeserializeOwned + Send + 'static {
    /// Where it is asked.
    const PATH: &'static str;
    /// What comes back.
    type Answer: Serialize + DeserializeOwned + Send + 'static;
}

/// [`backplane::Archive::view`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskView {
    /// Whose.
    pub user: UserId,
}

/// [`backplane::Archive::head`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskHead {
    /// Of which.
    pub conversation: ConversationId,
}

/// [`backplane::Archive::find`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskFind {
    conversation: ConversationId,
    user: UserId,
    producer: Producer,
    no: u64,
}

/// [`backplane::Archive::contacts`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskContacts {
    /// Who asks.
    pub user: UserId,
    /// After whom.
    pub people: Vec<UserId>,
}

/// [`backplane::Archive::ended`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskEnded {
    /// Whose, and which.
    pub sessions: Vec<(UserId, SessionId)>,
}

/// [`backplane::Archive::range`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskRange {
    /// Where.
    pub conversation: ConversationId,
    /// First seq.
    pub from: u64,
    /// Last seq.
    pub to: u64,
}

impl Call for AskView {
    const PATH: &'static str = "/internal/v1/archive/view";
    type Answer = ViewTold;
}
impl Call for AskHead {
    const PATH: &'static str = "/internal/v1/archive/head";
    type Answer = HeadTold;
}
impl Call for AskFind {
    const PATH: &'static str = "/internal/v1/archive/find";
    type Answer = FoundTold;
}
impl Call for AskContacts {
    const PATH: &'static str = "/internal/v1/archive/contacts";
    type Answer = ContactsTold;
}
impl Call for AskEnded {
    const PATH: &'static str = "/internal/v1/archive/ended";
    type Answer = EndedTold;
}
impl Call for AskRange {
    const PATH: &'static str = "/internal/v1/archive/range";
    type Answer = RangeTold;
}

impl AskFind {
    /// After a key.
    pub fn of(key: Key) -> Self {
        let Key { conversation, user, producer, no } = key;
        Self { conversation, user, producer, no }
    }

    /// The key.
    pub fn key(&self) -> Key {
        let Self { conversation, user, producer, no } = *self;
        Key { conversation, user, producer, no }
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct GroupTold {
    mver: u64,
    large: bool,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct MembershipTold {
    conversation: ConversationId,
    role: Option<Role>,
    since: u64,
    mver: u64,
    group: Option<GroupTold>,
}

impl MembershipTold {
    fn of(known: Membership) -> Self {
        let Membership { conversation, role, since, mver, group } = known;
        let group = group.map(|GroupSize { mver, large }| GroupTold { mver, large });
        Self { conversation, role, since, mver, group }
    }

    fn membership(self) -> Membership {
        let Self { conversation, role, since, mver, group } = self;
        let group = group.map(|GroupTold { mver, large }| GroupSize { mver, large });
        Membership { conversation, role, since, mver, group }
    }
}

/// Answer to [`AskView`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ViewTold {
    as_of: Vec<Pos>,
    groups: Vec<MembershipTold>,
    blocked: Vec<UserId>,
    hidden: bool,
    receipts_off: bool,
    disabled: bool,
    contacts_only: bool,
}

impl ViewTold {
    /// From the seam's form.
    pub fn of(view: View) -> Self {
        let UserFlags { hidden, receipts_off, disabled, contacts_only } = view.flags;
        Self {
            as_of: view.as_of,
            groups: view.groups.into_iter().map(MembershipTold::of).collect(),
            blocked: view.blocked,
            hidden,
            receipts_off,
            disabled,
            contacts_only,
        }
    }

    /// To the seam's form.
    pub fn view(self) -> View {
        let Self { hidden, receipts_off, disabled, contacts_only, .. } = self;
        View {
            as_of: self.as_of,
            groups: self.groups.into_iter().map(MembershipTold::membership).collect(),
            blocked: self.blocked,
            flags: UserFlags { hidden, receipts_off, disabled, contacts_only },
        }
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct PlaceTold {
    seq: u64,
    ordinal: u64,
    mver: u64,
    epoch: u32,
}

/// Answer to [`AskHead`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HeadTold {
    head: Option<PlaceTold>,
}

impl HeadTold {
    /// From the seam's form.
    pub fn of(head: Option<Head>) -> Self {
        let told = |Head { seq, ordinal, mver, epoch }| PlaceTold { seq, ordinal, mver, epoch };
        Self { head: head.map(told) }
    }

    /// To the seam's form.
    pub fn head(self) -> Option<Head> {
        self.head.map(|PlaceTold { seq, ordinal, mver, epoch }| Head { seq, ordinal, mver, epoch })
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct EarlierTold {
    no: u64,
    hash: u64,
    seq: u64,
    pos: Pos,
    ts: u64,
}

impl EarlierTold {
    fn of(Earlier { no, hash, seq, pos, ts }: Earlier) -> Self {
        Self { no, hash, seq, pos, ts }
    }

    fn earlier(self) -> Earlier {
        let Self { no, hash, seq, pos, ts } = self;
        Earlier { no, hash, seq, pos, ts }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct ProducerTold {
    last: u64,
    recent: Vec<EarlierTold>,
}

/// Answer to [`AskFind`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FoundTold {
    stored: Option<EarlierTold>,
    producer: Option<ProducerTold>,
}

impl FoundTold {
    /// From the seam's form.
    pub fn of(found: Found) -> Self {
        let producer = found.producer.map(|ProducerState { last, recent }| ProducerTold {
            last,
            recent: recent.into_iter().map(EarlierTold::of).collect(),
        });
        Self { stored: found.stored.map(EarlierTold::of), producer }
    }

    /// To the seam's form.
    pub fn found(self) -> Found {
        let producer = self.producer.map(|ProducerTold { last, recent }| ProducerState {
            last,
            recent: recent.into_iter().map(EarlierTold::earlier).collect(),
        });
        Found { stored: self.stored.map(EarlierTold::earlier), producer }
    }
}

/// Answer to [`AskContacts`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContactsTold {
    /// Those who may be watched.
    pub people: Vec<UserId>,
}

/// Answer to [`AskEnded`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EndedTold {
    /// Those that are over.
    pub sessions: Vec<SessionId>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct EventTold {
    epoch: u32,
    seq: u64,
    ordinal: u64,
    /// A number and no id: a hole is from nobody (0), which no id may be.
    from: u64,
    producer: Producer,
    no: u64,
    ts: u64,
    /// The number that the log stores; `None`: a hole.
    kind: Option<u8>,
    /// JSON as text: its bytes are hashed, so they travel as they are.
    body: String,
}

/// Answer to [`AskRange`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RangeTold {
    events: Vec<EventTold>,
}

/// A stored event that cannot be told, or one that was told and is not known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untold {
    /// Bodies are JSON: the store is damaged.
    #[error("the body of a stored event is not text")]
    NotText,
    /// The other side is newer. Taking it for a hole would lose it.
    #[error("a stored event is of an unknown kind")]
    UnknownKind,
}

impl RangeTold {
    /// From the seam's form. The conversation is the question's.
    pub fn of(events: Vec<StoredEvent>) -> Result<Self, Untold> {
        let told = |e: StoredEvent| {
            let StoredEvent { epoch, seq, ordinal, from, producer, no, ts, kind, body, .. } = e;
            let body = String::from_utf8(body.to_vec()).map_err(|_| Untold::NotText)?;
            let (from, kind) = (from.0, kind.map(|kind| kind as u8));
            Ok(EventTold { epoch, seq, ordinal, from, producer, no, ts, kind, body })
        };
        Ok(Self { events: events.into_iter().map(told).collect::<Result<_, _>>()? })
    }

    /// To the seam's form.
    pub fn events(self, conversation: ConversationId) -> Result<Vec<StoredEvent>, Untold> {
        let event = |e: EventTold| {
            let EventTold { epoch, seq, ordinal, from, producer, no, ts, kind, body } = e;
            let known = |kind| EventKind::from_u8(kind).ok_or(Untold::UnknownKind);
            let kind = kind.map(known).transpose()?;
            let (from, body) = (UserId(from), Bytes::from(body));
            Ok(StoredEvent {
                conversation,
                epoch,
                seq,
                ordinal,
                from,
                producer,
                no,
                ts,
                kind,
                body,
            })
        };
        self.events.into_iter().map(event).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_a_kind_that_is_not_known_here_is_an_error_and_no_hole() {
        let event = |kind: &str| {
            format!(
                r#"{{"events":[{{"epoch":1,"seq":1,"ordinal":0,"from":1,"producer":"{}","no":1,"ts":1,"kind":{kind},"body":""}}]}}"#,
                Producer(1)
            )
        };
        let told = |kind: &str| {
            let range: RangeTold = serde_json::from_str(&event(kind)).unwrap();
            range.events(ConversationId::group(1)).map(|events| events[0].kind)
        };
        assert_eq!(told("null"), Ok(None));
        assert_eq!(told("2"), Ok(Some(EventKind::Message)));
        assert_eq!(told("99"), Err(Untold::UnknownKind));
    }

    #[test]
    fn a_question_with_more_in_it_than_is_known_is_refused() {
        let user = UserId(1);
        let question = format!(r#"{{"user":"{user}","also":1}}"#);
        assert!(serde_json::from_str::<AskView>(&question).is_err());
    }
}
