//! Walking the tree in key order, either way, at one version.
//!
//! A cursor holds nothing between two fetches but the key it stands at: no page, no epoch. Within a fetch it walks the
//! inner images it came down by; they name leaves that hold all that the version can see, even if the writer has
//! replaced them since.

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use super::Tree;
use super::ahead_of_scan::{Ahead, Content, Ready};
use super::aside::LeafAside;
use super::gather::{gather, view};
use super::keys::compare_prefix;
use super::leaf::Leaf;
use super::page::Found;
use super::record::{BLOB, Record};
use super::steps::Steps;
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

impl Limit {
    fn is_reached(self, rows: &Rows) -> bool {
        rows.len() >= self.rows || rows.bytes() >= self.bytes
    }
}

pub struct Cursor {
    tree: Arc<Tree>,
    version: u64,
    /// What is still to come.
    range: Range,
    reverse: bool,
    done: bool,
    last: Vec<u8>,
    /// The last fetch ended within a leaf.
    inside: bool,
    /// Grows with leaves that had no image, and shrinks with the others.
    depth: u32,
    /// The leaf the last fetch ended in, if it was read to the side.
    kept: Option<LeafAside>,
    ahead: Ahead,
}

/// Above this depth a scan leaves memory alone that is nearly full.
const LONG: u32 = 8;
/// From this depth on it has leaves read ahead.
const SEQUENTIAL: u32 = 1;
/// So many leaves with images, at most, end that.
const DEEPEST: u32 = 64;

/// Where a leaf's records are copied from.
enum Source<'g> {
    Image(Leaf<'g>),
    Aside(LeafAside),
    /// They take the disk.
    Cold,
}

/// Why the copying of rows out of a leaf ended.
enum Copied {
    /// The leaf has no more; the neighbour may.
    Leaf,
    /// The range ends in this leaf.
    End,
    Limit,
    /// The next row takes the disk.
    Cold,
    /// All of it does.
    Nothing,
}

impl Cursor {
    /// The caller keeps `version` registered as active for as long as the cursor lives.
    pub fn new(tree: Arc<Tree>, version: u64, range: Range, reverse: bool) -> Cursor {
        Cursor {
            tree,
            version,
            range,
            reverse,
            done: false,
            last: Vec::new(),
            inside: false,
            depth: 0,
            kept: None,
            ahead: Ahead::default(),
        }
    }

    /// Goes on from `key`, in the cursor's direction and within what it was opened for.
    pub fn seek(&mut self, key: &[u8], whole: &Range) {
        self.done = false;
        self.inside = false;
        self.ahead = Ahead::default();
        self.range = whole.clone();
        if self.reverse {
            if !self.range.is_above(key) {
                self.range.stop = Bound::Included(key.to_vec());
            }
        } else if !self.range.is_below(key) {
            self.range.start = Bound::Included(key.to_vec());
        }
    }

    /// Appends rows until the limit, the end, a page that is not in memory, or one that cannot be read: of that the next
    /// fetch tells, if there is anything before it.
    pub fn fetch(&mut self, columns: Columns, limit: Limit, rows: &mut Rows) -> Result<Fetched> {
        if self.done || self.range.is_empty() {
            return Ok(Fetched::Done);
        }
        let fetched = self.fetch_some(columns, limit, rows);
        if fetched.is_err() {
            // It begins anew where this fetch began.
            (self.inside, self.ahead) = (false, Ahead::default());
        }
        fetched
    }

    fn fetch_some(&mut self, columns: Columns, limit: Limit, rows: &mut Rows) -> Result<Fetched> {
        let guard = epoch::pin();
        let tree = Arc::clone(&self.tree);
        let (reverse, range) = (self.reverse, &self.range);
        let mut steps = Steps::down(tree.root(&guard), &guard, |inner| match (reverse, &range.start, &range.stop) {
            (false, Bound::Included(key) | Bound::Excluded(key), _) => inner.find(key),
            (false, Bound::Unbounded, _) => 0,
            (true, _, Bound::Included(key)) => inner.find(key),
            (true, _, Bound::Excluded(key)) => inner.find_below(key),
            (true, _, Bound::Unbounded) => inner.count() - 1,
        });
        let before = rows.len();
        let (mut leaves, mut leaves_from_below) = (0, 0);
        let mut is_new = !std::mem::take(&mut self.inside);
        let mut has_advanced = false;
        let goal = Limit { rows: before + limit.rows, bytes: rows.bytes() + limit.bytes, ..limit };
        let fetched = loop {
            let source = self.source(&tree, &steps, is_new, limit.may_block, &guard);
            let copied = source.and_then(|(source, is_from_below)| {
                let copied = match source {
                    Source::Image(leaf) => self.copy(&tree, leaf, columns, goal, rows, &guard)?,
                    Source::Aside(leaf) => self.copy_aside(&tree, leaf, columns, goal, rows)?,
                    Source::Cold => Copied::Nothing,
                };
                Ok((copied, is_from_below))
            });
            let (copied, is_from_below) = match copied {
                Ok((Copied::Nothing, _)) => {
                    self.stand_before(&steps, has_advanced);
                    break Fetched::Cold;
                }
                Ok(copied) => copied,
                Err(_) if rows.len() > before => {
                    self.stand_before(&steps, has_advanced);
                    break Fetched::More;
                }
                Err(error) => return Err(error),
            };
            leaves += u64::from(is_new);
            leaves_from_below += u64::from(is_from_below);
            self.inside = matches!(copied, Copied::Limit | Copied::Cold);
            is_new = true;
            match copied {
                Copied::Leaf if steps.advance(self.reverse, &guard) => {
                    has_advanced = true;
                    self.ahead.passed();
                    if goal.is_reached(rows) {
                        // By its key the next fetch would come back to the leaf that is done, and lose what was read of this.
                        self.stand_before(&steps, has_advanced);
                        break Fetched::More;
                    }
                }
                Copied::Leaf | Copied::End => {
                    self.done = true;
                    break Fetched::Done;
                }
                Copied::Limit => break Fetched::More,
                Copied::Cold | Copied::Nothing => break Fetched::Cold,
            }
        };
        let row = tree.around().counters.row();
        row.add(Count::RowsScanned, (rows.len() - before) as u64);
        row.add(Count::LeavesScanned, leaves);
        row.add(Count::LeavesScannedFromDisk, leaves_from_below);
        if self.inside && rows.len() > before {
            let last = std::mem::take(&mut self.last);
            if self.reverse {
                self.range.stop = Bound::Excluded(last);
            } else {
                self.range.start = Bound::Excluded(last);
            }
        }
        Ok(fetched)
    }

    /// Where the leaf's records are, and whether memory had no image of it. `is_new`: the scan comes to it for the first time.
    fn source<'g>(
        &mut self,
        tree: &Arc<Tree>,
        steps: &Steps<'g>,
        is_new: bool,
        may_block: bool,
        guard: &'g Guard,
    ) -> Result<(Source<'g>, bool)> {
        let kept = self.kept.take();
        let found = steps.page.leaf(guard);
        let is_long = self.depth > LONG;
        if let Found::Hot(leaf) = found
            && !self.ahead.is_active()
        {
            self.depth = self.depth.saturating_sub(u32::from(is_new));
            if !is_long {
                tree.visit(steps.page);
            }
            return Ok((Source::Image(leaf), false));
        }
        let edges = steps.edges();
        if let (Found::Cold(_), Some(kept)) = (&found, kept.filter(|kept| kept.edges == edges)) {
            return Ok((Source::Aside(kept), false));
        }
        let ready = self.ahead.take(&edges, self.reverse, may_block);
        if self.depth >= SEQUENTIAL {
            self.ahead.ask(tree, &edges, &self.range, self.reverse, is_long, guard);
        }
        let piece = match ready {
            Ready::Piece(piece) => Some(piece.content),
            Ready::Nothing | Ready::NotYet => None,
        };
        let source = match (found, piece) {
            (Found::Hot(leaf), Some(Content::Loaded)) => Source::Image(leaf),
            (Found::Hot(leaf), _) => {
                self.depth = self.depth.saturating_sub(u32::from(is_new));
                if !is_long {
                    tree.visit(steps.page);
                }
                return Ok((Source::Image(leaf), false));
            }
            (Found::Cold(_), Some(Content::Aside(leaf))) => Source::Aside(leaf),
            (Found::Cold(_), _) if !may_block => return Ok((Source::Cold, false)),
            (Found::Cold(away), _) if is_long && self.ahead.room.is_tight(&tree.around().memory) => {
                Source::Aside(tree.read_for_scan(edges, away)?)
            }
            (Found::Cold(_), _) => Source::Image(tree.resident_for_scan(steps.page, guard)?),
        };
        self.depth = DEEPEST.min(self.depth + u32::from(is_new));
        if !is_long {
            tree.observe_leaf(steps.page);
        }
        Ok((source, is_new))
    }

    /// What comes next begins at the leaf that the steps have led to.
    fn stand_before(&mut self, steps: &Steps<'_>, has_advanced: bool) {
        if !has_advanced {
            return;
        }
        let edges = steps.edges();
        if !self.reverse {
            self.range.start = Bound::Included(edges.from.into_vec());
        } else if let Some(to) = edges.to {
            self.range.stop = Bound::Excluded(to.into_vec());
        }
    }

    fn copy_aside(
        &mut self,
        tree: &Tree,
        leaf: LeafAside,
        columns: Columns,
        goal: Limit,
        rows: &mut Rows,
    ) -> Result<Copied> {
        let parsed = tree.parse_for_scan(&leaf)?;
        let (prefix, records) = (parsed.prefix, &parsed.records);
        let slots = self.slots(records.len(), |key| find_in(prefix, records, key));
        let value = |record: &Record<'_>, rows: &mut Rows| match record.value.as_chunks::<8>() {
            _ if record.flags & BLOB == 0 => {
                rows.push_value(record.value);
                Ok(true)
            }
            ([place, length], []) if goal.may_block => {
                let (place, length) = (u64::from_le_bytes(*place), u64::from_le_bytes(*length));
                tree.read_long_value(Some(place), length, |value| rows.push_value(value)).map(|()| true)
            }
            _ => Ok(false),
        };
        let copied = self.copy_rows(prefix, slots, records.len(), |i| records[i], value, columns, goal, rows)?;
        self.kept = Some(leaf).filter(|leaf| !leaf.has_long_values());
        Ok(copied)
    }

    fn copy(
        &mut self,
        tree: &Tree,
        leaf: Leaf<'_>,
        columns: Columns,
        goal: Limit,
        rows: &mut Rows,
        guard: &Guard,
    ) -> Result<Copied> {
        let length = leaf.delta_len();
        let value = |record: &Record<'_>, rows: &mut Rows| {
            match record.blob() {
                None => rows.push_value(record.value),
                Some(blob) if !goal.may_block && blob.data(guard).is_none() => return Ok(false),
                Some(blob) => tree.read_blob(blob, guard, |value| rows.push_value(value))?,
            }
            Ok(true)
        };
        if length == 0 && !leaf.is_guarded() {
            let slots = self.slots(leaf.count(), |key| leaf.search(key));
            let record = |index| leaf.record(index);
            return self.copy_rows(leaf.prefix(), slots, leaf.count(), record, value, columns, goal, rows);
        }
        let mut scratch = Vec::new();
        let mut gathered = gather(leaf, length, &[], &mut scratch);
        view(&mut gathered.records, self.version, self.tree.around().clock.now());
        let (prefix, records) = (gathered.prefix, &gathered.records);
        let slots = self.slots(records.len(), |key| find_in(prefix, records, key));
        self.copy_rows(prefix, slots, records.len(), |i| records[i], value, columns, goal, rows)
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
        (start, stop): (usize, usize),
        count: usize,
        record: impl Fn(usize) -> Record<'r>,
        push_value: impl Fn(&Record<'r>, &mut Rows) -> Result<bool>,
        columns: Columns,
        goal: Limit,
        rows: &mut Rows,
    ) -> Result<Copied> {
        let mut last = None;
        let mut ended = None;
        for step in 0..stop.saturating_sub(start) {
            let index = if self.reverse { stop - 1 - step } else { start + step };
            if goal.is_reached(rows) {
                ended = Some(Copied::Limit);
                break;
            }
            let found = record(index);
            if columns != Columns::Keys {
                ended = match push_value(&found, rows) {
                    Ok(true) => None,
                    Ok(false) => Some(Copied::Cold),
                    Err(_) if last.is_some() => Some(Copied::Limit),
                    Err(error) => return Err(error),
                };
                if ended.is_some() {
                    break;
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
            let start = &self.range.start;
            let mut steps = Steps::down(tree.root(&guard), &guard, |inner| match start {
                Bound::Included(key) | Bound::Excluded(key) => inner.find(key),
                Bound::Unbounded => 0,
            });
            let mut leaves = 0;
            let next = loop {
                let upper = steps.upper();
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
        slots(records.len(), &|key| find_in(prefix, records, key))
    }
}

/// Where a key is or would be among records whose keys lack `prefix`, and whether it is there.
fn find_in(prefix: &[u8], records: &[Record<'_>], key: &[u8]) -> (usize, bool) {
    match compare_prefix(key, prefix) {
        Ordering::Less => (0, false),
        Ordering::Greater => (records.len(), false),
        Ordering::Equal => match records.binary_search_by(|record| record.key.cmp(&key[prefix.len()..])) {
            Ok(index) => (index, true),
            Err(index) => (index, false),
        },
    }
}

impl Tree {
    /// A key in the range that was changed after `version`, committed and not yet visible changes included.
    /// Under the lock; `version` is registered as active, so cold leaves hold nothing newer.
    pub fn changed_since(&self, range: &Range, version: u64, guard: &Guard) -> Option<Vec<u8>> {
        let mut steps = Steps::down(self.root(guard), guard, |inner| match &range.start {
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
            if steps.upper().is_none_or(|upper| range.is_above(&upper)) {
                return None;
            }
            steps.advance(false, guard);
        }
    }
}
