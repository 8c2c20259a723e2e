//! A transaction whose time is over holds nothing any more, and whoever reads in it is told.
//!
//! Threads are stopped at the points of builds with debug assertions, and with the feature `pause-points`.
#![cfg(any(debug_assertions, feature = "pause-points"))]

mod common;

#[path = "common/stop.rs"]
mod stop;

use std::thread;
use std::time::{Duration, Instant};

use common::{figure, get, open, tiny};
use lyredb_engine::disk::MemoryDisk;
use lyredb_engine::pause::Point;
use lyredb_engine::{Columns, Database, Durability, Error, Family, Fetched, Range, Resident, Rows, Transaction};
use stop::Stop;

const RECORDS: u64 = 500;
const SHORT: Duration = Duration::from_millis(400);
/// More than the maintenance thread takes to notice.
const NOTICE: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(3600);

fn filled() -> (Database, Family) {
    let database = open(&MemoryDisk::new(), &tiny(Durability::Async));
    let family = database.default_family();
    for number in 0..RECORDS {
        family.put(&number.to_be_bytes(), b"value", None).expect("a put");
    }
    (database, family)
}

/// Takes everything away, for good where no snapshot holds it.
fn empty(database: &Database, family: &Family) {
    family.delete_range(None, None).expect("a deletion");
    for _ in 0..2 {
        database.checkpoint().expect("a checkpoint");
    }
}

/// Waits until no snapshot as old as that is held.
fn wait_for_release(database: &Database, version: u64) {
    let begun = Instant::now();
    while figure(database, "oldest_snapshot_version") <= version {
        assert!(begun.elapsed() < Duration::from_secs(30), "a forgotten transaction holds its snapshot");
        thread::sleep(Duration::from_millis(5));
    }
}

#[track_caller]
fn assert_timed_out<T: std::fmt::Debug>(result: Result<T, Error>) {
    match result {
        Err(Error::TimedOut { seconds }) => assert_eq!(seconds, SHORT.as_secs_f64()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_forgotten_transaction_holds_nothing() {
    let (database, family) = filled();
    let mut forgotten = database.begin(false, Some(SHORT)).expect("a transaction");
    let version = forgotten.snapshot().expect("in time").version();
    forgotten.put(&family, b"never", b"written", None).expect("in time");
    let mut scan = forgotten.cursor(&family, Range::default(), false).expect("in time");
    family.put(b"more", b"value", None).expect("a put");
    assert_eq!(figure(&database, "oldest_snapshot_version"), version);
    wait_for_release(&database, version);
    // Those that are in time, or have none, keep theirs.
    let mut others =
        [Some(LONG), Some(Duration::MAX), None].map(|timeout| database.begin(false, timeout).expect("one"));
    let snapshot = database.snapshot().expect("a snapshot");
    empty(&database, &family);
    let mut rows = Rows::default();
    assert_timed_out(scan.fetch(Columns::Both, 10, usize::MAX / 2, true, &mut rows));
    assert_timed_out(forgotten.get(&family, &7u64.to_be_bytes(), |_| ()));
    assert!(matches!(forgotten.commit(), Err(Error::TransactionEnded)));
    assert_eq!(get(&family, b"never"), None);
    for other in &mut others {
        assert_eq!(other.count(&family, &Range::default()).expect("in time"), RECORDS + 1);
    }
    assert_eq!(snapshot.count(&family, &Range::default(), &mut |_, _| true).expect("a count"), RECORDS + 1);
}

/// Reads what was there when the transaction began; whether it is there.
type Read = fn(&mut Transaction, &Family) -> Result<bool, Error>;

const READS: [(&str, Read); 5] = [
    ("get", |transaction, family| Ok(transaction.get(family, &7u64.to_be_bytes(), |_| ())?.is_some())),
    ("get in memory", |transaction, family| {
        Ok(matches!(transaction.get_resident(family, &7u64.to_be_bytes(), |_| ())?, Resident::Found(())))
    }),
    ("many", |transaction, family| {
        let mut found = false;
        let snapshot = transaction.snapshot()?;
        snapshot.multi_get_resident(family, &[&7u64.to_be_bytes()], &mut |_, value| found = value.is_some())?;
        Ok(found)
    }),
    ("count", |transaction, family| Ok(transaction.count(family, &Range::default())? == RECORDS)),
    ("scan", |transaction, family| {
        let mut rows = Rows::default();
        let mut cursor = transaction.cursor(family, Range::default(), true)?;
        let fetched = cursor.fetch(Columns::Keys, usize::MAX / 2, usize::MAX / 2, true, &mut rows)?;
        Ok((fetched, rows.len()) == (Fetched::Done, RECORDS as usize))
    }),
];

#[test]
fn a_read_under_way_when_the_time_is_over_is_never_wrong() {
    let mut wrong = Vec::new();
    for (name, read) in READS {
        let (database, family) = filled();
        let mut transaction = database.begin(false, Some(SHORT)).expect("a transaction");
        let version = transaction.snapshot().expect("in time").version();
        let mut stop = Stop::at(Point::ReadStarted);
        let reader = {
            let family = family.clone();
            stop.spawn(move || read(&mut transaction, &family))
        };
        stop.wait();
        family.put(b"more", b"value", None).expect("a put");
        wait_for_release(&database, version);
        empty(&database, &family);
        stop.let_go();
        let read = reader.join().expect("no panic");
        if !matches!(read, Err(Error::TimedOut { .. })) {
            wrong.push((name, read));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// What has changed since the snapshot is looked for while it is held, so that no conflict is missed.
#[test]
fn a_commit_that_began_in_time_is_not_cut_short() {
    let (database, family) = filled();
    let mut transaction = database.begin(true, Some(SHORT)).expect("a transaction");
    transaction.put(&family, b"key", b"value", None).expect("in time");
    let mut scan = transaction.cursor(&family, Range::default(), false).expect("in time");
    let mut stop = Stop::at(Point::CommitLocked);
    let committer = stop.spawn(move || transaction.commit());
    stop.wait();
    thread::sleep(SHORT + NOTICE);
    let mut rows = Rows::default();
    let fetched = scan.fetch(Columns::Keys, usize::MAX / 2, usize::MAX / 2, true, &mut rows);
    assert!(matches!(fetched, Ok(Fetched::Done)), "it was released under a commit: {fetched:?}");
    stop.let_go();
    committer.join().expect("no panic").expect("it began in time");
    assert_eq!(get(&family, b"key").as_deref(), Some(&b"value"[..]));
}
