//! The versioned B+tree of one family: readers take no lock, one writer at a time changes it.

mod ahead_of_scan;
mod aside;
mod away;
mod blob;
mod cursor;
mod delta;
mod excerpt;
mod fingerprint;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod gather;
mod inner;
mod keys;
mod leaf;
mod load;
mod observer;
#[cfg(all(test, feature = "loom"))]
mod orderings;
mod page;
mod passage;
mod payload;
mod place;
mod read;
mod record;
mod remains;
mod reshape;
mod residents;
#[cfg(all(test, feature = "shuttle"))]
mod schedules;
mod steps;
mod stored;
mod verify;
mod walk;
mod write;

pub use away::Demoted;
pub use blob::Blob;
pub use cursor::{Columns, Cursor, Fetched, Limit, Rows};
pub use gather::{Gathered, gather, view};
#[cfg(all(test, feature = "shuttle"))]
pub use gather::{Horizon, prune};
pub use inner::{Child, build as build_inner};
pub use keys::head;
pub use leaf::Leaf;
use leaf::build as build_leaf;
pub use load::{encode_leaf, parse_leaf};
pub use observer::{Observed, Observer};
pub use page::{DIRTY, EARLY, EXPIRING, Found, MAX_LEVEL, MAX_RECORDS, PageRef, RETIRED};
pub use passage::{Passage, Place as PlaceOf};
pub use place::Place;
pub use read::{AsOf, Lookup};
pub use record::{BLOB, Record};
pub use residents::{QUEUED, Residents};
pub use verify::Finding;
pub use walk::Bottom;
pub use write::{LEAST_SHARE, Writer};

use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::Clock;
use crate::counters::FamilyCounters;
use crate::events::Events;
use crate::io_pool::IoPool;
use crate::memory::{Memory, Part};
use crate::mvcc::Versions;
use crate::pagefile::PageFile;
use crate::sync::checked::{AtomicBool, AtomicPtr};
use crate::sync::epoch::{self, Guard};
use crate::sync::{AtomicU32, Mutex, Ordering, reach};
use crate::tunables::FamilySettings;

/// What a tree needs of the database around it.
pub struct Surroundings {
    pub versions: Arc<Versions>,
    pub pages: Arc<PageFile>,
    pub memory: Arc<Memory>,
    pub settings: Arc<FamilySettings>,
    pub clock: Clock,
    pub counters: Arc<FamilyCounters>,
    pub residents: Arc<Residents>,
    pub io: Arc<IoPool>,
    pub events: Arc<Events>,
    /// The family's number.
    pub family: u32,
    /// The database's folder, for messages.
    pub path: PathBuf,
}

pub struct Tree {
    root: AtomicPtr<PageRef>,
    pub writer: Mutex<Writer>,
    pub observer: Observer,
    /// Of leaves that are read again and again and have no image.
    warm_reads: AtomicU32,
    /// False as long as no leaf was ever out of memory, which spares writers looking.
    may_be_cold: AtomicBool,
    around: Surroundings,
}

// SAFETY: pages and images are shared by atomics and freed through the epoch; all changes happen under `writer`.
unsafe impl Send for Tree {}
// SAFETY: as above.
unsafe impl Sync for Tree {}

impl Tree {
    pub fn empty(around: Surroundings) -> Tree {
        let leaf = build_leaf(&[], &[]);
        around.memory.add(Part::Leaves, leaf.bytes());
        around.memory.add(Part::Pages, PageRef::BYTES);
        let tree = Tree::with_root(PageRef::hot(leaf.address(), 0), false, around);
        let guard = epoch::pin();
        tree.note(tree.root(&guard), &guard);
        tree
    }

    /// `cold`: some leaf is not in memory.
    pub fn with_root(root: Box<PageRef>, cold: bool, around: Surroundings) -> Tree {
        Tree {
            root: AtomicPtr::new(Box::into_raw(root)),
            writer: Mutex::new(Writer::default()),
            observer: Observer::default(),
            warm_reads: AtomicU32::new(0),
            may_be_cold: AtomicBool::new(cold),
            around,
        }
    }

    pub fn may_be_cold(&self) -> bool {
        self.may_be_cold.load(Ordering::Relaxed)
    }

    /// Before the first eviction, under the lock.
    pub fn expect_cold(&self) {
        self.may_be_cold.store(true, Ordering::Relaxed);
    }

    /// A leaf is scanned or written.
    #[inline(always)]
    pub(crate) fn visit(&self, page: &PageRef) {
        page.touch();
        self.observe_leaf(page);
    }

    /// A point read has got its answer from a leaf, which it touched. Not before: an attempt that has to wait for the disk is
    /// followed by another.
    #[inline(always)]
    fn observe(&self, page: &PageRef, key: &[u8]) {
        self.observe_leaf(page);
        self.observer.point_read(key);
    }

    #[inline(always)]
    fn observe_leaf(&self, page: &PageRef) {
        let identity = std::ptr::from_ref(page).addr() as u64;
        if self.observer.follows_leaf(identity) {
            self.visited(page, identity);
        }
    }

    #[cold]
    fn visited(&self, page: &PageRef, identity: u64) {
        let bytes = self.around.settings.leaf_bytes();
        let others = self.around.residents.access(identity, page, bytes);
        self.observer.leaf_accessed(identity, bytes, others);
    }

    pub fn around(&self) -> &Surroundings {
        &self.around
    }

    #[inline(always)]
    pub fn root<'g>(&self, _guard: &'g Guard) -> &'g PageRef {
        // SAFETY: the root is never null, and a replaced one is freed through the epoch.
        unsafe { &*self.root.load(Ordering::Acquire) }
    }

    fn set_root(&self, page: *const PageRef) {
        self.root.store(page.cast_mut(), Ordering::Release);
    }

    /// Puts an empty root in the place of the whole tree and frees the rest once no reader can be in it.
    pub fn clear(&self, guard: &Guard) {
        let _writer = self.writer.lock();
        let (old, memory) = (self.plant(guard), Arc::clone(&self.around.memory));
        // SAFETY: the old root is still alive, as we are pinned.
        self.leave(unsafe { &*old }, guard);
        let old = old.expose_provenance();
        // SAFETY: the old tree is unreachable but for readers pinned before the swap.
        unsafe {
            guard.defer_unchecked(move || free_page(std::ptr::with_exposed_provenance_mut(old), &memory));
        }
    }

    /// A new root without records; the old one.
    fn plant(&self, guard: &Guard) -> *mut PageRef {
        let leaf = build_leaf(&[], &[]);
        self.around.memory.add(Part::Leaves, leaf.bytes());
        let page = self.new_page(leaf.address(), 0);
        let old = self.root.swap(page, Ordering::AcqRel);
        // SAFETY: it was just made, and we are pinned.
        self.note(unsafe { &*page }, guard);
        old
    }

    /// Takes all pages from `page` down out of the queues; readers that are still there put none back.
    fn leave(&self, page: &PageRef, guard: &Guard) {
        page.set(RETIRED);
        if page.level() == 0 {
            return self.around.residents.forget(page);
        }
        let inner = page.inner(guard);
        (0..inner.count()).for_each(|index| self.leave(inner.child(index), guard));
    }

    /// A page with an image in memory only.
    fn new_page(&self, image: u64, level: usize) -> *mut PageRef {
        self.around.memory.add(Part::Pages, PageRef::BYTES);
        Box::into_raw(PageRef::hot(image, level))
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let guard = epoch::pin();
        self.leave(self.root(&guard), &guard);
        drop(guard);
        // SAFETY: nobody else has the tree any more.
        unsafe { free_page(self.root.load(Ordering::Relaxed), &self.around.memory) };
    }
}

/// Frees a page, what memory has of it and all below it.
///
/// # Safety
/// Nobody may reach the page any more, and it is in no queue.
pub unsafe fn free_page(page: *mut PageRef, memory: &Memory) {
    // SAFETY: pages are boxed, and the caller gives this one up.
    let page = unsafe { Box::from_raw(page) };
    let level = page.level();
    if level > 0 {
        let guard = epoch::pin();
        let inner = page.inner(&guard);
        for index in 0..inner.count() {
            // SAFETY: the children go with the page that owns them.
            unsafe { free_page(std::ptr::from_ref(inner.child(index)).cast_mut(), memory) };
        }
    }
    let contents = page.contents();
    // SAFETY: what the page has goes with it.
    unsafe {
        if let Some((part, bytes)) = contents.footprint(level) {
            memory.sub(part, bytes);
        }
        contents.free(level);
    }
    memory.sub(Part::Pages, PageRef::BYTES);
    reach::free(page);
}
