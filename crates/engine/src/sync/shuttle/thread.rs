//! Shuttle's threads, and waits that end by themselves.

use std::cell::Cell;
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
pub use shuttle::thread::{Builder, JoinHandle, Thread, current, yield_now};

use super::time;

/// Of a thread's waits for a time, so many at most end by that time's coming; the others go on until it is woken. Otherwise
/// the threads in the background would take up the whole schedule, and nobody would notice that one was not woken.
const MOST_TIMES: u32 = 3;

shuttle::thread_local! {
    static TIMES: Cell<u32> = Cell::new(thread_rng().gen_range(0..=MOST_TIMES));
}

pub(super) fn times_out() -> bool {
    TIMES.with(|times| {
        let left = times.get();
        times.set(left.saturating_sub(1));
        left > 0
    })
}

pub fn park_timeout(time: Duration) {
    if times_out() {
        yield_now();
        time::pass(time);
    } else {
        shuttle::thread::park();
    }
}

pub fn sleep(time: Duration) {
    yield_now();
    time::pass(time);
}

/// Another thread may go on here, which is as good as waiting longer and longer.
pub struct Backoff;

impl Backoff {
    pub fn new() -> Backoff {
        Backoff
    }

    pub fn snooze(&self) {
        yield_now();
    }

    pub fn is_completed(&self) -> bool {
        false
    }
}
