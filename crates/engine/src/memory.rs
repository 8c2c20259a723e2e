//! What the pages in memory add up to, against the budget they must keep.

use crate::sync::{AtomicU64, Ordering};

#[derive(Debug)]
pub struct Memory {
    used: AtomicU64,
    budget: AtomicU64,
}

impl Memory {
    pub fn new(budget: u64) -> Memory {
        Memory { used: AtomicU64::new(0), budget: AtomicU64::new(budget) }
    }

    pub fn add(&self, bytes: usize) {
        self.used.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub fn sub(&self, bytes: usize) {
        self.used.fetch_sub(bytes as u64, Ordering::Relaxed);
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
