//! A sketch of a family's point accesses, from a sample that each thread takes while somebody looks at it regularly.
//!
//! Reads are sampled in bursts of neighbours, so that it can be seen what one read has to do with the last: whether it asks for
//! the same key again, or for a key that stands in a value just read.

mod recent;
mod report;
mod summary;
mod writes;

use std::hash::Hasher;

use rustc_hash::FxHasher;

pub use report::Sensed;
pub use summary::{Gathering, Summary};

use crate::replacement::hash;
use recent::Recent;

/// Accesses that a thread keeps until it is looked at; then it takes no more.
const MOST: usize = 4096;
/// Bytes of values, and of keys of rows, that a thread remembers.
const VALUES: usize = 1 << 10;
const ROW_KEYS: usize = 8 << 10;
/// Of one value no more than so many bytes, and of one fetch no more than so many rows.
const VALUE: usize = 256;
const ROWS: usize = 64;
/// Between two looks so many scans say whether scans follow from rows.
const ENOUGH_SCANS: u64 = 32;

/// Where in the order of all keys something happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Position {
    /// In `1 << 16` parts of the tree that are about equally large.
    pub part: u16,
    /// How many leaves the tree has, about.
    pub leaves: u32,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    key: u64,
    /// How many operations the thread had done in the family.
    at: u64,
    part: u16,
    /// Neighbours in time have the same.
    burst: u16,
}

/// What was seen of writes, each counted as often as it stands for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    pub all: u64,
    /// New, and behind all that the tree held, or all that begins as it does.
    pub appended: u64,
    /// Of keys that were there.
    pub overwrote: u64,
}

/// How often it was asked whether a key stands in what had been read just before, and how often it did: the key itself, and
/// its bytes in reverse, which do so by chance as often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dependent {
    pub asked: u64,
    pub found: u64,
    pub by_chance: u64,
}

/// One thread's.
#[derive(Default)]
pub struct Sketch {
    samples: Vec<Sample>,
    burst: u16,
    values: Recent,
    row_keys: Recent,
    row_values: Recent,
    last_read: Vec<u8>,
    last_start: Vec<u8>,
    writes: Writes,
    reads: Dependent,
    scans: Dependent,
    leaves: u32,
    value_bytes: u64,
    values_read: u64,
}

fn identity(key: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(key);
    hash(hasher.finish())
}

impl Sketch {
    pub fn is_full(&self) -> bool {
        self.samples.len() >= MOST
    }

    /// What is read next has nothing to do with what was read last.
    pub fn begin_burst(&mut self) {
        self.burst = self.burst.wrapping_add(1);
        self.values.clear();
    }

    fn accessed(&mut self, key: u64, at: u64, position: Position) {
        if !self.is_full() {
            self.samples.push(Sample { key, at, part: position.part, burst: self.burst });
            self.leaves = self.leaves.max(position.leaves);
        }
    }

    /// A key was looked up after `at` operations, and had this value or none.
    pub fn read(&mut self, key: &[u8], value: Option<&[u8]>, at: u64, position: Position) {
        let identity = identity(key);
        let mut neighbours = self.samples.iter().rev().take_while(|sample| sample.burst == self.burst);
        let is_new = neighbours.all(|sample| sample.key != identity);
        // A key that is read again often stands in its own value.
        if is_new && !self.values.is_empty() {
            self.reads.count(self.values.mentions(key, &self.last_read));
        }
        self.last_read.clear();
        self.last_read.extend_from_slice(key);
        self.accessed(identity, at, position);
        if let Some(value) = value {
            self.value_bytes += value.len() as u64;
            self.values_read += 1;
            self.values.push(&value[..value.len().min(VALUE)], VALUES);
        }
    }

    /// A single write.
    pub fn wrote(&mut self, key: &[u8], at: u64, position: Position, seen: Writes) {
        self.count_writes(seen);
        self.burst = self.burst.wrapping_add(1);
        self.accessed(identity(key), at, position);
    }

    pub fn count_writes(&mut self, seen: Writes) {
        self.writes.add(seen);
    }

    /// A scan from here on, one of those that are looked at. Whether the rows before the next one are wanted, too.
    pub fn scan_begins(&mut self, start: &[u8]) -> bool {
        if !self.row_keys.is_empty() || !self.row_values.is_empty() {
            let in_values = self.row_values.mentions(start, &self.last_start);
            let in_keys = self.row_keys.mentions_elsewhere(start, &self.last_start);
            self.scans.count([in_values[0] || in_keys[0], in_values[1] || in_keys[1]]);
        }
        self.last_start.clear();
        self.last_start.extend_from_slice(start);
        self.scans.asked < ENOUGH_SCANS
    }

    pub fn forget_rows(&mut self) {
        self.row_keys.clear();
        self.row_values.clear();
    }

    /// Rows of any scan.
    pub fn scanned<'a>(&mut self, keys: impl Iterator<Item = &'a [u8]>, values: &[u8]) {
        self.row_keys.push_all(keys.take(ROWS).filter(|key| key.len() <= VALUE), ROW_KEYS);
        self.row_values.push(&values[..values.len().min(VALUE)], VALUES);
    }
}

impl Writes {
    fn add(&mut self, more: Writes) {
        self.all += more.all;
        self.appended += more.appended;
        self.overwrote += more.overwrote;
    }
}

impl Dependent {
    fn count(&mut self, [found, by_chance]: [bool; 2]) {
        self.asked += 1;
        self.found += u64::from(found);
        self.by_chance += u64::from(by_chance);
    }

    fn add(&mut self, more: Dependent) {
        self.asked += more.asked;
        self.found += more.found;
        self.by_chance += more.by_chance;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sketch: &mut Sketch, key: &[u8], value: &[u8]) {
        sketch.read(key, Some(value), 0, Position::default());
    }

    #[test]
    fn a_key_out_of_a_value_just_read_is_found() {
        let mut sketch = Sketch::default();
        sketch.begin_burst();
        read(&mut sketch, b"node:0001", b"[\"node:0042\", \"node:0043\"]");
        read(&mut sketch, b"node:0042", b"[]");
        read(&mut sketch, b"node:0043", b"[]");
        read(&mut sketch, b"node:0099", b"[]");
        assert_eq!(sketch.reads, Dependent { asked: 3, found: 2, by_chance: 0 });
        sketch.begin_burst();
        read(&mut sketch, b"node:0043", b"[]");
        assert_eq!(sketch.reads.asked, 3, "the last burst is long ago");
    }

    #[test]
    fn a_key_read_again_depends_on_nothing() {
        let mut sketch = Sketch::default();
        sketch.begin_burst();
        for _ in 0..5 {
            read(&mut sketch, b"user:0001", b"user:0001's own");
        }
        assert_eq!(sketch.reads, Dependent::default());
    }

    #[test]
    fn a_scan_that_begins_with_what_rows_name_is_found_and_one_of_the_same_keys_is_not() {
        let mut sketch = Sketch::default();
        sketch.scan_begins(b"day EWR ");
        sketch.scanned([&b"day EWR JFK UA"[..], b"day EWR BOS UA"].into_iter(), b"");
        sketch.scan_begins(b"day JFK ");
        sketch.scan_begins(b"day SFO ");
        assert_eq!(sketch.scans, Dependent { asked: 2, found: 1, by_chance: 0 });
        let mut sketch = Sketch::default();
        sketch.scanned([&b"cpu 000117"[..], b"cpu 000118", b"cpu 000119"].into_iter(), b"");
        sketch.scan_begins(b"cpu 000118");
        assert_eq!(sketch.scans, Dependent { asked: 1, found: 0, by_chance: 0 });
    }

    #[test]
    fn a_full_sketch_takes_no_more() {
        let mut sketch = Sketch::default();
        (0..MOST + 10).for_each(|_| sketch.read(b"a", None, 0, Position::default()));
        assert!(sketch.is_full());
        assert_eq!(sketch.samples.len(), MOST);
    }
}
