//! Leaves as they are on disk, and bringing them back into memory. `docs/format.md` has the layout.

use std::sync::Arc;

use super::Tree;
use super::blob::Blob;
use super::leaf::{Leaf, build, cost};
use super::page::{Away, Form, Found, PageRef};
use super::payload::Payload;
use super::record::{BLOB, Record};
use crate::bytes::{Reader, put_bytes, put_varint};
use crate::counters::Count;
use crate::error::{Error, Result};
use crate::memory::Memory;
use crate::pagefile::{Extent, PAGE_FILE_NAME, PageKind};
use crate::sync::epoch::Guard;

pub(super) const SOME_EXPIRE: u8 = 1;
pub(super) const SOME_BLOBS: u8 = 2;

pub(super) const RECORD_EXPIRES: u8 = 1;
pub(super) const RECORD_BLOB: u8 = 2;

/// Where a blob stands on disk: its extent's bits and its length in bytes.
pub type BlobPlace = (u64, u64);

/// The payload of a leaf page: of each key the one live version, keys without their first `prefix.len()` bytes.
/// `place` tells where the blob of a record with the `BLOB` flag was written to.
pub fn encode_leaf(
    prefix: &[u8],
    records: &[Record<'_>],
    mut place: impl FnMut(&Record<'_>) -> BlobPlace,
    out: &mut Vec<u8>,
) {
    let expire = records.iter().any(|record| record.expiry != 0);
    let blobs = records.iter().any(|record| record.flags & BLOB != 0);
    out.clear();
    out.reserve(records.iter().map(cost).sum());
    out.push((SOME_EXPIRE * u8::from(expire)) | (SOME_BLOBS * u8::from(blobs)));
    put_varint(out, records.len() as u64);
    put_bytes(out, prefix);
    for record in records {
        put_varint(out, record.key.len() as u64);
    }
    for record in records {
        put_varint(out, if record.flags & BLOB != 0 { 16 } else { record.value.len() as u64 });
    }
    if expire || blobs {
        for record in records {
            out.push(
                (RECORD_EXPIRES * u8::from(record.expiry != 0)) | (RECORD_BLOB * u8::from(record.flags & BLOB != 0)),
            );
        }
        for record in records.iter().filter(|record| record.expiry != 0) {
            out.extend_from_slice(&record.expiry.to_le_bytes());
        }
    }
    for record in records {
        out.extend_from_slice(record.key);
    }
    for record in records {
        if record.flags & BLOB != 0 {
            let (extent, length) = place(record);
            out.extend_from_slice(&extent.to_le_bytes());
            out.extend_from_slice(&length.to_le_bytes());
        } else {
            out.extend_from_slice(record.value);
        }
    }
}

/// A leaf page's payload in its parts. Keys are without `prefix`; the value of a record with the `BLOB` flag is the place
/// as it is stored.
pub struct ParsedLeaf<'a> {
    pub prefix: &'a [u8],
    pub records: Vec<Record<'a>>,
    /// Index of the record, extent, length.
    pub blobs: Vec<(usize, u64, u64)>,
}

/// `None`: the payload is no leaf.
pub fn parse_leaf(payload: &[u8]) -> Option<ParsedLeaf<'_>> {
    let mut reader = Reader::new(payload);
    let flags = reader.byte()?;
    let count = reader.size().filter(|&count| count <= reader.remaining())?;
    let prefix = reader.bytes()?;
    let longest = crate::MAX_KEY_BYTES.checked_sub(prefix.len())?;
    let mut key_lengths = Vec::with_capacity(count);
    let mut value_lengths = Vec::with_capacity(count);
    for _ in 0..count {
        key_lengths.push(reader.size().filter(|&length| length <= longest)?);
    }
    for _ in 0..count {
        value_lengths.push(reader.size()?);
    }
    let guarded = flags & (SOME_EXPIRE | SOME_BLOBS) != 0;
    let record_flags = if guarded { reader.take(count)? } else { &[] };
    let mut expiries = Vec::new();
    for flags in record_flags {
        expiries.push(if flags & RECORD_EXPIRES != 0 { reader.fixed64()? } else { 0 });
    }
    let keys = reader.take(key_lengths.iter().try_fold(0usize, |sum, &length| sum.checked_add(length))?)?;
    let values = reader.take(value_lengths.iter().try_fold(0usize, |sum, &length| sum.checked_add(length))?)?;
    if !reader.is_empty() {
        return None;
    }
    let mut places = Vec::with_capacity(if flags & SOME_BLOBS != 0 { count } else { 0 });
    let mut records = Vec::with_capacity(count);
    let (mut key_end, mut value_end) = (0, 0);
    for index in 0..count {
        let key = &keys[key_end..key_end + key_lengths[index]];
        let value = &values[value_end..value_end + value_lengths[index]];
        key_end += key.len();
        value_end += value.len();
        if records.last().is_some_and(|last: &Record<'_>| last.key >= key) {
            return None;
        }
        let is_blob = record_flags.get(index).is_some_and(|flags| flags & RECORD_BLOB != 0);
        if is_blob {
            let mut place = Reader::new(value);
            let (extent, length) = (place.fixed64()?, place.fixed64()?);
            Extent::from_bits(extent).filter(|_| place.is_empty())?;
            places.push((index, extent, length));
        }
        let expiry = expiries.get(index).copied().unwrap_or(0);
        records.push(Record { key, value, version: 0, expiry, flags: if is_blob { BLOB } else { 0 } });
    }
    Some(ParsedLeaf { prefix, records, blobs: places })
}

/// Builds the image of a leaf page's payload. `None`: the payload is no leaf.
pub fn decode_leaf(payload: &[u8], memory: &Arc<Memory>) -> Option<Leaf<'static>> {
    let ParsedLeaf { prefix, mut records, blobs: places } = parse_leaf(payload)?;
    // Only now, when nothing can fail any more, do the records own references to blobs.
    let addresses: Vec<[u8; 8]> =
        places.iter().map(|&(_, extent, length)| Blob::on_disk(length, extent, memory).into_value()).collect();
    for (&(index, ..), address) in places.iter().zip(&addresses) {
        records[index].value = address;
    }
    Some(build(prefix, &records))
}

/// A leaf's image that no page names.
pub(super) struct Aside(pub(super) Leaf<'static>);

impl Aside {
    pub fn leaf(&self) -> Leaf<'_> {
        self.0
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // SAFETY: it was never published, and whoever looked at it had borrowed it from us.
        unsafe { self.0.free() };
    }
}

impl Tree {
    /// The image of a leaf page, read from disk where needed. The guard keeps the extent from being given to others.
    pub fn resident<'g>(&self, page: &PageRef, guard: &'g Guard) -> Result<Leaf<'g>> {
        loop {
            match page.leaf(guard) {
                Found::Hot(leaf) => return Ok(leaf),
                Found::Cold(away) => self.load(page, away, false, guard)?,
            }
        }
    }

    /// As `resident`, for a scan, which may not come by again.
    pub(super) fn resident_for_scan<'g>(&self, page: &PageRef, guard: &'g Guard) -> Result<Leaf<'g>> {
        match page.leaf(guard) {
            Found::Hot(leaf) => return Ok(leaf),
            Found::Cold(away) => self.load(page, away, true, guard)?,
        }
        self.resident(page, guard)
    }

    /// Builds the image of a leaf that has none; somebody else may have done so meanwhile.
    fn load(&self, page: &PageRef, away: Away<'_>, probation: bool, guard: &Guard) -> Result<()> {
        let (leaf, from_disk) = match self.unpack(away)? {
            Some(payload) => (self.decode(&payload, away.extent())?, false),
            None => (self.read_leaf(away.extent())?, true),
        };
        if self.install(page, away, Form::Image(leaf.address()), probation, guard) && from_disk {
            self.around.counters.add(Count::PageLoads, 1);
        }
        Ok(())
    }

    pub(super) fn decode(&self, payload: &[u8], extent: u64) -> Result<Leaf<'static>> {
        let leaf = decode_leaf(payload, &self.around.memory);
        leaf.ok_or_else(|| self.damaged_leaf(extent, "the leaf page's content makes no sense"))
    }

    /// A leaf page for a look at it: it takes no room in memory, and drives nothing else out.
    pub(super) fn read_aside(&self, extent: u64) -> Result<Aside> {
        self.read_leaf(extent).map(Aside)
    }

    fn read_leaf(&self, bits: u64) -> Result<Leaf<'static>> {
        let extent = Extent::from_bits(bits).ok_or_else(|| self.damaged_leaf(bits, "a leaf's place is no extent"))?;
        let mut payload = Payload::empty();
        self.around.pages.read_page(extent, PageKind::Leaf, &mut payload)?;
        self.decode(&payload, bits)
    }

    /// A blob's bytes, from memory or from disk.
    pub fn read_blob<R>(&self, blob: &Blob, guard: &Guard, read: impl FnOnce(&[u8]) -> R) -> Result<R> {
        if let Some(data) = blob.data(guard) {
            return Ok(read(data));
        }
        self.read_blob_on_disk(blob, read)
    }

    pub(super) fn read_blob_on_disk<R>(&self, blob: &Blob, read: impl FnOnce(&[u8]) -> R) -> Result<R> {
        self.read_long_value(blob.extent(), blob.len(), read)
    }

    /// `place`: bits of the extent.
    pub(super) fn read_long_value<R>(
        &self,
        place: Option<u64>,
        length: u64,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<R> {
        let damaged = |offset, what: &str| Error::Corruption {
            path: self.around.path.join(PAGE_FILE_NAME),
            offset,
            what: what.into(),
        };
        let extent = place.and_then(Extent::from_bits);
        let extent = extent.ok_or_else(|| damaged(None, "a long value's place is no extent"))?;
        let mut payload = Vec::new();
        self.around.pages.read_page(extent, PageKind::Blob, &mut payload)?;
        if payload.len() as u64 != length {
            return Err(damaged(Some(extent.offset()), "a long value has not the length its record says"));
        }
        self.around.counters.add(Count::LongValueLoads, 1);
        Ok(read(&payload))
    }
}
