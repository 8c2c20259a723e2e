//! Taking out of memory what was not used lately, until it is within its budget.
//!
//! Whoever makes room takes a few leaves from the queues and works on them without holding anything that others wait for: the
//! maintenance thread until the memory is within its budget, a writer that is far beyond it for a bounded number of leaves.
//! Changed leaves are written first (`early.rs`); what has to stay is built anew without the versions that nobody reads.

use std::time::Duration;

use crate::core::Core;
use crate::early::Early;
use crate::error::{Error, Result};
use crate::family::FamilyCore;
use crate::memory::Part;
use crate::sync::epoch::{self, Guard};
use crate::sync::{Ordering, thread};
use crate::tiers::QUEUED;
use crate::tree::{Demoted, Found, PageRef, RETIRED};

/// Leaves that are taken from a queue at once.
const AT_ONCE: usize = 16;
/// Leaves that a writer drops at least before it goes on, if it is far beyond the budget.
const WRITERS_LEAVES: usize = 8;
/// Takings after which it lets others come to something, for a while; and how often it does so before it goes on all the same.
const WRITERS_STEPS: usize = 16;
const WRITERS_PAUSE: Duration = Duration::from_millis(1);
const WRITERS_PATIENCE: usize = 16;
/// Takings for which a reader that had to load a leaf makes room, if memory is beyond the budget.
const READERS_STEPS: usize = 4;
/// Making room was in vain if less than this part of the leaves could be dropped.
const LEAST_GAIN: usize = 64;

#[derive(Default)]
pub struct Evictor {
    /// The budget, the oldest version that somebody could read at then, and which checkpoint had been the last.
    within: (u64, u64, u64),
    /// Old versions stand in the way: until so much memory is used, or these change, nothing is won.
    futile_below: u64,
}

/// What who makes room may do for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Means {
    /// Write changed leaves, and wait for writers.
    All,
    /// Wait for writers.
    NoWriting,
    /// Neither: a reader waits for nobody.
    NoWaiting,
}

/// What became of some leaves.
#[derive(Default)]
struct Done {
    dropped: usize,
    /// Those that have to stay for now, and the bytes of them that were left.
    kept: usize,
    kept_bytes: usize,
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

    /// For readers that had to load a leaf, as the thread may not keep up with many of them. What a writer holds stays.
    #[inline]
    pub fn relieve_memory_of_reads(&self) {
        if self.memory.is_beyond() {
            self.make_room_for_reads();
        }
    }

    #[cold]
    fn make_room_for_reads(&self) {
        for _ in 0..READERS_STEPS {
            let done = self.drop_some(&mut self.patience(), Means::NoWaiting);
            if !self.memory.is_beyond() || done.is_none_or(|done| done.dropped == 0) {
                return;
            }
        }
    }

    #[cold]
    fn make_room(&self, changes: usize) -> Result<()> {
        let mut dropped = 0;
        for _ in 0..WRITERS_PATIENCE {
            for _ in 0..WRITERS_STEPS {
                let Some(done) = self.drop_some(&mut self.patience(), Means::All) else { return Ok(()) };
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

    /// Drops what was not used lately until the memory is within its budget. Old versions that a snapshot needs stay,
    /// whatever the budget.
    pub fn evict(&self) -> Result<()> {
        let budget = self.memory.budget();
        let goal = budget - budget / 32;
        let within = (budget, self.versions.active()[0], self.checkpointed.segment.load(Ordering::Relaxed));
        self.divide_memory();
        self.families.read().values().for_each(|family| family.tree.observer.begin(|| family.counters.accesses()));
        {
            let mut evictor = self.tiers.evictor.lock();
            if within != evictor.within {
                (evictor.within, evictor.futile_below) = (within, 0);
            }
            if self.memory.excess() == 0 || self.memory.used() < evictor.futile_below {
                self.memory.press_from(evictor.futile_below);
                return Ok(());
            }
        }
        self.host.memory_is_short();
        let done = self.drop_until(goal);
        let mut evictor = self.tiers.evictor.lock();
        let is_over = self.memory.used() > goal;
        let in_vain = is_over && done.failure.is_none() && done.dropped <= (done.dropped + done.kept) / LEAST_GAIN;
        // A checkpoint passes, and what waited for it can be dropped.
        let futile = in_vain && self.checkpoint.try_lock().is_some();
        // What writers have brought meanwhile can be folded again.
        let used = self.memory.used();
        let least = used.min(used.saturating_sub(self.memory.part(Part::Leaves)) + done.kept_bytes as u64);
        evictor.futile_below = if futile { least + least / 8 } else { 0 };
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
        let mut all = Done::default();
        let mut patience = self.patience();
        while self.memory.used() > goal {
            // The clean ones can be dropped all the same.
            let means = if all.failure.is_none() { Means::All } else { Means::NoWriting };
            let Some(done) = self.drop_some(&mut patience, means) else { break };
            (all.dropped, all.kept) = (all.dropped + done.dropped, all.kept + done.kept);
            all.kept_bytes += done.kept_bytes;
            all.failure = all.failure.or(done.failure);
        }
        all
    }

    /// How many leaves of each queue may turn out to have to stay before one gives up on it: as many as there are.
    fn patience(&self) -> [usize; QUEUED.len()] {
        QUEUED.map(|part| self.residents.len(part))
    }

    /// Takes a few leaves from the part of memory that is furthest beyond its share, and drops them. `None`: there is
    /// nothing left to try.
    fn drop_some(&self, patience: &mut [usize; QUEUED.len()], means: Means) -> Option<Done> {
        let excess = |part: Part| {
            let with_it = if part == Part::Leaves { self.memory.part(Part::LongValues) } else { 0 };
            i128::from(self.memory.part(part) + with_it) - i128::from(self.memory.target(part))
        };
        let at = (0..QUEUED.len()).filter(|&at| patience[at] > 0).max_by_key(|&at| excess(QUEUED[at]))?;
        let guard = epoch::pin();
        let victims = self.residents.victims(QUEUED[at], AT_ONCE.min(patience[at]), &guard);
        let mut done = Done::default();
        if victims.is_empty() {
            patience[at] = 0;
        }
        for victim in victims {
            // Of a family that has been dropped, or was made this moment, the page is met again or taken apart.
            let family = self.families.read().values().find(|family| family.id == victim.family).cloned();
            let means = if means == Means::All && (done.failure.is_some() || self.read_only) {
                Means::NoWriting
            } else {
                means
            };
            let dropped = match family {
                Some(family) => self.drop_leaf(&family, victim.page, means, &guard),
                None => Ok(false),
            };
            if !matches!(dropped, Ok(true)) {
                self.residents.put_back(victim.page);
                patience[at] = patience[at].saturating_sub(1);
                done.kept += 1;
                if let Found::Hot(leaf) = victim.page.leaf(&guard) {
                    done.kept_bytes += leaf.footprint();
                }
            }
            match dropped {
                Ok(dropped) => done.dropped += usize::from(dropped),
                Err(error) => done.failure = Some(error),
            }
        }
        guard.flush();
        Some(done)
    }

    fn drop_leaf(&self, family: &FamilyCore, page: &PageRef, means: Means, guard: &Guard) -> Result<bool> {
        if let Found::Hot(leaf) = page.leaf(guard)
            && family.pins.hold(leaf)
        {
            return Ok(false);
        }
        // Compressing takes so long that readers could fill the memory faster.
        let may_keep = self.memory.target(Part::Stored) > 0 && !self.memory.is_beyond();
        let keep = may_keep.then(|| family.settings.warm_codec());
        let may_wait = means != Means::NoWaiting;
        if family.tree.forget(page, guard) {
            return Ok(true);
        }
        let mut demoted = family.tree.demote(page, keep, may_wait, guard);
        if demoted == Demoted::Changed && means == Means::All {
            match self.write_early(family, page, guard)? {
                Early::Clean => demoted = family.tree.demote(page, keep, true, guard),
                Early::Stays => fold(family, page, guard),
            }
        }
        Ok(demoted == Demoted::Done)
    }
}

/// What has to stay in memory stays without what nobody can read any more.
fn fold(family: &FamilyCore, page: &PageRef, guard: &Guard) {
    let mut writer = family.tree.writer.lock();
    if let Found::Hot(leaf) = page.leaf(guard)
        && !page.is(RETIRED)
    {
        family.tree.fold(&mut writer, page, leaf, guard);
    }
}
