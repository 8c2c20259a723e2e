//! Runs scenarios: step by step in a given order, or by threads.

use std::thread;
use std::time::Duration;

use lyredb_engine::Transaction;
use lyredb_engine::disk::MemoryDisk;
use lyredb_engine::{Batch, Columns, Cursor, Database, Durability, Error, Family, Fetched, Range, Rows, Snapshot};

use super::common::{Random, assert_sound, open, tiny};
use super::outcome::{Done, Outcome, ROWS, Row, Seen};
use super::scenarios::{INITIAL, Scenario, Step};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// No transactions: each step for itself. An abort puts back what was there.
    Plain,
    Snapshot,
    Serializable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    OneLeaf,
    Leaves,
    Families,
}

/// What happens beside the transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    Nothing,
    Checkpoints,
    /// The leaves of the rows are split and merged.
    Reshaping,
    /// All is on disk only at first.
    Cold,
    /// The rows have older versions that a snapshot holds.
    Versions,
}

#[derive(Clone, Copy, Debug)]
pub struct Arrangement {
    pub placement: Placement,
    pub beside: Beside,
    /// Values stand outside the leaves.
    pub long: bool,
}

impl Arrangement {
    pub fn all() -> Vec<Arrangement> {
        let mut all = Vec::new();
        for placement in [Placement::OneLeaf, Placement::Leaves, Placement::Families] {
            for beside in [Beside::Nothing, Beside::Checkpoints, Beside::Reshaping, Beside::Cold, Beside::Versions] {
                all.extend([false, true].map(|long| Arrangement { placement, beside, long }));
            }
        }
        all
    }

    fn value(self, number: u64) -> Vec<u8> {
        let mut value = number.to_le_bytes().to_vec();
        value.resize(if self.long { 700 } else { 8 }, 0);
        value
    }
}

fn number(value: &[u8]) -> u64 {
    u64::from_le_bytes(value[..8].try_into().expect("values have eight bytes"))
}

/// A database with rows for many runs of one scenario.
pub struct Stage {
    level: Level,
    arrangement: Arrangement,
    database: Database,
    families: Vec<Family>,
    _held: Option<Snapshot>,
}

const FAMILIES: [&str; 2] = ["first", "second"];

impl Stage {
    pub fn new(level: Level, arrangement: Arrangement, runs: u32) -> Stage {
        let disk = MemoryDisk::new();
        let database = open(&disk, &tiny(Durability::Async));
        let families = FAMILIES.map(|name| database.create_family(name, &[]).expect("a family")).to_vec();
        let mut stage = Stage { level, arrangement, database, families, _held: None };
        let versions = if arrangement.beside == Beside::Versions { 1..=3 } else { 3..=3 };
        for version in versions {
            let mut batch = Batch::default();
            for run in 0..runs {
                for (row, value) in INITIAL {
                    let value = if version == 3 { value } else { 1000 + version };
                    batch.put(stage.family(row), &stage.key(run, row), &arrangement.value(value), None).expect("room");
                }
                if arrangement.placement == Placement::Leaves {
                    for row in ROWS {
                        let key = stage.key(run, row);
                        for filler in 0..12u8 {
                            let key = [&key[..], &[filler]].concat();
                            batch.put(stage.family(row), &key, &[9; 90], None).expect("room");
                        }
                    }
                }
            }
            stage.database.write(batch).expect("a commit");
            if version == 1 {
                stage._held = Some(stage.database.snapshot().expect("a snapshot"));
            }
        }
        if arrangement.beside == Beside::Cold {
            stage.database.close().expect("closes");
            stage.database = open(&disk, &tiny(Durability::Async));
            let family = |name| stage.database.family(name).expect("it is open").expect("it is there");
            stage.families = FAMILIES.map(family).to_vec();
        }
        stage
    }

    fn family(&self, row: Row) -> &Family {
        let apart = self.arrangement.placement == Placement::Families;
        &self.families[if apart { row as usize % 2 } else { 0 }]
    }

    fn key(&self, run: u32, row: Row) -> Vec<u8> {
        [&run.to_be_bytes()[..], &[0x10 + row as u8]].concat()
    }

    /// Fills the leaf around the rows, or empties it; without touching the range that scans are over.
    fn reshape(&self, run: u32, fill: bool) {
        let mut batch = Batch::default();
        for family in &self.families {
            for filler in 0..30u8 {
                let side = if filler % 2 == 0 { 0x00 } else { 0xf0 };
                let key = [&run.to_be_bytes()[..], &[side, filler]].concat();
                if fill {
                    batch.put(family, &key, &[5; 90], None).expect("room");
                } else {
                    batch.delete(family, &key).expect("room");
                }
            }
        }
        self.database.write(batch).expect("a commit");
    }

    /// Steps of the transactions as `order` names them.
    pub fn run(&self, scenario: &Scenario, run: u32, order: &[usize]) -> Outcome {
        let mut actors: Vec<Actor<'_>> = scenario.transactions.iter().map(|_| Actor::new(self, run)).collect();
        let mut next = vec![0; actors.len()];
        let mut installed = Vec::new();
        for (at, &who) in order.iter().enumerate() {
            let step = scenario.transactions[who][next[who]];
            next[who] += 1;
            let before = actors[who].done.put.len();
            actors[who].act(step);
            if self.level == Level::Plain {
                installed.extend_from_slice(&actors[who].done.put[before..]);
            }
            match self.arrangement.beside {
                Beside::Checkpoints if at as u32 % 4 == run % 4 => self.database.checkpoint().expect("a checkpoint"),
                Beside::Reshaping => self.reshape(run, at as u32 % 2 == run % 2),
                _ => {}
            }
        }
        self.outcome(run, actors, installed)
    }

    /// All transactions at once, with pauses by chance.
    pub fn run_threads(&self, scenario: &Scenario, run: u32, random: &mut Random) -> Outcome {
        let seeds = scenario.transactions.iter().map(|_| random.next());
        let actors = thread::scope(|scope| {
            let threads = scenario.transactions.iter().zip(seeds).map(|(steps, seed)| {
                scope.spawn(move || {
                    let (mut actor, mut random) = (Actor::new(self, run), Random(seed));
                    for step in *steps {
                        match random.below(4) {
                            0 => thread::sleep(Duration::from_micros(random.below(80))),
                            1 => thread::yield_now(),
                            _ => {}
                        }
                        actor.act(*step);
                    }
                    actor
                })
            });
            let threads: Vec<_> = threads.collect();
            threads.into_iter().map(|thread| thread.join().expect("a transaction")).collect()
        });
        self.outcome(run, actors, Vec::new())
    }

    fn outcome(&self, run: u32, actors: Vec<Actor<'_>>, mut installed: Vec<(Row, u64)>) -> Outcome {
        if self.level != Level::Plain {
            // Of two that wrote the same row, the second can only be committed if it began after the first's commit.
            let mut committed: Vec<&Actor<'_>> = actors.iter().filter(|actor| actor.done.committed).collect();
            committed.sort_by_key(|actor| actor.began_at);
            installed = committed.iter().flat_map(|actor| actor.done.put.iter().copied()).collect();
        }
        installed.splice(0..0, INITIAL);
        let last = |row: &Row| Some((*row, self.family(*row).get(&self.key(run, *row), number).expect("a read")?));
        let last = ROWS.iter().filter_map(last).collect();
        Outcome { transactions: actors.into_iter().map(|actor| actor.done).collect(), installed, last }
    }

    pub fn end(self) {
        assert_sound(&self.database);
    }
}

/// One transaction at work.
struct Actor<'a> {
    stage: &'a Stage,
    run: u32,
    transaction: Option<Transaction>,
    /// The version it began at.
    began_at: u64,
    /// What an abort without transactions puts back.
    before: Vec<(Row, Option<u64>)>,
    done: Done,
}

impl<'a> Actor<'a> {
    fn new(stage: &'a Stage, run: u32) -> Actor<'a> {
        Actor { stage, run, transaction: None, began_at: 0, before: Vec::new(), done: Done::default() }
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Begin if self.stage.level == Level::Plain => {}
            Step::Begin => {
                let serializable = self.stage.level == Level::Serializable;
                let mut transaction = self.stage.database.begin(serializable, None).expect("a transaction");
                self.began_at = transaction.snapshot().expect("it is open").version();
                self.transaction = Some(transaction);
            }
            Step::Get(row) => {
                let value = self.get(row);
                self.done.seen.push(Seen::Value(row, value));
            }
            Step::Scan(fits) => {
                let rows = self.scan();
                self.done.seen.push(Seen::Rows(rows.into_iter().filter(|(_, value)| fits(*value)).collect()));
            }
            Step::Put(row, value) => self.put(row, Some(value)),
            Step::Add(row, more) => {
                // What it did not find it leaves alone.
                if let Some(value) = self.last_seen(row) {
                    self.put(row, Some(value + more));
                }
            }
            Step::DeleteFound => {
                let Some(Seen::Rows(rows)) = self.done.seen.last().cloned() else { panic!("it did not scan") };
                rows.into_iter().for_each(|(row, _)| self.put(row, None));
            }
            Step::Commit => self.done.committed = self.commit(),
            Step::Abort => match self.transaction.take() {
                Some(mut transaction) => transaction.rollback().expect("it is open"),
                None => {
                    let before = std::mem::take(&mut self.before);
                    before.into_iter().rev().for_each(|(row, value)| self.put(row, value));
                }
            },
        }
    }

    fn last_seen(&self, row: Row) -> Option<u64> {
        let of_row = |seen: &Seen| match seen {
            Seen::Value(at, value) if *at == row => *value,
            Seen::Rows(rows) => rows.iter().find(|(at, _)| *at == row).map(|(_, value)| *value),
            Seen::Value(..) => None,
        };
        self.done.seen.iter().rev().find_map(of_row)
    }

    fn get(&mut self, row: Row) -> Option<u64> {
        let (family, key) = (self.stage.family(row), self.stage.key(self.run, row));
        match &mut self.transaction {
            Some(transaction) => transaction.get(family, &key, number).expect("a read"),
            None => family.get(&key, number).expect("a read"),
        }
    }

    fn scan(&mut self) -> Vec<(Row, u64)> {
        let run = self.run.to_be_bytes();
        let (start, stop) = ([&run[..], &[0x10]].concat(), [&run[..], &[0x20]].concat());
        let mut found = Vec::new();
        let families = if self.stage.arrangement.placement == Placement::Families { 2 } else { 1 };
        for family in &self.stage.families[..families] {
            let range = Range::half_open(Some(&start), Some(&stop));
            let mut cursor: Cursor = match &mut self.transaction {
                Some(transaction) => transaction.cursor(family, range, false).expect("a cursor"),
                None => {
                    self.stage.database.snapshot().expect("a snapshot").cursor(family, range, false).expect("a cursor")
                }
            };
            let mut rows = Rows::default();
            while cursor.fetch(Columns::Both, 7, usize::MAX / 2, true, &mut rows).expect("rows") != Fetched::Done {}
            let named = (0..rows.len()).filter(|row| rows.key(*row).len() == 5);
            found.extend(named.map(|row| (ROWS[usize::from(rows.key(row)[4] - 0x10)], number(rows.value(row)))));
        }
        found.sort_unstable();
        found
    }

    fn put(&mut self, row: Row, value: Option<u64>) {
        let (family, key) = (self.stage.family(row), self.stage.key(self.run, row));
        let bytes = value.map(|value| self.stage.arrangement.value(value));
        match (&mut self.transaction, &bytes) {
            (Some(transaction), Some(bytes)) => transaction.put(family, &key, bytes, None).expect("a put"),
            (Some(transaction), None) => drop(transaction.delete(family, &key).expect("a deletion")),
            (None, bytes) => {
                self.before.push((row, family.get(&key, number).expect("a read")));
                match bytes {
                    Some(bytes) => family.put(&key, bytes, None).expect("a put"),
                    None => drop(family.delete(&key).expect("a deletion")),
                }
            }
        }
        self.done.put.extend(value.map(|value| (row, value)));
    }

    fn commit(&mut self) -> bool {
        let Some(mut transaction) = self.transaction.take() else { return true };
        match transaction.commit() {
            Ok(()) => true,
            Err(Error::Conflict { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }
}
