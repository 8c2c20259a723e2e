//! Registering, pruning and finishing, gone through in thousands of schedules:
//! `cargo test --package lyredb-engine --features shuttle,small-pages --lib schedules`.

use shuttle::sync::{Arc, Mutex};
use shuttle::thread;

use super::Versions;
use crate::schedules::explore;
use crate::sync::Ordering;
use crate::sync::checked::{AtomicBool, AtomicU64};
use crate::tree::{Horizon, Record, prune};

const NUMBERS: [[u8; 1]; 16] = [[0], [1], [2], [3], [4], [5], [6], [7], [8], [9], [10], [11], [12], [13], [14], [15]];

/// One key of one family: what its leaf has, newest first, as (version, value); the value is the version it was born at.
struct Leaf {
    image: Mutex<Vec<(u64, u64)>>,
    /// All that was ever written.
    history: Mutex<Vec<u64>>,
    writer: Mutex<()>,
}

impl Leaf {
    fn new() -> Leaf {
        Leaf { image: Mutex::new(vec![(1, 1)]), history: Mutex::new(vec![1]), writer: Mutex::new(()) }
    }

    fn commit(&self, versions: &Arc<Versions>, next: &AtomicU64) {
        let writer = self.writer.lock().expect("no panic");
        let version = next.fetch_add(1, Ordering::SeqCst);
        self.history.lock().expect("no panic").push(version);
        let mut image = self.image.lock().expect("no panic").clone();
        image.insert(0, (version, version));
        let record = |&(version, value): &(u64, u64)| Record {
            key: b"key",
            value: &NUMBERS[value as usize],
            version,
            expiry: 0,
            flags: 0,
        };
        let mut records: Vec<Record<'_>> = image.iter().map(record).collect();
        prune(&mut records, &Horizon { active: versions.active(), now: 0 }, |_| ());
        let image = records.iter().map(|record| (record.version, record.value[0].into())).collect();
        *self.image.lock().expect("no panic") = image;
        drop(writer);
        versions.in_flight(version).finish();
    }

    fn read(&self, version: u64) -> (Option<u64>, Option<u64>) {
        let found = self.image.lock().expect("no panic").iter().find(|(born, _)| *born <= version).map(|found| found.1);
        let expected = self.history.lock().expect("no panic").iter().rev().find(|born| **born <= version).copied();
        (found, expected)
    }
}

#[test]
fn what_a_registered_version_sees_is_never_pruned() {
    explore(8_000, || {
        let versions = Arc::new(Versions::new(1));
        let next = Arc::new(AtomicU64::new(2));
        let leaves = Arc::new([Leaf::new(), Leaf::new()]);
        let writers = [0, 1].map(|family| {
            let (versions, next, leaves) = (Arc::clone(&versions), Arc::clone(&next), Arc::clone(&leaves));
            thread::spawn(move || (0..3).for_each(|_| leaves[family].commit(&versions, &next)))
        });
        let readers = [0, 1].map(|_| {
            let (versions, leaves) = (Arc::clone(&versions), Arc::clone(&leaves));
            thread::spawn(move || {
                for _ in 0..2 {
                    let active = versions.register();
                    for leaf in leaves.iter().chain(leaves.iter()) {
                        let (found, expected) = leaf.read(active.version());
                        assert_eq!(found, expected, "at version {}", active.version());
                    }
                }
            })
        });
        writers.into_iter().chain(readers).for_each(|thread| thread.join().expect("no panic"));
        assert_eq!(versions.visible(), 7);
        assert_eq!(versions.active(), [7], "a slot is still taken");
    });
}

#[test]
fn a_read_at_a_version_that_was_released_is_right_or_knows() {
    explore(8_000, || {
        let versions = Arc::new(Versions::new(1));
        let next = Arc::new(AtomicU64::new(2));
        let leaf = Arc::new(Leaf::new());
        let active = Arc::new(versions.register());
        let writer = {
            let (versions, next, leaf) = (Arc::clone(&versions), Arc::clone(&next), Arc::clone(&leaf));
            thread::spawn(move || (0..3).for_each(|_| leaf.commit(&versions, &next)))
        };
        let maintenance = {
            let active = Arc::clone(&active);
            thread::spawn(move || active.release())
        };
        // Takes the slot that becomes free.
        let other = {
            let versions = Arc::clone(&versions);
            thread::spawn(move || versions.register().version())
        };
        for _ in 0..3 {
            let (found, expected) = leaf.read(active.version());
            assert!(active.is_released() || found == expected, "{found:?} for {expected:?}");
        }
        [writer, maintenance].into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert!(other.join().expect("no panic") <= 4);
        drop(active);
        assert_eq!(versions.active(), [4], "a slot is still taken");
    });
}

#[test]
fn versions_become_visible_in_order_and_all_of_them() {
    const COMMITS: usize = 6;
    explore(8_000, || {
        let versions = Arc::new(Versions::new(0));
        let next = Arc::new(AtomicU64::new(1));
        let applied: Arc<[AtomicBool; COMMITS]> = Arc::new(std::array::from_fn(|_| AtomicBool::new(false)));
        let committers = [0, 1, 2].map(|_| {
            let (versions, next, applied) = (Arc::clone(&versions), Arc::clone(&next), Arc::clone(&applied));
            thread::spawn(move || {
                for _ in 0..COMMITS / 3 {
                    let version = next.fetch_add(1, Ordering::SeqCst);
                    let in_flight = versions.in_flight(version);
                    applied[version as usize - 1].store(true, Ordering::SeqCst);
                    in_flight.finish();
                }
            })
        });
        let observer = {
            let (versions, applied) = (Arc::clone(&versions), Arc::clone(&applied));
            thread::spawn(move || {
                let mut before = 0;
                for _ in 0..4 {
                    let visible = versions.visible();
                    assert!(visible >= before);
                    before = visible;
                    let done = applied[..visible as usize].iter().all(|applied| applied.load(Ordering::SeqCst));
                    assert!(done, "version {visible} is visible, and something before it is missing");
                }
            })
        };
        committers.into_iter().chain([observer]).for_each(|thread| thread.join().expect("no panic"));
        assert_eq!(versions.visible(), COMMITS as u64, "a commit was left behind");
    });
}

#[test]
fn the_table_of_snapshots_grows_under_its_users() {
    explore(8_000, || {
        let versions = Arc::new(Versions::new(5));
        // One slot is left in the first table.
        let open: Vec<_> = (0..31).map(|_| versions.register()).collect();
        let threads = [0, 1, 2].map(|_| {
            let versions = Arc::clone(&versions);
            thread::spawn(move || {
                let mine = versions.register();
                versions.in_flight(versions.visible() + 1).finish();
                assert!(versions.active().contains(&mine.version()));
                mine
            })
        });
        let mine = threads.map(|thread| thread.join().expect("no panic"));
        let active = versions.active();
        assert!(mine.iter().chain(&open).all(|registered| active.contains(&registered.version())));
        drop((mine, open));
        assert_eq!(versions.active(), [versions.visible()]);
    });
}
