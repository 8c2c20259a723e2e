//! A small database of all shapes, to be damaged: what its files are, and what it holds.
#![allow(dead_code)] // Each suite uses only some of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use lyredb_engine::disk::{Disk, MemoryDisk, OpenMode};
use lyredb_engine::tunables::Value;
use lyredb_engine::{Batch, Clock, Database, Durability, Options, Result};

use crate::common::{Model, Random, content, setting};

pub const PAGES: &str = "pages.lyre";
pub const NOW_MS: u64 = 1_000_000;
pub const FIRST_PAGE: usize = 8192;
pub const GRANULE: usize = 64;

pub type Content = BTreeMap<String, Model>;

/// A block of the log, as its header says.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    pub at: u64,
    /// Behind the last record; up to `end` it is padding, which may be anything.
    pub data_end: u64,
    pub end: u64,
    pub first_version: u64,
    pub records: u64,
    pub synced_segment: u64,
    pub synced_offset: u64,
}

pub struct Segment {
    pub number: u64,
    pub name: String,
    pub bytes: Vec<u8>,
    pub blocks: Vec<Block>,
}

pub struct Specimen {
    pub pages: Vec<u8>,
    pub segments: Vec<Segment>,
    /// The version that the page file holds.
    pub version: u64,
    /// The content at `version` and after each later one.
    pub states: Vec<Content>,
}

pub fn options() -> Options {
    let settings = vec![
        setting("leaf_bytes", 1024),
        setting("delta_records", 4),
        setting("blob_bytes", 512),
        ("codec".into(), Value::Text("lz4".into())),
    ];
    let clock = Clock::Manual(Arc::new(AtomicU64::new(NOW_MS)));
    Options { durability: Durability::Async, settings, clock, ..Options::default() }
}

pub fn seen(database: &Database) -> Result<Content> {
    let mut all = Content::new();
    for name in database.families()? {
        let family = database.family(&name)?.expect("it is listed");
        all.insert(name, content(database, &family));
    }
    Ok(all)
}

/// Bytes that do not compress.
fn noise(random: &mut Random, length: usize) -> Vec<u8> {
    (0..length).map(|_| random.next() as u8).collect()
}

fn key(number: u64) -> Vec<u8> {
    format!("key {number:06}").into_bytes()
}

impl Specimen {
    /// Deterministic for a seed, but for the database's identity.
    pub fn new(seed: u64) -> Specimen {
        let mut random = Random(seed);
        let disk = MemoryDisk::new();
        let database = crate::common::open(&disk, &options());
        let default = database.default_family();
        let text = database.create_family("text", &[("codec".into(), Value::Text("zstd".into()))]).expect("a family");
        let long = database.create_family("long", &[]).expect("a family");
        let plain = database.create_family("plain", &[("codec".into(), Value::Text("none".into()))]).expect("a family");
        database.create_family("empty", &[]).expect("a family");
        database.set_note("text", Some(r#"{"key": "str", "value": "str"}"#)).expect("a note");
        for number in 0..420 {
            default.put(&key(number), &noise(&mut random, 300 + number as usize % 120), None).expect("a put");
        }
        for number in 0..200u64 {
            let ttl = (number % 3 == 0).then(|| Duration::from_millis(500_000));
            let value = format!("{number} of the many words that are like each other").repeat(2);
            text.put(&key(number), value.as_bytes(), ttl).expect("a put");
        }
        for number in 0..24 {
            long.put(&key(number), &noise(&mut random, 512 + 97 * number as usize), None).expect("a put");
            plain.put(&key(number), &noise(&mut random, 60), None).expect("a put");
        }
        database.checkpoint().expect("a checkpoint");
        // Old copies of leaves, of inner pages and of long values, in space that is free now.
        for number in (0..420).step_by(40) {
            default.put(&key(number), &noise(&mut random, 350), None).expect("a put");
        }
        text.delete_range(Some(&key(20)), Some(&key(30))).expect("a deletion");
        long.put(&key(3), &noise(&mut random, 900), None).expect("a put");
        database.checkpoint().expect("a checkpoint");
        let version = version(&disk);
        let mut states = vec![seen(&database).expect("it can be read")];
        // Three segments: a database that was not closed begins a new one when it is opened again.
        drop((default, text, long, plain));
        let mut disk = disk.image();
        drop(database);
        for round in 0..3 {
            let database = crate::common::open(&disk, &options());
            for number in 0..12 {
                commit(&database, &mut random, round * 12 + number);
                states.push(seen(&database).expect("it can be read"));
                if number % 3 == 2 {
                    database.sync().expect("a sync");
                }
            }
            // As after a kill: closing would checkpoint.
            disk = disk.image();
        }
        let pages = disk.get(PAGES).expect("it is there");
        let mut segments: Vec<Segment> =
            disk.list().expect("names").iter().filter_map(|name| segment(&disk, name)).collect();
        segments.sort_by_key(|segment| segment.number);
        Specimen { pages, segments, version, states }
    }

    pub fn disk(&self) -> MemoryDisk {
        let disk = MemoryDisk::new();
        disk.put(PAGES, self.pages.clone());
        for segment in &self.segments {
            disk.put(&segment.name, segment.bytes.clone());
        }
        disk
    }

    pub fn newest(&self) -> &Content {
        self.states.last().expect("there is one")
    }

    /// After all versions below this one.
    pub fn before(&self, version: u64) -> &Content {
        &self.states[(version - 1 - self.version) as usize]
    }

    pub fn last_segment(&self) -> &Segment {
        self.segments.last().expect("there is one")
    }

    /// What may be found when the bytes from `at` on, in the last segment, are not what they were: a torn end, unless
    /// a sound header behind the block says that the block had been on disk. `docs/format.md`, "What is not found".
    pub fn torn_at(&self, at: u64, is_cut: bool) -> Option<&Content> {
        let segment = self.last_segment();
        if at < 64 {
            return is_cut.then(|| self.before(segment.blocks[0].first_version));
        }
        let index = segment.blocks.iter().position(|block| at < block.data_end)?;
        if !is_cut && at < segment.blocks[index].at {
            return None;
        }
        let block = segment.blocks[index];
        let is_witness = |later: &Block| later.synced_segment == segment.number && later.synced_offset > block.at;
        let witnessed = !is_cut && segment.blocks[index + 1..].iter().any(is_witness);
        (!witnessed).then(|| self.before(block.first_version))
    }
}

fn version(disk: &MemoryDisk) -> u64 {
    number(&disk.get(PAGES).expect("it is there"), 24)
}

pub fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn segment(disk: &MemoryDisk, name: &str) -> Option<Segment> {
    let number_text = name.strip_prefix("log-")?.strip_suffix(".lyre")?;
    let bytes = disk.get(name)?;
    let mut blocks = Vec::new();
    let mut at = 64;
    while bytes.len() >= at + 64 && bytes[at..at + 4] == [0x0c, 0xb1, 0x4c, 0x4b] {
        let data_end = at + 64 + number(&bytes, at + 16) as usize;
        let end = data_end.next_multiple_of(8);
        let records = u32::from_le_bytes(bytes[at + 12..at + 16].try_into().expect("four bytes"));
        blocks.push(Block {
            at: at as u64,
            data_end: data_end as u64,
            end: end as u64,
            first_version: number(&bytes, at + 40),
            records: records.into(),
            synced_segment: number(&bytes, at + 48),
            synced_offset: number(&bytes, at + 56),
        });
        at = end;
    }
    Some(Segment { number: number_text.parse().expect("a number"), name: name.into(), bytes, blocks })
}

/// One commit of many kinds.
fn commit(database: &Database, random: &mut Random, number: u64) {
    let family = |name: &str| database.family(name).expect("it is open").expect("it is there");
    let default = database.default_family();
    match number % 6 {
        0 => default.put(&key(random.below(420)), &noise(random, 200), None).expect("a put"),
        1 => {
            let mut batch = Batch::default();
            for _ in 0..3 {
                batch.put(&default, &key(random.below(500)), &noise(random, 100), None).expect("it fits");
                batch.put(&family("plain"), &key(random.below(40)), &noise(random, 50), None).expect("it fits");
            }
            batch.delete(&family("text"), &key(random.below(200))).expect("it fits");
            database.write(batch).expect("a commit");
        }
        2 => drop(default.delete(&key(random.below(420))).expect("a deletion")),
        3 => family("long").put(&key(random.below(30)), &noise(random, 700), None).expect("a put"),
        4 => {
            let start = random.below(180);
            family("text").delete_range(Some(&key(start)), Some(&key(start + 4))).expect("a deletion");
        }
        _ => {
            let name = format!("made {number}");
            database.create_family(&name, &[]).expect("a family");
        }
    }
}

/// Overwrites bytes of a file where they are; what they were.
pub fn overwrite(disk: &MemoryDisk, name: &str, at: u64, bytes: &[u8]) -> Vec<u8> {
    let file = disk.open(name, OpenMode::ReadWrite).expect("it is there");
    let mut before = vec![0; bytes.len()];
    let count = file.read_at(&mut before, at).expect("a read");
    assert_eq!(count, bytes.len(), "the file is as long as that");
    file.write_at(bytes, at).expect("a write");
    before
}
