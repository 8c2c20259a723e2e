//! What the engine runs with where shuttle goes through its schedules: every lock, wait, thread and checked atomic is a
//! place where another thread may go on.

pub mod epoch;
mod locks;
pub mod reach;
pub mod thread;
mod time;

pub use locks::{Condvar, Mutex, MutexGuard, RwLock};
pub use thread::Backoff;
pub use time::Instant;

/// The atomics that threads agree by.
pub mod checked {
    pub use shuttle::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64};
}

/// At the start of each schedule.
#[cfg(test)]
pub fn begin() {
    time::begin();
    epoch::begin();
    reach::begin();
}

/// At the end of each schedule, when all threads are gone: nobody is pinned, and all that was given to the epoch can be and
/// is freed.
#[cfg(test)]
pub fn end() {
    epoch::end();
    reach::end();
}
