//! What a database takes on disk and in memory stays in proportion to what it holds.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use common::{Random, assert_sound, content, figure, get, open, scaled, setting};
use lyredb_engine::disk::{MemoryDisk, OsDisk};
use lyredb_engine::{Batch, Database, Durability, Family, Options};

/// The system's, with a count of the bytes that are in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One test at a time, as the bytes in use are those of all.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A database in a folder of its own, which is removed in the end.
struct Place {
    folder: std::path::PathBuf,
}

impl Place {
    fn new(name: &str) -> Place {
        let folder = std::env::temp_dir().join(format!("lyredb-space-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        Place { folder }
    }

    fn open(&self) -> Database {
        common::open_on(Arc::new(OsDisk::new(&self.folder)), &plain())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn plain() -> Options {
    let settings = vec![setting("checkpoint_log_bytes", 4 << 20)];
    Options { durability: Durability::Async, settings, ..Options::default() }
}

/// Bytes that no codec makes shorter.
fn noise(random: &mut Random, length: usize) -> Vec<u8> {
    (0..length).map(|_| random.next() as u8).collect()
}

/// What keys and values add up to.
fn live_bytes(database: &Database) -> u64 {
    database.check(&mut |_, _| true).expect("a check").bytes
}

fn assert_close(database: &Database, factor: f64, what: &str) {
    let (live, file) = (live_bytes(database), figure(database, "file_size"));
    // A few pages are there whatever the database holds.
    let most = live as f64 * factor + (1 << 17) as f64;
    assert!(file as f64 <= most, "{what}: {file} bytes for {live} of data");
}

/// The epoch frees what has gone when threads come by, and maintenance does so all the time.
fn in_use_when_settled() -> usize {
    let (mut least, mut unchanged) = (usize::MAX, 0);
    while unchanged < 25 {
        std::thread::sleep(std::time::Duration::from_millis(20));
        let now = IN_USE.load(Ordering::Relaxed);
        unchanged = if now < least { 0 } else { unchanged + 1 };
        least = least.min(now);
    }
    least
}

fn overwrite(family: &Family, keys: u64, times: u64, random: &mut Random) {
    for _ in 0..times {
        let length = 80 + random.below(40) as usize;
        family.put(&random.below(keys).to_be_bytes(), &[random.next() as u8; 120][..length], None).expect("a put");
    }
}

/// What the pages take after each ten thousand overwrites: deltas come and go, and so does the version more of each record
/// that a checkpoint keeps of what is overwritten beside it.
fn used(database: &Database, keys: u64, times: u64, random: &mut Random) -> Vec<u64> {
    let family = database.default_family();
    let each = |_| {
        overwrite(&family, keys, 10_000, random);
        common::pages_used(database)
    };
    (0..times / 10_000).map(each).collect()
}

fn least_used(database: &Database, keys: u64, times: u64, random: &mut Random) -> u64 {
    used(database, keys, times, random).into_iter().min().expect("some")
}

fn most_used(database: &Database, keys: u64, times: u64, random: &mut Random) -> u64 {
    used(database, keys, times, random).into_iter().max().expect("some")
}

#[test]
fn memory_stays_flat_over_a_million_overwrites() {
    let _turn = alone();
    const KEYS: u64 = 10_000;
    let place = Place::new("flat");
    let database = place.open();
    let mut random = Random(1);
    let (counted, allocated) = (most_used(&database, KEYS, 200_000, &mut random), in_use_when_settled());
    for _ in 0..4 {
        let now = (least_used(&database, KEYS, scaled(200_000), &mut random), in_use_when_settled());
        assert!(now.0 <= counted * 5 / 4, "pages grew from {counted} to {} bytes", now.0);
        assert!(now.1 <= allocated * 5 / 4 + (4 << 20), "memory grew from {allocated} to {} bytes", now.1);
    }
    assert_sound(&database);
}

#[test]
fn a_snapshot_costs_what_it_sees_and_no_more() {
    let _turn = alone();
    const KEYS: u64 = 10_000;
    let place = Place::new("snapshot");
    let database = place.open();
    let family = database.default_family();
    let mut random = Random(2);
    let (counted, allocated) = (most_used(&database, KEYS, 200_000, &mut random), in_use_when_settled());
    let then = content(&database, &family);
    let held = IN_USE.load(Ordering::Relaxed);
    let snapshot = database.snapshot().expect("a snapshot");
    for _ in 0..4 {
        let used = most_used(&database, KEYS, scaled(200_000), &mut random);
        // One version more of each record, and leaves that are split for it.
        assert!(used <= counted * 5 / 2, "pages grew from {counted} to {used} bytes");
        let now = in_use_when_settled();
        assert!(now <= held + allocated * 3 / 2 + (4 << 20), "memory grew from {held} to {now} bytes");
    }
    assert!(common::content_at(&snapshot, &family) == then, "the snapshot changed");
    drop((snapshot, then));
    // With it goes what only it could see, at the latest when the leaves are next changed.
    overwrite(&family, KEYS, 200_000, &mut random);
    let used = used(&database, KEYS, 50_000, &mut random);
    assert!(used.iter().any(|&used| used <= counted * 3 / 2), "pages stayed at {used:?} bytes, from {counted}");
    let now = in_use_when_settled();
    assert!(now <= allocated * 5 / 4 + (4 << 20), "memory stayed at {now} bytes, from {allocated}");
}

#[test]
fn closing_gives_all_memory_back() {
    let _turn = alone();
    let place = Place::new("closing");
    let cycle = |random: &mut Random| {
        let database = place.open();
        let family = database.default_family();
        overwrite(&family, 20_000, 40_000, random);
        family.put(b"long", &noise(random, 1 << 20), None).expect("a put");
        database.checkpoint().expect("a checkpoint");
        database.close().expect("closes");
    };
    let mut random = Random(3);
    cycle(&mut random);
    let before = in_use_when_settled();
    for _ in 0..5 {
        cycle(&mut random);
    }
    let after = in_use_when_settled();
    assert!(after <= before + (1 << 20), "five openings later {after} bytes are in use, not {before}");
}

#[test]
fn the_file_stays_in_proportion_under_churn() {
    let _turn = alone();
    let database = open(&MemoryDisk::new(), &plain());
    let family = database.default_family();
    let mut random = Random(4);
    for round in 0..12 {
        for _ in 0..40 {
            let mut batch = Batch::default();
            for _ in 0..250 {
                let key = random.below(20_000).to_be_bytes();
                if random.one_in(3) {
                    batch.delete(&family, &key).expect("room");
                } else {
                    let length = 50 + random.below(200) as usize;
                    batch.put(&family, &key, &noise(&mut random, length), None).expect("room");
                }
            }
            database.write(batch).expect("a commit");
        }
        if round % 2 == 0 {
            database.checkpoint().expect("a checkpoint");
        }
        if round > 2 {
            database.checkpoint().expect("a checkpoint");
            // Nearly every page is written anew, beside the one that the last superblock needs.
            assert_close(&database, 2.3, &format!("round {round}"));
        }
    }
    assert!(figure(&database, "checkpoints") > 10);
    database.compact(&mut |_, _| true).expect("a compaction");
    assert_close(&database, 1.3, "compacted");
    assert_sound(&database);
}

/// Leaves that are changed, written and driven out again and again take two places in the file, and a third for as long as
/// somebody may be on the way to what was there before.
#[test]
fn leaves_that_are_written_early_give_their_places_back() {
    let _turn = alone();
    let mut options = plain();
    // Nobody makes a checkpoint but the test: not for the log, and not to tidy up while it waits for a processor.
    options.settings.extend([setting("checkpoint_log_bytes", 1 << 30), setting("slack_percent", 100_000)]);
    let database = open(&MemoryDisk::new(), &options);
    let family = database.default_family();
    let mut random = Random(9);
    let mut put = |times: u64| {
        for _ in 0..times {
            let value = noise(&mut random, 120);
            family.put(&random.below(10_000).to_be_bytes(), &value, None).expect("a put");
        }
    };
    put(30_000);
    database.checkpoint().expect("a checkpoint");
    let checkpoints = figure(&database, "checkpoints");
    for round in 0..100 {
        put(500);
        database.drive_out(0).expect("it drives out");
        assert!(common::pages_used(&database) < 300_000, "changed leaves stay");
        if round % 20 == 19 {
            assert_eq!(figure(&database, "checkpoints"), checkpoints + round / 20, "somebody else made one");
            assert_close(&database, 3.2, &format!("round {round}"));
            database.checkpoint().expect("a checkpoint");
        }
    }
    database.compact(&mut |_, _| true).expect("a compaction");
    assert_close(&database, 1.3, "compacted");
    assert_sound(&database);
}

#[test]
fn maintenance_keeps_log_and_file_short_by_itself() {
    let _turn = alone();
    let place = Place::new("maintenance");
    let database = place.open();
    let family = database.default_family();
    let mut random = Random(5);
    for _ in 0..8 {
        overwrite(&family, 20_000, 40_000, &mut random);
        std::thread::sleep(std::time::Duration::from_millis(150));
        let log = figure(&database, "log_size");
        assert!(log <= 12 << 20, "the log has {log} bytes");
    }
    assert!(figure(&database, "checkpoints") > 3);
    assert_close(&database, 2.0, "overwritten");
    let on_disk: u64 = std::fs::read_dir(&place.folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").metadata().expect("its length").len())
        .sum();
    assert!(on_disk <= live_bytes(&database) * 2 + (40 << 20), "{on_disk} bytes in the folder");
}

#[test]
fn compacting_gives_back_what_deletions_left() {
    let _turn = alone();
    let disk = MemoryDisk::new();
    let database = open(&disk, &plain());
    let family = database.default_family();
    let mut random = Random(6);
    for number in 0..20_000u64 {
        family.put(&number.to_be_bytes(), &noise(&mut random, 100), None).expect("a put");
    }
    database.checkpoint().expect("a checkpoint");
    let full = figure(&database, "file_size");
    for number in (0..20_000u64).filter(|number| number % 10 != 3) {
        family.delete(&number.to_be_bytes()).expect("a delete");
    }
    database.compact(&mut |_, _| true).expect("a compaction");
    let small = figure(&database, "file_size");
    assert!(small < full / 5, "{small} bytes are left of {full}");
    assert_close(&database, 1.5, "compacted");
    database.close().expect("closes");
    let length = disk.get("pages.lyre").expect("the page file").len() as u64;
    assert!(length <= small * 2 + (1 << 17), "closed, the file has {length} bytes");
    let database = open(&disk, &plain());
    assert_eq!(content(&database, &database.default_family()).len(), 2_000);
    assert_sound(&database);
}

/// Deletes borrow and merge: a tree that was emptied keeps no empty pages.
#[test]
fn a_tree_gets_small_again() {
    let _turn = alone();
    for way in ["one by one", "in batches", "as a range"] {
        let database = open(&MemoryDisk::new(), &plain());
        let family = database.default_family();
        let keys: Vec<[u8; 8]> = (0..50_000u64).map(u64::to_be_bytes).collect();
        for some in keys.chunks(1000) {
            let mut batch = Batch::default();
            some.iter().for_each(|key| batch.put(&family, key, &[1; 100], None).expect("room"));
            database.write(batch).expect("a commit");
        }
        database.checkpoint().expect("a checkpoint");
        match way {
            "one by one" => keys.iter().for_each(|key| assert!(family.delete(key).expect("a delete"))),
            "in batches" => {
                for some in keys.chunks(1000) {
                    let mut batch = Batch::default();
                    some.iter().for_each(|key| batch.delete(&family, key).expect("room"));
                    database.write(batch).expect("a commit");
                }
            }
            _ => assert_eq!(family.delete_range(None, None).expect("a deletion"), 50_000),
        }
        for _ in 0..3 {
            database.checkpoint().expect("a checkpoint");
        }
        let report = database.check(&mut |_, _| true).expect("a check");
        assert_eq!((report.records, report.problems.len()), (0, 0), "{way}");
        assert!(report.pages <= 20, "{way}: {} pages for no records", report.pages);
    }
}

#[test]
fn long_values_give_their_space_back() {
    let _turn = alone();
    let database = open(&MemoryDisk::new(), &plain());
    let family = database.default_family();
    let mut random = Random(7);
    for round in 0..30u64 {
        for key in 0..8u64 {
            family.put(&key.to_be_bytes(), &noise(&mut random, 60_000 + key as usize), None).expect("a put");
        }
        if round % 3 == 2 {
            family.delete(&(round % 8).to_be_bytes()).expect("a delete");
        }
        database.checkpoint().expect("a checkpoint");
    }
    // Every checkpoint replaces all of them: what it writes, what the superblock before needs, and what that one freed.
    let file = figure(&database, "file_size");
    assert!(file <= 9 * 8 * 60_000 / 2, "{file} bytes for eight values of 60,000");
    assert!(get(&family, &1u64.to_be_bytes()).is_some());
    family.delete_range(None, None).expect("a deletion");
    for _ in 0..2 {
        database.checkpoint().expect("a checkpoint");
    }
    database.compact(&mut |_, _| true).expect("a compaction");
    let file = figure(&database, "file_size");
    assert!(file <= 1 << 17, "{file} bytes for nothing");
    assert_sound(&database);
}

#[test]
fn compaction_comes_to_an_end_and_takes_what_a_closed_snapshot_held() {
    let _turn = alone();
    let database = open(&MemoryDisk::new(), &plain());
    let family = database.default_family();
    let mut random = Random(9);
    overwrite(&family, 60_000, 200_000, &mut random);
    database.checkpoint().expect("a checkpoint");
    let first = figure(&database, "file_size");
    family.put(b"long", &noise(&mut random, 300_000), None).expect("a put");
    database.checkpoint().expect("a checkpoint");
    let snapshot = database.snapshot().expect("a snapshot");
    family.put(b"long", b"short", None).expect("a put");
    family.delete_range(None, Some(&54_000u64.to_be_bytes())).expect("a deletion");
    let compact = || {
        let mut steps = 0;
        let progress = &mut |_, _| {
            steps += 1;
            steps < 50
        };
        database.compact(progress).expect("a compaction that comes to an end");
        figure(&database, "file_size")
    };
    let before = figure(&database, "file_size");
    assert!(compact() <= before, "what the snapshot sees cannot move, but that is no reason to take more");
    assert!(snapshot.get(&family, b"long", <[u8]>::len).expect("a read") == Some(300_000));
    drop(snapshot);
    let left = compact();
    assert!(left < first / 3, "{left} bytes for a tenth of what were {first}");
    assert_sound(&database);
}

#[test]
fn a_dropped_family_gives_its_space_back() {
    let _turn = alone();
    let mut disk = MemoryDisk::new();
    let mut database = open(&disk, &plain());
    let mut random = Random(8);
    let empty = figure(&database, "file_size").max(1 << 17);
    for round in 0..6 {
        let family = database.create_family("passing", &[]).expect("a family");
        for number in 0..3_000u64 {
            let length = if number % 100 == 0 { 20_000 } else { 100 };
            family.put(&number.to_be_bytes(), &noise(&mut random, length), None).expect("a put");
        }
        database.checkpoint().expect("a checkpoint");
        assert!(figure(&database, "file_used") > 500_000);
        let memory = common::pages_used(&database);
        if round % 2 == 1 {
            drop(family);
            database.close().expect("closes");
            database = open(&disk, &plain());
        }
        database.drop_family("passing").expect("it is there");
        if round % 3 == 2 {
            // Killed before any checkpoint knows of it.
            database.sync().expect("a sync");
            disk = disk.image();
            database = open(&disk, &plain());
        }
        database.checkpoint().expect("a checkpoint");
        database.compact(&mut |_, _| true).expect("a compaction");
        let file = figure(&database, "file_size");
        assert!(file <= empty, "round {round}: {file} bytes are left");
        let left = common::pages_used(&database);
        assert!(left < memory / 10 + (1 << 16), "round {round}: of {memory} bytes in memory {left} stay");
    }
}

#[test]
fn compaction_waits_for_what_heavy_writing_left_to_be_freed() {
    let _turn = alone();
    let place = Place::new("backlog");
    let mut database = place.open();
    let mut random = Random(7);
    for _ in 0..2 {
        // As long as somebody reads, nothing of what writers replace is freed.
        let reader = crossbeam_epoch::pin();
        std::thread::scope(|scope| {
            let family = database.default_family();
            scope.spawn(move || overwrite(&family, 10_000, 400_000, &mut Random(8)));
        });
        database.checkpoint().expect("a checkpoint");
        drop(reader);
    }
    overwrite(&database.default_family(), 10_000, 1_000, &mut random);
    database.compact(&mut |_, _| true).expect("a compaction");
    let compacted = figure(&database, "file_size");
    database.close().expect("a close");
    drop(database);
    database = place.open();
    let used = figure(&database, "file_used");
    assert!(compacted <= used + used / 8 + (64 << 10), "compacted to {compacted} bytes, of which {used} are used");
    assert_sound(&database);
}
