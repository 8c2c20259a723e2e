//! A forked child shares the parent's open files but none of its threads: it must neither use a handle nor close it.

use crate::error;
use pyo3::PyResult;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU32, Ordering};

static GENERATION: AtomicU32 = AtomicU32::new(0);

/// Counts the forks this process is away from the one that loaded the module.
pub fn watch() {
    #[cfg(unix)]
    {
        static ONCE: std::sync::Once = std::sync::Once::new();
        extern "C" fn in_child() {
            GENERATION.fetch_add(1, Ordering::Relaxed);
        }
        // Safety: the handler does one atomic addition, which is allowed after a fork.
        ONCE.call_once(|| unsafe {
            libc::pthread_atfork(None, None, Some(in_child));
        });
    }
}

/// A handle of the engine that works, and is dropped, only in the process which made it.
pub struct Owned<T> {
    handle: ManuallyDrop<T>,
    generation: u32,
}

impl<T> Owned<T> {
    pub fn new(handle: T) -> Self {
        Owned { handle: ManuallyDrop::new(handle), generation: GENERATION.load(Ordering::Relaxed) }
    }

    #[inline(always)]
    pub fn get(&self) -> PyResult<&T> {
        if self.is_ours() { Ok(&self.handle) } else { Err(error::forked()) }
    }

    #[inline(always)]
    pub fn is_ours(&self) -> bool {
        // Relaxed: the counter changes only in the child, before any of its code runs.
        self.generation == GENERATION.load(Ordering::Relaxed)
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if self.is_ours() {
            // Safety: dropped once, here. In a forked child the handle is leaked on purpose: closing it would write
            // to the parent's files and wait for threads that were not copied.
            unsafe { ManuallyDrop::drop(&mut self.handle) }
        }
    }
}
