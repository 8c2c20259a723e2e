//! Walking the tree in key order, either way, at one version.
//!
//! A cursor holds nothing between two fetches but the key it stands at: no page, no epoch. Within a fetch it walks the
//! inner images it came down by; they name leaves that hold all that the version can see, even if the writer has
//! replaced them since.

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use super::Tree;
use super::gather::{gather, view};
use super::inner::Inner;
use super::keys::compare_prefix;
use super::leaf::Leaf;
use super::page::{Found, PageRef};
use super::record::Record;
use crate::counters::Count;
use crate::error::Result;
use crate::range::Range;
use crate::sync::epoch::{self, Guard};

/// What a cursor fetched, as two columns: row `i` of a column is `data[ends[i - 1]..ends[i]]`.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    pub keys: Vec<u8>,
    pub key_ends: Vec<usize>,
    pub values: Vec<u8>,
    pub value_ends: Vec<usize>,
}

impl Rows {
    pub fn len(&self) -> usize {
        self.key_ends.len().max(self.value_ends.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn clear(&mut self) {
        self.keys.clear();
        self.key_ends.clear();
        self.values.clear();
        self.value_ends.clear();
    }

    pub fn bytes(&self) -> usize {
        self.keys.len() + self.values.len()
    }

    pub fn key(&self, row: usize) -> &[u8] {
        column(&self.keys, &self.key_ends, row)
    }

    pub fn value(&self, row: usize) -> &[u8] {
        column(&self.values, &self.value_ends, row)
    }

    #[inline]
    pub fn push_key(&mut self, prefix: &[u8], suffix: &[u8]) {
        self.keys.extend_from_slice(prefix);
        self.keys.extend_from_slice(suffix);
        self.key_ends.push(self.keys.len());
    }

    #[inline]
    pub fn push_value(&mut self, value: &[u8]) {
        self.values.extend_from_slice(value);
        self.value_ends.push(self.values.len());
    }
}

fn column<'a>(data: &'a [u8], ends: &[usize], row: usize) -> &'a [u8] {
    let start = if row == 0 { 0 } else { ends[row - 1] };
    &data[start..ends[row]]
}

/// Which columns a fetch fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    Keys,
    Values,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The limit was reached; there may be more.
    More,
    Done,
    /// The next row is on disk, and the fetch was not to wait for it.
    Cold,
}

/// How much a fetch may bring.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    pub rows: usize,
    pub bytes: usize,
    pub may_block: bool,
}

pub struct Cursor {
    tree: Arc<Tree>,
    version: u64,
    /// What is still to come.
    range: Range,
    reverse: bool,
    done: bool,
    last: Vec<u8>,
}

/// The way from the root to a leaf, for stepping to its neighbours.
struct Steps<'g> {
    inner: Vec<(Inner<'g>, usize)>,
    page: &'g PageRef,
}

impl<'g> Steps<'g> {
    fn descend(&mut self, mut page: &'g PageRef, guard: &'g Guard, choose: impl Fn(Inner<'g>) -> usize) {
        while page.level() > 0 {
            let inner = page.inner(guard);
            let index = choose(inner);
            self.inner.push((inner, index));
            page = inner.child(index);
        }
        self.page = page;
    }

    /// To the next leaf in the direction; false at the end of the tree.
    fn advance(&mut self, reverse: bool, guard: &'g Guard) -> bool {
        while let Some((inner, index)) = self.inner.pop() {
            if reverse && index > 0 || !reverse && index + 1 < inner.count() {
                let index = if reverse { index - 1 } else { index + 1 };
                self.inner.push((inner, index));
                self.descend(inner.child(index), guard, |inner| if reverse { inner.count() - 1 } else { 0 });
                return true;
            }
        }
        false
    }
}

/// Why the copying of rows out of a leaf ended.
enum Copied {
    /// The leaf has no more; the neighbour may.
    Leaf,
    /// The range ends in this leaf.
    End,
    Limit,
    Cold,
}

impl Cursor {
    /// The caller keeps `version` registered as active for as long as the cursor lives.
    pub fn new(tree: Arc<Tree>, version: u64, range: Range, reverse: bool) -> Cursor {
        Cursor { tree, version, range, reverse, done: false, last: Vec::new() }
    }

    /// Goes on from `key`, in the cursor's direction and within what it was opened for.
    pub fn seek(&mut self, key: &[u8], whole: &Range) {
        self.done = false;
        self.range = whole.clone();
        if self.reverse {
            if !self.range.is_above(key) {
                self.range.stop = Bound::Included(key.to_vec());
            }
        } else if !self.range.is_below(key) {
            self.range.start = Bound::Included(key.to_vec());
        }
    }

    /// Appends rows until the limit, the end, or a page that is not in memory.
    pub fn fetch(&mut self, columns: Columns, limit: Limit, rows: &mut Rows) -> Result<Fetched> {
        if self.done || self.range.is_empty() {
            return Ok(Fetched::Done);
        }
        let guard = epoch::pin();
        let tree = Arc::clone(&self.tree);
        let mut steps = Steps { inner: Vec::with_capacity(4), page: tree.root(&guard) };
        let (reverse, range) = (self.reverse, &self.range);
        steps.descend(steps.page, &guard, |inner| match (reverse, &range.start, &range.stop) {
            (false, Bound::Included(key) | Bound::Excluded(key), _) => inner.find(key),
            (false, Bound::Unbounded, _) => 0,
            (true, _, Bound::Included(key)) => inner.find(key),
            (true, _, Bound::Excluded(key)) => inner.find_below(key),
            (true, _, Bound::Unbounded) => inner.count() - 1,
        });
        let before = rows.len();
        let (mut leaves, mut leaves_from_disk) = (0, 0);
        let goal = Limit { rows: before + limit.rows, bytes: rows.bytes() + limit.bytes, ..limit };
        let fetched = loop {
            let leaf = match steps.page.leaf(&guard) {
                Found::Hot(leaf) => leaf,
                Found::Cold(_) if !limit.may_block => break Fetched::Cold,
                Found::Cold(_) => {
                    leaves_from_disk += 1;
                    tree.resident(steps.page, &guard)?
                }
            };
            leaves += 1;
            tree.visit(steps.page);
            match self.copy(leaf, columns, goal, rows, &guard)? {
                Copied::Leaf if steps.advance(self.reverse, &guard) => {}
                Copied::Leaf | Copied::End => {
                    self.done = true;
                    break Fetched::Done;
                }
                Copied::Limit => break Fetched::More,
                Copied::Cold => break Fetched::Cold,
            }
        };
        let row = tree.around().counters.row();
        row.add(Count::RowsScanned, (rows.len() - before) as u64);
        row.add(Count::LeavesScanned, leaves);
        row.add(Count::LeavesScannedFromDisk, leaves_from_disk);
        if fetched != Fetched::Done && rows.len() > before {
            let last = std::mem::take(&mut self.last);
            if self.reverse {
                self.range.stop = Bound::Excluded(last);
            } else {
                self.range.start = Bound::Excluded(last);
            }
        }
        Ok(fetched)
    }

    fn copy(
        &mut self,
        leaf: Leaf<'_>,
        columns: Columns,
        goal: Limit,
        rows: &mut Rows,
        guard: &Guard,
    ) -> Result<Copied> {
        let length = leaf.delta_len();
        if length == 0 && !leaf.is_guarded() {
            let find = |key: &[u8]| leaf.search(key);
            let (start, stop) = self.slots(leaf.count(), find);
            return self.copy_rows(
                leaf.prefix(),
                start,
                stop,
                leaf.count(),
                |i| leaf.record(i),
                columns,
                goal,
                rows,
                guard,
            );
        }
        let mut scratch = Vec::new();
        let mut gathered = gather(leaf, length, &[], &mut scratch);
        view(&mut gathered.records, self.version, self.tree.around().clock.now());
        let (prefix, records) = (gathered.prefix, &gathered.records);
        let find = |key: &[u8]| match compare_prefix(key, prefix) {
            Ordering::Less => (0, false),
            Ordering::Greater => (records.len(), false),
            Ordering::Equal => match records.binary_search_by(|record| record.key.cmp(&key[prefix.len()..])) {
                Ok(index) => (index, true),
                Err(index) => (index, false),
            },
        };
        let (start, stop) = self.slots(records.len(), find);
        self.copy_rows(prefix, start, stop, records.len(), |i| records[i], columns, goal, rows, guard)
    }

    /// The slots of a leaf that lie in the range.
    fn slots(&self, count: usize, find: impl Fn(&[u8]) -> (usize, bool)) -> (usize, usize) {
        let start = match &self.range.start {
            Bound::Unbounded => 0,
            Bound::Included(key) => find(key).0,
            Bound::Excluded(key) => {
                let (index, found) = find(key);
                index + usize::from(found)
            }
        };
        let stop = match &self.range.stop {
            Bound::Unbounded => count,
            Bound::Excluded(key) => find(key).0,
            Bound::Included(key) => {
                let (index, found) = find(key);
                index + usize::from(found)
            }
        };
        (start, stop)
    }

    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    fn copy_rows<'r>(
        &mut self,
        prefix: &[u8],
        start: usize,
        stop: usize,
        count: usize,
        record: impl Fn(usize) -> Record<'r>,
        columns: Columns,
        goal: Limit,
        rows: &mut Rows,
        guard: &Guard,
    ) -> Result<Copied> {
        let mut last = None;
        let mut ended = None;
        for step in 0..stop.saturating_sub(start) {
            let index = if self.reverse { stop - 1 - step } else { start + step };
            if rows.len() >= goal.rows || rows.bytes() >= goal.bytes {
                ended = Some(Copied::Limit);
                break;
            }
            let found = record(index);
            if columns != Columns::Keys {
                match found.blob() {
                    None => rows.push_value(found.value),
                    Some(blob) if !goal.may_block && blob.data(guard).is_none() => {
                        ended = Some(Copied::Cold);
                        break;
                    }
                    Some(blob) => self.tree.read_blob(blob, guard, |value| rows.push_value(value))?,
                }
            }
            if columns != Columns::Values {
                rows.push_key(prefix, found.key);
            }
            last = Some(found.key);
        }
        if let Some(key) = last {
            self.last.clear();
            self.last.extend_from_slice(prefix);
            self.last.extend_from_slice(key);
        }
        Ok(ended.unwrap_or(if !self.reverse && stop < count || self.reverse && start > 0 {
            Copied::End
        } else {
            Copied::Leaf
        }))
    }

    /// Live records from here to the end of the range. `go_on` is asked now and then.
    pub fn count(mut self, go_on: &mut dyn FnMut(u64) -> bool) -> Result<Option<u64>> {
        const LEAVES_AT_ONCE: usize = 256;
        let mut total = 0;
        let tree = Arc::clone(&self.tree);
        while !self.range.is_empty() {
            let guard = epoch::pin();
            let mut steps = Steps { inner: Vec::with_capacity(4), page: tree.root(&guard) };
            let start = &self.range.start;
            steps.descend(steps.page, &guard, |inner| match start {
                Bound::Included(key) | Bound::Excluded(key) => inner.find(key),
                Bound::Unbounded => 0,
            });
            let mut leaves = 0;
            let next = loop {
                let upper = steps.inner.iter().rev().find(|(inner, index)| index + 1 < inner.count());
                let upper = upper.map(|(inner, index)| inner.separator(*index));
                let inside = upper.as_ref().is_some_and(|key| !self.range.is_above(key));
                let whole = matches!(self.range.start, Bound::Unbounded) || leaves > 0;
                match steps.page.leaf(&guard) {
                    // What a checkpoint counted holds for every version since, and older ones keep their leaves hot.
                    Found::Cold(_)
                        if whole
                            && (inside || upper.is_none() && self.range.stop == Bound::Unbounded)
                            && !steps.page.is(super::page::EXPIRING) =>
                    {
                        total += u64::from(steps.page.records());
                    }
                    _ => total += self.count_leaf(tree.resident(steps.page, &guard)?, leaves > 0),
                }
                leaves += 1;
                if !inside || leaves == LEAVES_AT_ONCE {
                    break upper.filter(|_| inside);
                }
                steps.advance(false, &guard);
            };
            if !go_on(total) {
                return Ok(None);
            }
            match next {
                Some(key) => self.range.start = Bound::Included(key.into_vec()),
                None => break,
            }
        }
        Ok(Some(total))
    }

    fn count_leaf(&self, leaf: Leaf<'_>, from_first: bool) -> u64 {
        let length = leaf.delta_len();
        let slots = |count: usize, find: &dyn Fn(&[u8]) -> (usize, bool)| {
            let (start, stop) = self.slots(count, find);
            stop.saturating_sub(if from_first { 0 } else { start }) as u64
        };
        if length == 0 && !leaf.is_guarded() {
            return slots(leaf.count(), &|key| leaf.search(key));
        }
        let mut scratch = Vec::new();
        let mut gathered = gather(leaf, length, &[], &mut scratch);
        view(&mut gathered.records, self.version, self.tree.around().clock.now());
        let (prefix, records) = (gathered.prefix, &gathered.records);
        slots(records.len(), &|key| match compare_prefix(key, prefix) {
            Ordering::Less => (0, false),
            Ordering::Greater => (records.len(), false),
            Ordering::Equal => match records.binary_search_by(|record| record.key.cmp(&key[prefix.len()..])) {
                Ok(index) => (index, true),
                Err(index) => (index, false),
            },
        })
    }
}

impl Tree {
    /// A key in the range that was changed after `version`, committed and not yet visible changes included.
    /// Under the lock; `version` is registered as active, so cold leaves hold nothing newer.
    pub fn changed_since(&self, range: &Range, version: u64, guard: &Guard) -> Option<Vec<u8>> {
        let mut steps = Steps { inner: Vec::with_capacity(4), page: self.root(guard) };
        steps.descend(steps.page, guard, |inner| match &range.start {
            Bound::Included(key) | Bound::Excluded(key) => inner.find(key),
            Bound::Unbounded => 0,
        });
        loop {
            if let Found::Hot(leaf) = steps.page.leaf(guard) {
                let delta = leaf.delta().map(|delta| (0..delta.len()).map(move |index| delta.record(index)));
                let changed =
                    delta.into_iter().flatten().find(|record| record.version > version && range.contains(record.key));
                if let Some(record) = changed {
                    return Some(record.key.to_vec());
                }
                if leaf.newest_version() > version {
                    let newer = leaf.records().filter(|record| record.version > version);
                    let mut keys = newer.map(|record| [leaf.prefix(), record.key].concat());
                    if let Some(key) = keys.find(|key| range.contains(key)) {
                        return Some(key);
                    }
                }
            }
            let upper = steps.inner.iter().rev().find(|(inner, index)| index + 1 < inner.count());
            if upper.is_none_or(|(inner, index)| range.is_above(&inner.separator(*index))) {
                return None;
            }
            steps.advance(false, guard);
        }
    }
}
