//! The thirteen kinds of work that the suites put a database through, and the steps they are made of.
#![allow(dead_code, unused_imports)] // Each suite uses only some of it.

mod content;
mod steps;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use lyredb_engine::tunables::Value;
use lyredb_engine::{Clock, DEFAULT_FAMILY, Durability, Options};

use crate::common::{Random, narrow_tiers, setting, tiny};

pub use content::{Content, Seen, seen};
pub use steps::{Step, Work, Write, checkpoint_amid, take_reads};

/// When everything begins, in milliseconds since the Unix epoch.
pub const START_MS: u64 = 1_000_000;

/// A kind of work. Its steps are the same for the same seed.
#[derive(Debug)]
pub struct Workload {
    pub name: &'static str,
    pub steps: usize,
    pub keys: u64,
    pub mix: Mix,
}

impl Workload {
    pub fn steps(&self, seed: u64) -> Vec<Step> {
        steps(&self.mix, self.steps, self.keys, seed)
    }
}

pub static WORKLOADS: [Workload; 13] = [
    Workload {
        name: "single puts",
        steps: 100,
        keys: 60,
        mix: Mix { puts: 70, deletes: 20, syncs: 5, checkpoints: 3, kills: 2, pauses: 4, ..NOTHING },
    },
    Workload {
        name: "batches",
        steps: 60,
        keys: 300,
        mix: Mix { batches: 80, ranges: 5, syncs: 5, checkpoints: 7, reopenings: 2, kills: 2, pauses: 4, ..NOTHING },
    },
    Workload {
        name: "transactions over families",
        steps: 60,
        keys: 200,
        mix: Mix {
            transactions: 70,
            families_first: 3,
            syncs: 5,
            checkpoints: 6,
            reopenings: 2,
            kills: 2,
            pauses: 4,
            ..NOTHING
        },
    },
    Workload {
        name: "deletes with merges",
        steps: 70,
        keys: 500,
        mix: Mix { batches: 40, deletes: 40, ranges: 12, checkpoints: 8, compactions: 2, pauses: 4, ..NOTHING },
    },
    Workload {
        name: "long values",
        steps: 50,
        keys: 40,
        mix: Mix {
            puts: 50,
            deletes: 15,
            batches: 10,
            checkpoints: 8,
            compactions: 3,
            reopenings: 2,
            kills: 2,
            long_values: true,
            pauses: 4,
            ..NOTHING
        },
    },
    Workload {
        name: "expiring records",
        steps: 70,
        keys: 60,
        mix: Mix {
            puts: 60,
            deletes: 10,
            batches: 10,
            transactions: 5,
            checkpoints: 8,
            compactions: 2,
            reopenings: 3,
            kills: 2,
            expiring: true,
            pauses: 4,
            ..NOTHING
        },
    },
    Workload {
        name: "checkpoints under load",
        steps: 25,
        keys: 250,
        mix: Mix {
            puts: 10,
            batches: 30,
            deletes: 10,
            ranges: 4,
            families_first: 1,
            checkpoints_amid: 40,
            reopenings: 2,
            kills: 2,
            long_values: true,
            pauses: 4,
            ..NOTHING
        },
    },
    Workload {
        name: "compaction",
        steps: 45,
        keys: 150,
        mix: Mix {
            puts: 20,
            batches: 30,
            ranges: 12,
            checkpoints: 8,
            compactions: 20,
            reopenings: 3,
            kills: 2,
            long_values: true,
            pauses: 4,
            ..NOTHING
        },
    },
    Workload {
        name: "families made, dropped and renamed",
        steps: 70,
        keys: 30,
        mix: Mix {
            puts: 20,
            batches: 15,
            families: 50,
            syncs: 3,
            checkpoints: 8,
            compactions: 2,
            reopenings: 4,
            kills: 2,
            long_values: true,
            pauses: 4,
            ..NOTHING
        },
    },
    Workload {
        name: "reopening",
        steps: 50,
        keys: 80,
        mix: Mix {
            puts: 30,
            batches: 15,
            families: 5,
            syncs: 3,
            checkpoints: 4,
            reopenings: 20,
            kills: 15,
            pauses: 4,
            ..NOTHING
        },
    },
    Workload {
        name: "settings",
        steps: 70,
        keys: 100,
        mix: Mix {
            puts: 15,
            batches: 15,
            families_first: 2,
            settings: 45,
            syncs: 4,
            checkpoints: 6,
            compactions: 1,
            reopenings: 8,
            kills: 2,
            long_values: true,
            pauses: 4,
            ..NOTHING
        },
    },
    Workload {
        name: "backup",
        steps: 40,
        keys: 120,
        mix: Mix {
            puts: 20,
            batches: 25,
            deletes: 10,
            families: 6,
            settings: 4,
            syncs: 3,
            checkpoints: 3,
            backups: 15,
            reopenings: 2,
            kills: 2,
            long_values: true,
            pauses: 4,
            ..NOTHING
        },
    },
    Workload {
        name: "more than memory",
        steps: 75,
        keys: 200,
        mix: Mix {
            puts: 25,
            deletes: 8,
            batches: 15,
            transactions: 4,
            ranges: 3,
            families: 3,
            families_first: 1,
            drives_out: 40,
            reads: 20,
            settings: 5,
            checkpoints: 4,
            checkpoints_amid: 8,
            compactions: 3,
            backups: 1,
            reopenings: 2,
            kills: 4,
            long_values: true,
            expiring: true,
            pauses: 2,
            ..NOTHING
        },
    },
];

/// How often each kind of step comes, of a hundred or so.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mix {
    pub puts: u64,
    pub deletes: u64,
    pub batches: u64,
    pub transactions: u64,
    pub ranges: u64,
    pub families: u64,
    pub settings: u64,
    pub syncs: u64,
    pub checkpoints: u64,
    pub checkpoints_amid: u64,
    pub compactions: u64,
    /// Beside and amid checkpoints.
    pub drives_out: u64,
    /// Of records one by one, with little room for images; amid checkpoints too.
    pub reads: u64,
    pub backups: u64,
    pub reopenings: u64,
    pub kills: u64,
    pub pauses: u64,
    /// So many are made before anything else.
    pub families_first: u64,
    pub long_values: bool,
    pub expiring: bool,
}

const NOTHING: Mix = Mix {
    puts: 0,
    deletes: 0,
    batches: 0,
    transactions: 0,
    ranges: 0,
    families: 0,
    settings: 0,
    syncs: 0,
    checkpoints: 0,
    checkpoints_amid: 0,
    compactions: 0,
    drives_out: 0,
    reads: 0,
    backups: 0,
    reopenings: 0,
    kills: 0,
    pauses: 0,
    families_first: 0,
    long_values: false,
    expiring: false,
};

/// Tiny pages, and a clock that the test turns.
pub fn options(durability: Durability, now: &Arc<AtomicU64>) -> Options {
    Options { clock: Clock::Manual(Arc::clone(now)), ..tiny(durability) }
}

/// As `options`, with what a `Step::Reopen` gives beside them.
pub fn options_with(given: &[(String, Value)], durability: Durability, now: &Arc<AtomicU64>) -> Options {
    let mut options = options(durability, now);
    options.settings.extend_from_slice(given);
    options
}

/// Steps that make sense one after the other, the same for the same seed.
pub fn steps(mix: &Mix, count: usize, keys: u64, seed: u64) -> Vec<Step> {
    let mut maker = Maker { mix, keys, random: Random(seed), names: vec![DEFAULT_FAMILY.to_string()], made: 0 };
    let mut steps: Vec<Step> = (0..mix.families_first).map(|_| maker.create()).collect();
    while steps.len() < count {
        if mix.reads > 0 && (steps.len() <= 1 || maker.random.one_in(20)) {
            steps.extend(maker.through_all_forms());
        }
        steps.push(maker.step());
        if mix.expiring && maker.random.one_in(5) {
            steps.push(Step::Advance(maker.random.below(300)));
        }
    }
    steps
}

struct Maker<'a> {
    mix: &'a Mix,
    keys: u64,
    random: Random,
    names: Vec<String>,
    made: u64,
}

impl Maker<'_> {
    fn step(&mut self) -> Step {
        let Mix { puts, deletes, batches, transactions, ranges, .. } = *self.mix;
        let Mix { families, settings, syncs, checkpoints, checkpoints_amid, .. } = *self.mix;
        let Mix { compactions, backups, reopenings, kills, pauses, drives_out, reads, .. } = *self.mix;
        let others = [
            families,
            settings,
            syncs,
            checkpoints,
            checkpoints_amid,
            compactions,
            backups,
            reopenings,
            kills,
            pauses,
            drives_out,
            reads,
        ];
        let changes = puts + deletes + batches + transactions + ranges;
        let choice = self.random.below(changes + others.iter().sum::<u64>());
        if choice < changes {
            return self.change();
        }
        match pick(&others, choice - changes) {
            0 => self.family(),
            1 => self.setting(),
            2 => Step::Sync,
            3 => Step::Checkpoint,
            4 => {
                let count = 1 + self.random.below(12);
                Step::CheckpointAmid((0..count).map(|_| (self.random.below(6), self.change_amid())).collect())
            }
            5 => Step::Compact,
            6 => Step::Backup,
            7 => {
                let gives = self.mix.settings > 0 && self.random.one_in(2);
                Step::Reopen(if gives { vec![self.value(false), self.value(true)] } else { Vec::new() })
            }
            8 => Step::Kill { points: self.random.below(12), forgets: self.random.one_in(2) },
            9 => Step::Pause,
            10 => self.drive_out(),
            _ => self.read(),
        }
    }

    fn drive_out(&mut self) -> Step {
        if self.random.one_in(6) {
            return self.reshape();
        }
        // Everything, or some of it.
        Step::DriveOut(self.random.below(4) * (8 << 10))
    }

    /// Leaves as images, as they are stored, on disk only, and as what point reads of several of their records leave.
    fn through_all_forms(&mut self) -> [Step; 8] {
        let writes: Vec<Write> = (0..30).map(|_| self.write(false)).collect();
        let keys: Vec<Vec<u8>> = writes.iter().map(|write| write.key.clone()).collect();
        let narrow = Step::Configure(None, narrow_tiers(0));
        // The first time what is kept of an image goes, the second time that.
        let out = || Step::DriveOut(0);
        let one = Step::Read(keys[..1].to_vec());
        [narrow, Step::Batch(writes), out(), out(), one, out(), out(), Step::Read(keys)]
    }

    /// Of keys that may be there, and of one that never is.
    fn read(&mut self) -> Step {
        let first = self.random.below(self.keys);
        // Neighbours too: of a leaf of which several records are read more than those stays in memory.
        let near = (first..first + 8).map(|number| format!("key {number:05}").into_bytes());
        let mut keys: Vec<Vec<u8>> = near.collect();
        keys.extend((0..5).map(|_| self.key()));
        keys.push([self.key().as_slice(), b"?"].concat());
        Step::Read(keys)
    }

    fn change_amid(&mut self) -> Step {
        match self.random.below(6) {
            0..3 if self.mix.drives_out > 0 => self.drive_out(),
            3 if self.mix.reads > 0 => self.read(),
            _ => self.change(),
        }
    }

    /// Of records.
    fn change(&mut self) -> Step {
        let Mix { puts, deletes, batches, transactions, ranges, .. } = *self.mix;
        let kinds = [puts, deletes, batches, transactions, ranges];
        let choice = self.random.below(kinds.iter().sum());
        match pick(&kinds, choice) {
            0 => Step::Single(self.write(false)),
            1 => Step::Single(self.write(true)),
            2 => {
                let deletes = self.random.one_in(3);
                Step::Batch(self.many(|maker| maker.write(deletes)))
            }
            3 => Step::Transaction(self.many(|maker| {
                let deletes = maker.random.one_in(3);
                maker.write(deletes)
            })),
            _ => {
                let (one, stop) = (self.write(true), self.key());
                Step::DeleteRange(one.family, one.key.clone().min(stop.clone()), one.key.max(stop))
            }
        }
    }

    fn many(&mut self, write: impl Fn(&mut Self) -> Write) -> Vec<Write> {
        (0..1 + self.random.below(25)).map(|_| write(self)).collect()
    }

    fn key(&mut self) -> Vec<u8> {
        format!("key {:05}", self.random.below(self.keys)).into_bytes()
    }

    fn write(&mut self, deletes: bool) -> Write {
        let long = self.mix.long_values && self.random.one_in(4);
        let length = if long { 600 + self.random.below(4000) } else { self.random.below(120) } as usize;
        let seed = self.random.next() as u8;
        Write {
            family: self.names[self.random.below(self.names.len() as u64) as usize].clone(),
            key: self.key(),
            value: (!deletes).then(|| (0..length).map(|at| seed.wrapping_add((at / 8) as u8)).collect()),
            ttl_ms: if self.mix.expiring && self.random.one_in(2) { 1 + self.random.below(1000) } else { 0 },
        }
    }

    fn create(&mut self) -> Step {
        let new = self.new_name();
        self.names.push(new.clone());
        Step::Create(new)
    }

    fn new_name(&mut self) -> String {
        self.made += 1;
        format!("family {}", self.made)
    }

    fn family(&mut self) -> Step {
        // The first is the default one, which stays.
        let own = 1 + self.random.below(self.names.len().max(2) as u64 - 1) as usize;
        match self.random.below(4) {
            0 if self.names.len() > 1 => Step::Drop(self.names.remove(own)),
            1 if self.names.len() > 1 => {
                let new = self.new_name();
                Step::Rename(std::mem::replace(&mut self.names[own], new.clone()), new)
            }
            _ => self.create(),
        }
    }

    fn reshape(&mut self) -> Step {
        let name = self.random.below(self.names.len() as u64) as usize;
        Step::Reshape(self.names[name].clone())
    }

    fn setting(&mut self) -> Step {
        if self.random.one_in(5) {
            return self.reshape();
        }
        let count = self.names.len() as u64;
        let family = self.random.below(count + count / 2 + 1);
        let family = self.names.get(family as usize).cloned();
        let settings = (0..1 + self.random.below(3)).map(|_| self.value(family.is_none()));
        let settings: Vec<_> = settings.collect();
        match self.random.below(3) {
            0 => Step::Reset(family, settings.into_iter().map(|(name, _)| name).collect()),
            _ => Step::Configure(family, settings),
        }
    }

    /// Of a tunable of families; or of any, where those of the database are allowed.
    fn value(&mut self, any: bool) -> (String, Value) {
        let between = |random: &mut Random, low: u64, high: u64| low + random.below(high - low + 1);
        let random = &mut self.random;
        if self.mix.reads > 0 && random.one_in(2) {
            return Self::of_tiers(random, any);
        }
        match random.below(if any { 8 } else { 5 }) {
            0 => setting("leaf_bytes", 1024 << random.below(3)),
            1 => setting("delta_records", between(random, 1, 20)),
            2 => {
                let codec = ["none", "lz4", "zstd"][random.below(3) as usize];
                ("codec".into(), Value::Text(codec.into()))
            }
            3 => setting("codec_level", between(random, 1, 4)),
            4 => setting("blob_bytes", between(random, 256, 2000)),
            // So much that no checkpoint comes unasked.
            5 => setting("memory_bytes", between(random, 8 << 20, 64 << 20)),
            6 => setting("checkpoint_log_bytes", between(random, 8 << 20, 64 << 20)),
            _ => setting("group_interval_ms", between(random, 1, 60)),
        }
    }

    /// Of a tunable that says in which form memory has leaves.
    fn of_tiers(random: &mut Random, any: bool) -> (String, Value) {
        let choice = |name: &str, names: &[&str], random: &mut Random| {
            (name.into(), Value::Text(names[random.below(names.len() as u64) as usize].into()))
        };
        match random.below(if any { 6 } else { 2 }) {
            0 => choice("warm_codec", &["stored", "none", "lz4", "zstd"], random),
            1 => choice("absent_filter", &["off", "on"], random),
            2 => setting("hot_bytes", random.below(3) * (8 << 10)),
            3 => setting("warm_bytes", random.below(3) * (16 << 10)),
            4 => setting("point_cache_bytes", random.below(3) * (16 << 10)),
            _ => choice("replacement", &["adaptive", "s3-fifo", "sieve", "second-chance"], random),
        }
    }
}

/// Which of the weights `choice`, below their sum, falls on.
fn pick(weights: &[u64], mut choice: u64) -> usize {
    for (index, &weight) in weights.iter().enumerate() {
        if choice < weight {
            return index;
        }
        choice -= weight;
    }
    unreachable!("the choice is below the sum")
}
