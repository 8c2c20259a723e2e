//! What is counted and timed, through the public face.

mod common;

use std::sync::Arc;
use std::time::Duration;

use lyredb_engine::disk::MemoryDisk;
use lyredb_engine::tunables::Value;
use lyredb_engine::{
    Batch, Columns, Database, Distribution, Durability, Event, EventKind, Fetched, Figures, Options, Range, Reading,
    Resident, Rows, Stat,
};

fn open(disk: &MemoryDisk, memory_bytes: i64, durability: Durability) -> Database {
    let settings = vec![("memory_bytes".to_string(), Value::Integer(memory_bytes))];
    let options = Options { durability, settings, ..Options::default() };
    Database::open_on(Arc::new(disk.clone()), options).expect("opens")
}

fn key(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

fn default_family(database: &Database) -> Figures {
    database.stats().expect("figures").families.swap_remove(0).1
}

fn count(figures: &Figures, name: &str) -> u64 {
    match figures.figures.iter().find(|(known, _)| *known == name) {
        Some((_, Stat::Count(number) | Stat::Bytes(number))) => *number,
        other => panic!("no such figure: {name} ({other:?})"),
    }
}

fn reading(figures: &Figures, name: &str) -> Reading {
    match figures.distributions.iter().find(|(known, _)| *known == name) {
        Some((_, Distribution::Times(reading) | Distribution::Rows(reading))) => reading.clone(),
        None => panic!("no such distribution: {name}"),
    }
}

fn scan(database: &Database, limit: usize) {
    let family = database.default_family();
    let snapshot = database.snapshot().expect("a snapshot");
    let mut cursor = snapshot.cursor(&family, Range::default(), false).expect("a cursor");
    let mut rows = Rows::default();
    cursor.fetch(Columns::Both, limit, usize::MAX / 2, true, &mut rows).expect("rows");
}

#[test]
fn every_kind_of_operation_is_timed() {
    let database = open(&MemoryDisk::new(), 64 << 20, Durability::Group);
    let family = database.default_family();
    for number in 0..1_000 {
        family.put(&key(number), &[1; 10], None).expect("a put");
        assert_eq!(family.get(&key(number), <[u8]>::len).expect("a get"), Some(10));
        family.delete(&key(number)).expect("a delete");
        let mut batch = Batch::default();
        (0..3).for_each(|more| batch.put(&family, &key(number + more), &[2; 10], None).expect("room"));
        database.write(batch).expect("a batch");
        scan(&database, 2);
    }
    let told = default_family(&database);
    for (name, least, most) in [
        ("get", 2, 8),
        ("put", 10, 32),
        ("delete", 10, 32),
        ("batch", 40, 128),
        ("scan", 40, 128),
        ("scan_row", 40, 128),
    ] {
        let timed = reading(&told, name);
        assert!((least..=most).contains(&timed.count()), "{name}: {}", timed.count());
        assert!(timed.sum > 0, "{name} took no time");
    }
    for (name, counted) in
        [("gets_found", 1_000), ("puts", 1_000), ("deletes", 1_000), ("batches", 1_000), ("batch_records", 3_000)]
    {
        assert_eq!(count(&told, name), counted, "{name}");
    }
    assert_eq!(count(&told, "bytes_read"), 1_000 * 10 + 2_000 * 14);
    assert_eq!(count(&told, "bytes_written"), 1_000 * 14 + 1_000 * 4 + 3_000 * 14);
    let lengths = reading(&told, "scan_length");
    assert_eq!(lengths.buckets().collect::<Vec<_>>(), [(2, 2, 1_000)]);
    assert_eq!((count(&told, "scans"), count(&told, "rows_scanned")), (1_000, 2_000));
}

#[test]
fn readings_only_grow_while_threads_read() {
    let database = open(&MemoryDisk::new(), 64 << 20, Durability::Group);
    let family = database.default_family();
    family.put(b"key", b"value", None).expect("a put");
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..50_000 {
                        assert!(matches!(family.get_resident(b"key", |_| ()), Ok(Resident::Found(()))));
                    }
                })
            })
            .collect();
        let mut before = reading(&default_family(&database), "get");
        while !readers.iter().all(|reader| reader.is_finished()) {
            let now = reading(&default_family(&database), "get");
            for (low, _, earlier) in before.buckets() {
                let later = now.buckets().find(|bucket| bucket.0 == low).map_or(0, |bucket| bucket.2);
                assert!(later >= earlier);
            }
            before = now;
        }
    });
    let told = default_family(&database);
    assert_eq!(count(&told, "gets_found"), 200_000);
    let timed = reading(&told, "get").count();
    assert!((600..=1_000).contains(&timed), "{timed} of 200,000");
}

#[test]
fn what_came_from_disk_is_told_apart() {
    let disk = MemoryDisk::new();
    {
        let database = open(&disk, 64 << 20, Durability::Group);
        let family = database.default_family();
        (0..10_000).for_each(|number| family.put(&key(number), &[3; 100], None).expect("a put"));
        family.put(&key(10_000), &vec![4; 100_000], None).expect("a put");
        database.checkpoint().expect("a checkpoint");
        let told = database.stats().expect("figures").database;
        assert!(count(&told, "memory_long_values") >= 100_000 && count(&told, "memory_inner_pages") > 0);
        let parts = common::MEMORY_PARTS.map(|name| count(&told, name));
        assert_eq!(parts.iter().sum::<u64>(), count(&told, "memory_used"));
        assert_eq!(reading(&told, "checkpoint").count(), count(&told, "checkpoints"));
        assert_eq!(reading(&told, "log_sync").count(), count(&told, "log_syncs"));
        assert!(count(&told, "checkpoints") == 1 && count(&told, "log_syncs") > 0);
    }
    let database = open(&disk, 64 << 20, Durability::Group);
    let family = database.default_family();
    assert_eq!(count(&default_family(&database), "batches"), 0, "what recovery does is nobody's batch");
    for number in 0..10_001 {
        let found = match family.get_resident(&key(number), <[u8]>::len).expect("a read") {
            Resident::Found(length) => Some(length),
            Resident::Absent => None,
            Resident::Cold => family.get(&key(number), <[u8]>::len).expect("a get"),
        };
        assert_eq!(found, Some(if number == 10_000 { 100_000 } else { 100 }));
    }
    let told = default_family(&database);
    let loads = count(&told, "page_loads");
    assert!(loads > 10);
    assert_eq!(count(&told, "gets_found"), 10_001, "a get that goes on to the disk is one get");
    assert!((loads..=loads + 1).contains(&count(&told, "gets_from_disk")));
    assert_eq!(count(&told, "long_value_loads"), 1);
    let timed = reading(&told, "get").count();
    assert!((10_001 / 384..=10_001 / 128 + 1).contains(&timed), "{timed} of 10,001");
    scan(&database, 20_000);
    let told = default_family(&database);
    assert!(count(&told, "leaves_scanned") > 10);
    assert_eq!(count(&told, "leaves_scanned_from_disk"), 0);
}

#[test]
fn a_multi_get_is_timed_as_its_gets_are() {
    let database = open(&MemoryDisk::new(), 64 << 20, Durability::Group);
    let family = database.default_family();
    (0..8).for_each(|number| family.put(&key(number), &[5; 10], None).expect("a put"));
    let keys: Vec<[u8; 4]> = (0..16).map(key).collect();
    let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_slice()).collect();
    let snapshot = database.snapshot().expect("a snapshot");
    for _ in 0..1_600 {
        assert!(snapshot.multi_get_resident(&family, &keys, &mut |_, _| {}).expect("an answer").is_empty());
    }
    let told = default_family(&database);
    assert_eq!((count(&told, "gets_found"), count(&told, "gets_absent")), (12_800, 12_800));
    let timed = reading(&told, "get").count();
    assert!((60..=200).contains(&timed), "{timed} of 25,600 keys");
}

#[test]
fn keys_of_a_multi_get_that_memory_has_not_are_timed_one_by_one() {
    const KEYS: u32 = 20_000;
    let disk = MemoryDisk::new();
    {
        let database = open(&disk, 64 << 20, Durability::Group);
        let family = database.default_family();
        (0..KEYS).for_each(|number| family.put(&key(number), &[3; 100], None).expect("a put"));
        family.put(&key(7), &vec![4; 10_000], None).expect("a put");
    }
    let database = open(&disk, 1 << 20, Durability::Group);
    database.plan_tiers(900, 0);
    let family = database.default_family();
    let keys: Vec<[u8; 4]> = (0..KEYS).step_by(5).map(key).chain([key(7)]).collect();
    let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_slice()).collect();
    for _ in 0..3 {
        assert!(common::multi_get(&database.snapshot().expect("open"), &family, &keys).iter().all(Option::is_some));
    }
    let told = default_family(&database);
    for (times, gets) in [("get_cold", "gets_from_disk"), ("get_warm", "gets_from_warm")] {
        let timed = reading(&told, times);
        assert!(count(&told, gets) > 100, "{gets}");
        assert_eq!(timed.count(), count(&told, gets), "{times}");
        assert!(timed.sum > 0, "{times} took no time");
    }
}

#[test]
fn a_scan_cut_short_counts_what_it_fetched() {
    let database = open(&MemoryDisk::new(), 64 << 20, Durability::Group);
    let family = database.default_family();
    (0..100).for_each(|number| family.put(&key(number), &[6; 10], None).expect("a put"));
    let mut transaction = database.begin(false, None).expect("a transaction");
    transaction.put(&family, &key(200), &[7; 10], None).expect("a put");
    let mut cursor = transaction.cursor(&family, Range::default(), false).expect("a cursor");
    let mut rows = Rows::default();
    while cursor.fetch(Columns::Both, 30, usize::MAX / 2, true, &mut rows).expect("rows") != Fetched::Done {}
    drop(cursor);
    scan(&database, 7);
    let told = default_family(&database);
    assert_eq!(reading(&told, "scan_length").buckets().map(|bucket| bucket.2).sum::<u64>(), 2);
    assert_eq!(reading(&told, "scan_length").sum, 108);
    assert_eq!(count(&told, "scans"), 2);
}

fn told(events: &[Event], kind: EventKind) -> Vec<&Event> {
    events.iter().filter(|event| event.kind == kind).collect()
}

fn number(event: &Event, name: &str) -> u64 {
    let found = event.detail.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no {name} in {event:?}")).1
}

#[test]
fn checkpoints_and_what_took_long_are_told_once() {
    let disk = MemoryDisk::new();
    let database = open(&disk, 64 << 20, Durability::Group);
    database.set_slow(Duration::MAX).expect("open");
    let family = database.default_family();
    family.put(b"a", &[1; 10], None).expect("a put");
    database.checkpoint().expect("room");
    let events = database.take_events().expect("open");
    let [checkpoint] = told(&events, EventKind::Checkpoint)[..] else { panic!("one checkpoint: {events:?}") };
    assert!(number(checkpoint, "pages_written") >= 1 && number(checkpoint, "bytes_written") > 0);
    assert_eq!(events.len(), 1, "nothing else takes that long");

    database.set_slow(Duration::ZERO).expect("open");
    family.put(b"b", &[1; 10], None).expect("a put");
    assert!(family.delete(b"b").expect("a delete"));
    let mut batch = Batch::default();
    (0..3).for_each(|more| batch.put(&family, &key(more), &[2; 10], None).expect("room"));
    database.write(batch).expect("a batch");
    scan(&database, 2);
    let mut transaction = database.begin(false, None).expect("open");
    transaction.put(&family, b"c", b"", None).expect("room");
    transaction.commit().expect("nobody else writes");
    drop(database.begin(true, None).expect("open"));
    let events = database.take_events().expect("open");
    for kind in [EventKind::Put, EventKind::Delete, EventKind::ScanFetch] {
        let [event] = told(&events, kind)[..] else { panic!("one of {kind:?}: {events:?}") };
        assert_eq!(event.family.as_deref(), Some("default"));
    }
    let batches = told(&events, EventKind::Batch);
    assert_eq!(batches.iter().map(|batch| number(batch, "records")).collect::<Vec<_>>(), [3, 1]);
    let transactions = told(&events, EventKind::Transaction);
    let ends = transactions.iter().map(|event| ["committed", "writes", "serializable"].map(|name| number(event, name)));
    assert_eq!(ends.collect::<Vec<_>>(), [[1, 1, 0], [0, 0, 1]]);
    assert!(database.take_events().expect("open").is_empty());
    drop((family, transaction));
    database.close().expect("room");

    let database = open(&disk, 64 << 20, Durability::Group);
    database.set_slow(Duration::ZERO).expect("open");
    let family = database.default_family();
    assert_eq!(family.get(b"a", <[u8]>::len).expect("a get"), Some(10));
    assert_eq!(family.get(b"a", <[u8]>::len).expect("a get"), Some(10));
    let events = database.take_events().expect("open");
    assert_eq!(told(&events, EventKind::Get).len(), 1, "only what waited for the disk: {events:?}");
}
