//! What is found by which words: how texts and queries become terms.
//!
//! Owns: folding of case and accents, words, bigrams of scripts without spaces. Never does: IO. Talks to: nobody.
//! Start reading at: [`index_terms`] and [`Query::parse`].
//!
//! Words are runs of letters and digits; a query finds them by prefix. Runs of Chinese, Japanese, Korean, Thai and other
//! scripts that do not put a space between words are indexed as pairs of neighbours, since a trigram index finds no word of two
//! characters. The terms only narrow down: [`Query::matches`] decides on the text itself.

/// Bytes of a word that are looked at.
const WORD_BYTES_MAX: usize = 64;
/// Terms of one query; the rest is not looked at.
const QUERY_TERMS_MAX: usize = 12;

/// Letters of U+00C0 ..= U+017F without case and accents.
const LATIN: &str = "aaaaaaæceeeeiiiiðnooooo×ouuuuyþßaaaaaaæceeeeiiiiðnooooo÷ouuuuyþy\
     aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiiiĳĳjjkkklllllll\
     lllnnnnnnnŋŋooooooœœrrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs";
/// Letters of U+1E00 ..= U+1EFF (Vietnamese and others) without case and accents.
const LATIN_ADDITIONAL: &str = "aabbbbbbccddddddddddeeeeeeeeeeffgghhhhhhhhhhiiiikkkkkkllllllllmm\
     mmmmnnnnnnnnoooooooopppprrrrrrrrssssssssssttttttttuuuuuuuuuuvvvv\
     wwwwwwwwwwxxxxyyzzzzzzhtwyẚſẜẝßẟaaaaaaaaaaaaaaaaaaaaaaaaeeeeeeee\
     eeeeeeeeiiiioooooooooooooooooooooooouuuuuuuuuuuuuuyyyyyyyyỻỻỽỽỿỿ";

/// What a character is to the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Part of a word.
    Word,
    /// Part of a run without spaces.
    Run,
    /// Between them.
    Gap,
    /// An accent of its own: not there.
    Mark,
}

fn class(c: char) -> Class {
    match c {
        'a'..='z' | '0'..='9' => Class::Word,
        '\0'..='\u{7f}' => Class::Gap,
        '\u{300}'..='\u{36f}' => Class::Mark,
        // Thai, Lao, Myanmar, Khmer.
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' => Class::Run,
        // Hangul letters, kana, CJK ideographs and their extensions, Hangul syllables, compatibility forms.
        '\u{1100}'..='\u{11ff}'
        | '\u{3005}'..='\u{3007}'
        | '\u{3041}'..='\u{30fa}'
        | '\u{30fc}'..='\u{318f}'
        | '\u{31f0}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7ff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{ff66}'..='\u{ff9f}'
        | '\u{20000}'..='\u{3ffff}' => Class::Run,
        c if c.is_alphanumeric() => Class::Word,
        _ => Class::Gap,
    }
}

/// Calls `each` with the folded forms of a character: lower case, without accents, half width.
fn fold(c: char, mut each: impl FnMut(char)) {
    let table = |table: &str, first: u32| table.chars().nth((c as u32 - first) as usize);
    match c {
        '\0'..='\u{7f}' => each(c.to_ascii_lowercase()),
        '\u{c0}'..='\u{17f}' => each(table(LATIN, 0xc0).unwrap_or(c)),
        '\u{1e00}'..='\u{1eff}' => each(table(LATIN_ADDITIONAL, 0x1e00).unwrap_or(c)),
        '\u{ff01}'..='\u{ff5e}' => {
            let narrow = char::from_u32(c as u32 - 0xfee0).unwrap_or(c);
            each(narrow.to_ascii_lowercase());
        }
        _ => c.to_lowercase().for_each(each),
    }
}

/// A piece of folded text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Word(String),
    Run(String),
}

/// Splits a text into words and runs, in order.
fn pieces(text: &str, mut each: impl FnMut(Class, &str)) {
    let (mut open, mut piece) = (Class::Gap, String::new());
    for c in text.chars() {
        fold(c, |c| {
            let class = class(c);
            if class == Class::Mark {
                return;
            }
            if class != open {
                if open != Class::Gap {
                    each(open, &piece);
                }
                piece.clear();
                open = class;
            }
            if class == Class::Run || (class == Class::Word && piece.len() < WORD_BYTES_MAX) {
                piece.push(c);
            }
        });
    }
    if open != Class::Gap {
        each(open, &piece);
    }
}

/// The terms of a text, separated by spaces: its words; of a run every pair of neighbours, and the last character alone (so
/// that each character of it begins a term).
pub(crate) fn index_terms(text: &str) -> String {
    let mut terms = String::with_capacity(text.len() + 8);
    pieces(text, |class, piece| {
        if class == Class::Word {
            push(&mut terms, piece);
        } else {
            pairs(piece, |pair| push(&mut terms, pair));
            if let Some((last, _)) = piece.char_indices().next_back() {
                push(&mut terms, &piece[last..]);
            }
        }
    });
    terms
}

fn push(terms: &mut String, term: &str) {
    if !terms.is_empty() {
        terms.push(' ');
    }
    terms.push_str(term);
}

/// Every pair of neighbours.
fn pairs<'a>(run: &'a str, mut each: impl FnMut(&'a str)) {
    let starts: Vec<usize> = run.char_indices().map(|(at, _)| at).collect();
    for (i, start) in starts.iter().enumerate() {
        if i + 1 < starts.len() {
            let end = starts.get(i + 2).copied().unwrap_or(run.len());
            each(&run[*start..end]);
        }
    }
}

/// The words of a name, folded.
pub(crate) fn name_words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    pieces(name, |_, piece| words.push(piece.to_owned()));
    words
}

/// What somebody looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query(Vec<Piece>);

impl Query {
    /// Reads what a person typed; `None` if there is nothing to look for in it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut found = Vec::new();
        pieces(text, |class, piece| {
            let piece = piece.to_owned();
            let piece = if class == Class::Word { Piece::Word(piece) } else { Piece::Run(piece) };
            if found.len() < QUERY_TERMS_MAX && !found.contains(&piece) {
                found.push(piece);
            }
        });
        (!found.is_empty()).then_some(Self(found))
    }

    /// As an expression of FTS5: every message that matches is among what it finds. A word of one letter is looked for as it
    /// is, for as a prefix it would be half of the index.
    pub(crate) fn expression(&self) -> String {
        let mut terms: Vec<String> = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Word(word) if word.len() == 1 => terms.push(format!("\"{word}\"")),
                Piece::Word(word) => terms.push(format!("\"{word}\"*")),
                Piece::Run(run) if run.chars().nth(1).is_none() => {
                    terms.push(format!("\"{run}\"*"));
                }
                Piece::Run(run) => pairs(run, |pair| terms.push(format!("\"{pair}\""))),
            }
        }
        terms.join(" AND ")
    }

    /// Whether a text really has it all: words by prefix, runs as they stand.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let mut missing: Vec<&Piece> = self.0.iter().collect();
        pieces(text, |class, piece| {
            missing.retain(|wanted| match wanted {
                Piece::Word(word) if word.len() == 1 => class != Class::Word || piece != word,
                Piece::Word(word) => class != Class::Word || !piece.starts_with(word.as_str()),
                Piece::Run(run) => class != Class::Run || !piece.contains(run.as_str()),
            });
        });
        missing.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, text: &str, expected: bool) {
        let found = Query::parse(query).is_some_and(|query| query.matches(text));
        assert_eq!(found, expected, "{query} in {text}");
    }

    #[test]
    fn words_are_found_by_prefix_without_case_and_accents() {
        check("hel", "Hello there", true);
        check("ello", "Hello there", false);
        check("THERE hello", "Hello, there!", true);
        check("there bye", "Hello, there!", false);
        check("cafe", "Café", true);
        check("café", "CAFE\u{301}", true);
        check("nguyen", "Nguyễn", true);
        check("straße", "STRAßE", true);
        check("привет", "Привет, мир", true);
        check("ａｂｃ", "abc", true);
        check("a", "an apple", false);
        check("a", "a pear", true);
    }

    #[test]
    fn runs_are_found_as_they_stand() {
        check("北京", "我爱北京天安门", true);
        check("京天", "我爱北京天安门", true);
        check("北天", "我爱北京天安门", false);
        check("门", "我爱北京天安门", true);
        check("東京", "来週、東京で", true);
        check("カメ", "新しいカメラ", true);
        check("안녕", "안녕하세요", true);
        check("하세", "안녕하세요", true);
        check("สวัส", "สวัสดีครับ", true);
        check("release 北京", "北京 release-2", true);
    }

    #[test]
    fn terms_and_expression_agree() {
        assert_eq!(index_terms("Hi 北京市!"), "hi 北京 京市 市");
        assert_eq!(index_terms("水"), "水");
        assert_eq!(
            Query::parse("北京市 a bc").unwrap().expression(),
            r#""北京" AND "京市" AND "a" AND "bc"*"#
        );
        assert_eq!(Query::parse("市").unwrap().expression(), r#""市"*"#);
        assert_eq!(Query::parse("  ?! \"").map(|query| query.expression()), None);
        assert_eq!((LATIN.chars().count(), LATIN_ADDITIONAL.chars().count()), (192, 256));
        assert_eq!(index_terms(&"x".repeat(500)).len(), WORD_BYTES_MAX);
    }
}
