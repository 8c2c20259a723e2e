//! Reading the database as it stood at one moment.

use std::sync::Arc;
use std::time::Duration;

use crate::Resident;
use crate::core::Core;
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::family::Family;
use crate::mvcc::{ActiveVersion, Deadline};
use crate::pause::{Point, point};
use crate::range::Range;
use crate::sync::Instant;
use crate::tree::{self, AsOf};

/// Everything that was visible when it was taken, unchanged until its last clone is dropped. That of a transaction with a
/// timeout gets `Error::TimedOut` once that is over.
#[derive(Clone)]
pub struct Snapshot {
    active: Arc<ActiveVersion>,
    timeout: Option<Duration>,
}

/// Called with (done, total) in whatever unit the operation counts; false ends it with `Error::Interrupted`.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64) -> bool;

impl Snapshot {
    pub(crate) fn take(core: &Core) -> Snapshot {
        Snapshot { active: Arc::new(core.versions.register_opened(core.host.origin())), timeout: None }
    }

    /// With what ends its time; `None` when that is further away than time goes.
    pub(crate) fn take_for(core: &Core, began: Instant, timeout: Duration) -> (Snapshot, Option<Deadline>) {
        let snapshot = Snapshot { timeout: Some(timeout), ..Snapshot::take(core) };
        let moment = began.checked_add(timeout);
        let deadline = moment.map(|moment| core.versions.release_at(moment, &snapshot.active));
        (snapshot, deadline)
    }

    pub(crate) fn release(&self) {
        self.active.release();
    }

    /// Asked after each read: what it found is right only if the version was held until then.
    #[inline(always)]
    pub(crate) fn held(&self) -> Result<()> {
        if self.active.is_released() { Err(self.timed_out()) } else { Ok(()) }
    }

    #[cold]
    fn timed_out(&self) -> Error {
        Error::TimedOut { seconds: self.timeout.unwrap_or_default().as_secs_f64() }
    }

    pub fn version(&self) -> u64 {
        self.active.version()
    }

    fn as_of(&self) -> AsOf {
        AsOf::Version(self.version())
    }

    pub fn get_resident<R>(&self, family: &Family, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Result<Resident<R>> {
        let found = family.core.read_resident(key, self.as_of(), read)?;
        self.held().map(|()| found)
    }

    pub fn get<R>(&self, family: &Family, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        let found = family.core.read(key, self.as_of(), read)?;
        family.database.relieve_memory_of_reads();
        self.held().map(|()| found)
    }

    /// Shows the value of each key that takes no disk; returns the positions of those that do. After an error, what was
    /// shown does not count.
    pub fn multi_get_resident(
        &self,
        family: &Family,
        keys: &[&[u8]],
        visit: &mut dyn FnMut(usize, Option<&[u8]>),
    ) -> Result<Vec<usize>> {
        let cold = family.core.read_many_resident(keys, self.as_of(), visit)?;
        self.held().map(|()| cold)
    }

    /// The values of the keys at these positions, which `multi_get_resident` has told to take the disk, in any order: each
    /// leaf is read once, several at the same time.
    pub fn multi_get_from_disk(
        &self,
        family: &Family,
        keys: &[&[u8]],
        positions: &[usize],
    ) -> Result<Vec<(usize, Option<Vec<u8>>)>> {
        let make_room = || family.database.relieve_memory_of_reads();
        let answers = family.core.read_many(keys, positions, self.as_of(), make_room)?;
        self.held().map(|()| answers)
    }

    /// Live records in the range. `progress` gets the records so far, twice.
    pub fn count(&self, family: &Family, range: &Range, progress: Progress<'_>) -> Result<u64> {
        family.core.usable()?;
        point(Point::ReadStarted);
        let cursor = tree::Cursor::new(Arc::clone(&family.core.tree), self.version(), range.clone(), false);
        let count = cursor.count(&mut |done| progress(done, done))?.ok_or(Error::Interrupted)?;
        family.core.usable()?;
        self.held().map(|()| count)
    }

    pub fn cursor(&self, family: &Family, range: Range, reverse: bool) -> Result<Cursor> {
        family.core.usable()?;
        Ok(Cursor::new(self.clone(), family, range, reverse, Vec::new()))
    }
}
