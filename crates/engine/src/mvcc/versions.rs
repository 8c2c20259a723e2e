//! Making commits visible in the order of their versions.

use std::time::Duration;

use crossbeam_utils::CachePadded;

use super::active::Table;
use super::deadlines::Deadlines;
use crate::error::{Error, Result};
use crate::sync::checked::AtomicU64;
use crate::sync::{Backoff, Ordering, thread};

/// Commits that may be on their way at once; each has a thread of its own.
const RING: usize = if cfg!(any(feature = "loom", feature = "shuttle")) { 16 } else { 4096 };

pub struct Versions {
    visible: CachePadded<AtomicU64>,
    /// Slot `v % RING` holds `v` once commit `v` may be seen.
    finished: Box<[AtomicU64]>,
    /// The first commit that will never be seen, nor any behind it.
    lost: AtomicU64,
    table: Table,
    deadlines: Deadlines,
}

impl Versions {
    pub fn new(visible: u64) -> Versions {
        Versions {
            visible: CachePadded::new(AtomicU64::new(visible)),
            finished: (0..RING).map(|_| AtomicU64::new(0)).collect(),
            lost: AtomicU64::new(u64::MAX),
            table: Table::default(),
            deadlines: Deadlines::default(),
        }
    }

    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    pub(super) fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    /// The newest version all of which, and of its predecessors, is in the trees.
    #[inline(always)]
    pub fn visible(&self) -> u64 {
        self.visible.load(Ordering::Acquire)
    }

    pub(super) fn visible_in_order(&self) -> u64 {
        self.visible.load(Ordering::SeqCst)
    }

    /// Recovery alone sets it directly.
    pub fn set_visible(&self, version: u64) {
        self.visible.store(version, Ordering::SeqCst);
    }

    /// To be finished, whatever happens: commits behind this one wait for it.
    pub fn in_flight(&self, version: u64) -> InFlight<'_> {
        InFlight { versions: self, version, finished: false }
    }

    /// Waits until `version` can be seen.
    pub fn wait_visible(&self, version: u64) -> Result<()> {
        let backoff = Backoff::new();
        while self.visible() < version {
            if self.lost.load(Ordering::Acquire) <= version {
                return Err(Error::Poisoned { why: "an earlier commit did not finish".into() });
            }
            if backoff.is_completed() {
                thread::sleep(Duration::from_micros(50));
            } else {
                backoff.snooze();
            }
        }
        Ok(())
    }

    fn finish(&self, version: u64) {
        // Sequentially consistent, so that of two finishers that miss each other's slot at least one does not.
        self.finished[version as usize % RING].store(version, Ordering::SeqCst);
        loop {
            let visible = self.visible.load(Ordering::SeqCst);
            let next = visible + 1;
            if self.finished[next as usize % RING].load(Ordering::SeqCst) != next {
                return;
            }
            let _ = self.visible.compare_exchange(visible, next, Ordering::SeqCst, Ordering::SeqCst);
        }
    }
}

/// A commit that has its version and is not yet visible. Dropped unfinished (by a panic or a failed sync), it stops the
/// versions behind it from ever being seen, and their committers are told.
pub struct InFlight<'a> {
    versions: &'a Versions,
    version: u64,
    finished: bool,
}

impl InFlight<'_> {
    /// All of it is in the trees and as durable as it has to be.
    pub fn finish(mut self) {
        self.finished = true;
        self.versions.finish(self.version);
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.versions.lost.fetch_min(self.version, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn commits_become_visible_in_order() {
        let versions = Versions::new(0);
        let (first, second) = (versions.in_flight(1), versions.in_flight(2));
        second.finish();
        assert_eq!(versions.visible(), 0);
        first.finish();
        assert_eq!(versions.visible(), 2);
    }

    #[test]
    fn a_lost_commit_is_told_to_those_behind_it() {
        let versions = Versions::new(0);
        drop(versions.in_flight(1));
        versions.in_flight(2).finish();
        assert!(matches!(versions.wait_visible(2), Err(Error::Poisoned { .. })));
    }

    #[test]
    fn a_lost_commit_is_nothing_to_those_before_it() {
        let versions = Versions::new(0);
        let (first, second) = (versions.in_flight(1), versions.in_flight(2));
        drop(versions.in_flight(3));
        second.finish();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| versions.wait_visible(2));
            std::thread::sleep(Duration::from_millis(5));
            first.finish();
            assert!(waiting.join().expect("no panic").is_ok(), "it is seen, and its committer was told that it is not");
        });
    }

    #[test]
    fn more_snapshots_than_a_table_has_slots() {
        let versions = Arc::new(Versions::new(0));
        let mut open = Vec::new();
        for version in 1..=100 {
            versions.in_flight(version).finish();
            open.push(versions.register());
        }
        assert_eq!(versions.active(), (1..=100).collect::<Vec<_>>());
        open.retain(|active| active.version() % 10 == 0);
        assert_eq!(versions.active(), (1..=10).map(|ten| ten * 10).collect::<Vec<_>>());
    }

    #[test]
    fn finishing_in_parallel_leaves_none_behind() {
        let versions = Arc::new(Versions::new(0));
        let next = AtomicU64::new(1);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        let version = next.fetch_add(1, Ordering::SeqCst);
                        versions.in_flight(version).finish();
                        versions.wait_visible(version).expect("none is lost");
                    }
                });
            }
        });
        assert_eq!(versions.visible(), 20_000);
    }
}
