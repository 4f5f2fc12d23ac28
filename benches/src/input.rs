//! Messages, frames and batches of everyday size.
//!
//! Owns: made-up content, the same in every run. Never does: product work. Talks to: protocol, backplane.
//! Start reading at: [`publish`].

use std::sync::Arc;

use backplane::{Batch, Envelope, Key, Logged};
use bytes::Bytes;
use protocol::{ConversationId, EventKind, Pos, Producer, UserId};

/// Text of exactly so many bytes.
pub fn text(bytes: usize) -> String {
    "What people write to each other most of the day is short, and plain. "
        .chars()
        .cycle()
        .take(bytes)
        .collect()
}

/// A publish command whose text has so many bytes.
pub fn publish(text_bytes: usize) -> Vec<u8> {
    let conversation = ConversationId::direct(UserId(1), UserId(2));
    let text = text(text_bytes);
    format!(
        r#"{{"type":"publish","conversation":"{conversation}","producer":"9f8e7d6c5b4a3921","no":7,"body":{{"text":"{text}"}},"id":3}}"#
    )
    .into_bytes()
}

/// One masked text frame of a client.
pub fn client_frame(payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![0x81];
    match payload.len() {
        n @ 0..=125 => frame.push(0x80 | n as u8),
        n @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((n as u16).to_be_bytes());
        }
        n => {
            frame.push(0x80 | 127);
            frame.extend((n as u64).to_be_bytes());
        }
    }
    frame.extend(key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// A message of `from`; the body is what the log stores.
pub fn envelope(
    conversation: ConversationId,
    from: UserId,
    no: u64,
    text_bytes: usize,
) -> Envelope {
    let key = Key { conversation, user: from, producer: Producer(from.0), no };
    let body = format!(r#"{{"text":"{}"}}"#, text(text_bytes));
    Envelope::new(key, 0, EventKind::Message, Bytes::from(body))
}

/// What has to come before the first message of a conversation.
pub fn created(conversation: ConversationId, from: UserId) -> Envelope {
    let key = Key { conversation, user: from, producer: Producer(from.0), no: 1 };
    Envelope::new(key, 0, EventKind::Created, Bytes::from_static(br#"{"members":[]}"#))
}

/// A batch of one message.
pub fn batch(n: u64, envelope: Envelope) -> Arc<Batch> {
    let logged = Logged { seq: n, ordinal: n, envelope };
    Arc::new(Batch { pos: Pos::new(1, n), ts: 1_764_000_000_000, events: vec![logged] })
}
