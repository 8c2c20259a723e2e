//! A snapshot that is open for long is named, with what it keeps in memory, and does not bring everything else to a halt.

mod common;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{content_at, figure, open, setting};
use lyredb_engine::disk::{Fault, MemoryDisk, Operation};
use lyredb_engine::{Batch, Database, Durability, Host, Options, Origin, Warning};

#[derive(Debug, Default)]
struct Listener {
    warnings: Mutex<Vec<Warning>>,
}

impl Listener {
    fn wait_for(&self, count: usize) -> Vec<Warning> {
        let limit = Instant::now() + Duration::from_secs(60);
        loop {
            let warnings = self.warnings.lock().expect("nobody panics").clone();
            if warnings.len() >= count {
                return warnings;
            }
            assert!(Instant::now() < limit, "only {} warnings", warnings.len());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Host for Listener {
    fn origin(&self) -> Option<Origin> {
        Some(Origin { thread: 7, place: Some(("shop.py".into(), 12)) })
    }

    fn warn(&self, warning: &Warning) {
        self.warnings.lock().expect("nobody panics").push(warning.clone());
    }
}

fn listened(settings: &[(&str, u64)]) -> (Arc<Listener>, Options) {
    let listener = Arc::new(Listener::default());
    let settings = settings.iter().map(|&(name, value)| setting(name, value)).collect();
    let options = Options {
        durability: Durability::Async,
        host: Arc::clone(&listener) as Arc<dyn Host>,
        settings,
        ..Options::default()
    };
    (listener, options)
}

/// `count` records of a thousand bytes.
fn write(database: &Database, count: u64, byte: u8) {
    let family = database.default_family();
    for number in 0..count {
        family.put(&number.to_be_bytes(), &[byte; 1000], None).expect("a put");
    }
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < limit, "{what} does not come about");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn who_holds_back_much_is_named_once_and_again_at_twice_as_much() {
    const RECORDS: u64 = 6_000;
    let (listener, options) = listened(&[("held_back_bytes", 1 << 20)]);
    let database = open(&MemoryDisk::new(), &options);
    write(&database, RECORDS, 1);
    let snapshot = database.snapshot().expect("a snapshot");
    let younger = database.snapshot().expect("a snapshot");
    write(&database, RECORDS / 4, 2);
    let warnings = listener.wait_for(1);
    let [Warning::HeldBack { snapshot: named, bytes }] = &warnings[..] else { panic!("{warnings:?}") };
    assert_eq!(named.version, snapshot.version());
    assert_eq!(named.origin, listener.origin());
    assert!(named.age() >= Duration::from_secs(1));
    let expected = RECORDS / 4 * 1000;
    // A record's head, and a delta that is not yet there, make the difference.
    assert!((expected..expected * 11 / 10).contains(bytes), "{bytes} bytes are held back, not {expected}");
    assert_eq!(figure(&database, "open_snapshots"), 2);
    assert_eq!(figure(&database, "oldest_snapshot_thread"), 7);
    wait_until("the figure", || figure(&database, "held_back") == *bytes);
    write(&database, RECORDS, 3);
    let warnings = listener.wait_for(2);
    let Warning::HeldBack { bytes, .. } = &warnings[1] else { panic!("{warnings:?}") };
    assert!(*bytes >= RECORDS * 1000, "{bytes} bytes");
    drop((snapshot, younger));
    wait_until("the release", || figure(&database, "held_back") < RECORDS * 100);
    assert_eq!(listener.wait_for(2).len(), 2, "nobody is warned of twice for the same");
}

/// What a snapshot needs stays in memory whatever the budget. Writers must not look for room in vain all the time.
#[test]
fn old_versions_beyond_the_budget_do_not_stop_writers() {
    const RECORDS: u64 = 16_000;
    let (_listener, options) = listened(&[("memory_bytes", 2 << 20)]);
    let database = open(&MemoryDisk::new(), &options);
    write(&database, RECORDS, 1);
    let snapshot = database.snapshot().expect("a snapshot");
    let before = content_at(&snapshot, &database.default_family());
    let checkpoints = figure(&database, "checkpoints");
    (2..5).for_each(|byte| write(&database, RECORDS, byte));
    let made = figure(&database, "checkpoints") - checkpoints;
    let (used, live) = (figure(&database, "memory_used"), RECORDS * 1000);
    assert!(used > live, "{used} bytes in memory: the old versions are not there at all");
    // Twice the records, once what nobody can read has been folded away.
    wait_until("folding", || figure(&database, "memory_used") < 3 * live);
    // One whenever it has grown by an eighth, and before that as many as the budget alone asks for.
    assert!(made < 100, "{made} checkpoints, which cannot make room");
    assert!(content_at(&snapshot, &database.default_family()) == before);
    drop(snapshot);
    wait_until("room", || figure(&database, "memory_used") < 3 << 20);
}

#[test]
fn a_failure_of_maintenance_is_told_once() {
    let (listener, options) = listened(&[("memory_bytes", 1 << 20)]);
    let disk = MemoryDisk::new();
    let database = open(&disk, &options);
    write(&database, 900, 1);
    database.sync().expect("the disk is well");
    for operation in [Operation::SetLength, Operation::Write] {
        disk.fail_next(operation, u64::MAX, Fault::Raw(28));
    }
    // More than the memory that is allowed, so that changed leaves have to be written.
    let mut batch = Batch::default();
    for number in 0..300u64 {
        batch.put(&database.default_family(), &number.to_be_bytes(), &[1; 1000], None).expect("room");
    }
    database.write(batch).expect("the log keeps it in memory");
    let warnings = listener.wait_for(1);
    assert!(matches!(&warnings[..], [Warning::Maintenance { why }] if why.contains("os error 28")), "{warnings:?}");
    disk.heal();
    wait_until("room", || figure(&database, "memory_used") <= 1 << 20);
}
