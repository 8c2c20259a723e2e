//! A check finds damage on disk under what is in memory, keeps nothing in memory, and holds nothing up.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Random, assert_sound, figure, open, scaled, setting, tiny};
use lyredb_engine::disk::MemoryDisk;
use lyredb_engine::tunables::Value;
use lyredb_engine::{CheckReport, Clock, Database, Durability, Options, Stat};

const PAGES: &str = "pages.lyre";
const FIRST_PAGE: usize = 8192;
const PAGE_MAGIC: u8 = 0xd7;
const PAGE_HEADER: usize = 16;
const GRANULE: usize = 64;

fn plain() -> Options {
    let mut options = tiny(Durability::Async);
    options.settings.push(("codec".into(), Value::Text("none".into())));
    options
}

fn value(number: u64, seed: u8) -> Vec<u8> {
    vec![seed.wrapping_add(number as u8); if number.is_multiple_of(50) { 1500 } else { 60 }]
}

fn fill(database: &Database, records: u64, seed: u8) {
    let family = database.default_family();
    for number in 0..records {
        family.put(&number.to_be_bytes(), &value(number, seed), None).expect("a put");
    }
}

fn check(database: &Database) -> CheckReport {
    database.check(&mut |_, _| true).expect("a check")
}

fn family_figure(database: &Database, name: &str) -> u64 {
    let stats = database.stats().expect("figures");
    match stats.families[0].1.figures.iter().find(|(known, _)| *known == name) {
        Some((_, Stat::Count(number))) => *number,
        other => panic!("{name}: {other:?}"),
    }
}

/// Offset and stored bytes of each page, in a file that was written once and has no free places between them.
fn pages(file: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = FIRST_PAGE;
    while at < file.len() && file[at] == PAGE_MAGIC {
        let stored = u32::from_le_bytes(file[at + 8..at + 12].try_into().expect("four bytes")) as usize;
        found.push((at, stored));
        at += (PAGE_HEADER + stored).div_ceil(GRANULE) * GRANULE;
    }
    found
}

#[test]
fn damage_under_pages_in_memory_is_found_wherever_it_is() {
    let disk = MemoryDisk::new();
    let database = open(&disk, &tiny(Durability::Async));
    fill(&database, 9_000, 1);
    database.checkpoint().expect("a checkpoint");
    assert_sound(&database);
    let sound = disk.get(PAGES).expect("it is there");
    let pages = pages(&sound);
    let kinds = pages.iter().fold([0; 5], |mut kinds, (at, _)| {
        kinds[sound[at + 1] as usize] += 1;
        kinds
    });
    assert!(kinds[1] > 300 && kinds[2] > 3 && kinds[3] == 1 && kinds[4] > 100, "{kinds:?}");
    // All inner pages and the catalogue; of the others some.
    for (number, (at, stored)) in pages.into_iter().enumerate() {
        if matches!(sound[at + 1], 1 | 4) && number % 40 != 0 {
            continue;
        }
        let mut damaged = sound.clone();
        damaged[at + PAGE_HEADER + stored / 2] ^= 1;
        disk.put(PAGES, damaged);
        let problems = check(&database).problems;
        let offsets: Vec<Option<u64>> = problems.iter().map(|problem| problem.offset).collect();
        assert_eq!(offsets, [Some(at as u64)], "a page of kind {}: {problems:?}", sound[at + 1]);
    }
    disk.put(PAGES, sound);
    assert_sound(&database);
}

/// A page that is whole, and was written to its place, but is another than the one in memory.
#[test]
fn a_page_on_disk_that_is_not_the_one_in_memory_is_found() {
    let disks = [MemoryDisk::new(), MemoryDisk::new()];
    let databases = disks.each_ref().map(|disk| open(disk, &plain()));
    for (database, seed) in databases.iter().zip([1, 2]) {
        fill(database, 500, seed);
        database.checkpoint().expect("a checkpoint");
    }
    let [mine, others] = disks.each_ref().map(|disk| disk.get(PAGES).expect("it is there"));
    assert_eq!(pages(&mine), pages(&others), "they differ in values only");
    let pages = pages(&mine);
    for kind in [1, 4] {
        let (at, stored) = *pages.iter().find(|(at, _)| mine[at + 1] == kind).expect("there is one");
        let mut swapped = mine.clone();
        swapped[at..at + PAGE_HEADER + stored].copy_from_slice(&others[at..at + PAGE_HEADER + stored]);
        disks[0].put(PAGES, swapped);
        let problems = check(&databases[0]).problems;
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].offset, Some(at as u64));
        assert!(problems[0].what.contains("differs"), "{problems:?}");
    }
}

#[test]
fn a_check_leaves_the_memory_as_it_was() {
    let disk = MemoryDisk::new();
    let database = open(&disk, &plain());
    fill(&database, 3_000, 1);
    database.close().expect("closes");
    let database = open(&disk, &plain());
    let family = database.default_family();
    family.get(&7u64.to_be_bytes(), |_| ()).expect("a read");
    // What is measured now and then, as the queues are, may have been measured since.
    let now = || (common::pages_used(&database), family_figure(&database, "page_loads"));
    let before = now();
    let report = check(&database);
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert_eq!(report.records, 3_000);
    assert_eq!(now(), before);
}

#[test]
fn space_is_freed_while_a_check_goes_on() {
    let database = open(&MemoryDisk::new(), &plain());
    fill(&database, 5_000, 1);
    database.checkpoint().expect("a checkpoint");
    let before = figure(&database, "file_size");
    let mut during = None;
    let report = database
        .check(&mut |pages, _| {
            if pages == 20 {
                database.default_family().delete_range(Some(&1_000u64.to_be_bytes()), None).expect("a deletion");
                // Others of this process may hold things up for a while.
                let begun = Instant::now();
                let mut size = before;
                while size * 2 >= before && begun.elapsed() < Duration::from_secs(10) {
                    database.compact(&mut |_, _| true).expect("a compaction");
                    size = figure(&database, "file_size");
                }
                during = Some(size);
            }
            true
        })
        .expect("a check");
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert!(report.records < 1_200, "it has seen {} records", report.records);
    let during = during.expect("it has that many pages");
    assert!(during * 2 < before, "{during} of {before} bytes are kept");
}

/// What changes, moves, expires or is written meanwhile is not taken for damage.
#[test]
fn a_check_beside_writers_checkpoints_and_compactions_finds_nothing() {
    let now = Arc::new(AtomicU64::new(1_000_000));
    let mut options = Options { clock: Clock::Manual(Arc::clone(&now)), ..plain() };
    options.settings.push(setting("memory_bytes", 1 << 20));
    let database = open(&MemoryDisk::new(), &options);
    fill(&database, 4_000, 1);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let family = database.default_family();
            let mut random = Random(1);
            while !stop.load(Ordering::Relaxed) {
                let (number, seed) = (random.below(4_000), random.next() as u8);
                let ttl = random.one_in(3).then(|| Duration::from_millis(1 + random.below(500)));
                match random.below(50) {
                    0 => {
                        let stop = (number + random.below(100)).to_be_bytes();
                        family.delete_range(Some(&number.to_be_bytes()), Some(&stop)).map(drop).expect("a deletion");
                    }
                    1..10 => family.delete(&number.to_be_bytes()).map(drop).expect("a delete"),
                    _ => family.put(&number.to_be_bytes(), &value(number, seed), ttl).expect("a put"),
                }
                now.fetch_add(random.below(3), Ordering::Relaxed);
            }
        });
        scope.spawn(|| {
            let mut random = Random(2);
            while !stop.load(Ordering::Relaxed) {
                match random.below(4) {
                    0 => database.compact(&mut |_, _| true).expect("a compaction"),
                    _ => database.checkpoint().expect("a checkpoint"),
                }
            }
        });
        for round in 0..scaled(400) {
            let report = check(&database);
            if !report.problems.is_empty() {
                stop.store(true, Ordering::Relaxed);
                panic!("round {round}: {:?}", report.problems);
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_sound(&database);
}
