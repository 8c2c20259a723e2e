//! One record version as it lies in memory, in a leaf's heap or in its delta.
//!
//! ```text
//! value length u32 | key length u16 | flags u8 | [version u64] | [expiry u64] | key | value
//! ```
//! Unaligned, native byte order; never written to disk in this form.

use std::ptr;

pub const TOMBSTONE: u8 = 1;
pub const VERSIONED: u8 = 2;
pub const EXPIRES: u8 = 4;
/// The value is the address of a [`super::blob::Blob`] of which the page holds one reference.
pub const BLOB: u8 = 8;

const FIXED: usize = 7;

/// A record version, borrowed. `version` 0 means older than anything a reader can ask for; `expiry` 0 means never.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub key: &'a [u8],
    pub value: &'a [u8],
    pub version: u64,
    /// Milliseconds since the Unix epoch.
    pub expiry: u64,
    /// `TOMBSTONE` and `BLOB` only; the others follow from `version` and `expiry`.
    pub flags: u8,
}

impl<'a> Record<'a> {
    pub fn tombstone(key: &'a [u8], version: u64) -> Record<'a> {
        Record { key, value: &[], version, expiry: 0, flags: TOMBSTONE }
    }

    #[inline]
    pub fn is_tombstone(&self) -> bool {
        self.flags & TOMBSTONE != 0
    }

    #[inline]
    pub fn is_live(&self, now: u64) -> bool {
        !self.is_tombstone() && (self.expiry == 0 || self.expiry > now)
    }

    #[inline]
    pub fn encoded_len(&self) -> usize {
        FIXED
            + 8 * usize::from(self.version != 0)
            + 8 * usize::from(self.expiry != 0)
            + self.key.len()
            + self.value.len()
    }

    /// Writes the record at `at` and returns the bytes written.
    ///
    /// # Safety
    /// `at` must be valid for writing `encoded_len()` bytes.
    #[inline]
    pub unsafe fn write(&self, at: *mut u8) -> usize {
        let mut flags = self.flags & (TOMBSTONE | BLOB);
        flags |= (VERSIONED * u8::from(self.version != 0)) | (EXPIRES * u8::from(self.expiry != 0));
        // SAFETY: all writes stay within encoded_len() bytes, which the caller vouches for.
        unsafe {
            at.cast::<u32>().write_unaligned(self.value.len() as u32);
            at.add(4).cast::<u16>().write_unaligned(self.key.len() as u16);
            at.add(6).write(flags);
            let mut end = at.add(FIXED);
            if self.version != 0 {
                end.cast::<u64>().write_unaligned(self.version);
                end = end.add(8);
            }
            if self.expiry != 0 {
                end.cast::<u64>().write_unaligned(self.expiry);
                end = end.add(8);
            }
            ptr::copy_nonoverlapping(self.key.as_ptr(), end, self.key.len());
            end = end.add(self.key.len());
            ptr::copy_nonoverlapping(self.value.as_ptr(), end, self.value.len());
            end.add(self.value.len()).offset_from(at) as usize
        }
    }

    /// # Safety
    /// A record must have been written at `at`, and its memory stay unchanged for `'a`.
    #[inline]
    pub unsafe fn read(at: *const u8) -> Record<'a> {
        // SAFETY: the layout is the one `write` produces.
        unsafe {
            let value_length = at.cast::<u32>().read_unaligned() as usize;
            let key_length = at.add(4).cast::<u16>().read_unaligned() as usize;
            let flags = at.add(6).read();
            let mut end = at.add(FIXED);
            let mut version = 0;
            let mut expiry = 0;
            if flags & VERSIONED != 0 {
                version = end.cast::<u64>().read_unaligned();
                end = end.add(8);
            }
            if flags & EXPIRES != 0 {
                expiry = end.cast::<u64>().read_unaligned();
                end = end.add(8);
            }
            let key = std::slice::from_raw_parts(end, key_length);
            let value = std::slice::from_raw_parts(end.add(key_length), value_length);
            Record { key, value, version, expiry, flags: flags & (TOMBSTONE | BLOB) }
        }
    }
}
