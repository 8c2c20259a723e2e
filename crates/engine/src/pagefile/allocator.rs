//! Which granules of the page file are free. First fit from the front, so that the file's tail empties.

use std::collections::BTreeMap;

/// How full a page file is. `used_bytes + free_bytes == file_bytes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub file_bytes: u64,
    /// The superblocks included.
    pub used_bytes: u64,
    pub free_bytes: u64,
    pub free_runs: u64,
}

/// Free runs by their start, and over them a tree of maxima that finds the first run that is long enough.
/// Invariants: runs neither touch nor overlap, and end at or before `end`.
#[derive(Debug)]
pub(super) struct FreeMap {
    runs: BTreeMap<u64, u64>,
    longest: LongestRuns,
    free: u64,
    end: u64,
}

impl FreeMap {
    /// Granules `start..end`, all of them free.
    pub(super) fn new(start: u64, end: u64) -> FreeMap {
        let mut map = FreeMap { runs: BTreeMap::new(), longest: LongestRuns::default(), free: 0, end };
        if end > start {
            map.insert_run(start, end - start);
            map.free = end - start;
        }
        map
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn free(&self) -> u64 {
        self.free
    }

    pub(super) fn runs(&self) -> u64 {
        self.runs.len() as u64
    }

    /// Length of the free run at the very end.
    pub(super) fn tail(&self) -> u64 {
        match self.runs.last_key_value() {
            Some((start, length)) if start + length == self.end => *length,
            _ => 0,
        }
    }

    /// The lowest place with `length` free granules, ending at or before `below`.
    pub(super) fn allocate(&mut self, length: u64, below: u64) -> Option<u64> {
        assert!(length > 0);
        let (from, to) = self.longest.first_region_with(length)?;
        let (&start, &run) = self.runs.range(from..to).find(|(_, run)| **run >= length)?;
        if start + length > below {
            return None;
        }
        self.remove_run(start);
        if run > length {
            self.insert_run(start + length, run - length);
        }
        self.free -= length;
        Some(start)
    }

    /// A place with `length` granules in the free run at the very end, at or behind `from`.
    pub(super) fn allocate_at_end(&mut self, length: u64, from: u64) -> Option<u64> {
        let start = from.max(self.end - self.tail());
        (start + length <= self.end && self.take(start, length)).then_some(start)
    }

    /// Marks free granules as used; false, and nothing is changed, when they are not all free.
    pub(super) fn take(&mut self, start: u64, length: u64) -> bool {
        let Some((&run_start, &run)) = self.runs.range(..=start).next_back() else { return false };
        let (run_end, end) = (run_start + run, start + length);
        if end > run_end {
            return false;
        }
        self.remove_run(run_start);
        if start > run_start {
            self.insert_run(run_start, start - run_start);
        }
        if run_end > end {
            self.insert_run(end, run_end - end);
        }
        self.free -= length;
        true
    }

    /// Gives used granules back; false, and nothing is changed, when some are free already or outside the file.
    pub(super) fn release(&mut self, start: u64, length: u64) -> bool {
        let (mut run_start, mut run_end) = (start, start + length);
        if run_end > self.end {
            return false;
        }
        let before = self.runs.range(..=start).next_back().map(|(at, run)| (*at, at + run));
        let after = self.runs.range(start..).next().map(|(at, run)| (*at, at + run));
        if before.is_some_and(|(_, end)| end > start) || after.is_some_and(|(at, _)| at < run_end) {
            return false;
        }
        if let Some((at, _)) = before.filter(|(_, end)| *end == start) {
            self.remove_run(at);
            run_start = at;
        }
        if let Some((at, end)) = after.filter(|(at, _)| *at == run_end) {
            self.remove_run(at);
            run_end = end;
        }
        self.insert_run(run_start, run_end - run_start);
        self.free += length;
        true
    }

    pub(super) fn grow(&mut self, end: u64) {
        assert!(end > self.end);
        let start = std::mem::replace(&mut self.end, end);
        let released = self.release(start, end - start);
        assert!(released, "nothing was free beyond the end");
    }

    /// Takes the free tail off the end; the new end.
    pub(super) fn cut_tail(&mut self) -> u64 {
        let tail = self.tail();
        if tail > 0 {
            self.end -= tail;
            self.remove_run(self.end);
            self.free -= tail;
        }
        self.end
    }

    fn insert_run(&mut self, start: u64, length: u64) {
        self.runs.insert(start, length);
        self.longest.raise(start, length);
    }

    fn remove_run(&mut self, start: u64) {
        let removed = self.runs.remove(&start);
        assert!(removed.is_some(), "a run that is removed is there");
        let (from, to) = LongestRuns::region_of(start);
        let longest = self.runs.range(from..to).map(|(_, length)| *length).max().unwrap_or(0);
        self.longest.set(start, longest);
    }
}

/// A tree of maxima in an array (children of i: 2i and 2i + 1; the leaves are its second half): for each region of the
/// file the length of the longest free run that starts there.
#[derive(Debug, Default)]
struct LongestRuns {
    tree: Vec<u32>,
}

/// 64 KiB of file: few enough pages that looking through a region's runs costs little.
const REGION_GRANULES: u64 = 1024;

impl LongestRuns {
    fn region_of(start: u64) -> (u64, u64) {
        let from = start / REGION_GRANULES * REGION_GRANULES;
        (from, from + REGION_GRANULES)
    }

    fn leaves(&self) -> usize {
        self.tree.len() / 2
    }

    fn raise(&mut self, start: u64, length: u64) {
        let region = (start / REGION_GRANULES) as usize;
        if region >= self.leaves() {
            self.resize((region + 1).next_power_of_two().max(64));
        }
        let length = clamp_to_u32(length);
        let mut at = self.leaves() + region;
        while at > 0 && self.tree[at] < length {
            self.tree[at] = length;
            at /= 2;
        }
    }

    fn set(&mut self, start: u64, longest: u64) {
        let mut at = self.leaves() + (start / REGION_GRANULES) as usize;
        let mut value = clamp_to_u32(longest);
        while self.tree[at] != value {
            self.tree[at] = value;
            at /= 2;
            if at == 0 {
                break;
            }
            value = self.tree[2 * at].max(self.tree[2 * at + 1]);
        }
    }

    fn first_region_with(&self, length: u64) -> Option<(u64, u64)> {
        let length = clamp_to_u32(length);
        let mut at = 1;
        if self.tree.get(at).is_none_or(|longest| *longest < length) {
            return None;
        }
        while at < self.leaves() {
            at *= 2;
            if self.tree[at] < length {
                at += 1;
            }
        }
        Some(Self::region_of((at - self.leaves()) as u64 * REGION_GRANULES))
    }

    fn resize(&mut self, leaves: usize) {
        let old_leaves = self.leaves();
        let mut tree = vec![0; 2 * leaves];
        tree[leaves..leaves + old_leaves].copy_from_slice(&self.tree[old_leaves..]);
        for at in (1..leaves).rev() {
            tree[at] = tree[2 * at].max(tree[2 * at + 1]);
        }
        self.tree = tree;
    }
}

/// No page is as long as the largest `u32`, so cutting a run's length there changes no answer.
fn clamp_to_u32(length: u64) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
