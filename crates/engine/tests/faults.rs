//! Failing and full disks: the error says so, nothing acknowledged is lost, and work goes on when the disk is well again.
//!
//! `LYREDB_TEST_EFFORT=10` tries ten times as many workloads as by default.

mod common;

#[path = "faults/capacity.rs"]
mod capacity;
#[path = "faults/sweep.rs"]
mod sweep;
#[path = "common/workload.rs"]
mod workload;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use common::{Model, assert_sound, noise};
use lyredb_engine::disk::{Fault, MemoryDisk, Operation};
use lyredb_engine::{Database, Durability, Error};
use sweep::sweep;
use workload::{START_MS, options, seen};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

#[test]
fn faults_at_all_operations_of_workloads_with_sync() {
    sweep(Durability::Sync);
}

#[test]
fn faults_at_all_operations_of_workloads_with_group() {
    sweep(Durability::Group);
}

#[test]
fn faults_at_all_operations_of_workloads_with_async() {
    sweep(Durability::Async);
}

/// A failed sync is never taken for a success later on, and nothing is written after it.
#[test]
fn a_failed_sync_refuses_all_later_writes() {
    let disk = MemoryDisk::new();
    let now = Arc::new(AtomicU64::new(START_MS));
    let options = options(Durability::Sync, &now);
    let database = common::open(&disk, &options);
    let family = database.default_family();
    family.put(b"before", b"1", None).expect("a put");
    disk.fail_next(Operation::Sync, 1, Fault::Raw(EIO));
    assert!(matches!(family.put(b"failed", b"2", None), Err(Error::Io { .. })));
    assert_eq!(common::get(&family, b"failed"), None, "nobody sees what may not be on disk");
    assert!(matches!(family.put(b"after", b"3", None), Err(Error::Poisoned { .. })));
    assert!(matches!(database.sync(), Err(Error::Poisoned { .. })));
    assert!(matches!(database.checkpoint(), Err(Error::Poisoned { .. })));
    assert_eq!(common::get(&family, b"before").as_deref(), Some(&b"1"[..]), "reading goes on");
    drop(family);
    drop(database);
    let database = common::open(&disk, &options);
    let family = database.default_family();
    assert_eq!(common::get(&family, b"before").as_deref(), Some(&b"1"[..]));
    assert_eq!(common::get(&family, b"after"), None);
    family.put(b"after", b"3", None).expect("a put");
}

/// The disk is full for a while; whoever does not wait for it goes on without being reopened.
#[test]
fn a_full_disk_is_survived_without_reopening() {
    for durability in [Durability::Group, Durability::Async] {
        let disk = MemoryDisk::new();
        let now = Arc::new(AtomicU64::new(START_MS));
        let options = options(durability, &now);
        let database = common::open(&disk, &options);
        let family = database.default_family();
        let mut expected = Model::new();
        let mut put = |number: u64| {
            let (key, value) = (number.to_be_bytes().to_vec(), vec![number as u8; 300]);
            let done = family.put(&key, &value, None);
            if done.is_ok() {
                expected.insert(key, value);
            }
            done
        };
        (0..200).for_each(|number| put(number).expect("a put"));
        database.checkpoint().expect("a checkpoint");
        for operation in [Operation::Write, Operation::SetLength] {
            disk.fail_next(operation, u64::MAX, Fault::Raw(ENOSPC));
        }
        for number in 200..400 {
            match put(number) {
                Ok(()) => {}
                Err(Error::Io { source, .. }) => assert_eq!(source.raw_os_error(), Some(ENOSPC)),
                Err(error) => panic!("{error}"),
            }
        }
        for attempt in [Database::checkpoint, Database::sync, |database: &Database| database.compact(&mut |_, _| true)]
        {
            match attempt(&database) {
                Err(Error::Io { source, .. }) => assert_eq!(source.raw_os_error(), Some(ENOSPC)),
                other => panic!("{other:?}"),
            }
        }
        disk.heal();
        (400..600).for_each(|number| put(number).expect("there is room again"));
        database.sync().expect("there is room again");
        assert!(common::content(&database, &family) == expected);
        let killed = common::open_on(Arc::new(disk.image()), &options);
        assert!(common::content(&killed, &killed.default_family()) == expected, "after a kill");
        database.checkpoint().expect("there is room again");
        database.compact(&mut |_, _| true).expect("there is room again");
        assert_sound(&database);
        database.close().expect("closes");
        let database = common::open(&disk, &options);
        assert!(common::content(&database, &database.default_family()) == expected, "after a reopening");
        assert_sound(&database);
    }
}

/// Where the next segment of the log could not be made the log goes on in the present one, and nothing that is left of
/// the attempt cuts short what is written there.
#[test]
fn a_segment_that_could_not_be_made_takes_nothing_with_it() {
    for durability in [Durability::Group, Durability::Sync] {
        for (nth, error) in (1..=16).flat_map(|nth| [(nth, ENOSPC), (nth, EIO)]) {
            let disk = MemoryDisk::new();
            let now = Arc::new(AtomicU64::new(START_MS));
            let options = options(durability, &now);
            let database = common::open(&disk, &options);
            let family = database.default_family();
            // With "sync" the second of these finds a segment to be used again.
            for round in 0..3u8 {
                family.put(&[round], b"before", None).expect("a put");
                database.sync().expect("a sync");
                disk.fail_at(nth, Fault::Raw(error));
                let failed = database.checkpoint();
                let what = format!("{durability:?}, operation {nth}, error {error}, round {round}: {failed:?}");
                disk.heal();
                let struck = disk.strikes().last().map(|strike| (strike.operation, strike.name.clone()));
                let is_log = struck.is_some_and(|(operation, name)| {
                    let syncs = matches!(operation, Operation::Sync | Operation::SyncDirectory);
                    !syncs && name.starts_with("log-")
                });
                match family.put(&[round, 1], b"after", None) {
                    Err(Error::Poisoned { .. }) if failed.is_err() && !is_log => break,
                    done => done.unwrap_or_else(|error| panic!("{what}: {error}")),
                }
                database.sync().expect("a sync");
                let expected = common::content(&database, &family);
                let killed = common::open(&disk.image(), &options);
                assert!(common::content(&killed, &killed.default_family()) == expected, "{what}");
            }
        }
    }
}

/// What could not be logged has not happened.
#[test]
fn families_stay_as_they_are_on_a_full_disk() {
    let disk = MemoryDisk::new();
    let now = Arc::new(AtomicU64::new(START_MS));
    let database = common::open(&disk, &options(Durability::Async, &now));
    let family = database.create_family("one", &[]).expect("a family");
    family.put(b"key", b"value", None).expect("a put");
    database.set_note("one", Some("before")).expect("a note");
    disk.fail_next(Operation::Write, u64::MAX, Fault::Raw(ENOSPC));
    database.sync().expect_err("the disk is full");
    database.drop_family("one").expect_err("the disk is full");
    database.rename_family("one", "two").expect_err("the disk is full");
    database.create_family("three", &[]).map(drop).expect_err("the disk is full");
    database.set_note("one", Some("after")).expect_err("the disk is full");
    for healed in [false, true] {
        if healed {
            disk.heal();
            database.sync().expect("there is room again");
        }
        assert_eq!(database.families().expect("names"), ["default", "one"]);
        assert_eq!(common::get(&family, b"key").as_deref(), Some(&b"value"[..]));
        assert_eq!(database.note("one").expect("a note").as_deref(), Some("before"));
    }
    family.put(b"key", b"again", None).expect("a put");
    database.drop_family("one").expect("there is room again");
}

/// Makes a checkpoint or a compaction fail at each of its writes; the next one has to make up for it.
fn fail_within(prepare: impl Fn(&Database), attempt: impl Fn(&Database) -> Result<(), Error>) {
    let now = Arc::new(AtomicU64::new(START_MS));
    let options = options(Durability::Async, &now);
    for nth in 1.. {
        let disk = MemoryDisk::new();
        let database = common::open(&disk, &options);
        prepare(&database);
        let expected = seen(&database);
        database.sync().expect("the disk is well");
        disk.fail_at(nth, Fault::Raw(ENOSPC));
        let failed = attempt(&database);
        disk.heal();
        if failed.is_ok() {
            assert!(nth > 5, "only {nth} operations could fail");
            return;
        }
        let mut poisoned = false;
        match database.checkpoint() {
            Ok(()) => {
                // A failure that is not of the superblock itself does no harm to what follows.
                database.checkpoint().expect("nothing is wrong any more");
                // What was freed is written to again, by pages that nothing else depends on.
                let more = database.create_family("more", &common::tiny_settings()).expect("a family");
                for number in 0..60u64 {
                    more.put(&number.to_be_bytes(), &noise(400 + number * 40, number), None).expect("a put");
                }
                database.checkpoint().expect("nothing is wrong any more");
                let killed = common::open(&disk.image(), &options);
                assert!(seen(&killed).without("more") == expected, "at operation {nth}: something was written over");
                assert_sound(&killed);
                database.drop_family("more").expect("it is there");
                database.compact(&mut |_, _| true).expect("nothing is wrong any more");
            }
            Err(Error::Poisoned { .. }) => poisoned = true,
            Err(error) => panic!("at operation {nth}: {error}"),
        }
        assert!(seen(&database) == expected, "at operation {nth}: something changed");
        // One superblock may be torn then; opening mends it from the other.
        let problems = database.check(&mut |_, _| true).expect("a check").problems;
        assert!(problems.iter().all(|problem| poisoned && problem.what.contains("superblock")), "{problems:?}");
        drop(database.close());
        let database = common::open(&disk, &options);
        assert!(seen(&database) == expected, "at operation {nth}: something changed with the reopening");
        assert_sound(&database);
        database.checkpoint().expect("the disk is well");
        database.compact(&mut |_, _| true).expect("the disk is well");
        assert!(seen(&database) == expected, "at operation {nth}: something changed in the end");
        assert_sound(&database);
    }
}

#[test]
fn a_failed_checkpoint_of_a_dropped_family_is_made_up_for() {
    let prepare = |database: &Database| {
        let family = database.create_family("dropped", &common::tiny_settings()).expect("a family");
        for number in 0..200u64 {
            family.put(&number.to_be_bytes(), &vec![1; 50 + number as usize * 5], None).expect("a put");
        }
        database.checkpoint().expect("a checkpoint");
        database.drop_family("dropped").expect("it is there");
        for number in 0..200u64 {
            database.default_family().put(&number.to_be_bytes(), &[2; 100], None).expect("a put");
        }
    };
    fail_within(prepare, Database::checkpoint);
}

#[test]
fn a_failed_compaction_of_long_values_is_made_up_for() {
    let prepare = |database: &Database| {
        let family = database.default_family();
        for number in 0..150u64 {
            family.put(&number.to_be_bytes(), &noise(600 + number * 20, number), None).expect("a put");
        }
        database.checkpoint().expect("a checkpoint");
        (0..150u64).filter(|number| number % 3 != 2).for_each(|number| {
            family.delete(&number.to_be_bytes()).expect("a delete");
        });
        for _ in 0..2 {
            database.checkpoint().expect("a checkpoint");
        }
    };
    fail_within(prepare, |database| database.compact(&mut |_, _| true));
}
