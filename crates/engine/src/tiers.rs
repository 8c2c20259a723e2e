//! How much of the memory each part of the leaves gets when it is scarce.

use crate::core::Core;
use crate::evict::Evictor;
use crate::memory::Part;
use crate::sync::checked::AtomicU64;
use crate::sync::{Mutex, Ordering};

/// The parts of memory that leaves take, each with a queue of its own.
pub use crate::tree::QUEUED;

#[derive(Default)]
pub struct Tiers {
    pub evictor: Mutex<Evictor>,
    /// In thousandths of what memory has for leaves: for those kept as they are stored, and for excerpts.
    plan: [AtomicU64; 2],
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
        let others =
            [Part::InnerPages, Part::Pages, Part::Log, Part::Queues, Part::Scans].map(|part| memory.part(part));
        let all = memory.budget().saturating_sub(others.iter().sum());
        let planned = |at: usize| all / 1000 * self.tiers.plan[at].load(Ordering::Relaxed).min(1000);
        let stored = settings.warm_bytes().unwrap_or_else(|| planned(0)).min(all);
        let excerpts = settings.point_cache_bytes().unwrap_or_else(|| planned(1)).min(all - stored);
        let hot = settings.hot_bytes().unwrap_or(u64::MAX).min(all - stored - excerpts);
        for (part, bytes) in QUEUED.into_iter().zip([hot, stored, excerpts]) {
            memory.set_target(part, bytes);
            self.residents.set_capacity(part, bytes);
        }
    }
}
