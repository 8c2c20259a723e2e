//! What proves that a page belongs to the newest tree, where the row of sound pages from the superblock is broken.

use std::collections::HashSet;

use rustc_hash::FxHashMap;

use crate::bytes::Reader;
use crate::catalogue::{Catalogue, Root};
use crate::page_tree::decode_inner;
use crate::pagefile::{Extent, FoundPage, GRANULE_BYTES, PageKind, Remains};
use crate::tree::parse_leaf;

/// A page that a damaged one names, and the keys that it holds or, of an inner page, may hold.
pub struct Child {
    pub extent: u64,
    pub level: u32,
    pub records: u64,
    pub first: Vec<u8>,
    /// The last key of a leaf.
    pub last: Option<Vec<u8>>,
}

/// The sound pages that a search has found, in order of their places.
#[derive(Default)]
pub struct Found {
    pub pages: Vec<FoundPage>,
    by_extent: FxHashMap<u64, PageKind>,
}

impl Found {
    pub fn new(pages: Vec<FoundPage>) -> Found {
        let by_extent = pages.iter().map(|page| (page.extent.to_bits(), page.kind)).collect();
        Found { pages, by_extent }
    }

    /// Whether another sound page lies, in part, where this one is said to be: then what said so is old.
    fn is_written_over(&self, extent: Extent) -> bool {
        let from = self.pages.partition_point(|page| page.extent.end() <= extent.offset());
        let overlapping = self.pages[from..].iter().take_while(|page| page.extent.offset() < extent.end());
        overlapping.into_iter().any(|page| page.extent != extent)
    }

    fn child(&self, remains: &Remains, bits: u64, level: u32) -> Option<Child> {
        let kind = if level == 0 { PageKind::Leaf } else { PageKind::Inner };
        let extent = Extent::from_bits(bits).filter(|_| self.by_extent.get(&bits) == Some(&kind))?;
        let (_, payload) = remains.read(extent).ok()?;
        if level == 0 {
            let leaf = parse_leaf(&payload)?;
            let whole = |record: &crate::tree::Record<'_>| [leaf.prefix, record.key].concat();
            let (first, last) = (whole(leaf.records.first()?), whole(leaf.records.last()?));
            return Some(Child { extent: bits, level, records: leaf.records.len() as u64, first, last: Some(last) });
        }
        let (_, entries) = decode_inner(&payload).filter(|(stored, _)| *stored == level)?;
        let records = entries.iter().try_fold(0u64, |sum, entry| sum.checked_add(entry.records))?;
        Some(Child { extent: bits, level, records, first: entries[0].low.clone(), last: None })
    }

    /// The children that a damaged inner page of this level still names, in the order of their keys: at some place of what
    /// is legible stand the 64 bits of the extent of a sound page, and behind them the number of its records.
    pub fn children(
        &self,
        remains: &Remains,
        extent: Extent,
        level: u32,
        low: &[u8],
        high: Option<&[u8]>,
    ) -> Vec<Child> {
        let mut best: Vec<Child> = Vec::new();
        for guess in remains.guesses(extent) {
            let mut children: Vec<Child> = Vec::new();
            for at in 0..guess.len().saturating_sub(8) {
                let mut reader = Reader::new(&guess[at..]);
                let (Some(bits), Some(records)) = (reader.fixed64(), reader.varint()) else { continue };
                if !self.by_extent.contains_key(&bits) || children.iter().any(|child| child.extent == bits) {
                    continue;
                }
                let child = self.child(remains, bits, level - 1).filter(|child| {
                    let is_below = |key: &Vec<u8>| high.is_none_or(|high| key.as_slice() < high);
                    let is_inside = child.first.as_slice() >= low && is_below(&child.first);
                    child.records == records && is_inside && child.last.as_ref().is_none_or(is_below)
                });
                children.extend(child);
            }
            children.sort_by(|a, b| a.first.cmp(&b.first));
            let is_ordered = children.windows(2).all(|pair| {
                pair[0].first < pair[1].first && pair[0].last.as_ref().is_none_or(|last| *last < pair[1].first)
            });
            if is_ordered && children.len() > best.len() {
                best = children;
            }
        }
        best
    }

    /// What is still legible of a damaged catalogue, if the trees that it names begin where it says.
    pub fn legible_catalogue(&self, remains: &Remains, extent: Extent) -> Option<Catalogue> {
        let is_there = |root: &Root| {
            let child = self.child(remains, root.extent, root.level);
            child.is_some_and(|child| child.records == root.records)
        };
        let guesses = remains.guesses(extent);
        // How much of the end is padding is not known.
        let mut catalogues = guesses.iter().flat_map(|guess| {
            let zeros = guess.iter().rev().take(GRANULE_BYTES as usize).take_while(|byte| **byte == 0).count();
            (0..=zeros).filter_map(|padding| Catalogue::decode(&guess[..guess.len() - padding]))
        });
        catalogues.find(|catalogue| {
            let mut roots =
                catalogue.families.iter().filter_map(|family| family.root.as_ref()).filter(|root| root.records > 0);
            catalogue.families.iter().any(|family| family.id == 0) && roots.all(is_there)
        })
    }

    /// All catalogues in the file that no other page shows to be old.
    pub fn catalogues(&self, remains: &Remains) -> Vec<(Extent, Catalogue)> {
        let pages = self.pages.iter().filter(|page| page.kind == PageKind::Catalogue);
        let read = pages.filter_map(|page| {
            let catalogue = Catalogue::decode(&remains.read(page.extent).ok()?.1)?;
            let mut tree = Extents::default();
            let roots = catalogue.families.iter().filter_map(|family| Some((family.id, family.root.as_ref()?)));
            roots.for_each(|(id, root)| tree.add(remains, id, root.extent, root.level, &root.blobs));
            let is_old = tree.all.iter().any(|extent| self.is_written_over(*extent));
            (!is_old).then_some((page.extent, catalogue))
        });
        read.collect()
    }
}

/// All that a tree says it occupies.
#[derive(Default)]
pub struct Extents {
    all: Vec<Extent>,
    pub leaves: HashSet<(u32, u64)>,
}

impl Extents {
    pub fn add(&mut self, remains: &Remains, family: u32, bits: u64, level: u32, blobs: &[u64]) {
        let Some(extent) = Extent::from_bits(bits) else { return };
        self.all.push(extent);
        self.all.extend(blobs.iter().filter_map(|&bits| Extent::from_bits(bits)));
        if level == 0 {
            self.leaves.insert((family, bits));
            return;
        }
        let payload = remains.read(extent).ok().filter(|(kind, _)| *kind == PageKind::Inner);
        let entries = payload.and_then(|(_, payload)| decode_inner(&payload)).filter(|(stored, _)| *stored == level);
        for entry in entries.into_iter().flat_map(|(_, entries)| entries) {
            self.add(remains, family, entry.extent, level - 1, &entry.blobs);
        }
    }
}
