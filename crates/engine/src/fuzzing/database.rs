//! A database and a plain map of maps, told to do the same.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arbitrary::Arbitrary;

use super::{Many, described};
use crate::disk::MemoryDisk;
use crate::tunables::Value as Setting;
use crate::{
    Batch, Clock, Columns, Cursor, DEFAULT_FAMILY, Database, Durability, Error, Family, Fetched, Options, Range, Rows,
    Snapshot,
};

const FAMILIES: [&str; 3] = [DEFAULT_FAMILY, "second", "third"];
const CODECS: [&str; 3] = ["zstd", "lz4", "none"];
const START: u64 = 1_000_000;

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Key {
    /// Of different lengths, with shared prefixes, and some that are prefixes of others.
    Of(u8),
    Short([u8; 2], u8),
    Long(u8, u16),
}

impl Key {
    fn bytes(self) -> Vec<u8> {
        match self {
            Key::Of(number) if number % 2 == 0 => format!("shared/{:03}", number / 2).into_bytes(),
            Key::Of(number) => format!("shared/{:03}/more", number / 4).into_bytes(),
            Key::Short(bytes, length) => bytes[..usize::from(length % 3)].to_vec(),
            Key::Long(byte, length) => vec![byte; usize::from(length) % 4096 + 1],
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Value {
    byte: u8,
    length: u16,
}

impl Value {
    fn bytes(self) -> Vec<u8> {
        // Some are longer than a blob's threshold.
        vec![self.byte; usize::from(self.length) % if self.length > 60_000 { 3000 } else { 70 }]
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Change {
    Put(Key, Value),
    /// With the milliseconds it lives.
    PutFor(Key, Value, u8),
    Delete(Key),
}

#[derive(Arbitrary, Debug)]
struct Work {
    serializable: bool,
    reads: Many<(u8, Key), 8>,
    changes: Many<(u8, Change), 20>,
    /// A savepoint before one of the changes, rolled back to after another.
    savepoint: Option<(u8, u8)>,
    /// Put by somebody else meanwhile.
    meanwhile: Option<(u8, Key)>,
    /// All that it sees, before the end.
    scans: bool,
    commits: bool,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Change(u8, Change),
    DeleteRange(u8, Option<Key>, Option<Key>),
    Batch(Many<(u8, Change), 60>, Option<(u8, Option<Key>, Option<Key>)>),
    /// So many keys in a row, from one of a few places on.
    Fill(u8, u8, u8, Value),
    Transaction(Work),
    Snapshot,
    CompareSnapshot(u8),
    Compare,
    Scan(u8, Option<Key>, Option<Key>, bool, u8),
    Checkpoint,
    Compact,
    Reopen,
    Crash,
    ReadOnly,
    Configure(Option<u8>, u8, u16),
    Reset(Option<u8>, u8),
    Create(u8),
    Drop(u8),
    Tick(u8),
}

/// A value and when it expires; 0 is never.
type Records = BTreeMap<Vec<u8>, (Vec<u8>, u64)>;
type Model = BTreeMap<&'static str, Records>;
type Keys = BTreeSet<(&'static str, Vec<u8>)>;
type Rowset = Vec<(Vec<u8>, Vec<u8>)>;

struct Play {
    disk: MemoryDisk,
    clock: Arc<AtomicU64>,
    database: Database,
    model: Model,
    snapshots: Vec<(Snapshot, Model)>,
}

fn open(disk: &MemoryDisk, clock: &Arc<AtomicU64>, read_only: bool) -> Database {
    let setting = |name: &str, value| (name.to_string(), Setting::Integer(value));
    let options = Options {
        durability: Durability::Sync,
        read_only,
        settings: vec![setting("leaf_bytes", 1024), setting("delta_records", 4), setting("blob_bytes", 512)],
        clock: Clock::Manual(Arc::clone(clock)),
        ..Options::default()
    };
    Database::open_on(Arc::new(disk.clone()), options).expect("opens")
}

fn rows_of(mut cursor: Cursor, limit: usize) -> Rowset {
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

fn live(records: &Records, range: &Range, now: u64) -> Rowset {
    if range.is_empty() {
        return Vec::new();
    }
    let all = records.range::<Vec<u8>, _>((range.start.clone(), range.stop.clone()));
    let live = all.filter(|(_, (_, expiry))| *expiry == 0 || *expiry > now);
    live.map(|(key, (value, _))| (key.clone(), value.clone())).collect()
}

fn half_open(start: Option<Key>, stop: Option<Key>) -> Range {
    Range {
        start: start.map_or(Bound::Unbounded, |key| Bound::Included(key.bytes())),
        stop: stop.map_or(Bound::Unbounded, |key| Bound::Excluded(key.bytes())),
    }
}

fn bounds(range: &Range) -> (Option<&[u8]>, Option<&[u8]>) {
    let bytes = |bound| match bound {
        Bound::Included(key) | Bound::Excluded(key) => Some(key),
        Bound::Unbounded => None,
    };
    (bytes(range.start.as_ref().map(Vec::as_slice)), bytes(range.stop.as_ref().map(Vec::as_slice)))
}

impl Change {
    fn key(self) -> Vec<u8> {
        let (Change::Put(key, _) | Change::PutFor(key, ..) | Change::Delete(key)) = self;
        key.bytes()
    }

    /// Whether the key was there.
    fn apply(self, records: &mut Records, now: u64) -> bool {
        let before = match self {
            Change::Put(key, value) => records.insert(key.bytes(), (value.bytes(), 0)),
            Change::PutFor(key, value, lives) => records.insert(key.bytes(), (value.bytes(), now + u64::from(lives))),
            Change::Delete(key) => records.remove(&key.bytes()),
        };
        before.is_some_and(|(_, expiry)| expiry == 0 || expiry > now)
    }
}

fn lives(milliseconds: u8) -> Option<Duration> {
    Some(Duration::from_millis(milliseconds.into()))
}

impl Play {
    fn new() -> Play {
        let (disk, clock) = (MemoryDisk::new(), Arc::new(AtomicU64::new(START)));
        let database = open(&disk, &clock, false);
        let model = Model::from([(DEFAULT_FAMILY, Records::new())]);
        Play { disk, clock, database, model, snapshots: Vec::new() }
    }

    fn now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    /// One of the families that are there.
    fn name(&self, which: u8) -> &'static str {
        self.model.keys().nth(usize::from(which) % self.model.len()).expect("one of them")
    }

    fn family(&self, name: &str) -> Family {
        self.database.family(name).expect("it is open").expect("it is there")
    }

    fn records(&mut self, name: &str) -> &mut Records {
        self.model.get_mut(name).expect("it is there")
    }

    fn change(&mut self, which: u8, change: Change) {
        let name = self.name(which);
        let (family, now) = (self.family(name), self.now());
        let existed = change.apply(self.records(name), now);
        match change {
            Change::Put(key, value) => family.put(&key.bytes(), &value.bytes(), None).expect("a put"),
            Change::PutFor(key, value, milliseconds) => {
                family.put(&key.bytes(), &value.bytes(), lives(milliseconds)).expect("a put");
            }
            Change::Delete(key) => assert_eq!(family.delete(&key.bytes()).expect("a deletion"), existed),
        }
    }

    fn delete_range(&mut self, which: u8, range: &Range) {
        let name = self.name(which);
        let now = self.now();
        let (start, stop) = bounds(range);
        let removed = self.family(name).delete_range(start, stop).expect("a deletion");
        assert_eq!(removed, live(&self.model[name], range, now).len() as u64);
        self.records(name).retain(|key, _| !range.contains(key));
    }

    fn batch(&mut self, changes: &[(u8, Change)], range: Option<(u8, Range)>) {
        let mut batch = Batch::default();
        let now = self.now();
        if let Some((which, range)) = range {
            let name = self.name(which);
            let (start, stop) = bounds(&range);
            batch.delete_range(&self.family(name), start, stop).expect("room");
            self.records(name).retain(|key, _| !range.contains(key));
        }
        for (which, change) in changes {
            let name = self.name(*which);
            let family = self.family(name);
            change.apply(self.records(name), now);
            let added = match *change {
                Change::Put(key, value) => batch.put(&family, &key.bytes(), &value.bytes(), None),
                Change::PutFor(key, value, milliseconds) => {
                    batch.put(&family, &key.bytes(), &value.bytes(), lives(milliseconds))
                }
                Change::Delete(key) => batch.delete(&family, &key.bytes()),
            };
            added.expect("room");
        }
        self.database.write(batch).expect("a batch");
    }

    fn fill(&mut self, which: u8, place: u8, count: u8, value: Value) {
        let name = self.name(which);
        let family = self.family(name);
        let mut batch = Batch::default();
        for number in 0..count {
            let key = format!("row/{}/{number:03}", place % 3).into_bytes();
            batch.put(&family, &key, &value.bytes(), None).expect("room");
            self.records(name).insert(key, (value.bytes(), 0));
        }
        self.database.write(batch).expect("a batch");
    }

    fn transaction(&mut self, work: &Work) {
        let mut transaction = self.database.begin(work.serializable, None).expect("it is open");
        let now = self.now();
        let mut seen = self.model.clone();
        let (mut read, mut written) = (Keys::new(), Keys::new());
        for (which, key) in &work.reads.0 {
            let (name, key) = (self.name(*which), key.bytes());
            let got = transaction.get(&self.family(name), &key, <[u8]>::to_vec).expect("a read");
            assert_eq!(got, value_in(&seen[name], &key, now));
            read.insert((name, key));
        }
        let mut savepoint = None;
        for (index, (which, change)) in work.changes.0.iter().enumerate() {
            if work.savepoint.is_some_and(|(from, _)| usize::from(from) == index) {
                savepoint = Some((transaction.savepoint().expect("it is active"), seen.clone(), written.clone()));
            }
            let name = self.name(*which);
            let family = self.family(name);
            let existed = change.apply(seen.get_mut(name).expect("it is there"), now);
            let at = (name, change.key());
            match *change {
                Change::Put(key, value) => transaction.put(&family, &key.bytes(), &value.bytes(), None).expect("a put"),
                Change::PutFor(key, value, milliseconds) => {
                    transaction.put(&family, &key.bytes(), &value.bytes(), lives(milliseconds)).expect("a put");
                }
                Change::Delete(key) => {
                    assert_eq!(transaction.delete(&family, &key.bytes()).expect("a deletion"), existed);
                    // Whether there is something to delete is read, unless it is our own.
                    if !written.contains(&at) {
                        read.insert(at.clone());
                    }
                }
            }
            if existed || !matches!(change, Change::Delete(_)) {
                written.insert(at);
            }
            if work.savepoint.is_some_and(|(_, to)| usize::from(to) == index)
                && let Some((savepoint, seen_then, written_then)) = savepoint.take()
            {
                transaction.rollback_to(savepoint).expect("it is there");
                (seen, written) = (seen_then, written_then);
            }
        }
        if work.scans {
            for (name, records) in &seen {
                let range = Range::default();
                let cursor = transaction.cursor(&self.family(name), range.clone(), work.serializable);
                let mut rows = rows_of(cursor.expect("a cursor"), 5);
                if work.serializable {
                    rows.reverse();
                }
                assert_eq!(rows, live(records, &range, now));
                let count = transaction.count(&self.family(name), &range).expect("a count");
                assert_eq!(count, rows.len() as u64);
            }
        }
        let disturbed = work.meanwhile.map(|(which, key)| (self.name(which), key.bytes()));
        if let Some((name, key)) = &disturbed {
            self.family(name).put(key, b"meanwhile", None).expect("a put");
            self.records(name).insert(key.clone(), (b"meanwhile".to_vec(), 0));
        }
        if !work.commits {
            return transaction.rollback().expect("it is active");
        }
        let conflicts = disturbed.as_ref().is_some_and(|at| {
            !written.is_empty() && (written.contains(at) || work.serializable && (work.scans || read.contains(at)))
        });
        match transaction.commit() {
            Ok(()) => {
                assert!(!conflicts, "a conflict was not seen");
                if let Some((name, key)) = disturbed {
                    seen.get_mut(name).expect("it is there").insert(key, (b"meanwhile".to_vec(), 0));
                }
                self.model = seen;
            }
            Err(Error::Conflict { .. }) => assert!(conflicts, "a conflict with nobody"),
            Err(error) => panic!("{error}"),
        }
    }

    fn compare(&self, snapshot: &Snapshot, model: &Model) {
        let now = self.now();
        for (name, records) in model {
            let family = self.family(name);
            let expected = live(records, &Range::default(), now);
            for reverse in [false, true] {
                let cursor = snapshot.cursor(&family, Range::default(), reverse).expect("a cursor");
                let mut rows = rows_of(cursor, if reverse { 1000 } else { 7 });
                if reverse {
                    rows.reverse();
                }
                assert_eq!(rows, expected);
            }
            let count = snapshot.count(&family, &Range::default(), &mut |_, _| true).expect("a count");
            assert_eq!(count, expected.len() as u64);
            for key in records.keys() {
                let got = snapshot.get(&family, key, <[u8]>::to_vec).expect("a read");
                assert_eq!(got, value_in(records, key, now));
            }
        }
    }

    fn compare_all(&self) {
        let mut names: Vec<_> = self.model.keys().copied().collect();
        names.sort_unstable();
        assert_eq!(self.database.families().expect("it is open"), names);
        self.compare(&self.database.snapshot().expect("it is open"), &self.model);
        self.snapshots.iter().for_each(|(snapshot, then)| self.compare(snapshot, then));
        let report = self.database.check(&mut |_, _| true).expect("a check");
        assert!(report.problems.is_empty(), "{:?}", report.problems);
    }

    fn scan(&self, which: u8, range: Range, reverse: bool, limit: u8) {
        let name = self.name(which);
        let family = self.family(name);
        let mut expected = live(&self.model[name], &range, self.now());
        let snapshot = self.database.snapshot().expect("it is open");
        let count = snapshot.count(&family, &range, &mut |_, _| true).expect("a count");
        assert_eq!(count, expected.len() as u64);
        let cursor = snapshot.cursor(&family, range, reverse).expect("a cursor");
        if reverse {
            expected.reverse();
        }
        assert_eq!(rows_of(cursor, usize::from(limit) + 1), expected);
    }

    fn reopen(&mut self) {
        self.snapshots.clear();
        self.database.close().expect("closes");
        self.database = open(&self.disk, &self.clock, false);
    }

    fn read_only(&mut self) {
        self.snapshots.clear();
        self.database.close().expect("closes");
        self.database = open(&self.disk, &self.clock, true);
        self.compare_all();
        self.reopen();
    }

    /// As if the process had been killed.
    fn crash(&mut self) {
        self.snapshots.clear();
        self.disk = self.disk.image();
        self.database = open(&self.disk, &self.clock, false);
    }

    fn configure(&self, which: Option<u8>, setting: u8, value: u16) {
        let family = which.map(|which| self.name(which));
        let number = i64::from(value);
        let (name, value) = match setting % 6 {
            0 => ("leaf_bytes", Setting::Integer(1024 + number)),
            1 => ("delta_records", Setting::Integer(1 + number % 256)),
            2 => ("codec", Setting::Text(CODECS[usize::from(value) % CODECS.len()].into())),
            3 => ("codec_level", Setting::Integer(1 + number % 5)),
            4 => ("blob_bytes", Setting::Integer(256 + number)),
            _ => ("memory_bytes", Setting::Integer((1 << 20) + number)),
        };
        let done = self.database.configure(family, &[(name.into(), value)]);
        assert_eq!(done.is_ok(), family.is_none() || name != "memory_bytes");
    }

    fn reset(&self, which: Option<u8>, setting: u8) {
        let name = ["leaf_bytes", "delta_records", "codec", "codec_level", "blob_bytes"][usize::from(setting) % 5];
        self.database.reset(which.map(|which| self.name(which)), &[name.into()]).expect("it is known");
    }

    fn create(&mut self, which: u8) {
        let name = FAMILIES[usize::from(which) % FAMILIES.len()];
        let made = self.database.create_family(name, &[]);
        assert_eq!(made.is_ok(), !self.model.contains_key(name));
        self.model.entry(name).or_default();
    }

    fn drop_family(&mut self, which: u8) {
        let name = FAMILIES[usize::from(which) % FAMILIES.len()];
        let dropped = self.database.drop_family(name);
        assert_eq!(dropped.is_ok(), name != DEFAULT_FAMILY && self.model.contains_key(name));
        if dropped.is_ok() {
            self.model.remove(name);
            self.snapshots.iter_mut().for_each(|(_, then)| drop(then.remove(name)));
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Change(which, change) => self.change(*which, *change),
            Step::DeleteRange(which, start, stop) => self.delete_range(*which, &half_open(*start, *stop)),
            Step::Batch(changes, range) => {
                self.batch(&changes.0, range.map(|(which, start, stop)| (which, half_open(start, stop))));
            }
            Step::Fill(which, place, count, value) => self.fill(*which, *place, *count, *value),
            Step::Transaction(work) => self.transaction(work),
            Step::Snapshot => {
                let snapshot = self.database.snapshot().expect("it is open");
                self.snapshots.push((snapshot, self.model.clone()));
            }
            Step::CompareSnapshot(which) => {
                if !self.snapshots.is_empty() {
                    let (snapshot, then) = self.snapshots.swap_remove(usize::from(*which) % self.snapshots.len());
                    self.compare(&snapshot, &then);
                }
            }
            Step::Compare => self.compare_all(),
            Step::Scan(which, start, stop, reverse, limit) => {
                self.scan(*which, half_open(*start, *stop), *reverse, *limit);
            }
            Step::Checkpoint => self.database.checkpoint().expect("a checkpoint"),
            Step::Compact => self.database.compact(&mut |_, _| true).expect("a compaction"),
            Step::Reopen => self.reopen(),
            Step::ReadOnly => self.read_only(),
            Step::Crash => self.crash(),
            Step::Configure(which, setting, value) => self.configure(*which, *setting, *value),
            Step::Reset(which, setting) => self.reset(*which, *setting),
            Step::Create(which) => self.create(*which),
            Step::Drop(which) => self.drop_family(*which),
            Step::Tick(milliseconds) => drop(self.clock.fetch_add((*milliseconds).into(), Ordering::Relaxed)),
        }
    }
}

fn value_in(records: &Records, key: &[u8], now: u64) -> Option<Vec<u8>> {
    let (value, _) = records.get(key).filter(|(_, expiry)| *expiry == 0 || *expiry > now)?;
    Some(value.clone())
}

/// A sequence of operations on a database, and on a map beside it.
pub fn database(input: &[u8]) {
    let Some(steps) = described::<Many<Step, 100>>(input) else { return };
    let mut play = Play::new();
    steps.0.iter().for_each(|step| play.step(step));
    play.compare_all();
    play.reopen();
    play.compare_all();
    play.database.close().expect("closes");
}
