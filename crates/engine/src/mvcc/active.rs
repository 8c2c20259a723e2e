//! The table of versions that snapshots stand at. Registering takes no lock.

use std::ptr;
use std::sync::Arc;

use crossbeam_utils::CachePadded;

use super::Versions;
use crate::counters::thread_slot;
use crate::host::{OpenSnapshot, Origin};
use crate::sync::checked::{AtomicBool, AtomicPtr, AtomicU64};
use crate::sync::{Instant, Mutex, Ordering};

const FREE: u64 = u64::MAX;
const SLOTS: usize = if cfg!(feature = "loom") { 2 } else { 32 };

struct Slot {
    version: AtomicU64,
    /// Since when, and by whom: of the program's snapshots only. Nobody waits for this lock but who asks for all.
    opened: Mutex<Option<(Instant, Option<Origin>)>>,
}

pub struct Table {
    slots: [CachePadded<Slot>; SLOTS],
    /// Grows when all slots are taken, and never shrinks.
    next: AtomicPtr<Table>,
}

impl Default for Table {
    fn default() -> Table {
        let free = || Slot { version: AtomicU64::new(FREE), opened: Mutex::new(None) };
        Table { slots: std::array::from_fn(|_| CachePadded::new(free())), next: AtomicPtr::default() }
    }
}

impl Table {
    fn next(&self) -> Option<&Table> {
        // SAFETY: tables are freed with the first one only.
        unsafe { self.next.load(Ordering::Acquire).as_ref() }
    }

    /// Takes a free slot, with `version` in it.
    fn claim(&self, version: u64) -> &Slot {
        let mut table = self;
        loop {
            let start = thread_slot();
            for step in 0..SLOTS {
                let slot = &table.slots[(start + step) % SLOTS];
                if slot.version.load(Ordering::Relaxed) == FREE
                    && slot.version.compare_exchange(FREE, version, Ordering::SeqCst, Ordering::Relaxed).is_ok()
                {
                    return slot;
                }
            }
            if table.next().is_none() {
                let more = Box::into_raw(Box::<Table>::default());
                let won =
                    table.next.compare_exchange(ptr::null_mut(), more, Ordering::AcqRel, Ordering::Acquire).is_ok();
                if !won {
                    // SAFETY: nobody else has seen it.
                    drop(unsafe { Box::from_raw(more) });
                }
            }
            table = table.next().expect("just made, by us or by another");
        }
    }

    fn registered(&self) -> impl Iterator<Item = (u64, &Slot)> {
        std::iter::successors(Some(self), |table| table.next())
            .flat_map(|table| table.slots.iter())
            .map(|slot| (slot.version.load(Ordering::SeqCst), &**slot))
            .filter(|&(version, _)| version != FREE)
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let next = self.next.load(Ordering::Relaxed);
        if !next.is_null() {
            // SAFETY: owned by this table alone.
            drop(unsafe { Box::from_raw(next) });
        }
    }
}

/// Keeps all that is visible at its version readable until it is released or dropped.
pub struct ActiveVersion {
    /// Owns the table that the slot is in.
    _versions: Arc<Versions>,
    slot: *const Slot,
    version: u64,
    released: AtomicBool,
}

// SAFETY: the slot may be shared, and is in a table that `versions` keeps alive.
unsafe impl Send for ActiveVersion {}
// SAFETY: as above.
unsafe impl Sync for ActiveVersion {}

impl ActiveVersion {
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Gives the version up while readers may still be reading at it; they have to ask `is_released` when they are done.
    pub fn release(&self) {
        if !self.released.swap(true, Ordering::AcqRel) {
            // SAFETY: `versions` keeps the table alive.
            let slot = unsafe { &*self.slot };
            *slot.opened.lock() = None;
            // Release: our reads are over, and the mark is set, before the slot is seen free.
            slot.version.store(FREE, Ordering::Release);
        }
    }

    /// Asked after a read. Who pruned what the read should have found had seen the slot free, and the read has seen what
    /// that one published, so that it sees the mark too.
    #[inline(always)]
    pub fn is_released(&self) -> bool {
        self.released.load(Ordering::Acquire)
    }
}

impl Drop for ActiveVersion {
    fn drop(&mut self) {
        self.release();
    }
}

impl Versions {
    /// Registers the newest visible version.
    ///
    /// A pruning writer reads the visible version first and the table second; we write the table first and read the
    /// visible version again second, all sequentially consistent. So either the writer sees our slot, or what it took
    /// for visible is not above our version and it keeps what we can see.
    pub fn register(self: &Arc<Versions>) -> ActiveVersion {
        let mut version = self.visible();
        let slot = self.table().claim(version);
        loop {
            let now = self.visible_in_order();
            if now == version {
                let released = AtomicBool::new(false);
                return ActiveVersion { _versions: Arc::clone(self), slot, version, released };
            }
            version = now;
            slot.version.store(version, Ordering::SeqCst);
        }
    }

    /// As `register`, for the program, which is told of it by `oldest_snapshot`.
    pub fn register_opened(self: &Arc<Versions>, origin: Option<Origin>) -> ActiveVersion {
        let active = self.register();
        // SAFETY: `active` keeps the table alive.
        *unsafe { &*active.slot }.opened.lock() = Some((Instant::now(), origin));
        active
    }

    /// How many snapshots the program has open, and the oldest of them.
    pub fn open_snapshots(&self) -> (usize, Option<OpenSnapshot>) {
        let opened = |(version, slot): (u64, &Slot)| {
            let (since, origin) = slot.opened.lock().clone()?;
            Some(OpenSnapshot { version, since, origin })
        };
        let open: Vec<OpenSnapshot> = self.table().registered().filter_map(opened).collect();
        (open.len(), open.into_iter().min_by_key(|snapshot| (snapshot.version, snapshot.since)))
    }

    /// All versions that a reader may stand at, ascending; the newest visible one is always among them.
    pub fn active(&self) -> Vec<u64> {
        self.active_where(|_| true)
    }

    /// As `active`, but for `own`, whose holder reads no more where this is asked.
    pub fn active_beside(&self, own: &ActiveVersion) -> Vec<u64> {
        self.active_where(|slot| !ptr::eq(slot, own.slot))
    }

    fn active_where(&self, counts: impl Fn(&Slot) -> bool) -> Vec<u64> {
        let visible = self.visible_in_order();
        let registered = self.table().registered().filter(|(_, slot)| counts(slot));
        let mut active: Vec<u64> = std::iter::once(visible).chain(registered.map(|(version, _)| version)).collect();
        active.sort_unstable();
        active.dedup();
        active
    }
}
