//! What a program runs with.

pub use std::thread;
pub use std::time::Instant;

pub use crossbeam_epoch as epoch;
pub use crossbeam_utils::Backoff;
pub use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};

/// The atomics that threads agree by.
#[cfg(not(feature = "loom"))]
pub mod checked {
    pub use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64};
}

/// Memory that readers reach without a lock. Tests of schedules look whether it is still there.
pub mod reach {
    pub use std::alloc::{alloc, dealloc};

    #[inline(always)]
    pub fn assert_alive<T>(_at: *const T) {}

    #[inline(always)]
    pub fn born<T>(_at: *const T) {}

    #[inline(always)]
    pub fn gone<T>(_at: *const T) {}

    #[inline(always)]
    pub fn free<T>(boxed: Box<T>) {
        drop(boxed);
    }
}
