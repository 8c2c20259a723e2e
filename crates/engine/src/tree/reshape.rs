//! Cutting leaves anew to the size that is asked for now, without waiting for writes to come by.

use smallvec::SmallVec;

use super::Tree;
use super::gather::{Gathered, gather};
use super::leaf::{Leaf, OVERHEAD, cost, size as image_size};
use super::page::{DIRTY, PageRef};
use super::write::{Writer, divide, join};
use crate::error::Result;
use crate::pause::{Point, point};
use crate::sync::epoch::Guard;

/// Neighbours are put together up to so many eighths of the size, so that the next insert does not split them again.
const FILL_EIGHTHS: usize = 7;

/// What became of some neighbouring leaves.
pub struct Reshaped {
    /// How many of them were looked at, and how many new ones there are in their place; 0: they stay as they are.
    pub looked_at: usize,
    pub built: usize,
    /// The lowest key that the leaf behind them may hold; `None`: they are the last.
    pub next: Option<Vec<u8>>,
}

impl Tree {
    /// How many leaves there are.
    pub fn count_leaves(&self, guard: &Guard) -> u64 {
        count_below(self.root(guard), guard)
    }

    /// Cuts the leaf of `key` into pieces if it is larger than `leaf_bytes`, or puts it together with those behind it, below
    /// the same parent, that fit into one with it. Under the lock.
    pub fn reshape(&self, writer: &mut Writer, key: &[u8], guard: &Guard) -> Result<Reshaped> {
        let path = self.path(key, guard);
        let parent = path.steps.last();
        let (first, end) = parent.map_or((0, 1), |step| (step.index, step.inner.count()));
        let target = self.around.settings.leaf_bytes();
        let mut old: SmallVec<[(&PageRef, Leaf<'_>); 4]> = SmallVec::new();
        let mut total = OVERHEAD;
        for index in first..end {
            let page = parent.map_or(path.page, |step| step.inner.child(index));
            let leaf = self.resident(page, guard)?;
            total += bytes(leaf);
            if index > first && total > target / 8 * FILL_EIGHTHS {
                break;
            }
            old.push((page, leaf));
        }
        let behind = first + old.len();
        let within = parent.filter(|_| behind < end).map(|step| step.inner.separator(behind - 1));
        let next = within.or_else(|| path.upper()).map(|key| key.to_vec());
        let unchanged = Reshaped { looked_at: old.len(), built: 0, next };
        if old.len() == 1 && bytes(old[0].1) + OVERHEAD <= target {
            return Ok(unchanged);
        }
        let mut scratches = vec![Vec::new(); old.len()];
        let mut parts: Vec<Gathered<'_>> = Vec::with_capacity(old.len());
        for ((_, leaf), scratch) in old.iter().zip(&mut scratches) {
            parts.push(gather(*leaf, leaf.delta_len(), &[], scratch));
        }
        // From here on the old leaves must go: what survives in the new ones is all there is.
        for ((page, _), part) in old.iter().zip(&mut parts) {
            if self.surviving(writer, part) {
                // The page on disk names what has been given up; no reader may be sent there again.
                page.set(DIRTY);
            }
        }
        let mut keys = Vec::new();
        let records = join(&parts.iter().collect::<SmallVec<[_; 4]>>(), &mut keys);
        let size = image_size(&records);
        let pieces = if size > target {
            divide(&records, size, target, false)
        } else {
            std::iter::once(0..records.len()).collect()
        };
        if pieces.len() == 1 && old.len() == 1 {
            self.publish(old[0].0, &parts[0], &[], guard);
            return Ok(unchanged);
        }
        *if old.len() == 1 { &mut writer.splits } else { &mut writer.merges } += 1;
        let leaves = self.leaves(&[], &records, &pieces, path.low(), guard);
        self.take_over_blobs(&records, &[]);
        point(Point::MergeBuilt);
        self.replace(writer, &path.steps, first..behind, leaves, guard);
        point(Point::MergePublished);
        old.iter().for_each(|(page, _)| self.retire(writer, page, guard));
        Ok(Reshaped { built: pieces.len(), ..unchanged })
    }
}

fn count_below(page: &PageRef, guard: &Guard) -> u64 {
    match page.level() {
        0 => 1,
        1 => page.inner(guard).count() as u64,
        _ => {
            let inner = page.inner(guard);
            (0..inner.count()).map(|index| count_below(inner.child(index), guard)).sum()
        }
    }
}

/// What the records of a leaf and of its delta ask for in a leaf of their own, without what every leaf has; more where
/// there are old versions.
fn bytes(leaf: Leaf<'_>) -> usize {
    let delta = leaf.delta().map_or(0, |delta| (0..leaf.delta_len()).map(|index| cost(&delta.record(index))).sum());
    leaf.bytes().saturating_sub(OVERHEAD) + delta
}
