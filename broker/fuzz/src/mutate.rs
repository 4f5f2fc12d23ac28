//! Changes to bytes: what a buggy client, a proxy or an attacker makes of a good input.
//!
//! Owns: byte mutations and random choices. Never does: know what the bytes mean. Talks to: nobody.
//! Start reading at: [`mutate`].

use rand::RngExt;

use crate::Random;

/// Bytes of an input, at most: two messages and a bit, so that the limits are passed now and then.
pub(crate) const INPUT_BYTES_MAX: usize = 3 * 64 * 1024;

/// Bytes at which something changes: lengths, signs, UTF-8 classes, JSON's punctuation.
const INTERESTING: &[u8] = &[
    0x00, 0x01, 0x08, 0x0a, 0x1f, b' ', b'"', b'-', b'0', b'9', b'\\', b'{', b'}', b'[', b']',
    b',', b':', 0x7d, 0x7e, 0x7f, 0x80, 0x81, 0x88, 0x89, 0x8a, 0xbf, 0xc0, 0xc2, 0xe2, 0xed, 0xf0,
    0xf4, 0xfe, 0xff,
];

/// One of a list.
pub(crate) fn pick<'a, T: ?Sized>(random: &mut Random, list: &[&'a T]) -> &'a T {
    list[random.random_range(0..list.len())]
}

/// True once in `n`.
pub(crate) fn one_in(random: &mut Random, n: u32) -> bool {
    random.random_range(0..n) == 0
}

/// A size that likes small numbers: each power of two up to `max` is about as probable as the next.
pub(crate) fn size(random: &mut Random, max: usize) -> usize {
    let bits = random.random_range(0..=usize::BITS - max.leading_zeros());
    random.random_range(0..=(1usize << bits).min(max))
}

fn place(random: &mut Random, length: usize) -> usize {
    random.random_range(0..=length)
}

/// Changes the bytes in 1 … 4 places. `words`: texts worth putting in.
pub(crate) fn mutate(random: &mut Random, bytes: &mut Vec<u8>, words: &[&[u8]]) {
    for _ in 0..random.random_range(1..=4) {
        let at = place(random, bytes.len());
        let end = (at + size(random, 64)).min(bytes.len());
        match random.random_range(0..8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            1 if at < bytes.len() => {
                bytes[at] = INTERESTING[random.random_range(0..INTERESTING.len())]
            }
            2 => drop(bytes.drain(at..end)),
            3 => bytes.truncate(at),
            4 => {
                let copy = bytes[at..end].to_vec();
                let to = place(random, bytes.len());
                bytes.splice(to..to, copy);
            }
            5 => {
                let new = (0..size(random, 16)).map(|_| random.random()).collect::<Vec<u8>>();
                bytes.splice(at..at, new);
            }
            6 if !words.is_empty() => {
                let word = pick(random, words).iter().copied();
                bytes.splice(at..at, word);
            }
            7 if !words.is_empty() => {
                let word = pick(random, words).iter().copied();
                bytes.splice(at..end, word);
            }
            _ => {}
        }
    }
    bytes.truncate(INPUT_BYTES_MAX);
}

/// Text of about so many bytes, of characters of every width in UTF-8.
pub(crate) fn text(random: &mut Random, bytes: usize) -> String {
    const CHARACTERS: &[char] = &[
        'a',
        'Z',
        ' ',
        '\n',
        '\t',
        '"',
        '\\',
        '/',
        'ö',
        'ß',
        '\u{7ff}',
        '€',
        '你',
        '\u{d7ff}',
        '\u{e000}',
        '\u{feff}',
        '👍',
        '\u{10ffff}',
    ];
    let plain = one_in(random, 2);
    let mut text = String::with_capacity(bytes + 4);
    while text.len() < bytes {
        let index = if plain { 0 } else { random.random_range(0..CHARACTERS.len()) };
        text.push(CHARACTERS[index]);
    }
    text
}
