//! A stand-in for crossbeam's epochs that keeps no more than they promise: what is deferred runs as soon as all who were
//! pinned at that moment have unpinned, or at any time after that, in whatever thread. So what relies on more is found.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::marker::PhantomData;
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};

thread_local! {
    /// Of the schedule that this thread of the system's is going through.
    static EPOCHS: RefCell<Epochs> = RefCell::default();
}

#[derive(Default)]
struct Epochs {
    /// Numbers guards and what is deferred, in one row.
    last: u64,
    pinned: BTreeSet<u64>,
    deferred: VecDeque<(u64, Box<dyn FnOnce()>)>,
}

impl Epochs {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// What was deferred first, if all who are pinned came later.
    fn due(&mut self) -> Option<Box<dyn FnOnce()>> {
        let &(deferred, _) = self.deferred.front()?;
        let due = self.pinned.first().is_none_or(|&oldest| oldest > deferred);
        due.then(|| self.deferred.pop_front()).flatten().map(|(_, run)| run)
    }
}

/// Nothing that is deferred from here on runs before it is dropped. Belongs to its thread.
pub struct Guard {
    number: u64,
    of_this_thread: PhantomData<*const ()>,
}

pub fn pin() -> Guard {
    switch();
    run_some();
    let number = EPOCHS.with_borrow_mut(|epochs| {
        let number = epochs.number();
        epochs.pinned.insert(number);
        number
    });
    Guard { number, of_this_thread: PhantomData }
}

impl Guard {
    pub fn defer<F: FnOnce() + Send + 'static>(&self, run: F) {
        // SAFETY: it holds nothing that could go away before it runs.
        unsafe { self.defer_unchecked(run) }
    }

    /// # Safety
    /// What `run` holds has to be there for as long as it takes.
    pub unsafe fn defer_unchecked<F: FnOnce()>(&self, run: F) {
        let run: Box<dyn FnOnce() + '_> = Box::new(run);
        // SAFETY: by the caller's word.
        let run: Box<dyn FnOnce()> = unsafe { std::mem::transmute(run) };
        EPOCHS.with_borrow_mut(|epochs| {
            let number = epochs.number();
            epochs.deferred.push_back((number, run));
        });
        switch();
    }

    pub fn flush(&self) {
        run_due();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        EPOCHS.with_borrow_mut(|epochs| epochs.pinned.remove(&self.number));
        if !std::thread::panicking() {
            run_some();
            switch();
        }
    }
}

fn switch() {
    shuttle::thread::sleep(Duration::ZERO);
}

/// At once, or at another time.
fn run_some() {
    if thread_rng().gen_bool(0.75) {
        run_due();
    }
}

fn run_due() {
    // Not while it is borrowed, as what runs may pin or defer itself.
    while let Some(run) = EPOCHS.with_borrow_mut(Epochs::due) {
        run();
    }
}

#[cfg(test)]
pub(super) fn begin() {
    // What a schedule that failed left behind is of no use any more.
    std::mem::forget(EPOCHS.take());
}

#[cfg(test)]
pub(super) fn end() {
    run_due();
    EPOCHS.with_borrow(|epochs| {
        assert!(epochs.pinned.is_empty(), "somebody is still pinned");
        assert!(epochs.deferred.is_empty(), "something is never freed");
    });
}
