//! A commit's content: as the log holds it, and as the trees take it. `docs/format.md` has the layout.

use std::sync::Arc;
use std::time::Duration;

use crate::bytes::{Reader, Sink, put_bytes, put_varint};
use crate::error::{Error, Result};
use crate::family::{Family, FamilyCore};
use crate::range::Range;
use crate::{MAX_KEY_BYTES, MAX_VALUE_BYTES};

const PUT: u8 = 1;
const PUT_EXPIRING: u8 = 2;
const DELETE: u8 = 3;
const DELETE_RANGE: u8 = 4;
const CATALOGUE: u8 = 5;

const START_BOUND: u8 = 1;
const STOP_BOUND: u8 = 2;

/// One operation of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    /// `expiry` in milliseconds since the Unix epoch, 0 for never.
    Put {
        family: u32,
        key: &'a [u8],
        value: &'a [u8],
        expiry: u64,
    },
    Delete {
        family: u32,
        key: &'a [u8],
    },
    DeleteRange {
        family: u32,
        start: Option<&'a [u8]>,
        stop: Option<&'a [u8]>,
    },
    /// The families and settings from here on.
    Catalogue(&'a [u8]),
}

impl Operation<'_> {
    /// All but the last byte string, which follows it; returns that string.
    pub fn head(&self, out: &mut impl Sink) -> &[u8] {
        match *self {
            Operation::Put { family, key, value, expiry } => {
                out.put(&[if expiry == 0 { PUT } else { PUT_EXPIRING }]);
                put_varint(out, family.into());
                if expiry != 0 {
                    out.put(&expiry.to_le_bytes());
                }
                put_bytes(out, key);
                put_varint(out, value.len() as u64);
                value
            }
            Operation::Delete { family, key } => {
                out.put(&[DELETE]);
                put_varint(out, family.into());
                put_varint(out, key.len() as u64);
                key
            }
            Operation::DeleteRange { family, start, stop } => {
                out.put(&[DELETE_RANGE]);
                put_varint(out, family.into());
                out.put(&[(START_BOUND * u8::from(start.is_some())) | (STOP_BOUND * u8::from(stop.is_some()))]);
                put_bytes(out, start.unwrap_or_default());
                put_varint(out, stop.unwrap_or_default().len() as u64);
                stop.unwrap_or_default()
            }
            Operation::Catalogue(catalogue) => {
                out.put(&[CATALOGUE]);
                put_varint(out, catalogue.len() as u64);
                catalogue
            }
        }
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        let last = self.head(out);
        out.extend_from_slice(last);
    }

    /// `None`: the bytes are no operation.
    pub fn decode<'a>(reader: &mut Reader<'a>) -> Option<Operation<'a>> {
        let kind = reader.byte()?;
        if kind == CATALOGUE {
            return Some(Operation::Catalogue(reader.bytes()?));
        }
        let family = u32::try_from(reader.varint()?).ok()?;
        Some(match kind {
            PUT => Operation::Put { family, key: reader.bytes()?, value: reader.bytes()?, expiry: 0 },
            PUT_EXPIRING => {
                let expiry = reader.fixed64()?;
                Operation::Put { family, key: reader.bytes()?, value: reader.bytes()?, expiry }
            }
            DELETE => Operation::Delete { family, key: reader.bytes()? },
            DELETE_RANGE => {
                let bounds = reader.byte()?;
                let (start, stop) = (reader.bytes()?, reader.bytes()?);
                Operation::DeleteRange {
                    family,
                    start: (bounds & START_BOUND != 0).then_some(start),
                    stop: (bounds & STOP_BOUND != 0).then_some(stop),
                }
            }
            _ => return None,
        })
    }
}

/// A change to one key, its bytes in the batch's payload.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub family: u32,
    pub kind: EntryKind,
    key_at: usize,
    key_length: u32,
    value_length: u32,
    pub expiry: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    Put,
    Delete,
    /// The index into `Batch::ranges`.
    DeleteRange(u32),
}

/// One atomic write over one or many families. Later operations on a key win over earlier ones.
#[derive(Default)]
pub struct Batch {
    pub(crate) payload: Vec<u8>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) ranges: Vec<Range>,
    pub(crate) families: Vec<Arc<FamilyCore>>,
}

impl Batch {
    pub fn with_capacity(records: usize, bytes: usize) -> Batch {
        Batch {
            payload: Vec::with_capacity(bytes + records * 8),
            entries: Vec::with_capacity(records),
            ..Batch::default()
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Errors: `KeyTooLarge`, `ValueTooLarge`; the batch is then as it was.
    pub fn put(&mut self, family: &Family, key: &[u8], value: &[u8], ttl: Option<Duration>) -> Result<()> {
        check_key(key)?;
        check_value(value)?;
        let expiry = ttl.map_or(0, |ttl| family.expiry_of(ttl));
        self.put_entry(family.core(), key, value, expiry);
        Ok(())
    }

    pub(crate) fn put_entry(&mut self, family: &Arc<FamilyCore>, key: &[u8], value: &[u8], expiry: u64) {
        let id = self.join(family);
        Operation::Put { family: id, key, value, expiry }.encode(&mut self.payload);
        self.enter(id, EntryKind::Put, key.len(), value.len(), expiry);
    }

    pub fn delete(&mut self, family: &Family, key: &[u8]) -> Result<()> {
        check_key(key)?;
        self.delete_entry(family.core(), key);
        Ok(())
    }

    pub(crate) fn delete_entry(&mut self, family: &Arc<FamilyCore>, key: &[u8]) {
        let id = self.join(family);
        Operation::Delete { family: id, key }.encode(&mut self.payload);
        self.enter(id, EntryKind::Delete, key.len(), 0, 0);
    }

    /// Deletes what is in `[start, stop)` when the batch is written; `None` is no bound.
    pub fn delete_range(&mut self, family: &Family, start: Option<&[u8]>, stop: Option<&[u8]>) -> Result<()> {
        start.into_iter().chain(stop).try_for_each(check_key)?;
        self.delete_range_entry(family.core(), start, stop);
        Ok(())
    }

    fn delete_range_entry(&mut self, family: &Arc<FamilyCore>, start: Option<&[u8]>, stop: Option<&[u8]>) {
        let id = self.join(family);
        Operation::DeleteRange { family: id, start, stop }.encode(&mut self.payload);
        self.ranges.push(Range::half_open(start, stop));
        self.enter(id, EntryKind::DeleteRange(self.ranges.len() as u32 - 1), 0, 0, 0);
    }

    /// An operation out of a log record; those on families that are gone do nothing.
    pub(crate) fn take(&mut self, operation: &Operation<'_>, family: &dyn Fn(u32) -> Option<Arc<FamilyCore>>) {
        match *operation {
            Operation::Put { family: id, key, value, expiry } => {
                if let Some(family) = family(id) {
                    self.put_entry(&family, key, value, expiry);
                }
            }
            Operation::Delete { family: id, key } => {
                if let Some(family) = family(id) {
                    self.delete_entry(&family, key);
                }
            }
            Operation::DeleteRange { family: id, start, stop } => {
                if let Some(family) = family(id) {
                    self.delete_range_entry(&family, start, stop);
                }
            }
            Operation::Catalogue(_) => {}
        }
    }

    #[inline]
    fn join(&mut self, family: &Arc<FamilyCore>) -> u32 {
        if !self.families.iter().any(|known| known.id == family.id) {
            self.families.push(Arc::clone(family));
        }
        family.id
    }

    /// The key and the value end the payload, with the value's length between them for a put.
    fn enter(&mut self, family: u32, kind: EntryKind, key_length: usize, value_length: usize, expiry: u64) {
        let between = if kind == EntryKind::Put { varint_length(value_length) } else { 0 };
        let key_at = self.payload.len() - value_length - between - key_length;
        self.entries.push(Entry {
            family,
            kind,
            key_at,
            key_length: key_length as u32,
            value_length: value_length as u32,
            expiry,
        });
    }

    pub(crate) fn key(&self, entry: &Entry) -> &[u8] {
        &self.payload[entry.key_at..entry.key_at + entry.key_length as usize]
    }

    pub(crate) fn value(&self, entry: &Entry) -> &[u8] {
        let end = entry.key_at + entry.key_length as usize;
        let start = end + if entry.kind == EntryKind::Put { varint_length(entry.value_length as usize) } else { 0 };
        &self.payload[start..start + entry.value_length as usize]
    }
}

fn varint_length(value: usize) -> usize {
    (64 - (value as u64 | 1).leading_zeros() as usize).div_ceil(7)
}

pub fn check_key(key: &[u8]) -> Result<()> {
    if key.len() > MAX_KEY_BYTES {
        return Err(Error::KeyTooLarge { length: key.len(), limit: MAX_KEY_BYTES });
    }
    Ok(())
}

pub fn check_value(value: &[u8]) -> Result<()> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(Error::ValueTooLarge { length: value.len(), limit: MAX_VALUE_BYTES });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn operations_come_back(family: u32, key: Vec<u8>, value: Vec<u8>, expiry: u64, start: Option<Vec<u8>>, stop: Option<Vec<u8>>) {
            let operations = [
                Operation::Put { family, key: &key, value: &value, expiry },
                Operation::Delete { family, key: &key },
                Operation::DeleteRange { family, start: start.as_deref(), stop: stop.as_deref() },
                Operation::Catalogue(&value),
            ];
            let mut out = Vec::new();
            operations.iter().for_each(|operation| operation.encode(&mut out));
            let mut reader = Reader::new(&out);
            for operation in operations {
                prop_assert_eq!(Operation::decode(&mut reader), Some(operation));
            }
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while !reader.is_empty() && Operation::decode(&mut reader).is_some() {}
        }

        #[test]
        fn varint_lengths(value: u32) {
            let mut out = Vec::new();
            put_varint(&mut out, value.into());
            prop_assert_eq!(out.len(), varint_length(value as usize));
        }
    }
}
