//! Driving leaves out of memory: a clock with a second chance goes round over all of them.
//!
//! Whoever makes room takes the next few leaves off the clock's hand and works on them without holding anything that others
//! wait for: the maintenance thread until the memory is within its budget, a writer that is far beyond it for a bounded
//! number of leaves. Changed leaves are written first (`early.rs`).

use std::sync::Arc;
use std::time::Duration;

use crate::core::Core;
use crate::counters::Count;
use crate::early::Early;
use crate::error::{Error, Result};
use crate::family::FamilyCore;
use crate::pause::{Point, point};
use crate::sync::epoch::{self, Guard};
use crate::sync::thread;
use crate::tree::{DIRTY, Found, PageRef, RETIRED, retire_leaf};

/// Leaves that are taken off the hand at once.
const AT_ONCE: usize = 16;
/// Leaves that a writer drops at least before it goes on, if it is far beyond the budget.
const WRITERS_LEAVES: usize = 8;
/// Takings after which it lets others come to something, for a while; and how often it does so before it goes on all the same.
const WRITERS_STEPS: usize = 16;
const WRITERS_PAUSE: Duration = Duration::from_millis(1);
const WRITERS_PATIENCE: usize = 16;
/// Going round was in vain if less than this part of the leaves could be dropped.
const LEAST_GAIN: usize = 64;
/// Round once takes the marks of use away, round twice drops what has none; and the beginning of the first may have been
/// the end of a round.
const ROUNDS: u64 = 3;

#[derive(Default)]
pub struct Evictor {
    hand: Hand,
    /// The budget, and the oldest version that somebody could read at then.
    within: (u64, u64),
    /// Old versions stand in the way: until so much memory is used, or these change, nothing is won.
    futile_below: u64,
}

/// Where it stopped.
#[derive(Default)]
struct Hand {
    family: u32,
    key: Vec<u8>,
    /// How often it has come round.
    rounds: u64,
}

/// What became of some leaves.
#[derive(Default)]
struct Done {
    /// Leaves that were in memory.
    seen: usize,
    dropped: usize,
    /// Why one of them could not be written; the others were looked at all the same.
    failure: Option<Error>,
}

impl Core {
    /// For writers that fill the memory faster than the thread empties it. They do as much as they are about to undo.
    /// False: it takes a while, and `wait` was not allowed.
    #[inline]
    pub fn relieve_memory(&self, wait: bool, changes: usize) -> Result<bool> {
        if !self.memory.is_pressing() {
            return Ok(true);
        }
        if wait {
            self.make_room(changes)?;
        }
        Ok(wait)
    }

    #[cold]
    fn make_room(&self, changes: usize) -> Result<()> {
        let mut dropped = 0;
        for _ in 0..WRITERS_PATIENCE {
            for _ in 0..WRITERS_STEPS {
                let done = self.drop_some(true);
                done.failure.map_or(Ok(()), Err)?;
                dropped += done.dropped;
                if dropped >= WRITERS_LEAVES.max(changes) || !self.memory.is_pressing() {
                    return Ok(());
                }
            }
            // What is changed ahead of a checkpoint's walk cannot be dropped before the walk has passed.
            thread::sleep(WRITERS_PAUSE);
        }
        Ok(())
    }

    /// Drops leaves that were not used lately until the memory is within its budget. Old versions that a snapshot needs
    /// stay, whatever the budget.
    pub fn evict(&self) -> Result<()> {
        let budget = self.memory.budget();
        let goal = budget - budget / 32;
        let within = (budget, self.versions.active()[0]);
        {
            let mut evictor = self.maintenance.evictor.lock();
            if within != evictor.within {
                (evictor.within, evictor.futile_below) = (within, 0);
            }
            if self.memory.excess() == 0 || self.memory.used() < evictor.futile_below {
                self.memory.press_from(evictor.futile_below);
                return Ok(());
            }
        }
        let done = self.drop_until(goal);
        let mut evictor = self.maintenance.evictor.lock();
        // A checkpoint passes, and what waited for it can be dropped.
        let is_over = self.memory.used() > goal;
        let in_vain = is_over && done.failure.is_none() && done.dropped < done.seen / LEAST_GAIN;
        let futile = in_vain && self.checkpoint.try_lock().is_some();
        let used = self.memory.used();
        evictor.futile_below = if futile { used + used / 8 } else { 0 };
        self.memory.press_from(evictor.futile_below);
        drop(evictor);
        epoch::pin().flush();
        done.failure.filter(|_| is_over).map_or(Ok(()), Err)
    }

    /// As `evict`, until no more than `bytes` are in use.
    pub fn drive_out(&self, bytes: u64) -> Result<()> {
        self.drop_until(bytes).failure.map_or(Ok(()), Err)
    }

    fn drop_until(&self, goal: u64) -> Done {
        let rounds = self.maintenance.evictor.lock().hand.rounds;
        let mut all = Done::default();
        while self.memory.used() > goal && self.maintenance.evictor.lock().hand.rounds < rounds + ROUNDS {
            // The clean ones can be dropped all the same.
            let Done { seen, dropped, failure } = self.drop_some(all.failure.is_none());
            (all.seen, all.dropped) = (all.seen + seen, all.dropped + dropped);
            all.failure = all.failure.or(failure);
        }
        all
    }

    /// Takes the next leaves off the hand, and drops those that were not used lately; changed ones if they may be written.
    fn drop_some(&self, may_write: bool) -> Done {
        let guard = epoch::pin();
        let mut done = Done::default();
        let Some((family, pages)) = self.next_leaves(&guard) else { return done };
        let mut changed = Vec::new();
        {
            let mut writer = family.tree.writer.lock();
            point(Point::EvictionLocked);
            for page in pages {
                let Found::Hot(leaf) = page.leaf(&guard) else { continue };
                done.seen += 1;
                if page.is(RETIRED) || page.take_use() {
                    continue;
                }
                if !page.is(DIRTY) && leaf.is_guarded() {
                    family.tree.consolidate(&mut writer, page, leaf, &[], &guard);
                }
                if page.is(DIRTY) {
                    changed.push(page);
                } else {
                    done.dropped += usize::from(self.drop_leaf(&family, page, &guard));
                }
            }
        }
        for page in changed.into_iter().filter(|_| may_write && !self.read_only) {
            match self.write_early(&family, page, &guard) {
                Ok(Early::Clean) => {
                    let _writer = family.tree.writer.lock();
                    done.dropped += usize::from(self.drop_leaf(&family, page, &guard));
                }
                Ok(Early::Stays) => self.fold(&family, page, &guard),
                Err(error) => {
                    done.failure = Some(error);
                    break;
                }
            }
        }
        guard.flush();
        done
    }

    /// What has to stay in memory stays without what nobody can read any more.
    fn fold(&self, family: &FamilyCore, page: &PageRef, guard: &Guard) {
        let mut writer = family.tree.writer.lock();
        if let Found::Hot(leaf) = page.leaf(guard)
            && leaf.delta_len() > 0
            && !page.is(RETIRED)
        {
            family.tree.consolidate(&mut writer, page, leaf, &[], guard);
        }
    }

    /// Under the family's lock. False: it is changed, or what it holds is nowhere but in memory.
    fn drop_leaf(&self, family: &FamilyCore, page: &PageRef, guard: &Guard) -> bool {
        let Found::Hot(leaf) = page.leaf(guard) else { return false };
        // Old versions that a snapshot still needs are not on disk, where may be what has expired.
        if page.is(DIRTY | RETIRED) || page.extent() == 0 || leaf.delta_len() > 0 || leaf.holds_versions() {
            return false;
        }
        family.tree.expect_cold();
        let Some(address) = page.evict() else { return false };
        family.counters.add(Count::Evictions, 1);
        point(Point::LeafEvicted);
        // SAFETY: the page no longer names the image.
        unsafe { retire_leaf(address, &self.memory, guard) };
        true
    }

    /// The leaves at the hand, which goes on behind them. `None`: there are no families.
    fn next_leaves<'g>(&self, guard: &'g Guard) -> Option<(Arc<FamilyCore>, Vec<&'g PageRef>)> {
        let families = self.families.read();
        let mut evictor = self.maintenance.evictor.lock();
        let hand = &mut evictor.hand;
        let next = families.values().filter(|family| family.id >= hand.family).min_by_key(|family| family.id);
        let family = Arc::clone(next.or_else(|| families.values().min_by_key(|family| family.id))?);
        if family.id != hand.family {
            hand.rounds += u64::from(family.id < hand.family);
            (hand.family, hand.key) = (family.id, Vec::new());
        }
        let bottom = family.tree.bottom(&hand.key, guard);
        let (pages, behind) = bottom.some_from(&hand.key, AT_ONCE);
        match behind {
            Some(key) => hand.key = key,
            None => {
                hand.key.clear();
                match families.values().map(|family| family.id).filter(|&id| id > family.id).min() {
                    Some(id) => hand.family = id,
                    None => {
                        hand.rounds += 1;
                        hand.family = families.values().map(|family| family.id).min()?;
                    }
                }
            }
        }
        Some((family, pages))
    }
}
