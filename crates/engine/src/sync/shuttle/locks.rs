//! Shuttle's locks with the interface of parking_lot's.

use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;

use shuttle::sync::{RwLockReadGuard, RwLockWriteGuard};

use super::thread::{times_out, yield_now};
use super::time::Instant;

// A panic ends the whole schedule, so that no lock is ever found poisoned.

#[derive(Debug, Default)]
pub struct Mutex<T>(shuttle::sync::Mutex<T>);

#[derive(Debug)]
pub struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    /// `None` only inside of a wait.
    held: Option<shuttle::sync::MutexGuard<'a, T>>,
}

impl<T> Mutex<T> {
    pub fn new(value: T) -> Mutex<T> {
        Mutex(shuttle::sync::Mutex::new(value))
    }

    pub fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard { mutex: self, held: Some(self.0.lock().unwrap_or_else(PoisonError::into_inner)) }
    }

    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok().map(|held| MutexGuard { mutex: self, held: Some(held) })
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.held.as_ref().expect("it is not waiting")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.held.as_mut().expect("it is not waiting")
    }
}

#[derive(Debug, Default)]
pub struct RwLock<T>(shuttle::sync::RwLock<T>);

impl<T> RwLock<T> {
    pub fn new(value: T) -> RwLock<T> {
        RwLock(shuttle::sync::RwLock::new(value))
    }

    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
pub struct Condvar(shuttle::sync::Condvar);

impl Condvar {
    pub fn new() -> Condvar {
        Condvar::default()
    }

    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let held = guard.held.take().expect("it is not waiting");
        guard.held = Some(self.0.wait(held).unwrap_or_else(PoisonError::into_inner));
    }

    /// Either the time is over by when the thread goes on, or it is woken before.
    pub fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, moment: Instant) {
        if !times_out() {
            return self.wait(guard);
        }
        guard.held = None;
        yield_now();
        moment.come();
        guard.held = guard.mutex.lock().held;
    }

    /// Whether there was one to wake is not known; nothing may depend on it.
    pub fn notify_one(&self) -> bool {
        self.0.notify_one();
        false
    }

    pub fn notify_all(&self) -> usize {
        self.0.notify_all();
        0
    }
}
