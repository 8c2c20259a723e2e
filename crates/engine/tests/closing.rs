//! A database that is closed while others read: they see all of it or an error, never an empty one.

use std::sync::Arc;

use lyredb_engine::disk::MemoryDisk;
use lyredb_engine::{Batch, Columns, Database, Error, Fetched, Options, Range, Rows};

const RECORDS: u32 = 2_000;
const ROUNDS: usize = 60;

fn filled() -> Database {
    let database = Database::open_on(Arc::new(MemoryDisk::new()), Options::default()).expect("opens");
    let family = database.default_family();
    let mut batch = Batch::default();
    for number in 0..RECORDS {
        batch.put(&family, &number.to_be_bytes(), b"value", None).expect("room");
    }
    database.write(batch).expect("a batch");
    database
}

fn is_closed(error: &Error) -> bool {
    matches!(error, Error::Closed)
}

/// Reads by key, by scan and by count until the database is closed; every answer before that is whole.
fn read_until_closed(database: &Database) {
    let family = database.default_family();
    let Ok(snapshot) = database.snapshot() else { return };
    for number in (0..RECORDS).cycle() {
        match family.get(&number.to_be_bytes(), |value| value.len()) {
            Ok(found) => assert_eq!(found, Some(5)),
            Err(error) => return assert!(is_closed(&error), "{error}"),
        }
        if number % 64 == 0 {
            let mut rows = Rows::default();
            let fetched = snapshot
                .cursor(&family, Range::default(), false)
                .and_then(|mut cursor| cursor.fetch(Columns::Both, usize::MAX / 2, usize::MAX / 2, true, &mut rows));
            match fetched {
                Ok(fetched) => assert_eq!((fetched, rows.len()), (Fetched::Done, RECORDS as usize)),
                Err(error) => return assert!(is_closed(&error), "{error}"),
            }
            match snapshot.count(&family, &Range::default(), &mut |_, _| true) {
                Ok(count) => assert_eq!(count, u64::from(RECORDS)),
                Err(error) => return assert!(is_closed(&error), "{error}"),
            }
        }
    }
}

#[test]
fn readers_never_take_a_closed_database_for_an_empty_one() {
    for round in 0..ROUNDS {
        let database = filled();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| read_until_closed(&database));
            }
            std::thread::sleep(std::time::Duration::from_micros(300 * (round as u64 % 7)));
            database.close().expect("closes");
        });
    }
}
