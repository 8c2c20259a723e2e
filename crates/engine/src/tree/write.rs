//! Changing the tree: appends to deltas, new images, splits and merges. All of it under the family's lock.
//!
//! A structural change builds new pages beside the old ones and becomes visible by one store, of the lowest image or
//! root that holds both sides. Readers that are already past that point go on in the old pages, which do not change any
//! more and hold all that was visible when those readers started.

use std::ops::Range;
use std::ptr;
use std::sync::Arc;

use smallvec::SmallVec;

use super::Tree;
use super::away::retire;
use super::blob;
use super::gather::{Gathered, Horizon, gather, prune};
use super::inner::{Child, Separator, build as build_inner};
use super::keys::{prefetch, separator};
use super::leaf::{Leaf, OVERHEAD, build as build_leaf, cost, size as image_size};
use super::page::{DIRTY, EARLY, Found, PageRef, RETIRED};
use super::passage::Passage;
use super::place::{Path, Place, Step};
use super::record::{BLOB, Record};
use crate::error::Result;
use crate::memory::Part;
use crate::pause::{Point, point};
use crate::sync::epoch::Guard;
use crate::sync::reach;

/// Children of an inner page at most, and at least (but for the root).
const FAN_OUT: usize = if cfg!(feature = "small-pages") { 8 } else { 192 };
/// A leaf with less than this part of its size is merged.
pub const LEAST_SHARE: usize = 4;
const RECLAIM_EVERY: usize = 32;
const FETCH_AHEAD: usize = 16;
const LEAST_FAN_OUT: usize = FAN_OUT / 4;

/// The state that the holder of the family's lock owns.
#[derive(Default)]
pub struct Writer {
    /// Extents (bits) of pages and blobs that left the newest tree; given back after the checkpoint that no longer
    /// refers to them.
    pub retired: Vec<u64>,
    /// Extents of leaves that were written early and have left the newest tree before any checkpoint met them: nothing on
    /// disk names them, so they need not wait for one.
    pub unnamed: Vec<u64>,
    /// How far the checkpoint that is on its way has come in this family; `None` before it comes here, and without one.
    pub passage: Option<Passage>,
    /// Images and pages given to the epoch since it was last asked to free some.
    unreclaimed: usize,
    pub consolidations: u64,
    pub splits: u64,
    pub merges: u64,
}

impl Tree {
    /// Brings the leaf of `key` into memory, so that a later `apply` under the same lock cannot fail.
    pub fn make_resident(&self, key: &[u8], guard: &Guard) -> Result<()> {
        let page = self.path(key, guard).page;
        self.resident(page, guard).map(drop)
    }

    /// Applies changes with whole keys, sorted, one a key, all of one version that is newer than all in the tree.
    /// Their leaves must be in memory. Takes over one blob reference for each change that has one.
    pub fn apply(&self, writer: &mut Writer, changes: &[Record<'_>], guard: &Guard) {
        let mut rest = changes;
        let mut fetched = 0;
        while let Some(first) = rest.first() {
            let done = changes.len() - rest.len();
            if changes.len() > 1 && done >= fetched {
                fetched = done + FETCH_AHEAD;
                self.fetch(&rest[..rest.len().min(FETCH_AHEAD)], guard);
            }
            let Ok(place) = self.place(first.key, guard) else {
                unreachable!("the leaf was made resident and the evictor needs the lock that we hold")
            };
            let own = 1 + rest[1..].iter().take_while(|change| place.path.covers(change.key)).count();
            let (mine, others) = rest.split_at(own);
            rest = others;
            self.apply_at(writer, place, mine, guard);
        }
    }

    /// As `apply`, for changes of which all belong to one leaf.
    pub fn apply_at(&self, writer: &mut Writer, place: Place<'_>, changes: &[Record<'_>], guard: &Guard) {
        let Place { path, leaf } = place;
        path.page.set(DIRTY);
        self.visit(path.page);
        point(Point::AppendStarted);
        if !self.append(leaf, changes) {
            self.rebuild(writer, path, leaf, changes, guard);
            writer.unreclaimed += 1;
            // The epoch on its own frees little at a time, and large batches would leave it behind for good.
            if writer.unreclaimed >= RECLAIM_EVERY {
                writer.unreclaimed = 0;
                guard.flush();
            }
        }
        point(Point::AppendDone);
    }

    /// Brings the leaves of the next changes into the cache, all at a time, where one after the other would wait.
    fn fetch(&self, changes: &[Record<'_>], guard: &Guard) {
        let mut leaves: SmallVec<[Leaf<'_>; FETCH_AHEAD]> = SmallVec::new();
        for change in changes {
            if let Found::Hot(leaf) = self.leaf_of(change.key, guard).leaf(guard) {
                prefetch(ptr::without_provenance(leaf.address() as usize));
                leaves.push(leaf);
            }
        }
        leaves.iter().for_each(|leaf| leaf.delta_state().prefetch());
    }

    /// Adds the changes to the leaf's delta, if there is room for all of them.
    fn append(&self, leaf: Leaf<'_>, changes: &[Record<'_>]) -> bool {
        let settings = &self.around.settings;
        let delta = match leaf.delta() {
            Some(delta) => delta,
            None => {
                let capacity = settings.delta_records();
                let size: usize = changes.iter().map(Record::encoded_len).sum();
                if changes.len() * 2 > capacity || size * 4 > settings.leaf_bytes() {
                    return false;
                }
                let heap = (size / changes.len() + 16) * capacity;
                leaf.delta_state().allocate(capacity, heap.min(settings.leaf_bytes()));
                let delta = leaf.delta().expect("just made");
                self.around.memory.grow(Part::Leaves, delta.bytes());
                delta
            }
        };
        let fits = delta.has_room(changes);
        if fits {
            // SAFETY: the caller holds the family's lock, and there is room.
            changes.iter().for_each(|change| unsafe { delta.append(change) });
        }
        fits
    }

    /// Who may still ask for these records. Of what a checkpoint's walk has passed it asks for nothing any more.
    fn horizon(&self, writer: &Writer, gathered: &Gathered<'_>) -> Horizon {
        let last = gathered.records.last().map(|record| [gathered.prefix, record.key].concat()).unwrap_or_default();
        let active = Passage::active(writer.passage.as_ref(), &self.around.versions, &last);
        Horizon { active, now: self.around.clock.now() }
    }

    /// What stays of a leaf and the changes to it, the extents of dropped long values noted in `writer`. Whether there were
    /// any: the page on disk still names them, so it has to be written again before it may be read again.
    pub(super) fn surviving(&self, writer: &mut Writer, gathered: &mut Gathered<'_>) -> bool {
        let horizon = self.horizon(writer, gathered);
        let before = writer.retired.len();
        prune(&mut gathered.records, &horizon, |record| {
            if record.flags & BLOB != 0 {
                // SAFETY: the record is alive: its leaf is, or the change that brings it.
                writer.retired.extend(unsafe { blob::from_value(record.value) }.drop_extent());
            }
        });
        writer.retired.len() > before
    }

    /// Of changes that stand behind all that the tree holds, those that its last leaf has no room for.
    fn beyond<'c, 'k>(&self, path: &Path<'_>, leaf: Leaf<'_>, changes: &'c [Record<'k>]) -> &'c [Record<'k>] {
        let is_behind = |change: &Record<'_>| leaf.search(change.key) == (leaf.count(), false);
        if leaf.delta_len() > 0 || !path.is_rightmost() || !changes.first().is_some_and(is_behind) {
            return &[];
        }
        let mut size = leaf.bytes() + OVERHEAD;
        let least = usize::from(leaf.count() == 0);
        let fitting = changes.iter().skip(least).position(|change| {
            size += cost(change);
            size > self.around.settings.leaf_bytes()
        });
        fitting.map_or(&[], |fitting| &changes[least + fitting..])
    }

    /// Makes leaves of changes that stand behind all others, next to the last leaf.
    fn extend(&self, writer: &mut Writer, path: &Path<'_>, last_key: &[u8], changes: &[Record<'_>], guard: &Guard) {
        writer.splits += 1;
        let target = self.around.settings.leaf_bytes();
        let pieces = divide(changes, image_size(changes), target, true);
        let low = Separator::from_slice(separator(last_key, changes[0].key));
        let mut pages = vec![Child { low: path.low(), page: ptr::from_ref(path.page) }];
        pages.extend(self.leaves(&[], changes, &pieces, low, guard));
        let index = path.steps.last().map_or(0, |step| step.index);
        point(Point::SplitBuilt);
        self.replace(writer, &path.steps, index..index + 1, pages, guard);
        point(Point::SplitPublished);
    }

    fn rebuild(&self, writer: &mut Writer, path: Path<'_>, leaf: Leaf<'_>, extras: &[Record<'_>], guard: &Guard) {
        let beyond = self.beyond(&path, leaf, extras);
        if !beyond.is_empty() {
            let (fitting, _) = extras.split_at(extras.len() - beyond.len());
            let last_key = fitting.last().map_or_else(|| leaf.last_key(), |change| change.key.to_vec());
            if !fitting.is_empty() {
                self.consolidate(writer, path.page, leaf, fitting, guard);
            }
            return self.extend(writer, &path, &last_key, beyond, guard);
        }
        writer.consolidations += 1;
        let mut scratch = Vec::new();
        let length = leaf.delta_len();
        let mut gathered = gather(leaf, length, extras, &mut scratch);
        let appended = path.is_rightmost() && is_append(leaf, &gathered);
        self.surviving(writer, &mut gathered);
        let size = image_size(&gathered.records);
        let target = self.around.settings.leaf_bytes();
        if size > target && gathered.records.len() > 1 {
            let pieces = divide(&gathered.records, size, target, appended);
            if pieces.len() > 1 {
                writer.splits += 1;
                let leaves = self.leaves(gathered.prefix, &gathered.records, &pieces, path.low(), guard);
                self.take_over_blobs(&gathered.records, extras);
                let index = path.steps.last().map_or(0, |step| step.index);
                point(Point::SplitBuilt);
                self.replace(writer, &path.steps, index..index + 1, leaves, guard);
                point(Point::SplitPublished);
                return self.retire(writer, path.page, guard);
            }
        } else if size < target / LEAST_SHARE && !path.steps.is_empty() {
            return self.merge(writer, path, gathered, extras, size, guard);
        }
        self.publish(path.page, &gathered, extras, guard);
    }

    /// Gives a leaf page a new image of the gathered records.
    pub(super) fn publish(&self, page: &PageRef, gathered: &Gathered<'_>, extras: &[Record<'_>], guard: &Guard) {
        let new = build_leaf(gathered.prefix, &gathered.records);
        self.take_over_blobs(&gathered.records, extras);
        self.around.memory.grow(Part::Leaves, new.bytes());
        point(Point::ImageBuilt);
        let old = page.publish(new.address());
        point(Point::ImagePublished);
        // SAFETY: it was a leaf's image, and nobody but pinned readers has it any more.
        unsafe { retire(old, 0, &self.around.memory, guard) };
    }

    /// Every record of a new image holds a reference to its blob; the changes give up those they came with.
    pub(super) fn take_over_blobs(&self, records: &[Record<'_>], extras: &[Record<'_>]) {
        // SAFETY: all of these records are alive, and each owns a reference.
        unsafe {
            for record in records.iter().filter(|record| record.flags & BLOB != 0) {
                blob::add_reference(record.value);
            }
            for record in extras.iter().filter(|record| record.flags & BLOB != 0) {
                blob::drop_reference(record.value);
            }
        }
    }

    pub(super) fn leaves(
        &self,
        prefix: &[u8],
        records: &[Record<'_>],
        pieces: &[Range<usize>],
        low: Separator,
        guard: &Guard,
    ) -> Vec<Child> {
        let mut low = Some(low);
        pieces
            .iter()
            .map(|piece| {
                let low = low.take().unwrap_or_else(|| {
                    let between = separator(records[piece.start - 1].key, records[piece.start].key);
                    [prefix, between].into_iter().flatten().copied().collect()
                });
                let leaf = build_leaf(prefix, &records[piece.clone()]);
                self.around.memory.grow(Part::Leaves, leaf.bytes());
                let page = self.new_page(leaf.address(), 0);
                // SAFETY: it was just made, and nobody else has it.
                self.note(unsafe { &*page }, guard);
                Child { low, page }
            })
            .collect()
    }

    /// An under-full leaf takes in its neighbour, or borrows from it when both do not fit one page.
    fn merge(
        &self,
        writer: &mut Writer,
        path: Path<'_>,
        mine: Gathered<'_>,
        extras: &[Record<'_>],
        size: usize,
        guard: &Guard,
    ) {
        let step = path.steps.last().expect("the caller saw a parent");
        let index = step.index;
        let other = if index > 0 { index - 1 } else { index + 1 };
        if other >= step.inner.count() {
            return self.publish(path.page, &mine, extras, guard);
        }
        let sibling = step.inner.child(other);
        let Ok(neighbour) = self.resident(sibling, guard) else {
            // The neighbour cannot be read; that is its readers' to hear of. An under-full page is no damage.
            return self.publish(path.page, &mine, extras, guard);
        };
        let mut scratch = Vec::new();
        let mut theirs = gather(neighbour, neighbour.delta_len(), &[], &mut scratch);
        self.surviving(writer, &mut theirs);
        let mut keys = Vec::new();
        let parts = if other < index { [&theirs, &mine] } else { [&mine, &theirs] };
        let records = join(&parts, &mut keys);
        let target = self.around.settings.leaf_bytes();
        let total = size + image_size(&theirs.records) - OVERHEAD;
        let pieces =
            if total > target * 3 / 4 { halve(&records, total) } else { std::iter::once(0..records.len()).collect() };
        writer.merges += 1;
        let low_index = index.min(other);
        let low = if low_index > 0 { step.inner.separator(low_index - 1) } else { low_of(&path.steps) };
        let leaves = self.leaves(&[], &records, &pieces, low, guard);
        self.take_over_blobs(&records, extras);
        point(Point::MergeBuilt);
        self.replace(writer, &path.steps, low_index..low_index + 2, leaves, guard);
        point(Point::MergePublished);
        self.retire(writer, path.page, guard);
        self.retire(writer, sibling, guard);
    }

    /// Puts `new` pages in the place of the children `range` of the last step, splitting and merging upwards as far as that
    /// goes. The store that publishes it all is the last thing that happens.
    pub(super) fn replace(
        &self,
        writer: &mut Writer,
        steps: &[Step<'_>],
        range: Range<usize>,
        new: Vec<Child>,
        guard: &Guard,
    ) {
        let Some((step, above)) = steps.split_last() else {
            return self.replace_root(new);
        };
        let level = step.page.level();
        let mut children = step.inner.children(&low_of(steps));
        children.splice(range, new);
        if above.is_empty() && children.len() == 1 {
            self.set_root(children[0].page);
            point(Point::RootShrunk);
            return self.retire(writer, step.page, guard);
        }
        if children.len() > FAN_OUT {
            let pages = even_chunks(children.len()).map(|piece| self.inner_page(level, &children[piece])).collect();
            let index = above.last().map_or(0, |parent| parent.index);
            self.replace(writer, above, index..index + 1, pages, guard);
            return self.retire(writer, step.page, guard);
        }
        if children.len() < LEAST_FAN_OUT
            && let Some(parent) = above.last().filter(|parent| parent.inner.count() > 1)
        {
            return self.merge_inner(writer, step, above, parent, children, guard);
        }
        let image = build_inner(level, &children);
        self.around.memory.add(Part::InnerPages, image.bytes());
        step.page.set(DIRTY);
        point(Point::InnerBuilt);
        let old = step.page.publish(image.address());
        point(Point::InnerPublished);
        // SAFETY: it was an inner page's image, and nobody but pinned readers has it any more.
        unsafe { retire(old, level, &self.around.memory, guard) };
    }

    /// An inner page with too few children takes in its neighbour's, or shares them evenly with it.
    fn merge_inner(
        &self,
        writer: &mut Writer,
        step: &Step<'_>,
        above: &[Step<'_>],
        parent: &Step<'_>,
        mine: Vec<Child>,
        guard: &Guard,
    ) {
        let level = step.page.level();
        let first = parent.index.saturating_sub(1);
        let other = if parent.index > 0 { first } else { 1 };
        let sibling = parent.inner.child(other);
        let low = if other > 0 { parent.inner.separator(other - 1) } else { low_of(above) };
        let theirs = sibling.inner(guard).children(&low);
        let all = if other < parent.index { [theirs, mine].concat() } else { [mine, theirs].concat() };
        let middle = if all.len() > FAN_OUT * 3 / 4 { all.len() / 2 } else { all.len() };
        let pages = [&all[..middle], &all[middle..]];
        let pages =
            pages.into_iter().filter(|half| !half.is_empty()).map(|half| self.inner_page(level, half)).collect();
        point(Point::InnerMergeBuilt);
        self.replace(writer, above, first..first + 2, pages, guard);
        self.retire(writer, step.page, guard);
        self.retire(writer, sibling, guard);
    }

    fn inner_page(&self, level: usize, children: &[Child]) -> Child {
        let image = build_inner(level, children);
        self.around.memory.add(Part::InnerPages, image.bytes());
        Child { low: children[0].low.clone(), page: self.new_page(image.address(), level) }
    }

    fn replace_root(&self, mut pages: Vec<Child>) {
        while pages.len() > 1 {
            // SAFETY: these pages are not published yet, or stay published.
            let level = unsafe { (*pages[0].page).level() } + 1;
            pages = even_chunks(pages.len()).map(|piece| self.inner_page(level, &pages[piece])).collect();
        }
        point(Point::RootBuilt);
        self.set_root(pages[0].page);
    }

    /// A page has left the tree: its extent goes back after the next checkpoint, its memory after its last reader.
    pub(super) fn retire(&self, writer: &mut Writer, page: &PageRef, guard: &Guard) {
        page.set(RETIRED);
        point(Point::PageRetired);
        writer.give_up(page, page.extent());
        let level = page.level();
        if level == 0 {
            self.around.residents.forget(page);
        }
        self.around.memory.sub(Part::Pages, PageRef::BYTES);
        let memory = Arc::clone(&self.around.memory);
        // SAFETY: still alive, as we are pinned.
        let counted = unsafe { page.contents().footprint(level) };
        if let Some((part, bytes)) = counted {
            memory.sub(part, bytes);
        }
        let page = ptr::from_ref(page).expose_provenance();
        // SAFETY: no image that is still published names the page, so only pinned readers can hold it; inner pages do
        // not own their children, which live on in the pages that replaced this one.
        unsafe {
            guard.defer_unchecked(move || {
                let page = Box::from_raw(ptr::with_exposed_provenance_mut::<PageRef>(page));
                // A reader that was late may have put something else there, and counted it.
                let contents = page.contents();
                counted.into_iter().for_each(|(part, bytes)| memory.add(part, bytes));
                contents.footprint(level).into_iter().for_each(|(part, bytes)| memory.sub(part, bytes));
                contents.free(level);
                reach::free(page);
            });
        }
    }

    /// Merges the leaf of `key` with its neighbour if little is left in it: what was deleted counts until nobody sees it any
    /// more, which is after the deletion's own commit. Under the lock.
    pub fn merge_if_underfull(&self, writer: &mut Writer, key: &[u8], guard: &Guard) {
        let Ok(Place { path, leaf }) = self.place(key, guard) else { return };
        let mut scratch = Vec::new();
        let mut gathered = gather(leaf, leaf.delta_len(), &[], &mut scratch);
        let size = image_size(&gathered.records);
        if path.steps.is_empty() || size >= self.around.settings.leaf_bytes() / LEAST_SHARE {
            return;
        }
        self.surviving(writer, &mut gathered);
        path.page.set(DIRTY);
        self.merge(writer, path, gathered, &[], size, guard);
    }

    /// Builds a leaf's image anew with its delta and with changes for which there is room.
    fn consolidate(&self, writer: &mut Writer, page: &PageRef, leaf: Leaf<'_>, changes: &[Record<'_>], guard: &Guard) {
        writer.consolidations += 1;
        let mut scratch = Vec::new();
        let mut gathered = gather(leaf, leaf.delta_len(), changes, &mut scratch);
        if self.surviving(writer, &mut gathered) {
            page.set(DIRTY);
        }
        self.publish(page, &gathered, changes, guard);
    }

    /// Builds a leaf's image anew with its delta and without what nobody can read any more, if it becomes smaller by it.
    /// Under the lock.
    pub fn fold(&self, writer: &mut Writer, page: &PageRef, leaf: Leaf<'_>, guard: &Guard) {
        let length = leaf.delta_len();
        if length == 0 && !leaf.is_guarded() {
            return;
        }
        let mut scratch = Vec::new();
        let mut gathered = gather(leaf, length, &[], &mut scratch);
        let before = image_size(&gathered.records);
        let has_retired = self.surviving(writer, &mut gathered);
        if has_retired {
            page.set(DIRTY);
        }
        if length > 0 || has_retired || image_size(&gathered.records) < before {
            writer.consolidations += 1;
            self.publish(page, &gathered, &[], guard);
        }
    }
}

impl Writer {
    /// `extent` is no longer the page's, or the page no longer the tree's. Who may still be led there decides when it is
    /// given back. Before the page's `EARLY` changes.
    pub fn give_up(&mut self, page: &PageRef, extent: u64) {
        let left = if page.is(EARLY) { &mut self.unnamed } else { &mut self.retired };
        left.extend(Some(extent).filter(|&extent| extent != 0));
    }
}

/// The records of neighbouring leaves, with whole keys, for which `keys` lends space.
pub(super) fn join<'k>(parts: &[&Gathered<'k>], keys: &'k mut Vec<u8>) -> Vec<Record<'k>> {
    let all = || parts.iter().flat_map(|part| part.records.iter().map(|record| (part.prefix, record)));
    for (prefix, record) in all() {
        keys.extend_from_slice(prefix);
        keys.extend_from_slice(record.key);
    }
    let keys: &'k [u8] = keys;
    let mut end = 0;
    let whole = |(prefix, record): (&[u8], &Record<'k>)| {
        let start = end;
        end += prefix.len() + record.key.len();
        Record { key: &keys[start..end], ..*record }
    };
    all().map(whole).collect()
}

/// The lowest key of the last step's page.
fn low_of(steps: &[Step<'_>]) -> Separator {
    let above = &steps[..steps.len().saturating_sub(1)];
    let bound = above.iter().rev().find(|step| step.index > 0);
    bound.map_or_else(Separator::new, |step| step.inner.separator(step.index - 1))
}

/// Whether all changes stand behind the base, as they do when keys only grow.
fn is_append(leaf: Leaf<'_>, gathered: &Gathered<'_>) -> bool {
    let count = leaf.count();
    count == 0 || ptr::eq(gathered.records[count - 1].value, leaf.record(count - 1).value)
}

/// Cuts `0..count` children into as many pages as it takes, three quarters full or so.
fn even_chunks(count: usize) -> impl Iterator<Item = Range<usize>> {
    let pieces = if count <= FAN_OUT { 1 } else { (count * 4).div_ceil(FAN_OUT * 3).max(2) };
    (0..pieces).map(move |piece| piece * count / pieces..(piece + 1) * count / pieces)
}

/// Cuts sorted records into leaves. Versions of one key stay together.
pub(super) fn divide(records: &[Record<'_>], total: usize, target: usize, appended: bool) -> Vec<Range<usize>> {
    let share = if appended { target } else { total.div_ceil((total * 4).div_ceil(target * 3).max(2)) };
    let mut pieces = Vec::new();
    let (mut start, mut size) = (0, OVERHEAD);
    for (index, record) in records.iter().enumerate() {
        let more = cost(record);
        let room = if appended { size + more <= share } else { size < share };
        if index > start && !room && records[index - 1].key != record.key {
            pieces.push(start..index);
            (start, size) = (index, OVERHEAD);
        }
        size += more;
    }
    pieces.push(start..records.len());
    pieces
}

fn halve(records: &[Record<'_>], total: usize) -> Vec<Range<usize>> {
    let mut size = 0;
    for index in 1..records.len() {
        size += cost(&records[index - 1]);
        if size * 2 >= total && records[index - 1].key != records[index].key {
            return vec![0..index, index..records.len()];
        }
    }
    std::iter::once(0..records.len()).collect()
}
