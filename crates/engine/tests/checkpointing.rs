//! What goes on while a checkpoint is on its way, which takes as long as the disk does.
#![cfg(any(debug_assertions, feature = "pause-points"))]

mod common;

#[path = "common/stop.rs"]
mod stop;

use std::time::{Duration, Instant};

use common::{content, content_at, figure, get, open, setting};
use lyredb_engine::disk::MemoryDisk;
use lyredb_engine::pause::Point;
use lyredb_engine::{Batch, DEFAULT_FAMILY, Database, Durability, Options};
use stop::Stop;

#[test]
fn families_and_settings_change_while_a_checkpoint_is_stopped() {
    for point in [Point::CheckpointStarted, Point::CheckpointLeafWritten, Point::CheckpointPagesWritten] {
        let disk = MemoryDisk::new();
        let database = open(&disk, &Options::default());
        let before = database.create_family("before", &[]).expect("a family");
        for family in [&before, &database.default_family()] {
            (0..1_000u32).for_each(|key| family.put(&key.to_be_bytes(), b"value", None).expect("a put"));
        }
        let mut stop = Stop::at(point);
        let checkpoint = {
            let database = database.clone();
            stop.spawn(move || database.checkpoint())
        };
        stop.wait();
        // None of these waits for it.
        let late = database.create_family("late", &[setting("leaf_bytes", 2048)]).expect("a family");
        late.put(b"key", b"late", None).expect("a put");
        database.rename_family("before", "after").expect("a new name");
        database.set_note("after", Some("renamed")).expect("a note");
        database.configure(None, &[setting("delta_records", 8)]).expect("a setting");
        before.put(b"key", b"after", None).expect("a put");
        assert_eq!(figure(&database, "checkpoints"), 0);
        stop.let_go();
        checkpoint.join().expect("no panic").expect("a checkpoint");
        drop(stop);
        database.sync().expect("a sync");
        let killed = open(&disk.image(), &Options::default());
        for database in [&database, &killed] {
            assert_eq!(database.families().expect("names"), ["after", DEFAULT_FAMILY, "late"], "{point:?}");
            let family = |name| database.family(name).expect("open").expect("it is listed");
            assert_eq!(get(&family("late"), b"key").as_deref(), Some(&b"late"[..]));
            assert_eq!(get(&family("after"), b"key").as_deref(), Some(&b"after"[..]));
            assert_eq!(content(database, &family("after")).len(), 1_001);
            assert_eq!(content(database, &family(DEFAULT_FAMILY)).len(), 1_000);
            assert_eq!(database.note("after").expect("open").as_deref(), Some("renamed"));
            let settings = database.settings(Some("late")).expect("settings");
            assert!(settings.contains(&("leaf_bytes", setting("", 2048).1, true)), "{settings:?}");
            assert!(settings.contains(&("delta_records", setting("", 8).1, true)), "{settings:?}");
            common::assert_sound(database);
        }
    }
}

/// Its tree is emptied at once, and a checkpoint that met that would store it, though the drop may still be lost.
#[test]
fn a_family_is_not_dropped_under_a_checkpoint() {
    let disk = MemoryDisk::new();
    let database = open(&disk, &Options::default());
    let family = database.create_family("dropped", &[]).expect("a family");
    (0..1_000u32).for_each(|key| family.put(&key.to_be_bytes(), b"value", None).expect("a put"));
    let mut stop = Stop::at(Point::CheckpointStarted);
    let checkpoint = {
        let database = database.clone();
        stop.spawn(move || database.checkpoint())
    };
    stop.wait();
    let dropping = {
        let database = database.clone();
        std::thread::spawn(move || database.drop_family("dropped"))
    };
    std::thread::sleep(std::time::Duration::from_millis(100));
    stop.let_go();
    checkpoint.join().expect("no panic").expect("a checkpoint");
    drop(stop);
    // A power cut before the drop is on the disk, or after it.
    let killed = open(&disk.image(), &Options::default());
    if let Some(family) = killed.family("dropped").expect("open") {
        assert_eq!(content(&killed, &family).len(), 1_000);
    }
    dropping.join().expect("no panic").expect("a drop");
    database.sync().expect("a sync");
    let killed = open(&disk.image(), &Options::default());
    assert!(killed.family("dropped").expect("open").is_none());
}

const RECORDS: u64 = 4_000;
const VALUE_BYTES: u64 = 1_000;

/// Puts another value into every record.
fn overwrite(database: &Database, byte: u8) {
    let family = database.default_family();
    for numbers in (0..RECORDS).collect::<Vec<_>>().chunks(100) {
        let mut batch = Batch::default();
        for number in numbers {
            batch.put(&family, &number.to_be_bytes(), &[byte; VALUE_BYTES as usize], None).expect("room");
        }
        database.write(batch).expect("a batch");
    }
}

/// While a snapshot keeps all that it sees, memory has what it sees and what is newest, and no third version of anything: of
/// what a checkpoint has written the checkpoint asks for nothing any more, nor does one that is over for anything at all.
#[test]
fn beside_a_stalled_snapshot_checkpoints_hold_back_nothing_for_good() {
    for (point, is_folded_meanwhile) in [(Point::CheckpointPagesWritten, true), (Point::CheckpointStarted, false)] {
        let settings = vec![setting("memory_bytes", 1 << 20)];
        let options = Options { durability: Durability::Async, settings, ..Options::default() };
        let database = open(&MemoryDisk::new(), &options);
        overwrite(&database, 1);
        let snapshot = database.snapshot().expect("a snapshot");
        overwrite(&database, 2);
        let mut stop = Stop::at(point);
        let checkpoint = {
            let database = database.clone();
            stop.spawn(move || database.checkpoint())
        };
        stop.wait();
        overwrite(&database, 3);
        database.drive_out(0).expect("all is written");
        let live = RECORDS * VALUE_BYTES;
        let used = figure(&database, "memory_used");
        assert!(used > 2 * live, "{used} bytes in memory: the old versions are not there at all");
        assert_eq!(used < live * 5 / 2, is_folded_meanwhile, "{used} bytes in memory at {point:?}");
        stop.let_go();
        checkpoint.join().expect("no panic").expect("a checkpoint");
        drop(stop);
        let limit = Instant::now() + Duration::from_secs(60);
        while figure(&database, "memory_used") >= live * 5 / 2 {
            assert!(Instant::now() < limit, "the checkpoint's versions stay in memory");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(content_at(&snapshot, &database.default_family()).values().all(|value| value[0] == 1));
        assert!(content(&database, &database.default_family()).values().all(|value| value[0] == 3));
        drop(snapshot);
        common::assert_sound(&database);
    }
}
