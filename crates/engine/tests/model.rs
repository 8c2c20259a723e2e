//! The whole engine against a plain map of maps: random operations, snapshots, reopenings, tiny pages.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lyredb_engine::disk::MemoryDisk;
use lyredb_engine::tunables::Value;
use lyredb_engine::{
    Batch, Columns, DEFAULT_FAMILY, Database, Durability, Family, Fetched, Options, Range, Rows, Snapshot, Stat,
};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug)]
enum Step {
    Put(u16, u8),
    Delete(u16),
    Batch(Vec<(u16, Option<u8>)>),
    /// A batch of keys behind all others.
    Append(Vec<u8>),
    /// Deletes so many of the last keys.
    Trim(u8),
    DeleteRange(u16, u16),
    Snapshot,
    DropSnapshot(u8),
    Checkpoint,
    Compact,
    /// Leaves from memory until so many times 8 KiB are left.
    DriveOut(u8),
    /// The setting of that number, live.
    Tune(u8),
    /// All leaves to so many KiB, at once.
    Reshape(u8),
    Reopen,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0u16..400;
    prop_oneof![
        20 => (key.clone(), any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        12 => key.clone().prop_map(Step::Delete),
        6 => prop::collection::vec((key.clone(), prop::option::of(any::<u8>())), 0..80).prop_map(Step::Batch),
        4 => prop::collection::vec(any::<u8>(), 1..120).prop_map(Step::Append),
        1 => (0u8..100).prop_map(Step::Trim),
        1 => (key.clone(), key).prop_map(|(a, b)| Step::DeleteRange(a.min(b), a.max(b))),
        2 => Just(Step::Snapshot),
        2 => any::<u8>().prop_map(Step::DropSnapshot),
        2 => Just(Step::Checkpoint),
        1 => Just(Step::Compact),
        8 => (0u8..4).prop_map(Step::DriveOut),
        3 => (0..SETTINGS.len() as u8).prop_map(Step::Tune),
        1 => prop_oneof![Just(1u8), Just(2), Just(8), Just(32)].prop_map(Step::Reshape),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ]
}

/// What says in which form memory has leaves; from the beginning there is room for few images.
const SETTINGS: [(&str, Result<i64, &str>); 16] = [
    ("hot_bytes", Ok(0)),
    ("hot_bytes", Ok(8 << 10)),
    ("hot_bytes", Ok(-1)),
    ("warm_bytes", Ok(0)),
    ("warm_bytes", Ok(8 << 10)),
    ("warm_bytes", Ok(1 << 20)),
    ("point_cache_bytes", Ok(0)),
    ("point_cache_bytes", Ok(2 << 10)),
    ("point_cache_bytes", Ok(1 << 20)),
    ("memory_bytes", Ok(1 << 20)),
    ("memory_bytes", Ok(1 << 30)),
    ("absent_filter", Err("off")),
    ("absent_filter", Err("on")),
    ("replacement", Err("sieve")),
    ("replacement", Err("s3-fifo")),
    ("warm_codec", Err("none")),
];

fn key(number: u16) -> Vec<u8> {
    // Of different lengths, with shared prefixes, and some that are prefixes of others.
    match number % 3 {
        0 => format!("shared/{number:04}").into_bytes(),
        1 => number.to_be_bytes().to_vec(),
        _ => format!("shared/{:04}/x", number - 2).into_bytes(),
    }
}

fn last_key(number: u32) -> Vec<u8> {
    format!("shared/z{number:06}").into_bytes()
}

/// The number of the next last key.
fn next_last(model: &Model) -> u32 {
    let last = model.keys().next_back().and_then(|key| key.strip_prefix(b"shared/z"));
    last.map_or(0, |digits| str::from_utf8(digits).expect("digits").parse::<u32>().expect("a number") + 1)
}

fn value(seed: u8) -> Vec<u8> {
    // Some empty, some longer than a blob's threshold.
    vec![seed; if seed.is_multiple_of(16) { 700 + seed as usize } else { seed as usize % 60 }]
}

fn options() -> Options {
    let setting = |name: &str, value| (name.to_string(), Value::Integer(value));
    Options {
        durability: Durability::Sync,
        settings: vec![
            setting("leaf_bytes", 1024),
            setting("delta_records", 4),
            setting("blob_bytes", 512),
            setting("hot_bytes", 0),
            setting("warm_bytes", 64 << 10),
            setting("point_cache_bytes", 16 << 10),
        ],
        ..Options::default()
    }
}

fn open(disk: &MemoryDisk) -> (Database, Family) {
    let database = Database::open_on(Arc::new(disk.clone()), options()).expect("opens");
    let family = database.default_family();
    (database, family)
}

fn rows_of(snapshot: &Snapshot, family: &Family, range: Range, reverse: bool, limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut cursor = snapshot.cursor(family, range, reverse).expect("a cursor");
    let mut all = Vec::new();
    loop {
        let mut rows = Rows::default();
        let fetched = cursor.fetch(Columns::Both, limit, usize::MAX / 2, true, &mut rows).expect("rows");
        all.extend((0..rows.len()).map(|row| (rows.key(row).to_vec(), rows.value(row).to_vec())));
        if fetched == Fetched::Done {
            return all;
        }
    }
}

/// Answered from excerpts, and from leaves as they are stored.
static READS: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Before a database is closed.
fn note_reads(database: &Database) {
    let stats = database.stats().expect("figures");
    for (sum, name) in READS.iter().zip(["gets_from_records", "gets_from_warm"]) {
        for (_, figures) in &stats.families {
            match figures.figures.iter().find(|(known, _)| *known == name) {
                Some((_, Stat::Count(number))) => sum.fetch_add(*number, Ordering::Relaxed),
                other => panic!("no such counter: {name} ({other:?})"),
            };
        }
    }
}

fn compare(database: &Database, snapshot: &Snapshot, family: &Family, model: &Model) {
    // Before scans make images of all leaves. First a leaf is on disk, then memory has something of it.
    for number in (0..3).flat_map(|_| (0..400).step_by(7)) {
        let got = snapshot.get(family, &key(number), |value| value.to_vec()).expect("a read");
        assert_eq!(got.as_ref(), model.get(&key(number)));
    }
    let expected: Vec<_> = model.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    assert_eq!(rows_of(snapshot, family, Range::default(), false, 7), expected);
    let backwards = rows_of(snapshot, family, Range::default(), true, 1000);
    assert_eq!(backwards, expected.iter().rev().cloned().collect::<Vec<_>>());
    let count = snapshot.count(family, &Range::default(), &mut |_, _| true).expect("a count");
    assert_eq!(count, model.len() as u64);
    for number in (0..400).step_by(7) {
        let key = key(number);
        let got = snapshot.get(family, &key, |value| value.to_vec()).expect("a read");
        assert_eq!(got.as_ref(), model.get(&key));
        let range = Range { start: Bound::Excluded(key.clone()), stop: Bound::Included(b"shared/0200".to_vec()) };
        if !range.is_empty() {
            let expected: Vec<_> = model.range::<Vec<u8>, _>((range.start.clone(), range.stop.clone())).collect();
            let got = rows_of(snapshot, family, range.clone(), number % 2 == 0, 5);
            assert_eq!(got.len(), expected.len());
            let counted = snapshot.count(family, &range, &mut |_, _| true).expect("a count");
            assert_eq!(counted, expected.len() as u64);
        }
    }
    let report = database.check(&mut |_, _| true).expect("a check");
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}

fn play(steps: Vec<Step>) {
    let disk = MemoryDisk::new();
    let (mut database, mut family) = open(&disk);
    let mut disk = disk;
    let mut model = Model::new();
    let mut snapshots: Vec<(Snapshot, Model)> = Vec::new();
    for step in steps {
        match step {
            Step::Put(number, seed) => {
                family.put(&key(number), &value(seed), None).expect("a put");
                model.insert(key(number), value(seed));
            }
            Step::Delete(number) => {
                let existed = family.delete(&key(number)).expect("a delete");
                assert_eq!(existed, model.remove(&key(number)).is_some());
            }
            Step::Batch(operations) => {
                let mut batch = Batch::default();
                for (number, seed) in operations {
                    match seed {
                        Some(seed) => {
                            batch.put(&family, &key(number), &value(seed), None).expect("room");
                            model.insert(key(number), value(seed));
                        }
                        None => {
                            batch.delete(&family, &key(number)).expect("room");
                            model.remove(&key(number));
                        }
                    }
                }
                database.write(batch).expect("a batch");
            }
            Step::Append(seeds) => {
                let mut batch = Batch::default();
                let first = next_last(&model);
                for (number, seed) in (first..).zip(seeds) {
                    batch.put(&family, &last_key(number), &value(seed), None).expect("room");
                    model.insert(last_key(number), value(seed));
                }
                database.write(batch).expect("a batch");
            }
            Step::Trim(count) => {
                let start = last_key(next_last(&model).saturating_sub(count.into()));
                family.delete_range(Some(&start), None).expect("a deletion");
                model.retain(|key, _| *key < start);
            }
            Step::DeleteRange(from, to) => {
                let (from, to) = (key(from).min(key(to)), key(from).max(key(to)));
                let removed = family.delete_range(Some(&from), Some(&to)).expect("a range");
                let before = model.len();
                model.retain(|key, _| *key < from || *key >= to);
                assert_eq!(removed, (before - model.len()) as u64);
            }
            Step::Snapshot => snapshots.push((database.snapshot().expect("a snapshot"), model.clone())),
            Step::DropSnapshot(which) if !snapshots.is_empty() => {
                let (snapshot, then) = snapshots.swap_remove(which as usize % snapshots.len());
                compare(&database, &snapshot, &family, &then);
            }
            Step::DropSnapshot(_) => {}
            Step::Checkpoint => database.checkpoint().expect("a checkpoint"),
            Step::Compact => database.compact(&mut |_, _| true).expect("a compaction"),
            Step::DriveOut(pages) => database.drive_out(u64::from(pages) << 13).expect("it drives out"),
            Step::Tune(which) => {
                let (name, value) = SETTINGS[usize::from(which)];
                let value = value.map_or_else(|text| Value::Text(text.into()), Value::Integer);
                database.configure(None, &[(name.into(), value)]).expect("a setting");
            }
            Step::Reshape(size) => {
                let setting = ("leaf_bytes".into(), Value::Integer(i64::from(size) << 10));
                database.configure(None, &[setting]).expect("a setting");
                database.reshape(DEFAULT_FAMILY, &mut |_, _| true).expect("it is cut anew");
            }
            Step::Reopen => {
                snapshots.clear();
                note_reads(&database);
                database.close().expect("closes");
                (database, family) = open(&disk);
            }
            Step::Crash => {
                snapshots.clear();
                note_reads(&database);
                let left = disk.image();
                drop(std::mem::replace(&mut disk, left));
                (database, family) = open(&disk);
            }
        }
    }
    compare(&database, &database.snapshot().expect("a snapshot"), &family, &model);
    for (snapshot, then) in &snapshots {
        compare(&database, snapshot, &family, then);
    }
    note_reads(&database);
}

#[test]
fn the_engine_agrees_with_a_map() {
    let config = ProptestConfig {
        cases: 200,
        max_shrink_iters: 2000,
        source_file: Some(file!()),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    };
    proptest!(config, |(steps in prop::collection::vec(step(), 0..300))| play(steps));
    let reads = READS.each_ref().map(|count| count.load(Ordering::Relaxed));
    assert!(reads.iter().all(|&count| count > 1000), "leaves were hardly read in all forms: {reads:?}");
}
