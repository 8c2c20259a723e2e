//! Pages that are split, merged, written, moved, driven out and read again, under readers.

use std::sync::Arc;
// Plain ones, which the model checker knows nothing of: they go from one schedule to the next.
use std::sync::atomic::{AtomicU64, Ordering};

use shuttle::thread;

use super::{database, explore, get, number_in, open, value_of};
use crate::checkpoint::Moving;
use crate::core::Shared;
use crate::disk::MemoryDisk;
use crate::tree::{Columns, Fetched, Rows};
use crate::tunables::Value;
use crate::{Batch, Database, Durability, Family, Range, Stat};

/// The keys [side, pair] of the two sides are always written together.
const PAIRS: u8 = 6;
const LONG: u8 = 2;

const EVERYTHING_BEHIND: Moving = Moving::Behind { from: 0, until: u64::MAX, end: 1 << 16 };

/// Of some pairs the value is a long one, which is kept outside its leaf.
fn value_for(pair: u8, number: u64) -> Vec<u8> {
    value_of(number, if pair == LONG { 300 } else { 120 })
}

fn write_pairs(database: &Database, family: &Family, pairs: impl Iterator<Item = u8>, number: u64) {
    let mut batch = Batch::default();
    for pair in pairs {
        for side in 0..2 {
            batch.put(family, &[side, pair], &value_for(pair, number), None).expect("it is short");
        }
    }
    database.write(batch).expect("the disk has no faults");
}

/// A new database with all pairs, of number 1, in several leaves, which are also on disk.
fn filled() -> (Database, MemoryDisk) {
    let (database, disk) = database(Durability::Sync);
    write_pairs(&database, &database.default_family(), 0..PAIRS, 1);
    database.checkpoint().expect("the disk has no faults");
    (database, disk)
}

fn core(database: &Database) -> Arc<Shared> {
    Arc::clone(&database.default_family().database)
}

/// Overwrites pairs, one at a time, and for a while puts so much between that leaves are split and merged again.
fn change(database: &Database, family: &Family) {
    write_pairs(database, family, 1..4, 2);
    for between in 0..5 {
        family.put(&[0, 3, between], &value_of(0, 200), None).expect("the disk has no faults");
    }
    family.delete_range(Some(&[0, 3, 0]), Some(&[0, 4])).expect("the disk has no faults");
    write_pairs(database, family, 0..2, 3);
}

const LAST: [u64; PAIRS as usize] = [3, 3, 2, 2, 1, 1];

/// One state: both sides of each pair agree, nothing is missing, and a scan and lookups say the same.
fn read_state(database: &Database, family: &Family) {
    let snapshot = database.snapshot().expect("it is open");
    let mut cursor = snapshot.cursor(family, Range::default(), false).expect("it is open");
    let mut rows = Rows::default();
    while cursor.fetch(Columns::Both, 4, usize::MAX / 2, true, &mut rows).expect("the disk has no faults")
        == Fetched::More
    {}
    let scanned = |key: &[u8]| (0..rows.len()).find(|&row| rows.key(row) == key).map(|row| number_in(rows.value(row)));
    for pair in 0..PAIRS {
        let [left, right] = [0, 1].map(|side| snapshot.get(family, &[side, pair], number_in).expect("it is open"));
        assert_eq!(left, right, "half of a batch is seen");
        assert!(left.is_some(), "pair {pair} is not found");
        assert_eq!([0, 1].map(|side| scanned(&[side, pair])), [left, right], "a scan saw another state");
    }
}

/// What is seen once is not older the next time.
fn read_newest(family: &Family) {
    for pair in 0..PAIRS / 2 {
        let mut before = 1;
        for side in [1, 0] {
            let number = get(family, &[side, pair]);
            assert!(number >= before, "{number} after {before}");
            before = number;
        }
    }
}

fn is_whole(database: &Database) {
    let report = database.check(&mut |_, _| true).expect("the disk has no faults");
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    let family = database.default_family();
    for pair in 0..PAIRS {
        let expected = LAST[usize::from(pair)];
        assert_eq!([0, 1].map(|side| get(&family, &[side, pair])), [expected; 2], "a commit is lost");
    }
}

fn explore_changes(schedules: u64, beside: fn(&Database)) {
    explore(schedules, move || {
        let (database, disk) = filled();
        let family = database.default_family();
        thread::scope(|scope| {
            let (database, family) = (&database, &family);
            scope.spawn(move || change(database, family));
            scope.spawn(move || read_state(database, family));
            scope.spawn(move || read_newest(family));
            scope.spawn(move || beside(database));
        });
        is_whole(&database);
        drop(family);
        database.close().expect("the disk has no faults");
        let database = open(&disk, Durability::Sync);
        is_whole(&database);
    });
}

#[test]
fn splits_and_merges_take_nothing_from_readers() {
    explore_changes(4_000, |_| ());
}

#[test]
fn a_checkpoint_beside_splits_and_merges_misses_nothing() {
    explore_changes(4_000, |database| database.checkpoint().expect("the disk has no faults"));
}

#[test]
fn leaves_that_are_driven_out_come_back_as_they_were() {
    explore_changes(4_000, |database| {
        let core = core(database);
        core.memory.set_budget(1);
        for _ in 0..2 {
            core.evict().expect("the disk has no faults");
        }
    });
}

#[test]
fn changed_leaves_that_are_driven_out_come_back_as_they_were() {
    explore_changes(4_000, |database| {
        for _ in 0..2 {
            core(database).drive_out(0).expect("the disk has no faults");
        }
    });
}

/// What is written early has its place in the tree that a checkpoint makes at the same time, or the next.
#[test]
fn leaves_are_written_early_beside_a_checkpoint() {
    explore(8_000, || {
        let (database, disk) = filled();
        let family = database.default_family();
        thread::scope(|scope| {
            let (database, family) = (&database, &family);
            scope.spawn(move || change(database, family));
            scope.spawn(move || read_state(database, family));
            scope.spawn(move || database.checkpoint().expect("the disk has no faults"));
            scope.spawn(move || {
                for _ in 0..3 {
                    core(database).drive_out(0).expect("the disk has no faults");
                }
            });
        });
        // As a power cut leaves it.
        let killed = open(&disk.image(), Durability::Sync);
        is_whole(&killed);
        is_whole(&database);
        core(&database).drive_out(0).expect("the disk has no faults");
        database.checkpoint().expect("the disk has no faults");
        is_whole(&database);
        drop(family);
        database.close().expect("the disk has no faults");
        is_whole(&open(&disk, Durability::Sync));
    });
}

/// Point reads answered from excerpts, and from leaves as they are stored, in all schedules of a test.
type Reads = [AtomicU64; 2];

fn note_reads(database: &Database, reads: &Reads) {
    let stats = database.stats().expect("it is open");
    let figures = &stats.families.first().expect("the default family").1.figures;
    for (sum, name) in reads.iter().zip(["gets_from_records", "gets_from_warm"]) {
        let counted = figures.iter().find(|(known, _)| *known == name).map(|(_, figure)| figure);
        let Some(Stat::Count(number)) = counted else { panic!("no such counter: {name}") };
        sum.fetch_add(*number, Ordering::Relaxed);
    }
}

/// Records so short that one is a small part of its leaf, which is what excerpts are for.
const SMALL: u8 = 12;

fn set(database: &Database, settings: &[(&str, i64)]) {
    let settings: Vec<_> = settings.iter().map(|&(name, value)| (name.to_string(), Value::Integer(value))).collect();
    database.configure(None, &settings).expect("the disk has no faults");
}

/// With no room for images: leaves go from images to what is stored, to disk, to excerpts and back, under point readers.
fn explore_forms(schedules: u64, beside: fn(&Database)) {
    let reads = Arc::new(Reads::default());
    let noted = Arc::clone(&reads);
    explore(schedules, move || {
        let (database, disk) = filled();
        let family = database.default_family();
        let mut small = Batch::default();
        for number in 0..SMALL {
            small.put(&family, &[2, number], &value_of(1, 20), None).expect("it is short");
        }
        database.write(small).expect("the disk has no faults");
        database.checkpoint().expect("the disk has no faults");
        set(&database, &[("hot_bytes", 0), ("warm_bytes", 1 << 20), ("point_cache_bytes", 1 << 20)]);
        for _ in 0..2 {
            core(&database).drive_out(0).expect("the disk has no faults");
        }
        (0..2).for_each(|side| assert_eq!(get(&family, &[side, 0]), 1));
        thread::scope(|scope| {
            let (database, family) = (&database, &family);
            scope.spawn(move || change(database, family));
            scope.spawn(move || {
                read_newest(family);
                assert_eq!(get(family, &[1, 0, 7]), 0, "a key that was never there");
                read_newest(family);
            });
            scope.spawn(move || {
                for _ in 0..3 {
                    core(database).drive_out(0).expect("the disk has no faults");
                    for key in [[1, 5], [2, 5], [2, 5]] {
                        assert_eq!(get(family, &key), 1);
                    }
                }
            });
            scope.spawn(move || beside(database));
        });
        is_whole(&database);
        note_reads(&database, &noted);
        drop(family);
        database.close().expect("the disk has no faults");
        is_whole(&open(&disk, Durability::Sync));
    });
    let reads = reads.each_ref().map(|count| count.load(Ordering::Relaxed));
    assert!(reads.iter().all(|&count| count > 100), "leaves were hardly read in all forms: {reads:?}");
}

#[test]
fn leaves_change_their_form_under_readers() {
    explore_forms(2_000, |database| {
        let family = database.default_family();
        read_newest(&family);
        read_state(database, &family);
    });
}

#[test]
fn leaves_change_their_form_beside_a_checkpoint() {
    explore_forms(2_000, |database| database.checkpoint().expect("the disk has no faults"));
}

#[test]
fn leaves_change_their_form_while_compaction_moves_them() {
    explore_forms(2_000, |database| {
        core(database).checkpoint(Some(Moving::Forward { from: 10 << 10 })).expect("the disk has no faults")
    });
}

/// What is read again between two places of a long value has to know the new one: the old may be given to others.
#[test]
fn compaction_moves_long_values_of_leaves_that_are_driven_out_and_read() {
    explore(4_000, || {
        let (database, disk) = filled();
        let family = database.default_family();
        core(&database).drive_out(0).expect("the disk has no faults");
        thread::scope(|scope| {
            let (database, family) = (&database, &family);
            scope.spawn(move || core(database).checkpoint(Some(EVERYTHING_BEHIND)).expect("the disk has no faults"));
            scope.spawn(move || {
                core(database).drive_out(0).expect("the disk has no faults");
                assert_eq!(get(family, &[0, LONG]), 1);
            });
            scope.spawn(move || assert_eq!(get(family, &[1, LONG]), 1));
        });
        for other in 0..4 {
            family.put(&[7, other], &value_of(2, 300), None).expect("the disk has no faults");
            database.checkpoint().expect("the disk has no faults");
        }
        let killed = open(&disk.image(), Durability::Sync);
        for database in [&database, &killed] {
            assert_eq!([0, 1].map(|side| get(&database.default_family(), &[side, LONG])), [1; 2]);
            let report = database.check(&mut |_, _| true).expect("the disk has no faults");
            assert!(report.problems.is_empty(), "{:?}", report.problems);
        }
    });
}

#[test]
fn leaves_change_their_form_while_memory_is_divided_anew() {
    explore_forms(2_000, |database| {
        set(database, &[("warm_bytes", 0), ("memory_bytes", 1 << 20)]);
        set(database, &[("warm_bytes", 1 << 20), ("point_cache_bytes", 0)]);
        set(database, &[("hot_bytes", -1)]);
    });
}

#[test]
fn compaction_moves_leaves_that_are_written_early() {
    explore_changes(4_000, |database| {
        thread::scope(|scope| {
            scope.spawn(move || {
                core(database).checkpoint(Some(Moving::Forward { from: 10 << 10 })).expect("the disk has no faults")
            });
            scope.spawn(move || core(database).drive_out(0).expect("the disk has no faults"));
        });
    });
}

#[test]
fn compaction_moves_pages_under_their_readers() {
    explore_changes(4_000, |database| {
        let core = core(database);
        core.checkpoint(Some(Moving::Forward { from: 10 << 10 })).expect("the disk has no faults");
        core.checkpoint(Some(Moving::Forward { from: 10 << 10 })).expect("the disk has no faults");
    });
}

#[test]
fn what_is_written_to_a_leaf_while_a_checkpoint_writes_it_reaches_the_disk() {
    explore(4_000, || {
        let (database, disk) = database(Durability::Sync);
        let family = database.default_family();
        family.put(b"key", &value_of(1, 100), None).expect("the disk has no faults");
        thread::scope(|scope| {
            let (database, family) = (&database, &family);
            scope.spawn(move || family.put(b"key", &value_of(2, 100), None).expect("the disk has no faults"));
            scope.spawn(move || database.checkpoint().expect("the disk has no faults"));
        });
        drop(family);
        database.close().expect("the disk has no faults");
        assert_eq!(get(&open(&disk, Durability::Sync).default_family(), b"key"), 2, "a commit is lost");
    });
}

#[test]
fn a_page_that_is_being_read_is_not_overwritten() {
    explore(4_000, || {
        let (database, _) = filled();
        let family = database.default_family();
        core(&database).memory.set_budget(1);
        core(&database).evict().expect("the disk has no faults");
        thread::scope(|scope| {
            let (database, family) = (&database, &family);
            scope.spawn(move || assert!(get(family, &[0, 0]) >= 1));
            scope.spawn(move || assert!(get(family, &[1, 5]) >= 1));
            scope.spawn(move || {
                for number in 2..4 {
                    write_pairs(database, family, 0..PAIRS, number);
                    database.checkpoint().expect("the disk has no faults");
                }
            });
        });
    });
}
