//! The changes a leaf has gathered since its image was built: an append-only array of record versions.
//!
//! ```text
//! in the leaf's header: address | length u32 | used u32 | capacity u32 | bytes u32
//! at that address:      heads u64 x capacity | offsets u32 x capacity | records
//! ```
//! What says how much there is stands with the leaf, which every reader and writer has at hand, so that an append only
//! writes to the array and waits for none of its lines. The writer fills a slot and then releases the new length; readers
//! acquire the length and look at nothing beyond it. Heads are of the key behind as many bytes as the leaf's prefix has,
//! and only tell keys apart, not their order.

use std::alloc::{Layout, handle_alloc_error};
use std::ptr::NonNull;
use std::slice;

use super::blob;
use super::keys::{head, prefetch};
use super::record::{BLOB, Record};
use crate::sync::checked::{AtomicPtr, AtomicU32};
use crate::sync::reach::{self, alloc, dealloc};
use crate::sync::{Ordering, Traced};

/// A leaf's part of its delta. All but `length` changes under the family's lock only, and before the length does.
#[repr(C)]
#[derive(Default)]
pub struct DeltaState {
    at: AtomicPtr<u8>,
    length: AtomicU32,
    /// End of the records, from the start of the allocation.
    used: AtomicU32,
    capacity: AtomicU32,
    bytes: AtomicU32,
    slots: Traced,
}

#[derive(Clone, Copy)]
pub struct Delta<'g> {
    state: &'g DeltaState,
    at: NonNull<u8>,
    prefix_length: usize,
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 64).expect("a delta's size is bounded")
}

#[inline(always)]
fn delta_head(key: &[u8], prefix_length: usize) -> u64 {
    head(key.get(prefix_length..).unwrap_or_default())
}

impl DeltaState {
    /// The delta, if the leaf has one. Acquire: its other fields are set before its address.
    #[inline(always)]
    pub fn delta(&self, prefix_length: usize) -> Option<Delta<'_>> {
        let at = NonNull::new(self.at.load(Ordering::Acquire))?;
        Some(Delta { state: self, at, prefix_length })
    }

    /// Makes room for `capacity` records of together `heap` bytes. Only the family's writer, and once a leaf.
    pub fn allocate(&self, capacity: usize, heap: usize) {
        debug_assert!(self.at.load(Ordering::Relaxed).is_null());
        let bytes = capacity * 12 + heap;
        // SAFETY: the layout has a size above zero, as the capacity is.
        let at = unsafe { alloc(layout(bytes)) };
        if at.is_null() {
            handle_alloc_error(layout(bytes));
        }
        self.used.store(capacity as u32 * 12, Ordering::Relaxed);
        self.capacity.store(capacity as u32, Ordering::Relaxed);
        self.bytes.store(bytes as u32, Ordering::Relaxed);
        self.at.store(at, Ordering::Release);
    }

    /// For a writer that will append soon: fetches the lines it will write.
    #[inline(always)]
    pub fn prefetch(&self) {
        let at = self.at.load(Ordering::Relaxed);
        if !at.is_null() {
            prefetch(at.wrapping_add(self.length.load(Ordering::Relaxed) as usize * 8));
            let end = at.wrapping_add(self.used.load(Ordering::Relaxed) as usize);
            prefetch(end);
            prefetch(end.wrapping_add(64));
        }
    }
}

impl<'g> Delta<'g> {
    /// Size of the allocation.
    pub fn bytes(self) -> usize {
        self.state.bytes.load(Ordering::Relaxed) as usize
    }

    fn capacity(self) -> usize {
        self.state.capacity.load(Ordering::Relaxed) as usize
    }

    /// Number of records that are there to be read. Acquire: the slots below it are filled.
    #[inline(always)]
    pub fn len(self) -> usize {
        self.state.length.load(Ordering::Acquire) as usize
    }

    /// Whether all of the records fit. Only for the family's writer.
    pub fn has_room(self, records: &[Record<'_>]) -> bool {
        let size: usize = records.iter().map(Record::encoded_len).sum();
        let used = self.state.used.load(Ordering::Relaxed) as usize;
        self.len() + records.len() <= self.capacity() && used + size <= self.bytes()
    }

    /// Appends a record that fits, taking over its blob reference.
    ///
    /// # Safety
    /// Only the family's writer may call it, after `has_room` said yes.
    pub unsafe fn append(self, record: &Record<'_>) {
        let (length, capacity) = (self.len(), self.capacity());
        let used = self.state.used.load(Ordering::Relaxed) as usize;
        // SAFETY: slot `length` and the bytes from `used` on are free, and no reader looks at them before the release.
        unsafe {
            let base = self.at.as_ptr();
            base.cast::<u64>().add(length).write(delta_head(record.key, self.prefix_length));
            base.add(capacity * 8).cast::<u32>().add(length).write(used as u32);
            let size = record.write(base.add(used));
            self.state.used.store((used + size) as u32, Ordering::Relaxed);
        }
        self.state.slots.written(length);
        self.state.length.store(length as u32 + 1, Ordering::Release);
    }

    #[inline(always)]
    fn heads(self, length: usize) -> &'g [u64] {
        reach::assert_alive(self.at.as_ptr());
        (0..length).for_each(|index| self.state.slots.read(index));
        // SAFETY: the first `length` heads are filled, by the acquire in `len`.
        unsafe { slice::from_raw_parts(self.at.as_ptr().cast(), length) }
    }

    /// The record in slot `index`, below a length that `len` gave; its key is whole.
    #[inline(always)]
    pub fn record(self, index: usize) -> Record<'g> {
        reach::assert_alive(self.at.as_ptr());
        self.state.slots.read(index);
        // SAFETY: as in `heads`.
        unsafe {
            let offset = *self.at.as_ptr().add(self.capacity() * 8).cast::<u32>().add(index);
            Record::read(self.at.as_ptr().add(offset as usize))
        }
    }

    /// The newest of the first `length` versions of `key` that `accept` takes.
    #[inline(always)]
    pub fn find(self, length: usize, key: &[u8], accept: impl Fn(u64) -> bool) -> Option<Record<'g>> {
        let target = delta_head(key, self.prefix_length);
        let heads = self.heads(length);
        for index in (0..length).rev() {
            if heads[index] == target {
                let record = self.record(index);
                if record.key == key && accept(record.version) {
                    return Some(record);
                }
            }
        }
        None
    }

    /// # Safety
    /// Nobody may use the delta afterwards; call it once.
    pub unsafe fn free(self) {
        for index in 0..self.len() {
            let record = self.record(index);
            if record.flags & BLOB != 0 {
                // SAFETY: the delta owned one reference for each such record.
                unsafe { blob::drop_reference(record.value) };
            }
        }
        // SAFETY: allocated in `allocate` with this layout.
        unsafe { dealloc(self.at.as_ptr(), layout(self.bytes())) };
    }
}
