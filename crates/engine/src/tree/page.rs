//! A page's stable identity, whatever image it has and wherever that is.

use std::ptr;

use super::inner::Inner;
use super::keys::prefetch;
use super::leaf::Leaf;
use crate::sync::checked::{AtomicU32, AtomicU64};
use crate::sync::epoch::Guard;
use crate::sync::{Ordering, reach};

/// Set in `word` when the page is not in memory; the rest of the word is then its extent.
const COLD: u64 = 1;
/// Set in the word of a page in memory that was read or written since the evictor last came by.
const REFERENCED: u64 = 2;
/// Images are aligned to more than the marks need.
const MARKS: u64 = 63;

/// In memory, and different from what is on disk.
pub const DIRTY: u32 = 1;
/// No longer part of the newest tree. Its image stays as it was for the readers that still hold it.
pub const RETIRED: u32 = 2;

/// Some record has an expiry, so that counting a cold page takes looking at it.
pub const EXPIRING: u32 = 8;
/// A leaf that was written outside of a checkpoint, and that no checkpoint's walk has met since: no page on disk names its
/// extent, and none will until a walk claims it under the family's lock.
pub const EARLY: u32 = 16;

/// Parents hold the address of a page's `PageRef`, so that a new image touches no parent. All that a reader needs of it
/// is one word; the rest stands elsewhere, so that many pages' words share a cache line.
pub struct PageRef {
    /// Address of the newest image, or the extent's bits with `COLD`.
    word: AtomicU64,
    state: Box<State>,
}

struct State {
    /// Bits of the extent that the page was last written to, 0 for none. Changed under the family's lock.
    extent: AtomicU64,
    flags: AtomicU32,
    /// Records when the page was last written, so that a cold page can be counted.
    records: AtomicU32,
    /// 0 for a leaf.
    level: u32,
}

/// What a reader finds.
pub enum Found<'g> {
    Hot(Leaf<'g>),
    /// Bits of the extent to load it from.
    Cold(u64),
}

impl PageRef {
    fn new(word: u64, level: usize, extent: u64, flags: u32, records: u32) -> Box<PageRef> {
        let state = State {
            extent: AtomicU64::new(extent),
            flags: AtomicU32::new(flags),
            records: AtomicU32::new(records),
            level: level as u32,
        };
        let page = Box::new(PageRef { word: AtomicU64::new(word), state: Box::new(state) });
        reach::born(&*page);
        page
    }

    /// A new page, in memory only.
    pub fn hot(image: u64, level: usize) -> Box<PageRef> {
        PageRef::new(image | REFERENCED, level, 0, DIRTY, 0)
    }

    /// A leaf on disk.
    pub fn cold(extent: u64, records: u32) -> Box<PageRef> {
        PageRef::new(extent | COLD, 0, extent, 0, records)
    }

    /// A page with an image in memory that equals what is on disk at `extent`.
    pub fn clean(image: u64, level: usize, extent: u64) -> Box<PageRef> {
        PageRef::new(image | REFERENCED, level, extent, 0, 0)
    }

    /// Fetches what a writer wants to know besides the image.
    #[inline(always)]
    pub fn prefetch(&self) {
        prefetch(ptr::from_ref(&*self.state).cast());
    }

    #[inline(always)]
    pub fn level(&self) -> usize {
        reach::assert_alive(self);
        self.state.level as usize
    }

    #[inline(always)]
    fn word(&self) -> u64 {
        reach::assert_alive(self);
        self.word.load(Ordering::Acquire)
    }

    /// The image of an inner page, which is always in memory.
    #[inline(always)]
    pub fn inner<'g>(&self, _guard: &'g Guard) -> Inner<'g> {
        // Acquire pairs with `publish`: the image is complete before its address can be read.
        let word = self.word();
        debug_assert!(word & COLD == 0);
        // SAFETY: the word of an inner page is the address of its image, alive while the guard is.
        unsafe { Inner::from_address(word & !MARKS) }
    }

    #[inline(always)]
    pub fn leaf<'g>(&self, _guard: &'g Guard) -> Found<'g> {
        let word = self.word();
        if word & COLD != 0 {
            return Found::Cold(word & !COLD);
        }
        // SAFETY: as in `inner`.
        Found::Hot(unsafe { Leaf::from_address(word & !MARKS) })
    }

    /// The image's address, if it is in memory.
    #[inline(always)]
    pub fn address(&self) -> Option<u64> {
        let word = self.word();
        (word & COLD == 0).then_some(word & !MARKS)
    }

    /// Marks the page as used; writes only if that changes something, as readers do it all the time.
    #[inline(always)]
    pub fn touch(&self) {
        let word = self.word.load(Ordering::Relaxed);
        if word & (COLD | REFERENCED) == 0 {
            // Lost when the word changes at this moment, which is as good as used later.
            let _ = self.word.compare_exchange(word, word | REFERENCED, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Whether the page was used since the last time this was asked.
    pub fn take_use(&self) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        let used = word & (COLD | REFERENCED) == REFERENCED;
        if used {
            let _ = self.word.compare_exchange(word, word & !REFERENCED, Ordering::Relaxed, Ordering::Relaxed);
        }
        used
    }

    /// Puts a loaded image in the place of the extent it was loaded from. False: somebody else was first, or the page
    /// has moved, and the image is the caller's to free. The extent cannot have been given to other content meanwhile,
    /// as extents are given back through the epoch and the caller is pinned.
    pub fn fill(&self, extent: u64, image: u64) -> bool {
        self.word.compare_exchange(extent | COLD, image | REFERENCED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Replaces the image; returns the old one's address. Only under the family's lock.
    pub fn publish(&self, image: u64) -> u64 {
        let old = self.word.swap(image | REFERENCED, Ordering::AcqRel);
        debug_assert!(old & COLD == 0);
        old & !MARKS
    }

    /// Forgets the image of a clean page; returns its address, to be freed. Only under the family's lock.
    pub fn evict(&self) -> Option<u64> {
        let extent = self.extent();
        debug_assert!(extent != 0 && !self.is(DIRTY));
        self.address()?;
        Some(self.word.swap(extent | COLD, Ordering::AcqRel) & !MARKS)
    }

    pub fn extent(&self) -> u64 {
        self.state.extent.load(Ordering::Acquire)
    }

    /// A checkpoint wrote the page (or moved it); a cold page is read from the new place from now on. Under the lock.
    pub fn set_extent(&self, extent: u64) -> u64 {
        let old = self.state.extent.swap(extent, Ordering::AcqRel);
        // A cold page's word follows; a reader that fills it at this moment is refused and looks again.
        let _ = self.word.compare_exchange(old | COLD, extent | COLD, Ordering::AcqRel, Ordering::Acquire);
        old
    }

    pub fn records(&self) -> u32 {
        self.state.records.load(Ordering::Relaxed)
    }

    pub fn set_records(&self, records: u32) {
        self.state.records.store(records, Ordering::Relaxed);
    }

    /// Whether any of the flags is set.
    pub fn is(&self, flag: u32) -> bool {
        reach::assert_alive(self);
        self.state.flags.load(Ordering::Acquire) & flag != 0
    }

    pub fn set(&self, flags: u32) {
        if self.state.flags.load(Ordering::Acquire) & flags != flags {
            self.state.flags.fetch_or(flags, Ordering::AcqRel);
        }
    }

    pub fn clear(&self, flags: u32) {
        if self.state.flags.load(Ordering::Acquire) & flags != 0 {
            self.state.flags.fetch_and(!flags, Ordering::AcqRel);
        }
    }
}
