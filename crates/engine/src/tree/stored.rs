//! A leaf as it is stored, kept in memory: its page's payload, compressed or not.

use std::alloc::Layout;
use std::mem::size_of;
use std::{ptr, slice};

use super::remains::{ALIGNMENT, Kind, Start};
use crate::pagefile::{StoredCodec, StoredPayload};
use crate::sync::reach::{alloc, dealloc};

#[repr(C)]
struct Header {
    start: Start,
    codec: StoredCodec,
    stored_bytes: u32,
    raw_bytes: u32,
}

#[derive(Clone, Copy)]
pub struct Stored<'g> {
    header: &'g Header,
    /// The whole allocation, as `header` alone may not be left by a pointer.
    at: *const u8,
}

fn layout(stored_bytes: usize) -> Layout {
    let bytes = (size_of::<Header>() + stored_bytes).next_multiple_of(ALIGNMENT);
    Layout::from_size_align(bytes, ALIGNMENT).expect("a page is far below what addresses can hold")
}

impl Stored<'static> {
    pub fn build(extent: u64, payload: StoredPayload<'_>) -> Stored<'static> {
        let stored_bytes = payload.bytes.len();
        let header = Header {
            start: Start { extent, kind: Kind::Stored },
            stored_bytes: stored_bytes as u32,
            raw_bytes: payload.raw_bytes as u32,
            codec: payload.codec,
        };
        let layout = layout(stored_bytes);
        // SAFETY: the layout is not empty, and both parts lie within it.
        unsafe {
            let at = alloc(layout);
            if at.is_null() {
                std::alloc::handle_alloc_error(layout);
            }
            at.cast::<Header>().write(header);
            ptr::copy_nonoverlapping(payload.bytes.as_ptr(), at.add(size_of::<Header>()), stored_bytes);
            Stored::from_address(at.expose_provenance() as u64)
        }
    }
}

impl<'g> Stored<'g> {
    /// # Safety
    /// `address` must come from `build`, and not be freed during `'g`.
    pub unsafe fn from_address(address: u64) -> Stored<'g> {
        let at: *const u8 = ptr::with_exposed_provenance(address as usize);
        // SAFETY: by the caller's word.
        Stored { header: unsafe { &*at.cast::<Header>() }, at }
    }

    pub fn address(self) -> u64 {
        self.at.addr() as u64
    }

    /// Of the allocation.
    pub fn bytes(self) -> usize {
        layout(self.header.stored_bytes as usize).size()
    }

    pub fn extent(self) -> u64 {
        self.header.start.extent
    }

    pub fn payload(self) -> StoredPayload<'g> {
        let length = self.header.stored_bytes as usize;
        // SAFETY: `build` wrote so many bytes behind the header, and they stay as they are.
        let bytes = unsafe { slice::from_raw_parts(self.at.add(size_of::<Header>()), length) };
        StoredPayload { codec: self.header.codec, raw_bytes: self.header.raw_bytes as usize, bytes }
    }

    /// # Safety
    /// Nobody may use it any more.
    pub unsafe fn free(self) {
        // SAFETY: `build` allocated it with the same layout.
        unsafe { dealloc(self.at.cast_mut(), layout(self.header.stored_bytes as usize)) };
    }
}
