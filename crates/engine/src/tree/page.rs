//! A page's stable identity, whatever memory has of it and wherever that is.

use std::marker::PhantomData;
use std::mem::size_of;

use super::inner::Inner;
use super::keys::prefetch;
use super::leaf::Leaf;
use super::remains::Remains;
use crate::memory::Part;
use crate::sync::checked::AtomicU64;
use crate::sync::epoch::Guard;
use crate::sync::{Ordering, reach};

/// Set in `word` when memory has nothing of the page; the rest of the word is then its extent.
const COLD: u64 = 1;
/// How often the page was used since the evictor last came by, as far as two bits count.
const USES: u64 = 3 << 1;
const ONE_USE: u64 = 1 << 1;
/// Set when the address leads to what remains of a leaf, not to an image.
const REMAINS: u64 = 1 << 3;
/// Addresses of images are multiples of 64; those of remains of 16, which allocators give without extra room.
const MARKS: u64 = 15;

/// Different from what is on disk, and nowhere but in memory.
pub const DIRTY: u32 = 1;
/// No longer part of the newest tree. Its image stays as it was for the readers that still hold it.
pub const RETIRED: u32 = 2;
/// Some record has an expiry, so that counting a cold page takes looking at it.
pub const EXPIRING: u32 = 4;
/// A leaf that was written outside of a checkpoint, and that no checkpoint's walk has met since: no page on disk names its
/// extent, and none will until a walk claims it under the family's lock.
pub const EARLY: u32 = 8;

/// `meta`: flags, the level (0 for a leaf), records when the page was last written, so that a cold page can be counted,
/// and the page's place in the queues of `tiers`.
const LEVEL_AT: u32 = 4;
const LEVEL_BITS: u32 = 5;
const RECORDS_AT: u32 = LEVEL_AT + LEVEL_BITS;
const RECORDS_BITS: u32 = 23;
const PLACE_AT: u32 = 32;
pub const MAX_LEVEL: usize = (1 << LEVEL_BITS) - 1;
pub const MAX_RECORDS: u32 = (1 << RECORDS_BITS) - 1;

/// Parents hold the address of a page's `PageRef`, so that a new image touches no parent.
pub struct PageRef {
    /// Address of what memory has of the page, with marks; or the extent's bits with `COLD`.
    word: AtomicU64,
    /// Bits of the extent the page was last written to, 0 for none. Changed under the family's lock.
    extent: AtomicU64,
    meta: AtomicU64,
}

/// What a reader finds.
pub enum Found<'g> {
    Hot(Leaf<'g>),
    Cold(Away<'g>),
}

/// What there is of a leaf that has no image in memory.
#[derive(Clone, Copy)]
pub struct Away<'g> {
    word: u64,
    guard: PhantomData<&'g Guard>,
}

impl<'g> Away<'g> {
    #[inline(always)]
    pub fn remains(self) -> Remains<'g> {
        // SAFETY: the word was the page's when the caller was pinned, so what it leads to lives for 'g.
        unsafe { if self.word & COLD == 0 { Remains::from_address(self.word & !MARKS) } else { Remains::Nothing } }
    }

    /// Bits of the extent to load the page from. It holds the page for as long as the caller is pinned, even if it is given
    /// back meanwhile, as that goes through the epoch.
    pub fn extent(self) -> u64 {
        match self.remains() {
            Remains::Stored(stored) => stored.extent(),
            Remains::Excerpt(excerpt) => excerpt.extent(),
            Remains::Nothing => self.word & !COLD,
        }
    }

    /// For who has replaced it.
    pub fn contents(self) -> Contents {
        Contents(self.word)
    }

    /// Whether the page was used as often as is counted.
    pub fn is_busy(self) -> bool {
        self.word & (COLD | USES) == USES
    }
}

/// What a page's word led to, for who takes it apart.
#[derive(Clone, Copy)]
pub struct Contents(u64);

impl Contents {
    /// Of the image.
    #[cfg(all(test, any(feature = "shuttle", feature = "loom")))]
    pub fn address(self) -> u64 {
        assert!(self.0 & (COLD | REMAINS) == 0);
        self.0 & !MARKS
    }

    /// The part of memory it counts to, and its bytes; `None`: it is on disk only.
    ///
    /// # Safety
    /// It must still be there, and be a page's of level `level`.
    pub unsafe fn footprint(self, level: usize) -> Option<(Part, usize)> {
        let address = self.0 & !MARKS;
        // SAFETY: by the caller's word.
        unsafe {
            match self.0 & (COLD | REMAINS) {
                0 if level > 0 => Some((Part::InnerPages, Inner::from_address(address).bytes())),
                0 => Some((Part::Leaves, Leaf::from_address(address).footprint())),
                REMAINS => Remains::from_address(address).footprint(),
                _ => None,
            }
        }
    }

    /// # Safety
    /// As `footprint`, and nobody may come to it any more.
    pub unsafe fn free(self, level: usize) {
        let address = self.0 & !MARKS;
        // SAFETY: by the caller's word.
        unsafe {
            match self.0 & (COLD | REMAINS) {
                0 if level > 0 => Inner::from_address(address).free(),
                0 => Leaf::from_address(address).free(),
                REMAINS => Remains::from_address(address).free(),
                _ => {}
            }
        }
    }
}

/// What memory is to have of a page in place of what it has.
#[derive(Clone, Copy)]
pub enum Form {
    Image(u64),
    Remains(u64),
}

impl Form {
    pub fn contents(self) -> Contents {
        Contents(self.word())
    }

    fn word(self) -> u64 {
        match self {
            Form::Image(address) => address,
            Form::Remains(address) => address | REMAINS,
        }
    }
}

impl PageRef {
    fn new(word: u64, level: usize, extent: u64, flags: u32, records: u32) -> Box<PageRef> {
        debug_assert!(level <= MAX_LEVEL && records <= MAX_RECORDS);
        let meta = u64::from(flags) | (level as u64) << LEVEL_AT | u64::from(records) << RECORDS_AT;
        let page = Box::new(PageRef {
            word: AtomicU64::new(word),
            extent: AtomicU64::new(extent),
            meta: AtomicU64::new(meta),
        });
        reach::born(&*page);
        page
    }

    /// Memory that it takes by itself.
    pub const BYTES: usize = size_of::<PageRef>();

    /// A new page, in memory only.
    pub fn hot(image: u64, level: usize) -> Box<PageRef> {
        PageRef::new(image, level, 0, DIRTY, 0)
    }

    /// A leaf on disk, of at most `MAX_RECORDS`.
    pub fn cold(extent: u64, records: u32) -> Box<PageRef> {
        PageRef::new(extent | COLD, 0, extent, 0, records)
    }

    /// A page with an image in memory that equals what is on disk at `extent`.
    pub fn clean(image: u64, level: usize, extent: u64) -> Box<PageRef> {
        PageRef::new(image, level, extent, 0, 0)
    }

    /// Fetches what a writer wants to know besides the image.
    #[inline(always)]
    pub fn prefetch(&self) {
        prefetch(std::ptr::from_ref(&self.meta).cast());
    }

    #[inline(always)]
    fn meta(&self) -> u64 {
        reach::assert_alive(self);
        self.meta.load(Ordering::Acquire)
    }

    fn change_meta(&self, change: impl Fn(u64) -> u64) {
        let mut meta = self.meta();
        loop {
            match self.meta.compare_exchange(meta, change(meta), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(now) => meta = now,
            }
        }
    }

    #[inline(always)]
    pub fn level(&self) -> usize {
        (self.meta() >> LEVEL_AT) as usize & ((1 << LEVEL_BITS) - 1)
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
        debug_assert!(word & (COLD | REMAINS) == 0);
        // SAFETY: the word of an inner page is the address of its image, alive while the guard is.
        unsafe { Inner::from_address(word & !MARKS) }
    }

    #[inline(always)]
    pub fn leaf<'g>(&self, _guard: &'g Guard) -> Found<'g> {
        let word = self.word();
        if word & (COLD | REMAINS) != 0 {
            return Found::Cold(Away { word, guard: PhantomData });
        }
        // SAFETY: as in `inner`.
        Found::Hot(unsafe { Leaf::from_address(word & !MARKS) })
    }

    /// The image's address, if it is in memory.
    #[inline(always)]
    pub fn address(&self) -> Option<u64> {
        let word = self.word();
        (word & (COLD | REMAINS) == 0).then_some(word & !MARKS)
    }

    pub fn contents(&self) -> Contents {
        Contents(self.word())
    }

    /// Marks the page as used; writes only if that changes something, as readers do it all the time.
    #[inline(always)]
    pub fn touch(&self) {
        let word = self.word.load(Ordering::Relaxed);
        if word & COLD == 0 && word & USES != USES {
            // Lost when the word changes at this moment, which is as good as used later.
            let _ = self.word.compare_exchange(word, word + ONE_USE, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// How often the page was used since the last time this was asked, three times at most.
    pub fn take_uses(&self) -> u8 {
        let word = self.word.load(Ordering::Relaxed);
        if word & COLD != 0 {
            return 0;
        }
        if word & USES != 0 {
            let _ = self.word.compare_exchange(word, word & !USES, Ordering::Relaxed, Ordering::Relaxed);
        }
        ((word & USES) / ONE_USE) as u8
    }

    /// Puts something else in the place of what `away` found. False: somebody else was first, or the page has moved, and
    /// what was to come is the caller's to free. What was there before is the caller's to retire.
    pub fn replace(&self, away: Away<'_>, form: Form) -> bool {
        let mut expected = away.word;
        loop {
            match self.word.compare_exchange(expected, form.word(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                // It was used meanwhile, or the evictor took the marks away.
                Err(now) if now & COLD == 0 && (now ^ away.word) & !USES == 0 => expected = now,
                Err(_) => return false,
            }
        }
    }

    /// Forgets what memory has of a leaf without an image. False as in `replace`.
    pub fn forget(&self, away: Away<'_>) -> bool {
        let mut expected = away.word;
        loop {
            let cold = away.extent() | COLD;
            match self.word.compare_exchange(expected, cold, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(now) if now & COLD == 0 && (now ^ away.word) & !USES == 0 => expected = now,
                Err(_) => return false,
            }
        }
    }

    /// Replaces the image; returns the old one. Only under the family's lock.
    pub fn publish(&self, image: u64) -> Contents {
        let uses = self.word.load(Ordering::Relaxed) & USES;
        let old = self.word.swap(Form::Image(image).word() | uses, Ordering::AcqRel);
        debug_assert!(old & (COLD | REMAINS) == 0);
        Contents(old)
    }

    /// Takes the image of a clean page away, with something less in its place or nothing; what is to be freed. Only under
    /// the family's lock.
    pub fn evict(&self, instead: Option<Form>) -> Option<Contents> {
        let extent = self.extent();
        debug_assert!(extent != 0 && !self.is(DIRTY));
        self.address()?;
        let word = instead.map_or(extent | COLD, Form::word);
        Some(Contents(self.word.swap(word, Ordering::AcqRel)))
    }

    pub fn extent(&self) -> u64 {
        self.extent.load(Ordering::Acquire)
    }

    /// The page was written, or moved: what memory has of it without an image goes, and it is read from the new place from
    /// now on. The old extent, and what is to be retired. Under the lock.
    pub fn set_extent(&self, extent: u64) -> (u64, Option<Contents>) {
        let old = self.extent.swap(extent, Ordering::AcqRel);
        let mut word = self.word();
        while word & (COLD | REMAINS) != 0 {
            // A reader that replaces it at this moment is refused, or has been faster and is met in the next round.
            match self.word.compare_exchange(word, extent | COLD, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return (old, (word & COLD == 0).then_some(Contents(word))),
                Err(now) => word = now,
            }
        }
        (old, None)
    }

    pub fn records(&self) -> u32 {
        (self.meta() >> RECORDS_AT) as u32 & MAX_RECORDS
    }

    pub fn set_records(&self, records: u32) {
        let mask = u64::from(MAX_RECORDS) << RECORDS_AT;
        self.change_meta(|meta| meta & !mask | u64::from(records.min(MAX_RECORDS)) << RECORDS_AT);
    }

    /// Where the page stands in the queues of what memory holds, 0 for nowhere. Under the queues' lock.
    pub fn place(&self) -> u32 {
        (self.meta() >> PLACE_AT) as u32
    }

    pub fn set_place(&self, place: u32) {
        self.change_meta(|meta| meta & u64::from(u32::MAX) | u64::from(place) << PLACE_AT);
    }

    /// Whether any of the flags is set.
    pub fn is(&self, flag: u32) -> bool {
        self.meta() & u64::from(flag) != 0
    }

    pub fn set(&self, flags: u32) {
        if self.meta() & u64::from(flags) != u64::from(flags) {
            self.change_meta(|meta| meta | u64::from(flags));
        }
    }

    pub fn clear(&self, flags: u32) {
        if self.is(flags) {
            self.change_meta(|meta| meta & !u64::from(flags));
        }
    }
}
