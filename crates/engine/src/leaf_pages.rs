//! Writing leaves and their long values to the page file, for checkpoints and for who writes ahead of them; and the ways
//! of their extents back.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::core::Core;
use crate::error::Result;
use crate::family::FamilyCore;
use crate::pagefile::{Extent, PageKind};
use crate::sync::epoch::Guard;
use crate::sync::{Mutex, Ordering};
use crate::tree::{BLOB, Blob, Gathered, encode_leaf};

/// The family and the long values (extents' bits) of each written leaf that has some, by the leaf's extent.
#[derive(Default)]
pub struct LeafBlobs(Mutex<FxHashMap<u64, (u32, Vec<u64>)>>);

impl LeafBlobs {
    pub fn of(&self, leaf: u64) -> Vec<u64> {
        self.0.lock().get(&leaf).map_or_else(Vec::new, |(_, blobs)| blobs.clone())
    }

    pub fn note(&self, leaf: u64, family: u32, blobs: &[u64]) {
        if !blobs.is_empty() {
            self.0.lock().insert(leaf, (family, blobs.to_vec()));
        }
    }

    /// Before the extents may be given to others.
    pub fn forget(&self, leaves: &[u64]) {
        let mut known = self.0.lock();
        leaves.iter().for_each(|leaf| drop(known.remove(leaf)));
    }

    /// All long values of a family that is gone.
    pub fn take(&self, family: u32) -> Vec<u64> {
        let mut known = self.0.lock();
        let of_family = known.values().filter(|(id, _)| *id == family);
        let blobs = of_family.flat_map(|(_, blobs)| blobs.iter().copied()).collect();
        known.retain(|_, (id, _)| *id != family);
        blobs
    }
}

/// A leaf as it was just written.
pub struct WrittenLeaf {
    /// The extent's bits.
    pub extent: u64,
    pub records: u32,
    /// Some record has an expiry.
    pub expiring: bool,
    /// Extents (bits) of its long values.
    pub blobs: Vec<u64>,
}

impl Core {
    /// Writes of each key the one live record to a fresh extent. `place` tells where a long value is on disk.
    pub fn write_leaf(
        &self,
        family: &FamilyCore,
        gathered: &Gathered<'_>,
        mut place: impl FnMut(&Blob) -> Result<u64>,
    ) -> Result<WrittenLeaf> {
        let records = &gathered.records;
        let mut places = Vec::new();
        for blob in records.iter().filter(|record| record.flags & BLOB != 0).filter_map(|record| record.blob()) {
            places.push((place(blob)?, blob.len()));
        }
        let mut payload = Vec::new();
        let mut next = places.iter().copied();
        encode_leaf(gathered.prefix, records, |_| next.next().expect("one for each blob"), &mut payload);
        let extent = self.pages.write_page(PageKind::Leaf, family.settings.codec(), &payload)?.to_bits();
        let blobs: Vec<u64> = places.iter().map(|&(extent, _)| extent).collect();
        self.leaf_blobs.note(extent, family.id, &blobs);
        let expiring = records.iter().any(|record| record.expiry != 0);
        Ok(WrittenLeaf { extent, records: records.len() as u32, expiring, blobs })
    }

    /// Where a long value is on disk, to which it is written if it was not yet; and the extent that was written for it in
    /// vain, if its record was dropped meanwhile. Then that is the place as well.
    pub fn write_blob(&self, family: &FamilyCore, blob: &Blob, guard: &Guard) -> Result<(u64, Option<u64>)> {
        if let Some(extent) = blob.extent() {
            return Ok((extent, None));
        }
        let codec = family.settings.codec();
        let written =
            family.tree.read_blob(blob, guard, |value| self.pages.write_page(PageKind::Blob, codec, value))??;
        if blob.set_extent(written.to_bits()) {
            return Ok((written.to_bits(), None));
        }
        match blob.extent() {
            // Somebody else wrote it at the same time. Nobody knows of ours.
            Some(extent) => {
                self.pages.release_or_poison(&[written]);
                Ok((extent, None))
            }
            None => Ok((written.to_bits(), Some(written.to_bits()))),
        }
    }

    /// Gives extents back once no reader can be on its way to them.
    pub fn release_later(&self, extents: Vec<u64>, guard: &Guard) {
        if extents.is_empty() {
            return;
        }
        self.leaf_blobs.forget(&extents);
        let (pages, waiting) = (Arc::clone(&self.pages), Arc::clone(&self.releases));
        waiting.fetch_add(1, Ordering::AcqRel);
        guard.defer(move || {
            let extents: Vec<Extent> = extents.into_iter().filter_map(Extent::from_bits).collect();
            // A second release of an extent would let two pages share it; the page file then refuses all writes.
            pages.release_or_poison(&extents);
            waiting.fetch_sub(1, Ordering::AcqRel);
        });
    }

    /// Gives back what was written early and has been replaced before any checkpoint met it.
    pub fn release_unnamed(&self, family: &FamilyCore, guard: &Guard) {
        let unnamed = std::mem::take(&mut family.tree.writer.lock().unnamed);
        self.release_later(unnamed, guard);
    }
}
