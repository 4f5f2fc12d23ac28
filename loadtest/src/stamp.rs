//! What every payload of ours carries, so that a receiver can tell what it is, when it was due, and whether it is whole.
//!
//! Owns: [`Stamp`] and its text form. Never does: clocks. Talks to: nobody. Start reading at: [`Stamp::text`].

/// Names one message of a run whatever `no` it travels under: who made it, and its how-manieth it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct MessageId {
    /// The maker, unique within the run.
    pub maker: u64,
    /// 1, 2, 3 … per maker and conversation or over all, as the maker likes; never twice.
    pub k: u64,
}

/// The content of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Which message.
    pub id: MessageId,
    /// When it should have been sent: nanoseconds on the run's clock.
    pub intended_ns: u64,
}

fn check(text: &str) -> u32 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash ^ hash >> 32) as u32
}

impl Stamp {
    /// The stamp as text that needs no escapes in JSON, padded to `bytes` (never cut).
    pub fn text(&self, bytes: usize) -> String {
        let MessageId { maker, k } = self.id;
        let head = format!("{maker:016x} {k} {}", self.intended_ns);
        let mut text = format!("{head} {:08x} ", check(&head));
        while text.len() < bytes {
            let rest = bytes - text.len();
            let filler = "the quick brown fox jumps over the lazy dog ";
            text.push_str(&filler[..rest.min(filler.len())]);
        }
        // A text that ends in a space is legal; ours ends in a dot so that trimming would show.
        text.pop();
        text.push('.');
        text
    }

    /// Reads a text back. `None`: not ours, or corrupt.
    pub fn parse(text: &str) -> Option<Self> {
        let (head_end, _) = text.match_indices(' ').nth(2)?;
        let head = &text[..head_end];
        let sum = text.get(head_end + 1..head_end + 9)?;
        let mut parts = head.split(' ');
        let maker = u64::from_str_radix(parts.next()?, 16).ok()?;
        let k = parts.next()?.parse().ok()?;
        let intended_ns = parts.next()?.parse().ok()?;
        (u32::from_str_radix(sum, 16).ok()? == check(head))
            .then_some(Self { id: MessageId { maker, k }, intended_ns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives_and_corruption_shows() {
        for bytes in [0, 60, 128, 4000] {
            let stamp = Stamp { id: MessageId { maker: 0xabc, k: 77 }, intended_ns: 123_456_789 };
            let text = stamp.text(bytes);
            assert!(text.len() >= bytes, "{bytes}");
            assert!(protocol::body::check_text(&text, true).is_ok());
            assert_eq!(Stamp::parse(&text), Some(stamp), "{text}");
            let corrupt = text.replacen("77", "78", 1);
            assert_eq!(Stamp::parse(&corrupt), None);
        }
        assert_eq!(Stamp::parse("hello there, how are you"), None);
        assert_eq!(Stamp::parse(""), None);
    }
}
