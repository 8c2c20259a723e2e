//! Time that passes where it is looked at and waited for, so that a schedule is the same each time.

use std::cell::Cell;
use std::ops::Add;
use std::time::Duration;

const STEP: Duration = Duration::from_micros(10);

thread_local! {
    /// Of the schedule that this thread of the system's is going through.
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

#[cfg(test)]
pub(super) fn begin() {
    NOW.set(Duration::ZERO);
}

pub(super) fn pass(time: Duration) {
    NOW.set(NOW.get() + time);
}

impl Instant {
    pub fn now() -> Instant {
        pass(STEP);
        Instant(NOW.get())
    }

    pub fn elapsed(self) -> Duration {
        Instant::now().0.saturating_sub(self.0)
    }

    pub fn checked_add(self, time: Duration) -> Option<Instant> {
        self.0.checked_add(time).map(Instant)
    }

    /// It is not before this moment any more.
    pub(super) fn come(self) {
        NOW.set(NOW.get().max(self.0));
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, time: Duration) -> Instant {
        Instant(self.0 + time)
    }
}
