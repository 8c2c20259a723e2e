//! Threads that read ahead of scans and for reads of many keys, beside writers, eviction and the end.

use std::sync::Arc;

use shuttle::thread;

use super::{database, explore, number_in, value_of};
use crate::io_pool::IoPool;
use crate::sync::{AtomicU64, Ordering};
use crate::tunables::Value;
use crate::{Batch, Columns, Durability, Fetched, Range, Rows};

#[test]
fn tasks_are_done_once_beside_the_end_of_the_threads() {
    explore(4_000, || {
        let (pool, done) = (Arc::new(IoPool::default()), Arc::new(AtomicU64::new(0)));
        let tasks: Vec<_> = (0..3)
            .map(|number| {
                let done = Arc::clone(&done);
                pool.start(move || done.fetch_add(1, Ordering::Relaxed).min(0) + number)
            })
            .collect();
        thread::scope(|scope| {
            scope.spawn(|| pool.stop());
            scope.spawn(|| drop(pool.start(|| 0)));
            let answers: Vec<u64> = tasks.into_iter().rev().map(|task| task.take()).collect();
            assert_eq!(answers, [2, 1, 0]);
        });
        assert_eq!(done.load(Ordering::Relaxed), 3);
        pool.stop();
    });
}

/// Fewer bytes than make a value long.
const BYTES: usize = 250;
const RECORDS: u64 = 44;

fn key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

#[test]
fn scans_see_their_snapshot_whatever_was_read_ahead() {
    explore(400, || {
        let (database, _disk) = database(Durability::Async);
        database.configure(None, &[("hot_bytes".into(), Value::Integer(0))]).expect("it is open");
        let family = database.default_family();
        let mut batch = Batch::default();
        (0..RECORDS).for_each(|number| batch.put(&family, &key(number), &value_of(number, BYTES), None).expect("room"));
        database.write(batch).expect("the disk has no faults");
        database.checkpoint().expect("the disk has no faults");
        database.drive_out(0).expect("the disk has no faults");
        let snapshot = database.snapshot().expect("it is open");
        thread::scope(|scope| {
            let (database, family, snapshot) = (&database, &family, &snapshot);
            scope.spawn(move || {
                let mut cursor = snapshot.cursor(family, Range::default(), false).expect("it is open");
                let (mut rows, mut seen) = (Rows::default(), 0);
                loop {
                    rows.clear();
                    let fetched = cursor.fetch(Columns::Both, 7, 1 << 20, true, &mut rows).expect("no faults");
                    for row in 0..rows.len() {
                        assert_eq!((rows.key(row), number_in(rows.value(row))), (&key(seen)[..], seen));
                        seen += 1;
                    }
                    if fetched == Fetched::Done {
                        break;
                    }
                }
                assert_eq!(seen, RECORDS);
            });
            scope.spawn(move || {
                let keys: Vec<[u8; 8]> = (0..RECORDS).step_by(5).map(key).collect();
                let slices: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
                let cold = snapshot.multi_get_resident(family, &slices, &mut |_, _| ()).expect("no faults");
                for (place, value) in snapshot.multi_get_from_disk(family, &slices, &cold).expect("no faults") {
                    assert_eq!(value.map(|value| number_in(&value)), Some(place as u64 * 5));
                }
            });
            scope.spawn(move || {
                for number in [20, 21, 22] {
                    family.delete(&key(number)).expect("no faults");
                }
                family.put(&key(30), &value_of(99, BYTES), None).expect("no faults");
                database.checkpoint().expect("no faults");
                database.drive_out(0).expect("no faults");
            });
        });
        drop((snapshot, family));
        database.close().expect("no faults");
    });
}
