//! An inner page's image: separators and the pages between them. One immutable allocation.
//!
//! ```text
//! header (64 bytes) | pivots | heads u64 x (children-1) | pages u64 x children | offsets u32 x children | prefix | separators
//! ```
//! The pivots are every sixteenth head.
//!
//! Child i holds the keys from separator i-1 (inclusive) to separator i (exclusive).

use std::alloc::{Layout, handle_alloc_error};
use std::cmp::Ordering;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;

use smallvec::SmallVec;

use super::keys::{PIVOT_BLOCK, common_prefix, compare_prefix, head, lower_bound_by, search_from};
use super::page::PageRef;
use crate::sync::reach::{self, alloc, dealloc};

const HEADER: usize = 64;

#[repr(C, align(64))]
struct Header {
    count: u32,
    bytes: u32,
    heads_at: u32,
    pages_at: u32,
    prefix_at: u32,
    prefix_length: u16,
    level: u16,
}

const _: () = assert!(size_of::<Header>() == HEADER);

#[derive(Clone, Copy)]
pub struct Inner<'g> {
    at: NonNull<u8>,
    life: PhantomData<&'g ()>,
}

/// A key between two pages. Most are short, and a split copies all of a page's.
pub type Separator = SmallVec<[u8; 24]>;

/// A page and the lowest key it may hold (empty for the left-most of all).
#[derive(Clone, Debug)]
pub struct Child {
    pub low: Separator,
    pub page: *const PageRef,
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 64).expect("an inner page's size is bounded by its fan-out")
}

impl<'g> Inner<'g> {
    /// # Safety
    /// `address` must come from [`build`] and stay alive for `'g`.
    #[inline(always)]
    pub unsafe fn from_address(address: u64) -> Inner<'g> {
        // SAFETY: images are never at address zero.
        Inner {
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
        // SAFETY: every inner page begins with an initialised header that lives for 'g.
        unsafe { self.at.cast::<Header>().as_ref() }
    }

    /// Number of children.
    #[inline(always)]
    pub fn count(self) -> usize {
        self.header().count as usize
    }

    pub fn bytes(self) -> usize {
        self.header().bytes as usize
    }

    /// 1 when the children are leaves.
    #[inline(always)]
    pub fn level(self) -> usize {
        self.header().level as usize
    }

    #[inline(always)]
    fn heads(self) -> &'g [u64] {
        // SAFETY: count - 1 heads stand there.
        unsafe { slice::from_raw_parts(self.at.as_ptr().add(self.header().heads_at as usize).cast(), self.count() - 1) }
    }

    #[inline(always)]
    fn pivots(self) -> &'g [u64] {
        // SAFETY: the pivots follow the header.
        unsafe { slice::from_raw_parts(self.at.as_ptr().add(HEADER).cast(), (self.count() - 1) / PIVOT_BLOCK) }
    }

    fn prefix(self) -> &'g [u8] {
        let header = self.header();
        // SAFETY: the header's fields are those `build` laid out.
        unsafe { slice::from_raw_parts(self.at.as_ptr().add(header.prefix_at as usize), header.prefix_length as usize) }
    }

    #[inline(always)]
    pub fn child(self, index: usize) -> &'g PageRef {
        debug_assert!(index < self.count());
        // SAFETY: `count` page addresses stand there; a page outlives the images that name it, by the epoch.
        unsafe {
            let pages = self.at.as_ptr().add(self.header().pages_at as usize).cast::<*const PageRef>();
            &**pages.add(index)
        }
    }

    /// The separator between child `index` and the next, without the shared prefix.
    #[inline]
    fn suffix(self, index: usize) -> &'g [u8] {
        let count = self.count();
        debug_assert!(index + 1 < count);
        // SAFETY: `count` offsets follow the pages; separator i lies between offsets i and i + 1.
        unsafe {
            let offsets = self.at.as_ptr().add(self.header().pages_at as usize + count * 8).cast::<u32>();
            let (start, end) = (*offsets.add(index) as usize, *offsets.add(index + 1) as usize);
            slice::from_raw_parts(self.at.as_ptr().add(start), end - start)
        }
    }

    /// The lowest key that child `index + 1` may hold.
    pub fn separator(self, index: usize) -> Separator {
        let mut separator = Separator::from_slice(self.prefix());
        separator.extend_from_slice(self.suffix(index));
        separator
    }

    /// Whether `key` stands below the separator after child `index`.
    pub fn is_below(self, index: usize, key: &[u8]) -> bool {
        let prefix = self.prefix();
        match compare_prefix(key, prefix) {
            Ordering::Less => true,
            Ordering::Greater => false,
            Ordering::Equal => &key[prefix.len()..] < self.suffix(index),
        }
    }

    /// The child that may hold `key`.
    #[inline(always)]
    pub fn find(self, key: &[u8]) -> usize {
        let (position, equal) = self.search(key);
        position + usize::from(equal)
    }

    /// The child that may hold the keys just below `key`.
    pub fn find_below(self, key: &[u8]) -> usize {
        self.search(key).0
    }

    #[inline(always)]
    fn search(self, key: &[u8]) -> (usize, bool) {
        let prefix = self.prefix();
        match compare_prefix(key, prefix) {
            Ordering::Less => (0, false),
            Ordering::Greater => (self.count() - 1, false),
            Ordering::Equal => {
                let suffix = &key[prefix.len()..];
                let (heads, target) = (self.heads(), head(suffix));
                let low = lower_bound_by(self.pivots(), heads, target);
                search_from(low, heads, target, |index| self.suffix(index).cmp(suffix))
            }
        }
    }

    /// The children, the first of which begins at `low`.
    pub fn children(self, low: &[u8]) -> Vec<Child> {
        (0..self.count())
            .map(|index| Child {
                low: if index == 0 { Separator::from_slice(low) } else { self.separator(index - 1) },
                page: self.child(index),
            })
            .collect()
    }

    /// # Safety
    /// Nobody may use the image afterwards; call it once. The children are not freed.
    pub unsafe fn free(self) {
        // SAFETY: allocated in `build` with this layout.
        unsafe { dealloc(self.at.as_ptr(), layout(self.bytes())) };
    }
}

/// Builds an inner page over at least one child; the first child's `low` is not stored.
pub fn build(level: usize, children: &[Child]) -> Inner<'static> {
    let count = children.len();
    debug_assert!(count > 0);
    let separators = &children[1..];
    let prefix_length = match (separators.first(), separators.last()) {
        (Some(first), Some(last)) => common_prefix(&first.low, &last.low),
        _ => 0,
    };
    let heap: usize = separators.iter().map(|child| child.low.len() - prefix_length).sum();
    let heads_at = HEADER + (count - 1) / PIVOT_BLOCK * 8;
    let pages_at = heads_at + (count - 1) * 8;
    let offsets_at = pages_at + count * 8;
    let prefix_at = offsets_at + count * 4;
    let bytes = (prefix_at + prefix_length + heap).next_multiple_of(64);
    // SAFETY: the layout has a size above zero.
    let at = unsafe { alloc(layout(bytes)) };
    let Some(at) = NonNull::new(at) else { handle_alloc_error(layout(bytes)) };
    // SAFETY: every write lands inside the sizes added up above.
    unsafe {
        let base = at.as_ptr();
        base.cast::<Header>().write(Header {
            count: count as u32,
            bytes: bytes as u32,
            heads_at: heads_at as u32,
            pages_at: pages_at as u32,
            prefix_at: prefix_at as u32,
            prefix_length: prefix_length as u16,
            level: level as u16,
        });
        let pivots = base.add(HEADER).cast::<u64>();
        let heads = base.add(heads_at).cast::<u64>();
        let pages = base.add(pages_at).cast::<*const PageRef>();
        let offsets = base.add(offsets_at).cast::<u32>();
        if prefix_length > 0 {
            ptr::copy_nonoverlapping(separators[0].low.as_ptr(), base.add(prefix_at), prefix_length);
        }
        let mut end = prefix_at + prefix_length;
        offsets.write(end as u32);
        pages.write(children[0].page);
        for (index, child) in separators.iter().enumerate() {
            let suffix = &child.low[prefix_length..];
            heads.add(index).write(head(suffix));
            if index % PIVOT_BLOCK == PIVOT_BLOCK - 1 {
                pivots.add(index / PIVOT_BLOCK).write(head(suffix));
            }
            pages.add(index + 1).write(child.page);
            ptr::copy_nonoverlapping(suffix.as_ptr(), base.add(end), suffix.len());
            end += suffix.len();
            offsets.add(index + 1).write(end as u32);
        }
    }
    Inner { at, life: PhantomData }
}
