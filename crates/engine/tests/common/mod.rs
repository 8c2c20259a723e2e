//! What several suites share. Each uses only some of it.
#![allow(dead_code, unused_imports)]

mod effort;

use std::collections::BTreeMap;
use std::sync::Arc;

use lyredb_engine::disk::{Disk, MemoryDisk};
use lyredb_engine::tunables::Value;
use lyredb_engine::{Columns, Database, Durability, Family, Fetched, Options, Range, Rows, Snapshot, Stat};

#[allow(unused_imports)]
pub use effort::{scaled, tally};

pub type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// Tiny pages, so that little data makes all the shapes that a tree can take.
pub fn tiny(durability: Durability) -> Options {
    Options { durability, settings: tiny_settings(), ..Options::default() }
}

pub fn tiny_settings() -> Vec<(String, Value)> {
    vec![setting("leaf_bytes", 1024), setting("delta_records", 4), setting("blob_bytes", 512)]
}

pub fn setting(name: &str, value: u64) -> (String, Value) {
    (name.to_string(), Value::Integer(i64::try_from(value).expect("a setting is small")))
}

pub fn open(disk: &MemoryDisk, options: &Options) -> Database {
    open_on(Arc::new(disk.clone()), options)
}

pub fn open_on(disk: Arc<dyn Disk>, options: &Options) -> Database {
    Database::open_on(disk, options.clone()).expect("the database opens")
}

/// All records in the range, fetched `limit` at a time.
pub fn rows_of(
    snapshot: &Snapshot,
    family: &Family,
    range: Range,
    reverse: bool,
    limit: usize,
) -> Vec<(Vec<u8>, Vec<u8>)> {
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

pub fn content_at(snapshot: &Snapshot, family: &Family) -> Model {
    let rows = rows_of(snapshot, family, Range::default(), false, 1000);
    let count = rows.len();
    let model: Model = rows.into_iter().collect();
    assert_eq!(model.len(), count, "a scan gave a key twice");
    model
}

pub fn content(database: &Database, family: &Family) -> Model {
    content_at(&database.snapshot().expect("a snapshot"), family)
}

pub fn get(family: &Family, key: &[u8]) -> Option<Vec<u8>> {
    family.get(key, |value| value.to_vec()).expect("a read")
}

pub fn multi_get(snapshot: &Snapshot, family: &Family, keys: &[&[u8]]) -> Vec<Option<Vec<u8>>> {
    let mut values = vec![None; keys.len()];
    let cold = snapshot
        .multi_get_resident(family, keys, &mut |index, value| values[index] = value.map(<[u8]>::to_vec))
        .expect("reads");
    for (index, value) in snapshot.multi_get_from_disk(family, keys, &cold).expect("reads") {
        values[index] = value;
    }
    values
}

#[track_caller]
pub fn assert_sound(database: &Database) {
    let report = database.check(&mut |_, _| true).expect("a check");
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}

/// A figure of the database's.
pub fn figure(database: &Database, name: &str) -> u64 {
    let stats = database.stats().expect("figures");
    match stats.database.figures.iter().find(|(known, _)| *known == name) {
        Some((_, Stat::Count(number) | Stat::Bytes(number))) => *number,
        other => panic!("no such figure: {name} ({other:?})"),
    }
}

/// A counter of the families', added up.
pub fn counter(database: &Database, name: &str) -> u64 {
    let stats = database.stats().expect("figures");
    let of_family = |figures: &[(&'static str, Stat)]| match figures.iter().find(|(known, _)| *known == name) {
        Some((_, Stat::Count(number))) => *number,
        other => panic!("no such counter: {name} ({other:?})"),
    };
    stats.families.iter().map(|(_, family)| of_family(&family.figures)).sum()
}

/// Point reads that were answered from what remained of a leaf: from an excerpt, and from a leaf as it is stored.
pub fn reads_without_image(database: &Database) -> [u64; 2] {
    ["gets_from_records", "gets_from_warm"].map(|name| counter(database, name))
}

/// Room for few images, and for leaves in the other forms.
pub fn narrow_tiers(hot_bytes: u64) -> Vec<(String, Value)> {
    vec![setting("hot_bytes", hot_bytes), setting("warm_bytes", 64 << 10), setting("point_cache_bytes", 32 << 10)]
}

/// What `memory_used` is the sum of.
pub const MEMORY_PARTS: [&str; 9] = [
    "memory_leaves",
    "memory_long_values",
    "memory_warm",
    "memory_point_cache",
    "memory_inner_pages",
    "memory_page_references",
    "memory_queues",
    "memory_scans",
    "memory_log",
];

/// Memory that goes with the content of the pages.
pub fn pages_used(database: &Database) -> u64 {
    MEMORY_PARTS[..5].iter().map(|name| figure(database, name)).sum()
}

/// Numbers that look random and are the same in every run (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

/// Bytes that no codec makes shorter.
pub fn noise(length: u64, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    (0..length).map(|_| random.next() as u8).collect()
}
