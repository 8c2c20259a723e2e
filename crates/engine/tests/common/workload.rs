//! Steps that change a database, and what it has to hold after each of them.
#![allow(dead_code)] // Each suite uses only some of it.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use lyredb_engine::{Batch, Clock, DEFAULT_FAMILY, Database, Durability, Error, Options, Result};

use crate::common::{Model, Random, content_at, tiny};

/// When everything begins, in milliseconds since the Unix epoch.
pub const START_MS: u64 = 1_000_000;

/// A value and when it expires; 0 for never.
type Record = (Vec<u8>, u64);

/// The families and their records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content(BTreeMap<String, BTreeMap<Vec<u8>, Record>>);

impl Content {
    pub fn new() -> Content {
        Content(BTreeMap::from([(DEFAULT_FAMILY.to_string(), BTreeMap::new())]))
    }

    /// What can be seen at a time.
    pub fn at(&self, now: u64) -> BTreeMap<String, Model> {
        let live = |record: &&Record| record.1 == 0 || record.1 > now;
        let view = |records: &BTreeMap<Vec<u8>, Record>| {
            records
                .iter()
                .filter(|(_, record)| live(record))
                .map(|(key, (value, _))| (key.clone(), value.clone()))
                .collect()
        };
        self.0.iter().map(|(name, records)| (name.clone(), view(records))).collect()
    }
}

#[derive(Clone)]
pub struct Write {
    pub family: String,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
    pub ttl_ms: u64,
}

impl Debug for Write {
    /// Without the bytes of the value.
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let length = self.value.as_ref().map(Vec::len);
        write!(out, "{}/{} = {length:?} bytes, {} ms", self.family, self.key.escape_ascii(), self.ttl_ms)
    }
}

#[derive(Clone, Debug)]
pub enum Step {
    /// A put or a delete on its own.
    Single(Write),
    Batch(Vec<Write>),
    Transaction(Vec<Write>),
    DeleteRange(String, Vec<u8>, Vec<u8>),
    Create(String),
    Drop(String),
    Rename(String, String),
    Sync,
    Checkpoint,
    Compact,
    Reopen,
    /// Of the clock, by milliseconds.
    Advance(u64),
}

impl Step {
    /// Whether all before it is durable when it has been done.
    pub fn makes_durable(&self, durability: Durability) -> bool {
        let flushes = matches!(self, Step::Sync | Step::Checkpoint | Step::Compact | Step::Reopen);
        flushes || (durability == Durability::Sync && !matches!(self, Step::Advance(_)))
    }

    /// Whether the families are there, or not there, as it takes.
    pub fn makes_sense(&self, content: &Content) -> bool {
        let there = |name: &String| content.0.contains_key(name);
        match self {
            Step::Single(write) => there(&write.family),
            Step::Batch(writes) | Step::Transaction(writes) => writes.iter().all(|write| there(&write.family)),
            Step::DeleteRange(name, ..) | Step::Drop(name) => there(name),
            Step::Create(name) => !there(name),
            Step::Rename(old, new) => there(old) && !there(new),
            Step::Sync | Step::Checkpoint | Step::Compact | Step::Reopen | Step::Advance(_) => true,
        }
    }

    pub fn apply(&self, content: &mut Content, now: u64) {
        let write = |content: &mut Content, write: &Write| {
            let records = content.0.get_mut(&write.family).expect("only families that are there are written to");
            let expiry = if write.ttl_ms == 0 { 0 } else { now + write.ttl_ms };
            match &write.value {
                Some(value) => drop(records.insert(write.key.clone(), (value.clone(), expiry))),
                None => drop(records.remove(&write.key)),
            }
        };
        match self {
            Step::Single(one) => write(content, one),
            Step::Batch(writes) | Step::Transaction(writes) => writes.iter().for_each(|one| write(content, one)),
            Step::DeleteRange(family, start, stop) => {
                let records = content.0.get_mut(family).expect("it is there");
                records.retain(|key, _| key < start || key >= stop);
            }
            Step::Create(name) => drop(content.0.insert(name.clone(), BTreeMap::new())),
            Step::Drop(name) => drop(content.0.remove(name)),
            Step::Rename(old, new) => {
                let records = content.0.remove(old).expect("it is there");
                content.0.insert(new.clone(), records);
            }
            Step::Sync | Step::Checkpoint | Step::Compact | Step::Reopen | Step::Advance(_) => {}
        }
    }

    /// Does it. `Reopen` and `Advance` are for the caller.
    pub fn run(&self, database: &Database) -> Result<()> {
        let family = |name: &str| database.family(name)?.ok_or_else(|| Error::NoSuchFamily(name.into()));
        let ttl = |write: &Write| (write.ttl_ms != 0).then(|| Duration::from_millis(write.ttl_ms));
        match self {
            Step::Single(write) => match &write.value {
                Some(value) => family(&write.family)?.put(&write.key, value, ttl(write)),
                None => family(&write.family)?.delete(&write.key).map(drop),
            },
            Step::Batch(writes) => {
                let mut batch = Batch::default();
                for write in writes {
                    match &write.value {
                        Some(value) => batch.put(&family(&write.family)?, &write.key, value, ttl(write))?,
                        None => batch.delete(&family(&write.family)?, &write.key)?,
                    }
                }
                database.write(batch)
            }
            Step::Transaction(writes) => {
                let mut transaction = database.begin(true, None)?;
                for write in writes {
                    let family = family(&write.family)?;
                    transaction.get(&family, &write.key, |_| ())?;
                    match &write.value {
                        Some(value) => transaction.put(&family, &write.key, value, ttl(write))?,
                        None => transaction.delete(&family, &write.key).map(drop)?,
                    }
                }
                transaction.commit()
            }
            Step::DeleteRange(name, start, stop) => family(name)?.delete_range(Some(start), Some(stop)).map(drop),
            Step::Create(name) => database.create_family(name, &crate::common::tiny_settings()).map(drop),
            Step::Drop(name) => database.drop_family(name),
            Step::Rename(old, new) => database.rename_family(old, new),
            Step::Sync => database.sync(),
            Step::Checkpoint => database.checkpoint(),
            Step::Compact => database.compact(&mut |_, _| true),
            Step::Reopen | Step::Advance(_) => Ok(()),
        }
    }
}

/// Tiny pages, and a clock that the test turns.
pub fn options(durability: Durability, now: &Arc<AtomicU64>) -> Options {
    Options { clock: Clock::Manual(Arc::clone(now)), ..tiny(durability) }
}

/// All that can be seen, by family.
pub fn seen(database: &Database) -> BTreeMap<String, Model> {
    let snapshot = database.snapshot().expect("a snapshot");
    let names = database.families().expect("names");
    let family = |name: &str| database.family(name).expect("open").expect("it is listed");
    names.into_iter().map(|name| (name.clone(), content_at(&snapshot, &family(&name)))).collect()
}

/// How often each kind of step comes, of a hundred or so.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mix {
    pub puts: u64,
    pub deletes: u64,
    pub batches: u64,
    pub transactions: u64,
    pub ranges: u64,
    pub families: u64,
    pub syncs: u64,
    pub checkpoints: u64,
    pub compactions: u64,
    pub reopenings: u64,
    pub long_values: bool,
    pub expiring: bool,
}

/// Steps that make sense one after the other, the same for the same seed.
pub fn steps(mix: &Mix, count: usize, keys: u64, seed: u64) -> Vec<Step> {
    let mut random = Random(seed);
    let mut names = vec![DEFAULT_FAMILY.to_string()];
    let mut made = 0;
    let mut steps = Vec::new();
    while steps.len() < count {
        let write = |random: &mut Random, names: &[String], deletes: bool| {
            let long = mix.long_values && random.one_in(4);
            let length = if long { 600 + random.below(4000) } else { random.below(120) } as usize;
            let seed = random.next() as u8;
            Write {
                family: names[random.below(names.len() as u64) as usize].clone(),
                key: format!("key {:05}", random.below(keys)).into_bytes(),
                value: (!deletes).then(|| (0..length).map(|at| seed.wrapping_add((at / 8) as u8)).collect()),
                ttl_ms: if mix.expiring && random.one_in(2) { 1 + random.below(1000) } else { 0 },
            }
        };
        let kinds = [
            mix.puts,
            mix.deletes,
            mix.batches,
            mix.transactions,
            mix.ranges,
            mix.families,
            mix.syncs,
            mix.checkpoints,
            mix.compactions,
            mix.reopenings,
        ];
        let mut choice = random.below(kinds.iter().sum());
        let kind = kinds.iter().position(|&weight| {
            let here = choice < weight;
            choice = choice.wrapping_sub(weight);
            here
        });
        let many = |random: &mut Random, write: &mut dyn FnMut(&mut Random) -> Write| {
            (0..1 + random.below(25)).map(|_| write(random)).collect::<Vec<_>>()
        };
        steps.push(match kind.expect("the choice is below the sum") {
            0 => Step::Single(write(&mut random, &names, false)),
            1 => Step::Single(write(&mut random, &names, true)),
            2 => {
                let deletes = random.one_in(3);
                Step::Batch(many(&mut random, &mut |random| write(random, &names, deletes)))
            }
            3 => Step::Transaction(many(&mut random, &mut |random| {
                let deletes = random.one_in(3);
                write(random, &names, deletes)
            })),
            4 => {
                let one = write(&mut random, &names, true);
                let stop = format!("key {:05}", random.below(keys)).into_bytes();
                Step::DeleteRange(one.family, one.key.clone().min(stop.clone()), one.key.max(stop))
            }
            5 => {
                made += 1;
                let new = format!("family {made}");
                let own = 1 + random.below(names.len().max(2) as u64 - 1) as usize;
                match random.below(4) {
                    0 if names.len() > 1 => Step::Drop(names.remove(own)),
                    1 if names.len() > 1 => Step::Rename(std::mem::replace(&mut names[own], new.clone()), new),
                    _ => {
                        names.push(new.clone());
                        Step::Create(new)
                    }
                }
            }
            6 => Step::Sync,
            7 => Step::Checkpoint,
            8 => Step::Compact,
            _ => Step::Reopen,
        });
        if mix.expiring && random.one_in(5) {
            steps.push(Step::Advance(random.below(300)));
        }
    }
    steps
}
