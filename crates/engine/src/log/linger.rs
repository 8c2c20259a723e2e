//! How long a leader waits for company before it takes the tail.
//!
//! Committers whom one sync made durable tend to come back together, a little after the device is free. A leader that
//! does not wait for them syncs its own record alone, and they have to wait for two syncs. PostgreSQL has a fixed time
//! for this (`commit_delay`); here the last flush tells how many to expect, and how long the device takes tells what
//! waiting may cost. Where it was in vain it is tried less and less often.

use std::time::Duration;

const LONGEST: Duration = Duration::from_millis(1);
const MOST_SKIPPED: u32 = 256;

#[derive(Debug, Default)]
pub(super) struct Linger {
    /// Records that the last sync made durable, and those that were waiting when it ended.
    expected: u32,
    last_sync: Duration,
    /// Flushes to go before it is tried again, and how many after the next attempt in vain.
    skip: u32,
    next_skip: u32,
}

impl Linger {
    /// For how many records a leader should wait, and for how long at most: what they would wait for the next sync
    /// otherwise. `None`: for nobody.
    pub(super) fn plan(&mut self) -> Option<(u32, Duration)> {
        if self.expected < 2 {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        Some((self.expected, self.last_sync.min(LONGEST)))
    }

    /// Whether all came for whom a leader waited.
    pub(super) fn waited(&mut self, all_came: bool) {
        if all_came {
            self.next_skip = 0;
        } else {
            self.skip = self.next_skip;
            self.next_skip = (self.next_skip * 2).clamp(1, MOST_SKIPPED);
        }
    }

    pub(super) fn synced(&mut self, records: u32, waiting: u32, took: Duration) {
        self.expected = records + waiting;
        self.last_sync = took;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYNC: Duration = Duration::from_micros(200);

    #[test]
    fn who_commits_alone_waits_for_nobody() {
        let mut linger = Linger::default();
        assert_eq!(linger.plan(), None);
        linger.synced(1, 0, SYNC);
        assert_eq!(linger.plan(), None);
    }

    #[test]
    fn those_of_the_last_flush_are_waited_for() {
        let mut linger = Linger::default();
        linger.synced(1, 7, SYNC);
        assert_eq!(linger.plan(), Some((8, SYNC)));
        linger.waited(true);
        linger.synced(8, 0, Duration::from_secs(1));
        assert_eq!(linger.plan(), Some((8, LONGEST)));
    }

    #[test]
    fn waiting_in_vain_becomes_rare_and_one_success_makes_up_for_it() {
        let mut linger = Linger::default();
        let mut tries = 0;
        for _ in 0..1_000 {
            linger.synced(2, 0, SYNC);
            if linger.plan().is_some() {
                tries += 1;
                linger.waited(false);
            }
        }
        assert!((5..15).contains(&tries), "{tries}");
        while linger.plan().is_none() {}
        linger.waited(true);
        assert!(linger.plan().is_some());
    }
}
