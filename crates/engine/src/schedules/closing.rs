//! A database that is closed while it is used.

use shuttle::thread;

use super::{database, explore, get, number_in, open, value};
use crate::sync::{AtomicU64, Ordering};
use crate::{Durability, Error};

/// `None`: it is closed.
fn unless_closed<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(Error::Closed) => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn who_is_there_when_it_closes_is_right_or_told() {
    for durability in [Durability::Sync, Durability::Group] {
        explore(3_000, move || {
            let (database, disk) = database(durability);
            let family = database.default_family();
            family.put(b"old", &value(1), None).expect("the disk has no faults");
            let (written, made) = (AtomicU64::new(0), AtomicU64::new(0));
            thread::scope(|scope| {
                let (database, family, written, made) = (&database, &family, &written, &made);
                scope.spawn(move || {
                    for _ in 0..2 {
                        let Some(found) = unless_closed(family.get(b"old", number_in)) else { return };
                        assert_eq!(found, Some(1), "what is there was not found");
                        let Some(snapshot) = unless_closed(database.snapshot()) else { return };
                        let Some(found) = unless_closed(snapshot.get(family, b"old", number_in)) else { return };
                        assert_eq!(found, Some(1), "what is there was not found");
                        let Some(count) = unless_closed(snapshot.count(family, &Default::default(), &mut |_, _| true))
                        else {
                            return;
                        };
                        assert!(count > 0, "what is there was not counted");
                    }
                });
                scope.spawn(move || {
                    for number in 1..=2 {
                        let Some(()) = unless_closed(family.put(b"new", &value(number), None)) else { return };
                        written.store(number, Ordering::Relaxed);
                    }
                });
                scope.spawn(move || {
                    let Some(new) = unless_closed(database.create_family("new", &[])) else { return };
                    made.store(1, Ordering::Relaxed);
                    let Some(()) = unless_closed(new.put(b"key", &value(1), None)) else { return };
                    made.store(2, Ordering::Relaxed);
                });
                scope.spawn(move || unless_closed(database.checkpoint()));
                scope.spawn(move || database.close().expect("the disk has no faults"));
            });
            drop(family);
            drop(database);
            let database = open(&disk, durability);
            assert_eq!(get(&database.default_family(), b"old"), 1, "a commit is lost");
            let written = written.load(Ordering::Relaxed);
            assert_eq!(
                get(&database.default_family(), b"new"),
                written,
                "a commit is lost, or one that was refused is there"
            );
            let new = database.family("new").expect("it is open");
            let made = made.load(Ordering::Relaxed);
            assert_eq!(new.is_some(), made > 0, "a family is lost, or one that was refused is there");
            assert_eq!(
                new.map_or(0, |new| get(&new, b"key")),
                u64::from(made == 2),
                "a commit is lost, or one too many"
            );
        });
    }
}

#[test]
fn who_is_there_when_a_family_is_dropped_is_right_or_told() {
    explore(4_000, || {
        let (database, disk) = database(Durability::Sync);
        let family = database.create_family("other", &[]).expect("it is new");
        family.put(b"key", &value(1), None).expect("the disk has no faults");
        thread::scope(|scope| {
            let (database, family) = (&database, &family);
            scope.spawn(move || {
                for _ in 0..3 {
                    match family.get(b"key", number_in) {
                        Ok(found) => assert!(found >= Some(1), "what is there was not found"),
                        Err(Error::NoSuchFamily(_)) => return,
                        Err(error) => panic!("{error}"),
                    }
                }
            });
            scope.spawn(move || {
                for number in 2..4 {
                    match family.put(b"key", &value(number), None) {
                        Ok(()) => {}
                        Err(Error::NoSuchFamily(_)) => return,
                        Err(error) => panic!("{error}"),
                    }
                }
            });
            scope.spawn(move || database.drop_family("other").expect("it is there"));
            scope.spawn(move || database.checkpoint().expect("the disk has no faults"));
        });
        drop(family);
        database.checkpoint().expect("the disk has no faults");
        let report = database.check(&mut |_, _| true).expect("the disk has no faults");
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        drop(database);
        let database = open(&disk, Durability::Sync);
        assert!(database.family("other").expect("it is open").is_none(), "it was dropped");
    });
}

#[test]
fn a_reader_that_meets_the_emptied_tree_is_told() {
    explore(4_000, || {
        let (database, _) = database(Durability::Sync);
        let family = database.default_family();
        family.put(b"old", &value(1), None).expect("the disk has no faults");
        thread::scope(|scope| {
            let (database, family) = (&database, &family);
            scope.spawn(move || {
                while let Some(found) = unless_closed(family.get(b"old", number_in)) {
                    assert_eq!(found, Some(1), "what is there was not found");
                    thread::yield_now();
                }
            });
            scope.spawn(move || database.close().expect("the disk has no faults"));
        });
    });
}
