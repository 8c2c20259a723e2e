//! The queues of one cache, and the policies that choose its victims.

use super::ghosts::Ghosts;
use super::list::{Lists, Place, Slot};

/// Which entry goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// A clock: the oldest that was not used since it was last looked at.
    SecondChance,
    /// Zhang et al., NSDI '24: a hand over entries that stay where they are; new ones are looked at soon.
    Sieve,
    /// Yang et al., SOSP '23: a tenth for new entries, which have to be used to get at the rest.
    S3Fifo,
    #[default]
    Adaptive,
}

/// What of an S3-FIFO can be chosen.
#[derive(Clone, Copy)]
struct Shape {
    /// Of the capacity, for new entries.
    small: f64,
    /// Uses of a new entry after which it may stay.
    uses: u8,
    /// Entries that are remembered when they have gone, by entries in memory.
    ghosts: f64,
    /// Those that go from the main list are remembered, too.
    remember_main: bool,
}

const S3_FIFO: Shape = Shape { small: 0.1, uses: 2, ghosts: 0.9, remember_main: false };

/// Marks of use that count.
const MOST_LIVES: u8 = 3;
/// Entries looked at for one victim: beyond, all are in use, and any will do.
const MOST_LOOKS: usize = 1024;

/// Entries of one cache in the order in which they may go. `T` is the caller's, a pointer to what is cached.
///
/// `admit` hands out a slot, which is the caller's until `forget`. A victim stays a slot, in no list, until the caller
/// forgets it or puts it back.
pub struct Queues<T> {
    lists: Lists<T>,
    ghosts: Ghosts,
    policy: Policy,
    capacity: u64,
    /// The next that Sieve looks at, in the main list.
    hand: Option<Slot>,
    /// Nothing had to go yet: who comes now may fill the main list.
    filling: bool,
}

impl<T: Copy> Queues<T> {
    pub fn new(policy: Policy, capacity: u64) -> Queues<T> {
        Queues { lists: Lists::new(), ghosts: Ghosts::new(), policy, capacity, hand: None, filling: true }
    }

    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// From now on; entries keep their places until they are looked at.
    pub fn set_policy(&mut self, policy: Policy) {
        (self.policy, self.hand) = (policy, None);
    }

    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// What the shares of the lists are measured by. The caller asks for victims while there are more bytes than it wants.
    pub fn set_capacity(&mut self, bytes: u64) {
        self.capacity = bytes;
    }

    /// Bytes of the entries in the lists: of all but the chosen victims.
    pub fn bytes(&self) -> u64 {
        self.lists.bytes(Place::Probation) + self.lists.bytes(Place::Small) + self.lists.bytes(Place::Main)
    }

    /// Entries in the lists.
    pub fn len(&self) -> usize {
        self.lists.length(Place::Probation) + self.lists.length(Place::Small) + self.lists.length(Place::Main)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the queues themselves.
    pub fn memory(&self) -> usize {
        self.lists.memory() + self.ghosts.memory()
    }

    pub fn payload(&self, slot: Slot) -> T {
        self.lists.node(slot).payload
    }

    /// An entry that came into memory. On probation it is among the first to go unless it is used: what scans bring in.
    pub fn admit(&mut self, identity: u64, bytes: u32, probation: bool, payload: T) -> Slot {
        let slot = self.lists.allocate(identity, bytes, payload);
        let place = if probation { Place::Probation } else { self.place_of_new(identity) };
        self.lists.push(place, slot);
        slot
    }

    fn place_of_new(&mut self, identity: u64) -> Place {
        let Some(shape) = self.shape() else { return Place::Main };
        if self.bytes() < self.capacity / 4 * 3 {
            self.filling = true;
        }
        let within = (self.len() as f64 * shape.ghosts) as u32;
        if self.ghosts.recall(identity).is_some_and(|gone_since| gone_since < within) {
            return Place::Main;
        }
        if self.filling && self.lists.bytes(Place::Small) >= self.share(shape.small) {
            return Place::Main;
        }
        Place::Small
    }

    /// The entry is no more, or its victim has gone. Its slot may be handed out again.
    pub fn forget(&mut self, slot: Slot) {
        let node = self.lists.node(slot);
        if node.place == Place::Chosen {
            if node.lives > 0 {
                self.ghosts.remember(node.identity);
            }
        } else {
            self.take(slot);
        }
        self.lists.release(slot);
    }

    pub fn resize(&mut self, slot: Slot, bytes: u32) {
        self.lists.resize(slot, bytes);
    }

    /// A victim that could not go stays, as one of the last to be chosen.
    pub fn put_back(&mut self, slot: Slot) {
        assert_eq!(self.lists.node(slot).place, Place::Chosen, "slot {slot} was not chosen");
        self.lists.node_mut(slot).lives = 0;
        self.lists.push(Place::Main, slot);
    }

    /// The entry that should go: out of the lists, and the caller's to forget or to put back. `used` takes away and returns an
    /// entry's marks of use. None if the lists are empty.
    pub fn victim(&mut self, used: &mut dyn FnMut(Slot, T) -> u8) -> Option<Slot> {
        self.filling = false;
        let shape = self.shape();
        if let Some(shape) = shape {
            self.ghosts.reserve((self.len() as f64 * shape.ghosts) as usize);
        }
        let mut looks = 0;
        let mut patient = || {
            looks += 1;
            looks < MOST_LOOKS
        };
        while let Some(slot) = self.lists.oldest(Place::Probation) {
            if !(used(slot, self.payload(slot)) > 0 && patient()) {
                return Some(self.choose(slot, false));
            }
            self.lists.move_to(Place::Small, slot);
        }
        loop {
            let small = self.lists.oldest(Place::Small).filter(|_| {
                self.lists.length(Place::Main) == 0
                    || shape.is_none_or(|shape| self.lists.bytes(Place::Small) >= self.share(shape.small))
            });
            if let Some(slot) = small {
                if !(used(slot, self.payload(slot)) >= shape.map_or(1, |shape| shape.uses) && patient()) {
                    return Some(self.choose(slot, shape.is_some()));
                }
                self.lists.move_to(Place::Main, slot);
                continue;
            }
            let slot = match self.policy {
                Policy::Sieve => self.hand.or_else(|| self.lists.oldest(Place::Main))?,
                _ => self.lists.oldest(Place::Main)?,
            };
            let uses = used(slot, self.payload(slot));
            let node = self.lists.node_mut(slot);
            let lives = (node.lives + uses).min(if shape.is_some() { MOST_LIVES } else { 1 });
            if !(lives > 0 && patient()) {
                return Some(self.choose(slot, shape.is_some_and(|shape| shape.remember_main)));
            }
            node.lives = lives - 1;
            match self.policy {
                Policy::Sieve => self.hand = self.lists.newer(slot),
                _ => self.lists.move_to(Place::Main, slot),
            }
        }
    }

    /// Out of its list; `lives` says from now on whether it is to be remembered when it has gone.
    fn choose(&mut self, slot: Slot, remember: bool) -> Slot {
        self.take(slot);
        self.lists.node_mut(slot).lives = u8::from(remember);
        slot
    }

    fn take(&mut self, slot: Slot) {
        if self.hand == Some(slot) {
            self.hand = self.lists.newer(slot);
        }
        self.lists.remove(slot);
    }

    fn shape(&self) -> Option<Shape> {
        match self.policy {
            Policy::SecondChance | Policy::Sieve => None,
            Policy::S3Fifo | Policy::Adaptive => Some(S3_FIFO),
        }
    }

    fn share(&self, of_capacity: f64) -> u64 {
        (self.capacity as f64 * of_capacity) as u64
    }
}
