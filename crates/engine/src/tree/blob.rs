//! Long values: kept beside the pages, in memory until a checkpoint has given them an extent of their own.
//!
//! A record with the `BLOB` flag has as its value the address of a [`Blob`], counted like an `Arc`: one reference for
//! each record that names it.

use std::ptr;
use std::sync::Arc;

use crate::memory::{Memory, Part};
use crate::sync::checked::{AtomicPtr, AtomicU64};
use crate::sync::epoch::Guard;
use crate::sync::{Ordering, reach};

/// Beside the extent's bits, whose lowest is free: no record of the newest tree names the blob any more.
const DROPPED: u64 = 1;

pub struct Blob {
    length: u64,
    /// Bits of the extent that holds the value on disk, 0 before it has one, and `DROPPED`.
    place: AtomicU64,
    data: AtomicPtr<Vec<u8>>,
    memory: Arc<Memory>,
}

impl Blob {
    fn new(length: u64, place: u64, data: *mut Vec<u8>, memory: &Arc<Memory>) -> Arc<Blob> {
        let (place, data) = (AtomicU64::new(place), AtomicPtr::new(data));
        let blob = Arc::new(Blob { length, place, data, memory: Arc::clone(memory) });
        reach::born(Arc::as_ptr(&blob));
        blob
    }

    pub fn resident(value: Vec<u8>, memory: &Arc<Memory>) -> Arc<Blob> {
        memory.grow(Part::LongValues, value.len());
        Blob::new(value.len() as u64, 0, Box::into_raw(Box::new(value)), memory)
    }

    pub fn on_disk(length: u64, extent: u64, memory: &Arc<Memory>) -> Arc<Blob> {
        Blob::new(length, extent, ptr::null_mut(), memory)
    }

    /// The value bytes of a record that names the blob; the record owns the reference.
    pub fn into_value(self: Arc<Blob>) -> [u8; 8] {
        (Arc::into_raw(self).expose_provenance() as u64).to_ne_bytes()
    }

    pub fn len(&self) -> u64 {
        self.length
    }

    /// Where it is on disk, if it was written.
    pub fn extent(&self) -> Option<u64> {
        Some(self.place.load(Ordering::Acquire) & !DROPPED).filter(|&extent| extent != 0)
    }

    /// A checkpoint wrote it. False: its record was dropped meanwhile, and the extent is the caller's to give back.
    pub fn set_extent(&self, extent: u64) -> bool {
        self.place.compare_exchange(0, extent, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// A compaction moved it. False: as for `set_extent`.
    pub fn move_extent(&self, from: u64, to: u64) -> bool {
        self.place.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Its record is gone from the newest tree: the extent to give back, if it has one. Readers that still hold the
    /// record read it from there until they are done.
    pub fn drop_extent(&self) -> Option<u64> {
        let place = self.place.fetch_or(DROPPED, Ordering::AcqRel);
        Some(place).filter(|&place| place != 0 && place & DROPPED == 0)
    }

    /// The value, if it is in memory.
    pub fn data<'g>(&self, _guard: &'g Guard) -> Option<&'g [u8]> {
        let data = self.data.load(Ordering::Acquire);
        // SAFETY: data is freed with the last reference only, and a record that the guard protects holds one.
        unsafe { data.as_ref() }.map(|value| value.as_slice())
    }
}

impl Drop for Blob {
    fn drop(&mut self) {
        reach::gone(self);
        let data = self.data.load(Ordering::Relaxed);
        if !data.is_null() {
            // SAFETY: ours alone, as the last reference goes.
            drop(unsafe { Box::from_raw(data) });
            self.memory.sub(Part::LongValues, self.length as usize);
        }
    }
}

fn pointer(value: &[u8]) -> *const Blob {
    let bytes: [u8; 8] = value.try_into().expect("a blob record's value is an address");
    ptr::with_exposed_provenance(u64::from_ne_bytes(bytes) as usize)
}

/// The blob that a record with the `BLOB` flag names.
///
/// # Safety
/// The record must be alive for `'g`.
pub unsafe fn from_value<'g>(value: &[u8]) -> &'g Blob {
    reach::assert_alive(pointer(value));
    // SAFETY: the record holds a reference.
    unsafe { &*pointer(value) }
}

/// # Safety
/// As `from_value`.
pub unsafe fn add_reference(value: &[u8]) {
    // SAFETY: the record's own reference keeps the count above zero.
    unsafe { Arc::increment_strong_count(pointer(value)) };
}

/// # Safety
/// The caller gives up the reference that the record owned.
pub unsafe fn drop_reference(value: &[u8]) {
    // SAFETY: the caller's word.
    unsafe { Arc::decrement_strong_count(pointer(value)) };
}
