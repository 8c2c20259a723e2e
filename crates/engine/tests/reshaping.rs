//! Leaves brought to another size, all at once, beside everything else.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::{Model, Random, assert_sound, content, content_at, counter, figure, noise, open, scaled, setting, tiny};
use lyredb_engine::disk::MemoryDisk;
use lyredb_engine::{Batch, DEFAULT_FAMILY, Database, Durability, Error, Options};

const KEYS: u64 = 6_000;

fn key(number: u64) -> Vec<u8> {
    format!("{:04}/{number:x}", number % 977).into_bytes()
}

fn fill(database: &Database, keys: u64, seed: u64) -> Model {
    let (family, mut random) = (database.default_family(), Random(seed));
    let mut model = Model::new();
    for _ in 0..keys {
        let key = key(random.below(keys * 4));
        // Now and then long enough to stand outside the leaf.
        let length = if random.one_in(50) { 700 + random.below(3_000) } else { random.below(90) };
        let value = noise(length, random.next());
        family.put(&key, &value, None).expect("a put");
        model.insert(key, value);
    }
    model
}

fn reshape(database: &Database, leaf_bytes: u64) -> u64 {
    database.tune(None, &[setting("leaf_bytes", leaf_bytes)]).expect("a setting");
    database.reshape(DEFAULT_FAMILY, &mut |_, _| true).expect("it is cut anew")
}

fn leaves(database: &Database) -> u64 {
    let mut leaves = 0;
    database
        .reshape(DEFAULT_FAMILY, &mut |looked_at, _| {
            leaves = looked_at;
            true
        })
        .expect("nothing to do");
    leaves
}

/// Without a size of leaves that a user has set.
fn options() -> Options {
    let settings = vec![setting("delta_records", 4), setting("blob_bytes", 512)];
    Options { durability: Durability::Async, settings, ..Options::default() }
}

#[test]
fn leaves_become_as_large_as_they_shall_be_and_hold_the_same() {
    let disk = MemoryDisk::new();
    let database = open(&disk, &options());
    let model = fill(&database, KEYS, 1);
    let bytes: u64 = model.iter().map(|(key, value)| key.len() + value.len().min(16) + 31).sum::<usize>() as u64;
    for leaf_bytes in [64 << 10, 1 << 10, 8 << 10, 1 << 20, 4 << 10] {
        let built = reshape(&database, leaf_bytes);
        assert!(built > 0, "{leaf_bytes}");
        let there_are = leaves(&database);
        let fewest = bytes / leaf_bytes;
        assert!(there_are <= 3 * fewest + 60 && there_are >= fewest / 2, "{there_are} of {leaf_bytes}, not {fewest}");
        // Remainders of two leaves that were cut may fit into one.
        let again = reshape(&database, leaf_bytes);
        assert!(again <= built / 8, "{again} once more, after {built}");
        assert_eq!(reshape(&database, leaf_bytes), 0);
        assert!(content(&database, &database.default_family()) == model);
        assert_sound(&database);
        database.checkpoint().expect("a checkpoint");
        let killed = open(&disk.image(), &options());
        assert!(content(&killed, &killed.default_family()) == model, "after a kill");
        assert_sound(&killed);
    }
    assert!(counter(&database, "splits") > 0 && counter(&database, "merges") > 0);
}

#[test]
fn leaves_on_disk_are_read_and_old_versions_stay() {
    let database = open(&MemoryDisk::new(), &options());
    let then = fill(&database, KEYS, 2);
    let snapshot = database.snapshot().expect("a snapshot");
    database.checkpoint().expect("a checkpoint");
    database.drive_out(0).expect("it drives out");
    let mut now = then.clone();
    now.extend(fill(&database, KEYS / 2, 3));
    for leaf_bytes in [32 << 10, 1 << 10] {
        assert!(reshape(&database, leaf_bytes) > 0);
        assert!(content_at(&snapshot, &database.default_family()) == then, "what the snapshot sees");
        assert!(content(&database, &database.default_family()) == now);
        database.checkpoint().expect("a checkpoint");
        database.drive_out(0).expect("it drives out");
        assert_sound(&database);
    }
    drop(snapshot);
    // Without anybody who needs them, what is kept of long values is as if nothing had happened.
    let mut fresh = Batch::default();
    let other = open(&MemoryDisk::new(), &options());
    now.iter().for_each(|(key, value)| fresh.put(&other.default_family(), key, value, None).expect("room"));
    other.write(fresh).expect("a commit");
    reshape(&database, 8 << 10);
    assert!(content(&database, &database.default_family()) == now);
    for database in [&database, &other] {
        database.checkpoint().expect("a checkpoint");
        database.compact(&mut |_, _| true).expect("a compaction");
    }
    let (used, least) = (figure(&database, "file_used"), figure(&other, "file_used"));
    assert!(used < least / 4 * 5 + (64 << 10), "{used} bytes in use, where a new database takes {least}");
}

#[test]
fn it_ends_where_it_is_told_to_and_what_is_done_stays() {
    let database = open(&MemoryDisk::new(), &options());
    let model = fill(&database, KEYS, 4);
    database.tune(None, &[setting("leaf_bytes", 64 << 10)]).expect("a setting");
    let (mut steps, mut all) = (0, 0);
    let stopped = database.reshape(DEFAULT_FAMILY, &mut |looked_at, there_were| {
        assert!(looked_at <= there_were);
        all = there_were;
        steps += 1;
        steps < 3
    });
    assert!(matches!(stopped, Err(Error::Interrupted)));
    assert!(counter(&database, "merges") >= 1 && all > 20);
    assert!(content(&database, &database.default_family()) == model);
    assert_sound(&database);
    assert!(matches!(database.reshape("none", &mut |_, _| true), Err(Error::NoSuchFamily(_))));
}

/// Writers, scans, snapshots, checkpoints and evictions, while leaves grow and shrink.
#[test]
fn everything_goes_on_meanwhile() {
    let mut options = tiny(Durability::Async);
    options.settings.retain(|(name, _)| name != "leaf_bytes");
    options.settings.push(setting("memory_bytes", 1 << 20));
    let disk = MemoryDisk::new();
    let database = open(&disk, &options);
    fill(&database, KEYS / 2, 5);
    let over = AtomicBool::new(false);
    let (rounds, reshaped) = (scaled(30).max(4), AtomicBool::new(false));
    let goes_on = || !over.load(Ordering::Relaxed);
    let counted = thread::scope(|scope| {
        let writers: Vec<_> = (0..2u64)
            .map(|writer| {
                let (database, goes_on) = (&database, &goes_on);
                scope.spawn(move || {
                    let (family, mut random, mut model) = (database.default_family(), Random(writer + 9), Model::new());
                    while goes_on() {
                        let key = [key(random.below(KEYS)), vec![b'w', writer as u8]].concat();
                        let longest = if random.one_in(40) { 2_000 } else { 100 };
                        let value = noise(random.below(longest), random.next());
                        if random.one_in(4) {
                            family.delete(&key).expect("a deletion");
                            model.remove(&key);
                        } else {
                            family.put(&key, &value, None).expect("a put");
                            model.insert(key, value);
                        }
                    }
                    model
                })
            })
            .collect();
        let reader = scope.spawn(|| {
            let (family, mut looks) = (database.default_family(), 0u64);
            while goes_on() {
                let snapshot = database.snapshot().expect("a snapshot");
                let first = content_at(&snapshot, &family);
                assert!(content_at(&snapshot, &family) == first, "a snapshot stays as it is");
                looks += 1;
            }
            looks
        });
        let keeper = scope.spawn(|| {
            while goes_on() {
                database.checkpoint().expect("a checkpoint");
                database.drive_out(64 << 10).expect("it drives out");
            }
        });
        for round in 0..rounds {
            let built = reshape(&database, [1 << 10, 64 << 10, 8 << 10][round as usize % 3]);
            reshaped.fetch_or(built > 0, Ordering::Relaxed);
        }
        over.store(true, Ordering::Relaxed);
        keeper.join().expect("the keeper");
        assert!(reader.join().expect("the reader") > 0);
        writers.into_iter().map(|writer| writer.join().expect("a writer")).collect::<Vec<_>>()
    });
    assert!(reshaped.load(Ordering::Relaxed));
    let there_is = content(&database, &database.default_family());
    for (writer, model) in counted.iter().enumerate() {
        let ends = vec![b'w', writer as u8];
        let mine: Model =
            there_is.iter().filter(|(key, _)| key.ends_with(&ends)).map(|(k, v)| (k.clone(), v.clone())).collect();
        assert!(&mine == model, "what writer {writer} wrote");
    }
    assert_sound(&database);
    database.sync().expect("it is synced");
    let killed = open(&disk.image(), &options);
    assert!(content(&killed, &killed.default_family()) == there_is, "after a kill");
    assert_sound(&killed);
}
