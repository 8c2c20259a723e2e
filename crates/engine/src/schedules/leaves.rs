//! One tree, without the database around it, so that many schedules are gone through: deltas, new images, splits and
//! merges under readers, with images freed as early as the epoch allows.

use std::path::PathBuf;
use std::sync::Arc;

use shuttle::thread;

use super::{explore, number_in, value_of};
use crate::Range;
use crate::clock::Clock;
use crate::counters::FamilyCounters;
use crate::disk::MemoryDisk;
use crate::memory::Memory;
use crate::mvcc::Versions;
use crate::pagefile::{PageFile, Superblock};
use crate::replacement::Policy;
use crate::sync::{AtomicU64, Ordering, epoch};
use crate::tree::{AsOf, Columns, Cursor, Limit, Lookup, Record, Residents, Rows, Surroundings, Tree};
use crate::tunables::{Settings, Value};

struct World {
    tree: Arc<Tree>,
    versions: Arc<Versions>,
    last: AtomicU64,
}

impl World {
    fn new(delta_records: i64) -> World {
        let superblock = Superblock { sequence: 0, version: 0, log_segment: 1, catalogue: None, identity: 1 };
        let pages = PageFile::create(Arc::new(MemoryDisk::new()), &superblock).expect("the disk has no faults");
        let settings = Settings::of_database();
        let chosen = [("leaf_bytes", 1 << 10), ("delta_records", delta_records)];
        let chosen = chosen.map(|(name, value)| (name.to_string(), Value::Integer(value)));
        settings.give(&chosen).expect("they are within their bounds");
        let versions = Arc::new(Versions::new(0));
        let tree = Tree::empty(Surroundings {
            versions: Arc::clone(&versions),
            pages: Arc::new(pages),
            memory: Arc::new(Memory::new(1 << 30)),
            settings: Arc::new(settings),
            clock: Clock::System,
            counters: Arc::new(FamilyCounters::default()),
            residents: Arc::new(Residents::new(Policy::default())),
            io: Arc::default(),
            events: Arc::default(),
            family: 0,
            path: PathBuf::new(),
        });
        World { tree: Arc::new(tree), versions, last: AtomicU64::new(0) }
    }

    /// As a commit does it; a key without a number is deleted.
    fn commit(&self, changes: &[(u8, Option<u64>)], bytes: usize) {
        let mut writer = self.tree.writer.lock();
        let guard = epoch::pin();
        let version = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let in_flight = self.versions.in_flight(version);
        let keys: Vec<[u8; 1]> = changes.iter().map(|(key, _)| [*key]).collect();
        let values: Vec<_> = changes.iter().map(|(_, number)| number.map(|number| value_of(number, bytes))).collect();
        let records: Vec<Record<'_>> = keys
            .iter()
            .zip(&values)
            .map(|(key, value)| match value {
                Some(value) => Record { key, value, version, expiry: 0, flags: 0 },
                None => Record::tombstone(key, version),
            })
            .collect();
        self.tree.apply(&mut writer, &records, &guard);
        drop((writer, guard));
        in_flight.finish();
        self.versions.wait_visible(version).expect("none is lost");
    }

    fn reshape(&self, leaf_bytes: i64) {
        let settings = &self.tree.around().settings;
        settings.give(&[("leaf_bytes".to_string(), Value::Integer(leaf_bytes))]).expect("it is within its bounds");
        let mut from = Some(Vec::new());
        while let Some(key) = from {
            let (mut writer, guard) = (self.tree.writer.lock(), epoch::pin());
            from = self.tree.reshape(&mut writer, &key, &guard).expect("nothing is read from disk").next;
        }
    }

    fn get(&self, key: u8, as_of: AsOf) -> Option<u64> {
        let guard = epoch::pin();
        match self.tree.lookup(&[key], as_of, &guard) {
            Lookup::Found(record) => Some(number_in(record.value)),
            Lookup::Absent => None,
            Lookup::Cold(..) | Lookup::Warm(..) => panic!("nothing is ever driven out"),
        }
    }

    fn scan(&self, version: u64, reverse: bool) -> Vec<(u8, u64)> {
        let mut rows = Rows::default();
        let limit = Limit { rows: 100, bytes: 1 << 20, may_block: true };
        let mut cursor = Cursor::new(Arc::clone(&self.tree), version, Range::default(), reverse);
        cursor.fetch(Columns::Both, limit, &mut rows).expect("nothing is read from disk");
        let mut rows: Vec<_> = (0..rows.len()).map(|row| (rows.key(row)[0], number_in(rows.value(row)))).collect();
        if reverse {
            rows.reverse();
        }
        rows
    }
}

#[test]
fn what_a_delta_holds_is_found_while_it_grows_and_is_folded_in() {
    explore(16_000, || {
        let world = World::new(4);
        world.commit(&[(1, Some(1)), (2, Some(1))], 20);
        thread::scope(|scope| {
            let world = &world;
            scope.spawn(move || (2..6).for_each(|number| world.commit(&[(1, Some(number)), (2, Some(number))], 20)));
            scope.spawn(move || {
                let mut before = 1;
                for key in [2, 1, 2] {
                    let number = world.get(key, AsOf::Newest).expect("it is never deleted");
                    assert!(number >= before, "{number} after {before}");
                    before = number;
                }
            });
            scope.spawn(move || {
                let active = world.versions.register();
                let read = |key| world.get(key, AsOf::Version(active.version()));
                assert_eq!([2, 1].map(read), [Some(active.version()); 2]);
                assert_eq!(world.scan(active.version(), false), [1, 2].map(|key| (key, active.version())));
            });
        });
        assert_eq!([1, 2].map(|key| world.get(key, AsOf::Newest)), [Some(5); 2], "a change is lost");
    });
}

#[test]
fn a_reader_of_one_version_sees_all_of_it_whatever_is_split_and_merged() {
    /// Always there, and always of one number.
    const STAY: [u8; 3] = [10, 50, 90];
    explore(12_000, || {
        let world = World::new(2);
        let stay = |number| STAY.map(|key| (key, Some(number)));
        world.commit(&stay(1), 150);
        thread::scope(|scope| {
            let world = &world;
            // Leaves of five records are split when these come, and merged when they go.
            scope.spawn(move || {
                world.commit(&[20, 30, 40, 60, 70, 80].map(|key| (key, Some(1))), 200);
                world.commit(&[20, 30, 40, 60, 70, 80].map(|key| (key, None)), 0);
                world.commit(&[(40, Some(2))], 200);
            });
            scope.spawn(move || (2..4).for_each(|number| world.commit(&stay(number), 150)));
            for reverse in [false, true] {
                scope.spawn(move || {
                    let active = world.versions.register();
                    let version = active.version();
                    let found = STAY.map(|key| world.get(key, AsOf::Version(version)));
                    assert!(found[0].is_some() && found.iter().all(|number| *number == found[0]), "{found:?}");
                    let scanned = world.scan(version, reverse);
                    let stayed = scanned.iter().filter(|(key, _)| STAY.contains(key)).map(|(_, number)| Some(*number));
                    assert_eq!(stayed.collect::<Vec<_>>(), found, "a scan saw another state");
                    let between = scanned.len() - STAY.len();
                    assert!([0, 1, 6].contains(&between), "{between} records of a commit of six");
                });
            }
        });
        assert_eq!(STAY.map(|key| world.get(key, AsOf::Newest)), [Some(3); 3], "a change is lost");
    });
}

#[test]
fn a_leaf_that_was_split_is_there_for_those_who_still_hold_it() {
    explore(12_000, || {
        let world = World::new(2);
        world.commit(&[10, 20, 30].map(|key| (key, Some(1))), 200);
        thread::scope(|scope| {
            let world = &world;
            scope.spawn(move || world.commit(&[15, 25].map(|key| (key, Some(1))), 200));
            for key in [10, 30] {
                scope.spawn(move || assert_eq!(world.get(key, AsOf::Newest), Some(1), "key {key} is not found"));
            }
        });
    });
}

#[test]
fn leaves_become_larger_and_smaller_under_readers_and_a_writer() {
    const KEYS: [u8; 6] = [10, 20, 30, 40, 50, 60];
    explore(12_000, || {
        let world = World::new(2);
        world.commit(&KEYS.map(|key| (key, Some(1))), 200);
        thread::scope(|scope| {
            let world = &world;
            scope.spawn(move || {
                for leaf_bytes in [64 << 10, 1 << 10] {
                    world.reshape(leaf_bytes);
                }
            });
            scope.spawn(move || {
                world.commit(&[(20, Some(2)), (45, Some(2))], 200);
                world.commit(&[(45, None)], 0);
            });
            scope.spawn(move || {
                let active = world.versions.register();
                let version = active.version();
                let found = KEYS.map(|key| world.get(key, AsOf::Version(version)));
                let then = KEYS.map(|key| Some(if key == 20 && version > 1 { 2 } else { 1 }));
                assert_eq!(found, then, "at version {version}");
                let scanned = world.scan(version, false);
                assert_eq!(scanned.len(), KEYS.len() + usize::from(version == 2), "at version {version}: {scanned:?}");
            });
        });
        assert_eq!(world.get(20, AsOf::Newest), Some(2), "a change is lost");
        assert_eq!(world.get(45, AsOf::Newest), None);
    });
}
