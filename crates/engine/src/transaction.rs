//! Transactions: a snapshot to read at, writes kept aside until commit, and a check that nobody was faster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::Resident;
use crate::batch::{Batch, check_key, check_value};
use crate::commit::Check;
use crate::core::Shared;
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::events::EventKind;
use crate::family::{Family, FamilyCore};
use crate::mvcc::Deadline;
use crate::range::Range;
use crate::snapshot::Snapshot;
use crate::sync::Instant;
use crate::tree::{Columns, Fetched, Rows};

/// A point in a transaction that it can be rolled back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Savepoint(pub u64);

/// A write kept until commit. `value` `None` deletes.
#[derive(Clone, Debug)]
struct Write {
    value: Option<Vec<u8>>,
    /// Milliseconds since the Unix epoch, 0 for never.
    expiry: u64,
}

struct FamilyWrites {
    family: Arc<FamilyCore>,
    writes: BTreeMap<Vec<u8>, Write>,
}

/// What a write replaced, for rolling back.
struct Undo {
    family: u32,
    key: Vec<u8>,
    before: Option<Write>,
}

struct Timeout {
    length: Duration,
    /// Lets the maintenance thread release the snapshot, so that a forgotten transaction does not hold what it sees.
    deadline: Option<Deadline>,
}

/// Sees the database as it stood when it began, and its own writes. Dropped without commit it is rolled back.
pub struct Transaction {
    core: Arc<Shared>,
    snapshot: Option<Snapshot>,
    began: Instant,
    serializable: bool,
    timeout: Option<Timeout>,
    written: BTreeMap<u32, FamilyWrites>,
    undo: Vec<Undo>,
    /// Length of `undo` at each savepoint still open, by its number.
    savepoints: Vec<(u64, usize)>,
    next_savepoint: u64,
    check: Check,
}

impl Transaction {
    pub(crate) fn begin(core: &Arc<Shared>, serializable: bool, timeout: Option<Duration>) -> Transaction {
        let began = Instant::now();
        let (snapshot, timeout) = match timeout {
            None => (Snapshot::take(core), None),
            Some(length) => {
                let (snapshot, deadline) = Snapshot::take_for(core, began, length);
                (snapshot, Some(Timeout { length, deadline }))
            }
        };
        let check = Check { snapshot: snapshot.version(), ..Check::default() };
        Transaction {
            core: Arc::clone(core),
            snapshot: Some(snapshot),
            began,
            serializable,
            timeout,
            written: BTreeMap::new(),
            undo: Vec::new(),
            savepoints: Vec::new(),
            next_savepoint: 0,
            check,
        }
    }

    pub fn is_active(&self) -> bool {
        self.snapshot.is_some()
    }

    /// The snapshot it reads at; without its own writes.
    pub fn snapshot(&mut self) -> Result<Snapshot> {
        self.active().cloned()
    }

    fn active(&mut self) -> Result<&Snapshot> {
        if let (Some(timeout), Some(snapshot)) = (&self.timeout, &self.snapshot) {
            if self.began.elapsed() > timeout.length {
                snapshot.release();
            }
            if let Err(timed_out) = snapshot.held() {
                self.end(false);
                return Err(timed_out);
            }
        }
        self.core.open_check()?;
        self.snapshot.as_ref().ok_or(Error::TransactionEnded)
    }

    fn end(&mut self, committed: bool) {
        let writes = self.written.values().map(|written| written.writes.len() as u64).sum();
        let detail = [("committed", committed.into()), ("writes", writes), ("serializable", self.serializable.into())];
        self.core.events.ended(EventKind::Transaction, None, self.began.elapsed(), &detail);
        self.snapshot = None;
        self.timeout = None;
        self.written.clear();
        self.undo.clear();
        self.savepoints.clear();
        self.check = Check::default();
    }

    fn own(&self, family: &Family, key: &[u8]) -> Option<&Write> {
        let write = self.written.get(&family.core.id)?.writes.get(key)?;
        Some(write)
    }

    fn is_live(&self, write: &Write) -> bool {
        write.value.is_some() && (write.expiry == 0 || write.expiry > self.core.clock.now())
    }

    /// With `serializable`, what was read is checked at commit.
    fn note_read(&mut self, family: &Family, key: &[u8]) {
        if self.serializable {
            self.check.keys.push((Arc::clone(&family.core), key.to_vec()));
        }
    }

    pub fn get<R>(&mut self, family: &Family, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        let snapshot = self.active()?.clone();
        family.core.usable()?;
        if let Some(write) = self.own(family, key) {
            return Ok(write.value.as_deref().filter(|_| self.is_live(write)).map(read));
        }
        self.note_read(family, key);
        snapshot.get(family, key, read)
    }

    pub fn get_resident<R>(
        &mut self,
        family: &Family,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Resident<R>> {
        let snapshot = self.active()?.clone();
        family.core.usable()?;
        if let Some(write) = self.own(family, key) {
            return Ok(match write.value.as_deref().filter(|_| self.is_live(write)) {
                Some(value) => Resident::Found(read(value)),
                None => Resident::Absent,
            });
        }
        self.note_read(family, key);
        snapshot.get_resident(family, key, read)
    }

    fn write(&mut self, family: &Family, key: &[u8], write: Write) -> Result<()> {
        self.core.writable()?;
        check_key(key)?;
        self.active()?;
        family.core.usable()?;
        let id = family.core.id;
        let written = self
            .written
            .entry(id)
            .or_insert_with(|| FamilyWrites { family: Arc::clone(&family.core), writes: BTreeMap::new() });
        let before = written.writes.insert(key.to_vec(), write);
        if !self.savepoints.is_empty() {
            self.undo.push(Undo { family: id, key: key.to_vec(), before });
        }
        Ok(())
    }

    pub fn put(&mut self, family: &Family, key: &[u8], value: &[u8], ttl: Option<Duration>) -> Result<()> {
        check_value(value)?;
        let expiry = ttl.map_or(0, |ttl| family.expiry_of(ttl));
        self.write(family, key, Write { value: Some(value.to_vec()), expiry })
    }

    /// Whether the key was there, as the transaction sees it.
    pub fn delete(&mut self, family: &Family, key: &[u8]) -> Result<bool> {
        check_key(key)?;
        let existed = self.get(family, key, |_| ())?.is_some();
        if existed {
            self.write(family, key, Write { value: None, expiry: 0 })?;
        }
        Ok(existed)
    }

    /// Deletes what the transaction sees in `[start, stop)`; how many records that were.
    pub fn delete_range(&mut self, family: &Family, start: Option<&[u8]>, stop: Option<&[u8]>) -> Result<u64> {
        self.core.writable()?;
        let mut cursor = self.cursor(family, Range::half_open(start, stop), false)?;
        let mut rows = Rows::default();
        while cursor.fetch(Columns::Keys, usize::MAX / 2, usize::MAX / 2, true, &mut rows)? != Fetched::Done {}
        for row in 0..rows.len() {
            self.write(family, rows.key(row), Write { value: None, expiry: 0 })?;
        }
        Ok(rows.len() as u64)
    }

    /// Over what the transaction sees now: writes that come later are not in it.
    pub fn cursor(&mut self, family: &Family, range: Range, reverse: bool) -> Result<Cursor> {
        let snapshot = self.active()?.clone();
        family.core.usable()?;
        if self.serializable {
            self.check.ranges.push((Arc::clone(&family.core), range.clone()));
        }
        if range.is_empty() {
            return Ok(Cursor::new(snapshot, family, range, reverse, Vec::new()));
        }
        let own = self.written.get(&family.core.id).map(|written| &written.writes);
        let bounds = (range.start.clone(), range.stop.clone());
        let overlay = own.into_iter().flat_map(|writes| writes.range(bounds.clone()));
        let overlay =
            overlay.map(|(key, write)| (key.clone(), write.value.clone().filter(|_| self.is_live(write)))).collect();
        Ok(Cursor::new(snapshot, family, range, reverse, overlay))
    }

    pub fn count(&mut self, family: &Family, range: &Range) -> Result<u64> {
        let mut cursor = self.cursor(family, range.clone(), false)?;
        let own = self.written.get(&family.core.id).is_some_and(|written| !written.writes.is_empty());
        if !own {
            return self.active()?.count(family, range, &mut |_, _| true);
        }
        let mut rows = Rows::default();
        let mut count = 0;
        loop {
            let fetched = cursor.fetch(Columns::Keys, 4096, usize::MAX / 2, true, &mut rows)?;
            count += rows.len() as u64;
            rows.clear();
            if fetched == Fetched::Done {
                return Ok(count);
            }
        }
    }

    pub fn savepoint(&mut self) -> Result<Savepoint> {
        self.active()?;
        self.next_savepoint += 1;
        self.savepoints.push((self.next_savepoint, self.undo.len()));
        Ok(Savepoint(self.next_savepoint))
    }

    fn find(&mut self, savepoint: Savepoint) -> Result<usize> {
        self.active()?;
        let found = self.savepoints.iter().position(|(number, _)| *number == savepoint.0);
        found.ok_or(Error::NoSuchSavepoint)
    }

    /// Takes back all writes since the savepoint, which stays; later ones are gone.
    pub fn rollback_to(&mut self, savepoint: Savepoint) -> Result<()> {
        let index = self.find(savepoint)?;
        let length = self.savepoints[index].1;
        self.savepoints.truncate(index + 1);
        for undo in self.undo.drain(length..).rev() {
            let written = self.written.get_mut(&undo.family).expect("it was written to");
            match undo.before {
                Some(before) => drop(written.writes.insert(undo.key, before)),
                None => drop(written.writes.remove(&undo.key)),
            }
        }
        Ok(())
    }

    /// Forgets the savepoint and later ones; the writes stay.
    pub fn release(&mut self, savepoint: Savepoint) -> Result<()> {
        let index = self.find(savepoint)?;
        self.savepoints.truncate(index);
        if self.savepoints.is_empty() {
            self.undo.clear();
        }
        Ok(())
    }

    /// Ends the transaction whatever the outcome. `Conflict`: somebody else was faster, and nothing was written.
    pub fn commit(&mut self) -> Result<()> {
        // No conflict would be found in what has been pruned: from here on the snapshot is held, however long it takes.
        if let Some(timeout) = &mut self.timeout {
            timeout.deadline = None;
        }
        self.active()?;
        let check = std::mem::take(&mut self.check);
        let mut batch = Batch::default();
        for writes in self.written.values() {
            for (key, write) in &writes.writes {
                match &write.value {
                    Some(value) => batch.put_entry(&writes.family, key, value, write.expiry),
                    None => batch.delete_entry(&writes.family, key),
                }
            }
        }
        let done = if batch.is_empty() { Ok(()) } else { self.core.write(batch, Some(&check)).map(drop) };
        self.end(done.is_ok());
        done
    }

    pub fn rollback(&mut self) -> Result<()> {
        self.active()?;
        self.end(false);
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.is_active() {
            self.end(false);
        }
    }
}
