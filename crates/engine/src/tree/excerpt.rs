//! What memory keeps of a leaf that is on disk: some of its records, and perhaps a filter of all its keys.
//!
//! ```text
//! header | fingerprints u16 x filtered | records, with whole keys
//! ```
//! Never changed: what adds a record builds another. (The records of a leaf that are read again and again stand for the
//! whole leaf, as in the mini-pages of the Bf-Tree, VLDB 2024.)

use std::alloc::Layout;
use std::mem::size_of;
use std::{ptr, slice};

use super::fingerprint;
use super::record::Record;
use super::remains::{ALIGNMENT, Kind, Start};
use crate::sync::reach::{alloc, dealloc};

/// A leaf of more keys gets no filter.
pub const MOST_FILTERED: usize = u16::MAX as usize;
pub const MOST_RECORDS: usize = u8::MAX as usize;

#[repr(C)]
struct Header {
    start: Start,
    count: u8,
    /// Keys of the leaf that the filter knows; 0: there is no filter.
    filtered: u16,
    bytes: u32,
}

#[derive(Clone, Copy)]
pub struct Excerpt<'g> {
    header: &'g Header,
    at: *const u8,
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, ALIGNMENT).expect("a page is far below what addresses can hold")
}

impl Excerpt<'static> {
    /// Of up to `MOST_RECORDS` records with whole keys and no long values.
    pub fn build(extent: u64, filter: &[u16], records: &[Record<'_>]) -> Excerpt<'static> {
        assert!(records.len() <= MOST_RECORDS, "{} records in an excerpt", records.len());
        let filter = if filter.len() > MOST_FILTERED { &[] } else { filter };
        let fixed = size_of::<Header>() + size_of_val(filter);
        let bytes = fixed + records.iter().map(Record::encoded_len).sum::<usize>();
        let bytes = bytes.next_multiple_of(ALIGNMENT);
        let header = Header {
            start: Start { extent, kind: Kind::Excerpt },
            count: records.len() as u8,
            filtered: filter.len() as u16,
            bytes: bytes as u32,
        };
        let layout = layout(bytes);
        // SAFETY: the layout is not empty, and has room for the header, the filter and the records, in this order.
        unsafe {
            let at = alloc(layout);
            if at.is_null() {
                std::alloc::handle_alloc_error(layout);
            }
            at.cast::<Header>().write(header);
            ptr::copy_nonoverlapping(filter.as_ptr(), at.add(size_of::<Header>()).cast(), filter.len());
            let mut end = at.add(fixed);
            for record in records {
                end = end.add(record.write(end));
            }
            Excerpt::from_address(at.expose_provenance() as u64)
        }
    }
}

impl<'g> Excerpt<'g> {
    /// # Safety
    /// `address` must come from `build`, and not be freed during `'g`.
    #[inline(always)]
    pub unsafe fn from_address(address: u64) -> Excerpt<'g> {
        let at: *const u8 = ptr::with_exposed_provenance(address as usize);
        // SAFETY: by the caller's word.
        Excerpt { header: unsafe { &*at.cast::<Header>() }, at }
    }

    pub fn address(self) -> u64 {
        self.at.addr() as u64
    }

    /// Of the allocation.
    pub fn bytes(self) -> usize {
        self.header.bytes as usize
    }

    pub fn extent(self) -> u64 {
        self.header.start.extent
    }

    pub fn filter(self) -> &'g [u16] {
        // SAFETY: `build` wrote so many behind the header, whose size keeps them aligned.
        unsafe { slice::from_raw_parts(self.at.add(size_of::<Header>()).cast(), self.header.filtered as usize) }
    }

    pub fn records(self) -> impl Iterator<Item = Record<'g>> {
        let start = size_of::<Header>() + size_of_val(self.filter());
        // SAFETY: `build` wrote `count` records one behind the other from here on.
        let mut at = unsafe { self.at.add(start) };
        (0..self.header.count).map(move |_| unsafe {
            let record = Record::read(at);
            at = at.add(record.encoded_len());
            record
        })
    }

    #[inline]
    pub fn find(self, key: &[u8]) -> Option<Record<'g>> {
        self.records().find(|record| record.key == key)
    }

    /// Whether the leaf certainly has no record of `key`.
    pub fn excludes(self, key: &[u8]) -> bool {
        let filter = self.filter();
        !filter.is_empty() && fingerprint::find(filter, fingerprint::of(key), |_| true).is_none()
    }

    /// # Safety
    /// Nobody may use it any more.
    pub unsafe fn free(self) {
        // SAFETY: `build` allocated it with the same layout.
        unsafe { dealloc(self.at.cast_mut(), layout(self.header.bytes as usize)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_has_what_it_was_built_from(
            content in prop::collection::btree_map(prop::collection::vec(any::<u8>(), 0..9), prop::collection::vec(any::<u8>(), 0..30), 0..9),
            filtered: bool,
            others in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..9),
        ) {
            let records: Vec<Record<'_>> = content
                .iter()
                .map(|(key, value)| Record { key, value, version: 0, expiry: value.len() as u64, flags: 0 })
                .collect();
            let filter: Vec<u16> = if filtered { content.keys().map(|key| fingerprint::of(key)).collect() } else { Vec::new() };
            let excerpt = Excerpt::build(64, &filter, &records);
            prop_assert_eq!((excerpt.extent(), excerpt.filter()), (64, filter.as_slice()));
            for (key, value) in &content {
                let found = excerpt.find(key).expect("it is one of them");
                prop_assert_eq!((found.value, found.expiry), (value.as_slice(), value.len() as u64));
                prop_assert!(!excerpt.excludes(key));
            }
            for key in others.iter().filter(|key| !content.contains_key(*key)) {
                prop_assert!(excerpt.find(key).is_none());
                prop_assert!(filtered || !excerpt.excludes(key));
            }
            // SAFETY: nobody else has it.
            unsafe { excerpt.free() };
        }
    }
}
