//! Commands: what a client asks over the socket.
//!
//! Owns: the commands, and parsing one text message into one. Never does: authorise (route does).
//! Talks to: simd-json. Start reading at: [`Command`], then [`Parser::parse`].

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::{ConversationId, ErrorCode, Producer, UserId, body::MessageBody, limits};

/// One command. Shape: borrows from the message it was parsed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command<'a> {
    /// First on every connection.
    Hello {
        /// Name and version of the client, for operators.
        client: &'a str,
        /// Token of the last frame that carried one.
        resume: Option<&'a str>,
    },
    /// Asks a conversation to take a message.
    Publish {
        /// Where to.
        conversation: ConversationId,
        /// Half of the idempotency key.
        producer: Producer,
        /// The other half: 1, 2, 3 … per producer and conversation.
        no: u64,
        /// The message, checked.
        body: MessageBody<'a>,
    },
    /// Moves the user's own cursors forward.
    Receipt {
        /// Where.
        conversation: ConversationId,
        /// All up to here is on a device.
        delivered: Option<u64>,
        /// All up to here was seen.
        read: Option<u64>,
    },
    /// Says that the user types now. May be dropped.
    Typing {
        /// Where.
        conversation: ConversationId,
        /// The producer that will publish.
        producer: Producer,
        /// The last `no` it used here (0 = none): the signal is void after message `no` + 1.
        no: u64,
    },
    /// Replaces the lists of whose presence, and where typing and receipts, are on screen.
    Watch {
        /// Presence wanted.
        people: Vec<UserId>,
        /// Typing and receipts wanted.
        conversations: Vec<ConversationId>,
    },
    /// Extends the connection to the expiry of a new socket token of the same session.
    Reauth {
        /// From `POST /api/auth/refresh`.
        token: &'a str,
    },
    /// Asks for an `ok`, to find out whether the connection lives.
    Ping,
}

impl Command<'_> {
    /// Label for metrics (OPS.md §4: `op`).
    pub const fn op(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Publish { .. } => "publish",
            Self::Receipt { .. } => "receipt",
            Self::Typing { .. } => "typing",
            Self::Watch { .. } => "watch",
            Self::Reauth { .. } => "reauth",
            Self::Ping => "ping",
        }
    }
}

/// A text message that is no command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What to answer.
    pub code: ErrorCode,
    /// What is wrong, for the person who writes the client. Never holds text of the message.
    pub detail: &'static str,
    /// The `id` of the command, if it could be read.
    pub id: Option<u32>,
    /// The key of the publish, if it could be read.
    pub key: Option<(ConversationId, Producer, u64)>,
}

/// A struct that is an object on the wire and nothing else: serde would also take an array of its fields in order.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Fields(PhantomData)).map(Object)
    }
}

/// All fields of all commands. Flat: the tag may come last and nothing is buffered (serde's tagged enums buffer).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw<'a> {
    #[serde(rename = "type", borrow)]
    kind: &'a str,
    id: Option<u32>,
    #[serde(borrow)]
    client: Option<&'a str>,
    #[serde(borrow)]
    resume: Option<&'a str>,
    conversation: Option<ConversationId>,
    producer: Option<Producer>,
    no: Option<u64>,
    #[serde(borrow)]
    body: Option<Object<RawBody<'a>>>,
    delivered: Option<u64>,
    read: Option<u64>,
    people: Option<Vec<UserId>>,
    conversations: Option<Vec<ConversationId>>,
    #[serde(borrow)]
    token: Option<&'a str>,
}

/// [`MessageBody`] that borrows from the message.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBody<'a> {
    text: &'a str,
    reply_to: Option<u64>,
    #[serde(default, borrow)]
    attachments: Vec<&'a str>,
}

impl<'a> From<RawBody<'a>> for MessageBody<'a> {
    fn from(raw: RawBody<'a>) -> Self {
        let attachments = raw.attachments.into_iter().map(Cow::Borrowed).collect();
        Self { text: Cow::Borrowed(raw.text), reply_to: raw.reply_to, attachments }
    }
}

/// Parses commands. Owns the buffers that simd-json reuses between messages; one per shard.
pub struct Parser {
    buffers: simd_json::Buffers,
}

impl fmt::Debug for Parser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parser")
    }
}

impl Default for Parser {
    fn default() -> Self {
        Self { buffers: simd_json::Buffers::new(4096) }
    }
}

impl Parser {
    /// Parses one text message. Shape: rewrites the message in place (escapes), the command borrows from it.
    /// Limits: [`limits`]. Errors: [`Refused`], to be answered with an `error` reply; never panics on any input.
    pub fn parse<'a>(
        &mut self,
        message: &'a mut [u8],
    ) -> Result<(Command<'a>, Option<u32>), Refused> {
        let refused = |detail| Refused { code: ErrorCode::Invalid, detail, id: None, key: None };
        if !depth_is_bounded(message) {
            return Err(refused("nested too deep"));
        }
        let Object(raw): Object<Raw<'a>> =
            simd_json::serde::from_slice_with_buffers(message, &mut self.buffers)
                .map_err(|_| refused("not a json object with the fields of a command"))?;
        let id = raw.id;
        let key = match (raw.kind, raw.conversation, raw.producer, raw.no) {
            ("publish", Some(conversation), Some(producer), Some(no)) => {
                Some((conversation, producer, no))
            }
            _ => None,
        };
        match convert(raw) {
            Ok(command) => Ok((command, id)),
            Err((code, detail)) => Err(Refused { code, detail, id, key }),
        }
    }
}

fn convert(raw: Raw<'_>) -> Result<Command<'_>, (ErrorCode, &'static str)> {
    use ErrorCode::{Invalid, TooLarge};
    let given = Given::of(&raw);
    match raw {
        Raw { kind: "hello", client, resume, .. } if given.only(Given::CLIENT | Given::RESUME) => {
            let client = client.unwrap_or("");
            if client.len() > limits::CLIENT_BYTES_MAX {
                return Err((TooLarge, "client is longer than 64 bytes"));
            }
            Ok(Command::Hello { client, resume })
        }
        Raw {
            kind: "publish",
            conversation: Some(conversation),
            producer: Some(producer),
            no: Some(no),
            body: Some(Object(body)),
            ..
        } if given.only(Given::CONVERSATION | Given::PRODUCER | Given::NO | Given::BODY) => {
            if no == 0 {
                return Err((Invalid, "no starts at 1"));
            }
            let body = MessageBody::from(body);
            body.check().map_err(|code| {
                (code, "text, reply_to or attachments are over a limit or malformed")
            })?;
            Ok(Command::Publish { conversation, producer, no, body })
        }
        Raw { kind: "receipt", conversation: Some(conversation), delivered, read, .. }
            if given.only(Given::CONVERSATION | Given::DELIVERED | Given::READ) =>
        {
            if delivered.is_none() && read.is_none() {
                return Err((Invalid, "receipt needs delivered or read"));
            }
            Ok(Command::Receipt { conversation, delivered, read })
        }
        Raw {
            kind: "typing",
            conversation: Some(conversation),
            producer: Some(producer),
            no: Some(no),
            ..
        } if given.only(Given::CONVERSATION | Given::PRODUCER | Given::NO) => {
            Ok(Command::Typing { conversation, producer, no })
        }
        Raw { kind: "watch", people, conversations, .. }
            if given.only(Given::PEOPLE | Given::CONVERSATIONS) =>
        {
            let (people, conversations) =
                (people.unwrap_or_default(), conversations.unwrap_or_default());
            if people.len() > limits::WATCH_MAX || conversations.len() > limits::WATCH_MAX {
                return Err((TooLarge, "a watch list holds at most 200"));
            }
            Ok(Command::Watch { people, conversations })
        }
        Raw { kind: "reauth", token: Some(token), .. } if given.only(Given::TOKEN) => {
            if token.len() > limits::SOCKET_TOKEN_BYTES_MAX {
                return Err((TooLarge, "token is too long"));
            }
            Ok(Command::Reauth { token })
        }
        Raw { kind: "ping", .. } if given.only(0) => Ok(Command::Ping),
        Raw {
            kind: "hello" | "publish" | "receipt" | "typing" | "watch" | "reauth" | "ping",
            ..
        } => Err((Invalid, "a field is missing, or does not belong to this type")),
        _ => Err((Invalid, "unknown type")),
    }
}

/// Which fields a message had, as bits: a field that does not belong to the type is an error, not ignored.
struct Given(u16);

impl Given {
    const CLIENT: u16 = 1;
    const RESUME: u16 = 1 << 1;
    const CONVERSATION: u16 = 1 << 2;
    const PRODUCER: u16 = 1 << 3;
    const NO: u16 = 1 << 4;
    const BODY: u16 = 1 << 5;
    const DELIVERED: u16 = 1 << 6;
    const READ: u16 = 1 << 7;
    const PEOPLE: u16 = 1 << 8;
    const CONVERSATIONS: u16 = 1 << 9;
    const TOKEN: u16 = 1 << 10;

    fn of(raw: &Raw<'_>) -> Self {
        let bit = |is: bool, bit: u16| if is { bit } else { 0 };
        Self(
            bit(raw.client.is_some(), Self::CLIENT)
                | bit(raw.resume.is_some(), Self::RESUME)
                | bit(raw.conversation.is_some(), Self::CONVERSATION)
                | bit(raw.producer.is_some(), Self::PRODUCER)
                | bit(raw.no.is_some(), Self::NO)
                | bit(raw.body.is_some(), Self::BODY)
                | bit(raw.delivered.is_some(), Self::DELIVERED)
                | bit(raw.read.is_some(), Self::READ)
                | bit(raw.people.is_some(), Self::PEOPLE)
                | bit(raw.conversations.is_some(), Self::CONVERSATIONS)
                | bit(raw.token.is_some(), Self::TOKEN),
        )
    }

    fn only(&self, allowed: u16) -> bool {
        self.0 & !allowed == 0
    }
}

/// Linear scan, before any parser recurses: brackets outside strings.
fn depth_is_bounded(message: &[u8]) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in message {
        match (*byte, in_string) {
            _ if escaped => escaped = false,
            (b'\\', true) => escaped = true,
            (b'"', _) => in_string = !in_string,
            (b'{' | b'[', false) => {
                depth += 1;
                if depth > limits::JSON_DEPTH_MAX {
                    return false;
                }
            }
            (b'}' | b']', false) => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}
