//! What commits add to the sketch, under the family's lock and before the tree changes.

use super::Writes;
use crate::counters::Measure;
use crate::family::FamilyCore;
use crate::sync::epoch::Guard;
use crate::tree::{Place, Record};

/// Records of a batch that are looked at, at most.
const MOST: usize = 16;

impl FamilyCore {
    /// A single write that is one of those that are timed.
    #[cold]
    pub fn sense_write(&self, key: &[u8], is_put: bool, place: &Place<'_>, guard: &Guard) {
        let row = self.counters.row();
        let Some(weight) = row.drawn(Measure::Put) else { return };
        let seen = if is_put { self.writes(key, place, weight.into()) } else { Writes::default() };
        let position = self.tree.position(key, guard);
        row.sense(|sketch| sketch.wrote(key, row.done(), position, seen));
    }

    /// A batch's changes, with their leaves in memory. Some of them stand for all.
    #[cold]
    pub fn sense_batch(&self, changes: &[Record<'_>], guard: &Guard) {
        let every = changes.len().div_ceil(MOST).max(1);
        let row = self.counters.row();
        for change in changes.iter().step_by(every).filter(|change| !change.is_tombstone()) {
            let weight = u64::from(Measure::Batch.interval()) * every as u64;
            let Ok(place) = self.tree.place(change.key, guard) else { continue };
            let seen = self.writes(change.key, &place, weight);
            row.sense(|sketch| sketch.count_writes(seen));
        }
    }

    fn writes(&self, key: &[u8], place: &Place<'_>, weight: u64) -> Writes {
        let counted = |is_so: bool| if is_so { weight } else { 0 };
        let is_there = self.tree.holds(place, key);
        Writes { all: weight, appended: counted(!is_there && place.is_append(key)), overwrote: counted(is_there) }
    }
}
