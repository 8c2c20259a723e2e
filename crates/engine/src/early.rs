//! Writing changed leaves before a checkpoint comes by, so that they can be dropped from memory.
//!
//! Recovery takes the tree of the newest superblock and puts the log on top of it. So a leaf may be written to a fresh
//! extent at any time: until a superblock leads there, the extent is free space to whoever opens the database. What has to
//! hold is that a superblock of version `v` leads to nothing newer than `v`, and that an extent is given back only when
//! nothing leads to it any more:
//! - While a checkpoint stands at `v`, a leaf that its walk has not met may be written if it holds nothing newer than any
//!   open snapshot, of which the checkpoint's is one: then it is what `v` sees, and the walk takes the extent as it is. A leaf
//!   that the walk has passed is none of its business any more. Those of the lowest inner page that it stands at wait.
//! - The extent that is replaced waits for the next superblock if a checkpoint wrote it or met it. If it was written early
//!   itself and no walk has come by since (`EARLY`), no page on disk names it: it goes back once no reader is on its way
//!   there. So a leaf that is driven out again and again takes two places in the file, and not one more each time.
//!
//! A checkpoint that fails has met what it has met: such extents wait for the next that does not.

use crate::core::Core;
use crate::counters::Count;
use crate::error::Result;
use crate::family::FamilyCore;
use crate::pagefile::Extent;
use crate::pause::{Point, point};
use crate::sync::epoch::Guard;
use crate::tree::{BLOB, DIRTY, EARLY, EXPIRING, Found, PageRef, Passage, PlaceOf, RETIRED, Writer, gather, view};

/// What became of a leaf that was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Early {
    /// It is on disk as it is in memory, now or already.
    Clean,
    /// It holds what is not visible yet or what only a snapshot sees; or it was changed at the same time; or the
    /// checkpoint is at it; or it has left the tree.
    Stays,
}

impl Core {
    /// Writes a leaf as it is now, so that it can be dropped. Packing and writing hold no lock.
    ///
    /// After an error (a full disk) the leaf is as it was.
    pub fn write_early(&self, family: &FamilyCore, page: &PageRef, guard: &Guard) -> Result<Early> {
        let before = {
            let mut writer = family.tree.writer.lock();
            match self.prepare(family, &mut writer, page, guard) {
                Ok(extent) => extent,
                Err(early) => return Ok(early),
            }
        };
        let Found::Hot(leaf) = page.leaf(guard) else { return Ok(Early::Clean) };
        if leaf.delta_len() > 0 || leaf.holds_versions() {
            return Ok(Early::Stays);
        }
        let mut scratch = Vec::new();
        let mut gathered = gather(leaf, 0, &[], &mut scratch);
        view(&mut gathered.records, u64::MAX, self.clock.now());
        let mut orphans = Vec::new();
        let written = self.write_leaf(family, &gathered, |blob| {
            let (place, orphan) = self.write_blob(family, blob, guard)?;
            orphans.extend(orphan);
            Ok(place)
        });
        let written = written.inspect_err(|_| self.release_now(&orphans))?;
        point(Point::EarlyLeafWritten);
        let mut writer = family.tree.writer.lock();
        point(Point::EarlyLeafLocked);
        let mut blobs = gathered.records.iter().filter(|record| record.flags & BLOB != 0).filter_map(|one| one.blob());
        let is_same = page.address() == Some(leaf.address())
            && leaf.delta_len() == 0
            && page.extent() == before
            && written.blobs.iter().all(|&place| blobs.next().and_then(|blob| blob.extent()) == Some(place));
        if !is_same || self.stands(family, &writer, page, guard).is_err() {
            drop(writer);
            self.leaf_blobs.forget(&[written.extent]);
            self.release_now(&[orphans, vec![written.extent]].concat());
            return Ok(Early::Stays);
        }
        let replaced = family.tree.set_extent(page, written.extent, guard);
        writer.give_up(page, replaced);
        page.set(EARLY);
        page.set_records(written.records);
        if written.expiring {
            page.set(EXPIRING)
        } else {
            page.clear(EXPIRING)
        }
        page.clear(DIRTY);
        let unnamed = std::mem::take(&mut writer.unnamed);
        drop(writer);
        self.release_later(unnamed, guard);
        family.counters.add(Count::EarlyWrites, 1);
        Ok(Early::Clean)
    }

    /// Brings a changed leaf into the form that the disk knows: of each key one record. Returns its extent.
    fn prepare(
        &self,
        family: &FamilyCore,
        writer: &mut Writer,
        page: &PageRef,
        guard: &Guard,
    ) -> std::result::Result<u64, Early> {
        self.stands(family, writer, page, guard)?;
        if let Found::Hot(leaf) = page.leaf(guard) {
            family.tree.fold(writer, page, leaf, guard);
        }
        Ok(page.extent())
    }

    /// Under the family's lock: whether the leaf may be written now; it has nothing then that not all see who may ask for it.
    fn stands(
        &self,
        family: &FamilyCore,
        writer: &Writer,
        page: &PageRef,
        guard: &Guard,
    ) -> std::result::Result<(), Early> {
        let Found::Hot(leaf) = page.leaf(guard) else { return Err(Early::Clean) };
        if page.is(RETIRED) || family.usable().is_err() {
            return Err(Early::Stays);
        }
        if !page.is(DIRTY) {
            return Err(Early::Clean);
        }
        let Some((first, last)) = leaf.key_range() else { return Err(Early::Stays) };
        let passage = writer.passage.as_ref();
        let is_here = passage.is_some_and(|passage| passage.place(&first, &last) == PlaceOf::Here);
        let oldest = Passage::active(passage, &self.versions, &last)[0];
        if !is_here && leaf.newest_of_all() <= oldest { Ok(()) } else { Err(Early::Stays) }
    }

    /// Gives extents back that nobody but us knows of.
    fn release_now(&self, extents: &[u64]) {
        let extents: Vec<Extent> = extents.iter().copied().filter_map(Extent::from_bits).collect();
        self.pages.release_or_poison(&extents);
    }
}
