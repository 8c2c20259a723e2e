//! The handle on an open database.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::batch::{Batch, Operation};
use crate::catalogue::{Catalogue, FamilyEntry};
use crate::core::{Core, Shared};
use crate::counters::Count;
use crate::disk::{Disk, OsDisk};
use crate::error::{Error, Result};
use crate::events::Event;
use crate::family::{Family, FamilyCore};
use crate::host::{Host, Silent};
use crate::pause::{Point, point};
use crate::range::Range;
use crate::report::{CheckReport, Stats, Timings};
use crate::sense::Sensed;
use crate::snapshot::{Progress, Snapshot};
use crate::sync::{MutexGuard, Ordering};
use crate::transaction::Transaction;
use crate::tunables::{Settings, Value};
use crate::{Durability, backup, open};

/// What a record in the point cache takes beside its value, about: key, heads and its place in a queue.
const BESIDE_VALUE_BYTES: u64 = 100;

pub const DEFAULT_FAMILY: &str = "default";

/// How to open a database.
#[derive(Clone, Debug)]
pub struct Options {
    pub durability: Durability,
    pub read_only: bool,
    /// Make the database if there is none.
    pub create: bool,
    /// Tunables for this opening, by name: of the database, and for all families that have no value of their own.
    pub settings: Vec<(String, Value)>,
    pub clock: crate::Clock,
    pub host: Arc<dyn Host>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            durability: Durability::Group,
            read_only: false,
            create: true,
            settings: Vec::new(),
            clock: crate::Clock::System,
            host: Arc::new(Silent),
        }
    }
}

/// An open database; cheap to clone, usable from any thread. It closes when the last handle goes, or by `close`.
#[derive(Clone)]
pub struct Database {
    core: Arc<Shared>,
}

impl Database {
    /// Opens the database in folder `path`, made if it is not there and `options.create` allows it.
    ///
    /// Errors: `NotFound`, `NotADatabase`, `NewerFormat`, `Locked`, `Corruption`, `Config`, `Io`.
    pub fn open(path: &Path, options: Options) -> Result<Database> {
        open::prepare_folder(path, &options)?;
        Database::open_on(Arc::new(OsDisk::new(path)), options)
    }

    /// As `open`, on any disk: the way in for tests that break things.
    pub fn open_on(disk: Arc<dyn Disk>, options: Options) -> Result<Database> {
        open::open(disk, options).map(|core| Database { core: Arc::new(Shared(core)) })
    }

    pub fn path(&self) -> &Path {
        &self.core.path
    }

    pub fn is_closed(&self) -> bool {
        self.core.is_closed()
    }

    pub fn is_read_only(&self) -> bool {
        self.core.read_only
    }

    pub fn durability(&self) -> Durability {
        self.core.durability
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    fn handle(&self, family: Arc<FamilyCore>) -> Family {
        Family { database: Arc::clone(&self.core), core: family }
    }

    pub fn default_family(&self) -> Family {
        self.handle(self.core.family(DEFAULT_FAMILY).expect("it is made with the database and never dropped"))
    }

    pub fn family(&self, name: &str) -> Result<Option<Family>> {
        self.core.open_check()?;
        Ok(self.core.family(name).map(|family| self.handle(family)))
    }

    /// Names in order, that of the default family among them.
    pub fn families(&self) -> Result<Vec<String>> {
        self.core.open_check()?;
        Ok(self.core.families.read().keys().cloned().collect())
    }

    /// `settings` are pinned. Errors: `FamilyExists`, `Config`.
    pub fn create_family(&self, name: &str, settings: &[(String, Value)]) -> Result<Family> {
        let _catalogue = self.change_catalogue()?;
        if name.is_empty() || name.len() > 255 {
            return Err(Error::Config { name: "family".into(), why: "a family's name has 1 to 255 bytes".into() });
        }
        if self.core.family(name).is_some() {
            return Err(Error::FamilyExists(name.into()));
        }
        let id = self.core.next_id.fetch_add(1, Ordering::Relaxed) as u32;
        let entry = FamilyEntry { id, name: name.into(), note: None, settings: settings.to_vec(), root: None };
        let family = self.core.new_family(&entry)?;
        let mut catalogue = self.core.describe();
        catalogue.families.push(entry);
        self.core.log_catalogue(&catalogue, || {
            self.core.families.write().insert(name.into(), Arc::clone(&family));
        })?;
        Ok(self.handle(family))
    }

    /// Waits for a checkpoint that is on its way.
    pub fn drop_family(&self, name: &str) -> Result<()> {
        // A checkpoint that met the emptied tree would store it, though the drop itself may still be lost.
        let mut checkpoint = self.core.checkpoint.lock();
        let _catalogue = self.change_catalogue()?;
        let family = self.core.family(name).ok_or_else(|| Error::NoSuchFamily(name.into()))?;
        self.refuse_default(name)?;
        let mut catalogue = self.core.describe();
        catalogue.families.retain(|entry| entry.id != family.id);
        // Writers that hold the lock finish first; their records come before this one in the log.
        let writer = family.tree.writer.lock();
        self.core.log_catalogue(&catalogue, || {
            family.drop_for_good();
            self.core.families.write().remove(name);
            drop(writer);
        })?;
        checkpoint.dropped.push(family);
        Ok(())
    }

    pub fn rename_family(&self, old: &str, new: &str) -> Result<()> {
        let _catalogue = self.change_catalogue()?;
        let family = self.core.family(old).ok_or_else(|| Error::NoSuchFamily(old.into()))?;
        self.refuse_default(old)?;
        if self.core.family(new).is_some() {
            return Err(Error::FamilyExists(new.into()));
        }
        let mut catalogue = self.core.describe();
        catalogue.families.iter_mut().filter(|entry| entry.id == family.id).for_each(|entry| entry.name = new.into());
        self.core.log_catalogue(&catalogue, || {
            let mut families = self.core.families.write();
            families.remove(old);
            *family.name.write() = new.into();
            families.insert(new.into(), Arc::clone(&family));
        })
    }

    /// The lock under which the catalogue changes. `close` takes it too, so that what is open now stays so under it.
    fn change_catalogue(&self) -> Result<MutexGuard<'_, ()>> {
        let catalogue = self.core.catalogue.lock();
        self.changeable()?;
        point(Point::CatalogueLocked);
        Ok(catalogue)
    }

    fn changeable(&self) -> Result<()> {
        self.core.open_check()?;
        self.core.writable()
    }

    fn refuse_default(&self, name: &str) -> Result<()> {
        if name == DEFAULT_FAMILY {
            let why = "the default family can be neither dropped nor renamed".into();
            return Err(Error::Config { name: "family".into(), why });
        }
        Ok(())
    }

    /// A short text kept with a family for its user; `None` takes it away.
    pub fn set_note(&self, family: &str, note: Option<&str>) -> Result<()> {
        let _catalogue = self.change_catalogue()?;
        let core = self.core.family(family).ok_or_else(|| Error::NoSuchFamily(family.into()))?;
        let note = note.map(str::to_string);
        let mut catalogue = self.core.describe();
        let entry = catalogue.families.iter_mut().find(|entry| entry.id == core.id);
        entry.expect("it is one of them").note.clone_from(&note);
        self.core.log_catalogue(&catalogue, || *core.note.write() = note)
    }

    pub fn note(&self, family: &str) -> Result<Option<String>> {
        self.core.open_check()?;
        let core = self.core.family(family).ok_or_else(|| Error::NoSuchFamily(family.into()))?;
        let note = core.note.read().clone();
        Ok(note)
    }

    /// The database's without `family`.
    fn settings_of(&self, family: Option<&str>) -> Result<Arc<Settings>> {
        let Some(name) = family else { return Ok(Arc::clone(&self.core.settings)) };
        let family = self.core.family(name).ok_or_else(|| Error::NoSuchFamily(name.into()))?;
        Ok(Arc::clone(&family.settings))
    }

    /// Sets and pins tunables, all or none. Without `family`, those of families are set for all families, of now and of
    /// later, that have no value of their own.
    pub fn configure(&self, family: Option<&str>, settings: &[(String, Value)]) -> Result<()> {
        self.change_settings(family, |target| target.set(settings))
    }

    /// Makes the change and writes it down; if either fails, all is as it was.
    fn change_settings(&self, family: Option<&str>, change: impl FnOnce(&Settings) -> Result<()>) -> Result<()> {
        let _catalogue = self.change_catalogue()?;
        let target = self.settings_of(family)?;
        let before = target.copy();
        let done = change(&target).and_then(|()| self.core.log_catalogue(&self.core.describe(), || ()));
        if done.is_err() {
            target.restore(before);
        }
        self.core.settings_changed();
        done
    }

    /// Takes back what `configure` set for the same `family`: what `open` was given holds again, or else the default;
    /// for a family, what holds for the database.
    pub fn reset(&self, family: Option<&str>, names: &[String]) -> Result<()> {
        self.change_settings(family, |target| target.reset(names))
    }

    /// Makes what automatic tuning has set for `family`, or for the database, exactly this, all or nothing, at once and
    /// until it is closed. Whatever a user set goes before it; a family's goes before the database's.
    pub fn tune(&self, family: Option<&str>, settings: &[(String, Value)]) -> Result<()> {
        let _catalogue = self.change_catalogue()?;
        self.settings_of(family)?.tune(settings)?;
        self.core.settings_changed();
        Ok(())
    }

    /// Name, value in force, and whether the user pinned it. Without `family`, the database's own.
    pub fn settings(&self, family: Option<&str>) -> Result<Vec<(&'static str, Value, bool)>> {
        self.core.open_check()?;
        Ok(self.settings_of(family)?.list())
    }

    pub fn snapshot(&self) -> Result<Snapshot> {
        self.core.open_check()?;
        Ok(Snapshot::take(&self.core))
    }

    /// With `serializable`, commit fails also when something the transaction read has changed. After `timeout` its
    /// snapshot is given up, and its next use, or that of one of its cursors, gets `Error::TimedOut`.
    pub fn begin(&self, serializable: bool, timeout: Option<Duration>) -> Result<Transaction> {
        self.core.open_check()?;
        Ok(Transaction::begin(&self.core, serializable, timeout))
    }

    /// Writes a batch at once and whole.
    pub fn write(&self, batch: Batch) -> Result<()> {
        self.core.open_check()?;
        self.core.write(batch, None).map(drop)
    }

    /// Returns when all that was committed before the call is on disk.
    pub fn sync(&self) -> Result<()> {
        self.changeable()?;
        self.core.log.flush(true)
    }

    /// What a sample of the accesses says of each family's leaves and records; from now on it weighs `keep` of what it did.
    pub fn observed(&self, keep: f64) -> Result<Vec<(String, crate::Observed)>> {
        self.core.open_check()?;
        let families = self.core.all_families();
        let look = |family: &Arc<FamilyCore>| {
            let mut observed = family.tree.observer.look(keep, family.counters.accesses());
            let [read, found] = [Count::BytesRead, Count::GetsFound].map(|count| family.counters.sum(count));
            let bytes = read.checked_div(found).unwrap_or(100) + BESIDE_VALUE_BYTES;
            observed.records.iter_mut().for_each(|(size, _)| *size *= bytes);
            (family.name.read().clone(), observed)
        };
        Ok(families.iter().map(look).collect())
    }

    /// How the memory for leaves is divided, in thousandths: for leaves kept as they are stored, and for single records of
    /// leaves on disk; the rest is for those that are read in place. `warm_bytes`, `point_cache_bytes` and `hot_bytes` go
    /// before.
    pub fn plan_tiers(&self, stored_permille: u64, excerpts_permille: u64) {
        self.core.plan_tiers(stored_permille, excerpts_permille);
    }

    /// Loads the leaves with keys of a range, and keeps them in memory to be read in place until they are unpinned or the
    /// database is closed. Returns their bytes. Errors: `NoSuchFamily`; `Config`, with nothing pinned, if all that is
    /// pinned would take more than half of the memory.
    pub fn pin(&self, family: &str, range: &Range) -> Result<u64> {
        self.core.open_check()?;
        let core = self.core.family(family).ok_or_else(|| Error::NoSuchFamily(family.into()))?;
        self.core.pin(&core, range)
    }

    /// Takes `pin` of the same range back; whether there was one.
    pub fn unpin(&self, family: &str, range: &Range) -> Result<bool> {
        self.core.open_check()?;
        let core = self.core.family(family).ok_or_else(|| Error::NoSuchFamily(family.into()))?;
        Ok(core.pins.remove(range))
    }

    pub fn checkpoint(&self) -> Result<()> {
        self.changeable()?;
        self.core.checkpoint(None)
    }

    /// Moves pages towards the front of the page file and gives the rest back. `progress` gets bytes given back so far
    /// and bytes free at the start.
    pub fn compact(&self, progress: Progress<'_>) -> Result<()> {
        self.changeable()?;
        self.core.compact(progress)
    }

    /// Brings the leaves of `family` to the size of `leaf_bytes`; how many were built. Beside readers and writers, a leaf or
    /// so at a time. `progress` gets leaves looked at, and leaves there were.
    pub fn reshape(&self, family: &str, progress: Progress<'_>) -> Result<u64> {
        self.changeable()?;
        let core = self.core.family(family).ok_or_else(|| Error::NoSuchFamily(family.into()))?;
        self.core.reshape(&core, progress)
    }

    /// A consistent copy in the new or empty folder `destination`, beside readers and writers. `progress` gets bytes.
    pub fn backup(&self, destination: &Path, progress: Progress<'_>) -> Result<()> {
        self.changeable()?;
        backup::backup(&self.core, destination, progress)
    }

    /// As `backup`, onto any disk: the way in for tests that break things.
    pub fn backup_on(&self, target: Arc<dyn Disk>, progress: Progress<'_>) -> Result<()> {
        self.changeable()?;
        backup::backup_on(&self.core, &target, progress)
    }

    /// Drops leaves from memory, changed ones once they are written, until no more than `bytes` are in use or nothing more can
    /// be dropped: what the maintenance thread does above `memory_bytes`, at a moment of the caller's choice.
    pub fn drive_out(&self, bytes: u64) -> Result<()> {
        self.core.open_check()?;
        self.core.drive_out(bytes)
    }

    pub fn check(&self, progress: Progress<'_>) -> Result<CheckReport> {
        self.core.check(progress)
    }

    pub fn stats(&self) -> Result<Stats> {
        self.core.stats()
    }

    /// What happened since the last call that is worth telling one by one: checkpoints, and operations and transactions that
    /// took 100 ms or longer, or what was said to be slow. The newest 1,024 are kept.
    pub fn take_events(&self) -> Result<Vec<Event>> {
        self.core.open_check()?;
        Ok(self.core.events.take())
    }

    /// By family: all counters, and what a sketch of the accesses says of the time since the last call. The sketch is made
    /// from a call with `go_on` to one without; who looks no more leaves it full, and then it costs nothing either.
    pub fn sense(&self, go_on: bool) -> Result<Vec<Sensed>> {
        self.core.sense(go_on)
    }

    /// By family: how long the sampled operations of each kind took since the database was opened. Unlike `stats` it waits
    /// for nothing.
    pub fn timings(&self) -> Result<Vec<Timings>> {
        self.core.timings()
    }

    /// From how long on operations and transactions are events.
    pub fn set_slow(&self, slow: Duration) -> Result<()> {
        self.core.open_check()?;
        self.core.events.set_slow(slow);
        Ok(())
    }

    /// Waits for writers, writes all to disk and frees the memory. Later calls on any handle get `Error::Closed`.
    ///
    /// Where a full disk has no room for commits that were acknowledged already, it gets `Error::Io` and keeps them, and
    /// the lock, until it is called again or the last handle goes.
    pub fn close(&self) -> Result<()> {
        self.core.close()
    }
}

impl Core {
    /// Logs the families and settings as they shall be; `enact` makes them so, between the log and its visibility.
    fn log_catalogue(&self, catalogue: &Catalogue, enact: impl FnOnce()) -> Result<()> {
        let mut payload = Vec::new();
        Operation::Catalogue(&catalogue.encode()).encode(&mut payload);
        let ticket = self.log.append(&[&payload])?;
        let in_flight = self.versions.in_flight(ticket.version);
        enact();
        self.settle(ticket, in_flight)
    }

    pub fn settings_changed(&self) {
        self.families.read().values().for_each(|family| family.settings.refresh());
        self.memory.set_budget(self.settings.memory_bytes());
        self.residents.set_policy(self.settings.replacement());
        self.log.set_tail_bound(self.settings.memory_bytes() / 32);
        self.divide_memory();
        self.log.set_group_interval(Duration::from_millis(self.settings.group_interval_ms()));
    }
}
