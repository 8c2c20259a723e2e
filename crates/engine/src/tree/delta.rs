//! The changes a leaf has gathered since its image was built: an append-only array of record versions.
//!
//! ```text
//! header (32 bytes) | heads u64 x capacity | offsets u32 x capacity | records
//! ```
//! The writer fills a slot and then releases the new length; readers acquire the length and look at nothing beyond it.
//! Heads are of the key behind as many bytes as the leaf's prefix has, and only tell keys apart, not their order.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::slice;

use super::blob;
use super::keys::head;
use super::record::{BLOB, Record};
use crate::sync::{AtomicU32, Ordering};

const HEADER: usize = 32;

#[repr(C, align(8))]
struct Header {
    length: AtomicU32,
    capacity: u32,
    bytes: u32,
    /// End of the records, from the start of the allocation. The writer's alone.
    used: u32,
    prefix_length: u32,
    padding: [u32; 3],
}

const _: () = assert!(size_of::<Header>() == HEADER);

#[derive(Clone, Copy)]
pub struct Delta<'g> {
    at: NonNull<u8>,
    life: PhantomData<&'g ()>,
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 64).expect("a delta's size is bounded")
}

#[inline(always)]
pub fn delta_head(key: &[u8], prefix_length: usize) -> u64 {
    head(key.get(prefix_length..).unwrap_or_default())
}

impl<'g> Delta<'g> {
    /// Room for `capacity` records of together `heap` bytes, beside a leaf whose prefix is `prefix_length` long.
    pub fn allocate(capacity: usize, heap: usize, prefix_length: usize) -> Delta<'static> {
        let bytes = HEADER + capacity * 12 + heap;
        // SAFETY: the layout has a size above zero.
        let at = unsafe { alloc(layout(bytes)) };
        let Some(at) = NonNull::new(at) else { handle_alloc_error(layout(bytes)) };
        // SAFETY: the header fits, as `bytes` counts it.
        unsafe {
            at.cast::<Header>().write(Header {
                length: AtomicU32::new(0),
                capacity: capacity as u32,
                bytes: bytes as u32,
                used: (HEADER + capacity * 12) as u32,
                prefix_length: prefix_length as u32,
                padding: [0; 3],
            });
        }
        Delta { at, life: PhantomData }
    }

    /// # Safety
    /// `at` must come from `allocate` and stay alive for `'g`.
    #[inline(always)]
    pub unsafe fn from_pointer(at: NonNull<u8>) -> Delta<'g> {
        Delta { at, life: PhantomData }
    }

    pub fn as_pointer(self) -> NonNull<u8> {
        self.at
    }

    #[inline(always)]
    fn header(self) -> *mut Header {
        self.at.as_ptr().cast()
    }

    #[inline(always)]
    fn fixed(self) -> (u32, u32, u32) {
        // SAFETY: these fields never change after `allocate`.
        unsafe { ((*self.header()).capacity, (*self.header()).bytes, (*self.header()).prefix_length) }
    }

    pub fn bytes(self) -> usize {
        self.fixed().1 as usize
    }

    pub fn prefix_length(self) -> usize {
        self.fixed().2 as usize
    }

    /// Number of records that are there to be read. Acquire: the slots below it are filled.
    #[inline(always)]
    pub fn len(self) -> usize {
        // SAFETY: the header lives as long as the delta.
        unsafe { (*self.header()).length.load(Ordering::Acquire) as usize }
    }

    /// Whether all of the records fit.
    pub fn has_room(self, records: &[Record<'_>]) -> bool {
        let (capacity, bytes, _) = self.fixed();
        // SAFETY: `used` is the writer's, and only the writer asks.
        let used = unsafe { (*self.header()).used } as usize;
        let size: usize = records.iter().map(Record::encoded_len).sum();
        self.len() + records.len() <= capacity as usize && used + size <= bytes as usize
    }

    /// Appends a record, taking over its blob reference. False: it is full.
    ///
    /// # Safety
    /// Only the family's writer may call it.
    pub unsafe fn append(self, record: &Record<'_>) -> bool {
        let (capacity, bytes, prefix_length) = self.fixed();
        let length = self.len();
        let size = record.encoded_len();
        // SAFETY: `used` is the writer's, and we are the writer.
        let used = unsafe { (*self.header()).used } as usize;
        if length == capacity as usize || used + size > bytes as usize {
            return false;
        }
        // SAFETY: slot `length` and the bytes from `used` on are free and no reader looks at them before the release.
        unsafe {
            let base = self.at.as_ptr();
            base.add(HEADER).cast::<u64>().add(length).write(delta_head(record.key, prefix_length as usize));
            base.add(HEADER + capacity as usize * 8).cast::<u32>().add(length).write(used as u32);
            record.write(base.add(used));
            (*self.header()).used = (used + size) as u32;
            (*self.header()).length.store(length as u32 + 1, Ordering::Release);
        }
        true
    }

    #[inline(always)]
    pub fn heads(self, length: usize) -> &'g [u64] {
        // SAFETY: the first `length` heads are filled, by the acquire in `len`.
        unsafe { slice::from_raw_parts(self.at.as_ptr().add(HEADER).cast(), length) }
    }

    /// The record in slot `index`, below a length that `len` gave; its key is whole.
    #[inline(always)]
    pub fn record(self, index: usize) -> Record<'g> {
        let capacity = self.fixed().0 as usize;
        // SAFETY: as in `heads`.
        unsafe {
            let offset = *self.at.as_ptr().add(HEADER + capacity * 8).cast::<u32>().add(index);
            Record::read(self.at.as_ptr().add(offset as usize))
        }
    }

    /// The newest of the first `length` versions of `key` that `accept` takes.
    #[inline(always)]
    pub fn find(self, length: usize, key: &[u8], accept: impl Fn(u64) -> bool) -> Option<Record<'g>> {
        let target = delta_head(key, self.prefix_length());
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
