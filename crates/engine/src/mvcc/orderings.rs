//! What commits and snapshots may see of each other, with all that the orderings allow.

use std::sync::Arc;

use loom::thread;

use super::Versions;
use crate::orderings::explore;
use crate::sync::checked::AtomicU64;
use crate::sync::{Ordering, Traced};

/// What a version wrote into the trees, by its number.
#[derive(Default)]
struct Written(Traced);

// SAFETY: loom sees to it that nobody reads what another is writing.
unsafe impl Send for Written {}
// SAFETY: as above.
unsafe impl Sync for Written {}

#[test]
fn what_is_visible_is_written_and_nothing_is_left_behind() {
    explore(|| {
        let versions = Arc::new(Versions::new(0));
        let written = Arc::new(Written::default());
        let committers = [1, 2, 3].map(|version| {
            let (versions, written) = (Arc::clone(&versions), Arc::clone(&written));
            thread::spawn(move || {
                written.0.written(version as usize);
                versions.in_flight(version).finish();
            })
        });
        for version in 1..=versions.visible() {
            written.0.read(version as usize);
        }
        committers.into_iter().for_each(|committer| committer.join().expect("no panic"));
        assert_eq!(versions.visible(), 3, "a commit was left behind");
    });
}

/// A key that was written by versions 1 and 2: whether its record of version 1 is still there.
fn prune(versions: &Versions, kept: &AtomicU64) {
    if !versions.active().contains(&1) {
        kept.store(0, Ordering::Release);
    }
}

#[test]
fn what_a_registered_version_sees_is_kept() {
    explore(|| {
        let versions = Arc::new(Versions::new(1));
        let kept = Arc::new(AtomicU64::new(1));
        let writer = {
            let (versions, kept) = (Arc::clone(&versions), Arc::clone(&kept));
            thread::spawn(move || {
                versions.in_flight(2).finish();
                prune(&versions, &kept);
            })
        };
        let readers = [0, 1].map(|_| {
            let (versions, kept) = (Arc::clone(&versions), Arc::clone(&kept));
            thread::spawn(move || {
                let active = versions.register();
                assert!(active.version() == 2 || kept.load(Ordering::Acquire) == 1, "it was pruned under its reader");
            })
        });
        writer.join().expect("no panic");
        readers.into_iter().for_each(|reader| reader.join().expect("no panic"));
        assert_eq!(versions.active(), [2], "a slot is still taken");
    });
}

#[test]
fn who_misses_what_was_pruned_knows_that_its_version_was_released() {
    explore(|| {
        let versions = Arc::new(Versions::new(1));
        let active = Arc::new(versions.register());
        versions.in_flight(2).finish();
        let kept = Arc::new(AtomicU64::new(1));
        let maintenance = {
            let active = Arc::clone(&active);
            thread::spawn(move || active.release())
        };
        let writer = {
            let (versions, kept) = (Arc::clone(&versions), Arc::clone(&kept));
            thread::spawn(move || prune(&versions, &kept))
        };
        assert!(kept.load(Ordering::Acquire) == 1 || active.is_released(), "it was pruned, and the reader is not told");
        maintenance.join().expect("no panic");
        writer.join().expect("no panic");
    });
}
