//! Text messages: the parser against a second one, with used and with fresh buffers, and through print and parse again.
//!
//! Owns: the invariants of command parsing. Never does: route. Talks to: `protocol::command`, serde_json as the other opinion.
//! Start reading at: [`check`].

use std::sync::LazyLock;

use protocol::{
    Command, ConversationId, ErrorCode, Producer, UserId,
    command::{Parser, Refused},
    limits,
};
use rand::RngExt;
use serde_json::{Map, Value, json};

use crate::{
    Broken, Random, allocation, ensure,
    mutate::{mutate, one_in, pick, size, text},
};

/// Bytes that parsing one message may take at once. The worst is 64 KiB of `[1,1,1,…`: 32 Ki values on simd-json's tape of
/// 16 to 24 bytes each, positions of 4 bytes per character, and room to grow twice that.
const PEAK_MAX: usize = 4 * 1024 * 1024;

/// Texts of the golden frames, good and bad.
static GOLDEN: LazyLock<Vec<String>> = LazyLock::new(|| {
    let read = |text: &str| serde_json::from_str::<Vec<Value>>(text).unwrap_or_default();
    let good = read(include_str!("../../../crates/protocol/fixtures/commands.json"));
    let bad = read(include_str!("../../../crates/protocol/fixtures/refused_commands.json"));
    let server = read(include_str!("../../../crates/protocol/fixtures/server_frames.json"));
    let bad = bad.into_iter().map(|case| case["command"].clone());
    good.into_iter().chain(bad).chain(server).map(|value| value.to_string()).collect()
});

const WORDS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b",",
    b":",
    b"\\",
    b"null",
    b"true",
    b"0",
    b"-0",
    b"-1",
    b"1.0",
    b"1e1",
    b"1e999",
    b"18446744073709551615",
    b"18446744073709551616",
    b"4294967296",
    b"00",
    b"\\u0000",
    b"\\ud800",
    b"\\udc00\\ud800",
    b"\\ud83d\\udc4d",
    b"\\x",
    b"\\",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\x00",
    b"\n",
    b" ",
    b"\t",
    b"/**/",
    b"\"id\":1,",
    b"\"id\":null,",
    b"\"type\":\"ping\"",
    b"\"type\":\"publish\",",
    b"\"no\":1,",
    b"\"body\":{\"text\":\"x\"},",
    b"\"people\":[],",
    b"\"people\":[\"00000000000000a1\"],",
    b"[[[[[[[[[[[[[[[[[[[[",
    b"{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":",
    b"\"attachments\":[\"0123456789abcdef0123456789abcdef\"],",
];

/// One case.
pub(crate) fn case(random: &mut Random) -> Result<(), Broken> {
    let mut used = Parser::default();
    // The same parser for a few messages, as in a shard: nothing of one may show in the next.
    for _ in 0..random.random_range(1..4) {
        let text = generate(random);
        check(&mut used, &text)?;
    }
    Ok(())
}

/// Any bytes as a text message.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), Broken> {
    check(&mut Parser::default(), bytes)
}

fn generate(random: &mut Random) -> Vec<u8> {
    let mut bytes = match random.random_range(0..8) {
        0 => GOLDEN[random.random_range(0..GOLDEN.len())].clone().into_bytes(),
        1 => return bulk(random),
        _ => {
            let mut value = valid(random);
            if one_in(random, 3) {
                replace_one(random, &mut value);
            }
            let mut out = Vec::new();
            let style = Style { spaces: one_in(random, 3), escapes: one_in(random, 2) };
            write(random, &value, style, &mut out);
            out
        }
    };
    if one_in(random, 3) {
        mutate(random, &mut bytes, WORDS);
    }
    bytes
}

/// Puts something of another type, or out of range, in the place of one field.
fn replace_one(random: &mut Random, value: &mut Value) {
    let junk = match random.random_range(0..9) {
        0 => Value::Null,
        1 => true.into(),
        2 => (-1).into(),
        3 => 1.5.into(),
        4 => json!([[[["deep"]]]]),
        5 => json!({"a": {"b": 1}}),
        6 => random.random::<u64>().into(),
        7 => json!(["00000000000000a1", 7]),
        _ => {
            let length = size(random, 100);
            text(random, length).into()
        }
    };
    let Value::Object(fields) = value else { return };
    let at = random.random_range(0..fields.len());
    if let Some((_, place)) = fields.iter_mut().nth(at) {
        if place.is_object() && one_in(random, 2) {
            replace_one(random, place);
        } else {
            *place = junk;
        }
    }
}

/// How [`write`] varies what means the same.
#[derive(Debug, Clone, Copy)]
struct Style {
    spaces: bool,
    escapes: bool,
}

fn space(random: &mut Random, style: Style, out: &mut Vec<u8>) {
    while style.spaces && one_in(random, 3) {
        out.push(b" \t\r\n"[random.random_range(0..4)]);
    }
}

/// Prints JSON as few printers do: spaces anywhere, characters escaped at random, those beyond the first plane as pairs.
fn write(random: &mut Random, value: &Value, style: Style, out: &mut Vec<u8>) {
    space(random, style, out);
    match value {
        Value::String(text) => write_text(random, text, style, out),
        Value::Array(list) => {
            out.push(b'[');
            for (i, item) in list.iter().enumerate() {
                out.extend(if i > 0 { &b","[..] } else { b"" });
                write(random, item, style, out);
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            out.push(b'{');
            for (i, (name, item)) in fields.iter().enumerate() {
                out.extend(if i > 0 { &b","[..] } else { b"" });
                space(random, style, out);
                write_text(random, name, style, out);
                space(random, style, out);
                out.push(b':');
                write(random, item, style, out);
            }
            out.push(b'}');
        }
        plain => out.extend(plain.to_string().into_bytes()),
    }
    space(random, style, out);
}

fn write_text(random: &mut Random, text: &str, style: Style, out: &mut Vec<u8>) {
    out.push(b'"');
    for character in text.chars() {
        if style.escapes && one_in(random, 4) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                out.extend(format!("\\u{unit:04x}").into_bytes());
            }
            continue;
        }
        match character {
            '"' | '\\' => out.extend([b'\\', character as u8]),
            '\n' => out.extend(b"\\n"),
            '\t' => out.extend(b"\\t"),
            _ => out.extend(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

/// Something repeated until the message is full.
fn bulk(random: &mut Random) -> Vec<u8> {
    let unit = pick(random, WORDS);
    let max = limits::MESSAGE_BYTES_MAX;
    let many = size(random, max / unit.len().max(1));
    let mut bytes = pick(
        random,
        &[&b""[..], b"{\"type\":\"watch\",\"people\":[", b"{\"type\":\"hello\",\"client\":\""],
    )
    .to_vec();
    bytes.extend(unit.repeat(many));
    bytes.extend(pick(random, &[&b""[..], b"]}", b"\"}"]));
    bytes.truncate(max);
    bytes
}

fn id(random: &mut Random) -> String {
    ConversationId::direct(user(random), user(random)).to_string()
}

fn user(random: &mut Random) -> UserId {
    UserId(random.random_range(1..1 << 63))
}

/// A command that is good, or one field away from it.
fn valid(random: &mut Random) -> Value {
    let mut fields = Map::new();
    let kind = pick(random, &["hello", "publish", "receipt", "typing", "watch", "reauth", "ping"]);
    fields.insert("type".into(), kind.into());
    let names: &[&str] = match kind {
        "hello" => &["client", "resume"],
        "publish" => &["conversation", "producer", "no", "body"],
        "receipt" => &["conversation", "delivered", "read"],
        "typing" => &["conversation", "producer", "no"],
        "watch" => &["people", "conversations"],
        "reauth" => &["token"],
        _ => &[],
    };
    for name in names {
        fields.insert((*name).into(), field(random, name));
    }
    if one_in(random, 2) {
        fields.insert("id".into(), random.random::<u32>().into());
    }
    if one_in(random, 8) {
        let foreign = pick(random, &["client", "no", "body", "people", "read", "token", "x"]);
        fields.insert(foreign.into(), field(random, foreign));
    }
    Value::Object(fields)
}

fn field(random: &mut Random, name: &str) -> Value {
    match name {
        "client" => {
            let n = size(random, 80);
            text(random, n).into()
        }
        "resume" => format!("{}-{}", random.random::<u32>(), random.random::<u64>()).into(),
        "conversation" => id(random).into(),
        "producer" => Producer(random.random()).to_string().into(),
        "no" | "delivered" | "read" => {
            (random.random::<u64>() >> random.random_range(0..64)).into()
        }
        "people" => {
            (0..size(random, 230)).map(|_| user(random).to_string()).collect::<Vec<_>>().into()
        }
        "conversations" => (0..size(random, 230)).map(|_| id(random)).collect::<Vec<_>>().into(),
        "token" => {
            let n = size(random, 2_100);
            text(random, n).into()
        }
        "body" => body(random),
        _ => Value::Null,
    }
}

fn body(random: &mut Random) -> Value {
    let length = size(random, limits::TEXT_BYTES_MAX + 64);
    let mut body = json!({"text": text(random, length)});
    if one_in(random, 3) {
        body["reply_to"] = random.random_range(0..5u64).into();
    }
    if one_in(random, 3) {
        let ids = (0..size(random, 12)).map(|_| format!("{:032x}", random.random::<u128>()));
        body["attachments"] = ids.collect::<Vec<_>>().into();
    }
    body
}

type Parsed<'a> = Result<(Command<'a>, Option<u32>), Refused>;

/// Everything that must hold of one message, good or not.
fn check(used: &mut Parser, text: &[u8]) -> Result<(), Broken> {
    let context = |what: &str| format!("{what}: {:?}", String::from_utf8_lossy(text));
    let (mut first, mut second) = (text.to_vec(), text.to_vec());
    let mut fresh = Parser::default();
    let (parsed, peak) = allocation::peak_of(|| used.parse(&mut first));
    ensure(peak <= PEAK_MAX, || context(&format!("{peak} bytes at once")))?;
    let again: Parsed<'_> = fresh.parse(&mut second);
    ensure(parsed == again, || context("used buffers change the answer"))?;
    let other: Result<Value, _> = serde_json::from_slice(text);
    match (parsed, other) {
        (Ok((command, id)), Ok(value)) => {
            within_limits(&command).map_err(|what| context(&what))?;
            let printed = print(&command, id);
            let (printed, given) = (normal(printed), normal(value));
            ensure(printed == given, || context(&format!("understood as {printed}")))?;
            let mut bytes = printed.to_string().into_bytes();
            let back: Parsed<'_> = fresh.parse(&mut bytes);
            ensure(back == Ok((command, id)), || context("changed by print and parse"))
        }
        (Ok(_), Err(error)) => Err(context(&format!("taken, but not JSON ({error})"))),
        (Err(refused), other) => {
            let told = refused.id.map(u64::from);
            let sent = other.ok().and_then(|value| value["id"].as_u64());
            ensure(told.is_none() || told == sent, || context("another id than the command's"))?;
            let names = matches!(refused.code, ErrorCode::Invalid | ErrorCode::TooLarge);
            ensure(names, || context("refused with a code that is not the parser's"))
        }
    }
}

fn within_limits(command: &Command<'_>) -> Result<(), Broken> {
    let good = match command {
        Command::Hello { client, .. } => client.len() <= limits::CLIENT_BYTES_MAX,
        Command::Publish { no, body, .. } => {
            *no > 0
                && body.text.len() <= limits::TEXT_BYTES_MAX
                && body.attachments.len() <= limits::ATTACHMENTS_MAX
                && body.reply_to != Some(0)
                && !body.text.chars().any(|c| c.is_control() && c != '\n' && c != '\t')
        }
        Command::Receipt { delivered, read, .. } => delivered.is_some() || read.is_some(),
        Command::Watch { people, conversations } => {
            people.len() <= limits::WATCH_MAX && conversations.len() <= limits::WATCH_MAX
        }
        Command::Reauth { token } => token.len() <= limits::SOCKET_TOKEN_BYTES_MAX,
        Command::Typing { .. } | Command::Ping => true,
    };
    ensure(good, || "a limit does not hold".to_owned())
}

fn print(command: &Command<'_>, id: Option<u32>) -> Value {
    let mut printed = match command {
        Command::Hello { client, resume } => json!({"client": client, "resume": resume}),
        Command::Publish { conversation, producer, no, body } => {
            json!({"conversation": conversation, "producer": producer, "no": no, "body": body})
        }
        Command::Receipt { conversation, delivered, read } => {
            json!({"conversation": conversation, "delivered": delivered, "read": read})
        }
        Command::Typing { conversation, producer, no } => {
            json!({"conversation": conversation, "producer": producer, "no": no})
        }
        Command::Watch { people, conversations } => {
            json!({"people": people, "conversations": conversations})
        }
        Command::Reauth { token } => json!({"token": token}),
        Command::Ping => json!({}),
    };
    printed["type"] = command.op().into();
    printed["id"] = id.into();
    printed
}

/// Without what means the same as nothing: `null`, empty lists, and an empty `client`.
fn normal(value: Value) -> Value {
    let Value::Object(fields) = value else { return value };
    let empty = |name: &str, value: &Value| match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::String(text) => name == "client" && text.is_empty(),
        _ => false,
    };
    let kept = fields.into_iter().map(|(name, value)| (name, normal(value)));
    Value::Object(kept.filter(|(name, value)| !empty(name, value)).collect())
}
