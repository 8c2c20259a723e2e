//! Bytes that were read last, and whether a key stands in them.

use std::ops::Range;

use smallvec::SmallVec;

/// Of a key, no more than its last bytes are looked for: what stands before them may be written elsewhere.
const NEEDLE: usize = 8;
/// Shorter words are none.
const WORD: usize = 3;
/// Of a key.
const MOST_WORDS: usize = 4;
/// Stands before each of several pushed together.
const EDGE: u8 = 0xff;
/// Searched at a time without looking whether something has been found.
const BLOCK: usize = 128;

#[derive(Default)]
pub struct Recent {
    bytes: Vec<u8>,
    /// The oldest byte, once there is no more room.
    start: usize,
}

impl Recent {
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.start = 0;
    }

    /// No more than `room` bytes are kept; `more` are fewer.
    pub fn push(&mut self, more: &[u8], room: usize) {
        if self.bytes.len() + more.len() <= room && self.start == 0 {
            return self.bytes.extend_from_slice(more);
        }
        // What does not fit before the end begins at the front, so that it stays in one piece.
        if self.start + more.len() > self.bytes.len() {
            self.start = 0;
        }
        let end = (self.start + more.len()).min(self.bytes.len());
        let (fitting, rest) = more.split_at(end - self.start);
        self.bytes[self.start..end].copy_from_slice(fitting);
        self.bytes.extend_from_slice(rest);
        self.start = end;
    }

    /// Several, as `push`.
    pub fn push_all<'a>(&mut self, pieces: impl Iterator<Item = &'a [u8]>, room: usize) {
        for piece in pieces {
            let mut edged: SmallVec<[u8; 64]> = SmallVec::from_slice(&[EDGE]);
            edged.extend_from_slice(piece);
            self.push(&edged, room);
        }
    }

    /// Whether what is new in a key, after the one `before` it, stands here in one of the ways in which programs write a key into
    /// a value; and its reverse, by chance.
    pub fn mentions(&self, key: &[u8], before: &[u8]) -> [bool; 2] {
        let words = new_words(key, before);
        if words.iter().all(|word| word.iter().eq(word.iter().rev())) {
            return [false; 2];
        }
        let number = |key: &[u8]| number_of(key).is_some_and(|number| self.mentions_number(number));
        let is_here = |word: &[u8]| is_in(&self.bytes, word, |_| true);
        let reversed = || number_reversed(key).is_some_and(|key| number(&key));
        [
            words.iter().all(|word| is_here(word)) || number(key),
            words.iter().all(|word| in_reverse(word, is_here)) || reversed(),
        ]
    }

    /// As little-endian binary, or in decimal digits.
    fn mentions_number(&self, number: u32) -> bool {
        let digits = number.to_string();
        let is_whole = |at: usize| {
            let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
            !is_digit(at.checked_sub(1).and_then(|before| self.bytes.get(before)))
                && !is_digit(self.bytes.get(at + digits.len()))
        };
        is_in(&self.bytes, &number.to_le_bytes(), |_| true) || is_in(&self.bytes, digits.as_bytes(), is_whole)
    }

    /// As `mentions`, but not in keys that begin as this one does.
    pub fn mentions_elsewhere(&self, key: &[u8], before: &[u8]) -> [bool; 2] {
        let start = [&[EDGE], &key[..last_word(key).start]].concat();
        let is_elsewhere = |at: usize| !self.bytes[..at].ends_with(&start);
        let words = new_words(key, before);
        if words.iter().all(|word| word.iter().eq(word.iter().rev())) {
            return [false; 2];
        }
        let is_here = |word: &[u8]| is_in(&self.bytes, word, is_elsewhere);
        [words.iter().all(|word| is_here(word)), words.iter().all(|word| in_reverse(word, is_here))]
    }
}

/// The last words of a key that do not stand in the one before it, the last one first, at least that.
fn new_words<'k>(key: &'k [u8], before: &[u8]) -> SmallVec<[&'k [u8]; MOST_WORDS]> {
    let words = key.rsplit(|byte| !byte.is_ascii_alphanumeric()).filter(|word| word.len() >= WORD);
    let words = words.map(|word| &word[word.len().saturating_sub(NEEDLE)..]);
    let mut new: SmallVec<_> = words.filter(|word| !is_in(before, word, |_| true)).take(MOST_WORDS).collect();
    if new.is_empty() {
        new.push(&key[last_word(key)]);
    }
    new
}

fn in_reverse(word: &[u8], is_here: impl Fn(&[u8]) -> bool) -> bool {
    let mut reversed = [0; NEEDLE];
    let reversed = &mut reversed[..word.len()];
    reversed.copy_from_slice(word);
    reversed.reverse();
    is_here(reversed)
}

/// Where the last letters and digits of a key are, without what stands behind them; of a key without, its last bytes.
fn last_word(key: &[u8]) -> Range<usize> {
    let end = key.iter().rposition(u8::is_ascii_alphanumeric).map_or(0, |last| last + 1);
    let length = key[..end].iter().rev().take(NEEDLE).take_while(|byte| byte.is_ascii_alphanumeric()).count();
    if length >= WORD { end - length..end } else { key.len().saturating_sub(NEEDLE)..key.len() }
}

/// A number's key with its digits in reverse.
fn number_reversed(key: &[u8]) -> Option<Vec<u8>> {
    number_of(key)?;
    let mut reversed = key.to_vec();
    // The first byte says how long it is.
    reversed[1..].reverse();
    Some(reversed)
}

/// The number that a key is, if it is one as programs in Python have them: its length, and its bytes from the highest on.
fn number_of(key: &[u8]) -> Option<u32> {
    let (length, bytes) = key.split_first()?;
    if !(2..=4).contains(&bytes.len()) || usize::from(*length) != 0x40 + bytes.len() {
        return None;
    }
    Some(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}

/// Whether `needle`, of two bytes at least, stands in `bytes` at a place that counts.
fn is_in(bytes: &[u8], needle: &[u8], counts: impl Fn(usize) -> bool) -> bool {
    let (Some(first), Some(last)) = (needle.first(), needle.last()) else { return false };
    let Some(places) = bytes.len().checked_sub(needle.len() - 1).filter(|_| needle.len() > 1) else { return false };
    let (firsts, lasts) = (&bytes[..places], &bytes[needle.len() - 1..]);
    firsts.chunks(BLOCK).zip(lasts.chunks(BLOCK)).enumerate().any(|(block, (firsts, lasts))| {
        // Without a branch, for vector instructions.
        let pairs = firsts.iter().zip(lasts);
        let some = pairs.fold(0, |some, (one, other)| some | (u8::from(one == first) & u8::from(other == last)));
        let mut places = block * BLOCK..block * BLOCK + firsts.len();
        some != 0 && places.any(|at| bytes[at..].starts_with(needle) && counts(at))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn recent(bytes: &[u8]) -> Recent {
        Recent { bytes: bytes.to_vec(), start: 0 }
    }

    #[test]
    fn numbers_are_found_as_programs_write_them() {
        let key = [0x42, 0x12, 0x34];
        assert_eq!(number_of(&key), Some(0x1234));
        let text = format!("[7, {}, 9]", 0x1234);
        for found in [text.as_bytes(), &[9, 0, 0, 0, 0x34, 0x12, 0, 0, 7], &[1, 0x42, 0x12, 0x34]] {
            assert_eq!(recent(found).mentions(&key, b""), [true, false], "{found:?}");
        }
        let longer = format!("[1{}, {0}5]", 0x1234);
        assert_eq!(recent(longer.as_bytes()).mentions(&key, b""), [false, false]);
        assert_eq!(recent(&[0x34, 0x12]).mentions(b"12", b""), [false, false]);
    }

    #[test]
    fn all_that_is_new_in_a_key_is_to_be_there() {
        let values = recent(b"UA EWR, AA JFK");
        assert!(values.mentions(b"2013-07-04 JFK", b"2013-07-04 EWR")[0]);
        assert!(!values.mentions(b"2013-07-04 JFK", b"")[0]);
        assert!(!values.mentions(b"07-04 UA1545 JFK", b"07-04 UA0017 EWR")[0]);
        assert!(!values.mentions(b"111", b"")[0], "its reverse would be as well");
    }

    #[test]
    fn last_words() {
        for (key, word) in [
            (&b"node:00001234"[..], &b"00001234"[..]),
            (b"2013-07-04 JFK ", b"JFK"),
            (b"a:1", b"a:1"),
            (b"user000000001234", b"00001234"),
            (b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09", b"\x02\x03\x04\x05\x06\x07\x08\x09"),
            (b"", b""),
        ] {
            assert_eq!(&key[last_word(key)], word, "{key:?}");
        }
    }

    #[test]
    fn of_too_many_bytes_the_newest_stay() {
        let mut recent = Recent::default();
        (0..100_u8).for_each(|number| recent.push(&[number, 255 - number, number], 10));
        assert!(recent.bytes.len() <= 10);
        for number in 98..100 {
            assert!(is_in(&recent.bytes, &[number, 255 - number, number], |_| true), "{number} in {recent:?}");
        }
    }

    impl std::fmt::Debug for Recent {
        fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            self.bytes.fmt(formatter)
        }
    }

    proptest! {
        #[test]
        fn what_is_in_is_found(
            bytes in prop::collection::vec(0..4_u8, 0..600),
            needle in prop::collection::vec(0..4_u8, 2..6),
        ) {
            let expected = bytes.windows(needle.len()).any(|window| window == needle);
            prop_assert_eq!(is_in(&bytes, &needle, |_| true), expected);
        }

        #[test]
        fn any_bytes_are_taken(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..40), key: Vec<u8>) {
            let mut recent = Recent::default();
            for piece in &pieces {
                recent.push(piece, 16);
                prop_assert!(recent.bytes.len() <= 16 + 9);
                prop_assert!(piece.len() < 2 || is_in(&recent.bytes, piece, |_| true));
                recent.mentions(&key, piece);
                recent.mentions_elsewhere(&key, piece);
            }
        }
    }
}
