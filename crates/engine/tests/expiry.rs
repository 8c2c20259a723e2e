//! Long values that expire give their space back once, whatever becomes of the leaf that named them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lyredb_engine::disk::MemoryDisk;
use lyredb_engine::tunables::Value;
use lyredb_engine::{Clock, Database, Options};

fn open(disk: &MemoryDisk, time: &Arc<AtomicU64>) -> Database {
    let setting = |name: &str, value| (name.to_string(), Value::Integer(value));
    let settings = vec![setting("memory_bytes", 1 << 20), setting("blob_bytes", 1024)];
    let options = Options { clock: Clock::Manual(Arc::clone(time)), settings, ..Options::default() };
    Database::open_on(Arc::new(disk.clone()), options).expect("opens")
}

#[test]
fn expired_long_values_are_freed_once() {
    let (disk, time) = (MemoryDisk::new(), Arc::new(AtomicU64::new(1_000_000)));
    let database = open(&disk, &time);
    let family = database.default_family();
    let key = |number: u32| format!("{number:06}").into_bytes();
    for number in 0..4_000 {
        let long = number % 20 == 0;
        let value = vec![number as u8; if long { 5_000 } else { 300 }];
        family.put(&key(number), &value, long.then_some(Duration::from_secs(10))).expect("a put");
    }
    database.checkpoint().expect("a checkpoint");
    time.fetch_add(60_000, Ordering::Relaxed);
    for round in 0..8u32 {
        // Reading brings leaves in and, with so little memory, others out; leaves are consolidated on the way.
        for number in 0..4_000 {
            let found = family.get(&key(number), |value| value.len()).expect("a read");
            assert_eq!(found, if number % 20 == 0 { None } else { Some(300) });
        }
        std::thread::sleep(Duration::from_millis(60));
        for number in 0..40 {
            family.put(&key(10_000 + round * 100 + number), &[7; 3_000], None).expect("a put");
        }
        database.checkpoint().expect("a checkpoint");
    }
    let report = database.check(&mut |_, _| true).expect("a check");
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    database.close().expect("closes");
    let database = open(&disk, &time);
    let report = database.check(&mut |_, _| true).expect("a check");
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}
