//! Leaves read for one scan alone, which take no room from what others use.
//!
//! What a leaf that has no image holds is all of its range that a version registered before it was read can see: a leaf
//! with anything newer keeps its image for as long as that version is registered. So a scan may go on using what it has
//! read of a range, whatever becomes of the pages. This does not hold for long values: their places are freed.

use std::sync::Arc;

use super::Tree;
use super::load::{ParsedLeaf, SOME_BLOBS, parse_leaf};
use super::page::Away;
use super::payload::Payload;
use super::steps::Edges;
use crate::counters::Count;
use crate::error::Result;
use crate::memory::{Counted, Memory, Part};
use crate::pagefile::{Extent, PageKind};

pub(super) struct LeafAside {
    pub edges: Edges,
    payload: Payload,
    extent: u64,
    _counted: Counted,
}

impl LeafAside {
    fn new(edges: Edges, payload: Payload, extent: u64, memory: &Arc<Memory>) -> LeafAside {
        let counted = Counted::new(memory, Part::Scans, payload.capacity());
        LeafAside { edges, payload, extent, _counted: counted }
    }

    /// Whether it can be looked at only while who read it stays pinned.
    pub fn has_long_values(&self) -> bool {
        self.payload.first().is_some_and(|flags| flags & SOME_BLOBS != 0)
    }
}

impl Tree {
    /// The content of a leaf without an image; from disk, if memory does not have it as it is stored.
    pub(super) fn read_for_scan(&self, edges: Edges, away: Away<'_>) -> Result<LeafAside> {
        let extent = away.extent();
        let payload = match self.unpack(away)? {
            Some(payload) => payload,
            None => {
                let place = Extent::from_bits(extent);
                let place = place.ok_or_else(|| self.damaged_leaf(extent, "a leaf's place is no extent"))?;
                let mut payload = Payload::empty();
                self.around.pages.read_page(place, PageKind::Leaf, &mut payload)?;
                self.around.counters.add(Count::PageLoads, 1);
                payload
            }
        };
        Ok(LeafAside::new(edges, payload, extent, &self.around.memory))
    }

    /// The live records; of those with long values the places.
    pub(super) fn parse_for_scan<'l>(&self, leaf: &'l LeafAside) -> Result<ParsedLeaf<'l>> {
        let parsed = parse_leaf(&leaf.payload);
        let mut parsed =
            parsed.ok_or_else(|| self.damaged_leaf(leaf.extent, "the leaf page's content makes no sense"))?;
        parsed.records.retain(|record| self.is_live(record));
        Ok(parsed)
    }
}
