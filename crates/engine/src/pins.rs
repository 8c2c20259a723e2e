//! Ranges of keys whose leaves stay in memory as images, whatever else is asked for, until they are unpinned.

use crate::core::Core;
use crate::error::{Error, Result};
use crate::family::FamilyCore;
use crate::range::Range;
use crate::sync::{RwLock, epoch};
use crate::tree::Leaf;

struct Pin {
    range: Range,
    /// Of its leaves' images, when it was pinned.
    bytes: u64,
}

/// One family's.
#[derive(Default)]
pub struct Pins(RwLock<Vec<Pin>>);

impl Pins {
    /// Whether a leaf has to stay.
    pub fn hold(&self, leaf: Leaf<'_>) -> bool {
        let pins = self.0.read();
        if pins.is_empty() {
            return false;
        }
        let Some((first, last)) = leaf.key_range() else { return false };
        pins.iter().any(|pin| !pin.range.is_above(&first) && !pin.range.is_below(&last))
    }

    /// Whether there was such a pin.
    pub fn remove(&self, range: &Range) -> bool {
        let mut pins = self.0.write();
        let before = pins.len();
        pins.retain(|pin| pin.range != *range);
        pins.len() < before
    }

    fn set(&self, range: &Range, bytes: u64) {
        self.remove(range);
        self.0.write().push(Pin { range: range.clone(), bytes });
    }

    fn bytes(&self) -> u64 {
        self.0.read().iter().map(|pin| pin.bytes).sum()
    }
}

impl Core {
    /// Loads the leaves of a range and keeps them; returns the bytes that they take. `Config`: they are too many.
    pub fn pin(&self, family: &FamilyCore, range: &Range) -> Result<u64> {
        // Before they are loaded, so that none of them goes meanwhile.
        family.pins.set(range, 0);
        let others: u64 = self.all_families().iter().map(|family| family.pins.bytes()).sum();
        // The rest has to be enough for everything else.
        let most = (self.memory.budget() / 2).saturating_sub(others);
        let loaded = self.load_range(family, range, most);
        match loaded {
            Ok(bytes) => family.pins.set(range, bytes),
            Err(_) => drop(family.pins.remove(range)),
        }
        loaded
    }

    fn load_range(&self, family: &FamilyCore, range: &Range, most: u64) -> Result<u64> {
        let (mut bytes, mut from) = (0, Some(range.lowest().to_vec()));
        while let Some(key) = from {
            let guard = epoch::pin();
            family.usable()?;
            let bottom = family.tree.bottom(&key, &guard);
            let leaves = bottom.leaves();
            for (at, (low, page)) in leaves.iter().enumerate() {
                let is_before = leaves.get(at + 1).is_some_and(|(next, _)| next.as_slice() <= key.as_slice());
                if is_before {
                    continue;
                }
                if range.is_above(low) {
                    return Ok(bytes);
                }
                bytes += family.tree.resident(page, &guard)?.footprint() as u64;
                if bytes > most {
                    let why = "what is pinned would take more than half of it".into();
                    return Err(Error::Config { name: "memory_bytes".into(), why });
                }
            }
            from = bottom.high;
        }
        Ok(bytes)
    }
}
