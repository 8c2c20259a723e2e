//! A family: one ordered set of records, and the handle that programs read and write it by.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use crate::batch::{Batch, check_key, check_value};
use crate::core::Shared;
use crate::counters::{Count, FamilyCounters, Measure, Row, Started};
use crate::error::{Error, Result};
use crate::events::{Detail, EventKind};
use crate::many::Answer;
use crate::pause::{Point, point};
use crate::pins::Pins;
use crate::sync::checked::AtomicU32;
use crate::sync::{Instant, Ordering, RwLock, epoch};
use crate::tree::{AsOf, BLOB, Lookup, Record, Tree};
use crate::tunables::Settings;

/// Of keys read together so many go into the sketch, when they do, or one in so many.
const SENSED: usize = 16;

fn sensed_every(keys: usize) -> usize {
    keys.div_ceil(SENSED).clamp(1, SENSED)
}

const OPEN: u32 = 0;
const DROPPED: u32 = 1;
const CLOSED: u32 = 2;

/// What all handles of a family share.
pub struct FamilyCore {
    pub id: u32,
    pub name: RwLock<String>,
    pub note: RwLock<Option<String>>,
    pub settings: Arc<Settings>,
    pub counters: Arc<FamilyCounters>,
    pub tree: Arc<Tree>,
    pub pins: Pins,
    state: AtomicU32,
}

impl FamilyCore {
    pub fn new(
        id: u32,
        name: &str,
        note: Option<&str>,
        settings: Arc<Settings>,
        counters: Arc<FamilyCounters>,
        tree: Tree,
    ) -> FamilyCore {
        FamilyCore {
            id,
            name: RwLock::new(name.into()),
            note: RwLock::new(note.map(str::to_string)),
            settings,
            counters,
            tree: Arc::new(tree),
            pins: Pins::default(),
            state: AtomicU32::new(OPEN),
        }
    }

    /// Errors: `Closed`, or `NoSuchFamily` once it has been dropped.
    #[inline(always)]
    pub fn usable(&self) -> Result<()> {
        if self.state.load(Ordering::Acquire) == OPEN { Ok(()) } else { Err(self.why_not_usable()) }
    }

    #[cold]
    fn why_not_usable(&self) -> Error {
        match self.state.load(Ordering::Acquire) {
            DROPPED => Error::NoSuchFamily(self.name.read().clone()),
            _ => Error::Closed,
        }
    }

    /// Tells of what took long.
    pub fn ended(&self, kind: EventKind, lasted: Duration, detail: &[Detail]) {
        self.tree.around().events.ended(kind, Some(&self.name), lasted, detail);
    }

    pub fn drop_for_good(&self) {
        self.state.store(DROPPED, Ordering::Release);
    }

    pub fn close(&self) {
        let _ = self.state.compare_exchange(OPEN, CLOSED, Ordering::AcqRel, Ordering::Acquire);
    }

    #[inline(always)]
    pub(crate) fn read_resident<R>(
        &self,
        key: &[u8],
        as_of: AsOf,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Resident<R>> {
        let row = self.counters.row();
        let started = row.start(Measure::Get, 1);
        let found = match started {
            Some(Started::Sensed) => self.look_up_sensed(row, key, as_of, read)?,
            _ => self.look_up_resident(row, key, as_of, read)?,
        };
        match found {
            Resident::Cold => row.put_off(Measure::Get, started, 1),
            _ => row.finish(Measure::Get, started, 1),
        }
        Ok(found)
    }

    #[cold]
    #[inline(never)]
    fn look_up_sensed<R>(
        &self,
        row: Row<'_>,
        key: &[u8],
        as_of: AsOf,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Resident<R>> {
        let found = self.look_up_resident(row, key, as_of, |value| {
            self.sense_read(row, key, Some(value));
            read(value)
        })?;
        if let Resident::Absent = found {
            self.sense_read(row, key, None);
        }
        Ok(found)
    }

    #[cold]
    fn sense_read(&self, row: Row<'_>, key: &[u8], value: Option<&[u8]>) {
        let position = self.tree.position(key, &epoch::pin());
        row.sense(|sketch| sketch.read(key, value, row.done(), position));
    }

    #[cold]
    pub fn sense_reads(&self, keys: &[&[u8]], answers: &[Answer]) {
        let row = self.counters.row();
        for (place, value) in answers.iter().step_by(sensed_every(answers.len())) {
            self.sense_read(row, keys[*place], value.as_deref());
        }
    }

    #[inline(always)]
    fn look_up_resident<R>(
        &self,
        row: Row<'_>,
        key: &[u8],
        as_of: AsOf,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Resident<R>> {
        let guard = epoch::pin();
        // Looked at after pinning: `close` frees the tree through the epoch, and only after it has changed the state.
        self.usable()?;
        point(Point::ReadStarted);
        match self.tree.lookup(key, as_of, &guard) {
            Lookup::Absent => {
                // Absent, or gone with the whole tree, which `close` empties after it has changed the state.
                self.usable()?;
                row.add(Count::GetsAbsent, 1);
                Ok(Resident::Absent)
            }
            Lookup::Cold(..) => Ok(Resident::Cold),
            Lookup::Warm(page, away) => {
                let started = Instant::now();
                let Some(payload) = self.tree.unpack(away)? else { return Ok(Resident::Cold) };
                let value = match self.tree.search(&payload, away, key)? {
                    Some(record) if record.flags & BLOB != 0 => return Ok(Resident::Cold),
                    found => found.map(|record| record.value),
                };
                self.tree.warm_up(page, away, &[key], &payload, &guard)?;
                row.add(Count::GetsFromWarm, 1);
                row.record(Measure::GetWarm, started.elapsed().as_nanos() as u64);
                let Some(value) = value else {
                    row.add(Count::GetsAbsent, 1);
                    return Ok(Resident::Absent);
                };
                row.add(Count::GetsFound, 1);
                row.add(Count::BytesRead, value.len() as u64);
                Ok(Resident::Found(read(value)))
            }
            Lookup::Found(record) => {
                let value = match record.blob() {
                    None => record.value,
                    Some(blob) => match blob.data(&guard) {
                        Some(data) => data,
                        None => return Ok(Resident::Cold),
                    },
                };
                row.add(Count::GetsFound, 1);
                row.add(Count::BytesRead, value.len() as u64);
                Ok(Resident::Found(read(value)))
            }
        }
    }

    /// `read_resident` for many keys; returns the positions of those that take the disk.
    pub(crate) fn read_many_resident(
        &self,
        keys: &[&[u8]],
        as_of: AsOf,
        visit: &mut dyn FnMut(usize, Option<&[u8]>),
    ) -> Result<Vec<usize>> {
        let row = self.counters.row();
        let started = row.start(Measure::Get, keys.len() as u32);
        let guard = epoch::pin();
        self.usable()?;
        point(Point::ReadStarted);
        let (mut cold, mut found, mut bytes) = (Vec::new(), 0, 0);
        // Of many, evenly as many as of single gets.
        let every = if started.is_some_and(Started::is_sensed) { sensed_every(keys.len()) } else { 0 };
        let visit = &mut |index: usize, value: Option<&[u8]>| {
            if every > 0 && index.is_multiple_of(every) {
                self.sense_read(row, keys[index], value);
            }
            visit(index, value);
        };
        self.tree.lookup_many(keys, as_of, &guard, &mut |index, lookup| match lookup {
            Lookup::Absent => visit(index, None),
            Lookup::Cold(..) | Lookup::Warm(..) => cold.push(index),
            Lookup::Found(record) => match record.blob().map(|blob| blob.data(&guard)) {
                None => {
                    found += 1;
                    bytes += record.value.len();
                    visit(index, Some(record.value));
                }
                Some(Some(data)) => {
                    found += 1;
                    bytes += data.len();
                    visit(index, Some(data));
                }
                Some(None) => cold.push(index),
            },
        });
        self.usable()?;
        let answered = keys.len() - cold.len();
        row.add(Count::GetsAbsent, answered as u64 - found);
        row.add(Count::GetsFound, found);
        row.add(Count::BytesRead, bytes as u64);
        row.put_off(Measure::Get, started.filter(|_| answered == 0), cold.len() as u32);
        row.finish(Measure::Get, started.filter(|_| answered > 0), answered as u32);
        Ok(cold)
    }

    pub(crate) fn read<R>(&self, key: &[u8], as_of: AsOf, read: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        let row = self.counters.row();
        let started = row.start(Measure::Get, 1);
        let from_disk = Cell::new(None);
        let is_sensed = started.is_some_and(Started::is_sensed);
        let read = |value: &[u8]| {
            if is_sensed {
                self.sense_read(row, key, Some(value));
            }
            read(value)
        };
        let found = self.find(key, as_of, &from_disk, |record, guard| match record.blob() {
            None => {
                row.add(Count::BytesRead, record.value.len() as u64);
                Ok(read(record.value))
            }
            Some(blob) => {
                row.add(Count::BytesRead, blob.len());
                if blob.data(guard).is_none() {
                    from_disk.set(from_disk.get().or_else(|| Some(Instant::now())));
                }
                self.tree.read_blob(blob, guard, read)
            }
        })?;
        if is_sensed && found.is_none() {
            self.sense_read(row, key, None);
        }
        row.add(if found.is_some() { Count::GetsFound } else { Count::GetsAbsent }, 1);
        if let Some(since) = from_disk.get() {
            row.add(Count::GetsFromDisk, 1);
            let lasted = since.elapsed();
            row.record(Measure::GetCold, lasted.as_nanos() as u64);
            self.ended(EventKind::Get, lasted, &[("found", found.is_some().into())]);
        }
        row.finish(Measure::Get, started, 1);
        Ok(found)
    }

    /// Loads what it takes, and shows the record where it lies. Sets `loaded` to when its leaf was missed in memory.
    fn find<R>(
        &self,
        key: &[u8],
        as_of: AsOf,
        loaded: &Cell<Option<Instant>>,
        show: impl FnOnce(Record<'_>, &epoch::Guard) -> Result<R>,
    ) -> Result<Option<R>> {
        let guard = epoch::pin();
        loop {
            self.usable()?;
            point(Point::ReadStarted);
            match self.tree.lookup(key, as_of, &guard) {
                Lookup::Absent => return self.usable().map(|()| None),
                Lookup::Found(record) => return show(record, &guard).map(Some),
                Lookup::Warm(page, away) => {
                    let Some(payload) = self.tree.unpack(away)? else { continue };
                    match self.tree.search(&payload, away, key)? {
                        Some(record) if record.flags & BLOB != 0 => drop(self.tree.resident(page, &guard)?),
                        found => {
                            self.counters.add(Count::GetsFromWarm, 1);
                            self.tree.warm_up(page, away, &[key], &payload, &guard)?;
                            return found.map(|record| show(record, &guard)).transpose();
                        }
                    }
                }
                Lookup::Cold(page, away) => {
                    loaded.set(loaded.get().or_else(|| Some(Instant::now())));
                    if let Some(payload) = self.tree.read_cold(page, away, &[key], &guard)? {
                        let found = self.tree.search(&payload, away, key)?;
                        return found.map(|record| show(record, &guard)).transpose();
                    }
                }
            }
        }
    }

    pub(crate) fn expiry(&self, key: &[u8], as_of: AsOf) -> Result<Option<u64>> {
        self.find(key, as_of, &Cell::new(None), |record, _| Ok(record.expiry))
    }
}

/// The answer of a read that never touches the disk.
pub enum Resident<R> {
    Found(R),
    Absent,
    /// It takes the disk to know.
    Cold,
}

/// A handle on a family; cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct Family {
    pub(crate) database: Arc<Shared>,
    pub(crate) core: Arc<FamilyCore>,
}

impl Family {
    pub(crate) fn core(&self) -> &Arc<FamilyCore> {
        &self.core
    }

    pub(crate) fn expiry_of(&self, ttl: Duration) -> u64 {
        let milliseconds = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        self.database.clock.now().saturating_add(milliseconds).max(1)
    }

    pub fn name(&self) -> String {
        self.core.name.read().clone()
    }

    /// The newest committed value, if no disk is needed to know it. `read` runs on the bytes in place: keep it short.
    #[inline(always)]
    pub fn get_resident<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Result<Resident<R>> {
        self.core.read_resident(key, AsOf::Newest, read)
    }

    /// The newest committed value, loaded from disk where needed.
    pub fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        let found = self.core.read(key, AsOf::Newest, read)?;
        self.database.relieve_memory_of_reads();
        Ok(found)
    }

    /// How long a key's record has still to live: `Some(None)` is for ever, `None` means there is no record.
    pub fn time_to_live(&self, key: &[u8]) -> Result<Option<Option<Duration>>> {
        let now = self.database.clock.now();
        let expiry = self.core.expiry(key, AsOf::Newest)?;
        Ok(expiry.map(|expiry| (expiry != 0).then(|| Duration::from_millis(expiry.saturating_sub(now)))))
    }

    pub fn put(&self, key: &[u8], value: &[u8], ttl: Option<Duration>) -> Result<()> {
        check_key(key)?;
        check_value(value)?;
        let expiry = ttl.map_or(0, |ttl| self.expiry_of(ttl));
        self.database.put(&self.core, key, value, expiry, true).map(drop)
    }

    /// False: it would have had to wait for a lock or the disk, and did nothing.
    #[inline]
    pub fn try_put(&self, key: &[u8], value: &[u8], ttl: Option<Duration>) -> Result<bool> {
        check_key(key)?;
        check_value(value)?;
        let expiry = ttl.map_or(0, |ttl| self.expiry_of(ttl));
        self.database.put(&self.core, key, value, expiry, false)
    }

    /// Whether the key was there.
    pub fn delete(&self, key: &[u8]) -> Result<bool> {
        check_key(key)?;
        Ok(self.database.delete(&self.core, key, true)?.expect("it was allowed to wait"))
    }

    /// `None`: it would have had to wait for a lock or the disk, and did nothing.
    pub fn try_delete(&self, key: &[u8]) -> Result<Option<bool>> {
        check_key(key)?;
        self.database.delete(&self.core, key, false)
    }

    /// Deletes all in `[start, stop)` at once, and tells how many records that were. `None` is no bound.
    pub fn delete_range(&self, start: Option<&[u8]>, stop: Option<&[u8]>) -> Result<u64> {
        let mut batch = Batch::default();
        batch.delete_range(self, start, stop)?;
        self.database.write(batch, None)
    }
}
