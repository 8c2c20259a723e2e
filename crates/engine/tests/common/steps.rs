//! Steps that change a database, and what each does to its content.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Once};
use std::time::Duration;

use lyredb_engine::disk::MemoryDisk;
use lyredb_engine::pause::{Point, hook};
use lyredb_engine::tunables::Value;
use lyredb_engine::{Batch, Columns, Database, Durability, Error, Fetched, Range, Result, Rows};

use super::content::{Content, FamilyContent};
use crate::common::{Model, assert_sound, reads_without_image, tiny, tiny_settings};

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
    /// Without a family, for the database.
    Configure(Option<String>, Vec<(String, Value)>),
    Reset(Option<String>, Vec<String>),
    Sync,
    Checkpoint,
    /// Steps that change records, each when so many of a checkpoint's points have gone by, or at its end.
    CheckpointAmid(Vec<(u64, Step)>),
    Compact,
    /// Leaves from memory, changed ones too, until so many bytes are left.
    DriveOut(u64),
    /// The family's leaves to the size that is set for them.
    Reshape(String),
    /// Point reads of these keys in all families, several times, held against a scan.
    Read(Vec<Vec<u8>>),
    Backup,
    /// With these settings given beside the tiny ones.
    Reopen(Vec<(String, Value)>),
    /// The process ends without closing, after so many points of a checkpoint if any, and another opens the database; it
    /// `forgets` when a failed sync has ended it. For disks that can do it; elsewhere nothing happens.
    Kill {
        points: u64,
        forgets: bool,
    },
    /// Until the log's own thread has written something, where it has one. For disks that can tell.
    Pause,
    /// Of the clock, by milliseconds.
    Advance(u64),
}

impl Step {
    /// Whether all before it is durable when it has been done.
    pub fn makes_durable(&self, durability: Durability) -> bool {
        match self {
            Step::Sync | Step::Checkpoint | Step::Compact | Step::Backup | Step::Reopen(_) => true,
            Step::DriveOut(_) | Step::Reshape(_) | Step::Read(_) => false,
            Step::Kill { .. } | Step::Pause | Step::Advance(_) => false,
            _ => durability == Durability::Sync,
        }
    }

    /// Whether the families are there, or not there, as it takes.
    pub fn makes_sense(&self, content: &Content) -> bool {
        let there = |name: &String| content.families.contains_key(name);
        match self {
            Step::Single(write) => there(&write.family),
            Step::Batch(writes) | Step::Transaction(writes) => writes.iter().all(|write| there(&write.family)),
            Step::DeleteRange(name, ..) | Step::Drop(name) | Step::Reshape(name) => there(name),
            Step::Create(name) => !there(name),
            Step::Rename(old, new) => there(old) && !there(new),
            Step::Configure(family, _) | Step::Reset(family, _) => family.as_ref().is_none_or(there),
            Step::CheckpointAmid(steps) => steps.iter().all(|(_, step)| step.makes_sense(content)),
            Step::Sync | Step::Checkpoint | Step::Compact | Step::Backup => true,
            Step::DriveOut(_) | Step::Read(_) | Step::Reopen(_) => true,
            Step::Kill { .. } | Step::Pause | Step::Advance(_) => true,
        }
    }

    pub fn apply(&self, content: &mut Content, now: u64) {
        let write = |content: &mut Content, write: &Write| {
            let family = content.families.get_mut(&write.family);
            let records = &mut family.expect("only families that are there are written to").records;
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
                let records = &mut content.families.get_mut(family).expect("it is there").records;
                records.retain(|key, _| key < start || key >= stop);
            }
            Step::Create(name) => {
                let family = FamilyContent { settings: tiny_settings().into_iter().collect(), ..Default::default() };
                content.families.insert(name.clone(), family);
            }
            Step::Drop(name) => drop(content.families.remove(name)),
            Step::Rename(old, new) => {
                let family = content.families.remove(old).expect("it is there");
                content.families.insert(new.clone(), family);
            }
            Step::Configure(family, settings) => content.configure(family.as_deref(), settings),
            Step::Reset(family, names) => content.reset(family.as_deref(), names),
            Step::CheckpointAmid(steps) => steps.iter().for_each(|(_, step)| step.apply(content, now)),
            Step::Reopen(given) => content.reopen(given),
            Step::Sync
            | Step::Checkpoint
            | Step::Compact
            | Step::DriveOut(_)
            | Step::Reshape(_)
            | Step::Read(_)
            | Step::Backup
            | Step::Kill { .. }
            | Step::Pause
            | Step::Advance(_) => {}
        }
    }

    /// What may be there when it fails, or is cut short: the content as it was first, as it would have become last.
    pub fn possible(&self, content: &Content, now: u64) -> Vec<Content> {
        let mut possible = vec![content.clone()];
        let parts: Vec<&Step> = match self {
            Step::CheckpointAmid(steps) => steps.iter().map(|(_, step)| step).collect(),
            whole => vec![whole],
        };
        for part in parts {
            let mut next = possible.last().expect("never empty").clone();
            part.apply(&mut next, now);
            possible.push(next);
        }
        possible
    }

    /// Does it. `Reopen`, `Kill`, `Pause` and `Advance` are for the caller; a backup is made, looked at and forgotten.
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
            Step::Create(name) => database.create_family(name, &tiny_settings()).map(drop),
            Step::Drop(name) => database.drop_family(name),
            Step::Rename(old, new) => database.rename_family(old, new),
            Step::Configure(family, settings) => database.configure(family.as_deref(), settings),
            Step::Reset(family, names) => database.reset(family.as_deref(), names),
            Step::Sync => database.sync(),
            Step::Checkpoint => database.checkpoint(),
            Step::CheckpointAmid(steps) => {
                let works = steps.iter().cloned().map(|(points, step)| {
                    let database = database.clone();
                    let work: Work = Box::new(move || step.run(&database));
                    (points, work)
                });
                checkpoint_amid(database, works.collect())
            }
            Step::Compact => database.compact(&mut |_, _| true),
            Step::DriveOut(bytes) => database.drive_out(*bytes),
            Step::Reshape(name) => database.reshape(name, &mut |_, _| true).map(drop),
            Step::Read(keys) => read(database, keys),
            Step::Backup => {
                let copy = MemoryDisk::new();
                database.backup_on(Arc::new(copy.clone()), &mut |_, _| true)?;
                assert_sound(&Database::open_on(Arc::new(copy), tiny(Durability::Sync)).expect("it is whole"));
                Ok(())
            }
            Step::Reopen(_) | Step::Kill { .. } | Step::Pause | Step::Advance(_) => Ok(()),
        }
    }
}

/// The first time a leaf is on disk, then memory has something of it.
const READINGS: usize = 3;

thread_local! {
    static READS: Cell<[u64; 2]> = const { Cell::new([0; 2]) };
}

/// Point reads by this thread's steps since the last call: answered from excerpts, and from leaves as they are stored.
pub fn take_reads() -> [u64; 2] {
    READS.take()
}

fn read(database: &Database, keys: &[Vec<u8>]) -> Result<()> {
    let before = reads_without_image(database);
    let snapshot = database.snapshot()?;
    for name in database.families()? {
        let Some(family) = database.family(&name)? else { continue };
        let mut found = Vec::new();
        for key in (0..READINGS).flat_map(|_| keys) {
            found.push((key, snapshot.get(&family, key, |value| value.to_vec())?));
        }
        // After them, as it makes images of all leaves.
        let mut cursor = snapshot.cursor(&family, Range::default(), false)?;
        let mut rows = Rows::default();
        while cursor.fetch(Columns::Both, 1000, usize::MAX / 2, true, &mut rows)? == Fetched::More {}
        let content: Model = (0..rows.len()).map(|row| (rows.key(row).to_vec(), rows.value(row).to_vec())).collect();
        for (key, value) in found {
            assert!(content.get(key) == value.as_ref(), "{}: a point read saw something else", key.escape_ascii());
        }
    }
    let after = reads_without_image(database);
    let [records, warm] = READS.get();
    READS.set([records + after[0] - before[0], warm + after[1] - before[1]]);
    Ok(())
}

pub type Work = Box<dyn FnOnce() -> Result<()>>;

/// What a checkpoint's own thread has to do at the checkpoint's points.
struct Amid {
    /// Each when so many points have gone by since the one before.
    works: VecDeque<(u64, Work)>,
    passed: u64,
    failure: Option<Error>,
}

thread_local! {
    static AMID: RefCell<Option<Amid>> = const { RefCell::new(None) };
}

/// A checkpoint, and works that change records while it is on its way; those it has no points left for come after it.
///
/// It is the checkpoint's own thread that does them, where it holds no lock that they take: what they meet is what
/// other threads would meet while the checkpoint stands still there, and every run of it is the same.
pub fn checkpoint_amid(database: &Database, works: VecDeque<(u64, Work)>) -> Result<()> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| hook::install(Some(Arc::new(at_point))));
    AMID.set(Some(Amid { works, passed: 0, failure: None }));
    let checkpoint = database.checkpoint();
    let amid = AMID.take().expect("it was put there");
    amid.failure.map_or(checkpoint, Err)?;
    amid.works.into_iter().try_for_each(|(_, work)| work())
}

fn at_point(point: Point) {
    let idle = [
        Point::CheckpointStarted,
        Point::CheckpointLeafWritten,
        Point::CheckpointInnerWritten,
        Point::CheckpointPagesWritten,
        Point::CheckpointCommitted,
        Point::CheckpointDone,
    ];
    if !idle.contains(&point) {
        return;
    }
    // Taken away meanwhile, so that the works' own points do not count.
    let Some(mut amid) = AMID.take() else { return };
    amid.passed += 1;
    while amid.works.front().is_some_and(|(points, _)| *points <= amid.passed) {
        let (_, work) = amid.works.pop_front().expect("there is one");
        amid.passed = 0;
        if let Err(error) = work() {
            amid.failure = Some(error);
            amid.works.clear();
        }
    }
    AMID.set(Some(amid));
}
