//! Nanoseconds an operation: reading, writing, scanning and committing, with readers beside a writer.
//!
//! `cargo bench --package lyredb-engine`; `LYREDB_BENCH_RECORDS=10000000` adds a database of that many records.
//! In memory, 16-byte random keys, 100-byte values.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use lyredb_engine::disk::MemoryDisk;
use lyredb_engine::tunables::Value;
use lyredb_engine::{Batch, Columns, Database, Durability, Family, Fetched, Options, Range, Rows};

const VALUE: [u8; 100] = [7; 100];
const READERS: [usize; 4] = [0, 1, 2, 4];
const BATCH: u64 = 1_000;

/// Spreads numbers over all keys (splitmix64's mixing step).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn key(number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&mixed(number).to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// A database of that many records, all in memory.
fn filled(records: u64) -> (Database, Family) {
    let integer = |name: &str, value| (name.to_string(), Value::Integer(value));
    let settings = vec![integer("memory_bytes", 1 << 40), integer("checkpoint_log_bytes", 64 << 20)];
    let options = Options { durability: Durability::Async, settings, ..Options::default() };
    let database = Database::open_on(Arc::new(MemoryDisk::new()), options).expect("the database opens");
    let family = database.default_family();
    for start in (0..records).step_by(BATCH as usize) {
        let mut batch = Batch::with_capacity(BATCH as usize, BATCH as usize * 120);
        for number in start..(start + BATCH).min(records) {
            batch.put(&family, &key(number), &VALUE, None).expect("room");
        }
        database.write(batch).expect("a commit");
    }
    database.checkpoint().expect("a checkpoint");
    (database, family)
}

fn get(family: &Family, number: u64) {
    let mut copy = [0u8; 100];
    let found = family.get(&key(number), |value| copy.copy_from_slice(value)).expect("a read");
    assert!(found.is_some());
    black_box(copy);
}

/// Runs `measure` while `readers` threads get records; returns their reads a second too.
fn beside_readers<R>(family: &Family, records: u64, readers: usize, measure: impl FnOnce() -> R) -> (R, f64) {
    let (over, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    let began = Instant::now();
    let result = thread::scope(|scope| {
        for reader in 0..readers {
            let (over, reads) = (&over, &reads);
            scope.spawn(move || {
                let mut next = reader as u64;
                while !over.load(Ordering::Relaxed) {
                    for _ in 0..64 {
                        next = next.wrapping_add(0x9e37_79b9);
                        get(family, mixed(next) % records);
                    }
                    reads.fetch_add(64, Ordering::Relaxed);
                }
            });
        }
        let result = measure();
        over.store(true, Ordering::Relaxed);
        result
    });
    (result, reads.into_inner() as f64 / began.elapsed().as_secs_f64())
}

fn alone(group: &mut BenchmarkGroup<'_, WallTime>, database: &Database, family: &Family, records: u64) {
    let mut next = 0u64;
    let mut number = move || {
        next += 1;
        mixed(next) % records
    };
    group.throughput(Throughput::Elements(1));
    group.bench_function(BenchmarkId::new("get", records), |bench| bench.iter(|| get(family, number())));
    group.bench_function(BenchmarkId::new("get, absent", records), |bench| {
        bench.iter(|| assert!(family.get(&key(records + number()), |_| ()).expect("a read").is_none()));
    });
    group.throughput(Throughput::Elements(100));
    group.bench_function(BenchmarkId::new("scan of 100", records), |bench| {
        let mut rows = Rows::default();
        bench.iter(|| {
            rows.clear();
            let snapshot = database.snapshot().expect("a snapshot");
            let range = Range::half_open(Some(&key(number())), None);
            let mut cursor = snapshot.cursor(family, range, false).expect("a cursor");
            cursor.fetch(Columns::Both, 100, usize::MAX / 2, true, &mut rows).expect("rows");
            rows.len()
        });
    });
    group.throughput(Throughput::Elements(records));
    group.bench_function(BenchmarkId::new("full scan", records), |bench| {
        let mut rows = Rows::default();
        bench.iter(|| {
            let snapshot = database.snapshot().expect("a snapshot");
            let mut cursor = snapshot.cursor(family, Range::default(), false).expect("a cursor");
            let mut count = 0;
            loop {
                rows.clear();
                let fetched = cursor.fetch(Columns::Both, 4096, usize::MAX / 2, true, &mut rows).expect("rows");
                count += rows.len();
                if fetched == Fetched::Done {
                    return assert_eq!(count as u64, records);
                }
            }
        });
    });
}

fn beside(group: &mut BenchmarkGroup<'_, WallTime>, database: &Database, family: &Family, records: u64) {
    let mut next = 0u64;
    let mut number = move || {
        next += 1;
        mixed(next) % records
    };
    for readers in READERS {
        group.throughput(Throughput::Elements(1));
        let (_, reads) = beside_readers(family, records, readers, || {
            group.bench_function(BenchmarkId::new(format!("put, {readers} readers"), records), |bench| {
                bench.iter(|| family.put(&key(number()), &VALUE, None).expect("a put"));
            });
        });
        group.throughput(Throughput::Elements(BATCH));
        beside_readers(family, records, readers, || {
            group.bench_function(BenchmarkId::new(format!("commit of {BATCH}, {readers} readers"), records), |bench| {
                bench.iter(|| {
                    let mut batch = Batch::with_capacity(BATCH as usize, BATCH as usize * 120);
                    for _ in 0..BATCH {
                        batch.put(family, &key(number()), &VALUE, None).expect("room");
                    }
                    database.write(batch).expect("a commit");
                });
            });
        });
        if readers > 0 {
            let each = readers as f64 * 1e9 / reads;
            println!("{readers} readers beside puts to {records} records: {reads:.0} reads/s, {each:.0} ns a read");
        }
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let more = std::env::var("LYREDB_BENCH_RECORDS").ok().map(|text| text.parse().expect("a whole number"));
    for records in [100_000, 1_000_000].into_iter().chain(more) {
        let (database, family) = filled(records);
        let mut group = criterion.benchmark_group("tree");
        alone(&mut group, &database, &family, records);
        beside(&mut group, &database, &family, records);
        group.finish();
        database.close().expect("closes");
    }
    criterion.final_summary();
}
