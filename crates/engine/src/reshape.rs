//! Bringing a family's leaves to the size that its settings ask for, all of them now.

use crate::core::Core;
use crate::error::{Error, Result};
use crate::family::FamilyCore;
use crate::snapshot::Progress;
use crate::sync::epoch;

impl Core {
    /// Cuts a family's leaves anew where they are larger than `leaf_bytes`, and puts those together that are smaller; how
    /// many were built. The family's lock is held for a leaf or so at a time. `progress` gets leaves looked at and leaves there were.
    pub fn reshape(&self, family: &FamilyCore, progress: Progress<'_>) -> Result<u64> {
        let (mut looked_at, mut built) = (0, 0);
        let all = family.tree.count_leaves(&epoch::pin());
        let mut from = Some(Vec::new());
        while let Some(key) = from {
            let guard = epoch::pin();
            let mut writer = family.tree.writer.lock();
            self.open_check()?;
            family.usable()?;
            let step = family.tree.reshape(&mut writer, &key, &guard)?;
            drop(writer);
            if step.built > 0 {
                guard.flush();
            }
            drop(guard);
            self.relieve_memory(true, step.looked_at + step.built)?;
            looked_at += step.looked_at as u64;
            built += step.built as u64;
            if !progress(looked_at, all.max(looked_at)) {
                return Err(Error::Interrupted);
            }
            from = step.next;
        }
        Ok(built)
    }
}
