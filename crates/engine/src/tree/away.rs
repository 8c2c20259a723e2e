//! Leaves that have no image in memory: point reads that do without one, and how a leaf comes to that.
//!
//! A point read wants one record of some sixty. Where memory is scarce, building the whole leaf's image for it would drive
//! out another that is worth more. So it looks into the page as stored, and what stays in memory is the page as stored or
//! an excerpt, the record alone. A leaf of which many records are read gets its image in the end.

use super::Tree;
use super::excerpt::Excerpt;
use super::load::encode_leaf;
use super::page::{Away, Contents, DIRTY, Form, Found, PageRef, RETIRED};
use super::payload::{Payload, Searched, fingerprints, search};
use super::read::Lookup;
use super::record::{BLOB, Record};
use super::remains::Remains;
use super::stored::Stored;
use crate::counters::Count;
use crate::error::{Error, Result};
use crate::memory::{Memory, Part};
use crate::pagefile::{Codec, Extent, PAGE_FILE_NAME, PageKind, pack};
use crate::pause::{Point, point};
use crate::sync::Ordering;
use crate::sync::epoch::Guard;

/// An excerpt of more records, or one above this part of a leaf's size, is a leaf that is worth its image.
const MOST_KEPT: usize = 8;
const LARGEST_SHARE: usize = 4;
/// Of reads of leaves that are worth an image while there is no room for more of them, one in so many makes one all the same;
/// what was not used for long makes room for it.
const READS_A_TURN: u32 = 256;

/// What became of a leaf that was to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demoted {
    Done,
    /// It has to be written first.
    Changed,
    /// Somebody may still ask for what only memory has of it.
    Held,
}

impl Tree {
    /// What memory knows of `key` without an image of its leaf.
    #[cold]
    pub(super) fn lookup_away<'g>(&self, page: &'g PageRef, away: Away<'g>, key: &[u8]) -> Lookup<'g> {
        let excerpt = match away.remains() {
            Remains::Stored(_) => return Lookup::Warm(page, away),
            Remains::Nothing => return Lookup::Cold(page, away),
            Remains::Excerpt(excerpt) => excerpt,
        };
        let answer = match excerpt.find(key) {
            Some(record) if self.is_live(&record) => Lookup::Found(record),
            Some(_) => Lookup::Absent,
            None if excerpt.excludes(key) => Lookup::Absent,
            None => return Lookup::Cold(page, away),
        };
        self.around.counters.add(Count::GetsFromRecords, 1);
        self.observe(page, key);
        answer
    }

    /// The payload of a leaf that memory has as it is stored.
    pub fn unpack(&self, away: Away<'_>) -> Result<Option<Payload>> {
        let Remains::Stored(stored) = away.remains() else { return Ok(None) };
        let mut payload = Payload::empty();
        stored.payload().unpack(&mut payload).map_err(|why| self.damaged_leaf(stored.extent(), &why))?;
        Ok(Some(payload))
    }

    /// The live record of `key`; with the `BLOB` flag it takes the leaf's image to read it.
    pub fn search<'p>(&self, payload: &'p Payload, away: Away<'_>, key: &[u8]) -> Result<Option<Record<'p>>> {
        match search(payload, key) {
            Some(Searched::Found(record)) => Ok(Some(record).filter(|record| self.is_live(record))),
            Some(Searched::Absent) => Ok(None),
            None => Err(self.damaged_leaf(away.extent(), "the leaf page's content makes no sense")),
        }
    }

    pub(super) fn damaged_leaf(&self, extent: u64, what: &str) -> Error {
        let offset = Extent::from_bits(extent).map(Extent::offset);
        Error::Corruption { path: self.around.path.join(PAGE_FILE_NAME), offset, what: what.into() }
    }

    /// A warm leaf has answered. One that is read again and again gets its image, if there is room for it, or if it is its
    /// turn: else what is hot would stay so when nobody reads it any more, as long as warm leaves answer for all others.
    pub fn warm_up(
        &self,
        page: &PageRef,
        away: Away<'_>,
        keys: &[&[u8]],
        payload: &Payload,
        guard: &Guard,
    ) -> Result<()> {
        keys.iter().for_each(|key| self.observe(page, key));
        if away.is_busy() && (self.around.memory.has_room(Part::Leaves) || self.is_in_turn()) {
            self.build(page, away, payload, guard)?;
        }
        Ok(())
    }

    fn is_in_turn(&self) -> bool {
        let turn = self.warm_reads.fetch_add(1, Ordering::Relaxed);
        turn.is_multiple_of(READS_A_TURN) && self.around.memory.target(Part::Leaves) > 0
    }

    /// Reads a leaf from disk for one record of it, or a few. `None`: it has an image now, to be looked up in.
    pub fn read_cold(&self, page: &PageRef, away: Away<'_>, keys: &[&[u8]], guard: &Guard) -> Result<Option<Payload>> {
        let memory = &self.around.memory;
        let keep_stored = match away.remains() {
            _ if memory.has_room(Part::Leaves) => None,
            Remains::Nothing if memory.target(Part::Excerpts) > 0 => Some(false),
            _ if memory.target(Part::Stored) > 0 => Some(true),
            _ if memory.target(Part::Excerpts) > 0 => Some(false),
            _ => None,
        };
        let Some(keep_stored) = keep_stored else { return self.resident(page, guard).map(|_| None) };
        let bits = away.extent();
        let extent = Extent::from_bits(bits).ok_or_else(|| self.damaged_leaf(bits, "a leaf's place is no extent"))?;
        let mut payload = Payload::empty();
        let (unpacked, stored) = self.around.pages.read_stored(extent, PageKind::Leaf, |stored| {
            (stored.unpack(&mut payload), keep_stored.then(|| Unpublished(Stored::build(bits, stored))))
        })?;
        unpacked.map_err(|why| self.damaged_leaf(bits, &format!("cannot decompress: {why}")))?;
        self.around.counters.add(Count::PageLoads, 1);
        let found = keys.iter().map(|key| self.search(&payload, away, key)).collect::<Result<Vec<_>>>()?;
        if found.iter().flatten().any(|record| record.flags & BLOB != 0) {
            // The image keeps the long value's place.
            return self.build(page, away, &payload, guard).map(|()| None);
        }
        if let Some(stored) = stored {
            let stored = stored.take();
            self.install(page, away, Form::Remains(stored.address()), false, guard);
        } else {
            self.keep(page, away, keys, &found, &payload, guard)?;
        }
        keys.iter().for_each(|key| self.observe(page, key));
        Ok(Some(payload))
    }

    /// Leaves an excerpt that can answer what was just asked; or the image, when it has been asked for much.
    fn keep(
        &self,
        page: &PageRef,
        away: Away<'_>,
        keys: &[&[u8]],
        found: &[Option<Record<'_>>],
        payload: &Payload,
        guard: &Guard,
    ) -> Result<()> {
        let (mut records, mut filter) = (Vec::new(), Vec::new());
        if let Remains::Excerpt(before) = away.remains() {
            records.extend(before.records());
            filter.extend_from_slice(before.filter());
        }
        let before = (records.len(), filter.len());
        for (key, found) in keys.iter().zip(found) {
            match found {
                Some(record) if records.iter().all(|kept| kept.key != *key) => records.push(Record { key, ..*record }),
                None if filter.is_empty() && self.around.settings.absent_filter() => {
                    filter = fingerprints(payload)
                        .ok_or_else(|| self.damaged_leaf(away.extent(), "the leaf page's content makes no sense"))?;
                }
                _ => {}
            }
        }
        if before == (records.len(), filter.len()) {
            return Ok(());
        }
        let bytes: usize = records.iter().map(Record::encoded_len).sum();
        if records.len() > MOST_KEPT || bytes * LARGEST_SHARE > payload.len() {
            return self.build(page, away, payload, guard);
        }
        let excerpt = Excerpt::build(away.extent(), &filter, &records);
        self.install(page, away, Form::Remains(excerpt.address()), false, guard);
        Ok(())
    }

    fn build(&self, page: &PageRef, away: Away<'_>, payload: &Payload, guard: &Guard) -> Result<()> {
        let leaf = self.decode(payload, away.extent())?;
        self.install(page, away, Form::Image(leaf.address()), false, guard);
        Ok(())
    }

    /// Puts something just built in the place of what there is of a leaf; if somebody else was first, it goes again.
    pub(super) fn install(&self, page: &PageRef, away: Away<'_>, form: Form, probation: bool, guard: &Guard) -> bool {
        let memory = &self.around.memory;
        let new = form.contents();
        // SAFETY: it was just built.
        let footprint = unsafe { new.footprint(0) };
        if let Some((part, bytes)) = footprint {
            memory.add(part, bytes);
        }
        let installed = page.replace(away, form);
        if installed {
            // SAFETY: the page no longer names what was there.
            unsafe { retire(away.contents(), 0, memory, guard) };
            self.around.residents.note(self.around.family, page, probation, guard);
        } else {
            if let Some((part, bytes)) = footprint {
                memory.sub(part, bytes);
            }
            // SAFETY: it was never published.
            unsafe { new.free(0) };
        }
        installed
    }

    /// To be called when what memory has of a leaf has changed.
    pub(super) fn note(&self, page: &PageRef, guard: &Guard) {
        self.around.residents.note(self.around.family, page, false, guard);
    }

    /// Takes an unchanged leaf's image away; with `keep` it stays in memory as it would be stored. Unless `may_wait`, it
    /// stays as it is where somebody holds the family's lock.
    pub fn demote(&self, page: &PageRef, keep: Option<Codec>, may_wait: bool, guard: &Guard) -> Demoted {
        let Found::Hot(leaf) = page.leaf(guard) else {
            self.note(page, guard);
            return Demoted::Done;
        };
        let extent = page.extent();
        if page.is(DIRTY) || extent == 0 {
            return Demoted::Changed;
        }
        let plain = leaf.delta_len() == 0 && !leaf.has_blobs() && !leaf.holds_versions();
        // Compressed before the lock is taken: writers wait for it.
        let stored = keep.filter(|_| plain).map(|codec| {
            let mut payload = Payload::empty();
            let records: Vec<Record<'_>> = leaf.records().collect();
            encode_leaf(leaf.prefix(), &records, |_| unreachable!("it has no long values"), &mut payload);
            pack(codec, &payload, |stored| Unpublished(Stored::build(extent, stored)))
        });
        let locked = if may_wait { Some(self.writer.lock()) } else { self.writer.try_lock() };
        let Some(mut writer) = locked else { return Demoted::Held };
        point(Point::EvictionLocked);
        if page.is(RETIRED) {
            return Demoted::Done;
        }
        if page.is(DIRTY) {
            return Demoted::Changed;
        }
        let same = page.address() == Some(leaf.address()) && page.extent() == extent;
        if let Found::Hot(leaf) = page.leaf(guard) {
            self.fold(&mut writer, page, leaf, guard);
        }
        match page.leaf(guard) {
            // Old versions that a snapshot still needs are nowhere but in memory, and on disk may be what has expired.
            Found::Hot(leaf) if leaf.holds_versions() || leaf.delta_len() > 0 => return Demoted::Held,
            Found::Hot(_) if page.is(DIRTY) => return Demoted::Changed,
            _ => {}
        }
        self.expect_cold();
        let stored = stored.filter(|_| same).map(Unpublished::take);
        if let Some(old) = page.evict(stored.map(|stored| Form::Remains(stored.address()))) {
            if let Some(stored) = stored {
                self.around.memory.add(Part::Stored, stored.bytes());
            }
            self.around.counters.add(Count::Evictions, 1);
            point(Point::LeafEvicted);
            // SAFETY: the page no longer names the image.
            unsafe { retire(old, 0, &self.around.memory, guard) };
        } else if let Some(stored) = stored {
            // SAFETY: it was never published.
            unsafe { stored.free() };
        }
        drop(writer);
        self.note(page, guard);
        Demoted::Done
    }

    /// The page was written, or moved as it is; its old extent. Under the lock.
    pub fn set_extent(&self, page: &PageRef, extent: u64, guard: &Guard) -> u64 {
        let (old, displaced) = page.set_extent(extent);
        if let Some(displaced) = displaced {
            // SAFETY: the page no longer names it.
            unsafe { retire(displaced, page.level(), &self.around.memory, guard) };
            self.note(page, guard);
        }
        old
    }

    /// Forgets what memory has of a leaf without an image. False: it has an image.
    pub fn forget(&self, page: &PageRef, guard: &Guard) -> bool {
        let Found::Cold(away) = page.leaf(guard) else { return false };
        if !matches!(away.remains(), Remains::Nothing) && page.forget(away) {
            // SAFETY: the page no longer names it.
            unsafe { retire(away.contents(), 0, &self.around.memory, guard) };
        }
        self.note(page, guard);
        true
    }
}

/// What is freed unless it is taken.
struct Unpublished(Stored<'static>);

impl Unpublished {
    fn take(self) -> Stored<'static> {
        let stored = self.0;
        std::mem::forget(self);
        stored
    }
}

impl Drop for Unpublished {
    fn drop(&mut self) {
        // SAFETY: it was never published.
        unsafe { self.0.free() };
    }
}

/// Gives what a page's word led to to the epoch, and its bytes back at once.
///
/// # Safety
/// It must be a page's of that level, and no page may name it any more.
pub unsafe fn retire(contents: Contents, level: usize, memory: &Memory, guard: &Guard) {
    // SAFETY: by the caller's word only pinned readers still have it.
    unsafe {
        let Some((part, bytes)) = contents.footprint(level) else { return };
        memory.sub(part, bytes);
        guard.defer_unchecked(move || contents.free(level));
    }
}
