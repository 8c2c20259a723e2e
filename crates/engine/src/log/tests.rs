use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::format::SEGMENT_HEADER_BYTES;
use super::*;
use crate::disk::{Disk, MemoryDisk};
use crate::{Durability, Error, Result};

mod damage;

const OPTIONS: LogOptions = LogOptions {
    identity: 77,
    from_segment: 1,
    after_version: 0,
    durability: Durability::Sync,
    group_interval: Duration::from_millis(10),
    read_only: false,
};

fn create(disk: &MemoryDisk, durability: Durability) -> Log {
    Log::create(Arc::new(disk.clone()), &LogOptions { durability, ..OPTIONS }).unwrap()
}

type Records = Vec<(u64, Vec<u8>)>;

fn open_with(disk: &MemoryDisk, options: &LogOptions) -> Result<(Log, Records)> {
    let mut records = Vec::new();
    let log = Log::open(Arc::new(disk.clone()), options, &mut |version, payload| {
        records.push((version, payload.to_vec()));
        Ok(())
    })?;
    Ok((log, records))
}

fn open(disk: &MemoryDisk) -> Result<(Log, Records)> {
    open_with(disk, &OPTIONS)
}

fn replayed(disk: &MemoryDisk) -> Result<Records> {
    let files = |disk: &MemoryDisk| -> Vec<_> { disk.list().unwrap().iter().map(|name| disk.get(name)).collect() };
    let image = disk.image();
    let before = files(&image);
    let options = LogOptions { read_only: true, ..OPTIONS };
    let records = open_with(&image, &options).map(|(_, records)| records);
    assert_eq!(files(&image).len(), before.len(), "read-only makes no files");
    records
}

fn put(log: &Log, payload: &[u8]) -> Ticket {
    log.append(&[payload]).unwrap()
}

fn put_durable(log: &Log, payload: &[u8]) {
    let ticket = put(log, payload);
    log.wait_durable(ticket.position).unwrap();
    assert!(log.is_durable(ticket.position) && log.synced_version() >= ticket.version);
}

fn payload(version: u64) -> Vec<u8> {
    format!("payload of {version}, {}", "x".repeat(version as usize % 50)).into_bytes()
}

fn expected(versions: std::ops::RangeInclusive<u64>) -> Records {
    versions.map(|version| (version, payload(version))).collect()
}

fn segment_bytes(disk: &MemoryDisk, segment: u64) -> Vec<u8> {
    disk.get(&segments::file_name(segment)).unwrap()
}

fn is_corruption<T>(result: &Result<T>) -> bool {
    matches!(result, Err(Error::Corruption { .. }))
}

#[test]
fn records_come_back_in_order() {
    for durability in [Durability::Sync, Durability::Group, Durability::Async] {
        let disk = MemoryDisk::new();
        let log = create(&disk, durability);
        for version in 1..=100 {
            let ticket = log.append(&[&payload(version)[..4], &payload(version)[4..]]).unwrap();
            assert_eq!(ticket.version, version);
            if version % 7 == 0 {
                log.flush(version % 2 == 0).unwrap();
            }
        }
        assert_eq!(log.last_version(), 100);
        log.close().unwrap();
        log.close().unwrap();
        assert_eq!(log.synced_version(), 100);
        assert!(matches!(log.append(&[b"x"]), Err(Error::Closed)));
        assert_eq!(replayed(&disk).unwrap(), expected(1..=100));
        let (log, records) = open_with(&disk, &LogOptions { after_version: 60, ..OPTIONS }).unwrap();
        assert_eq!(records, expected(61..=100));
        put_durable(&log, &payload(101));
        drop(log);
        assert_eq!(open(&disk).unwrap().1, expected(1..=101));
    }
}

#[test]
fn what_was_waited_for_survives_a_kill_and_the_rest_may_go() {
    let disk = MemoryDisk::new();
    let log = create(&disk, Durability::Sync);
    put_durable(&log, &payload(1));
    put(&log, &payload(2));
    drop(log);
    let (log, records) = open(&disk).unwrap();
    assert_eq!(records, expected(1..=1));
    assert_eq!(put(&log, &payload(2)).version, 2);
}

#[test]
fn reopening_without_writing_makes_no_more_segments() {
    let disk = MemoryDisk::new();
    create(&disk, Durability::Group).close().unwrap();
    for _ in 0..3 {
        open(&disk).unwrap().0.close().unwrap();
        assert_eq!(disk.list().unwrap().len(), 1);
    }
    put_durable(&open(&disk).unwrap().0, &payload(1));
    for _ in 0..3 {
        let (log, records) = open(&disk).unwrap();
        assert_eq!(records, expected(1..=1));
        log.close().unwrap();
        assert_eq!(disk.list().unwrap().len(), 2);
    }
}

#[test]
fn rotation_separates_versions_and_old_segments_go() {
    for durability in [Durability::Sync, Durability::Async] {
        let disk = MemoryDisk::new();
        let log = create(&disk, durability);
        let mut version = 0;
        for round in 0..6 {
            for _ in 0..5 {
                version += 1;
                assert_eq!(put(&log, &payload(version)).version, version);
            }
            let since_all = log.bytes_since(1);
            assert_eq!(since_all, log.bytes_since(0));
            let (segment, last) = log.rotate().unwrap();
            assert_eq!((segment, last), (round + 2, version));
            assert_eq!(log.synced_version(), version);
            assert_eq!(log.bytes_since(segment), SEGMENT_HEADER_BYTES);
            put(&log, &payload(version + 1));
            version += 1;
            log.flush(true).unwrap();
            let with_old_segments = disk.image();
            log.remove_before(segment).unwrap();
            for image in [with_old_segments, disk.image()] {
                let options = LogOptions { from_segment: segment, after_version: last, ..OPTIONS };
                let (_, records) = open_with(&image, &options).unwrap();
                assert_eq!(records, expected(version..=version), "round {round}");
                assert_eq!(image.list().unwrap().len(), 2, "the outdated ones are gone, and a new one is begun");
            }
        }
        log.remove_before(99).unwrap();
        put_durable(&log, &payload(version + 1));
        let used = if durability == Durability::Sync { 2 } else { 1 };
        assert_eq!(disk.list().unwrap().len(), used, "at most one is kept to be used again");
        log.close().unwrap();
        assert_eq!(disk.list().unwrap().len(), 1);
    }
}

#[test]
fn eight_threads_share_syncs() {
    let disk = MemoryDisk::new();
    let log = create(&disk, Durability::Sync);
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let log = &log;
            scope.spawn(move || {
                for round in 0..300_u32 {
                    let ticket = log.append(&[&[thread], &round.to_le_bytes()]).unwrap();
                    log.wait_durable(ticket.position).unwrap();
                    assert!(log.synced_version() >= ticket.version);
                    if round == 150 && thread < 2 {
                        log.rotate().unwrap();
                    }
                }
            });
        }
    });
    let counters = log.counters();
    assert!(counters.blocks <= 2400 && counters.syncs <= counters.blocks);
    drop(log);
    let records = replayed(&disk).unwrap();
    assert_eq!(records.len(), 2400);
    for thread in 0..8 {
        let rounds: Vec<&[u8]> =
            records.iter().filter(|(_, bytes)| bytes[0] == thread).map(|(_, bytes)| &bytes[1..]).collect();
        let all: Vec<_> = (0..300_u32).map(u32::to_le_bytes).collect();
        assert!(rounds.iter().eq(all.iter()), "a thread's records stay in its order");
    }
}

#[test]
fn more_than_the_bound_is_written_before_more_is_taken() {
    let disk = MemoryDisk::new();
    let log = create(&disk, Durability::Sync);
    let huge = vec![5; 20 << 20];
    put(&log, &huge);
    assert!(log.try_append(&[b"x"]).unwrap().is_none());
    assert_eq!(put(&log, b"small").version, 2);
    assert!(segment_bytes(&disk, 1).len() > huge.len());
    for _ in 0..4 {
        put(&log, &huge);
    }
    log.close().unwrap();
    assert!(disk.list().unwrap().len() > 1, "a segment is full");
    let records = replayed(&disk).unwrap();
    assert_eq!(records.len(), 6);
    assert!(records[0].1 == huge && records[5].1 == huge);
}

#[test]
fn the_group_interval_is_kept_and_can_be_changed() {
    let disk = MemoryDisk::new();
    let options = LogOptions { durability: Durability::Group, group_interval: Duration::from_secs(3600), ..OPTIONS };
    let log = Log::create(Arc::new(disk.clone()), &options).unwrap();
    let first = put(&log, &payload(1));
    std::thread::sleep(Duration::from_millis(30));
    assert!(!log.is_durable(first.position), "an hour has not passed");
    log.set_group_interval(Duration::from_millis(2));
    for version in 2..=5 {
        let start = Instant::now();
        let ticket = put(&log, &payload(version));
        while !log.is_durable(ticket.position) {
            assert!(start.elapsed() < Duration::from_secs(5), "version {version}");
            std::thread::sleep(Duration::from_micros(200));
        }
        // Long enough for the thread to go to sleep.
        std::thread::sleep(Duration::from_millis(60));
    }
    drop(log);
    assert_eq!(replayed(&disk).unwrap(), expected(1..=5));
}

#[test]
fn async_writes_in_time_without_a_sync() {
    let disk = MemoryDisk::new();
    let log = create(&disk, Durability::Async);
    let syncs = log.counters().syncs;
    put(&log, &payload(1));
    let start = Instant::now();
    while log.counters().blocks == 0 {
        assert!(start.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(log.counters().syncs, syncs);
    assert_eq!(log.synced_version(), 0);
    let start = Instant::now();
    put(&log, &vec![0; 300 << 10]);
    while log.counters().blocks < 2 {
        assert!(start.elapsed() < Duration::from_secs(5));
        std::thread::yield_now();
    }
}

#[test]
fn versions_may_skip_what_the_page_file_holds() {
    let disk = MemoryDisk::new();
    let log = create(&disk, Durability::Async);
    put_durable(&log, &payload(1));
    drop(log);
    // The page file got as far as version 5, of which the log lost 2 to 5.
    let options = LogOptions { after_version: 5, ..OPTIONS };
    let (log, records) = open_with(&disk, &options).unwrap();
    assert!(records.is_empty());
    assert_eq!(log.last_version(), 5);
    put_durable(&log, &payload(6));
    drop(log);
    assert_eq!(open_with(&disk, &options).unwrap().1, expected(6..=6));
    assert!(is_corruption(&open_with(&disk, &LogOptions { after_version: 4, ..OPTIONS })));
}

#[test]
fn an_error_of_the_replay_ends_it() {
    let disk = MemoryDisk::new();
    let log = create(&disk, Durability::Sync);
    put_durable(&log, &payload(1));
    log.close().unwrap();
    let result = Log::open(Arc::new(disk.clone()), &OPTIONS, &mut |_, _| Err(Error::Interrupted));
    assert!(matches!(result, Err(Error::Interrupted)));
    let read_only = LogOptions { read_only: true, ..OPTIONS };
    let (log, _) = open_with(&disk, &read_only).unwrap();
    assert!(matches!(log.append(&[b"x"]), Err(Error::ReadOnly)));
    log.close().unwrap();
}

/// The maintenance thread asks while others write, rotate and remove.
#[test]
fn bytes_since_a_segment_are_counted_while_segments_come_and_go() {
    let log = create(&MemoryDisk::new(), Durability::Async);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                assert!(log.bytes_since(1) <= log.bytes_written());
            }
        });
        for version in 1..=30_000 {
            put(&log, &payload(version));
            let (segment, _) = log.rotate().unwrap();
            log.remove_before(segment).unwrap();
        }
        over.store(true, Ordering::Relaxed);
        asking.join().unwrap();
    });
}

#[test]
fn a_log_at_rest_gives_its_buffers_back() {
    let log = create(&MemoryDisk::new(), Durability::Sync);
    let long = vec![7; 1 << 20];
    for _ in 0..3 {
        put_durable(&log, &long);
    }
    assert!(log.buffer_bytes() >= 1 << 20);
    log.rest();
    assert!(log.buffer_bytes() >= 1 << 20, "it was written to since the last look");
    log.rest();
    assert!(log.buffer_bytes() < 128 << 10, "{} bytes", log.buffer_bytes());
    put_durable(&log, &long);
    assert_eq!(log.last_version(), 4);
}
