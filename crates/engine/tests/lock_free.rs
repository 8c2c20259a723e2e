//! What lock-free means here: every reader finishes, and sees whole commits only, while the writer is stopped for as long
//! as it takes at any point of a commit, a consolidation, a split, a merge, an eviction or a checkpoint.
//!
//! The points are in builds with debug assertions, and with the feature `pause-points`.
#![cfg(any(debug_assertions, feature = "pause-points"))]

mod common;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::Duration;

use common::{
    Model, Random, assert_sound, figure, get, multi_get, narrow_tiers, open, reads_without_image, rows_of, setting,
    tiny,
};
use lyredb_engine::disk::MemoryDisk;
use lyredb_engine::pause::{Point, hook};
use lyredb_engine::{Batch, Database, Durability, Error, Family, Range, Snapshot};

const RECORDS: u64 = 9_000;
/// Less than what the writer writes, so that some is dropped from memory.
const MEMORY_BYTES: u64 = 1 << 20;
const READERS: usize = 4;
/// Far more than reading all takes; whoever needs longer waits for the writer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Point reads that were answered from excerpts, and from leaves as they are stored, wherever the writer stopped.
static READS: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

type Operation = (usize, Vec<u8>, Option<Vec<u8>>);

/// What the writer commits, in order; a commit is entered before it begins.
#[derive(Default)]
struct History {
    commits: Mutex<Vec<Vec<Operation>>>,
}

impl History {
    /// The content before the last commit, and with it.
    fn last_two(&self) -> [[Model; 2]; 2] {
        let commits = self.commits.lock().expect("no panic");
        let mut models = [Model::new(), Model::new()];
        let apply = |models: &mut [Model; 2], commit: &Vec<Operation>| {
            for (family, key, value) in commit {
                match value {
                    Some(value) => drop(models[*family].insert(key.clone(), value.clone())),
                    None => drop(models[*family].remove(key)),
                }
            }
        };
        let Some((last, earlier)) = commits.split_last() else { return [models.clone(), models] };
        earlier.iter().for_each(|commit| apply(&mut models, commit));
        let before = models.clone();
        apply(&mut models, last);
        [before, models]
    }
}

struct Fixture {
    database: Database,
    families: [Family; 2],
    history: History,
}

fn key(number: u64) -> Vec<u8> {
    format!("key/{number:08}").into_bytes()
}

fn value(seed: u64) -> Vec<u8> {
    // Some long enough to stand outside the leaves.
    vec![seed as u8; if seed.is_multiple_of(64) { 1500 } else { 140 + seed as usize % 60 }]
}

impl Fixture {
    fn new(durability: Durability) -> Fixture {
        let database = open(&MemoryDisk::new(), &tiny(durability));
        let mut settings = narrow_tiers(MEMORY_BYTES / 2);
        settings.push(setting("memory_bytes", MEMORY_BYTES));
        database.configure(None, &settings).expect("settings");
        let second = database.create_family("second", &common::tiny_settings()).expect("a family");
        Fixture { families: [database.default_family(), second], database, history: History::default() }
    }

    fn enter(&self, commit: Vec<Operation>) {
        self.history.commits.lock().expect("no panic").push(commit);
    }

    fn batch(&self, operations: Vec<Operation>) -> Result<(), Error> {
        let mut batch = Batch::default();
        for (family, key, value) in &operations {
            match value {
                Some(value) => batch.put(&self.families[*family], key, value, None)?,
                None => batch.delete(&self.families[*family], key)?,
            }
        }
        self.enter(operations);
        self.database.write(batch)
    }

    /// Everything that a writer does: grows both trees to three levels, changes them, and takes nearly all away.
    fn work(&self, wait_for_eviction: bool) -> Result<(), Error> {
        let mut random = Random(1);
        for start in (0..RECORDS).step_by(100) {
            let record = |number| ((number % 2) as usize, key(number * 7919 % RECORDS), Some(value(number)));
            self.batch((start..start + 100).map(record).collect())?;
        }
        self.database.checkpoint()?;
        for round in 0..800 {
            let (family, key) = (random.below(2) as usize, key(random.below(RECORDS)));
            if round % 3 == 0 {
                self.enter(vec![(family, key.clone(), None)]);
                self.families[family].delete(&key)?;
            } else {
                let value = value(random.below(1000));
                self.enter(vec![(family, key.clone(), Some(value.clone()))]);
                self.families[family].put(&key, &value, None)?;
            }
        }
        self.database.checkpoint()?;
        if wait_for_eviction {
            while figure(&self.database, "memory_used") > MEMORY_BYTES {
                thread::sleep(Duration::from_millis(5));
            }
        }
        let most: Vec<u64> = (0..RECORDS).filter(|number| number % 500 > 1).collect();
        for some in most.chunks(40) {
            let both = |&number: &u64| (0..2).map(move |family| (family, key(number), None));
            self.batch(some.iter().flat_map(both).collect())?;
        }
        // A leaf gets rid of what was deleted, and merges, when it is next changed.
        for number in (0..8).flat_map(|pass| (pass..RECORDS).step_by(8)).filter(|number| number % 500 > 1) {
            for family in 0..2 {
                self.batch(vec![(family, key(number), Some(vec![1]))])?;
                self.batch(vec![(family, key(number), None)])?;
            }
        }
        self.database.checkpoint()
    }
}

/// Reads everything in every way; the content it saw must be one of the `allowed`.
fn read_all(database: &Database, families: &[Family; 2], allowed: &[[Model; 2]; 2], seed: u64) {
    let mut random = Random(seed);
    let snapshot = database.snapshot().expect("a snapshot");
    let read = |key: Vec<u8>| [0, 1].map(|family: usize| (key.clone(), get_at(&snapshot, &families[family], &key)));
    // Neighbours, twice, before the scans make images of their leaves.
    let first = random.below(RECORDS);
    let read: Vec<_> = (0..2).flat_map(|_| first..first + 100).map(|number| read(key(number))).collect();
    let seen = content(&snapshot, families);
    for (family, (key, value)) in read.iter().flat_map(|both| both.iter().enumerate()) {
        assert_eq!(value.as_ref(), seen[family].get(key), "a point read saw something else than a scan");
    }
    assert!(allowed.contains(&seen), "half a commit was seen");
    // The writer stands still, so that the newest content stays the same.
    for (family, model) in families.iter().zip(&seen) {
        for _ in 0..200 {
            let key = key(random.below(RECORDS));
            assert_eq!(get(family, &key).as_ref(), model.get(&key));
        }
        let keys: Vec<Vec<u8>> = (0..100).map(|_| key(random.below(RECORDS))).collect();
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let expected: Vec<Option<Vec<u8>>> = keys.iter().map(|key| model.get(*key).cloned()).collect();
        assert_eq!(multi_get(&snapshot, family, &keys), expected);
        let backwards = rows_of(&snapshot, family, Range::default(), true, 97);
        assert!(backwards.into_iter().rev().eq(model.clone()), "backwards is not forwards");
        let count = snapshot.count(family, &Range::default(), &mut |_, _| true).expect("a count");
        assert_eq!(count, model.len() as u64);
    }
}

fn get_at(snapshot: &Snapshot, family: &Family, key: &[u8]) -> Option<Vec<u8>> {
    snapshot.get(family, key, |value| value.to_vec()).expect("a read")
}

fn content(snapshot: &Snapshot, families: &[Family; 2]) -> [Model; 2] {
    [common::content_at(snapshot, &families[0]), common::content_at(snapshot, &families[1])]
}

/// Stops the thread that comes to `wanted` for the `nth` time, until the gate is dropped.
fn stop_at(wanted: Point, nth: usize, stopped: Sender<ThreadId>, gate: Receiver<()>) {
    let (times, gate) = (AtomicUsize::new(0), Mutex::new(gate));
    hook::install(Some(Arc::new(move |point| {
        if point == wanted && times.fetch_add(1, Ordering::Relaxed) + 1 == nth {
            stopped.send(thread::current().id()).expect("the test waits for it");
            // An error is what ends it: nobody ever sends.
            let _ = gate.lock().expect("no panic").recv();
        }
    })));
}

/// Whether the point was reached that often.
fn readers_finish(wanted: Point, nth: usize, durability: Durability) -> bool {
    let fixture = Arc::new(Fixture::new(durability));
    let (stopped, stops) = channel();
    let (gate, closed) = channel();
    stop_at(wanted, nth, stopped.clone(), closed);
    let worker = {
        let fixture = Arc::clone(&fixture);
        thread::spawn(move || {
            fixture.work(matches!(wanted, Point::EvictionLocked | Point::LeafEvicted)).map(|()| drop(stopped))
        })
    };
    let reached = loop {
        match stops.recv_timeout(Duration::from_millis(20)) {
            Ok(thread) => break Some(thread),
            Err(_) if worker.is_finished() => break stops.try_recv().ok(),
            Err(_) => {}
        }
    };
    if let Some(thread) = reached {
        if thread != worker.thread().id() {
            settle(&worker, &fixture);
        }
        let allowed = Arc::new(fixture.history.last_two());
        let (finished, ends) = channel();
        for reader in 0..READERS {
            let (fixture, allowed, finished) = (Arc::clone(&fixture), Arc::clone(&allowed), finished.clone());
            thread::spawn(move || {
                read_all(&fixture.database, &fixture.families, &allowed, reader as u64);
                finished.send(()).expect("the test waits for it");
            });
        }
        drop(finished);
        for _ in 0..READERS {
            ends.recv_timeout(PATIENCE)
                .unwrap_or_else(|error| panic!("a reader failed or waits at {wanted:?}: {error}"));
        }
    }
    hook::install(None);
    drop(gate);
    worker.join().expect("no panic").expect("the writer goes on unharmed");
    assert_sound(&fixture.database);
    let snapshot = fixture.database.snapshot().expect("a snapshot");
    assert!(fixture.history.last_two()[1] == content(&snapshot, &fixture.families), "something was lost");
    for (sum, count) in READS.iter().zip(reads_without_image(&fixture.database)) {
        sum.fetch_add(count, Ordering::Relaxed);
    }
    reached.is_some()
}

/// Where the maintenance thread was stopped, the writer goes on: waits until it comes up against that or has finished.
fn settle<T>(worker: &JoinHandle<T>, fixture: &Fixture) {
    let length = || fixture.history.commits.lock().expect("no panic").len();
    let mut before = usize::MAX;
    while before != length() && !worker.is_finished() {
        before = length();
        thread::sleep(Duration::from_millis(100));
    }
}

/// Where this writer does not come to.
const ELSEWHERE: [Point; 3] = [Point::CatalogueLocked, Point::CloseWritten, Point::ReadStarted];

#[test]
fn readers_finish_wherever_the_writer_stops() {
    for &point in Point::ALL.iter().filter(|point| !ELSEWHERE.contains(point)) {
        assert!(readers_finish(point, 1, Durability::Group), "{point:?} was never reached");
        for (nth, durability) in [(3, Durability::Sync), (300, Durability::Async)] {
            if !readers_finish(point, nth, durability) {
                break;
            }
        }
    }
    let reads = READS.each_ref().map(|count| count.load(Ordering::Relaxed));
    assert!(reads.iter().all(|&count| count > 100), "leaves were hardly read in all forms: {reads:?}");
}
