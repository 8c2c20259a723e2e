//! Whatever memory a database is given, and however that is divided, it answers as one that has all it wants.
//!
//! `LYREDB_TEST_EFFORT=100` does a hundred times as many operations as by default.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{Random, assert_sound, multi_get, noise, open, reads_without_image, rows_of, scaled, setting, tally};
use lyredb_engine::disk::MemoryDisk;
use lyredb_engine::tunables::Value;
use lyredb_engine::{Batch, Clock, Database, Durability, Error, Family, Options, Range, Snapshot};

const ROUNDS: u64 = 12;
/// Of a round.
const OPERATIONS: u64 = 4_000;
/// With their values several times the least budget.
const KEYS: u64 = 20_000;
const START_MS: u64 = 1_000_000;

/// A database, and what is open of it.
struct Side {
    disk: MemoryDisk,
    options: Options,
    database: Database,
    families: [Family; 2],
    snapshots: Vec<Snapshot>,
}

impl Side {
    fn new(settings: Vec<(String, Value)>, now: &Arc<AtomicU64>) -> Side {
        let clock = Clock::Manual(Arc::clone(now));
        let options = Options { durability: Durability::Async, settings, clock, ..Options::default() };
        let disk = MemoryDisk::new();
        let database = open(&disk, &options);
        let second = database.create_family("second", &[]).expect("a family");
        Side { families: [database.default_family(), second], disk, options, database, snapshots: Vec::new() }
    }

    fn reopen(&mut self) {
        self.snapshots.clear();
        self.database.close().expect("closes");
        self.database = open(&self.disk, &self.options);
        let second = self.database.family("second").expect("open").expect("it is there");
        self.families = [self.database.default_family(), second];
    }

    fn snapshot(&self) -> Snapshot {
        self.database.snapshot().expect("a snapshot")
    }
}

fn key(number: u64) -> Vec<u8> {
    format!("key/{number:08}").into_bytes()
}

/// Some compress and some do not, some stand outside their leaves.
fn value(random: &mut Random) -> Vec<u8> {
    let seed = random.next();
    match random.below(100) {
        0 => noise(5_000 + seed % 20_000, seed),
        1..50 => noise(seed % 300, seed),
        _ => vec![seed as u8; (seed % 400) as usize],
    }
}

/// Any of what says how much memory there is, in which form leaves are in it, and which go first.
fn budget(random: &mut Random) -> (String, Value) {
    let part = |random: &mut Random| match random.below(3) {
        0 => 0,
        _ => 1 << (14 + random.below(8)),
    };
    let choice = |name: &str, names: &[&str], random: &mut Random| {
        (name.to_string(), Value::Text(names[random.below(names.len() as u64) as usize].into()))
    };
    match random.below(8) {
        0 => setting("memory_bytes", (1 << 20) + random.below(4 << 20)),
        1 => setting("hot_bytes", part(random)),
        2 => setting("warm_bytes", part(random)),
        3 => setting("point_cache_bytes", part(random)),
        4 => choice("warm_codec", &["stored", "none", "lz4", "zstd"], random),
        5 => choice("codec", &["none", "lz4", "zstd"], random),
        6 => choice("replacement", &["adaptive", "s3-fifo", "sieve", "second-chance"], random),
        _ => choice("absent_filter", &["off", "on"], random),
    }
}

/// Keys that are near each other, as often as any.
fn some_keys(random: &mut Random, most: u64) -> Vec<Vec<u8>> {
    let (first, count, near) = (random.below(KEYS), 1 + random.below(most), random.one_in(2));
    (0..count).map(|at| key(if near { first + at } else { random.below(KEYS + 100) })).collect()
}

/// One of them with all the memory it wants.
struct Pair {
    sides: [Side; 2],
    now: Arc<AtomicU64>,
}

impl Pair {
    /// Does the same to both; what comes of it has to be the same.
    #[track_caller]
    fn both<R: PartialEq>(&mut self, what: &str, mut work: impl FnMut(&mut Side) -> R) -> R {
        let [free, narrow] = &mut self.sides;
        let (expected, found) = (work(free), work(narrow));
        assert!(expected == found, "{what}: with little memory it is something else");
        expected
    }

    fn write(&mut self, random: &mut Random) {
        let at = random.below(2) as usize;
        match random.below(20) {
            0..8 => {
                let (key, value) = (key(random.below(KEYS)), value(random));
                let ttl = random.one_in(8).then(|| Duration::from_millis(1 + random.below(5_000)));
                self.both("a put", |side| side.families[at].put(&key, &value, ttl).expect("a put"));
            }
            8..12 => {
                let key = key(random.below(KEYS));
                self.both("a delete", |side| side.families[at].delete(&key).expect("a delete"));
            }
            12 if random.one_in(4) => {
                let start = random.below(KEYS);
                let (start, stop) = (key(start), key(start + random.below(200)));
                self.both("a deletion of a range", |side| {
                    side.families[at].delete_range(Some(&start), Some(&stop)).expect("a deletion")
                });
            }
            kind => {
                let writes: Vec<_> = some_keys(random, 60)
                    .into_iter()
                    .map(|key| (random.below(2) as usize, key, (!random.one_in(5)).then(|| value(random))))
                    .collect();
                if kind < 17 {
                    self.both("a batch", |side| {
                        let mut batch = Batch::default();
                        for (at, key, value) in &writes {
                            match value {
                                Some(value) => batch.put(&side.families[*at], key, value, None).expect("a put"),
                                None => batch.delete(&side.families[*at], key).expect("a deletion"),
                            }
                        }
                        side.database.write(batch).expect("a batch");
                    });
                } else {
                    self.both("a transaction", |side| transact(side, &writes, kind == 19).is_ok());
                }
            }
        }
    }

    fn read(&mut self, random: &mut Random) {
        let at = random.below(2) as usize;
        // Of now, or of then.
        let open = self.sides[0].snapshots.len() as u64;
        let old = (open > 0 && random.one_in(3)).then(|| random.below(open) as usize);
        let keys = some_keys(random, 30);
        let (kind, limit) = (random.below(10), 1 + random.below(300) as usize);
        let start = random.below(KEYS);
        let length = if random.one_in(40) { KEYS } else { random.below(300) };
        let range = Range::half_open(Some(&key(start)), Some(&key(start + length)));
        self.both("a read", |side| {
            let new;
            let snapshot = match old {
                Some(old) => &side.snapshots[old],
                None => {
                    new = side.snapshot();
                    &new
                }
            };
            let family = &side.families[at];
            match kind {
                0..6 => {
                    // Again: then memory has something of their leaves.
                    let get = |key: &Vec<u8>| snapshot.get(family, key, |value| value.to_vec()).expect("a read");
                    let found: Vec<_> = keys.iter().map(get).collect();
                    assert!(keys.iter().map(get).eq(found.iter().cloned()), "read again it is something else");
                    keys.iter().cloned().zip(found).collect()
                }
                6..8 => {
                    let asked: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
                    keys.iter().cloned().zip(multi_get(snapshot, family, &asked)).collect()
                }
                _ => {
                    let counted = snapshot.count(family, &range, &mut |_, _| true).expect("a count");
                    let rows = rows_of(snapshot, family, range.clone(), kind == 9, limit);
                    assert_eq!(counted, rows.len() as u64);
                    rows.into_iter().map(|(key, value)| (key, Some(value))).collect::<Vec<_>>()
                }
            }
        });
    }

    fn maintain(&mut self, random: &mut Random) {
        match random.below(12) {
            0 => drop(self.now.fetch_add(random.below(2_000), Ordering::Relaxed)),
            1 => self.both("a checkpoint", |side| side.database.checkpoint().expect("a checkpoint")),
            2 if random.one_in(4) => {
                self.both("a compaction", |side| side.database.compact(&mut |_, _| true).expect("a compaction"));
            }
            3 if random.one_in(4) => self.both("a reopening", Side::reopen),
            4 if self.sides[0].snapshots.len() < 3 => self.both("a snapshot", |side| {
                let snapshot = side.snapshot();
                side.snapshots.push(snapshot);
            }),
            4 | 5 => self.both("a snapshot's end", |side| side.snapshots.truncate(1)),
            6 => {
                let bytes = random.below(2 << 20);
                self.sides[1].database.drive_out(bytes).expect("it drives out");
            }
            _ => {
                let setting = budget(random);
                self.sides[1].database.configure(None, std::slice::from_ref(&setting)).expect("a setting");
            }
        }
    }
}

/// A family, a key, and the value; `None` deletes.
type Write = (usize, Vec<u8>, Option<Vec<u8>>);

fn transact(side: &Side, writes: &[Write], serializable: bool) -> Result<(), Error> {
    let mut transaction = side.database.begin(serializable, None)?;
    for (at, key, value) in writes {
        let family = &side.families[*at];
        transaction.get(family, key, |_| ())?;
        match value {
            Some(value) => transaction.put(family, key, value, None)?,
            None => transaction.delete(family, key).map(drop)?,
        }
    }
    transaction.commit()
}

/// Operations on both; reads that the narrow one answered from excerpts, and from leaves as they are stored.
fn round(seed: u64) -> [u64; 2] {
    let mut random = Random(seed);
    let now = Arc::new(AtomicU64::new(START_MS));
    let narrow = (0..6).map(|_| budget(&mut random)).chain([setting("memory_bytes", 1 << 20)]).collect();
    let sides = [Side::new(Vec::new(), &now), Side::new(narrow, &now)];
    let mut pair = Pair { sides, now };
    let records: Vec<_> = (0..KEYS).map(|number| (key(number), value(&mut random))).collect();
    for some in records.chunks(500) {
        pair.both("the first batches", |side| {
            let mut batch = Batch::default();
            for (at, (key, value)) in some.iter().enumerate() {
                batch.put(&side.families[at % 2], key, value, None).expect("a put");
            }
            side.database.write(batch).expect("a batch");
        });
    }
    let mut reads = [0; 2];
    let mut note = |pair: &Pair| {
        let these = reads_without_image(&pair.sides[1].database);
        reads = [0, 1].map(|from| reads[from].max(these[from]));
    };
    for _ in 0..OPERATIONS {
        match random.below(100) {
            0..40 => pair.write(&mut random),
            40..90 => pair.read(&mut random),
            _ => {
                note(&pair);
                pair.maintain(&mut random);
            }
        }
    }
    note(&pair);
    for at in 0..2 {
        pair.both("all that is there", |side| {
            rows_of(&side.snapshot(), &side.families[at], Range::default(), false, 1000)
        });
    }
    pair.sides.iter().for_each(|side| assert_sound(&side.database));
    pair.both("a reopening", Side::reopen);
    pair.both("all that is there", |side| common::content(&side.database, &side.families[0]));
    reads
}

#[test]
fn random_budgets_change_no_answer() {
    let rounds = scaled(ROUNDS);
    let mut reads = [0; 2];
    for seed in 0..rounds {
        let these = round(seed);
        reads = [0, 1].map(|from| reads[from] + these[from]);
    }
    assert!(reads.iter().all(|&count| count > 100 * rounds), "leaves were hardly read in all forms: {reads:?}");
    tally("operations with random budgets", rounds * OPERATIONS);
}
