//! Writing what changed since the last checkpoint to the page file, beside readers and writers.
//!
//! A checkpoint stands at one version and walks each tree from left to right, a lowest inner page at a time. What the
//! writer does meanwhile it does to pages the walk has passed, or the walk sees it and leaves it out. Extents change hands
//! by two rules:
//! - what left the newest tree before the walk started is free once the new superblock is on disk;
//! - what the walk wrote for pages that have left the tree meanwhile is free one checkpoint later.

use std::mem::take;
use std::sync::Arc;

use crate::catalogue::{Catalogue, Root};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::events::EventKind;
use crate::family::FamilyCore;
use crate::histogram::Histogram;
use crate::leaf_pages::WrittenLeaf;
use crate::mvcc::ActiveVersion;
use crate::page_tree::{Entry, encode_inner};
use crate::pagefile::{Codec, Extent, PageKind, Superblock};
use crate::pause::{Point, point};
use crate::sync::Ordering;
use crate::sync::checked::AtomicU64;
use crate::sync::epoch::{self, Guard};
use crate::tree::{
    Blob, Bottom, DIRTY, EARLY, EXPIRING, Found, LEAST_SHARE, Leaf, PageRef, Passage, RETIRED, Record, gather, view,
};

/// Pages under an inner page on disk at most.
const FAN_OUT: usize = if cfg!(feature = "small-pages") { 8 } else { 192 };

/// Times that the epoch is nudged at the end.
const RECLAIM_STEPS: usize = 8;

/// What the checkpoints know of the page file, beyond what the pages in memory know of themselves.
#[derive(Default)]
pub struct CheckpointState {
    /// The version that the superblock on disk holds.
    pub version: u64,
    /// Extents of the catalogue and of the inner pages above the lowest.
    pub structure: Vec<u64>,
    /// To be given back at the end of the next checkpoint.
    pub doomed: Vec<u64>,
    pub dropped: Vec<Arc<FamilyCore>>,
    /// How many of these, the first, have their extents in `doomed`: a checkpoint that saw them failed.
    pub dropped_doomed: usize,
    /// The last one has been made: what follows empties the trees.
    pub ended: bool,
}

/// What is asked for while a checkpoint is on its way, too.
#[derive(Default)]
pub struct Checkpointed {
    /// The first log segment that recovery would need.
    pub segment: AtomicU64,
    /// How long each checkpoint took that came to its end, in nanoseconds.
    pub times: Histogram,
}

/// Which pages a checkpoint moves, beside what it writes anyway.
#[derive(Clone, Copy, Debug)]
pub enum Moving {
    /// What lies from this byte of the page file on, to free places before it.
    Forward { from: u64 },
    /// What lies from byte `from` to byte `until`, behind byte `end`: then the free places there are one, and the next can
    /// move others into it.
    Behind { from: u64, until: u64, end: u64 },
}

/// One checkpoint on its way.
struct Run<'a> {
    core: &'a Core,
    /// Keeps what the walk has still to write.
    snapshot: Arc<ActiveVersion>,
    version: u64,
    now: u64,
    moving: Option<Moving>,
    /// No longer needed once the superblock is on disk.
    freed: Vec<u64>,
    /// Written for pages that are not, or no longer, in the tree.
    orphans: Vec<u64>,
    structure: Vec<u64>,
    /// Lowest keys of the family's leaves that hold too little.
    underfull: Vec<Vec<u8>>,
}

impl Core {
    pub fn checkpoint_if_changed(&self) -> Result<()> {
        let mut state = self.checkpoint.lock();
        if state.version == self.log.last_version() && state.dropped.is_empty() {
            return self.log.flush(true);
        }
        self.checkpoint_locked(&mut state, None)
    }

    /// Writes all that is visible now, so that the log before it is no longer needed.
    pub fn checkpoint(&self, moving: Option<Moving>) -> Result<()> {
        self.checkpoint_locked(&mut self.checkpoint.lock(), moving)
    }

    pub fn checkpoint_locked(&self, state: &mut CheckpointState, moving: Option<Moving>) -> Result<()> {
        if state.ended {
            return Err(Error::Closed);
        }
        let started = std::time::Instant::now();
        let before = self.pages.counters();
        let (segment, active, catalogue, families) = {
            // So that what the catalogue says is of this version, and all changes of it after that are in the new segment.
            let _catalogue = self.catalogue.lock();
            let (segment, last) = self.log.rotate()?;
            self.versions.wait_visible(last)?;
            (segment, Arc::new(self.versions.register()), self.describe(), self.all_families())
        };
        let version = active.version();
        point(Point::CheckpointStarted);
        let mut run = Run {
            core: self,
            snapshot: Arc::clone(&active),
            version,
            now: self.clock.now(),
            moving,
            freed: take(&mut state.doomed),
            orphans: Vec::new(),
            structure: Vec::new(),
            underfull: Vec::new(),
        };
        let written = run.write(&state.dropped[state.dropped_doomed..], segment, catalogue, &families);
        let Run { freed, orphans, structure, snapshot, .. } = run;
        // Before the version is given up, by which those who ask for it are told apart.
        families.iter().for_each(|family| family.tree.writer.lock().passage = None);
        drop((active, snapshot));
        if let Err(error) = written {
            // The old superblock stays; whatever was written for the new one goes with the next attempt.
            state.doomed.extend(freed.into_iter().chain(orphans).chain(structure));
            state.dropped_doomed = state.dropped.len();
            return Err(error);
        }
        point(Point::CheckpointCommitted);
        let guard = epoch::pin();
        state.dropped_doomed = 0;
        for family in state.dropped.drain(..) {
            family.tree.clear(&guard);
        }
        let freed: Vec<u64> = freed.into_iter().chain(state.structure.drain(..)).collect();
        self.release_later(freed, &guard);
        state.structure = structure;
        state.doomed = orphans;
        state.version = version;
        self.checkpointed.segment.store(segment, Ordering::Relaxed);
        let (lasted, after) = (started.elapsed(), self.pages.counters());
        self.checkpointed.times.record(lasted.as_nanos() as u64);
        let detail = [
            ("version", version),
            ("pages_written", after.pages_written - before.pages_written),
            ("bytes_written", after.bytes_written - before.bytes_written),
        ];
        self.events.note(EventKind::Checkpoint, None, lasted, &detail);
        self.log.remove_before(segment)?;
        point(Point::CheckpointDone);
        guard.flush();
        drop(guard);
        // What nobody is on the way to is free for the next checkpoint, however soon that comes.
        (0..RECLAIM_STEPS).for_each(|_| epoch::pin().flush());
        self.pages.shrink().map(drop)
    }
}

impl Run<'_> {
    /// All `families` that the catalogue names, which are not dropped while a checkpoint runs.
    fn write(
        &mut self,
        dropped: &[Arc<FamilyCore>],
        segment: u64,
        mut catalogue: Catalogue,
        families: &[Arc<FamilyCore>],
    ) -> Result<()> {
        for family in dropped {
            self.drop_family(family);
        }
        for entry in &mut catalogue.families {
            let family = families.iter().find(|family| family.id == entry.id).expect("both were taken under one lock");
            entry.root = Some(self.write_family(family)?);
        }
        let extent = self.core.pages.write_page(PageKind::Catalogue, Codec::Lz4, &catalogue.encode())?;
        self.structure.push(extent.to_bits());
        point(Point::CheckpointPagesWritten);
        let superblock = Superblock {
            sequence: 0,
            version: self.version,
            log_segment: segment,
            catalogue: Some(extent),
            identity: 0,
        };
        self.core.pages.commit(&superblock).inspect_err(|error| {
            if let Error::Io { .. } | Error::Poisoned { .. } = error {
                self.core.log.poison(&error.to_string());
            }
        })
    }

    /// All that a dropped family occupies in the last checkpoint's tree is free with this one.
    fn drop_family(&mut self, family: &FamilyCore) {
        let guard = epoch::pin();
        let mut extents = {
            let mut writer = family.tree.writer.lock();
            [take(&mut writer.retired), take(&mut writer.unnamed)].concat()
        };
        let mut from = Some(Vec::new());
        while let Some(key) = from {
            let bottom = family.tree.bottom(&key, &guard);
            extents.push(bottom.page.extent());
            if bottom.inner.is_some() {
                extents.extend(bottom.leaves().iter().map(|(_, page)| page.extent()));
            }
            from = bottom.high;
        }
        extents.extend(self.core.leaf_blobs.take(family.id));
        extents.sort_unstable();
        extents.dedup();
        self.freed.extend(extents.into_iter().filter(|&extent| extent != 0));
    }

    fn write_family(&mut self, family: &FamilyCore) -> Result<Root> {
        // Before the walk's first look at the root: what is retired later, the walk may still meet.
        self.freed.append(&mut family.tree.writer.lock().retired);
        self.core.release_unnamed(family, &epoch::pin());
        let mut entries = Vec::new();
        let mut from = Some(Vec::new());
        while let Some(low) = from {
            let guard = epoch::pin();
            let bottom = self.claim(family, &low, &guard);
            if bottom.inner.is_none() && entries.is_empty() {
                let (leaf, _) = self.leaf(family, bottom.page, None, &guard)?;
                let Entry { extent, records, expiring, blobs, .. } = leaf;
                self.pass(family);
                return Ok(Root { extent, level: 0, records, expiring, blobs });
            }
            entries.push(self.bottom(family, &bottom, low, &guard)?);
            from = bottom.high;
        }
        self.pass(family);
        // Behind the walk, so that it meets none of the pages that this makes.
        for low in take(&mut self.underfull) {
            family.tree.merge_if_underfull(&mut family.tree.writer.lock(), &low, &epoch::pin());
        }
        let mut level = 1;
        while entries.len() > 1 {
            level += 1;
            let mut above = Vec::with_capacity(entries.len().div_ceil(FAN_OUT));
            for children in entries.chunks(FAN_OUT) {
                let entry = self.inner(level, children)?;
                self.structure.push(entry.extent);
                above.push(entry);
            }
            entries = above;
        }
        let root = &entries[0];
        Ok(Root { extent: root.extent, level, records: root.records, expiring: false, blobs: Vec::new() })
    }

    /// The lowest inner page that holds `low`. From now on nobody else changes where its leaves are on disk, until the walk
    /// has passed them; and where those are that were written early, the new tree will say.
    fn claim<'g>(&self, family: &FamilyCore, low: &[u8], guard: &'g Guard) -> Bottom<'g> {
        let mut writer = family.tree.writer.lock();
        let bottom = family.tree.bottom(low, guard);
        writer.passage = Some(Passage::at(&self.snapshot, low, bottom.high.as_deref()));
        for page in bottom.pages().filter(|page| page.is(EARLY)) {
            page.clear(EARLY);
            if bottom.inner.is_some() {
                // Should this checkpoint fail, the next still has to write where the leaves are now.
                bottom.page.set(DIRTY);
            }
        }
        bottom
    }

    /// The walk of the family is over.
    fn pass(&self, family: &FamilyCore) {
        if let Some(passage) = &mut family.tree.writer.lock().passage {
            passage.finish();
        }
    }

    fn inner(&self, level: u32, children: &[Entry]) -> Result<Entry> {
        let extent = self.core.pages.write_page(PageKind::Inner, Codec::Lz4, &encode_inner(level, children))?;
        Ok(Entry {
            low: children[0].low.clone(),
            extent: extent.to_bits(),
            records: children.iter().map(|child| child.records).sum(),
            expiring: false,
            blobs: Vec::new(),
        })
    }

    /// The leaves below one inner page, from key `from` on, and that page, if it cannot stay as it is on disk.
    fn bottom(&mut self, family: &FamilyCore, bottom: &Bottom<'_>, from: Vec<u8>, guard: &Guard) -> Result<Entry> {
        let leaves = bottom.leaves();
        let whole = bottom.low >= from;
        let mut entries = Vec::with_capacity(leaves.len());
        let mut changed = false;
        for (index, (low, page)) in leaves.iter().enumerate() {
            // The tree below `from` has been written; since then leaves may have been merged across that key.
            if leaves.get(index + 1).is_some_and(|(next, _)| *next <= from) {
                continue;
            }
            let cut = (*low < from).then_some(from.as_slice());
            let (mut entry, new) = self.leaf(family, page, cut, guard)?;
            changed |= new;
            if new && bottom.inner.is_some() {
                // Should this checkpoint fail, the next still has to write where the leaves are now.
                bottom.page.set(DIRTY);
            }
            if new && self.is_underfull(family, page, guard) {
                self.underfull.push(low.clone());
            }
            entry.low = cut.map_or_else(|| low.clone(), <[u8]>::to_vec);
            entries.push(entry);
        }
        let page = bottom.page;
        let stays = whole
            && !changed
            && bottom.inner.is_some()
            && page.extent() != 0
            && !page.is(DIRTY)
            && !self.is_to_move(page.extent());
        if stays {
            let records = entries.iter().map(|entry| entry.records).sum();
            return Ok(Entry {
                low: bottom.low.clone(),
                extent: page.extent(),
                records,
                expiring: false,
                blobs: Vec::new(),
            });
        }
        let entry = self.inner(1, &entries)?;
        point(Point::CheckpointInnerWritten);
        let _writer = family.tree.writer.lock();
        let current = bottom.inner.is_some_and(|inner| page.address() == Some(inner.address()));
        if whole && current && !page.is(RETIRED) {
            let old = family.tree.set_extent(page, entry.extent, guard);
            self.freed.extend(Some(old).filter(|&old| old != 0));
            page.clear(DIRTY);
        } else {
            self.orphans.push(entry.extent);
        }
        Ok(entry)
    }

    fn is_underfull(&self, family: &FamilyCore, page: &PageRef, guard: &Guard) -> bool {
        match page.leaf(guard) {
            Found::Hot(leaf) => leaf.bytes() < family.settings.leaf_bytes() / LEAST_SHARE,
            Found::Cold(_) => false,
        }
    }

    fn is_to_move(&self, extent: u64) -> bool {
        let Some((moving, extent)) = self.moving.zip(Extent::from_bits(extent)) else { return false };
        match moving {
            Moving::Forward { from } => extent.offset() >= from,
            Moving::Behind { from, until, .. } => (from..until).contains(&extent.offset()),
        }
    }

    /// A leaf's place on disk, and whether that is a new one. With `cut`, only what stands from that key on.
    fn leaf(
        &mut self,
        family: &FamilyCore,
        page: &PageRef,
        cut: Option<&[u8]>,
        guard: &Guard,
    ) -> Result<(Entry, bool)> {
        self.drop_old_long_values(family, page, guard);
        if cut.is_none()
            && !page.is(DIRTY)
            && page.extent() != 0
            && let Some(kept) = self.clean_leaf(family, page, guard)?
        {
            return Ok(kept);
        }
        let leaf = self.leaf_to_write(family, page, guard)?;
        let length = leaf.delta_len();
        let mut scratch = Vec::new();
        let mut gathered = gather(leaf, length, &[], &mut scratch);
        let newest = gathered.records.iter().map(|record| record.version).max().unwrap_or(0);
        view(&mut gathered.records, self.version, self.now);
        if let Some(cut) = cut {
            let prefix = gathered.prefix;
            let whole = |record: &Record<'_>| [prefix, record.key].concat();
            gathered.records.retain(|record| whole(record).as_slice() >= cut);
        }
        let core = self.core;
        let WrittenLeaf { extent, records, expiring, blobs } =
            core.write_leaf(family, &gathered, |blob| self.blob(family, blob, guard))?;
        let entry = Entry { low: Vec::new(), extent, records: records.into(), expiring, blobs };
        point(Point::CheckpointLeafWritten);
        let mut writer = family.tree.writer.lock();
        point(Point::CheckpointLeafLocked);
        if cut.is_some() || page.is(RETIRED) {
            // The page in the tree is not what was written; it has to be written again.
            page.set(DIRTY);
            self.orphans.push(extent);
            return Ok((entry, true));
        }
        let old = family.tree.set_extent(page, extent, guard);
        self.freed.extend(Some(old).filter(|&old| old != 0));
        let untouched = page.address() == Some(leaf.address()) && leaf.delta_len() == length;
        if untouched && newest <= self.version {
            page.set_records(records);
            if expiring {
                page.set(EXPIRING)
            } else {
                page.clear(EXPIRING)
            }
            page.clear(DIRTY);
            family.tree.fold(&mut writer, page, leaf, guard);
        }
        Ok((entry, true))
    }

    /// An image that names the long values that the tree names, until the page has been written.
    fn leaf_to_write<'g>(&self, family: &FamilyCore, page: &PageRef, guard: &'g Guard) -> Result<Leaf<'g>> {
        loop {
            let leaf = family.tree.resident(page, guard)?;
            if self.moving.is_none() || !leaf.has_blobs() {
                return Ok(leaf);
            }
            let _writer = family.tree.writer.lock();
            if page.address() == Some(leaf.address()) {
                // Were the image dropped now, the next would be read with the places that the values had. And should this
                // checkpoint fail, the next has to write which places they have.
                page.set(DIRTY);
                return Ok(leaf);
            }
        }
    }

    /// Long values that only snapshots saw which are closed now lie in the way of those that are to move. This checkpoint sees
    /// none of them, so they are free with it.
    fn drop_old_long_values(&mut self, family: &FamilyCore, page: &PageRef, guard: &Guard) {
        let is_held = |leaf: Leaf<'_>| leaf.has_blobs() && leaf.holds_versions();
        if self.moving.is_none() || !matches!(page.leaf(guard), Found::Hot(leaf) if is_held(leaf)) {
            return;
        }
        let mut writer = family.tree.writer.lock();
        if let Found::Hot(leaf) = page.leaf(guard)
            && !page.is(RETIRED)
        {
            let before = writer.retired.len();
            family.tree.fold(&mut writer, page, leaf, guard);
            self.freed.extend(writer.retired.drain(before..));
        }
    }

    /// A leaf that is on disk as it is: stays, or moves as it is. `None`: it has to be written.
    fn clean_leaf(&mut self, family: &FamilyCore, page: &PageRef, guard: &Guard) -> Result<Option<(Entry, bool)>> {
        let extent = page.extent();
        let blobs = self.core.leaf_blobs.of(extent);
        if blobs.iter().any(|&blob| self.is_to_move(blob)) {
            return Ok(None);
        }
        let entry = |extent| Entry {
            low: Vec::new(),
            extent,
            records: page.records().into(),
            expiring: page.is(EXPIRING),
            blobs: blobs.clone(),
        };
        if !self.is_to_move(extent) {
            return Ok(Some((entry(extent), false)));
        }
        let Some(moved) = self.relocate(extent)? else { return Ok(Some((entry(extent), false))) };
        let _writer = family.tree.writer.lock();
        if page.is(RETIRED) {
            self.orphans.push(moved);
            return Ok(Some((entry(extent), false)));
        }
        family.tree.set_extent(page, moved, guard);
        self.freed.push(extent);
        self.core.leaf_blobs.note(moved, family.id, &blobs);
        Ok(Some((entry(moved), true)))
    }

    fn relocate(&self, extent: u64) -> Result<Option<u64>> {
        let Some((moving, extent)) = self.moving.zip(Extent::from_bits(extent)) else { return Ok(None) };
        let moved = match moving {
            Moving::Forward { .. } => self.core.pages.relocate(extent)?,
            Moving::Behind { end, .. } => Some(self.core.pages.relocate_behind(extent, end)?),
        };
        Ok(moved.map(Extent::to_bits))
    }

    /// The place of a long value, which it gets if it has none, or changes if it is to move.
    fn blob(&mut self, family: &FamilyCore, blob: &Blob, guard: &Guard) -> Result<u64> {
        if let Some(extent) = blob.extent().filter(|&extent| self.is_to_move(extent))
            && let Some(moved) = self.relocate(extent)?
        {
            let ours = blob.move_extent(extent, moved);
            // Dropped meanwhile, the old extent is on its way to be freed already.
            if ours {
                self.freed.push(extent)
            } else {
                self.orphans.push(moved)
            }
            return Ok(moved);
        }
        let (extent, orphan) = self.core.write_blob(family, blob, guard)?;
        self.orphans.extend(orphan);
        Ok(extent)
    }
}
