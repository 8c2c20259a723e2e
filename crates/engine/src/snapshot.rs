//! Reading the database as it stood at one moment.

use std::sync::Arc;

use crate::Resident;
use crate::core::Core;
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::family::Family;
use crate::mvcc::ActiveVersion;
use crate::range::Range;
use crate::tree::{self, AsOf};

/// Everything that was visible when it was taken, unchanged until its last clone is dropped.
#[derive(Clone)]
pub struct Snapshot {
    active: Arc<ActiveVersion>,
}

/// Called with (done, total) in whatever unit the operation counts; false ends it with `Error::Interrupted`.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64) -> bool;

impl Snapshot {
    pub(crate) fn take(core: &Core) -> Snapshot {
        Snapshot { active: Arc::new(core.versions.register()) }
    }

    pub fn version(&self) -> u64 {
        self.active.version()
    }

    fn as_of(&self) -> AsOf {
        AsOf::Version(self.version())
    }

    pub fn get_resident<R>(&self, family: &Family, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Result<Resident<R>> {
        family.core.read_resident(key, self.as_of(), read)
    }

    pub fn get<R>(&self, family: &Family, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        family.core.read(key, self.as_of(), read)
    }

    /// Shows the value of each key that takes no disk; returns the positions of those that do.
    pub fn multi_get_resident(
        &self,
        family: &Family,
        keys: &[&[u8]],
        visit: &mut dyn FnMut(usize, Option<&[u8]>),
    ) -> Result<Vec<usize>> {
        family.core.read_many_resident(keys, self.as_of(), visit)
    }

    /// Live records in the range. `progress` gets the records so far, twice.
    pub fn count(&self, family: &Family, range: &Range, progress: Progress<'_>) -> Result<u64> {
        family.core.usable()?;
        let cursor = tree::Cursor::new(Arc::clone(&family.core.tree), self.version(), range.clone(), false);
        let count = cursor.count(&mut |done| progress(done, done))?.ok_or(Error::Interrupted)?;
        family.core.usable().map(|()| count)
    }

    pub fn cursor(&self, family: &Family, range: Range, reverse: bool) -> Result<Cursor> {
        family.core.usable()?;
        Ok(Cursor::new(self.clone(), family, range, reverse, Vec::new()))
    }
}
