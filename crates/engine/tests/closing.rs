//! A database that is closed while others use it: they see all of it or an error, never an empty one, and what they
//! were told is done is there when it is opened again.
//!
//! The windows are narrow, so threads are stopped in them, at the points of builds with debug assertions, and with the
//! feature `pause-points`.
#![cfg(any(debug_assertions, feature = "pause-points"))]

mod common;

#[path = "common/stop.rs"]
mod stop;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lyredb_engine::disk::MemoryDisk;
use lyredb_engine::pause::{Point, hook};
use lyredb_engine::{Batch, Columns, Database, Error, Family, Fetched, Options, Range, Resident, Rows, Snapshot};
use stop::Stop;

const RECORDS: u32 = 2_000;

fn filled(disk: &MemoryDisk) -> Database {
    let database = common::open(disk, &Options::default());
    let family = database.default_family();
    let mut batch = Batch::default();
    for number in 0..RECORDS {
        batch.put(&family, &number.to_be_bytes(), b"value", None).expect("room");
    }
    database.write(batch).expect("a batch");
    database
}

/// Reads something that is there; whether all of it was found.
type Read = fn(&Family, &Snapshot) -> Result<bool, Error>;

const READS: [(&str, Read); 6] = [
    ("get", |family, _| Ok(family.get(&7u32.to_be_bytes(), |value| value.len())? == Some(5))),
    ("get in memory", |family, _| {
        Ok(matches!(family.get_resident(&7u32.to_be_bytes(), |value| value.len())?, Resident::Found(5)))
    }),
    ("many", |family, snapshot| {
        let keys = [1u32.to_be_bytes(), 1999u32.to_be_bytes()];
        let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_slice()).collect();
        let mut found = 0;
        let cold = snapshot.multi_get_resident(family, &keys, &mut |_, value| found += usize::from(value.is_some()))?;
        Ok(found + cold.len() == keys.len())
    }),
    ("scan", |family, snapshot| {
        let mut cursor = snapshot.cursor(family, Range::default(), false)?;
        let mut rows = Rows::default();
        let fetched = cursor.fetch(Columns::Both, usize::MAX / 2, usize::MAX / 2, true, &mut rows)?;
        Ok((fetched, rows.len()) == (Fetched::Done, RECORDS as usize))
    }),
    (
        "count",
        |family, snapshot| Ok(snapshot.count(family, &Range::default(), &mut |_, _| true)? == u64::from(RECORDS)),
    ),
    ("time to live", |family, _| Ok(family.time_to_live(&7u32.to_be_bytes())? == Some(None))),
];

#[test]
fn readers_never_take_a_closed_database_for_an_empty_one() {
    let mut wrong = Vec::new();
    for (name, read) in READS {
        let database = filled(&MemoryDisk::new());
        let family = database.default_family();
        let snapshot = database.snapshot().expect("a snapshot");
        assert!(read(&family, &snapshot).expect(name), "{name} finds what is there");
        let mut stop = Stop::at(Point::ReadStarted);
        let reader = stop.spawn(move || read(&family, &snapshot));
        stop.wait();
        // The reader has seen it open, and will look into the tree when there is nothing left in it.
        database.close().expect("closes");
        stop.let_go();
        let read = reader.join().expect("no panic");
        if !matches!(read, Ok(true) | Err(Error::Closed)) {
            wrong.push((name, read));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn a_family_that_is_made_while_the_database_closes_is_closed_too_and_lasts() {
    let disk = MemoryDisk::new();
    let database = filled(&disk);
    let mut stop = Stop::at(Point::CatalogueLocked);
    let maker = {
        let database = database.clone();
        stop.spawn(move || database.create_family("late", &[]))
    };
    stop.wait();
    let closer = {
        let database = database.clone();
        thread::spawn(move || database.close())
    };
    // Closing has either to wait for the family or to keep it from being made.
    let begun = Instant::now();
    while !database.is_closed() && begun.elapsed() < Duration::from_millis(200) {
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(Duration::from_millis(50));
    stop.let_go();
    let made = maker.join().expect("no panic");
    closer.join().expect("no panic").expect("closes");
    let lasts = match made {
        Ok(family) => {
            let found = family.get(b"key", |value| value.len());
            assert!(matches!(found, Err(Error::Closed)), "a closed database's family reads as {found:?}");
            assert!(matches!(family.put(b"key", b"value", None), Err(Error::Closed)));
            true
        }
        Err(Error::Closed) => false,
        Err(error) => panic!("{error}"),
    };
    let database = common::open(&disk, &Options::default());
    assert_eq!(database.family("late").expect("open").is_some(), lasts);
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    None,
    Closer,
    Compactor,
}

thread_local! {
    static ROLE: Cell<Role> = const { Cell::new(Role::None) };
}

/// Whether it comes true within a minute.
fn comes(flag: &AtomicBool) -> bool {
    let limit = Instant::now() + Duration::from_secs(60);
    while !flag.load(Ordering::Acquire) && Instant::now() < limit {
        thread::sleep(Duration::from_millis(1));
    }
    flag.load(Ordering::Acquire)
}

/// A compaction is a row of checkpoints. Close writes its own and then empties the trees: one that came after would take
/// that for the content.
#[test]
fn a_compaction_under_way_writes_nothing_once_the_trees_are_emptied() {
    static WRITTEN: AtomicBool = AtomicBool::new(false);
    static STARTED: AtomicBool = AtomicBool::new(false);
    static EMPTIED: AtomicBool = AtomicBool::new(false);
    static PAUSED: AtomicBool = AtomicBool::new(false);
    let disk = MemoryDisk::new();
    let database = filled(&disk);
    let family = database.default_family();
    let mut random = common::Random(1);
    for _ in 0..2 {
        for number in 0..RECORDS {
            let noise: Vec<u8> = (0..200).map(|_| random.next() as u8).collect();
            family.put(&number.to_be_bytes(), &noise, None).expect("room");
        }
        database.checkpoint().expect("a checkpoint");
    }
    // Held for as long as the hook is in use.
    let _turn = Stop::at(Point::CatalogueLocked);
    hook::install(Some(Arc::new(|point| match (ROLE.get(), point) {
        (Role::Closer, Point::CloseWritten) => {
            WRITTEN.store(true, Ordering::Release);
            comes(&STARTED);
        }
        (Role::Compactor, Point::CheckpointStarted) if WRITTEN.load(Ordering::Acquire) => {
            STARTED.store(true, Ordering::Release);
            comes(&EMPTIED);
        }
        _ => {}
    })));
    let compactor = {
        let database = database.clone();
        thread::spawn(move || {
            ROLE.set(Role::Compactor);
            let done = database.compact(&mut |_, _| {
                PAUSED.store(true, Ordering::Release);
                comes(&WRITTEN)
            });
            STARTED.store(true, Ordering::Release);
            done
        })
    };
    assert!(comes(&PAUSED), "there is something to compact");
    let closer = {
        let database = database.clone();
        thread::spawn(move || {
            ROLE.set(Role::Closer);
            database.close()
        })
    };
    closer.join().expect("no panic").expect("closes");
    EMPTIED.store(true, Ordering::Release);
    let compacted = compactor.join().expect("no panic");
    assert!(matches!(compacted, Ok(()) | Err(Error::Closed)), "{compacted:?}");
    let database = common::open(&disk, &Options::default());
    assert_eq!(common::content(&database, &database.default_family()).len(), RECORDS as usize);
}
