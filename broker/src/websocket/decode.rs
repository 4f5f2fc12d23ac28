//! Client frames → messages. Incremental: fed with whatever a read brought, in any split.
//!
//! Owns: frame headers, fragments, UTF-8, all limits before memory is taken. Never does: IO, clocks (time is passed in).
//! Talks to: nobody. Start reading at: [`Decoder::feed`].

use protocol::{CloseCode, limits};

use super::mask::unmask;

/// Limits of one connection's messages. Product: [`Limits::PRODUCT`].
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a message, all fragments together.
    pub message_bytes_max: usize,
    /// Frames of a message.
    pub fragments_max: usize,
    /// Milliseconds from the first to the last byte of a message.
    pub assembly_ms_max: u64,
}

impl Limits {
    /// Those of the protocol.
    pub const PRODUCT: Limits = Limits {
        message_bytes_max: limits::MESSAGE_BYTES_MAX,
        fragments_max: limits::FRAGMENTS_MAX,
        assembly_ms_max: limits::MESSAGE_ASSEMBLY_MS_MAX,
    };
}

/// What came in. Payloads are unmasked, in place, and may be changed by whoever gets them.
#[derive(Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// A whole text message, valid UTF-8.
    Text(&'a mut [u8]),
    /// A whole binary message.
    Binary(&'a mut [u8]),
    /// Answer with a pong that carries the same payload.
    Ping(&'a [u8]),
    /// Life.
    Pong,
    /// The peer closes: answer with the code (1000 if it gave none), then end.
    Close(Option<u16>),
}

/// What the receiver of an [`Input`] wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// More.
    Continue,
    /// Nothing more: what follows is thrown away.
    Stop,
}

/// State of one connection's input. An idle one owns no memory: [`Decoder::default`] and every whole message leave both
/// buffers empty and unallocated.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Bytes of an incomplete frame.
    partial: Vec<u8>,
    /// Payloads of the fragments so far.
    message: Vec<u8>,
    /// Bytes of `message` known to be UTF-8.
    valid: usize,
    /// Frames of the message so far; 0 = none is open.
    fragments: u32,
    /// Opcode of the open message.
    opcode: u8,
    /// When the first byte of the open message, or incomplete frame, came.
    began_ms: u64,
}

struct Header {
    fin: bool,
    opcode: u8,
    /// Bytes of the header; the last four are the key.
    length: usize,
    payload: usize,
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

impl Decoder {
    /// Takes what a read brought and hands over whole messages and control frames, in order.
    ///
    /// Limits: sizes are judged from the header, before anything is stored. Errors: the code to close with; the decoder
    /// must not be fed again.
    pub fn feed(
        &mut self,
        input: &mut [u8],
        now_ms: u64,
        limits: &Limits,
        mut sink: impl FnMut(Input<'_>) -> Flow,
    ) -> Result<(), CloseCode> {
        if !self.is_open() {
            self.began_ms = now_ms;
        }
        if self.partial.is_empty() {
            let used = self.frames(input, now_ms, limits, &mut sink)?;
            self.partial.extend_from_slice(&input[used..]);
        } else {
            let mut bytes = std::mem::take(&mut self.partial);
            bytes.extend_from_slice(input);
            let used = self.frames(&mut bytes, now_ms, limits, &mut sink)?;
            // A copy that fits: a few bytes of the next frame must not keep the room of the last one.
            self.partial = if used == 0 { bytes } else { bytes[used..].to_vec() };
        }
        self.in_time(now_ms, limits)
    }

    /// Errors when an open message, or an incomplete frame, takes too long. Also called from the shard's timer.
    pub fn in_time(&self, now_ms: u64, limits: &Limits) -> Result<(), CloseCode> {
        if self.is_open() && now_ms.saturating_sub(self.began_ms) > limits.assembly_ms_max {
            return Err(CloseCode::TooBig);
        }
        Ok(())
    }

    /// Whether a message or a frame has begun and not ended: somebody has to call [`Self::in_time`] now and then.
    pub fn is_open(&self) -> bool {
        self.fragments > 0 || !self.partial.is_empty()
    }

    /// Bytes held, for accounting.
    pub fn held(&self) -> usize {
        self.partial.capacity() + self.message.capacity()
    }

    /// Handles whole frames; returns how many bytes they took.
    fn frames(
        &mut self,
        bytes: &mut [u8],
        now_ms: u64,
        limits: &Limits,
        sink: &mut impl FnMut(Input<'_>) -> Flow,
    ) -> Result<usize, CloseCode> {
        let mut used = 0;
        while let Some(header) = parse_header(&bytes[used..])? {
            self.admit(&header, limits)?;
            let begin = used + header.length;
            let end = begin + header.payload;
            if end > bytes.len() {
                return Ok(used);
            }
            let (head, rest) = bytes[used..end].split_at_mut(header.length);
            if let Some(key) = head.last_chunk() {
                unmask(rest, *key);
            }
            used = end;
            if self.frame(&header, rest, sink)? == Flow::Stop {
                return Ok(bytes.len());
            }
            if self.fragments == 0 {
                self.began_ms = now_ms;
            }
        }
        Ok(used)
    }

    /// Judges a frame by its header.
    fn admit(&self, header: &Header, limits: &Limits) -> Result<(), CloseCode> {
        if header.opcode >= CLOSE {
            let good = header.fin && header.payload <= limits::CONTROL_BYTES_MAX;
            return if good { Ok(()) } else { Err(CloseCode::ProtocolError) };
        }
        let open = self.fragments > 0;
        if open != (header.opcode == CONTINUATION) {
            return Err(CloseCode::ProtocolError);
        }
        let total = self.message.len().saturating_add(header.payload);
        let frames = self.fragments as usize + 1;
        if total > limits.message_bytes_max || frames > limits.fragments_max {
            return Err(CloseCode::TooBig);
        }
        Ok(())
    }

    fn frame(
        &mut self,
        header: &Header,
        payload: &mut [u8],
        sink: &mut impl FnMut(Input<'_>) -> Flow,
    ) -> Result<Flow, CloseCode> {
        match header.opcode {
            PING => Ok(sink(Input::Ping(payload))),
            PONG => Ok(sink(Input::Pong)),
            CLOSE => Ok(sink(Input::Close(close_code(payload)?))),
            // The usual case: one frame, one message, no copy.
            TEXT if header.fin => {
                simdutf8::basic::from_utf8(payload).map_err(|_| CloseCode::InvalidUtf8)?;
                Ok(sink(Input::Text(payload)))
            }
            BINARY if header.fin => Ok(sink(Input::Binary(payload))),
            _ => self.fragment(header, payload, sink),
        }
    }

    fn fragment(
        &mut self,
        header: &Header,
        payload: &[u8],
        sink: &mut impl FnMut(Input<'_>) -> Flow,
    ) -> Result<Flow, CloseCode> {
        if self.fragments == 0 {
            self.opcode = header.opcode;
        }
        self.fragments += 1;
        self.message.extend_from_slice(payload);
        if self.opcode == TEXT {
            self.validate(header.fin)?;
        }
        if !header.fin {
            return Ok(Flow::Continue);
        }
        let mut message = std::mem::take(&mut self.message);
        (self.fragments, self.valid) = (0, 0);
        Ok(match self.opcode {
            TEXT => sink(Input::Text(&mut message)),
            _ => sink(Input::Binary(&mut message)),
        })
    }

    /// Fails at the first fragment that cannot become UTF-8 any more.
    fn validate(&mut self, last: bool) -> Result<(), CloseCode> {
        match simdutf8::compat::from_utf8(&self.message[self.valid..]) {
            Ok(_) => {
                self.valid = self.message.len();
                Ok(())
            }
            Err(error) if error.error_len().is_none() && !last => {
                self.valid += error.valid_up_to();
                Ok(())
            }
            Err(_) => Err(CloseCode::InvalidUtf8),
        }
    }
}

/// Reads a header as soon as its length is there, before the key: what is wrong gets its answer at once, and the same one
/// however the bytes were split. Errors: everything that RFC 6455 §5.2 forbids a client.
fn parse_header(bytes: &[u8]) -> Result<Option<Header>, CloseCode> {
    let [first, second, ..] = *bytes else { return Ok(None) };
    let opcode = first & 0x0f;
    let reserved = first & 0x70 != 0 || !matches!(opcode, CONTINUATION..=BINARY | CLOSE..=PONG);
    let masked = second & 0x80 != 0;
    if reserved || !masked {
        return Err(CloseCode::ProtocolError);
    }
    let (payload, before_key, shortest) = match second & 0x7f {
        126 => {
            let Some(Ok(word)) = bytes.get(2..4).map(<[u8; 2]>::try_from) else { return Ok(None) };
            (u64::from(u16::from_be_bytes(word)), 4, 126)
        }
        127 => {
            let Some(Ok(word)) = bytes.get(2..10).map(<[u8; 8]>::try_from) else { return Ok(None) };
            (u64::from_be_bytes(word), 10, 0x1_0000)
        }
        short => (u64::from(short), 2, 0),
    };
    if payload < shortest || payload >> 63 != 0 {
        return Err(CloseCode::ProtocolError);
    }
    let payload = usize::try_from(payload).map_err(|_| CloseCode::TooBig)?;
    Ok(Some(Header { fin: first & 0x80 != 0, opcode, length: before_key + 4, payload }))
}

/// The code of a close frame (RFC 6455 §7.4): none, or two bytes that may be sent, and UTF-8 behind them.
fn close_code(payload: &[u8]) -> Result<Option<u16>, CloseCode> {
    let [high, low, reason @ ..] = payload else {
        return if payload.is_empty() { Ok(None) } else { Err(CloseCode::ProtocolError) };
    };
    let code = u16::from_be_bytes([*high, *low]);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(CloseCode::ProtocolError);
    }
    simdutf8::basic::from_utf8(reason).map_err(|_| CloseCode::InvalidUtf8)?;
    Ok(Some(code))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq)]
    enum Seen {
        Text(String),
        Binary(usize),
        Ping(Vec<u8>),
        Pong,
        Close(Option<u16>),
    }

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let key = [1, 2, 3, 4];
        let mut out = vec![first];
        match payload.len() {
            n @ 0..=125 => out.push(0x80 | n as u8),
            n @ 126..=0xffff => {
                out.push(0x80 | 126);
                out.extend((n as u16).to_be_bytes());
            }
            n => {
                out.push(0x80 | 127);
                out.extend((n as u64).to_be_bytes());
            }
        }
        out.extend(key);
        out.extend(payload.iter().enumerate().map(|(i, b)| b ^ key[i % 4]));
        out
    }

    fn feed(
        decoder: &mut Decoder,
        bytes: &[u8],
        now: u64,
        seen: &mut Vec<Seen>,
    ) -> Result<(), CloseCode> {
        let mut bytes = bytes.to_vec();
        decoder.feed(&mut bytes, now, &Limits::PRODUCT, |input| {
            seen.push(match input {
                Input::Text(text) => {
                    Seen::Text(String::from_utf8(text.to_vec()).expect("promised"))
                }
                Input::Binary(bytes) => Seen::Binary(bytes.len()),
                Input::Ping(payload) => Seen::Ping(payload.to_vec()),
                Input::Pong => Seen::Pong,
                Input::Close(code) => Seen::Close(code),
            });
            Flow::Continue
        })
    }

    fn check(bytes: &[u8]) -> Result<Vec<Seen>, CloseCode> {
        let mut seen = Vec::new();
        feed(&mut Decoder::default(), bytes, 0, &mut seen).map(|()| seen)
    }

    #[test]
    fn r5_each_breach_has_its_code() {
        let unmasked = [0x81, 1, b'a'];
        let table: &[(&[u8], CloseCode)] = &[
            (&unmasked, CloseCode::ProtocolError),
            (&frame(0xc1, b"rsv"), CloseCode::ProtocolError),
            (&frame(0x83, b"reserved opcode"), CloseCode::ProtocolError),
            (&frame(0x80, b"continues nothing"), CloseCode::ProtocolError),
            (&frame(0x09, b"fragmented ping"), CloseCode::ProtocolError),
            (&frame(0x89, &[0; 126]), CloseCode::ProtocolError),
            (&frame(0x8a, &[0; 126]), CloseCode::ProtocolError),
            (&frame(0x88, &[0; 126]), CloseCode::ProtocolError),
            (&frame(0x88, &[3]), CloseCode::ProtocolError),
            (&frame(0x88, &1005u16.to_be_bytes()), CloseCode::ProtocolError),
            (&frame(0x81, b"\xff"), CloseCode::InvalidUtf8),
            (&frame(0x01, b"\xed\xa0"), CloseCode::InvalidUtf8),
            (&frame(0x88, b"\x03\xe8\xff"), CloseCode::InvalidUtf8),
            (&[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1], CloseCode::ProtocolError),
            // Lengths in a longer form than they need.
            (&[0x81, 0xfe, 0, 125], CloseCode::ProtocolError),
            (&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], CloseCode::ProtocolError),
            // 63 MiB, and one byte too many: judged by the header alone.
            (&[0x82, 0xff, 0, 0, 0, 0, 3, 0xf0, 0, 0, 0, 0, 0, 0], CloseCode::TooBig),
            (&[0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0], CloseCode::TooBig),
        ];
        for (bytes, code) in table {
            assert_eq!(check(bytes), Err(*code), "{bytes:x?}");
        }
        let open = [frame(0x01, b"a"), frame(0x81, b"b")].concat();
        assert_eq!(check(&open), Err(CloseCode::ProtocolError), "a new message inside an open one");
    }

    #[test]
    fn r5_fragments_are_bounded_in_bytes_frames_and_time() {
        let mut many = frame(0x01, b"");
        many.extend(frame(0x00, b"").repeat(16));
        assert_eq!(check(&many), Err(CloseCode::TooBig), "empty ones count");
        let big = [frame(0x01, &[b'a'; 40_000]), frame(0x00, &[b'a'; 40_000])].concat();
        assert_eq!(check(&big), Err(CloseCode::TooBig));
        let (mut decoder, mut seen) = (Decoder::default(), Vec::new());
        feed(&mut decoder, &frame(0x01, b"a"), 0, &mut seen).expect("good");
        assert_eq!(
            feed(&mut decoder, &frame(0x89, b""), 10_001, &mut seen),
            Err(CloseCode::TooBig)
        );
        let mut trickle = Decoder::default();
        feed(&mut trickle, &[0x81], 0, &mut seen).expect("good");
        assert_eq!(trickle.in_time(10_001, &Limits::PRODUCT), Err(CloseCode::TooBig));
    }

    /// A fast sender's reads nearly always end within a frame. It was closed as too slow after ten seconds of that.
    #[test]
    fn r5_time_counts_from_the_first_byte_of_the_message_that_is_open_now() {
        let (mut decoder, mut seen) = (Decoder::default(), Vec::new());
        let bytes = frame(0x81, b"hello!!").repeat(30);
        for (i, part) in bytes.chunks(10).enumerate() {
            feed(&mut decoder, part, i as u64 * 1_000, &mut seen).expect("each message is quick");
        }
        assert_eq!((seen.len(), decoder.held()), (30, 0));
        // The first frame took nine seconds: the whole message has ten, not nineteen.
        let (mut decoder, first) = (Decoder::default(), frame(0x01, b"a"));
        feed(&mut decoder, &first[..3], 0, &mut seen).expect("good");
        feed(&mut decoder, &first[3..], 9_000, &mut seen).expect("good");
        assert_eq!(decoder.in_time(10_001, &Limits::PRODUCT), Err(CloseCode::TooBig));
    }

    /// Cut before its key, a ping of a terabyte was «too big»; whole, it was a protocol error.
    #[test]
    fn r5_a_bad_header_gets_the_same_answer_wherever_the_bytes_are_cut() {
        let ping = [0x89, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4];
        for cut in 2..ping.len() {
            let (mut decoder, mut seen) = (Decoder::default(), Vec::new());
            let fed = feed(&mut decoder, &ping[..cut], 0, &mut seen)
                .and_then(|()| feed(&mut decoder, &ping[cut..], 0, &mut seen));
            assert_eq!(fed, Err(CloseCode::ProtocolError), "cut at {cut}");
        }
    }

    /// One byte of the next frame kept the room of the last one, 128 KiB, for as long as the client liked.
    #[test]
    fn what_is_left_of_a_read_holds_no_more_than_itself() {
        let (mut decoder, mut seen) = (Decoder::default(), Vec::new());
        let big = frame(0x81, &[b'a'; 60_000]);
        feed(&mut decoder, &big[..50_000], 0, &mut seen).expect("good");
        feed(&mut decoder, &[&big[50_000..], &[0x81]].concat(), 0, &mut seen).expect("good");
        assert!(decoder.held() < 64, "{}", decoder.held());
    }

    #[test]
    fn fragments_with_control_frames_between_become_one_message_and_leave_no_memory() {
        let bytes = [
            frame(0x01, "hö".as_bytes()),
            frame(0x89, b"p"),
            frame(0x00, b""),
            frame(0x80, b"i"),
            frame(0x8a, b""),
        ]
        .concat();
        let (mut decoder, mut seen) = (Decoder::default(), Vec::new());
        feed(&mut decoder, &bytes, 0, &mut seen).expect("good");
        assert_eq!(seen, [Seen::Ping(b"p".to_vec()), Seen::Text("höi".into()), Seen::Pong]);
        assert_eq!(decoder.held(), 0);
        assert!(size_of::<Decoder>() <= 80);
    }

    #[test]
    fn a_character_may_be_split_between_fragments() {
        let bytes = [frame(0x01, b"\xe2\x82"), frame(0x80, b"\xac")].concat();
        assert_eq!(check(&bytes), Ok(vec![Seen::Text("€".into())]));
        let cut = [frame(0x01, b"\xe2\x82"), frame(0x80, b"")].concat();
        assert_eq!(check(&cut), Err(CloseCode::InvalidUtf8));
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same_messages(
            texts in prop::collection::vec(".{0,200}", 1..6), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)
        ) {
            let mut bytes: Vec<u8> = Vec::new();
            for (i, text) in texts.iter().enumerate() {
                let half = text.len() / 2;
                match i % 3 {
                    0 => bytes.extend(frame(0x81, text.as_bytes())),
                    1 => bytes.extend([frame(0x01, &text.as_bytes()[..half]), frame(0x80, &text.as_bytes()[half..])].concat()),
                    _ => bytes.extend([frame(0x89, b"x"), frame(0x81, text.as_bytes())].concat()),
                }
            }
            let whole = check(&bytes);
            let mut places: Vec<usize> = cuts.iter().map(|c| c.index(bytes.len())).collect();
            places.extend([0, bytes.len()]);
            places.sort_unstable();
            let (mut decoder, mut seen) = (Decoder::default(), Vec::new());
            for pair in places.windows(2) {
                feed(&mut decoder, &bytes[pair[0]..pair[1]], 0, &mut seen).expect("good");
            }
            prop_assert_eq!(whole, Ok(seen));
        }

        #[test]
        fn garbage_never_panics_and_never_holds_more_than_a_message(bytes in prop::collection::vec(any::<u8>(), 0..4000)) {
            let (mut decoder, mut seen) = (Decoder::default(), Vec::new());
            for part in bytes.chunks(97) {
                if feed(&mut decoder, part, 0, &mut seen).is_err() {
                    break;
                }
                prop_assert!(decoder.held() <= 2 * (limits::MESSAGE_BYTES_MAX + 4096));
            }
        }
    }
}
