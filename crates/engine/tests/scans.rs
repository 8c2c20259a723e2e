//! Scans and reads of many keys in databases larger than their memory.

mod common;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Model, Random, open, setting};
use lyredb_engine::disk::{Fault, MemoryDisk, Operation};
use lyredb_engine::{Batch, Columns, Cursor, Database, Durability, Error, Family, Fetched, Options, Range, Rows, Stat};

const MEMORY_BYTES: u64 = 4 << 20;
const VALUE_BYTES: u64 = 100;

fn options(more: &[(&str, u64)]) -> Options {
    let mut settings = vec![setting("memory_bytes", MEMORY_BYTES)];
    settings.extend(more.iter().map(|(name, value)| setting(name, *value)));
    Options { durability: Durability::Async, settings, ..Options::default() }
}

fn key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

fn value(number: u64) -> Vec<u8> {
    common::noise(VALUE_BYTES, number)
}

/// A figure of the default family's.
fn figure(database: &Database, name: &str) -> u64 {
    let family = database.stats().expect("figures").families.swap_remove(0).1;
    match family.figures.iter().find(|(known, _)| *known == name) {
        Some((_, Stat::Count(number) | Stat::Bytes(number))) => *number,
        other => panic!("no such figure: {name} ({other:?})"),
    }
}

/// So many times the memory's size, on disk.
fn filled(disk: &MemoryDisk, options: &Options, times: u64) -> (Database, u64) {
    let database = open(disk, options);
    let family = database.default_family();
    let count = times * MEMORY_BYTES / (VALUE_BYTES + 8);
    for numbers in (0..count).collect::<Vec<_>>().chunks(1000) {
        let mut batch = Batch::default();
        numbers.iter().for_each(|&number| batch.put(&family, &key(number), &value(number), None).expect("room"));
        database.write(batch).expect("a batch");
    }
    drop((family, database));
    (open(disk, options), count)
}

/// All rows, checked; at most `limit` at a time.
fn scan_all(database: &Database, family: &Family, reverse: bool, limit: usize, count: u64) {
    let snapshot = database.snapshot().expect("a snapshot");
    let mut cursor = snapshot.cursor(family, Range::default(), reverse).expect("a cursor");
    let (mut rows, mut seen) = (Rows::default(), 0);
    loop {
        rows.clear();
        let fetched = cursor.fetch(Columns::Both, limit, 256 << 10, true, &mut rows).expect("rows");
        database.drive_out(MEMORY_BYTES).expect("all is written");
        for row in 0..rows.len() {
            let number = if reverse { count - 1 - seen } else { seen };
            assert_eq!((rows.key(row), rows.value(row)), (&key(number)[..], &value(number)[..]));
            seen += 1;
        }
        if fetched == Fetched::Done {
            break;
        }
    }
    assert_eq!(seen, count);
}

/// Reads of keys of which few are read often; the part of them that memory answered.
fn hit_ratio(database: &Database, family: &Family, random: &mut Random, count: u64, reads: u64) -> f64 {
    let before = figure(database, "page_loads");
    for read in 0..reads {
        if read % 64 == 0 {
            // Readers do not wait for the thread that makes room.
            database.drive_out(MEMORY_BYTES).expect("all is written");
        }
        // Of 2^-n of the keys 2^-n/2 of the reads, scattered over all leaves by blocks of 64.
        let exponent = random.below(12);
        let rank = random.below((count / 64) >> exponent);
        let block = rank.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (count / 64);
        let number = block * 64 + random.below(64);
        assert!(family.get(&key(number), <[u8]>::len).expect("a read").is_some());
    }
    1.0 - (figure(database, "page_loads") - before) as f64 / reads as f64
}

#[test]
fn a_long_scan_leaves_memory_to_those_who_read_again() {
    for (stored, excerpts) in [(0, 0), (300, 0), (0, 300)] {
        let disk = MemoryDisk::new();
        let (database, count) = filled(&disk, &options(&[]), 8);
        database.plan_tiers(stored, excerpts);
        let family = database.default_family();
        let mut random = Random(7);
        let mut hits = |reads| hit_ratio(&database, &family, &mut random, count, reads);
        hits(60_000);
        let before = hits(20_000);
        scan_all(&database, &family, false, 1000, count);
        let after = hits(2_000);
        hits(20_000);
        scan_all(&database, &family, true, 7, count);
        let again = hits(2_000);
        println!("{stored}/{excerpts}: {before:.3}, after a scan {after:.3}, and after another {again:.3}");
        assert!(before - after < 0.05 && before - again < 0.05, "{before} {after} {again}");
    }
}

/// Forwards and backwards, in small fetches and large ones, with and without room in memory.
#[test]
fn what_was_read_ahead_is_what_is_there() {
    for (memory_bytes, readahead_bytes) in
        [(1 << 20, 256 << 10), (1 << 20, 8 << 10), (64 << 20, 256 << 10), (1 << 20, 0)]
    {
        let disk = MemoryDisk::new();
        let options =
            options(&[("memory_bytes", memory_bytes), ("readahead_bytes", readahead_bytes), ("leaf_bytes", 2048)]);
        let (database, count) = filled(&disk, &options, 1);
        let family = database.default_family();
        for (reverse, limit) in [(false, 1000), (true, 1000), (false, 3), (true, 7)] {
            scan_all(&database, &family, reverse, limit, count);
        }
        common::assert_sound(&database);
    }
}

/// Fetches row after row from number `seen` on, or some at a time, until that fails; how far it came.
fn scan_until_error(cursor: &mut Cursor, limit: usize, mut seen: u64) -> (Error, u64) {
    loop {
        let mut rows = Rows::default();
        match cursor.fetch(Columns::Both, limit, 1 << 20, true, &mut rows) {
            Ok(_) => (0..rows.len()).for_each(|row| {
                assert_eq!((rows.key(row), rows.value(row)), (&key(seen)[..], &value(seen)[..]));
                seen += 1;
            }),
            Err(error) => return (error, seen),
        }
    }
}

/// What cannot be read is told when the scan comes to it, and all before it is there: what was read ahead, and the rows that
/// one fetch brings beside it.
#[test]
fn an_error_comes_where_the_scan_comes_to_it() {
    for (memory_bytes, readahead_bytes, least) in
        [(1 << 20, 256 << 10, 500), (64 << 20, 256 << 10, 500), (1 << 20, 0, 1)]
    {
        for limit in [1, 1000] {
            let disk = MemoryDisk::new();
            let settings = [("memory_bytes", memory_bytes), ("leaf_bytes", 2048), ("readahead_bytes", readahead_bytes)];
            let (database, _) = filled(&disk, &options(&settings), 1);
            let family = database.default_family();
            let snapshot = database.snapshot().expect("a snapshot");
            let mut cursor = snapshot.cursor(&family, Range::default(), false).expect("a cursor");
            let mut rows = Rows::default();
            cursor.fetch(Columns::Both, 20_001, 4 << 20, true, &mut rows).expect("rows");
            let start = rows.len() as u64;
            // Until what was asked for is there.
            std::thread::sleep(Duration::from_millis(100));
            disk.fail_next(Operation::Read, u64::MAX, Fault::Kind(std::io::ErrorKind::Other));
            let (error, seen) = scan_until_error(&mut cursor, limit, start);
            assert!(matches!(error, Error::Io { .. }), "{error}");
            assert!(seen >= start + least, "{start} {seen}: what had been read was there all the same");
            let (_, again) = scan_until_error(&mut cursor, limit, seen);
            assert_eq!(again, seen, "it stays where it is");
            disk.heal();
            let mut rows = Rows::default();
            cursor.fetch(Columns::Both, 1, 1 << 20, true, &mut rows).expect("rows");
            assert_eq!(rows.key(0), key(seen), "it goes on where it was");
        }
    }
}

/// Also when memory is full, and is made room in for what is read ahead.
#[test]
fn a_long_scan_reads_each_leaf_once() {
    for (memory_bytes, limit) in [(1 << 20, 1), (1 << 20, 100), (64 << 20, 1)] {
        let disk = MemoryDisk::new();
        let settings = [("memory_bytes", memory_bytes), ("leaf_bytes", 2048)];
        let (database, count) = filled(&disk, &options(&settings), 4);
        scan_all(&database, &database.default_family(), false, limit, count);
        let [read, leaves] = ["page_loads", "leaves_scanned"].map(|name| figure(&database, name));
        assert!(read <= leaves + leaves / 10, "{read} reads of {leaves} leaves with {memory_bytes}, {limit} at a time");
    }
}

/// What a scan has read to the side, ahead or for its next fetch, is counted for as long as it is there.
#[test]
fn what_scans_have_read_is_counted() {
    const READAHEAD_BYTES: u64 = 256 << 10;
    let disk = MemoryDisk::new();
    let settings = [("memory_bytes", 1 << 20), ("readahead_bytes", READAHEAD_BYTES)];
    let (database, _) = filled(&disk, &options(&settings), 2);
    let snapshot = database.snapshot().expect("a snapshot");
    let mut cursor = snapshot.cursor(&database.default_family(), Range::default(), false).expect("a cursor");
    for _ in 0..200 {
        cursor.fetch(Columns::Both, 100, 1 << 20, true, &mut Rows::default()).expect("rows");
        assert!(common::figure(&database, "memory_scans") < 2 * READAHEAD_BYTES);
    }
    let wait_until = |what, is_so: &dyn Fn(u64) -> bool| {
        let limit = Instant::now() + Duration::from_secs(60);
        while !is_so(common::figure(&database, "memory_scans")) {
            assert!(Instant::now() < limit, "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    wait_until("half of it is on its way at least", &|bytes| bytes > READAHEAD_BYTES / 4);
    drop(cursor);
    wait_until("nobody needs it any more", &|bytes| bytes == 0);
}

/// Of a deletion of a range nothing is done where some of it cannot be read.
#[test]
fn a_range_that_cannot_be_read_is_not_deleted_in_part() {
    let disk = MemoryDisk::new();
    let (database, count) = filled(&disk, &options(&[("memory_bytes", 1 << 20)]), 1);
    let family = database.default_family();
    assert!(family.get(&key(0), <[u8]>::len).expect("a read").is_some());
    disk.fail_next(Operation::Read, u64::MAX, Fault::Kind(std::io::ErrorKind::Other));
    let error = family.delete_range(None, None).expect_err("the disk fails");
    assert!(matches!(error, Error::Io { .. }), "{error}");
    disk.heal();
    let snapshot = database.snapshot().expect("a snapshot");
    assert_eq!(snapshot.count(&family, &Range::default(), &mut |_, _| true).expect("a count"), count);
}

/// Of keys that are there and keys that are not, of small values and of long ones, some of them twice.
#[test]
fn many_keys_are_answered_in_the_callers_order_with_each_leaf_read_once() {
    for (stored, excerpts) in [(0, 0), (500, 0), (0, 500), (300, 300)] {
        let disk = MemoryDisk::new();
        let (database, count) = filled(&disk, &options(&[("memory_bytes", 1 << 20)]), 2);
        database.plan_tiers(stored, excerpts);
        let family = database.default_family();
        let long = |number: u64| common::noise(10_000, number);
        let more: Vec<u64> = (0..50).map(|number| number * 997 % count).collect();
        more.iter().for_each(|&number| family.put(&key(number), &long(number), None).expect("a put"));
        database.checkpoint().expect("a checkpoint");
        let mut random = Random(stored + excerpts);
        for _ in 0..20 {
            database.drive_out(1 << 20).expect("all is written");
            let mut numbers: Vec<u64> = (0..500).map(|_| random.below(count + 1000)).collect();
            // Several of one leaf.
            let start = random.below(count);
            numbers.extend((0..50).map(|step| start + step));
            numbers.extend([start, start, more[3], start]);
            let keys: Vec<[u8; 8]> = numbers.iter().map(|&number| key(number)).collect();
            let slices: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
            let before = figure(&database, "page_loads");
            let answers = common::multi_get(&database.snapshot().expect("a snapshot"), &family, &slices);
            for (number, answer) in numbers.iter().zip(answers) {
                let expected =
                    (*number < count).then(|| if more.contains(number) { long(*number) } else { value(*number) });
                assert!(answer == expected, "{number}");
            }
            let loads = figure(&database, "page_loads") - before;
            let mut leaves: Vec<u64> = numbers.iter().map(|number| number / 30).collect();
            leaves.sort_unstable();
            leaves.dedup();
            assert!(loads <= leaves.len() as u64, "{loads} leaves read");
        }
        common::assert_sound(&database);
    }
}

#[test]
fn an_error_of_many_keys_comes_to_the_caller() {
    let disk = MemoryDisk::new();
    let (database, count) = filled(&disk, &options(&[("memory_bytes", 1 << 20)]), 2);
    let family = database.default_family();
    let keys: Vec<[u8; 8]> = (0..count).step_by(1000).map(key).collect();
    let slices: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
    let snapshot = database.snapshot().expect("a snapshot");
    let cold = snapshot.multi_get_resident(&family, &slices, &mut |_, _| ()).expect("reads");
    assert!(cold.len() > 50);
    for failures in [1, u64::MAX] {
        disk.fail_next(Operation::Read, failures, Fault::Kind(std::io::ErrorKind::Other));
        let error = snapshot.multi_get_from_disk(&family, &slices, &cold).expect_err("the disk fails");
        assert!(matches!(error, Error::Io { .. }), "{error}");
        disk.heal();
    }
    assert_eq!(snapshot.multi_get_from_disk(&family, &slices, &cold).expect("reads").len(), cold.len());
    database.close().expect("closes");
    assert!(matches!(snapshot.multi_get_from_disk(&family, &slices, &cold), Err(Error::Closed)));
}

/// Scans and reads of many keys at snapshots, while leaves are changed, split, merged, written, moved and driven out.
#[test]
fn snapshots_are_scanned_whole_beside_everything_else() {
    const ROUNDS: u64 = 12;
    let disk = MemoryDisk::new();
    let options = options(&[("memory_bytes", 1 << 20), ("leaf_bytes", 1024), ("readahead_bytes", 32 << 10)]);
    let (database, count) = filled(&disk, &options, 1);
    let family = database.default_family();
    let model: Model = (0..count).map(|number| (key(number).to_vec(), value(number))).collect();
    let (model, ended) = (Mutex::new(model), AtomicBool::new(false));
    let rounds = common::scaled(ROUNDS);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random(1);
            while !ended.load(Ordering::Relaxed) {
                let mut batch = Batch::default();
                let mut model = model.lock().expect("no panic");
                let start = random.below(count);
                for _ in 0..random.below(40) {
                    let number = if random.one_in(2) { start + random.below(50) } else { random.below(count) };
                    if random.one_in(2) {
                        batch.delete(&family, &key(number)).expect("room");
                        model.remove(&key(number)[..]);
                    } else {
                        let value = common::noise(random.below(200), random.next());
                        batch.put(&family, &key(number), &value, None).expect("room");
                        model.insert(key(number).to_vec(), value);
                    }
                }
                database.write(batch).expect("a batch");
                drop(model);
                // The scans beside it have the processor, too.
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                database.drive_out(1 << 19).expect("all is written");
                database.checkpoint().expect("a checkpoint");
                database.compact(&mut |_, _| true).expect("compacts");
            }
        });
        let mut random = Random(2);
        for round in 0..rounds {
            let (snapshot, expected) = {
                let model = model.lock().expect("no panic");
                (database.snapshot().expect("a snapshot"), model.clone())
            };
            let limit = [1000, 50, 3][round as usize % 3];
            let rows = common::rows_of(&snapshot, &family, Range::default(), round % 2 == 1, limit);
            let mut expected_rows: Vec<_> = expected.clone().into_iter().collect();
            if round % 2 == 1 {
                expected_rows.reverse();
            }
            assert!(rows == expected_rows, "round {round}");
            let keys: Vec<[u8; 8]> = (0..300).map(|_| key(random.below(count))).collect();
            let slices: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
            for (key, answer) in keys.iter().zip(common::multi_get(&snapshot, &family, &slices)) {
                assert!(answer.as_ref() == expected.get(&key[..]), "{key:?}");
            }
        }
        ended.store(true, Ordering::Relaxed);
    });
    common::assert_sound(&database);
}
