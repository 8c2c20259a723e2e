//! What the pages in memory add up to, against the budget they must keep.

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, OnceLock};

use crate::ahead;
use crate::sync::thread::{self, Thread};
use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// Made ready ahead of writers, at most.
const AHEAD: u64 = 16 << 20;
/// By how much the pages grow until more is made ready.
const STEP: u64 = 4 << 20;

/// What memory is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Leaves' images and deltas.
    Leaves,
    LongValues,
    /// Leaves as they are stored.
    Stored,
    /// Records of leaves that are not in memory.
    Excerpts,
    InnerPages,
    /// What identifies pages.
    Pages,
    /// In which order leaves may go.
    Queues,
    /// What was read for one scan alone.
    Scans,
    /// Buffers of the log.
    Log,
}

impl Part {
    pub const ALL: [Part; 9] = [
        Part::Leaves,
        Part::LongValues,
        Part::Stored,
        Part::Excerpts,
        Part::InnerPages,
        Part::Pages,
        Part::Queues,
        Part::Scans,
        Part::Log,
    ];
}

/// Bytes that count for as long as it is there.
pub struct Counted {
    memory: Arc<Memory>,
    part: Part,
    bytes: usize,
}

impl Counted {
    pub fn new(memory: &Arc<Memory>, part: Part, bytes: usize) -> Counted {
        memory.add(part, bytes);
        Counted { memory: Arc::clone(memory), part, bytes }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.memory.sub(self.part, self.bytes);
    }
}

#[derive(Debug)]
pub struct Memory {
    used: AtomicU64,
    /// What `used` is the sum of.
    parts: [AtomicU64; Part::ALL.len()],
    budget: AtomicU64,
    /// How much of the budget each part of the leaves is to have, beside what is not theirs.
    targets: [AtomicU64; Part::ALL.len()],
    /// Below it, making room was in vain.
    pressing_from: AtomicU64,
    /// Who makes room, woken when the budget is exceeded.
    keeper: OnceLock<Thread>,
    called: AtomicBool,
    ahead: OnceLock<SyncSender<usize>>,
    /// The use at which more memory is made ready.
    mark: AtomicU64,
}

impl Memory {
    pub fn new(budget: u64) -> Memory {
        Memory {
            used: AtomicU64::new(0),
            parts: std::array::from_fn(|_| AtomicU64::new(0)),
            budget: AtomicU64::new(budget),
            targets: std::array::from_fn(|_| AtomicU64::new(u64::MAX)),
            pressing_from: AtomicU64::new(0),
            keeper: OnceLock::new(),
            called: AtomicBool::new(false),
            ahead: OnceLock::new(),
            mark: AtomicU64::new(STEP / 4),
        }
    }

    pub fn add(&self, part: Part, bytes: usize) {
        self.parts[part as usize].fetch_add(bytes as u64, Ordering::Relaxed);
        let used = self.used.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if used > self.budget() && !self.called.load(Ordering::Relaxed) {
            self.call();
        }
    }

    /// As `add`, for what a writer allocates.
    #[inline]
    pub fn grow(&self, part: Part, bytes: usize) {
        self.add(part, bytes);
        let used = self.used();
        if used > self.mark.load(Ordering::Relaxed) {
            self.make_ready(used);
        }
    }

    #[cold]
    fn make_ready(&self, used: u64) {
        self.mark.store(used + STEP, Ordering::Relaxed);
        let bytes = AHEAD.min(self.budget().saturating_sub(used) / 4);
        // A call that is not answered yet is as good.
        let _ = self.ahead.get_or_init(ahead::start).try_send(bytes as usize);
    }

    /// To be called now and then, so that growth is noticed again after less has been used for a while.
    pub fn lower_mark(&self) {
        self.mark.fetch_min(self.used() + STEP, Ordering::Relaxed);
    }

    #[cold]
    fn call(&self) {
        let Some(keeper) = self.keeper.get() else { return };
        // Not by itself: it would never rest while what it cannot drop is above the budget.
        if keeper.id() != thread::current().id() && !self.called.swap(true, Ordering::AcqRel) {
            keeper.unpark();
        }
    }

    /// Makes the current thread the one that is unparked when room is needed.
    pub fn keep(&self) {
        let _ = self.keeper.set(thread::current());
    }

    /// The keeper is about to make room; it is called again if that was not enough.
    pub fn answer(&self) {
        self.called.store(false, Ordering::Release);
    }

    pub fn sub(&self, part: Part, bytes: usize) {
        self.parts[part as usize].fetch_sub(bytes as u64, Ordering::Relaxed);
        self.used.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    /// For what is measured now and then rather than counted.
    pub fn set(&self, part: Part, bytes: u64) {
        let before = self.parts[part as usize].swap(bytes, Ordering::Relaxed);
        self.used.fetch_add(bytes.wrapping_sub(before), Ordering::Relaxed);
    }

    pub fn part(&self, part: Part) -> u64 {
        self.parts[part as usize].load(Ordering::Relaxed)
    }

    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub fn budget(&self) -> u64 {
        self.budget.load(Ordering::Relaxed)
    }

    pub fn set_budget(&self, bytes: u64) {
        self.budget.store(bytes, Ordering::Relaxed);
    }

    /// Whether writers have to make room before they go on: it is so much above the budget that the keeper does not keep up.
    #[inline]
    pub fn is_pressing(&self) -> bool {
        let (budget, used) = (self.budget(), self.used());
        used > budget + budget / 32 + (2 << 20) && used >= self.pressing_from.load(Ordering::Relaxed)
    }

    /// Whether readers that bring leaves into memory have to make room before they go on.
    #[inline]
    pub fn is_beyond(&self) -> bool {
        let (budget, used) = (self.budget(), self.used());
        used > budget + budget / 32 && used >= self.pressing_from.load(Ordering::Relaxed)
    }

    /// Making room is in vain as long as less than `bytes` is used; 0: it is not.
    pub fn press_from(&self, bytes: u64) {
        self.pressing_from.store(bytes, Ordering::Relaxed);
    }

    /// How many bytes a part is to have when memory is scarce.
    #[inline]
    pub fn target(&self, part: Part) -> u64 {
        self.targets[part as usize].load(Ordering::Relaxed)
    }

    pub fn set_target(&self, part: Part, bytes: u64) {
        self.targets[part as usize].store(bytes, Ordering::Relaxed);
    }

    /// Whether a part has less than it is to have.
    #[inline]
    pub fn has_room(&self, part: Part) -> bool {
        self.part(part) < self.target(part)
    }

    /// Whether what is wanted once would soon drive out of the leaves what is wanted again. Making room does not change
    /// that.
    pub fn is_tight(&self) -> bool {
        let nearly = |bytes: u64| bytes - bytes / 16;
        self.part(Part::Leaves) >= nearly(self.target(Part::Leaves)) || self.used() >= nearly(self.budget())
    }

    /// Bytes above the budget, 0 when within it.
    pub fn excess(&self) -> u64 {
        self.used().saturating_sub(self.budget())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keeper_is_called_by_others_and_not_by_itself() {
        let memory = Memory::new(10);
        memory.keep();
        memory.add(Part::Leaves, 20);
        assert!(!memory.called.load(Ordering::Relaxed), "it would go on at once, for ever");
        std::thread::scope(|scope| scope.spawn(|| memory.add(Part::Leaves, 1)).join()).expect("no panic");
        assert!(memory.called.load(Ordering::Relaxed));
    }

    #[test]
    fn memory_is_made_ready_where_writers_make_it_grow() {
        let memory = Memory::new(1 << 30);
        memory.add(Part::Leaves, 8 << 20);
        assert!(memory.ahead.get().is_none(), "reading is no growth of this kind");
        memory.sub(Part::Leaves, 8 << 20);
        memory.grow(Part::Leaves, 1 << 19);
        assert!(memory.ahead.get().is_none(), "too little to start a thread for");
        memory.grow(Part::Leaves, 1 << 20);
        assert!(memory.ahead.get().is_some());
        assert_eq!(memory.mark.load(Ordering::Relaxed), (3 << 19) + STEP);
        memory.sub(Part::Leaves, 1 << 20);
        memory.lower_mark();
        assert_eq!(memory.mark.load(Ordering::Relaxed), (1 << 19) + STEP);
    }
}
