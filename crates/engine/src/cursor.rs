//! A cursor as programs have it: the tree's at a snapshot, with a transaction's own writes laid over it.

use std::sync::Arc;
use std::time::Instant;

use crate::core::Core;
use crate::counters::{Count, Measure};
use crate::error::Result;
use crate::events::EventKind;
use crate::family::{Family, FamilyCore};
use crate::pause::{Point, point};
use crate::range::Range;
use crate::snapshot::Snapshot;
use crate::tree::{self, Columns, Fetched, Limit, Rows};

/// A key that a transaction wrote, and its value; `None` deletes it.
pub type Overlaid = (Vec<u8>, Option<Vec<u8>>);

pub struct Cursor {
    snapshot: Snapshot,
    /// Not a handle, which would keep the database open.
    database: Arc<Core>,
    family: Arc<FamilyCore>,
    tree: tree::Cursor,
    whole: Range,
    reverse: bool,
    /// In key order, whatever the cursor's direction.
    overlay: Vec<Overlaid>,
    /// Overlaid keys already passed, counted in the cursor's direction.
    passed: usize,
    /// Fetched from the tree and not yet given out.
    waiting: Rows,
    next: usize,
    end: Fetched,
    rows_fetched: u64,
    /// How long all fetches took, if the scan is one of those that are timed.
    nanoseconds: Option<u64>,
}

/// Rows taken from the tree at a time when an overlay has to be merged in.
const MERGE_ROWS: usize = 256;

impl Cursor {
    pub(crate) fn new(
        snapshot: Snapshot,
        family: &Family,
        range: Range,
        reverse: bool,
        overlay: Vec<Overlaid>,
    ) -> Cursor {
        let tree = tree::Cursor::new(Arc::clone(&family.core.tree), snapshot.version(), range.clone(), reverse);
        let row = family.core.counters.row();
        row.add(Count::Scans, 1);
        let started = row.start(Measure::Scan, 1);
        if started.is_some() && row.is_sensing() {
            row.sense_scan(range.lowest());
        }
        Cursor {
            snapshot,
            database: Arc::clone(&family.database.0),
            family: Arc::clone(&family.core),
            tree,
            whole: range,
            reverse,
            overlay,
            passed: 0,
            waiting: Rows::default(),
            next: 0,
            end: Fetched::More,
            rows_fetched: 0,
            nanoseconds: started.map(|_| 0),
        }
    }

    /// The snapshot that the cursor reads at.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Appends up to `limit` rows of together about `limit_bytes` bytes. Without `may_block` it stops before a page
    /// that is not in memory. Before a page that cannot be read it stops too, if there is anything to give out: the next
    /// fetch tells of it. After an error, what was appended does not count.
    pub fn fetch(
        &mut self,
        columns: Columns,
        limit: usize,
        limit_bytes: usize,
        may_block: bool,
        rows: &mut Rows,
    ) -> Result<Fetched> {
        self.family.usable()?;
        point(Point::ReadStarted);
        // What may not wait is quick, or is asked for again.
        let started = (may_block || self.nanoseconds.is_some()).then(Instant::now);
        let (rows_before, bytes_before) = (rows.len(), rows.bytes());
        let (keys_before, values_before) = (rows.key_ends.len(), rows.values.len());
        let limit = Limit { rows: limit, bytes: limit_bytes, may_block };
        let fetched = if self.overlay.is_empty() {
            self.tree.fetch(columns, limit, rows)?
        } else {
            self.fetch_merged(columns, limit, rows)?
        };
        // An end may be that of a tree which was emptied by `close` meanwhile.
        self.family.usable()?;
        self.database.relieve_memory_of_reads();
        self.snapshot.held()?;
        let row = self.family.counters.row();
        if row.keeps_rows() {
            let keys = (keys_before..rows.key_ends.len()).map(|row| rows.key(row));
            row.sense(|sketch| sketch.scanned(keys, &rows.values[values_before..]));
        }
        let (rows, bytes) = ((rows.len() - rows_before) as u64, (rows.bytes() - bytes_before) as u64);
        self.rows_fetched += rows;
        row.add(Count::BytesRead, bytes);
        if let Some(lasted) = started.map(|started| started.elapsed()) {
            if let Some(nanoseconds) = &mut self.nanoseconds {
                *nanoseconds += lasted.as_nanos() as u64;
            }
            self.family.ended(EventKind::ScanFetch, lasted, &[("rows", rows), ("bytes", bytes)]);
        }
        Ok(fetched)
    }

    /// Goes on from `key` in the cursor's direction, within the range that the cursor was opened with.
    pub fn seek(&mut self, key: &[u8]) {
        self.tree.seek(key, &self.whole);
        self.waiting.clear();
        self.next = 0;
        self.end = Fetched::More;
        self.passed = if self.reverse {
            self.overlay.len() - self.overlay.partition_point(|(own, _)| own.as_slice() <= key)
        } else {
            self.overlay.partition_point(|(own, _)| own.as_slice() < key)
        };
    }

    fn overlaid(&self) -> Option<&Overlaid> {
        let index = if self.reverse { self.overlay.len().checked_sub(self.passed + 1)? } else { self.passed };
        self.overlay.get(index)
    }

    fn fetch_merged(&mut self, columns: Columns, limit: Limit, rows: &mut Rows) -> Result<Fetched> {
        let (before, bytes_before) = (rows.len(), rows.bytes());
        loop {
            if rows.len() - before >= limit.rows || rows.bytes() - bytes_before >= limit.bytes {
                return Ok(Fetched::More);
            }
            if self.next == self.waiting.len() {
                self.waiting.clear();
                self.next = 0;
                if self.end != Fetched::Done {
                    let some = Limit { rows: MERGE_ROWS, ..limit };
                    self.end = self.tree.fetch(Columns::Both, some, &mut self.waiting)?;
                    if self.end == Fetched::Cold && self.waiting.is_empty() {
                        return Ok(Fetched::Cold);
                    }
                }
            }
            let stored = (self.next < self.waiting.len()).then(|| self.waiting.key(self.next));
            let own = self.overlaid();
            let (take_own, take_stored) = match (own, stored) {
                (None, None) => return Ok(Fetched::Done),
                (Some(_), None) => (true, false),
                (None, Some(_)) => (false, true),
                (Some((own, _)), Some(stored)) => match own.as_slice().cmp(stored) {
                    std::cmp::Ordering::Equal => (true, true),
                    order => (order.is_lt() != self.reverse, order.is_gt() != self.reverse),
                },
            };
            let row = match own.filter(|_| take_own) {
                Some((key, value)) => value.as_deref().map(|value| (key.as_slice(), value)),
                None => Some((self.waiting.key(self.next), self.waiting.value(self.next))),
            };
            if let Some((key, value)) = row {
                if columns != Columns::Values {
                    rows.push_key(&[], key);
                }
                if columns != Columns::Keys {
                    rows.push_value(value);
                }
            }
            self.passed += usize::from(take_own);
            self.next += usize::from(take_stored);
        }
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        let row = self.family.counters.row();
        row.record(Measure::ScanLength, self.rows_fetched);
        if let Some(nanoseconds) = self.nanoseconds {
            row.record(Measure::Scan, nanoseconds);
            if let Some(by_row) = nanoseconds.checked_div(self.rows_fetched) {
                row.record(Measure::ScanRow, by_row);
            }
        }
    }
}
