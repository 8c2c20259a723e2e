//! Every kind of fault at every operation of workloads, once and lasting.
//!
//! A workload is a chain of episodes: a database is opened, does some steps, and is closed or killed. Its operations are
//! numbered through all of them, those of opening and closing included. A fault at one of them needs the run of its
//! episode only, from an image of the disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lyredb_engine::disk::{Fault, MemoryDisk, Operation, Plan, Strike};
use lyredb_engine::tunables::Value;
use lyredb_engine::{Columns, Database, Durability, Error, Fetched, Range, Rows};

use super::common::{Random, assert_sound, open, scaled, tally};
use super::workload::{Content, START_MS, Seen, Step, WORKLOADS, Workload, options, options_with, take_reads};
use super::{EIO, ENOSPC};

/// Of each workload with each durability: 5,000 of all of them together, and more.
const OPERATIONS: u64 = 5_000 / 36 + 12;
const EDQUOT: i32 = 122;
const TAKING_ROOM: &[Operation] = &[Operation::Open, Operation::Rename, Operation::Write, Operation::SetLength];
/// Steps of an episode.
const STEPS: usize = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Failure,
    FullDisk,
    ShortRead,
    ShortWrite,
    FailedSync,
    FailedSetLength,
}

const KINDS: [Kind; 6] =
    [Kind::Failure, Kind::FullDisk, Kind::ShortRead, Kind::ShortWrite, Kind::FailedSync, Kind::FailedSetLength];

/// One of many faults: what happens from an operation on, until when, and how the episode ends.
#[derive(Clone, Copy, Debug)]
struct Trial {
    plan: Plan,
    /// So many steps fail before the disk is well again.
    patience: u64,
    ending: Ending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The disk is healed, then the database is closed.
    Close,
    /// The process is killed.
    Kill,
    /// Closed while the disk still fails, and again when it no longer does.
    CloseTwice,
}

impl Trial {
    /// Where an operation is none that the fault can strike, the next that is one is struck; in how many ways writes are
    /// short, what syncs fail with and all else that there is a choice of follows from the number, so no two are alike.
    fn new(kind: Kind, lasting: bool, after: u64, seed: u64) -> Trial {
        let mut random = Random(seed ^ after.wrapping_mul(0x1_0001) ^ (kind as u64) << 56 ^ u64::from(lasting) << 60);
        let reads_fail = random.one_in(2);
        let part = [0, 1, 64, 128, 255, random.next() as u8][random.below(6) as usize];
        let error = [EIO, ENOSPC, EDQUOT][random.below(3) as usize];
        let (operations, fault): (&'static [Operation], _) = match kind {
            Kind::Failure if lasting && !reads_fail => (Operation::CHANGING, Fault::Raw(EIO)),
            Kind::Failure => (Operation::ALL, Fault::Raw(EIO)),
            Kind::FullDisk if lasting => (TAKING_ROOM, Fault::Raw(ENOSPC)),
            Kind::FullDisk => (Operation::ALL, Fault::Raw(ENOSPC)),
            Kind::ShortRead if reads_fail => (&[Operation::Read], Fault::EndOfFile),
            Kind::ShortRead => (&[Operation::Read], Fault::ShortRead(part)),
            Kind::ShortWrite => (&[Operation::Write], Fault::ShortWrite(part, error)),
            Kind::FailedSync => (&[Operation::Sync, Operation::SyncDirectory], Fault::Raw(error)),
            Kind::FailedSetLength => (&[Operation::SetLength], Fault::Raw(error)),
        };
        let plan = Plan { after, operations, count: if lasting { u64::MAX } else { 1 }, fault };
        let ending = [Ending::Close, Ending::Kill, Ending::CloseTwice][random.below(3) as usize];
        Trial { plan, patience: 1 + random.below(4), ending }
    }

    /// Whether an error may come of it.
    fn is_harmful(&self) -> bool {
        !matches!(self.plan.fault, Fault::ShortRead(_))
    }

    fn strikes_reads(&self) -> bool {
        self.plan.operations.contains(&Operation::Read)
    }

    /// Whether `error` is one that it may end in.
    fn explains(&self, error: &Error) -> bool {
        match (error, self.plan.fault) {
            (Error::Poisoned { .. }, _) => true,
            (Error::Io { source, .. }, Fault::Raw(number) | Fault::ShortWrite(_, number)) => {
                source.raw_os_error() == Some(number)
            }
            (Error::Io { source, .. }, Fault::EndOfFile) => source.kind() == std::io::ErrorKind::UnexpectedEof,
            (Error::Corruption { .. } | Error::NotADatabase { .. }, Fault::EndOfFile) => true,
            _ => false,
        }
    }

    /// Whether writes may be refused from then on: after a failed sync, or another failure to write but for want of room.
    fn may_poison(&self, strikes: &[Strike], durability: Durability) -> bool {
        let full = matches!(self.plan.fault, Fault::Raw(ENOSPC | EDQUOT) | Fault::ShortWrite(_, ENOSPC | EDQUOT));
        strikes.iter().any(|strike| match strike.operation {
            Operation::Sync | Operation::SyncDirectory => true,
            // A superblock.
            Operation::Write if strike.name == "pages.lyre" => strike.offset < 8192,
            // A block. When there is no room for it, whoever waits for it to be on disk cannot be told what became of it.
            Operation::Write => strike.offset > 0 && (!full || durability == Durability::Sync),
            // What could not be made whole could not be removed either.
            Operation::Remove => strikes.len() > 1,
            _ => false,
        })
    }
}

struct Episode {
    image: MemoryDisk,
    /// What is in it, and when.
    content: Content,
    now: u64,
    steps: Vec<Step>,
    operations: u64,
}

/// The first `wanted` operations of a workload, or a few more.
fn episodes(workload: &Workload, durability: Durability, wanted: u64) -> Vec<Episode> {
    let now = Arc::new(AtomicU64::new(START_MS));
    let mut disk = MemoryDisk::new();
    let mut content = Content::new();
    let mut episodes: Vec<Episode> = Vec::new();
    let mut done = 0;
    let mut seed = 0;
    let mut left = Vec::new();
    while done < wanted {
        if left.len() < STEPS {
            // From the beginning, with other steps.
            (disk, content, left) = (MemoryDisk::new(), Content::new(), workload.steps(seed));
            seed += 1;
        }
        let steps: Vec<Step> = left.drain(..STEPS).collect();
        let image = disk.image();
        disk = image.image();
        let begun = now.load(Ordering::Relaxed);
        let mut after = content.clone();
        let mut database = open(&disk, &options(durability, &now));
        for step in &steps {
            match step {
                Step::Reopen(given) => {
                    database.close().expect("closes");
                    database = open(&disk, &options_with(given, durability, &now));
                }
                Step::Advance(milliseconds) => drop(now.fetch_add(*milliseconds, Ordering::Relaxed)),
                step => step.run(&database).expect("the disk is well"),
            }
            step.apply(&mut after, now.load(Ordering::Relaxed));
        }
        after.reopen(&[]);
        database.sync().expect("the disk is well");
        let killed = disk.image();
        database.close().expect("closes");
        let operations = disk.operations();
        done += operations;
        episodes.push(Episode {
            image,
            content: std::mem::replace(&mut content, after),
            now: begun,
            steps,
            operations,
        });
        // Every other time the next episode finds a log to be replayed.
        if episodes.len() % 2 == 1 {
            disk = killed;
        }
    }
    episodes
}

/// Faults at the first operations of each workload: of each kind, once and lasting.
pub fn sweep(durability: Durability) {
    let mut struck = 0;
    for workload in &WORKLOADS {
        for (number, episode) in episodes(workload, durability, scaled(OPERATIONS)).iter().enumerate() {
            for after in 0..episode.operations {
                for (kind, lasting) in KINDS.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
                    let trial = Trial::new(kind, lasting, after, number as u64);
                    let disk = episode.image.image();
                    disk.plan(trial.plan);
                    let mut run = Run {
                        trial: &trial,
                        durability,
                        now: Arc::new(AtomicU64::new(episode.now)),
                        given: Vec::new(),
                        what: format!("{}, {durability:?}, episode {number}: {trial:?}", workload.name),
                        disk: disk.clone(),
                        possible: vec![episode.content.clone()],
                        since_durable: vec![episode.content.clone()],
                        poisoned: false,
                        failures: 0,
                        healed: false,
                    };
                    run.run(&episode.steps);
                    struck += u64::from(!disk.strikes().is_empty());
                }
            }
        }
    }
    let reads = take_reads();
    assert!(reads.iter().all(|&count| count > 100), "leaves were hardly read in all forms: {reads:?}");
    tally("injected faults", struck);
}

/// An episode with a fault in it.
struct Run<'a> {
    trial: &'a Trial,
    durability: Durability,
    now: Arc<AtomicU64>,
    /// To the present opening.
    given: Vec<(String, Value)>,
    what: String,
    disk: MemoryDisk,
    /// What the database may hold now.
    possible: Vec<Content>,
    /// What it may hold after a kill besides.
    since_durable: Vec<Content>,
    /// Writes are refused until it is reopened.
    poisoned: bool,
    failures: u64,
    healed: bool,
}

impl Run<'_> {
    #[track_caller]
    fn fail(&self, why: &str) -> ! {
        panic!("{}: {why}; struck: {:?}", self.what, self.disk.strikes())
    }

    fn heal(&mut self) {
        self.disk.heal();
        self.healed = true;
    }

    /// An error is one that the fault explains; with enough of them the disk becomes well.
    fn judge(&mut self, error: &Error) {
        let strikes = self.disk.strikes();
        if !self.trial.is_harmful() || strikes.is_empty() || !self.trial.explains(error) {
            self.fail(&format!("an error that nothing explains: {error:?}"));
        }
        if matches!(error, Error::Poisoned { .. }) && !self.trial.may_poison(&strikes, self.durability) {
            self.fail(&format!("writes are refused without need: {error}"));
        }
        self.failures += 1;
        if self.failures >= self.trial.patience {
            self.heal();
        }
    }

    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    fn syncs_struck(&self) -> usize {
        let syncs = [Operation::Sync, Operation::SyncDirectory];
        self.disk.strikes().iter().filter(|strike| syncs.contains(&strike.operation)).count()
    }

    fn open(&mut self) -> Database {
        loop {
            let syncs = self.syncs_struck();
            let disk = Arc::new(self.disk.clone());
            match Database::open_on(disk, options_with(&self.given, self.durability, &self.now)) {
                Ok(database) => {
                    if self.syncs_struck() > syncs {
                        self.fail("it opens although a sync has failed");
                    }
                    self.poisoned = false;
                    let given = std::mem::take(&mut self.given);
                    self.possible.iter_mut().for_each(|content| content.reopen(&given));
                    self.look(&database);
                    self.since_durable.clone_from(&self.possible);
                    return database;
                }
                Err(error) if self.healed => self.fail(&format!("it does not open although the disk is well: {error}")),
                Err(error) => self.judge(&error),
            }
        }
    }

    /// What is seen is possible, and nothing else is from now on, unless a failed commit waits to be seen.
    fn look(&mut self, database: &Database) {
        match try_seen(database) {
            Ok(found) => {
                let now = self.now();
                let is_seen = |content: &&Content| content.is_seen(&found, now);
                let as_seen: Vec<Content> = self.possible.iter().filter(is_seen).cloned().collect();
                if as_seen.is_empty() {
                    let last = self.possible.last().expect("there is always one").at(now);
                    self.fail(&format!("something is missing, or too much is there: {}", last.apart_from(&found)));
                }
                if !self.poisoned {
                    self.possible = as_seen;
                    self.possible.dedup();
                }
            }
            Err(error) if self.trial.strikes_reads() && !self.healed => self.judge(&error),
            Err(error) => self.fail(&format!("it cannot be read: {error:?}")),
        }
    }

    fn run(&mut self, steps: &[Step]) {
        let mut database = self.open();
        for step in steps {
            // What an earlier failure kept from being made cannot be worked with.
            if !self.possible.iter().all(|content| step.makes_sense(content)) {
                continue;
            }
            match step {
                Step::Reopen(given) => {
                    self.close(&database, false);
                    drop(database);
                    self.given.clone_from(given);
                    database = self.open();
                }
                Step::Advance(milliseconds) => drop(self.now.fetch_add(*milliseconds, Ordering::Relaxed)),
                step => self.step(step, &database),
            }
        }
        match self.trial.ending {
            Ending::Close => {
                self.heal();
                self.close(&database, false);
            }
            Ending::Kill => {
                // Whatever the old one still writes, the new one must not see.
                let image = self.disk.image();
                drop(database.close());
                self.disk = image;
                self.possible.append(&mut self.since_durable);
            }
            Ending::CloseTwice => self.close(&database, true),
        }
        drop(database);
        self.heal();
        let database = self.open();
        assert_sound(&database);
        if self.failures.is_multiple_of(3) {
            database.default_family().put(b"still", b"works", None).expect("a put");
            database.checkpoint().expect("a checkpoint");
        }
        drop(database);
    }

    fn step(&mut self, step: &Step, database: &Database) {
        let now = self.now();
        let applied = |content: &Content| {
            let mut content = content.clone();
            step.apply(&mut content, now);
            content
        };
        let syncs = self.syncs_struck();
        let result = step.run(database);
        let sync_failed = self.syncs_struck() > syncs;
        match &result {
            Ok(()) if self.poisoned => {
                // Deleting what is not there, for one.
                if self.possible.iter().all(|content| applied(content) != *content) {
                    self.fail(&format!("{step:?} was done although writes are refused"));
                }
            }
            Ok(()) => {
                // A kill may find what was there amid a step that consists of several.
                let amid = self.possible.iter().flat_map(|content| step.possible(content, now));
                self.since_durable.extend(amid);
                self.possible = self.possible.iter().map(applied).collect();
                if step.makes_durable(self.durability) {
                    self.since_durable.clone_from(&self.possible);
                }
            }
            Err(error) => {
                self.judge(error);
                if !self.poisoned {
                    self.possible = self.possible.iter().flat_map(|content| step.possible(content, now)).collect();
                }
            }
        }
        if result.is_err() || sync_failed {
            self.probe(database);
            self.look(database);
            self.since_durable.extend(self.possible.iter().cloned());
            if sync_failed && result.is_ok() && !self.poisoned {
                self.fail(&format!("{step:?} succeeded although a sync has failed"));
            }
        }
    }

    /// Whether writes are refused now.
    fn probe(&mut self, database: &Database) {
        match database.sync() {
            Ok(()) if self.poisoned => self.fail("writes were refused and no longer are"),
            Err(error @ Error::Poisoned { .. }) => {
                self.poisoned = true;
                self.judge(&error);
            }
            Err(error) => self.judge(&error),
            Ok(()) => {}
        }
    }

    /// Afterwards only what may be found is possible.
    fn close(&mut self, database: &Database, twice: bool) {
        let syncs = self.syncs_struck();
        let mut closed = database.close();
        let sync_failed = self.syncs_struck() > syncs;
        if sync_failed && closed.is_ok() {
            self.fail("it was closed although a sync has failed");
        }
        if let Err(error) = &closed {
            self.judge(error);
            if twice {
                self.heal();
                // What could not be written for want of room is not given up.
                if database.close().is_ok() && !self.trial.may_poison(&self.disk.strikes(), self.durability) {
                    closed = Ok(());
                }
            }
        }
        if closed.is_err() || self.poisoned {
            self.possible.append(&mut self.since_durable);
        }
    }
}

/// As `workload::seen`, as far as the disk lets it be seen.
fn try_seen(database: &Database) -> Result<Seen, Error> {
    let snapshot = database.snapshot()?;
    let mut seen = Seen { families: BTreeMap::new(), settings: BTreeMap::from([(None, database.settings(None)?)]) };
    for name in database.families()? {
        let family = database.family(&name)?.expect("it is listed");
        let mut cursor = snapshot.cursor(&family, Range::default(), false)?;
        let mut rows = Rows::default();
        while cursor.fetch(Columns::Both, usize::MAX / 2, usize::MAX / 2, true, &mut rows)? != Fetched::Done {}
        let records = (0..rows.len()).map(|row| (rows.key(row).to_vec(), rows.value(row).to_vec()));
        seen.families.insert(name.clone(), records.collect());
        seen.settings.insert(Some(name.clone()), database.settings(Some(&name))?);
    }
    Ok(seen)
}
