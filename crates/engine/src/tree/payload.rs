//! Looking for one record in a leaf page's payload, without building an image of it. `docs/format.md` has the layout.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

use super::fingerprint;
use super::load::{RECORD_BLOB, RECORD_EXPIRES, SOME_BLOBS, SOME_EXPIRE};
use super::record::{BLOB, Record};
use crate::bytes::Reader;

/// A thread keeps one of up to so many bytes for its next page.
const KEPT_BYTES: usize = 256 << 10;

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A page's payload, in memory that the thread uses again. Not borrowed from the thread: while it is looked at, programs'
/// code may run that reads another.
pub struct Payload(Vec<u8>);

impl Payload {
    pub fn empty() -> Payload {
        Payload(SPARE.try_with(Cell::take).unwrap_or_default())
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.0);
        if bytes.capacity() <= KEPT_BYTES {
            // At the end of a thread it is simply freed.
            let _ = SPARE.try_with(|spare| spare.set(bytes));
        }
    }
}

impl Deref for Payload {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Payload {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

/// What a look for a key came to.
#[derive(Debug)]
pub enum Searched<'a> {
    /// Its key is without the leaf's prefix; with the `BLOB` flag the value is the place of the long value as stored.
    Found(Record<'a>),
    Absent,
}

/// The parts of a payload.
struct Parts<'a> {
    prefix: &'a [u8],
    count: usize,
    key_lengths: Reader<'a>,
    value_lengths: Reader<'a>,
    /// Empty where no record has any.
    flags: &'a [u8],
    expiries: &'a [u8],
    keys: &'a [u8],
    values: &'a [u8],
}

fn sum(lengths: &mut Reader<'_>, count: usize) -> Option<usize> {
    (0..count).try_fold(0usize, |sum, _| sum.checked_add(lengths.size()?))
}

impl<'a> Parts<'a> {
    fn of(payload: &'a [u8]) -> Option<Parts<'a>> {
        let mut reader = Reader::new(payload);
        let flags = reader.byte()?;
        let count = reader.size().filter(|&count| count <= reader.remaining())?;
        let prefix = reader.bytes()?;
        let key_lengths = reader.clone();
        let key_bytes = sum(&mut reader, count)?;
        let value_lengths = reader.clone();
        let value_bytes = sum(&mut reader, count)?;
        let guarded = flags & (SOME_EXPIRE | SOME_BLOBS) != 0;
        let flags = if guarded { reader.take(count)? } else { &[] };
        let expiring = flags.iter().filter(|flags| *flags & RECORD_EXPIRES != 0).count();
        let expiries = reader.take(expiring * 8)?;
        let keys = reader.take(key_bytes)?;
        let values = reader.take(value_bytes)?;
        reader.is_empty().then_some(Parts { prefix, count, key_lengths, value_lengths, flags, expiries, keys, values })
    }

    fn record(&self, index: usize, key: &'a [u8]) -> Option<Record<'a>> {
        let mut lengths = self.value_lengths.clone();
        let start = sum(&mut lengths, index)?;
        let value = self.values.get(start..start.checked_add(lengths.size()?)?)?;
        let flags = self.flags.get(index).copied().unwrap_or(0);
        let expiry = if flags & RECORD_EXPIRES == 0 {
            0
        } else {
            let before = self.flags[..index].iter().filter(|flags| *flags & RECORD_EXPIRES != 0).count();
            u64::from_le_bytes(*self.expiries.as_chunks::<8>().0.get(before)?)
        };
        let flags = if flags & RECORD_BLOB != 0 { BLOB } else { 0 };
        Some(Record { key, value, version: 0, expiry, flags })
    }

    fn keys(&self) -> impl Iterator<Item = Option<&'a [u8]>> {
        let (mut lengths, mut end, keys) = (self.key_lengths.clone(), 0usize, self.keys);
        (0..self.count).map(move |_| {
            let start = end;
            end = end.checked_add(lengths.size()?)?;
            keys.get(start..end)
        })
    }
}

/// `None`: the payload is no leaf.
pub fn search<'a>(payload: &'a [u8], key: &[u8]) -> Option<Searched<'a>> {
    let parts = Parts::of(payload)?;
    let Some(rest) = key.strip_prefix(parts.prefix) else { return Some(Searched::Absent) };
    for (index, found) in parts.keys().enumerate() {
        let found = found?;
        if found >= rest {
            return if found == rest {
                parts.record(index, found).map(Searched::Found)
            } else {
                Some(Searched::Absent)
            };
        }
    }
    Some(Searched::Absent)
}

/// The fingerprints of all keys. `None`: the payload is no leaf.
pub fn fingerprints(payload: &[u8]) -> Option<Vec<u16>> {
    let parts = Parts::of(payload)?;
    let mut whole = parts.prefix.to_vec();
    parts
        .keys()
        .map(|key| {
            whole.truncate(parts.prefix.len());
            whole.extend_from_slice(key?);
            Some(fingerprint::of(&whole))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::load::{encode_leaf, parse_leaf};
    use super::*;
    use proptest::prelude::*;

    type Content = std::collections::BTreeMap<Vec<u8>, (Vec<u8>, u64, bool)>;

    fn content() -> impl Strategy<Value = Content> {
        let key = prop::collection::vec(0u8..4, 0..6);
        let value =
            (prop::collection::vec(any::<u8>(), 0..200), prop_oneof![Just(0), 1u64..9], prop::bool::weighted(0.2));
        prop::collection::btree_map(key, value, 0..40)
    }

    proptest! {
        #[test]
        fn any_bytes_are_searched_without_panic(bytes: Vec<u8>, key: Vec<u8>) {
            let sound = parse_leaf(&bytes).is_some();
            let searched = search(&bytes, &key);
            prop_assert!(!sound || searched.is_some());
            let _ = fingerprints(&bytes);
        }

        #[test]
        fn what_is_there_is_found_and_nothing_else(content in content(), prefix in prop::collection::vec(any::<u8>(), 0..3), asked in prop::collection::vec(prop::collection::vec(0u8..4, 0..6), 0..20)) {
            let records: Vec<Record<'_>> = content
                .iter()
                .map(|(key, (value, expiry, blob))| Record { key, value, version: 0, expiry: *expiry, flags: if *blob { BLOB } else { 0 } })
                .collect();
            let mut payload = Vec::new();
            encode_leaf(&prefix, &records, |_| (64, 7), &mut payload);
            let prints = fingerprints(&payload).expect("a leaf");
            for key in content.keys().chain(&asked) {
                let whole = [prefix.as_slice(), key].concat();
                match (search(&payload, &whole).expect("a leaf"), content.get(key)) {
                    (Searched::Found(record), Some((value, expiry, blob))) => {
                        prop_assert_eq!((record.key, record.expiry, record.flags != 0), (key.as_slice(), *expiry, *blob));
                        prop_assert!(*blob || record.value == value.as_slice());
                        prop_assert!(prints.contains(&fingerprint::of(&whole)));
                    }
                    (Searched::Absent, None) => {}
                    (found, expected) => prop_assert!(false, "{found:?} for {expected:?}"),
                }
            }
            prop_assert_eq!(prints.len(), content.len());
            let mut beside = prefix.clone();
            beside.push(200);
            prop_assert!(matches!(search(&payload, &beside), Some(Searched::Absent)));
        }
    }
}
