//! A cache of nothing but identities.

use rustc_hash::FxHashMap;

use super::list::Slot;
use super::queues::{Policy, Queues};
use super::rule::Rule;

/// Marks of use go up to this.
const MOST_MARKS: u8 = 3;

pub struct Simulation {
    queues: Queues<u64>,
    slots: FxHashMap<u64, Slot>,
    marks: Vec<u8>,
}

impl Simulation {
    pub fn new(policy: Policy, capacity: u64) -> Simulation {
        Simulation::with(Queues::new(policy, capacity))
    }

    pub(super) fn of_rule(rule: Rule, capacity: u64) -> Simulation {
        Simulation::with(Queues::of_rule(rule, capacity))
    }

    fn with(queues: Queues<u64>) -> Simulation {
        Simulation { queues, slots: FxHashMap::default(), marks: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.queues.len()
    }

    pub fn set_capacity(&mut self, bytes: u64) {
        self.queues.set_capacity(bytes);
        self.shrink(bytes);
    }

    /// True for a hit. What is larger than the whole cache passes by it.
    pub fn access(&mut self, identity: u64, bytes: u32) -> bool {
        self.queues.access(identity, bytes);
        if let Some(slot) = self.slots.get(&identity) {
            let mark = &mut self.marks[*slot as usize];
            *mark = (*mark + 1).min(MOST_MARKS);
            return true;
        }
        let Some(room) = self.queues.capacity().checked_sub(u64::from(bytes)) else { return false };
        self.shrink(room);
        let slot = self.queues.admit(identity, bytes, false, identity);
        if self.marks.len() <= slot as usize {
            self.marks.resize(slot as usize + 1, 0);
        }
        self.marks[slot as usize] = 0;
        self.slots.insert(identity, slot);
        false
    }

    fn shrink(&mut self, bytes: u64) {
        let marks = &mut self.marks;
        while self.queues.bytes() > bytes {
            let victim = self.queues.victim(&mut |_, slot| std::mem::take(&mut marks[slot as usize]));
            let Some(slot) = victim else { break };
            self.slots.remove(&self.queues.payload(slot));
            self.queues.forget(slot);
        }
    }
}
