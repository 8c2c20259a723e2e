//! A disk that is full because of what is on it, not because it says so once.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use lyredb_engine::disk::{Disk, MemoryDisk};
use lyredb_engine::{Database, Durability, Error, Family, Options};

use super::common::{self, Model, assert_sound, content, noise, pages_used, setting};
use super::workload::{START_MS, options};

/// A file of somebody else's, which he can do without.
const BALLAST: &str = "ballast";
const BALLAST_BYTES: usize = 512 << 10;
const CAPACITY: u64 = 6 << 20;

const ALL: [Durability; 3] = [Durability::Sync, Durability::Group, Durability::Async];

fn now() -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(START_MS))
}

#[track_caller]
fn assert_full(error: &Error) {
    let full = matches!(error, Error::Io { source, .. } if source.kind() == ErrorKind::StorageFull);
    assert!(full, "{error:?}");
}

fn database_beside_ballast(options: &Options) -> (MemoryDisk, Database) {
    let disk = MemoryDisk::new();
    let database = common::open(&disk, options);
    disk.put(BALLAST, vec![1; BALLAST_BYTES]);
    disk.set_capacity(Some(CAPACITY));
    (disk, database)
}

/// Puts records until one is refused; it returns those that were not, with the refusal.
fn fill(
    database: &Database,
    family: &Family,
    numbers: impl IntoIterator<Item = u64>,
    acknowledged: &mut Model,
) -> Error {
    for number in numbers {
        let (key, value) = (number.to_be_bytes().to_vec(), noise(200 + number % 3000, number));
        let done = family.put(&key, &value, None);
        match done {
            Ok(()) => drop(acknowledged.insert(key, value)),
            Err(error) => return error,
        }
        if number % 100 == 99
            && let Err(error) = database.checkpoint()
        {
            return error;
        }
    }
    panic!("the disk never fills");
}

/// Filled to the last block; somebody frees a little, and what is deleted then makes room for all that follows.
#[test]
fn what_is_deleted_from_a_full_disk_makes_room() {
    for durability in ALL {
        let (disk, database) = database_beside_ballast(&options(durability, &now()));
        let mut expected = Model::new();
        let mut numbers = 0..;
        for round in 0..5 {
            let family = database.default_family();
            assert_full(&fill(&database, &family, numbers.by_ref(), &mut expected));
            assert!(content(&database, &family) == expected, "{durability:?}: reading goes on");
            disk.remove(BALLAST).expect("it is there");
            database.sync().expect("there is room again");
            let middle = expected.keys().nth(expected.len() * 9 / 10).expect("there are many").clone();
            family.delete_range(None, Some(&middle)).expect("there is room again");
            expected = expected.split_off(&middle);
            database.compact(&mut |_, _| true).expect("there is room again");
            let sizes =
                || disk.list().expect("names").into_iter().map(|name| (disk.get(&name).map(|bytes| bytes.len()), name));
            assert!(
                disk.used_bytes() < CAPACITY / 2,
                "{durability:?}, round {round}: still used are {} bytes, {:?}",
                disk.used_bytes(),
                sizes().collect::<Vec<_>>()
            );
            assert!(content(&database, &family) == expected, "{durability:?}, round {round}");
            assert_sound(&database);
            disk.put(BALLAST, vec![1; BALLAST_BYTES]);
        }
        database.close().expect("there is room again");
        let database = common::open(&disk, &options(durability, &now()));
        assert!(content(&database, &database.default_family()) == expected, "{durability:?}: after a reopening");
    }
}

/// Recovery on a full disk says that it is full, harms nothing, and reading only needs no room at all.
#[test]
fn opening_on_a_full_disk() {
    for durability in ALL {
        let given = options(durability, &now());
        let (disk, database) = database_beside_ballast(&given);
        let family = database.default_family();
        let mut expected = Model::new();
        assert_full(&fill(&database, &family, 0.., &mut expected));
        // What is in memory only waits for room that a killed process does not get.
        let killed = disk.image();
        drop((family, database));
        killed.set_capacity(Some(killed.used_bytes()));
        let read_only = || {
            let database = common::open(&killed, &Options { read_only: true, ..given.clone() });
            content(&database, &database.default_family())
        };
        let found = read_only();
        if durability == Durability::Sync {
            assert!(
                expected.iter().all(|(key, value)| found.get(key) == Some(value)),
                "something acknowledged is lost"
            );
        }
        for _ in 0..3 {
            match Database::open_on(Arc::new(killed.clone()), given.clone()) {
                // The last segment was empty, so that it needs no other.
                Ok(database) => assert!(content(&database, &database.default_family()) == found, "{durability:?}"),
                Err(error) => assert_full(&error),
            }
            assert!(read_only() == found, "{durability:?}: an opening that failed changed something");
        }
        killed.remove(BALLAST).expect("it is there");
        let database = common::open(&killed, &given);
        assert!(content(&database, &database.default_family()) == found, "{durability:?}");
        assert_sound(&database);
        database.default_family().put(b"more", b"fits", None).expect("there is room again");
        database.close().expect("there is room again");
    }
}

/// Closing keeps what was acknowledged until there is room for it, and lets nobody else in meanwhile.
#[test]
fn closing_on_a_full_disk_can_be_tried_again() {
    for durability in [Durability::Group, Durability::Async] {
        let given = options(durability, &now());
        let (disk, database) = database_beside_ballast(&given);
        let family = database.default_family();
        family.put(b"before", b"1", None).expect("a put");
        database.sync().expect("there is room");
        disk.set_capacity(Some(disk.used_bytes()));
        let long = noise(20_000, 1);
        family.put(b"acknowledged", &long, None).expect("there is room in memory");
        for _ in 0..2 {
            assert_full(&database.close().expect_err("there is no room"));
            let second = Database::open_on(Arc::new(disk.clone()), given.clone());
            assert!(matches!(second.map(drop), Err(Error::Locked { .. })), "{durability:?}");
            assert!(matches!(family.put(b"more", b"2", None), Err(Error::Closed)), "{durability:?}");
        }
        disk.set_capacity(None);
        database.close().expect("there is room again");
        let again = common::open(&disk, &given);
        let expected = Model::from([(b"before".to_vec(), b"1".to_vec()), (b"acknowledged".to_vec(), long)]);
        assert!(content(&again, &again.default_family()) == expected, "{durability:?}");
        // The first, still there, is really done with the files.
        again.default_family().put(b"after", b"3", None).expect("a put");
        database.close().expect("it is closed already");
        again.sync().expect("a sync");
        drop((family, database));
        let killed = common::open(&disk.image(), &given);
        assert_eq!(content(&killed, &killed.default_family()).len(), 3, "{durability:?}");
    }
}

/// Memory can only be given back by writing; when that cannot be done writers are refused, and readers are not.
#[test]
fn eviction_on_a_full_disk() {
    let mut given = options(Durability::Async, &now());
    given.settings.push(setting("memory_bytes", 1 << 20));
    let (disk, database) = database_beside_ballast(&given);
    let family = database.default_family();
    let mut expected = Model::new();
    let refused = (0..20_000u64).find_map(|number| {
        let (key, value) = (number.to_be_bytes().to_vec(), noise(2000, number));
        let done = family.put(&key, &value, None);
        done.map(|()| expected.insert(key, value)).err()
    });
    assert_full(&refused.expect("the disk fills"));
    assert!(content(&database, &family) == expected, "reading goes on");
    disk.set_capacity(None);
    family.put(b"more", b"fits", None).expect("there is room again");
    expected.insert(b"more".to_vec(), b"fits".to_vec());
    database.checkpoint().expect("there is room again");
    assert!(content(&database, &family) == expected);
    assert_sound(&database);
}

/// What cannot be written stays in memory and is read there; the database says why, and goes on when there is room.
#[test]
fn changed_leaves_stay_in_memory_while_the_disk_is_full() {
    for durability in ALL {
        let given = options(durability, &now());
        let disk = MemoryDisk::new();
        let database = common::open(&disk, &given);
        let family = database.default_family();
        let mut expected = Model::new();
        let mut put = |number: u64| {
            let (key, value) = (number.to_be_bytes().to_vec(), noise(300, number));
            family.put(&key, &value, None).expect("a put");
            expected.insert(key, value);
        };
        (0..300).for_each(&mut put);
        database.checkpoint().expect("there is room");
        (200..500).for_each(&mut put);
        database.sync().expect("there is room");
        disk.set_capacity(Some(disk.used_bytes()));
        let before = pages_used(&database);
        assert_full(&database.drive_out(0).expect_err("there is no room"));
        let left = pages_used(&database);
        assert!(left < before, "{durability:?}: what is clean goes all the same");
        assert!(left > 200 * 300, "{durability:?}: only {left} bytes are in memory, of 300 records that are changed");
        assert!(content(&database, &family) == expected, "{durability:?}: reading goes on");
        assert_sound(&database);
        disk.set_capacity(None);
        database.drive_out(0).expect("there is room again");
        assert!(pages_used(&database) < left / 8, "{durability:?}: it goes on");
        assert!(content(&database, &family) == expected, "{durability:?}");
        // Without a checkpoint: what was written early is free space to whoever comes after a power cut.
        let killed = common::open(&disk.image(), &given);
        assert!(content(&killed, &killed.default_family()) == expected, "{durability:?}: after a power cut");
        assert_sound(&killed);
        database.checkpoint().expect("there is room again");
        assert_sound(&database);
    }
}

/// Nothing is left of a backup that did not fit, and the database is none the worse for it.
#[test]
fn a_backup_onto_a_full_disk() {
    let database = common::open(&MemoryDisk::new(), &options(Durability::Group, &now()));
    let family = database.default_family();
    (0..500u64).for_each(|number| family.put(&number.to_be_bytes(), &noise(1000, number), None).expect("a put"));
    let expected = content(&database, &family);
    let whole = MemoryDisk::new();
    database.backup_on(Arc::new(whole.clone()), &mut |_, _| true).expect("there is room");
    for blocks in 0..whole.used_bytes() / 4096 {
        let small = MemoryDisk::new();
        small.set_capacity(Some(blocks * 4096));
        let refused = database.backup_on(Arc::new(small.clone()), &mut |_, _| true);
        assert_full(&refused.expect_err("there is no room"));
        assert!(small.list().expect("names").is_empty(), "something is left");
    }
    assert!(content(&database, &family) == expected);
    let copy = common::open(&whole, &options(Durability::Group, &now()));
    assert!(content(&copy, &copy.default_family()) == expected);
}
