//! A leaf's base and delta as one sorted list of record versions, and the rule that says which of them must stay.

use std::cmp::Ordering;

use super::leaf::Leaf;
use super::record::{Record, TOMBSTONE};

/// Sorted by key, and versions of one key newest first. Keys lack the first `prefix.len()` bytes.
pub struct Gathered<'g> {
    pub prefix: &'g [u8],
    pub records: Vec<Record<'g>>,
}

/// Merges a leaf's base with the first `delta_length` changes of its delta and with `extras` (whole keys, sorted, newer
/// than all of the leaf). Keys of other leaves than this one's prefix force whole keys, for which `scratch` lends space.
pub fn gather<'g>(
    leaf: Leaf<'g>,
    delta_length: usize,
    extras: &[Record<'g>],
    scratch: &'g mut Vec<u8>,
) -> Gathered<'g> {
    let mut changes: Vec<Record<'g>> = Vec::with_capacity(delta_length + extras.len());
    // Newest first, so that a stable sort by key leaves versions newest first.
    if delta_length > 0 {
        let delta = leaf.delta().expect("a length was read from it");
        changes.extend((0..delta_length).rev().map(|index| delta.record(index)));
        if extras.is_empty() {
            changes.sort_by(|a, b| a.key.cmp(b.key));
        } else {
            changes.splice(0..0, extras.iter().copied());
            changes.sort_by(|a, b| a.key.cmp(b.key));
        }
    } else {
        changes.extend_from_slice(extras);
    }
    let prefix = leaf.prefix();
    let shared = match (changes.first(), changes.last()) {
        (Some(first), Some(last)) => leaf.count() > 0 && first.key.starts_with(prefix) && last.key.starts_with(prefix),
        _ => true,
    };
    if shared {
        for change in &mut changes {
            change.key = &change.key[prefix.len()..];
        }
        Gathered { prefix, records: merge(leaf.records(), leaf.count(), &changes) }
    } else {
        for record in leaf.records() {
            scratch.extend_from_slice(prefix);
            scratch.extend_from_slice(record.key);
        }
        let scratch: &'g [u8] = scratch;
        let mut end = 0;
        let whole = leaf.records().map(|record| {
            let start = end;
            end += prefix.len() + record.key.len();
            Record { key: &scratch[start..end], ..record }
        });
        Gathered { prefix: &[], records: merge(whole, leaf.count(), &changes) }
    }
}

fn merge<'g>(base: impl Iterator<Item = Record<'g>>, count: usize, changes: &[Record<'g>]) -> Vec<Record<'g>> {
    let mut merged = Vec::with_capacity(count + changes.len());
    let mut next = 0;
    for record in base {
        // Changes are newer than the base, so an equal key goes first.
        while next < changes.len() && changes[next].key.cmp(record.key) != Ordering::Greater {
            merged.push(changes[next]);
            next += 1;
        }
        merged.push(record);
    }
    merged.extend_from_slice(&changes[next..]);
    merged
}

/// The versions that somebody may still ask for.
pub struct Horizon {
    /// Versions of open snapshots, and the newest visible version; ascending, at least one.
    pub active: Vec<u64>,
    /// Milliseconds since the Unix epoch.
    pub now: u64,
}

impl Horizon {
    pub fn watermark(&self) -> u64 {
        self.active[0]
    }

    fn newest(&self) -> u64 {
        self.active[self.active.len() - 1]
    }

    /// Whether a version that was replaced at `replaced` can still be read: some reader stands in [born, replaced).
    fn is_needed(&self, born: u64, replaced: u64) -> bool {
        if born > self.newest() {
            return true;
        }
        let reader = self.active.partition_point(|&version| version < born);
        reader < self.active.len() && self.active[reader] < replaced
    }
}

/// Drops the versions that nobody can read any more, in place, and forgets version numbers that no longer decide
/// anything. `dropped` sees each record that goes.
pub fn prune<'g>(records: &mut Vec<Record<'g>>, horizon: &Horizon, mut dropped: impl FnMut(&Record<'g>)) {
    let watermark = horizon.watermark();
    let mut kept = 0;
    let mut index = 0;
    while index < records.len() {
        let key = records[index].key;
        let first_kept = kept;
        let mut replaced = u64::MAX;
        while index < records.len() && records[index].key == key {
            let mut record = records[index];
            index += 1;
            if replaced != u64::MAX && !horizon.is_needed(record.version, replaced) {
                dropped(&record);
                continue;
            }
            replaced = record.version;
            if !record.is_tombstone() && !record.is_live(horizon.now) {
                dropped(&record);
                record = Record { value: &[], expiry: 0, flags: TOMBSTONE, ..record };
            }
            records[kept] = record;
            kept += 1;
        }
        // Below the watermark only the newest version is left, it is the key's oldest, and every reader sees it.
        if kept > first_kept {
            let oldest = &mut records[kept - 1];
            if oldest.version <= watermark {
                oldest.version = 0;
                if oldest.is_tombstone() {
                    kept -= 1;
                }
            }
        }
    }
    records.truncate(kept);
}

/// Leaves of each key the one version that a reader at `version` sees, and none of what is deleted or expired.
pub fn view(records: &mut Vec<Record<'_>>, version: u64, now: u64) {
    let mut kept = 0;
    let mut index = 0;
    while index < records.len() {
        let key = records[index].key;
        let mut seen = false;
        while index < records.len() && records[index].key == key {
            let record = records[index];
            index += 1;
            if !seen && record.version <= version {
                seen = true;
                if record.is_live(now) {
                    records[kept] = record;
                    kept += 1;
                }
            }
        }
    }
    records.truncate(kept);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// After pruning, every reader that is still open, and every later one, sees what it saw before.
        #[test]
        fn pruning_changes_no_answer(versions in prop::collection::vec((0u8..4, 1u64..40, prop::bool::weighted(0.3)), 0..40),
                                     mut active in prop::collection::vec(0u64..40, 0..4), visible in 0u64..40) {
            active.retain(|&version| version <= visible);
            active.push(visible);
            active.sort();
            active.dedup();
            let mut history: BTreeMap<(u8, std::cmp::Reverse<u64>), bool> = BTreeMap::new();
            for (key, version, tombstone) in versions {
                history.insert((key, std::cmp::Reverse(version)), tombstone);
            }
            let keys: Vec<[u8; 1]> = (0..4).map(|key| [key]).collect();
            let values: Vec<[u8; 1]> = (0..40).map(|version| [version]).collect();
            let records: Vec<Record<'_>> = history.iter().map(|(&(key, std::cmp::Reverse(version)), &tombstone)| Record {
                key: &keys[key as usize],
                value: if tombstone { &[] } else { &values[version as usize] },
                version, expiry: 0, flags: if tombstone { TOMBSTONE } else { 0 },
            }).collect();
            let horizon = Horizon { active: active.clone(), now: 0 };
            let mut pruned = records.clone();
            let mut gone = 0;
            prune(&mut pruned, &horizon, |_| gone += 1);
            prop_assert!(pruned.len() + gone <= records.len());
            for reader in active.iter().copied().chain(visible..40) {
                let (mut before, mut after) = (records.clone(), pruned.clone());
                view(&mut before, reader, 0);
                view(&mut after, reader, 0);
                let answer = |list: &[Record<'_>]| list.iter().map(|r| (r.key.to_vec(), r.value.to_vec())).collect::<Vec<_>>();
                prop_assert_eq!(answer(&before), answer(&after));
            }
            // Precise: what is kept beyond the newest version of a key is read by somebody.
            prop_assert!(pruned.len() <= 4 * active.len() + records.iter().filter(|r| r.version > visible).count());
        }
    }
}
