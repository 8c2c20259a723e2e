//! Commits side by side: of several families, with the same sync, with and against transactions, and when a sync fails.

use std::io::ErrorKind;

use shuttle::thread;

use super::{database, explore, get, number_in, open, value};
use crate::disk::{Fault, Operation};
use crate::sync::{AtomicU64, Ordering};
use crate::{Batch, Durability, Error};

#[test]
fn batches_of_several_families_are_seen_whole_in_order_and_by_their_own_writers() {
    for durability in [Durability::Sync, Durability::Group] {
        explore(2_000, move || {
            let (database, disk) = database(durability);
            let families = [database.default_family(), database.create_family("other", &[]).expect("it is new")];
            thread::scope(|scope| {
                let (database, families) = (&database, &families);
                for writer in 0..2 {
                    scope.spawn(move || {
                        for number in 1..=2 {
                            let mut batch = Batch::default();
                            for family in families {
                                batch.put(family, &[writer], &value(number), None).expect("it is short");
                            }
                            database.write(batch).expect("the disk has no faults");
                            let seen = families.each_ref().map(|family| get(family, &[writer]));
                            assert_eq!(seen, [number; 2], "a commit has returned and is not seen");
                        }
                    });
                }
                scope.spawn(move || {
                    let mut before = [0; 2];
                    for _ in 0..2 {
                        let snapshot = database.snapshot().expect("it is open");
                        for writer in 0..2 {
                            let [first, second] = families.each_ref().map(|family| {
                                snapshot.get(family, &[writer], number_in).expect("it is open").unwrap_or(0)
                            });
                            assert_eq!(first, second, "half of a batch is seen");
                            assert!(first >= before[usize::from(writer)], "a commit is not seen any more");
                            before[usize::from(writer)] = first;
                        }
                    }
                });
            });
            drop(families);
            database.close().expect("the disk has no faults");
            let database = open(&disk, durability);
            for name in ["default", "other"] {
                let family = database.family(name).expect("it is open").expect("it was there");
                assert_eq!([0, 1].map(|writer| get(&family, &[writer])), [2, 2], "a commit is lost");
            }
        });
    }
}

#[test]
fn of_transactions_that_read_what_others_wrote_one_commits() {
    explore(4_000, || {
        let (database, _) = database(Durability::Sync);
        let family = database.default_family();
        family.put(b"count", &value(0), None).expect("the disk has no faults");
        let committed = AtomicU64::new(0);
        thread::scope(|scope| {
            let (database, family, committed) = (&database, &family, &committed);
            for _ in 0..2 {
                // No increment is lost.
                scope.spawn(move || {
                    for _ in 0..2 {
                        let mut transaction = database.begin(false, None).expect("it is open");
                        let count = transaction.get(family, b"count", number_in).expect("it is open");
                        let next = value(count.expect("it was put") + 1);
                        transaction.put(family, b"count", &next, None).expect("it is short");
                        match transaction.commit() {
                            Ok(()) => _ = committed.fetch_add(1, Ordering::Relaxed),
                            Err(Error::Conflict { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
            }
            for (mine, other) in [(b"a", b"b"), (b"b", b"a")] {
                // Of two that would each forbid the other, one at most gets through.
                scope.spawn(move || {
                    let mut transaction = database.begin(true, None).expect("it is open");
                    if transaction.get(family, other, number_in).expect("it is open").is_none() {
                        transaction.put(family, mine, &value(1), None).expect("it is short");
                    }
                    match transaction.commit() {
                        Ok(()) | Err(Error::Conflict { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                });
            }
        });
        assert_eq!(get(&family, b"count"), committed.load(Ordering::Relaxed), "an increment is lost");
        assert_eq!(get(&family, b"a") + get(&family, b"b"), 1, "both, or none, were first");
    });
}

#[test]
fn after_a_failed_sync_nobody_sees_or_builds_on_what_was_lost() {
    explore(4_000, || {
        let (database, disk) = database(Durability::Sync);
        let family = database.default_family();
        let acknowledged = [0; 3].map(AtomicU64::new);
        let failures = AtomicU64::new(0);
        thread::scope(|scope| {
            let (family, acknowledged, failures) = (&family, &acknowledged, &failures);
            for writer in 0..3u8 {
                scope.spawn(move || {
                    for number in 1..=2 {
                        if family.put(&[writer], &value(number), None).is_err() {
                            failures.fetch_add(1, Ordering::Relaxed);
                            return;
                        }
                        acknowledged[usize::from(writer)].store(number, Ordering::Relaxed);
                    }
                });
            }
            scope.spawn(move || {
                for _ in 0..2 {
                    for writer in 0..3u8 {
                        let floor = acknowledged[usize::from(writer)].load(Ordering::Relaxed);
                        assert!(get(family, &[writer]) >= floor, "a commit has returned and is not seen");
                    }
                }
            });
            let disk = &disk;
            scope.spawn(move || disk.fail_next(Operation::Sync, 1, Fault::Kind(ErrorKind::Other)));
        });
        disk.heal();
        let acknowledged = acknowledged.each_ref().map(|number| number.load(Ordering::Relaxed));
        assert_eq!([0, 1, 2].map(|writer| get(&family, &[writer])), acknowledged, "a commit that failed is seen");
        if failures.load(Ordering::Relaxed) > 0 {
            let refused = family.put(b"more", &value(1), None);
            assert!(matches!(refused, Err(Error::Poisoned { .. })), "{refused:?}");
        }
        drop(family);
        let closed = database.close();
        assert_eq!(closed.is_err(), failures.load(Ordering::Relaxed) > 0, "{closed:?}");
        let family = open(&disk, Durability::Sync).default_family();
        for (writer, number) in acknowledged.into_iter().enumerate() {
            assert!(get(&family, &[writer as u8]) >= number, "a commit is lost");
        }
    });
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    explore(4_000, || {
        let (database, disk) = database(Durability::Group);
        let family = database.default_family();
        let acknowledged = [AtomicU64::new(0), AtomicU64::new(0)];
        thread::scope(|scope| {
            let (database, family, acknowledged, disk) = (&database, &family, &acknowledged, &disk);
            for writer in 0..2u8 {
                scope.spawn(move || {
                    for number in 1..=3 {
                        match family.put(&[writer], &value(number), None) {
                            Ok(()) => acknowledged[usize::from(writer)].store(number, Ordering::Relaxed),
                            Err(Error::Io { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
            }
            // Until it is done the writers may find the disk full, or not.
            scope.spawn(move || {
                disk.fail_next(Operation::Write, 2, Fault::Kind(ErrorKind::StorageFull));
                match database.sync() {
                    Ok(()) | Err(Error::Io { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            });
        });
        disk.heal();
        let acknowledged = acknowledged.map(|number| number.load(Ordering::Relaxed));
        assert_eq!([0, 1].map(|writer| get(&family, &[writer])), acknowledged, "a refused commit is seen");
        drop(family);
        database.close().expect("there is room again");
        let family = open(&disk, Durability::Group).default_family();
        assert_eq!([0, 1].map(|writer| get(&family, &[writer])), acknowledged, "a commit is lost");
    });
}
