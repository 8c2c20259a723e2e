//! Threads at work together: what readers see beside writers, what transactions promise, what closing does.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Model, Random, assert_sound, content, get, multi_get, open, rows_of, setting, tiny};
use lyredb_engine::disk::MemoryDisk;
use lyredb_engine::{Batch, Columns, Database, Durability, Error, Family, Fetched, Range, Rows, Transaction};

const FAMILIES: usize = 3;

/// How long the tests without an end of their own go on.
fn duration() -> Duration {
    Duration::from_millis(common::scaled(1200))
}

fn number_of(value: &[u8]) -> u64 {
    u64::from_le_bytes(value[..8].try_into().expect("numbers have eight bytes"))
}

fn number(family: &Family, key: &[u8]) -> u64 {
    family.get(key, number_of).expect("a read").unwrap_or(0)
}

/// Runs `change` in transactions until one commits.
fn retry(database: &Database, serializable: bool, change: impl Fn(&mut Transaction) -> Result<(), Error>) {
    loop {
        let mut transaction = database.begin(serializable, None).expect("a transaction");
        match change(&mut transaction).and_then(|()| transaction.commit()) {
            Ok(()) => return,
            Err(Error::Conflict { .. }) => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Keys that every commit of one writer gives the same number, far apart in every family.
fn markers(writer: usize) -> Vec<(usize, Vec<u8>)> {
    let place = |index: usize| (index % FAMILIES, format!("{:03}/marker {writer}", index * 83).into_bytes());
    (0..12).map(place).collect()
}

struct Stage {
    database: Database,
    families: Vec<Family>,
    over: AtomicBool,
}

impl Stage {
    fn new(durability: Durability) -> Stage {
        let database = open(&MemoryDisk::new(), &tiny(durability));
        let mut settings = vec![setting("memory_bytes", 1 << 20), setting("checkpoint_log_bytes", 1 << 20)];
        settings.extend(common::tiny_settings());
        settings.extend(common::narrow_tiers(128 << 10));
        database.configure(None, &settings).expect("settings");
        let families = (0..FAMILIES)
            .map(|index| database.create_family(&format!("family {index}"), &[]).expect("a family"))
            .collect();
        Stage { database, families, over: AtomicBool::new(false) }
    }

    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    /// Numbers its commits, and makes leaves split and merge around its markers.
    fn write(&self, writer: usize) -> u64 {
        let mut random = Random(writer as u64);
        let markers = markers(writer);
        let mut commit = 0u64;
        while self.goes_on() {
            commit += 1;
            let mut batch = Batch::default();
            for (family, key) in &markers {
                // Now and then long enough to stand outside the leaf.
                let mut value = commit.to_le_bytes().to_vec();
                value.resize(if commit.is_multiple_of(32) { 600 } else { 8 + commit as usize % 50 }, 1);
                batch.put(&self.families[*family], key, &value, None).expect("room");
            }
            let low = random.below(900);
            let family = &self.families[random.below(FAMILIES as u64) as usize];
            for index in low..low + 30 {
                let key = format!("{index:03}/{writer}/{}", random.below(8)).into_bytes();
                match commit / 64 % 2 {
                    0 => batch.put(family, &key, &[3; 90], None).expect("room"),
                    _ => batch.delete(family, &key).expect("room"),
                }
            }
            self.database.write(batch).expect("a commit");
        }
        commit
    }

    /// Looks at one writer's markers in every way there is.
    fn read(&self, writer: usize, seed: u64) -> u64 {
        let mut random = Random(seed);
        let markers = markers(writer);
        let (mut newest, mut rounds) = (0, 0);
        while self.goes_on() {
            rounds += 1;
            // Whatever was seen once, in whichever family, is there from then on.
            for _ in 0..20 {
                let (family, key) = &markers[random.below(12) as usize];
                let now = number(&self.families[*family], key);
                assert!(now >= newest, "a read went back in time from {newest} to {now}");
                newest = now;
            }
            let snapshot = self.database.snapshot().expect("a snapshot");
            let mut seen = Vec::new();
            for (index, family) in self.families.iter().enumerate() {
                let mine: Vec<&[u8]> =
                    markers.iter().filter(|(at, _)| *at == index).map(|(_, key)| key.as_slice()).collect();
                let values = multi_get(&snapshot, family, &mine);
                seen.extend(values.iter().map(|value| value.as_deref().map_or(0, number_of)));
                let reverse = random.one_in(2);
                let mut rows = rows_of(&snapshot, family, Range::default(), reverse, 1 + random.below(90) as usize);
                if reverse {
                    rows.reverse();
                }
                assert!(rows.is_sorted_by(|(a, _), (b, _)| a < b), "a scan is out of order");
                let scanned: Vec<_> = rows.iter().filter(|(key, _)| mine.contains(&key.as_slice())).collect();
                seen.extend(scanned.iter().map(|(_, value)| number_of(value)));
                assert!(scanned.len() == mine.len() || seen[0] == 0, "a scan missed a record");
                let counted = snapshot.count(family, &Range::default(), &mut |_, _| true).expect("a count");
                assert_eq!(counted, rows.len() as u64);
            }
            assert!(seen.iter().all(|&number| number == seen[0]), "half a commit: {seen:?}");
            assert!(seen[0] >= newest, "a snapshot is older than what was read before it");
            newest = seen[0];
        }
        rounds
    }
}

#[test]
fn readers_beside_writers_see_whole_commits() {
    for durability in [Durability::Async, Durability::Group, Durability::Sync] {
        let stage = Stage::new(durability);
        thread::scope(|scope| {
            let writers = [0, 1].map(|writer| {
                let stage = &stage;
                scope.spawn(move || stage.write(writer))
            });
            let readers = [0, 1, 0].map(|writer| {
                let stage = &stage;
                scope.spawn(move || stage.read(writer, 77))
            });
            scope.spawn(|| {
                while stage.goes_on() {
                    stage.database.checkpoint().expect("a checkpoint");
                    thread::sleep(Duration::from_millis(20));
                }
            });
            let end = Instant::now() + duration();
            while Instant::now() < end && !writers.iter().any(|writer| writer.is_finished()) {
                thread::sleep(Duration::from_millis(10));
            }
            stage.over.store(true, Ordering::Relaxed);
            assert!(writers.into_iter().all(|writer| writer.join().expect("a writer") > 20));
            assert!(readers.into_iter().all(|reader| reader.join().expect("a reader") > 2));
        });
        assert_sound(&stage.database);
    }
}

#[test]
fn families_are_written_in_parallel() {
    let disk = MemoryDisk::new();
    let database = open(&disk, &tiny(Durability::Group));
    let families: Vec<Family> =
        (0..4).map(|index| database.create_family(&index.to_string(), &[]).expect("a family")).collect();
    let models: Vec<Model> = thread::scope(|scope| {
        let work = |(seed, family): (usize, &Family)| {
            let mut model = Model::new();
            let mut random = Random(seed as u64);
            for _ in 0..5000 {
                let key = random.below(800).to_be_bytes().to_vec();
                let value = vec![random.next() as u8; random.below(100) as usize];
                if random.one_in(3) {
                    let existed = family.delete(&key).expect("a delete");
                    assert_eq!(existed, model.remove(&key).is_some());
                } else {
                    family.put(&key, &value, None).expect("a put");
                    model.insert(key, value);
                }
            }
            model
        };
        let threads: Vec<_> = families.iter().enumerate().map(|family| scope.spawn(move || work(family))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a writer")).collect()
    });
    for (family, model) in families.iter().zip(&models) {
        assert!(content(&database, family) == *model);
    }
    assert_sound(&database);
    database.close().expect("closes");
    let database = open(&disk, &tiny(Durability::Group));
    for (index, model) in models.iter().enumerate() {
        let family = database.family(&index.to_string()).expect("open").expect("the family is there");
        assert!(content(&database, &family) == *model);
    }
    assert_sound(&database);
}

#[test]
fn increments_with_retry_lose_nothing() {
    const THREADS: u64 = 4;
    const EACH: u64 = 400;
    for (serializable, durability) in
        [(false, Durability::Async), (true, Durability::Group), (false, Durability::Sync), (true, Durability::Sync)]
    {
        let database = open(&MemoryDisk::new(), &tiny(durability));
        let second = database.create_family("second", &[]).expect("a family");
        let families = [database.default_family(), second];
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for turn in 0..EACH {
                        retry(&database, serializable, |transaction| {
                            for family in &families {
                                let before = transaction.get(family, b"count", number_of)?.unwrap_or(0);
                                transaction.put(family, b"count", &(before + 1).to_le_bytes(), None)?;
                            }
                            // Beside it, so that the leaf changes its shape.
                            transaction.put(&families[0], &turn.to_be_bytes(), &[0; 40], None)
                        });
                    }
                });
            }
        });
        for family in &families {
            assert_eq!(number(family, b"count"), THREADS * EACH);
        }
        assert_sound(&database);
    }
}

/// Two doctors on call, each of whom may leave as long as the other stays.
fn both_leave(serializable: bool, by_range: bool) -> (Result<(), Error>, Result<(), Error>) {
    let database = open(&MemoryDisk::new(), &tiny(Durability::Async));
    let family = database.default_family();
    for doctor in [b"alice", b"berta"] {
        family.put(doctor, b"on call", None).expect("a put");
    }
    let [mut first, mut second] = [(); 2].map(|()| database.begin(serializable, None).expect("a transaction"));
    for (transaction, leaver) in [(&mut first, b"alice"), (&mut second, b"berta")] {
        let on_call = if by_range {
            transaction.count(&family, &Range::default()).expect("a count")
        } else {
            let there =
                [b"alice", b"berta"].map(|name| transaction.get(&family, name, |_| ()).expect("a read").is_some());
            there.into_iter().filter(|there| *there).count() as u64
        };
        assert_eq!(on_call, 2);
        transaction.delete(&family, leaver).expect("a delete");
    }
    (first.commit(), second.commit())
}

#[test]
fn serializable_transactions_prevent_write_skew_and_plain_ones_allow_it() {
    for by_range in [false, true] {
        assert!(matches!(both_leave(true, by_range), (Ok(()), Err(Error::Conflict { .. }))));
        assert!(matches!(both_leave(false, by_range), (Ok(()), Ok(()))));
    }
}

#[test]
fn serializable_ranges_see_phantoms() {
    let database = open(&MemoryDisk::new(), &tiny(Durability::Async));
    let family = database.default_family();
    family.put(b"a1", b"", None).expect("a put");
    let prefix = Range::prefix(b"a");
    for (key, conflicts) in [(b"a2", true), (b"b1", false)] {
        let mut transaction = database.begin(true, None).expect("a transaction");
        transaction.count(&family, &prefix).expect("a count");
        transaction.put(&family, b"sum", b"1", None).expect("a put");
        family.put(key, b"", None).expect("a put");
        assert_eq!(matches!(transaction.commit(), Err(Error::Conflict { .. })), conflicts);
    }
    // What was there and is gone is a change too.
    let mut transaction = database.begin(true, None).expect("a transaction");
    transaction.count(&family, &prefix).expect("a count");
    transaction.put(&family, b"sum", b"2", None).expect("a put");
    family.delete(b"a1").expect("a delete");
    for round in 0..100u64 {
        family.put(&[b"a1", &round.to_be_bytes()[..]].concat(), &[0; 60], None).expect("a put");
        family.delete(&[b"a1", &round.to_be_bytes()[..]].concat()).expect("a delete");
    }
    assert!(matches!(transaction.commit(), Err(Error::Conflict { .. })));
}

#[test]
fn a_conflict_is_seen_through_deletion_and_consolidation() {
    let database = open(&MemoryDisk::new(), &tiny(Durability::Async));
    let family = database.default_family();
    for serializable in [false, true] {
        let mut transaction = database.begin(serializable, None).expect("a transaction");
        assert_eq!(transaction.get(&family, b"key", |_| ()).expect("a read"), None);
        transaction.put(&family, b"key", b"mine", None).expect("a put");
        // Born and dead after the snapshot: no reader needs it, the conflict check does.
        family.put(b"key", b"theirs", None).expect("a put");
        family.delete(b"key").expect("a delete");
        for round in 0..300u64 {
            family.put(&round.to_be_bytes(), &[1; 50], None).expect("a put");
        }
        database.checkpoint().expect("a checkpoint");
        assert!(matches!(transaction.commit(), Err(Error::Conflict { .. })), "serializable: {serializable}");
    }
}

/// Point reads of a snapshot say the same each time, whatever form memory has the leaves in.
fn read_one_by_one(database: &Database, family: &Family, over: &AtomicBool) {
    let mut random = Random(99);
    while !over.load(Ordering::Relaxed) {
        let snapshot = database.snapshot().expect("a snapshot");
        let keys: Vec<[u8; 8]> = (0..50).map(|_| random.below(8000).to_be_bytes()).collect();
        let read = || -> Vec<Option<Vec<u8>>> {
            keys.iter().map(|key| snapshot.get(family, key, |value| value.to_vec()).expect("a read")).collect()
        };
        let first = read();
        assert!((0..2).all(|_| read() == first), "a snapshot changed");
    }
}

/// Live, so that leaves have to change their form.
fn divide_memory_anew(database: &Database, over: &AtomicBool) {
    let mut random = Random(98);
    while !over.load(Ordering::Relaxed) {
        let settings = [
            setting("memory_bytes", (1 + random.below(4)) << 20),
            setting("hot_bytes", random.below(3) * (128 << 10)),
            setting("warm_bytes", random.below(3) * (128 << 10)),
            setting("point_cache_bytes", random.below(3) * (64 << 10)),
        ];
        database.configure(None, &settings).expect("settings");
        thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn churn_by_many_threads_leaves_what_they_wrote() {
    const THREADS: u64 = 4;
    let database = open(&MemoryDisk::new(), &tiny(Durability::Async));
    let mut settings = common::narrow_tiers(256 << 10);
    settings.push(setting("memory_bytes", 1 << 20));
    database.configure(None, &settings).expect("settings");
    let family = database.default_family();
    let over = AtomicBool::new(false);
    let models: Vec<Model> = thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (database, family) = (&database, &family);
                scope.spawn(move || {
                    let mut random = Random(thread);
                    let mut model = Model::new();
                    for round in 0..6u64 {
                        // Waves that fill the tree and empty it, so that it grows and shrinks by levels.
                        for _ in 0..2500 {
                            let key = (random.below(2000) * THREADS + thread).to_be_bytes().to_vec();
                            if random.below(10) < if round % 2 == 0 { 2 } else { 9 } {
                                let existed = family.delete(&key).expect("a delete");
                                assert_eq!(existed, model.remove(&key).is_some());
                            } else {
                                let value = vec![thread as u8; random.below(90) as usize];
                                family.put(&key, &value, None).expect("a put");
                                model.insert(key, value);
                            }
                        }
                        if thread == 0 {
                            database.checkpoint().expect("a checkpoint");
                        }
                    }
                    model
                })
            })
            .collect();
        for reverse in [false, true] {
            let (database, family, over) = (&database, &family, &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let snapshot = database.snapshot().expect("a snapshot");
                    let first = rows_of(&snapshot, family, Range::default(), reverse, 13);
                    assert!(first.is_sorted_by(|(a, _), (b, _)| (a < b) != reverse), "a scan is out of order");
                    let again = rows_of(&snapshot, family, Range::default(), reverse, 100);
                    assert!(first == again, "a snapshot changed");
                }
            });
        }
        scope.spawn(|| read_one_by_one(&database, &family, &over));
        scope.spawn(|| divide_memory_anew(&database, &over));
        let models = writers.into_iter().map(|writer| writer.join().expect("a writer")).collect();
        over.store(true, Ordering::Relaxed);
        models
    });
    let all: Model = models.into_iter().flatten().collect();
    // Without anybody else, from what is on disk: each key again at once.
    database.checkpoint().expect("a checkpoint");
    database.configure(None, &common::narrow_tiers(0)).expect("settings");
    (0..4).for_each(|_| database.drive_out(0).expect("it drives out"));
    for (key, value) in all.iter().flat_map(|record| [record; 3]) {
        assert_eq!(common::get(&family, key).as_ref(), Some(value));
    }
    let reads = common::reads_without_image(&database);
    assert!(reads.iter().all(|&count| count > 100), "leaves were hardly read in all forms: {reads:?}");
    assert!(content(&database, &family) == all);
    assert_sound(&database);
}

#[test]
fn an_open_cursor_stays_at_its_snapshot() {
    let database = open(&MemoryDisk::new(), &tiny(Durability::Async));
    let family = database.default_family();
    let expected: Vec<u64> = (0..3000).collect();
    for number in &expected {
        family.put(&number.to_be_bytes(), &[1; 30], None).expect("a put");
    }
    for reverse in [false, true] {
        let snapshot = database.snapshot().expect("a snapshot");
        let mut cursor = snapshot.cursor(&family, Range::default(), reverse).expect("a cursor");
        drop(snapshot);
        let mut rows = Rows::default();
        let mut round = 0u64;
        while cursor.fetch(Columns::Both, 100, usize::MAX / 2, true, &mut rows).expect("rows") != Fetched::Done {
            round += 1;
            // Behind the cursor and before it, records come and go.
            for number in (round..3000).step_by(40) {
                family.delete(&number.to_be_bytes()).expect("a delete");
                family.put(&[&number.to_be_bytes()[..], b"more"].concat(), &[2; 30], None).expect("a put");
            }
        }
        let mut seen: Vec<u64> =
            (0..rows.len()).map(|row| u64::from_be_bytes(rows.key(row).try_into().expect("eight bytes"))).collect();
        if reverse {
            seen.reverse();
        }
        assert_eq!(seen, expected);
        family.delete_range(None, None).expect("a deletion");
        for number in &expected {
            family.put(&number.to_be_bytes(), &[1; 30], None).expect("a put");
        }
    }
}

#[test]
fn closing_is_safe_while_others_read_and_write() {
    for round in 0..20u64 {
        let disk = MemoryDisk::new();
        let database = open(&disk, &tiny(Durability::Group));
        let family = database.default_family();
        for number in 0..2000u64 {
            family.put(&number.to_be_bytes(), &vec![7; 20 + number as usize % 700], None).expect("a put");
        }
        let written = AtomicU64::new(0);
        thread::scope(|scope| {
            for seed in 0..3 {
                let (database, family) = (&database, &family);
                scope.spawn(move || {
                    let mut random = Random(seed);
                    let error = loop {
                        let read = || {
                            family.get(&random.below(2000).to_be_bytes(), |value| assert_eq!(value[0], 7))?;
                            let snapshot = database.snapshot()?;
                            let mut cursor = snapshot.cursor(family, Range::default(), seed == 1)?;
                            let mut rows = Rows::default();
                            while cursor.fetch(Columns::Both, 50, usize::MAX / 2, true, &mut rows)? != Fetched::Done {}
                            assert!(rows.len() >= 2000);
                            Ok(())
                        };
                        let mut read = read;
                        if let Err(error) = read() {
                            break error;
                        }
                    };
                    assert!(matches!(error, Error::Closed), "{error}");
                });
            }
            scope.spawn(|| {
                let error = loop {
                    let next = written.load(Ordering::Relaxed);
                    match family.put(format!("more/{next}").as_bytes(), &[7; 30], None) {
                        Ok(()) => written.store(next + 1, Ordering::Relaxed),
                        Err(error) => break error,
                    }
                };
                assert!(matches!(error, Error::Closed), "{error}");
            });
            thread::sleep(Duration::from_millis(2 * round));
            database.close().expect("closes");
            assert!(matches!(family.get(b"key", |_| ()), Err(Error::Closed)));
            assert!(matches!(family.put(b"key", b"", None), Err(Error::Closed)));
            assert!(matches!(database.snapshot().map(drop), Err(Error::Closed)));
            database.close().expect("closing again does nothing");
        });
        let database = open(&disk, &tiny(Durability::Group));
        let family = database.default_family();
        for number in 0..written.into_inner() {
            assert!(get(&family, format!("more/{number}").as_bytes()).is_some(), "a write before the closing is lost");
        }
        assert_sound(&database);
    }
}

#[test]
fn families_come_and_go_in_parallel_and_come_back_after_a_kill() {
    let disk = MemoryDisk::new();
    let database = open(&disk, &tiny(Durability::Sync));
    thread::scope(|scope| {
        for thread in 0..4 {
            let database = &database;
            scope.spawn(move || {
                for round in 0..60 {
                    let name = format!("{thread}/{round}");
                    let family = database.create_family(&name, &[]).expect("a family");
                    family.put(b"key", name.as_bytes(), None).expect("a put");
                    if round % 3 == 0 {
                        database.drop_family(&name).expect("it is there");
                        assert!(matches!(family.put(b"key", b"", None), Err(Error::NoSuchFamily(_))));
                    } else if round % 3 == 1 {
                        database.rename_family(&name, &format!("{name}, renamed")).expect("it is there");
                    }
                }
            });
        }
    });
    let killed = Arc::new(disk.image());
    let again = common::open_on(killed, &tiny(Durability::Sync));
    assert_eq!(again.families().expect("names"), database.families().expect("names"));
    for name in again.families().expect("names").iter().filter(|name| *name != "default") {
        let family = again.family(name).expect("open").expect("it is listed");
        let first = name.split(',').next().expect("a name");
        assert_eq!(get(&family, b"key").as_deref(), Some(first.as_bytes()));
    }
    assert_sound(&again);
}
