//! Any tunable, at any time: whatever is set while threads read and write, and whatever a database is opened with, each
//! answer is the one it would have been.

mod common;

#[path = "common/workload.rs"]
mod workload;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::{
    Random, assert_sound, figure, multi_get, noise, open, reads_without_image, rows_of, scaled, tally, tiny_settings,
};
use lyredb_engine::disk::MemoryDisk;
use lyredb_engine::tunables::{Kind, REGISTRY, Scope, Tunable, Value};
use lyredb_engine::{Batch, Clock, DEFAULT_FAMILY, Database, Durability, Family, Options, Range, Snapshot};
use workload::{Content, START_MS, Step};

const FAMILIES: [&str; 3] = [DEFAULT_FAMILY, "one", "two"];
/// More than the smallest budget of memory, and never changed.
const STANDING: &str = "standing";
const STANDING_RECORDS: u64 = 500;
const THREADS: usize = 3;
/// Of each kind of durability.
const CHANGES: u64 = 3_400;
/// Fewer do not come round to all values of all tunables.
const LEAST_OPENINGS: u64 = 40;
/// Between two openings.
const CHANGES_OF_ONE_OPENING: u64 = 60;

/// The values that a tunable is given: its edges, its default, and others.
fn values(tunable: &Tunable, random: &mut Random) -> Vec<Value> {
    match tunable.kind {
        Kind::Choice(names) => names.iter().map(|&name| Value::Text(name.into())).collect(),
        Kind::Integer { low, high } => {
            // As many small ones as large ones.
            let bits = 64 - ((high - low) as u64).leading_zeros();
            let any = low + (random.next() & ((1 << random.below(u64::from(bits) + 1)) - 1)) as i64;
            vec![Value::Integer(low), Value::Integer(high), tunable.default_value(), Value::Integer(any.min(high))]
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    SetForDatabase,
    SetForFamily,
    ResetForDatabase,
    ResetForFamily,
    GivenToOpen,
}

/// What was varied: tunable, way, and which of its values.
type Varied = BTreeSet<(&'static str, Way, usize)>;

/// Chooses changes, in turn, so that none is left out.
struct Tuner {
    random: Random,
    turn: usize,
    varied: Varied,
}

impl Tuner {
    fn value(&mut self, tunable: &'static Tunable, way: Way) -> (String, Value) {
        let values = values(tunable, &mut self.random);
        let before = (0..values.len()).find(|&index| !self.varied.contains(&(tunable.name, way, index)));
        let index = before.unwrap_or_else(|| self.random.below(values.len() as u64) as usize);
        self.varied.insert((tunable.name, way, index));
        (tunable.name.into(), values[index].clone())
    }

    /// A change of one tunable, or of a few.
    fn change(&mut self) -> Step {
        self.turn += 1;
        let reset = self.turn.is_multiple_of(4);
        let tunable = &REGISTRY[self.turn / 8 % REGISTRY.len()];
        let family = (tunable.scope == Scope::Family && self.turn.is_multiple_of(2))
            .then(|| FAMILIES[self.random.below(3) as usize].to_string());
        let mut tunables = vec![tunable];
        if self.random.one_in(4) {
            let others = REGISTRY
                .iter()
                .filter(|other| other.name != tunable.name && (family.is_none() || other.scope == Scope::Family));
            let others: Vec<_> = others.collect();
            tunables.push(others[self.random.below(others.len() as u64) as usize]);
        }
        if reset || self.turn % 8 == 3 {
            let way = if family.is_some() { Way::ResetForFamily } else { Way::ResetForDatabase };
            self.varied.extend(tunables.iter().map(|tunable| (tunable.name, way, 0)));
            return Step::Reset(family, tunables.iter().map(|tunable| tunable.name.to_string()).collect());
        }
        let way = if family.is_some() { Way::SetForFamily } else { Way::SetForDatabase };
        Step::Configure(family, tunables.into_iter().map(|tunable| self.value(tunable, way)).collect())
    }

    fn given(&mut self) -> Vec<(String, Value)> {
        let some: Vec<_> = REGISTRY.iter().filter(|_| self.random.one_in(2)).collect();
        some.into_iter().map(|tunable| self.value(tunable, Way::GivenToOpen)).collect()
    }

    fn assert_all_varied(&self) {
        for tunable in REGISTRY {
            let count = values(tunable, &mut Random(0)).len();
            let mut ways = vec![(Way::SetForDatabase, count), (Way::ResetForDatabase, 1), (Way::GivenToOpen, count)];
            if tunable.scope == Scope::Family {
                ways.extend([(Way::SetForFamily, count), (Way::ResetForFamily, 1)]);
            }
            for (way, count) in ways {
                let done = (0..count).filter(|&index| self.varied.contains(&(tunable.name, way, index))).count();
                assert_eq!(done, count, "{} was not varied in all ways: {way:?}", tunable.name);
            }
        }
    }
}

/// A value and when it expires; 0 for never.
type Records = BTreeMap<Vec<u8>, (Vec<u8>, u64)>;

struct Families {
    changed: [Family; 3],
    standing: Family,
}

impl Families {
    fn of(database: &Database) -> Families {
        let family = |name: &str| database.family(name).expect("open").expect("it is there");
        Families { changed: FAMILIES.map(family), standing: family(STANDING) }
    }
}

/// A thread's keys, which no other thread changes, in each family.
struct Worker {
    prefix: u8,
    random: Random,
    records: [Records; 3],
}

/// What was seen at an earlier moment has to be seen again.
struct Earlier {
    snapshot: Snapshot,
    records: [Records; 3],
}

impl Worker {
    fn new(prefix: u8, seed: u64) -> Worker {
        Worker { prefix, random: Random(seed ^ u64::from(prefix)), records: Default::default() }
    }

    fn key(&mut self) -> Vec<u8> {
        vec![self.prefix, 0, self.random.below(60) as u8]
    }

    /// Of all lengths at which something changes.
    fn value(&mut self) -> Vec<u8> {
        let random = &mut self.random;
        let length = match random.below(40) {
            0..20 => random.below(120),
            20..30 => 250 + random.below(12),
            30..36 => 1000 + random.below(4000),
            36..39 => 4090 + random.below(12),
            _ if random.one_in(40) => (1 << 20) - 2 + random.below(4),
            _ => 8000 + random.below(30_000),
        };
        if random.one_in(2) {
            noise(length.min(40_000), random.next())
        } else {
            vec![random.next() as u8; length as usize]
        }
    }

    /// Some changes, and the same in the model.
    fn change(&mut self, database: &Database, families: &Families, clock: &AtomicU64) {
        let at = self.random.below(3) as usize;
        let family = &families.changed[at];
        match self.random.below(12) {
            0..5 => {
                let (key, value) = (self.key(), self.value());
                let ttl_ms = if self.random.one_in(4) { 1 + self.random.below(3000) } else { 0 };
                loop {
                    let now = clock.load(Ordering::SeqCst);
                    family.put(&key, &value, (ttl_ms > 0).then(|| Duration::from_millis(ttl_ms))).expect("a put");
                    // When it expires is known only if the clock stood still.
                    if ttl_ms == 0 || now == clock.load(Ordering::SeqCst) {
                        self.records[at].insert(key, (value, if ttl_ms > 0 { now + ttl_ms } else { 0 }));
                        return;
                    }
                }
            }
            5..7 => {
                let key = self.key();
                family.delete(&key).expect("a delete");
                self.records[at].remove(&key);
            }
            7 => {
                let (one, other) = (self.key(), self.key());
                let (start, stop) = (one.clone().min(other.clone()), one.max(other));
                family.delete_range(Some(&start), Some(&stop)).expect("a delete");
                self.records[at].retain(|key, _| *key < start || *key >= stop);
            }
            kind => {
                let count = 1 + self.random.below(20);
                let writes: Vec<_> = (0..count)
                    .map(|_| {
                        let at = self.random.below(3) as usize;
                        let deletes = self.random.one_in(4);
                        (at, self.key(), (!deletes).then(|| self.value()))
                    })
                    .collect();
                if kind < 10 {
                    let mut batch = Batch::default();
                    for (at, key, value) in &writes {
                        match value {
                            Some(value) => batch.put(&families.changed[*at], key, value, None).expect("a put"),
                            None => batch.delete(&families.changed[*at], key).expect("a delete"),
                        }
                    }
                    database.write(batch).expect("a batch");
                } else {
                    let mut transaction = database.begin(kind == 11, None).expect("a transaction");
                    for (at, key, value) in &writes {
                        match value {
                            Some(value) => transaction.put(&families.changed[*at], key, value, None).expect("a put"),
                            None => transaction.delete(&families.changed[*at], key).map(drop).expect("a delete"),
                        }
                    }
                    transaction.commit().expect("nobody else changes these keys");
                }
                for (at, key, value) in writes {
                    match value {
                        Some(value) => drop(self.records[at].insert(key, (value, 0))),
                        None => drop(self.records[at].remove(&key)),
                    }
                }
            }
        }
    }

    /// All of this thread's keys are as the model says, whichever way they are read.
    fn compare(&mut self, snapshot: &Snapshot, families: &Families, records: &[Records; 3], clock: &AtomicU64) {
        let at = self.random.below(3) as usize;
        let family = &families.changed[at];
        let range = Range::prefix(&[self.prefix]);
        loop {
            let now = clock.load(Ordering::SeqCst);
            let reverse = self.random.one_in(3);
            let mut rows = rows_of(snapshot, family, range.clone(), reverse, 1 + self.random.below(100) as usize);
            if reverse {
                rows.reverse();
            }
            let live = |(_, expiry): &(Vec<u8>, u64)| *expiry == 0 || *expiry > now;
            let key = self.key();
            let found = multi_get(snapshot, family, &[&key]).pop().expect("one for each key");
            let standing = self.random.below(STANDING_RECORDS);
            if now != clock.load(Ordering::SeqCst) {
                continue;
            }
            let expected: Vec<_> = records[at].iter().filter(|(_, record)| live(record)).collect();
            let same = rows.len() == expected.len()
                && rows.iter().zip(&expected).all(|(row, (key, (value, _)))| row.0 == **key && row.1 == *value);
            assert!(same, "thread {} sees something else in {}", self.prefix, FAMILIES[at]);
            assert!(
                found.as_ref() == records[at].get(&key).filter(|record| live(record)).map(|(value, _)| value),
                "thread {} gets something else in {}",
                self.prefix,
                FAMILIES[at]
            );
            return self.check_standing(snapshot, &families.standing, standing);
        }
    }

    fn check_standing(&self, snapshot: &Snapshot, family: &Family, number: u64) {
        // A leaf that is on disk at first may be kept in another form.
        for _ in 0..2 {
            let found = snapshot.get(family, &number.to_be_bytes(), |value| value.to_vec()).expect("a read");
            assert!(found == Some(noise(3000, number)), "a record that nobody changed has changed");
        }
    }

    /// Until there are no more changes, notes after which change all was compared.
    fn work(&mut self, database: &Database, pace: &Pace) {
        let families = Families::of(database);
        let compared = &pace.compared[usize::from(self.prefix)];
        let mut earlier: Option<Earlier> = None;
        while !pace.stop.load(Ordering::SeqCst) {
            let change = pace.changes.load(Ordering::SeqCst);
            if compared.load(Ordering::SeqCst) == change {
                // So that the next change comes amid writes.
                if self.random.one_in(4) {
                    self.change(database, &families, &pace.clock);
                }
                std::thread::yield_now();
                continue;
            }
            (0..1 + self.random.below(3)).for_each(|_| self.change(database, &families, &pace.clock));
            let snapshot = database.snapshot().expect("a snapshot");
            let records = std::mem::take(&mut self.records);
            self.compare(&snapshot, &families, &records, &pace.clock);
            if let Some(earlier) = &earlier {
                self.compare(&earlier.snapshot, &families, &earlier.records, &pace.clock);
            }
            if self.random.one_in(8) {
                earlier = self.random.one_in(2).then(|| Earlier { snapshot, records: records.clone() });
            }
            self.records = records;
            compared.store(change, Ordering::SeqCst);
        }
    }
}

/// How far the changes have come, and the threads with comparing.
#[derive(Default)]
struct Pace {
    clock: Arc<AtomicU64>,
    changes: AtomicU64,
    compared: [AtomicU64; THREADS],
    stop: AtomicBool,
}

impl Pace {
    /// Until all threads have compared what they read after the last change.
    fn wait(&self, is_alive: impl Fn() -> bool) {
        let last = self.changes.load(Ordering::SeqCst);
        while self.compared.iter().any(|compared| compared.load(Ordering::SeqCst) < last) && is_alive() {
            std::thread::yield_now();
        }
    }
}

/// The values in force are those that were chosen, and the memory's is in use.
fn check_settings(database: &Database, content: &Content) {
    for (family, expected) in content.at(START_MS).settings {
        assert_eq!(database.settings(family.as_deref()).expect("settings"), expected, "{family:?}");
        if let Some((.., Value::Integer(bytes), _)) = expected.iter().find(|(name, ..)| *name == "memory_bytes") {
            assert_eq!(figure(database, "memory_budget"), *bytes as u64);
        }
    }
}

/// Changes while threads write, read and compare, through many openings; how many.
fn tune(durability: Durability, seed: u64) -> u64 {
    let mut tuner = Tuner { random: Random(seed), turn: 0, varied: Varied::new() };
    let mut workers: Vec<Worker> = (0..THREADS).map(|prefix| Worker::new(prefix as u8, seed)).collect();
    let pace = Pace { clock: Arc::new(AtomicU64::new(START_MS)), ..Pace::default() };
    let mut content = Content::new();
    let mut disk = MemoryDisk::new();
    let mut pairs = 0;
    let mut reads = [0; 2];
    for opening in 0..scaled(CHANGES).div_ceil(CHANGES_OF_ONE_OPENING).max(LEAST_OPENINGS) {
        let given = if opening == 0 { Vec::new() } else { tuner.given() };
        content.reopen(&given);
        let settings = tiny_settings().into_iter().chain(given).collect();
        let options =
            Options { durability, settings, clock: Clock::Manual(Arc::clone(&pace.clock)), ..Options::default() };
        let database = open(&disk, &options);
        if opening == 0 {
            make_families(&database, &mut content);
        }
        check_settings(&database, &content);
        let families = Families::of(&database);
        let snapshot = database.snapshot().expect("a snapshot");
        for worker in &mut workers {
            let records = worker.records.clone();
            (0..6).for_each(|_| worker.compare(&snapshot, &families, &records, &pace.clock));
        }
        pairs += u64::from(opening > 0);
        drop((snapshot, families));
        pace.stop.store(false, Ordering::SeqCst);
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                workers.iter_mut().map(|worker| scope.spawn(|| worker.work(&database, &pace))).collect();
            for _ in 0..CHANGES_OF_ONE_OPENING {
                let change = tuner.change();
                change.run(&database).unwrap_or_else(|error| panic!("{change:?} is refused: {error}"));
                change.apply(&mut content, START_MS);
                check_settings(&database, &content);
                pace.changes.fetch_add(1, Ordering::SeqCst);
                match tuner.random.below(60) {
                    0..6 => drop(pace.clock.fetch_add(tuner.random.below(800), Ordering::SeqCst)),
                    6..9 => database.checkpoint().expect("a checkpoint"),
                    9 => database.compact(&mut |_, _| true).expect("a compaction"),
                    10 => database.sync().expect("a sync"),
                    _ => {}
                }
                pace.wait(|| threads.iter().all(|thread| !thread.is_finished()));
                pairs += 1;
            }
            pace.stop.store(true, Ordering::SeqCst);
        });
        assert_sound(&database);
        let these = reads_without_image(&database);
        reads = [0, 1].map(|from| reads[from] + these[from]);
        if opening % 2 == 0 {
            database.close().expect("closes");
        } else {
            database.sync().expect("a sync");
            disk = disk.image();
        }
    }
    tuner.assert_all_varied();
    assert!(reads.iter().all(|&count| count > 10), "leaves were hardly read in all forms: {reads:?}");
    pairs
}

fn make_families(database: &Database, content: &mut Content) {
    for name in FAMILIES.into_iter().filter(|name| *name != DEFAULT_FAMILY).chain([STANDING]) {
        let create = Step::Create(name.into());
        create.run(database).expect("a family");
        create.apply(content, START_MS);
    }
    let standing = database.family(STANDING).expect("open").expect("it is there");
    for number in 0..STANDING_RECORDS {
        standing.put(&number.to_be_bytes(), &noise(3000, number), None).expect("a put");
    }
}

#[test]
fn settings_change_under_load_with_sync() {
    tally("pairs of settings", tune(Durability::Sync, 1));
}

#[test]
fn settings_change_under_load_with_group() {
    tally("pairs of settings", tune(Durability::Group, 2));
}

#[test]
fn settings_change_under_load_with_async() {
    tally("pairs of settings", tune(Durability::Async, 3));
}
