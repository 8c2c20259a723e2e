//! The queues of one cache as the engine has them: a line of entries, its rule fixed or found by a duel.

use super::duel::Duel;
use super::line::Line;
use super::list::Slot;
use super::rule::{Rule, S3_FIFO};

/// Which entry goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// A clock: the oldest that was not used since it was last looked at.
    SecondChance,
    /// Zhang et al., NSDI '24: a hand over entries that stay where they are; new ones are looked at soon.
    Sieve,
    /// Yang et al., SOSP '23: a tenth for new entries, which have to be used to get at the rest.
    S3Fifo,
    /// Of a few kinds of S3-FIFO the one that has most hits at present, as small caches of a sample of the accesses tell.
    #[default]
    Adaptive,
}

impl Policy {
    pub const ALL: [(Policy, &'static str); 4] = [
        (Policy::SecondChance, "second_chance"),
        (Policy::Sieve, "sieve"),
        (Policy::S3Fifo, "s3fifo"),
        (Policy::Adaptive, "adaptive"),
    ];
}

/// Entries of one cache in the order in which they may go. `T` is the caller's, a pointer to what is cached.
///
/// `admit` hands out a slot, which is the caller's until `forget`. A victim stays a slot, in no list, until the caller
/// forgets it or puts it back.
pub struct Queues<T> {
    line: Line<T>,
    policy: Policy,
    duel: Option<Box<Duel>>,
    least_halvings: u32,
}

impl<T: Copy> Queues<T> {
    pub fn new(policy: Policy, capacity: u64) -> Queues<T> {
        Queues::of_sample(policy, capacity, 0)
    }

    /// `access` is told of one identity in two to the power of `least_halvings` at most.
    pub fn of_sample(policy: Policy, capacity: u64, least_halvings: u32) -> Queues<T> {
        let mut queues = Queues { line: Line::new(S3_FIFO, capacity), policy, duel: None, least_halvings };
        queues.set_policy(policy);
        queues
    }

    /// For simulations of what the adaptive policy may choose.
    pub(super) fn of_rule(rule: Rule, capacity: u64) -> Queues<T> {
        Queues { line: Line::new(rule, capacity), policy: Policy::S3Fifo, duel: None, least_halvings: 0 }
    }

    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// From now on; entries keep their places until they are looked at.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
        self.duel =
            (policy == Policy::Adaptive).then(|| Box::new(Duel::new(self.line.capacity(), self.least_halvings)));
        let rule = match policy {
            Policy::SecondChance => Rule::SecondChance,
            Policy::Sieve => Rule::Sieve,
            Policy::S3Fifo => S3_FIFO,
            Policy::Adaptive => self.duel.as_ref().map_or(S3_FIFO, |duel| duel.rule()),
        };
        self.line.set_rule(rule);
    }

    pub fn capacity(&self) -> u64 {
        self.line.capacity()
    }

    /// What the shares of the lists are measured by. The caller asks for victims while there are more bytes than it wants.
    pub fn set_capacity(&mut self, bytes: u64) {
        self.line.set_capacity(bytes);
    }

    /// Bytes of the entries in the lists: of all but the chosen victims.
    pub fn bytes(&self) -> u64 {
        self.line.bytes()
    }

    /// Entries in the lists.
    pub fn len(&self) -> usize {
        self.line.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Of the queues themselves; what simulations take beside them does not grow with the cache.
    pub fn memory_bytes(&self) -> usize {
        self.line.memory_bytes()
    }

    pub fn identity(&self, slot: Slot) -> u64 {
        self.line.identity(slot)
    }

    pub fn payload(&self, slot: Slot) -> T {
        self.line.payload(slot)
    }

    /// `access` wants to know of identities whose `hash` is below this.
    pub fn threshold(&self) -> u64 {
        self.duel.as_ref().map_or(0, |duel| duel.threshold())
    }

    /// An entry was asked for, whether it was in memory or not. The adaptive policy learns from it.
    pub fn access(&mut self, identity: u64, bytes: u32) {
        if let Some(duel) = &mut self.duel {
            duel.access(identity, bytes);
            if duel.rule() != self.line.rule() {
                self.line.set_rule(duel.rule());
            }
        }
    }

    /// An entry that came into memory. On probation it is among the first to go unless it is used: what scans bring in.
    pub fn admit(&mut self, identity: u64, bytes: u32, probation: bool, payload: T) -> Slot {
        if let Some(duel) = &mut self.duel {
            duel.scale(self.line.len(), self.line.capacity());
        }
        self.line.admit(identity, bytes, probation, payload)
    }

    /// The entry is no more, or its victim has gone. Its slot may be handed out again.
    pub fn forget(&mut self, slot: Slot) {
        self.line.forget(slot);
    }

    pub fn resize(&mut self, slot: Slot, bytes: u32) {
        self.line.resize(slot, bytes);
    }

    /// Whether the entry is a victim that was not forgotten or put back yet.
    pub fn is_chosen(&self, slot: Slot) -> bool {
        self.line.is_chosen(slot)
    }

    /// A victim that could not go stays, as one of the last to be chosen.
    pub fn put_back(&mut self, slot: Slot) {
        self.line.put_back(slot);
    }

    /// The entry that should go: out of the lists, and the caller's to forget or to put back. `used` takes away and returns
    /// an entry's marks of use. None if the lists are empty.
    pub fn victim(&mut self, used: &mut dyn FnMut(u64, Slot) -> u8) -> Option<Slot> {
        self.line.victim(used)
    }
}
