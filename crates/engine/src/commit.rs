//! The way of a commit: locks, checks, the log, the trees, the disk if the caller waits for it, visibility.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::Durability;
use crate::batch::{Batch, EntryKind, Operation};
use crate::core::Core;
use crate::counters::{Count, Measure};
use crate::error::{Error, Result};
use crate::events::EventKind;
use crate::family::FamilyCore;
use crate::log::Ticket;
use crate::mvcc::InFlight;
use crate::pause::{Point, point};
use crate::range::Range;
use crate::sync::epoch::{self, Guard};
use crate::sync::{Instant, MutexGuard};
use crate::tree::{BLOB, Blob, Columns, Cursor, Fetched, Limit, Record, Rows, Tree, Writer, head};

/// What a transaction needs to be unchanged since its snapshot.
#[derive(Default)]
pub struct Check {
    pub snapshot: u64,
    /// What it writes is checked too, by the batch's own entries.
    pub keys: Vec<(Arc<FamilyCore>, Vec<u8>)>,
    pub ranges: Vec<(Arc<FamilyCore>, Range)>,
}

/// The value of a put as a record carries it: in place, or the address of a blob.
pub enum Carried {
    Address([u8; 8]),
    InPlace,
}

pub fn carry(tree: &Tree, value: &[u8]) -> Carried {
    if value.len() < tree.around().settings.blob_bytes() {
        return Carried::InPlace;
    }
    Carried::Address(Blob::resident(value.to_vec(), &tree.around().memory).into_value())
}

impl Carried {
    pub fn record<'a>(&'a self, key: &'a [u8], value: &'a [u8], version: u64, expiry: u64) -> Record<'a> {
        match self {
            Carried::InPlace => Record { key, value, version, expiry, flags: 0 },
            Carried::Address(address) => Record { key, value: address, version, expiry, flags: BLOB },
        }
    }
}

/// A change to one key.
struct Change<'a> {
    family: &'a Arc<FamilyCore>,
    key: &'a [u8],
    /// `None` deletes it.
    value: Option<&'a [u8]>,
    expiry: u64,
    /// As the log is told of it.
    logged: &'a Operation<'a>,
    /// Whether it may wait for a lock or for the disk.
    wait: bool,
}

/// What became of a change to one key.
enum Outcome {
    Done,
    /// It deletes what is not there.
    Nothing,
    /// It would have had to wait and was not to.
    WouldWait,
}

impl Core {
    /// False: it would have had to wait and was not to.
    pub fn put(&self, family: &Arc<FamilyCore>, key: &[u8], value: &[u8], expiry: u64, wait: bool) -> Result<bool> {
        let put = Operation::Put { family: family.id, key, value, expiry };
        let change = Change { family, key, value: Some(value), expiry, logged: &put, wait };
        Ok(!matches!(self.timed_change(Measure::Put, &change)?, Outcome::WouldWait))
    }

    /// Whether the key was there; `None`: it would have had to wait and was not to.
    pub fn delete(&self, family: &Arc<FamilyCore>, key: &[u8], wait: bool) -> Result<Option<bool>> {
        let delete = Operation::Delete { family: family.id, key };
        let change = Change { family, key, value: None, expiry: 0, logged: &delete, wait };
        Ok(match self.timed_change(Measure::Delete, &change)? {
            Outcome::Done => Some(true),
            Outcome::Nothing => Some(false),
            Outcome::WouldWait => None,
        })
    }

    fn timed_change(&self, measure: Measure, change: &Change<'_>) -> Result<Outcome> {
        let Change { family, key, value, .. } = change;
        let row = family.counters.row();
        let started = row.start(measure, 1);
        let waits = change.wait.then(Instant::now);
        let is_sensed = started.is_some() && row.is_sensing();
        let outcome = self.change(change, is_sensed)?;
        match outcome {
            Outcome::WouldWait => row.put_off(measure, started, 1),
            _ => row.finish(measure, started, 1),
        }
        if let Some(began) = waits {
            let kind = if value.is_some() { EventKind::Put } else { EventKind::Delete };
            family.ended(kind, began.elapsed(), &[("bytes", (key.len() + value.map_or(0, <[u8]>::len)) as u64)]);
        }
        Ok(outcome)
    }

    /// The whole way of a commit of one key, which is most of them: nothing is gathered, and the tree is gone down once.
    fn change(&self, change: &Change<'_>, is_sensed: bool) -> Result<Outcome> {
        let &Change { family, key, value, expiry, logged, wait } = change;
        self.writable()?;
        if !wait && self.durability == Durability::Sync || !self.relieve_memory(wait, 1)? {
            return Ok(Outcome::WouldWait);
        }
        let tree = &family.tree;
        let Some(mut writer) = lock(tree, wait) else { return Ok(Outcome::WouldWait) };
        point(Point::CommitLocked);
        family.usable()?;
        let guard = epoch::pin();
        let place = loop {
            match tree.place(key, &guard) {
                Ok(place) => break place,
                Err(_) if !wait => return Ok(Outcome::WouldWait),
                Err(page) => drop(tree.resident(page, &guard)?),
            }
        };
        if value.is_none() && !tree.holds(&place, key) {
            return Ok(Outcome::Nothing);
        }
        let mut head = SmallVec::<[u8; 64]>::new();
        let last = logged.head(&mut head);
        let Some(ticket) = self.log_append(&[&head, last], wait)? else { return Ok(Outcome::WouldWait) };
        let in_flight = self.versions.in_flight(ticket.version);
        point(Point::CommitLogged);
        if is_sensed {
            family.sense_write(key, value.is_some(), &place, &guard);
        }
        let version = ticket.version;
        match value {
            Some(value) => {
                let carried = carry(tree, value);
                tree.apply_at(&mut writer, place, &[carried.record(key, value, version, expiry)], &guard);
                family.counters.add(Count::Puts, 1);
                if expiry != 0 {
                    family.counters.add(Count::PutsExpiring, 1);
                }
                family.counters.add(Count::BytesWritten, (key.len() + value.len()) as u64);
            }
            None => {
                tree.apply_at(&mut writer, place, &[Record::tombstone(key, version)], &guard);
                family.counters.add(Count::Deletes, 1);
                family.counters.add(Count::BytesWritten, key.len() as u64);
            }
        }
        drop((writer, guard));
        self.settle(ticket, in_flight)?;
        Ok(Outcome::Done)
    }

    fn log_append(&self, parts: &[&[u8]], wait: bool) -> Result<Option<Ticket>> {
        if wait {
            return self.log.append(parts).map(Some);
        }
        // A commit is seen after all before it: behind one that is still on its way, `settle` would wait for it.
        self.log.try_append_if(parts, |last| self.versions.visible() == last)
    }

    /// The commit is in the trees: makes it durable if it has to be, and visible.
    pub fn settle(&self, ticket: Ticket, in_flight: InFlight<'_>) -> Result<()> {
        point(Point::CommitApplied);
        if self.durability == Durability::Sync {
            // Whether it is on disk is not known, so nothing may be built on it: the database has to be opened anew.
            self.log.wait_durable(ticket.position).inspect_err(|error| self.log.poison(&error.to_string()))?;
        }
        point(Point::CommitDurable);
        in_flight.finish();
        point(Point::CommitFinished);
        self.versions.wait_visible(ticket.version)
    }

    /// Writes a batch at once and whole, if what `check` names is as the transaction saw it.
    /// Returns how many records its range deletions removed.
    pub fn write(&self, batch: Batch, check: Option<&Check>) -> Result<u64> {
        self.writable()?;
        if batch.is_empty() && check.is_none() {
            return self.open_check().map(|()| 0);
        }
        let began = Instant::now();
        let start = |family: &Arc<FamilyCore>| family.counters.row().start(Measure::Batch, 1);
        let started: SmallVec<[_; 2]> = batch.families.iter().map(start).collect();
        self.relieve_memory(true, batch.entries.len())?;
        let mut families: Vec<Arc<FamilyCore>> = batch.families.clone();
        if let Some(check) = check {
            families.extend(check.keys.iter().map(|(family, _)| Arc::clone(family)));
            families.extend(check.ranges.iter().map(|(family, _)| Arc::clone(family)));
        }
        // All commits lock in the order of the families' numbers, so that no two wait for each other.
        families.sort_by_key(|family| family.id);
        families.dedup_by_key(|family| family.id);
        let mut writers: Vec<MutexGuard<'_, Writer>> =
            families.iter().map(|family| family.tree.writer.lock()).collect();
        point(Point::CommitLocked);
        families.iter().try_for_each(|family| family.usable())?;
        let guard = epoch::pin();
        let mut expanded = Expanded::default();
        for family in &families {
            expanded.expand(&batch, family)?;
        }
        let mut plans: Vec<Vec<Record<'_>>> = families.iter().map(|family| expanded.plan(&batch, family)).collect();
        for (family, plan) in families.iter().zip(&plans) {
            if family.tree.may_be_cold() {
                plan.iter().try_for_each(|planned| family.tree.make_resident(planned.key, &guard))?;
            }
        }
        if let Some(check) = check {
            let valid = self.validate(check, &families, &plans, &guard);
            // Against a commit that a failure has stopped for good it is in vain to try again.
            valid.map_err(|conflict| self.log.refused().unwrap_or(conflict))?;
        }
        if batch.is_empty() {
            return Ok(0);
        }
        let ticket = self.log.append(&[&batch.payload])?;
        let in_flight = self.versions.in_flight(ticket.version);
        point(Point::CommitLogged);
        for (family, started) in batch.families.iter().zip(&started) {
            if started.is_some() && family.counters.row().is_sensing() {
                let plan = families.iter().position(|other| other.id == family.id).map(|index| &plans[index]);
                family.sense_batch(plan.map_or(&[], Vec::as_slice), &guard);
            }
        }
        for ((family, plan), writer) in families.iter().zip(&mut plans).zip(&mut writers) {
            apply_plan(family, writer, plan, ticket.version, &guard);
            if batch.families.iter().any(|written| written.id == family.id) {
                count_plan(family, plan);
            }
            point(Point::CommitAppliedToOneFamily);
        }
        drop((writers, guard));
        self.settle(ticket, in_flight)?;
        for (family, started) in batch.families.iter().zip(started) {
            family.counters.row().finish(Measure::Batch, started, 1);
        }
        let family = if let [family] = &batch.families[..] { Some(&family.name) } else { None };
        let detail = [("records", batch.entries.len() as u64), ("bytes", batch.payload.len() as u64)];
        self.events.ended(EventKind::Batch, family, began.elapsed(), &detail);
        Ok(expanded.removed)
    }

    fn validate(
        &self,
        check: &Check,
        families: &[Arc<FamilyCore>],
        plans: &[Vec<Record<'_>>],
        guard: &Guard,
    ) -> Result<()> {
        let conflict = |family: &FamilyCore, key: &[u8]| {
            family.counters.add(Count::Conflicts, 1);
            let what = format!("key {}", key.escape_ascii());
            Err(Error::Conflict { family: family.name.read().clone(), what })
        };
        let is_newer = |family: &FamilyCore, key: &[u8]| family.tree.newest_version(key, guard) > check.snapshot;
        for (family, plan) in families.iter().zip(plans) {
            if let Some(planned) = plan.iter().find(|planned| is_newer(family, planned.key)) {
                return conflict(family, planned.key);
            }
        }
        if let Some((family, key)) = check.keys.iter().find(|(family, key)| is_newer(family, key)) {
            return conflict(family, key);
        }
        for (family, range) in &check.ranges {
            if let Some(key) = family.tree.changed_since(range, check.snapshot, guard) {
                return conflict(family, &key);
            }
        }
        Ok(())
    }

    /// Puts the content of a log record into the trees, at recovery.
    pub(crate) fn replay(batch: &Batch, version: u64) -> Result<()> {
        let guard = epoch::pin();
        for family in &batch.families {
            let mut writer = family.tree.writer.lock();
            let mut expanded = Expanded::default();
            expanded.expand(batch, family)?;
            let mut plan = expanded.plan(batch, family);
            plan.iter().try_for_each(|planned| family.tree.make_resident(planned.key, &guard))?;
            apply_plan(family, &mut writer, &mut plan, version, &guard);
        }
        Ok(())
    }
}

fn lock(tree: &Tree, wait: bool) -> Option<MutexGuard<'_, Writer>> {
    if wait { Some(tree.writer.lock()) } else { tree.writer.try_lock() }
}

/// The keys that the range deletions of a batch remove.
#[derive(Default)]
struct Expanded {
    /// (family, position of the range's entry in the batch, keys)
    ranges: Vec<(u32, usize, Rows)>,
    removed: u64,
}

impl Expanded {
    /// Under the family's lock: what is in the ranges cannot change before it is deleted.
    fn expand(&mut self, batch: &Batch, family: &FamilyCore) -> Result<()> {
        if batch.ranges.is_empty() {
            return Ok(());
        }
        for (position, entry) in batch.entries.iter().enumerate().filter(|(_, entry)| entry.family == family.id) {
            let EntryKind::DeleteRange(index) = entry.kind else { continue };
            let mut rows = Rows::default();
            // Version MAX sees what is committed and not yet visible too.
            let mut cursor =
                Cursor::new(Arc::clone(&family.tree), u64::MAX, batch.ranges[index as usize].clone(), false);
            let all = Limit { rows: usize::MAX / 2, bytes: usize::MAX / 2, may_block: true };
            while cursor.fetch(Columns::Keys, all, &mut rows)? != Fetched::Done {}
            self.removed += rows.len() as u64;
            self.ranges.push((family.id, position, rows));
        }
        Ok(())
    }

    /// What the batch does to each key in the end, sorted by key, as records whose versions are not known yet.
    fn plan<'a>(&'a self, batch: &'a Batch, family: &FamilyCore) -> Vec<Record<'a>> {
        let mut records: Vec<Record<'a>> = Vec::with_capacity(batch.entries.len());
        let mut sorted = true;
        for (position, entry) in batch.entries.iter().enumerate().filter(|(_, entry)| entry.family == family.id) {
            let record = match entry.kind {
                EntryKind::Put => {
                    let (key, value) = (batch.key(entry), batch.value(entry));
                    Record { key, value, version: 0, expiry: entry.expiry, flags: 0 }
                }
                EntryKind::Delete => Record::tombstone(batch.key(entry), 0),
                EntryKind::DeleteRange(index) => {
                    let range = &batch.ranges[index as usize];
                    for earlier in records.iter_mut().filter(|record| range.contains(record.key)) {
                        *earlier = Record::tombstone(earlier.key, 0);
                    }
                    let of_this = self.ranges.iter().filter(|(id, at, _)| (*id, *at) == (family.id, position));
                    for (.., rows) in of_this {
                        records.extend((0..rows.len()).map(|row| Record::tombstone(rows.key(row), 0)));
                    }
                    sorted = false;
                    continue;
                }
            };
            sorted = sorted && records.last().is_none_or(|last| last.key < record.key);
            records.push(record);
        }
        if sorted { records } else { last_of_each_key(&records) }
    }
}

/// The last record of each key, sorted by key.
fn last_of_each_key<'a>(records: &[Record<'a>]) -> Vec<Record<'a>> {
    let key = |position: u32| records[position as usize].key;
    let mut order: Vec<(u64, u32)> =
        (0..records.len() as u32).map(|position| (head(key(position)), position)).collect();
    order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| key(a.1).cmp(key(b.1))).then(a.1.cmp(&b.1)));
    let mut last: Vec<Record<'a>> = Vec::with_capacity(records.len());
    for (_, position) in order {
        let record = records[position as usize];
        match last.last_mut() {
            Some(earlier) if earlier.key == record.key => *earlier = record,
            _ => last.push(record),
        }
    }
    last
}

/// Makes a plan's changes to the family's tree, as of `version`.
fn apply_plan(family: &FamilyCore, writer: &mut Writer, plan: &mut [Record<'_>], version: u64, guard: &Guard) {
    let mut longest = 0;
    for record in plan.iter_mut() {
        record.version = version;
        longest = longest.max(record.value.len());
    }
    if longest < family.settings.blob_bytes() {
        family.tree.apply(writer, plan, guard);
    } else {
        let carried: Vec<Carried> = plan.iter().map(|record| carry(&family.tree, record.value)).collect();
        let with_blobs = plan.iter().zip(&carried).map(|(record, carried)| match record.is_tombstone() {
            true => *record,
            false => carried.record(record.key, record.value, version, record.expiry),
        });
        family.tree.apply(writer, &with_blobs.collect::<Vec<_>>(), guard);
    }
}

fn count_plan(family: &FamilyCore, plan: &[Record<'_>]) {
    let bytes: usize = plan.iter().map(|record| record.key.len() + record.value.len()).sum();
    let row = family.counters.row();
    row.add(Count::Batches, 1);
    row.add(Count::BatchRecords, plan.len() as u64);
    row.add(Count::BytesWritten, bytes as u64);
    let expiring = plan.iter().filter(|record| record.expiry != 0).count();
    if expiring > 0 {
        row.add(Count::PutsExpiring, expiring as u64);
    }
}
