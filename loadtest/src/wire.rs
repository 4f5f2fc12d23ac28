//! Frames of the server, read without a JSON tree, and commands written without one.
//!
//! Owns: a flat scan of the top-level fields (about 0.3 µs, where a tagged enum of serde takes ten times that: the
//! generator must not be what limits a figure). Never does: validate bodies. Talks to: nobody.
//! Start reading at: [`Frame::scan`].

use protocol::{ConversationId, Producer};

/// The fields of a frame that the client uses. Shape: borrows from the message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Frame<'a> {
    /// `type`.
    pub kind: &'a str,
    /// `conversation`.
    pub conversation: Option<ConversationId>,
    /// `producer`.
    pub producer: Option<Producer>,
    /// `no`.
    pub no: Option<u64>,
    /// `epoch`.
    pub epoch: u32,
    /// `seq`.
    pub seq: u64,
    /// `from` of a hole.
    pub hole_from: u64,
    /// `to` of a hole.
    pub hole_to: u64,
    /// `at`.
    pub at: &'a str,
    /// `code` of an error.
    pub code: &'a str,
    /// `retry_after_ms`.
    pub retry_after_ms: Option<u64>,
    /// `expected`.
    pub expected: Option<u64>,
    /// `resume` of a welcome.
    pub resume: &'a str,
    /// `events` of resumed.
    pub events: u64,
    /// `reconnect_in_ms` of goaway.
    pub reconnect_in_ms: u64,
    /// `body`, as JSON text.
    pub body: &'a str,
}

impl<'a> Frame<'a> {
    /// Reads the top-level fields of one JSON object. `None`: not an object, or not JSON as far as it was looked at.
    pub fn scan(text: &'a str) -> Option<Self> {
        let mut frame = Self::default();
        let bytes = text.as_bytes();
        let mut i = skip_space(bytes, 0);
        if bytes.get(i) != Some(&b'{') {
            return None;
        }
        i = skip_space(bytes, i + 1);
        if bytes.get(i) == Some(&b'}') {
            return Some(frame);
        }
        loop {
            let key_end = skip_value(bytes, i)?;
            let key = text.get(i + 1..key_end - 1)?;
            i = skip_space(bytes, key_end);
            if bytes.get(i) != Some(&b':') {
                return None;
            }
            i = skip_space(bytes, i + 1);
            let value_end = skip_value(bytes, i)?;
            frame.set(key, text.get(i..value_end)?)?;
            i = skip_space(bytes, value_end);
            match bytes.get(i)? {
                b',' => i = skip_space(bytes, i + 1),
                b'}' => return Some(frame),
                _ => return None,
            }
        }
    }

    fn set(&mut self, key: &str, value: &'a str) -> Option<()> {
        let quoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
        match key {
            "type" => self.kind = quoted?,
            "conversation" => self.conversation = Some(quoted?.parse().ok()?),
            "producer" => self.producer = Some(quoted?.parse().ok()?),
            "no" => self.no = Some(value.parse().ok()?),
            "epoch" => self.epoch = value.parse().ok()?,
            "seq" => self.seq = value.parse().ok()?,
            "from" if quoted.is_none() => self.hole_from = value.parse().ok()?,
            "to" => self.hole_to = value.parse().ok()?,
            "at" => self.at = quoted?,
            "code" => self.code = quoted?,
            "retry_after_ms" => self.retry_after_ms = Some(value.parse().ok()?),
            "expected" => self.expected = Some(value.parse().ok()?),
            "resume" => self.resume = quoted?,
            "events" => self.events = value.parse().ok()?,
            "reconnect_in_ms" => self.reconnect_in_ms = value.parse().ok()?,
            "body" => self.body = value,
            _ => {}
        }
        Some(())
    }

    /// Whether it is one of the durable events (holes apart).
    pub fn is_event(&self) -> bool {
        matches!(
            self.kind,
            "message" | "created" | "member" | "edit" | "delete" | "reaction" | "settings"
        )
    }

    /// The message's text as it stands in the JSON: right for texts without escapes, as ours are.
    pub fn text(&self) -> &'a str {
        let Some(at) = self.body.find("\"text\":\"") else { return "" };
        let rest = &self.body[at + 8..];
        rest.find('"').map_or("", |end| &rest[..end])
    }
}

fn skip_space(bytes: &[u8], mut i: usize) -> usize {
    while matches!(bytes.get(i), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        i += 1;
    }
    i
}

/// The index after the value that begins at `i`.
fn skip_value(bytes: &[u8], i: usize) -> Option<usize> {
    match bytes.get(i)? {
        b'"' => skip_string(bytes, i),
        b'{' | b'[' => {
            let (mut depth, mut i) = (0usize, i);
            loop {
                match bytes.get(i)? {
                    b'"' => {
                        i = skip_string(bytes, i)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                i += 1;
                if depth == 0 {
                    return Some(i);
                }
            }
        }
        _ => {
            let rest = &bytes[i..];
            let end = rest.iter().position(|b| matches!(b, b',' | b'}' | b']' | b' '))?;
            (end > 0).then_some(i + end)
        }
    }
}

fn skip_string(bytes: &[u8], i: usize) -> Option<usize> {
    let mut i = i + 1;
    loop {
        match bytes.get(i)? {
            b'"' => return Some(i + 1),
            b'\\' => i += 2,
            _ => i += 1,
        }
    }
}

/// `hello`, with the token to resume from if there is one.
pub fn hello(resume: Option<&str>) -> String {
    match resume {
        Some(token) => {
            format!(r#"{{"type":"hello","client":"loadtest/0.1","resume":"{token}"}}"#)
        }
        None => r#"{"type":"hello","client":"loadtest/0.1"}"#.to_owned(),
    }
}

/// `publish`. `text` must need no escapes.
pub fn publish(conversation: ConversationId, producer: Producer, no: u64, text: &str) -> String {
    format!(
        r#"{{"type":"publish","conversation":"{conversation}","producer":"{producer}","no":{no},"body":{{"text":"{text}"}}}}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scan_finds_the_fields_in_any_order_and_steps_over_what_it_does_not_know() {
        let text = r#" {"x":{"a":[1,"}",{"b":"\""}]}, "seq":12,"type":"message","body":{"text":"hi","q":[]},
            "conversation":"00000000000000010000000000000002","from":"0000000000000001","epoch":3,"at":"1-2","new":null}"#;
        let frame = Frame::scan(text).unwrap();
        assert_eq!((frame.kind, frame.seq, frame.epoch, frame.at), ("message", 12, 3, "1-2"));
        assert_eq!(frame.text(), "hi");
        assert!(frame.is_event());
        let hole = r#"{"type":"hole","conversation":"00000000000000010000000000000002","epoch":1,"from":3,"to":5}"#;
        let hole = Frame::scan(hole).unwrap();
        assert_eq!((hole.hole_from, hole.hole_to), (3, 5));
    }

    #[test]
    fn scan_agrees_with_the_protocol_types() {
        use protocol::{ServerFrame, UserId, event::Event};
        let event = Event {
            conversation: ConversationId::direct(UserId(1), UserId(2)),
            epoch: 1,
            seq: 9,
            ordinal: 4,
            from: UserId(1),
            producer: Producer(7),
            no: 3,
            ts: 1,
            body: protocol::body::MessageBody {
                text: "x".into(),
                reply_to: None,
                attachments: vec![],
            },
            at: "1-1".into(),
        };
        let text = serde_json::to_string(&ServerFrame::Message(event)).unwrap();
        let frame = Frame::scan(&text).unwrap();
        assert_eq!((frame.seq, frame.no, frame.producer), (9, Some(3), Some(Producer(7))));
    }

    #[test]
    fn scan_refuses_what_is_cut_off() {
        let whole = r#"{"type":"beat","at":"1-2"}"#;
        for end in 0..whole.len() {
            assert_eq!(Frame::scan(&whole[..end]), None, "{end}");
        }
    }

    #[test]
    fn commands_are_accepted_by_the_parser_of_the_protocol() {
        let mut parser = protocol::command::Parser::default();
        let conversation = ConversationId::group(5);
        for text in
            [hello(None), hello(Some("1-2")), publish(conversation, Producer(1), 1, "text here")]
        {
            let mut bytes = text.clone().into_bytes();
            assert!(parser.parse(&mut bytes).is_ok(), "{text}");
        }
    }
}
