//! A leaf's image: one immutable allocation of sorted records, and the delta that stands beside it.
//!
//! ```text
//! header (64 bytes) | shared prefix | fingerprints u16 x count | offsets u16 x count | heads u64 x count | records
//! ```
//! Versions of one key are neighbours, newest first. Keys are stored without the prefix they all share. A lookup finds its
//! record by the fingerprint, in the first lines of the image and one line of the record; heads serve searches by order.
//! Images above 64 KiB have offsets of four bytes.

use std::alloc::{Layout, handle_alloc_error};
use std::cmp::Ordering;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;

use super::blob;
use super::delta::{Delta, DeltaState};
use super::fingerprint;
use super::keys::{common_prefix, compare_prefix, head, prefetch, same, search};
use super::record::{BLOB, Record};
use crate::sync::Traced;
use crate::sync::reach::{self, alloc, dealloc};

/// Some record has a version, an expiry or is a tombstone, so that presence alone does not answer a read.
const GUARDED: u16 = 1;
const BLOBS: u16 = 2;
/// Offsets take four bytes.
const WIDE: u16 = 4;

const ALIGNMENT: usize = 64;
const HEADER: usize = size_of::<Header>();
/// What a model checker's atomics take beyond that, which is not counted.
const BEYOND: usize = HEADER - 64;
/// What an image takes without records: its header, and what allocators add to align it. Counted in a leaf's size, so
/// that a full leaf of a power of two fits the allocator's block of that size; one byte more takes a quarter more.
pub const OVERHEAD: usize = HEADER - BEYOND + ALIGNMENT;

#[repr(C, align(64))]
struct Header {
    delta: DeltaState,
    newest: u64,
    count: u32,
    bytes: u32,
    fingerprints_at: u32,
    offsets_at: u32,
    heads_at: u32,
    prefix_length: u16,
    flags: u16,
    content: Traced,
}

const _: () = assert!(BEYOND == 0 || cfg!(any(feature = "loom", feature = "shuttle")));

/// A shared view of a leaf image; `'g` is the epoch guard (or the exclusive owner) that keeps it alive.
#[derive(Clone, Copy)]
pub struct Leaf<'g> {
    at: NonNull<u8>,
    life: PhantomData<&'g ()>,
}

impl<'g> Leaf<'g> {
    /// # Safety
    /// `address` must come from [`build`] and stay alive for `'g`.
    #[inline(always)]
    pub unsafe fn from_address(address: u64) -> Leaf<'g> {
        // SAFETY: images are never at address zero.
        Leaf {
            at: unsafe { NonNull::new_unchecked(ptr::with_exposed_provenance_mut(address as usize)) },
            life: PhantomData,
        }
    }

    pub fn address(self) -> u64 {
        self.at.as_ptr().expose_provenance() as u64
    }

    #[inline(always)]
    fn header(self) -> &'g Header {
        reach::assert_alive(self.at.as_ptr());
        // SAFETY: every leaf begins with an initialised header that lives for 'g.
        let header: &'g Header = unsafe { self.at.cast().as_ref() };
        header.content.read(0);
        header
    }

    /// Fetches the lines a lookup will touch before their addresses are computed one from the other.
    #[inline(always)]
    pub fn prefetch(address: u64) {
        let start: *const u8 = ptr::without_provenance(address as usize);
        for line in 0..5 {
            prefetch(start.wrapping_add(line * 64));
        }
    }

    #[inline(always)]
    pub fn count(self) -> usize {
        self.header().count as usize
    }

    /// Size of the allocation, delta not counted.
    pub fn bytes(self) -> usize {
        self.header().bytes as usize
    }

    /// Memory that goes with the image: itself and its delta.
    pub fn footprint(self) -> usize {
        self.bytes() + self.delta().map_or(0, Delta::bytes)
    }

    /// Whether records have to be looked at before they count (versions, expiry, tombstones).
    #[inline(always)]
    pub fn is_guarded(self) -> bool {
        self.header().flags & GUARDED != 0
    }

    /// Whether some record is not simply its key's only one for all readers. Expiry alone does not make it so.
    pub fn holds_versions(self) -> bool {
        self.is_guarded() && self.records().any(|record| record.version != 0 || record.is_tombstone())
    }

    pub fn has_blobs(self) -> bool {
        self.header().flags & BLOBS != 0
    }

    /// The newest version among the records of the base; 0 when all are older than any reader.
    pub fn newest_version(self) -> u64 {
        self.header().newest
    }

    #[inline(always)]
    pub fn heads(self) -> &'g [u64] {
        // SAFETY: `count` heads stand at heads_at, aligned for them.
        unsafe { slice::from_raw_parts(self.at.as_ptr().add(self.header().heads_at as usize).cast(), self.count()) }
    }

    #[inline(always)]
    fn fingerprints(self) -> &'g [u16] {
        let at = self.header().fingerprints_at as usize;
        // SAFETY: `count` fingerprints stand there, aligned for them.
        unsafe { slice::from_raw_parts(self.at.as_ptr().add(at).cast(), self.count()) }
    }

    #[inline(always)]
    pub fn prefix(self) -> &'g [u8] {
        // SAFETY: the prefix follows the header.
        unsafe { slice::from_raw_parts(self.at.as_ptr().add(HEADER), self.header().prefix_length as usize) }
    }

    #[inline(always)]
    fn record_address(self, index: usize) -> *const u8 {
        debug_assert!(index < self.count());
        // SAFETY: `count` offsets stand at offsets_at, each pointing into the allocation.
        unsafe {
            let offsets = self.at.as_ptr().add(self.header().offsets_at as usize);
            let offset = if self.header().flags & WIDE == 0 {
                offsets.cast::<u16>().add(index).read().into()
            } else {
                offsets.cast::<u32>().add(index).read_unaligned()
            };
            self.at.as_ptr().add(offset as usize)
        }
    }

    /// The record at `index`, its key without the shared prefix.
    #[inline(always)]
    pub fn record(self, index: usize) -> Record<'g> {
        // SAFETY: `build` wrote a record there, and images do not change.
        unsafe { Record::read(self.record_address(index)) }
    }

    pub fn records(self) -> impl DoubleEndedIterator<Item = Record<'g>> {
        (0..self.count()).map(move |index| self.record(index))
    }

    /// Index of the first record whose key is not below `key`, and whether it is that key's.
    #[inline(always)]
    pub fn search(self, key: &[u8]) -> (usize, bool) {
        let prefix = self.prefix();
        match compare_prefix(key, prefix) {
            Ordering::Less => (0, false),
            Ordering::Greater => (self.count(), false),
            Ordering::Equal => {
                let suffix = &key[prefix.len()..];
                search(self.heads(), head(suffix), |index| self.record(index).key.cmp(suffix))
            }
        }
    }

    /// The whole key of the base's last record; empty if there is none.
    pub fn last_key(self) -> Vec<u8> {
        let last = self.records().next_back();
        last.map_or_else(Vec::new, |record| [self.prefix(), record.key].concat())
    }

    /// Index of the newest record of `key`.
    #[inline(always)]
    pub fn find(self, key: &[u8]) -> Option<usize> {
        let suffix = key.strip_prefix(self.prefix())?;
        fingerprint::find(self.fingerprints(), fingerprint::of(suffix), |index| {
            let at = self.record_address(index);
            // The value is wanted next, and most often lies beyond the key's line.
            prefetch(at.wrapping_add(64));
            prefetch(at.wrapping_add(128));
            same(self.record(index).key, suffix)
        })
    }

    /// The delta, if a write has come since the image was built.
    #[inline(always)]
    pub fn delta(self) -> Option<Delta<'g>> {
        let header = self.header();
        header.delta.delta(header.prefix_length as usize)
    }

    /// The changes in the delta, by number.
    pub fn delta_len(self) -> usize {
        self.delta().map_or(0, Delta::len)
    }

    pub fn delta_state(self) -> &'g DeltaState {
        &self.header().delta
    }

    /// Frees the image, its delta, and the references to blobs that they hold.
    ///
    /// # Safety
    /// Nobody may use the image afterwards; call it once.
    pub unsafe fn free(self) {
        if self.has_blobs() {
            for record in self.records().filter(|record| record.flags & BLOB != 0) {
                // SAFETY: the image owned one reference for each such record.
                unsafe { blob::drop_reference(record.value) };
            }
        }
        if let Some(delta) = self.delta() {
            // SAFETY: the delta belongs to this image alone.
            unsafe { delta.free() };
        }
        let layout = layout(self.bytes() + BEYOND);
        // SAFETY: allocated in `build` with this layout.
        unsafe {
            ptr::drop_in_place(self.at.cast::<Header>().as_ptr());
            dealloc(self.at.as_ptr(), layout);
        }
    }
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, ALIGNMENT).expect("a leaf's size is bounded by its records")
}

/// Bytes that a record adds to an image at most (the shared prefix not yet cut off).
pub fn cost(record: &Record<'_>) -> usize {
    8 + 2 + 2 + record.encoded_len()
}

/// Bytes that the image of such records asks of the allocator at most.
pub fn size(records: &[Record<'_>]) -> usize {
    OVERHEAD + records.iter().map(cost).sum::<usize>()
}

/// Builds an image of sorted records. `shared` bytes of prefix were already cut off all keys; they are `prefix`.
/// Takes over one blob reference for each record that has one.
pub fn build(prefix: &[u8], records: &[Record<'_>]) -> Leaf<'static> {
    let extra = match (records.first(), records.last()) {
        (Some(first), Some(last)) => common_prefix(first.key, last.key),
        _ => 0,
    };
    let prefix_length = if records.is_empty() { 0 } else { prefix.len() + extra };
    let heap: usize = records.iter().map(|record| record.encoded_len() - extra).sum();
    let count = records.len();
    let fingerprints_at = (HEADER + prefix_length).next_multiple_of(2);
    let offsets_at = fingerprints_at + count * 2;
    let narrow_bytes = (offsets_at + count * 2).next_multiple_of(8) + count * 8 + heap;
    let wide = narrow_bytes > usize::from(u16::MAX);
    let heads_at = (offsets_at + count * if wide { 4 } else { 2 }).next_multiple_of(8);
    let heap_at = heads_at + count * 8;
    let bytes = (heap_at + heap).next_multiple_of(16);
    // SAFETY: the layout has a size above zero.
    let at = unsafe { alloc(layout(bytes)) };
    let Some(at) = NonNull::new(at) else { handle_alloc_error(layout(bytes)) };
    let mut flags = if wide { WIDE } else { 0 };
    let mut newest = 0;
    // SAFETY: every write lands inside the sizes added up above.
    unsafe {
        let base = at.as_ptr();
        let heads = base.add(heads_at).cast::<u64>();
        let fingerprints = base.add(fingerprints_at).cast::<u16>();
        let offsets = base.add(offsets_at);
        if prefix_length > 0 {
            ptr::copy_nonoverlapping(prefix.as_ptr(), base.add(HEADER), prefix.len());
            ptr::copy_nonoverlapping(records[0].key.as_ptr(), base.add(HEADER + prefix.len()), extra);
        }
        let mut end = heap_at;
        for (index, record) in records.iter().enumerate() {
            let record = Record { key: &record.key[extra..], ..*record };
            heads.add(index).write(head(record.key));
            fingerprints.add(index).write(fingerprint::of(record.key));
            if wide {
                offsets.cast::<u32>().add(index).write_unaligned(end as u32);
            } else {
                offsets.cast::<u16>().add(index).write(end as u16);
            }
            end += record.write(base.add(end));
            newest = newest.max(record.version);
            if record.version != 0 || record.expiry != 0 || record.is_tombstone() {
                flags |= GUARDED;
            }
            if record.flags & BLOB != 0 {
                flags |= BLOBS;
            }
        }
        base.cast::<Header>().write(Header {
            delta: DeltaState::default(),
            newest,
            count: records.len() as u32,
            bytes: (bytes - BEYOND) as u32,
            fingerprints_at: fingerprints_at as u32,
            offsets_at: offsets_at as u32,
            heads_at: heads_at as u32,
            prefix_length: prefix_length as u16,
            flags,
            content: Traced::default(),
        });
    }
    let leaf = Leaf { at, life: PhantomData };
    leaf.header().content.written(0);
    leaf
}
