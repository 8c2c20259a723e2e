//! Failing and full disks: the error says so, nothing acknowledged is lost, and work goes on when the disk is well again.
//!
//! `LYREDB_TEST_EFFORT=10` tries ten times as many workloads as by default.

mod common;

#[path = "common/workload.rs"]
mod workload;

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use common::{Model, Random, assert_sound, scaled, tally};
use lyredb_engine::disk::{Fault, MemoryDisk, Operation};
use lyredb_engine::{Database, Durability, Error};
use workload::{Content, Mix, START_MS, Step, options, options_with, seen, steps};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

fn everything() -> Mix {
    Mix {
        puts: 30,
        deletes: 10,
        batches: 15,
        transactions: 10,
        ranges: 3,
        families: 8,
        syncs: 4,
        checkpoints: 6,
        compactions: 2,
        reopenings: 2,
        long_values: true,
        ..Mix::default()
    }
}

/// Runs the steps on a disk of which the `nth` operation fails, heals it, reopens, and compares. Returns whether the
/// fault struck.
fn fail_at(steps: &[Step], durability: Durability, nth: u64, fault: Fault, seed: u64) -> bool {
    let disk = MemoryDisk::new();
    let now = Arc::new(AtomicU64::new(START_MS));
    let open = |given: &[_]| Database::open_on(Arc::new(disk.clone()), options_with(given, durability, &now));
    let mut database = open(&[]).expect("the disk is still well");
    disk.fail_at(nth, fault);
    let strikes = disk.operations() + nth;
    let what = || format!("{durability:?}, seed {seed}, {fault:?} at operation {nth}");
    // Contents that are possible, each with what of it is durable at least.
    let mut possible = vec![Content::new()];
    let mut since_durable = possible.clone();
    let mut failures = 0;
    for step in steps {
        // What an earlier failure kept from being made cannot be worked with.
        if !possible.iter().all(|content| step.makes_sense(content)) {
            continue;
        }
        let result = match step {
            Step::Reopen(given) => {
                let closed = database.close();
                match open(given) {
                    Ok(opened) => {
                        database = opened;
                        closed
                    }
                    Err(error) => {
                        // The next attempt finds the disk well.
                        database = open(given).unwrap_or_else(|error| panic!("{}: {error}", what()));
                        Err(error)
                    }
                }
            }
            Step::Advance(_) => Ok(()),
            step => step.run(&database),
        };
        match result {
            Ok(()) => {
                possible.iter_mut().for_each(|content| step.apply(content, START_MS));
                since_durable.extend(possible.iter().cloned());
                if step.makes_durable(durability) {
                    since_durable = possible.clone();
                }
            }
            Err(error) => {
                failures += 1;
                let injected = |source: &std::io::Error| match fault {
                    Fault::Raw(number) => source.raw_os_error() == Some(number),
                    Fault::Kind(kind) => source.kind() == kind,
                };
                match &error {
                    Error::Io { source, .. } => assert!(injected(source), "{}: {error}", what()),
                    Error::Poisoned { .. } => {}
                    other => panic!("{}: {step:?} ended with {other:?}", what()),
                }
                if let Step::Reopen(given) = step {
                    // It was opened without having been closed well.
                    possible.append(&mut since_durable);
                    possible.iter_mut().for_each(|content| content.reopen(given));
                } else {
                    possible = possible.iter().flat_map(|content| step.possible(content, START_MS)).collect();
                }
                // What can be seen now is what is there, unless the failed step waits to be seen.
                let found = seen(&database);
                let as_seen: Vec<Content> =
                    possible.iter().filter(|content| content.is_seen(&found, START_MS)).cloned().collect();
                assert!(!as_seen.is_empty(), "{}: {step:?} changed something else", what());
                let poisoned = matches!(database.sync(), Err(Error::Poisoned { .. }));
                if !poisoned {
                    possible = as_seen;
                }
                possible.dedup();
                since_durable.extend(possible.iter().cloned());
                if poisoned {
                    break;
                }
            }
        }
    }
    let struck = disk.operations() >= strikes;
    disk.heal();
    drop(database.close());
    drop(database);
    let again = open(&[]).unwrap_or_else(|error| panic!("{}: it does not open again: {error}", what()));
    let found = seen(&again);
    let mut possible = since_durable.into_iter().chain(possible);
    let known = possible.any(|mut content| {
        content.reopen(&[]);
        content.is_seen(&found, START_MS)
    });
    assert!(known, "{}: after {failures} failures something is missing, or too much is there", what());
    assert_sound(&again);
    again.default_family().put(b"still", b"works", None).expect("a put");
    again.close().expect("closes");
    struck
}

/// What checkpoints have to cope with above all.
fn much_to_move() -> Mix {
    Mix {
        puts: 15,
        batches: 25,
        deletes: 10,
        families: 20,
        checkpoints: 15,
        compactions: 12,
        reopenings: 3,
        long_values: true,
        ..Mix::default()
    }
}

fn fail_everywhere(fault: Fault, durability: Durability) {
    let mut faults = 0;
    for seed in 0..scaled(2) {
        for mix in [everything(), much_to_move()] {
            let steps = steps(&mix, 40, 100, seed);
            let mut nth = 1;
            while fail_at(&steps, durability, nth, fault, seed) {
                nth += 1;
                assert!(nth < 20_000, "the steps do not end");
            }
            faults += nth - 1;
        }
    }
    tally("injected faults", faults);
    assert!(faults > 100, "the fault struck {faults} times only");
}

#[test]
fn input_output_errors() {
    for durability in [Durability::Sync, Durability::Group, Durability::Async] {
        fail_everywhere(Fault::Raw(EIO), durability);
    }
}

#[test]
fn a_full_disk() {
    for durability in [Durability::Sync, Durability::Group, Durability::Async] {
        fail_everywhere(Fault::Raw(ENOSPC), durability);
    }
}

#[test]
fn refused_permission() {
    fail_everywhere(Fault::Kind(ErrorKind::PermissionDenied), Durability::Sync);
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

/// Bytes that no codec makes shorter.
fn noise(length: u64, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    (0..length).map(|_| random.next() as u8).collect()
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
            Err(Error::Poisoned { .. }) => {}
            Err(error) => panic!("at operation {nth}: {error}"),
        }
        assert!(seen(&database) == expected, "at operation {nth}: something changed");
        assert_sound(&database);
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
