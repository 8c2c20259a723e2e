//! What the pages in memory add up to, against the budget they must keep.

use std::sync::OnceLock;
use std::thread::Thread;

use crate::sync::{AtomicBool, AtomicU64, Ordering};

#[derive(Debug)]
pub struct Memory {
    used: AtomicU64,
    /// Parts of `used`; the rest is leaves.
    inner_pages: AtomicU64,
    long_values: AtomicU64,
    budget: AtomicU64,
    /// Who makes room, woken when the budget is exceeded.
    keeper: OnceLock<Thread>,
    called: AtomicBool,
}

impl Memory {
    pub fn new(budget: u64) -> Memory {
        Memory {
            used: AtomicU64::new(0),
            inner_pages: AtomicU64::new(0),
            long_values: AtomicU64::new(0),
            budget: AtomicU64::new(budget),
            keeper: OnceLock::new(),
            called: AtomicBool::new(false),
        }
    }

    pub fn add(&self, bytes: usize) {
        let used = self.used.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if used > self.budget() && !self.called.load(Ordering::Relaxed) {
            self.call();
        }
    }

    pub fn add_inner(&self, bytes: usize) {
        self.inner_pages.fetch_add(bytes as u64, Ordering::Relaxed);
        self.add(bytes);
    }

    pub fn add_long_value(&self, bytes: usize) {
        self.long_values.fetch_add(bytes as u64, Ordering::Relaxed);
        self.add(bytes);
    }

    #[cold]
    fn call(&self) {
        if let Some(keeper) = self.keeper.get().filter(|_| !self.called.swap(true, Ordering::AcqRel)) {
            keeper.unpark();
        }
    }

    /// Makes the current thread the one that is unparked when room is needed.
    pub fn keep(&self) {
        let _ = self.keeper.set(std::thread::current());
    }

    /// The keeper is about to make room; it is called again if that was not enough.
    pub fn answer(&self) {
        self.called.store(false, Ordering::Release);
    }

    pub fn sub(&self, bytes: usize) {
        self.used.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    pub fn sub_inner(&self, bytes: usize) {
        self.inner_pages.fetch_sub(bytes as u64, Ordering::Relaxed);
        self.sub(bytes);
    }

    pub fn sub_long_value(&self, bytes: usize) {
        self.long_values.fetch_sub(bytes as u64, Ordering::Relaxed);
        self.sub(bytes);
    }

    pub fn inner_pages(&self) -> u64 {
        self.inner_pages.load(Ordering::Relaxed)
    }

    pub fn long_values(&self) -> u64 {
        self.long_values.load(Ordering::Relaxed)
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

    /// Bytes above the budget, 0 when within it.
    pub fn excess(&self) -> u64 {
        self.used().saturating_sub(self.budget())
    }
}
