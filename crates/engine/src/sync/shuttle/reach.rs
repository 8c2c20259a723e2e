//! Memory that readers reach without a lock. What is freed stays there until the schedule's end, overwritten, and whoever
//! looks at it is caught; at the end nothing may be left that was not freed.

use std::alloc::Layout;
use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;

thread_local! {
    /// Of the schedule that this thread of the system's is going through.
    static REACH: RefCell<Reach> = RefCell::default();
}

#[derive(Default)]
struct Reach {
    /// By address: whether it is still to be there.
    alive: HashMap<usize, bool>,
    freed: Vec<(*mut u8, Layout)>,
    freed_boxes: Vec<Box<dyn Any>>,
}

impl Reach {
    fn end(&mut self, address: usize) {
        let alive = self.alive.insert(address, false);
        assert_eq!(alive, Some(true), "memory is freed that is not there");
    }
}

impl Drop for Reach {
    fn drop(&mut self) {
        for &(at, layout) in &self.freed {
            // SAFETY: it was allocated with this layout, and is freed here alone.
            unsafe { std::alloc::dealloc(at, layout) };
        }
    }
}

/// # Safety
/// As the system's.
pub unsafe fn alloc(layout: Layout) -> *mut u8 {
    // SAFETY: by the caller's word.
    let at = unsafe { std::alloc::alloc(layout) };
    born(at);
    at
}

/// # Safety
/// As the system's.
pub unsafe fn dealloc(at: *mut u8, layout: Layout) {
    REACH.with_borrow_mut(|reach| {
        reach.end(at.addr());
        reach.freed.push((at, layout));
    });
    // SAFETY: it is still allocated, and the caller's.
    unsafe { at.write_bytes(0xdd, layout.size()) };
}

pub fn born<T>(at: *const T) {
    REACH.with_borrow_mut(|reach| reach.alive.insert(at.addr(), true));
}

pub fn gone<T>(at: *const T) {
    REACH.with_borrow_mut(|reach| reach.end(at.addr()));
}

pub fn free<T: 'static>(boxed: Box<T>) {
    REACH.with_borrow_mut(|reach| {
        reach.end(std::ptr::from_ref(&*boxed).addr());
        reach.freed_boxes.push(boxed);
    });
}

#[track_caller]
pub fn assert_alive<T>(at: *const T) {
    let alive = REACH.with_borrow(|reach| reach.alive.get(&at.addr()).copied());
    assert_ne!(alive, Some(false), "memory is looked at that has been freed");
}

#[cfg(test)]
pub(super) fn begin() {
    // What a schedule that failed left behind may still be looked at while that failure is told.
    std::mem::forget(REACH.take());
}

#[cfg(test)]
pub(super) fn end() {
    let reach = REACH.take();
    let left = reach.alive.values().filter(|&&alive| alive).count();
    assert_eq!(left, 0, "memory was never freed");
}
