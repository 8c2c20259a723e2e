//! The lock around state that a Python object of ours changes: uncontended it costs one atomic exchange, and whoever
//! has to wait gives up the GIL first, so that its holder may wait for the GIL.

use pyo3::Python;
use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub struct Lock<T> {
    taken: AtomicBool,
    state: UnsafeCell<T>,
}

// Safety: the flag lets one thread at a time reach the state, so T need not be Sync itself.
unsafe impl<T: Send> Sync for Lock<T> {}

pub struct Guard<'a, T>(&'a Lock<T>);

// Safety: a guard is only the right to release an atomic flag; it may end on another thread.
unsafe impl<T: Send> Send for Guard<'_, T> {}

impl<T> Lock<T> {
    pub fn new(state: T) -> Self {
        Lock { taken: AtomicBool::new(false), state: UnsafeCell::new(state) }
    }

    #[inline(always)]
    pub fn try_lock(&self) -> Option<Guard<'_, T>> {
        if self.taken.swap(true, Ordering::Acquire) { None } else { Some(Guard(self)) }
    }

    #[inline(always)]
    pub fn lock(&self, py: Python<'_>) -> Guard<'_, T>
    where
        T: Send,
    {
        match self.try_lock() {
            Some(guard) => guard,
            None => self.wait(py),
        }
    }

    /// Two threads use one scan or one transaction at once: rare, so waiting may be plain.
    #[cold]
    fn wait(&self, py: Python<'_>) -> Guard<'_, T>
    where
        T: Send,
    {
        py.detach(|| {
            let mut pause = Duration::from_micros(1);
            loop {
                if let Some(guard) = self.try_lock() {
                    return guard;
                }
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(1));
            }
        })
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // Safety: this guard holds the flag.
        unsafe { &*self.0.state.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // Safety: this guard holds the flag, and is borrowed mutably.
        unsafe { &mut *self.0.state.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.taken.store(false, Ordering::Release);
    }
}
