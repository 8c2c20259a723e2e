//! Walking every invariant of a tree, in memory and on disk, beside readers, writers and checkpoints.

use std::cmp::Ordering;

use super::Tree;
use super::gather::{Gathered, gather, view};
use super::inner::Inner;
use super::leaf::Leaf;
use super::load::Aside;
use super::page::{DIRTY, Found, PageRef, RETIRED};
use super::record::Record;
use crate::error::Error;
use crate::pagefile::{Extent, PageKind};
use crate::range::KeyRange;
use crate::sync::epoch::{self, Guard};

/// What a walk saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Census {
    pub pages: u64,
    pub records: u64,
    pub bytes: u64,
}

/// Something that is wrong.
pub struct Finding {
    /// The byte of the page file it is at, if it is on disk.
    pub offset: Option<u64>,
    /// The keys of the page that it is wrong with, where they cannot be read for it.
    pub keys: Option<KeyRange>,
    pub what: String,
}

impl Finding {
    fn new(offset: Option<u64>, what: String) -> Finding {
        Finding { offset, keys: None, what }
    }

    /// A page that cannot be read.
    fn unreadable(offset: Option<u64>, fences: &Fences, error: Error) -> Finding {
        let keys = KeyRange { start: fences.low.clone(), stop: fences.high.clone() };
        Finding { offset, keys: Some(keys), what: error.what() }
    }
}

type Report<'a> = &'a mut dyn FnMut(Finding);

impl Tree {
    /// Checks order, fences, levels, heads and flags of what is in memory; reads all that is on disk, to the side, and
    /// compares it with what is in memory and should be equal. `named` tells which long values (extents' bits) the parent
    /// of the leaf at an extent says it has. `go_on` is asked once a page; false ends the walk.
    ///
    /// It holds nothing between two leaves, so memory and space are freed meanwhile.
    pub fn verify(
        &self,
        named: &dyn Fn(u64) -> Vec<u64>,
        report: Report<'_>,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> Option<Census> {
        let mut walk = Walk { tree: self, named, report, census: Census::default(), through: Vec::new() };
        let mut from = Some(Vec::new());
        while let Some(key) = from {
            let before = walk.census.pages;
            from = walk.step(key);
            if !(before..walk.census.pages).all(|page| go_on(page + 1)) {
                return None;
            }
        }
        Some(walk.census)
    }
}

struct Walk<'a> {
    tree: &'a Tree,
    named: &'a dyn Fn(u64) -> Vec<u64>,
    report: Report<'a>,
    census: Census,
    /// The inner page that the last step came through, by level; an address only to know it again.
    through: Vec<usize>,
}

/// Keys from `low` on, up to `high`.
struct Fences {
    low: Vec<u8>,
    high: Option<Vec<u8>>,
}

/// A leaf as it was at one moment.
struct Seen<'g> {
    found: Found<'g>,
    /// Of the delta.
    changes: usize,
    /// 0 for none.
    extent: u64,
    is_clean: bool,
    records: u32,
    /// The long values that its parent says it has.
    long_values: Vec<u64>,
}

impl Seen<'_> {
    fn address(&self) -> Option<u64> {
        match self.found {
            Found::Hot(leaf) => Some(leaf.address()),
            Found::Cold(_) => None,
        }
    }

    fn is_same(&self, other: &Seen<'_>) -> bool {
        let key = |seen: &Seen<'_>| (seen.address(), seen.changes, seen.extent, seen.is_clean);
        key(self) == key(other)
    }
}

fn offset(extent: u64) -> Option<u64> {
    Extent::from_bits(extent).map(Extent::offset)
}

impl Walk<'_> {
    /// Checks the leaf of `key`, and inner pages on the way that the last step did not come through. Returns where to go
    /// on: at the leaf's end, or at `key` again if the leaf left the tree meanwhile.
    fn step(&mut self, key: Vec<u8>) -> Option<Vec<u8>> {
        let guard = epoch::pin();
        let mut page = self.tree.root(&guard);
        let mut fences = Fences { low: Vec::new(), high: None };
        while page.level() > 0 {
            let inner = page.inner(&guard);
            self.inner(page, inner, &fences);
            let index = inner.find(&key);
            if index > 0 {
                fences.low = inner.separator(index - 1).into_vec();
            }
            if index + 1 < inner.count() {
                fences.high = Some(inner.separator(index).into_vec());
            }
            let child = inner.child(index);
            if child.level() + 1 != page.level() {
                let what = format!("a page of level {} hangs below level {}", child.level(), page.level());
                (self.report)(Finding::new(offset(page.extent()), what));
                return self.beyond(&key, fences.high);
            }
            page = child;
        }
        if self.leaf(page, &key, &fences, &guard) { self.beyond(&key, fences.high) } else { Some(key) }
    }

    /// Damaged separators must not lead the walk back.
    fn beyond(&mut self, key: &[u8], high: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let high = high?;
        if high.as_slice() <= key {
            let what = format!("separators lead back from key {key:?} to {high:?}");
            (self.report)(Finding::new(None, what));
            return None;
        }
        Some(high)
    }

    fn inner(&mut self, page: &PageRef, inner: Inner<'_>, fences: &Fences) {
        let (level, identity) = (page.level(), std::ptr::from_ref(page).addr());
        if self.through.len() <= level {
            self.through.resize(level + 1, 0);
        }
        if std::mem::replace(&mut self.through[level], identity) == identity {
            return;
        }
        self.census.pages += 1;
        let place = offset(page.extent());
        let mut problem = |what: String| (self.report)(Finding::new(place, what));
        if inner.level() != level {
            problem(format!("an inner page of level {level} has an image of level {}", inner.level()));
        }
        let children = inner.children(&fences.low);
        for (index, pair) in children.windows(2).enumerate() {
            let next = &pair[1].low;
            if *next <= pair[0].low {
                problem(format!("separators {index} and {} of an inner page are out of order", index + 1));
            }
            if fences.high.as_ref().is_some_and(|high| next.as_slice() >= high.as_slice()) {
                problem(format!("separator {} of an inner page is above the page's range", index + 1));
            }
        }
        if let Some(extent) = Extent::from_bits(page.extent()) {
            let read = self.tree.around.pages.read_page(extent, PageKind::Inner, &mut Vec::new());
            read.unwrap_or_else(|error| (self.report)(Finding::unreadable(place, fences, error)));
        }
    }

    /// All that belongs together, under the lock that it changes under; `None`: the page has left the tree.
    fn look<'g>(&self, page: &'g PageRef, guard: &'g Guard) -> Option<Seen<'g>> {
        let _writer = self.tree.writer.lock();
        if page.is(RETIRED) {
            return None;
        }
        let found = page.leaf(guard);
        let changes = match found {
            Found::Hot(leaf) => leaf.delta_len(),
            Found::Cold(_) => 0,
        };
        let extent = page.extent();
        let (is_clean, records, long_values) = (!page.is(DIRTY), page.records(), (self.named)(extent));
        Some(Seen { found, changes, extent, is_clean, records, long_values })
    }

    /// Checks what stands in the leaf from `from` on. False: it changed under our eyes, and is to be looked at again.
    fn leaf(&mut self, page: &PageRef, from: &[u8], fences: &Fences, guard: &Guard) -> bool {
        let Some(seen) = self.look(page, guard) else { return false };
        let place = offset(seen.extent);
        // What is there cannot be written over while we are pinned, even if the page moves.
        let on_disk = match seen.extent {
            0 => None,
            extent => match self.tree.read_aside(extent) {
                Ok(aside) => Some(aside),
                Err(error) => {
                    (self.report)(Finding::unreadable(place, fences, error));
                    None
                }
            },
        };
        let leaf = match (&seen.found, &on_disk) {
            (Found::Hot(leaf), _) => *leaf,
            (Found::Cold(_), Some(aside)) => aside.leaf(),
            (Found::Cold(_), None) => {
                self.census.pages += 1;
                return true;
            }
        };
        let mut scratch = Vec::new();
        let gathered = gather(leaf, seen.changes, &[], &mut scratch);
        if let (Found::Hot(_), true, Some(aside)) = (&seen.found, seen.is_clean, &on_disk)
            && let Some(key) = difference(&gathered, aside)
        {
            // Long values move before the leaf that names them is written again; it is marked as changed before that.
            if self.look(page, guard).is_none_or(|again| !again.is_same(&seen)) {
                return false;
            }
            let what = format!("a leaf in memory differs from the same on disk at key {key:?}");
            (self.report)(Finding::new(place, what));
        }
        self.census.pages += 1;
        if matches!(seen.found, Found::Cold(_)) && leaf.count() != seen.records as usize {
            let what = format!("a leaf holds {} records and its parent says {}", leaf.count(), seen.records);
            (self.report)(Finding::new(place, what));
        }
        if let Some(aside) = &on_disk {
            let mut held: Vec<u64> = aside.leaf().records().filter_map(|one| one.blob()?.extent()).collect();
            let mut named = seen.long_values;
            held.sort_unstable();
            named.sort_unstable();
            if held != named {
                // What is not named counts as free space, and what is not held is never given back.
                let places = |bits: &[u64]| bits.iter().filter_map(|&bits| offset(bits)).collect::<Vec<_>>();
                let (held, named) = (places(&held), places(&named));
                let what = format!("a leaf holds long values at bytes {held:?}, and its parent names {named:?}");
                (self.report)(Finding::new(place, what));
            }
        }
        if seen.is_clean && seen.extent == 0 {
            (self.report)(Finding::new(place, "a leaf that was never written counts as clean".into()));
        }
        self.order(leaf, &gathered, fences, place);
        self.records(&gathered, from, guard);
        true
    }

    fn order(&mut self, leaf: Leaf<'_>, gathered: &Gathered<'_>, fences: &Fences, place: Option<u64>) {
        let mut problem = |what: String| (self.report)(Finding::new(place, what));
        let whole = |record: &Record<'_>| [gathered.prefix, record.key].concat();
        for pair in gathered.records.windows(2) {
            let ordered = pair[0].key < pair[1].key || pair[0].key == pair[1].key && pair[0].version > pair[1].version;
            if !ordered {
                problem(format!("records of a leaf are out of order at key {:?}", whole(&pair[1])));
            }
        }
        if gathered.records.first().is_some_and(|first| whole(first) < fences.low) {
            problem("a leaf holds a key below its range".into());
        }
        let above = |last: &Record<'_>| fences.high.as_ref().is_some_and(|high| whole(last) >= *high);
        if gathered.records.last().is_some_and(above) {
            problem("a leaf holds a key above its range".into());
        }
        for index in 0..leaf.count() {
            if leaf.heads()[index] != super::keys::head(leaf.record(index).key) {
                problem(format!("head {index} of a leaf is not its key's"));
            }
        }
    }

    /// Counts the records, and reads their long values.
    fn records(&mut self, gathered: &Gathered<'_>, from: &[u8], guard: &Guard) {
        for record in &gathered.records {
            // A merge may have put before us what has been counted.
            if compare(gathered.prefix, record.key, from, &[]).is_lt() {
                continue;
            }
            let length = match record.blob() {
                None => record.value.len() as u64,
                Some(blob) => {
                    if let Some(extent) = blob.extent() {
                        let in_memory = blob.data(guard);
                        match self.tree.read_blob_on_disk(blob, |data| in_memory.is_none_or(|memory| memory == data)) {
                            Ok(true) => {}
                            Ok(false) => {
                                let what = "a long value in memory differs from the same on disk";
                                (self.report)(Finding::new(offset(extent), what.into()));
                            }
                            Err(error) => {
                                let key = [gathered.prefix, record.key].concat();
                                let keys = Some(KeyRange::of_key(&key));
                                let what = format!("{}: a long value", error.what());
                                (self.report)(Finding { offset: offset(extent), keys, what });
                            }
                        }
                    }
                    blob.len()
                }
            };
            self.census.records += 1;
            self.census.bytes += (gathered.prefix.len() + record.key.len()) as u64 + length;
        }
    }
}

/// Two keys, each in two parts.
fn compare(a: &[u8], more_of_a: &[u8], b: &[u8], more_of_b: &[u8]) -> Ordering {
    a.iter().chain(more_of_a).cmp(b.iter().chain(more_of_b))
}

/// The first key at which a clean leaf's image and its page on disk are not the same. What expires may have gone from
/// either before it did from the other.
fn difference(memory: &Gathered<'_>, disk: &Aside) -> Option<Vec<u8>> {
    let mut scratch = Vec::new();
    let mut disk = gather(disk.leaf(), 0, &[], &mut scratch);
    let mut newest = memory.records.clone();
    view(&mut newest, u64::MAX, 0);
    view(&mut disk.records, u64::MAX, 0);
    let (mut left, mut right) = (newest.iter().peekable(), disk.records.iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => compare(memory.prefix, a.key, disk.prefix, b.key),
        };
        let (a, b) = (left.next_if(|_| order.is_le()), right.next_if(|_| order.is_ge()));
        let is_same = match (a, b) {
            (Some(a), Some(b)) => is_same(a, b),
            (Some(alone), None) | (None, Some(alone)) => alone.expiry != 0,
            (None, None) => unreachable!("one of them is not at its end"),
        };
        if !is_same {
            let prefix = if a.is_some() { memory.prefix } else { disk.prefix };
            return a.or(b).map(|record| [prefix, record.key].concat());
        }
    }
}

fn is_same(a: &Record<'_>, b: &Record<'_>) -> bool {
    let is_same_value = match (a.blob(), b.blob()) {
        (Some(a), Some(b)) => (a.extent(), a.len()) == (b.extent(), b.len()),
        (None, None) => a.value == b.value,
        _ => false,
    };
    is_same_value && a.expiry == b.expiry
}
