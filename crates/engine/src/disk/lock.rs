//! The lock of a folder, and what a fork does to it.

use std::fs;
use std::mem::ManuallyDrop;

/// Ends the lock when it is dropped. A forked child shares the lock with its parent: it must not end it, nor keep it from
/// ending with the parent.
pub(super) struct OsLock {
    file: ManuallyDrop<fs::File>,
    #[cfg(unix)]
    held: &'static forked::Held,
}

impl OsLock {
    pub(super) fn new(file: fs::File) -> OsLock {
        OsLock {
            #[cfg(unix)]
            held: forked::hold(std::os::fd::AsRawFd::as_raw_fd(&file)),
            file: ManuallyDrop::new(file),
        }
    }
}

impl Drop for OsLock {
    fn drop(&mut self) {
        #[cfg(unix)]
        if !self.held.let_go() {
            return; // This is a forked child, which has closed it already.
        }
        // Closing unlocks too, unless a child holds the file open that was made without its handlers being run (vfork,
        // a bare system call): hence the call. Its failure changes nothing.
        let _ = self.file.unlock();
        // Safety: dropped once, here.
        unsafe { ManuallyDrop::drop(&mut self.file) }
    }
}

/// Children close the locks that they inherit. Only atomics here: after a fork, a mutex may be held for ever.
#[cfg(unix)]
mod forked {
    use std::os::fd::RawFd;
    use std::ptr;
    use std::sync::Once;
    use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};

    const FREE: RawFd = -1;
    const CLOSED: RawFd = -2;

    /// A place in a list that only grows; places are used again.
    pub struct Held {
        descriptor: AtomicI32,
        next: *const Held,
    }

    // Safety: `next` never changes, and what it points to is never freed.
    unsafe impl Sync for Held {}

    static LIST: AtomicPtr<Held> = AtomicPtr::new(ptr::null_mut());

    fn all() -> impl Iterator<Item = &'static Held> {
        let mut at: *const Held = LIST.load(Ordering::Acquire);
        std::iter::from_fn(move || {
            // Safety: null, or leaked by `hold`.
            let held = unsafe { at.as_ref() }?;
            at = held.next;
            Some(held)
        })
    }

    pub fn hold(descriptor: RawFd) -> &'static Held {
        static ONCE: Once = Once::new();
        // Safety: the handler does what is allowed after a fork: atomics, and close.
        ONCE.call_once(|| unsafe {
            libc::pthread_atfork(None, None, Some(close_all));
        });
        let take = |held: &&Held| {
            held.descriptor.compare_exchange(FREE, descriptor, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        if let Some(held) = all().find(take) {
            return held;
        }
        let mut next = LIST.load(Ordering::Acquire);
        let held = Box::leak(Box::new(Held { descriptor: AtomicI32::new(descriptor), next }));
        while let Err(newer) = LIST.compare_exchange(next, held, Ordering::AcqRel, Ordering::Acquire) {
            next = newer;
            held.next = newer;
        }
        held
    }

    impl Held {
        /// False if this is a child that has closed it.
        pub fn let_go(&self) -> bool {
            let ours = self.descriptor.load(Ordering::Relaxed) != CLOSED;
            self.descriptor.store(FREE, Ordering::Relaxed);
            ours
        }
    }

    extern "C" fn close_all() {
        for held in all() {
            let descriptor = held.descriptor.load(Ordering::Relaxed);
            if descriptor >= 0 {
                held.descriptor.store(CLOSED, Ordering::Relaxed);
                // Safety: the file is open in the parent, so this number is that file here; nobody uses it any more.
                unsafe { libc::close(descriptor) };
            }
        }
    }
}
