//! Keeping the memory within its budget: how much of it each part of the leaves gets, and what goes when it is full.

use crate::core::Core;
use crate::error::Result;
use crate::memory::Part;
use crate::pagefile::Codec;
use crate::sync::checked::AtomicU64;
use crate::sync::{Mutex, Ordering, epoch};
use crate::tree::Demoted;

/// Leaves taken out of a queue at a time.
const AT_ONCE: usize = 16;
const LEAVES: [Part; 3] = [Part::Leaves, Part::Stored, Part::Excerpts];

#[derive(Default)]
pub struct Tiers {
    evictor: Mutex<Evictor>,
    /// In thousandths of what memory has for leaves: for those kept as they are stored, and for excerpts.
    plan: [AtomicU64; 2],
}

#[derive(Default)]
struct Evictor {
    /// The budget, and the oldest version that somebody could read at then.
    within: (u64, u64),
    /// Old versions stand in the way: until so much memory is used, or these change, nothing is won.
    futile_below: u64,
}

/// How going through the queues ended.
enum Swept {
    Enough,
    /// All that is left is changed, or held; whether some of it was changed.
    Stuck {
        changed: bool,
    },
}

impl Core {
    /// Divides the memory for leaves as tiering has planned it; what settings say goes before.
    pub fn plan_tiers(&self, stored_permille: u64, excerpts_permille: u64) {
        self.tiers.plan[0].store(stored_permille, Ordering::Relaxed);
        self.tiers.plan[1].store(excerpts_permille, Ordering::Relaxed);
        self.divide_memory();
    }

    /// To be called now and then, as what is not the leaves' changes.
    pub fn divide_memory(&self) {
        let (memory, settings) = (&self.memory, &self.settings);
        memory.set(Part::Log, self.log.buffer_bytes());
        memory.set(Part::Queues, self.residents.bytes());
        let others = [Part::InnerPages, Part::Pages, Part::Log, Part::Queues].map(|part| memory.part(part));
        let all = memory.budget().saturating_sub(others.iter().sum());
        let planned = |at: usize| all / 1000 * self.tiers.plan[at].load(Ordering::Relaxed).min(1000);
        let stored = settings.warm_bytes().unwrap_or_else(|| planned(0)).min(all);
        let excerpts = settings.point_cache_bytes().unwrap_or_else(|| planned(1)).min(all - stored);
        let hot = settings.hot_bytes().unwrap_or(u64::MAX).min(all - stored - excerpts);
        for (part, bytes) in LEAVES.into_iter().zip([hot, stored, excerpts]) {
            memory.set_target(part, bytes);
            self.residents.set_capacity(part, bytes);
        }
    }

    /// For writers that fill the memory faster than the thread empties it.
    /// False: it takes a while, and `wait` was not allowed.
    #[inline]
    pub fn relieve_memory(&self, wait: bool) -> Result<bool> {
        if !self.memory.is_pressing() {
            return Ok(true);
        }
        if wait {
            self.evict()?;
        }
        Ok(wait)
    }

    /// Takes out of memory what was not used lately until it is within its budget; if changed leaves stand in the way,
    /// a checkpoint writes them first. Old versions that a snapshot needs stay, whatever the budget.
    pub fn evict(&self) -> Result<()> {
        let mut evictor = self.tiers.evictor.lock();
        let budget = self.memory.budget();
        let within = (budget, self.versions.active()[0]);
        if within != evictor.within {
            (evictor.within, evictor.futile_below) = (within, 0);
        }
        self.divide_memory();
        let goal = budget - budget / 32;
        let used = self.memory.used();
        if used > budget && used >= evictor.futile_below {
            let mut swept = self.sweep(goal);
            if matches!(swept, Swept::Stuck { changed: true }) && !self.read_only {
                let state = self.checkpoint.lock();
                if state.version < self.versions.visible() {
                    drop(state);
                    self.checkpoint(None)?;
                    swept = self.sweep(goal);
                }
            }
            let used = self.memory.used();
            evictor.futile_below = if matches!(swept, Swept::Enough) { 0 } else { used + used / 8 };
        }
        self.memory.press_from(evictor.futile_below);
        epoch::pin().flush();
        Ok(())
    }

    fn sweep(&self, goal: u64) -> Swept {
        let families = self.all_families();
        let mut changed = false;
        // How many victims of each part may still turn out to have to stay.
        let mut patience = LEAVES.map(|part| self.residents.len(part));
        while self.memory.used() > goal {
            let excess = |part: Part| {
                let with_it = if part == Part::Leaves { self.memory.part(Part::LongValues) } else { 0 };
                (self.memory.part(part) + with_it) as i64 - self.memory.target(part).min(i64::MAX as u64) as i64
            };
            let next = (0..LEAVES.len()).filter(|&at| patience[at] > 0).max_by_key(|&at| excess(LEAVES[at]));
            let Some(at) = next else { return Swept::Stuck { changed } };
            let guard = epoch::pin();
            let victims = self.residents.victims(LEAVES[at], AT_ONCE.min(patience[at]), &guard);
            if victims.is_empty() {
                patience[at] = 0;
            }
            for victim in victims {
                let Some(family) = families.iter().find(|family| family.id == victim.family) else {
                    // Dropped, and about to be taken apart; or made since, and met again.
                    self.residents.put_back(victim.page);
                    patience[at] -= 1;
                    continue;
                };
                let demoted = if LEAVES[at] == Part::Leaves {
                    family.tree.demote(victim.page, self.warm_codec(family.settings.warm_codec()), &guard)
                } else {
                    family.tree.forget(victim.page, &guard);
                    Demoted::Done
                };
                if demoted != Demoted::Done {
                    self.residents.put_back(victim.page);
                    patience[at] -= 1;
                    changed |= demoted == Demoted::Changed;
                }
            }
            guard.flush();
        }
        Swept::Enough
    }

    /// How what leaves memory's hot part is kept, if at all.
    fn warm_codec(&self, codec: Codec) -> Option<Codec> {
        (self.memory.target(Part::Stored) > 0).then_some(codec)
    }
}
