//! The lists of one cache, and how a rule chooses among them.

use super::ghosts::Ghosts;
use super::list::{Lists, Place, Slot};
use super::rule::{Filter, Horizon, Rule};

/// Marks of use that count.
const MOST_LIVES: u8 = 3;
/// Entries looked at for one victim: beyond, all are in use, and any will do.
const MOST_LOOKS: usize = 1024;
/// Entries that have gone are remembered for as long as so many others go, by entries in memory.
const MOST_GHOSTS: f64 = 2.0;
/// Of how long entries stay, one more is this part of the average.
const STAY_WEIGHT: f64 = 1.0 / 50.0;

pub struct Line<T> {
    lists: Lists<T>,
    ghosts: Ghosts,
    rule: Rule,
    capacity: u64,
    /// The next that Sieve looks at, in the main list.
    hand: Option<Slot>,
    /// Nothing had to go yet: who comes now may fill the main list.
    filling: bool,
    /// Admissions so far.
    now: u32,
    /// How many are admitted while an entry of the main list stays that is not used.
    stay: Option<f64>,
}

impl<T: Copy> Line<T> {
    pub fn new(rule: Rule, capacity: u64) -> Line<T> {
        let (lists, ghosts) = (Lists::new(), Ghosts::new());
        Line { lists, ghosts, rule, capacity, hand: None, filling: true, now: 0, stay: None }
    }

    pub fn rule(&self) -> Rule {
        self.rule
    }

    pub fn set_rule(&mut self, rule: Rule) {
        (self.rule, self.hand) = (rule, None);
    }

    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    pub fn set_capacity(&mut self, bytes: u64) {
        self.capacity = bytes;
    }

    pub fn bytes(&self) -> u64 {
        self.lists.bytes(Place::Probation) + self.lists.bytes(Place::Small) + self.lists.bytes(Place::Main)
    }

    pub fn len(&self) -> usize {
        self.lists.length(Place::Probation) + self.lists.length(Place::Small) + self.lists.length(Place::Main)
    }

    pub fn memory_bytes(&self) -> usize {
        self.lists.memory_bytes() + self.ghosts.memory_bytes()
    }

    pub fn identity(&self, slot: Slot) -> u64 {
        self.lists.node(slot).identity
    }

    pub fn payload(&self, slot: Slot) -> T {
        self.lists.node(slot).payload
    }

    pub fn admit(&mut self, identity: u64, bytes: u32, probation: bool, payload: T) -> Slot {
        let slot = self.lists.allocate(identity, bytes, payload);
        self.now = self.now.wrapping_add(1);
        let (place, lives) = if probation { (Place::Probation, 0) } else { self.place_of_new(identity) };
        self.lists.node_mut(slot).set_lives(lives);
        self.push(place, slot);
        slot
    }

    /// With the lives that it starts with.
    fn place_of_new(&mut self, identity: u64) -> (Place, u8) {
        let Rule::Filtered(filter) = self.rule else { return (Place::Main, 0) };
        if self.bytes() < self.capacity / 4 * 3 {
            self.filling = true;
        }
        let horizon = self.horizon(filter.horizon);
        if self.ghosts.recall(identity).is_some_and(|gone_since| f64::from(gone_since) < horizon) {
            return (Place::Main, filter.lives);
        }
        let fill_main = self.filling && self.lists.bytes(Place::Small) >= self.small(&filter);
        (if fill_main { Place::Main } else { Place::Small }, 0)
    }

    fn horizon(&self, horizon: Horizon) -> f64 {
        let entries = self.len() as f64;
        match horizon {
            Horizon::OfEntries(times) => times * entries,
            Horizon::OfStay(times) => self.stay.unwrap_or(entries) * times,
        }
        .clamp(entries / 10.0, entries * MOST_GHOSTS)
    }

    pub fn forget(&mut self, slot: Slot) {
        let node = self.lists.node(slot);
        if node.place() == Place::Chosen {
            if node.lives() > 0 {
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

    pub fn is_chosen(&self, slot: Slot) -> bool {
        self.lists.node(slot).place() == Place::Chosen
    }

    pub fn put_back(&mut self, slot: Slot) {
        let node = self.lists.node_mut(slot);
        assert_eq!(node.place(), Place::Chosen, "slot {slot} was not chosen");
        node.set_lives(0);
        self.push(Place::Main, slot);
    }

    pub fn victim(&mut self, used: &mut dyn FnMut(u64, Slot) -> u8) -> Option<Slot> {
        self.filling = false;
        let filter = match self.rule {
            Rule::Filtered(filter) => Some(filter),
            Rule::SecondChance | Rule::Sieve => None,
        };
        if let Some(filter) = filter {
            let times = match filter.horizon {
                Horizon::OfEntries(times) => times,
                Horizon::OfStay(_) => MOST_GHOSTS,
            };
            self.ghosts.reserve((self.len() as f64 * times) as usize);
        }
        let mut looks = 0;
        let mut patient = || {
            looks += 1;
            looks < MOST_LOOKS
        };
        while let Some(slot) = self.lists.oldest(Place::Probation) {
            if !(used(self.identity(slot), slot) > 0 && patient()) {
                return Some(self.choose(slot, false));
            }
            self.move_to(Place::Small, slot);
        }
        // What is too much for the small list fills the main one, a step at a time: after a change of rules or of the capacity.
        if let Some(filter) = filter
            && self.lists.bytes(Place::Main) + self.small(&filter) < self.capacity * 63 / 64
            && let Some(slot) = self.lists.oldest(Place::Small)
        {
            self.move_to(Place::Main, slot);
        }
        loop {
            let small = self.lists.oldest(Place::Small).filter(|slot| match (filter, self.lists.oldest(Place::Main)) {
                (_, None) => true,
                (Some(filter), _) => self.lists.bytes(Place::Small) >= self.small(&filter),
                (None, Some(other)) => self.age(*slot) >= self.age(other),
            });
            if let Some(slot) = small {
                if !(used(self.identity(slot), slot) >= filter.map_or(1, |filter| filter.uses) && patient()) {
                    return Some(self.choose(slot, filter.is_some()));
                }
                self.move_to(Place::Main, slot);
                continue;
            }
            let slot = match self.rule {
                Rule::Sieve => self.hand.or_else(|| self.lists.oldest(Place::Main))?,
                _ => self.lists.oldest(Place::Main)?,
            };
            let uses = used(self.identity(slot), slot);
            let node = self.lists.node_mut(slot);
            let lives = (node.lives() + uses).min(if filter.is_some() { MOST_LIVES } else { 1 });
            if !(lives > 0 && patient()) {
                let stayed = f64::from(node.age(self.now));
                let stay = self.stay.get_or_insert(self.lists.length(Place::Main) as f64);
                *stay += (stayed - *stay) * STAY_WEIGHT;
                return Some(self.choose(slot, filter.is_some_and(|filter| filter.remember_main)));
            }
            node.set_lives(lives - 1);
            match self.rule {
                Rule::Sieve => self.hand = self.lists.newer(slot),
                _ => self.move_to(Place::Main, slot),
            }
        }
    }

    /// Out of its list; its lives say from now on whether it is to be remembered when it has gone.
    fn choose(&mut self, slot: Slot, remember: bool) -> Slot {
        self.take(slot);
        self.lists.node_mut(slot).set_lives(u8::from(remember));
        slot
    }

    fn take(&mut self, slot: Slot) {
        if self.hand == Some(slot) {
            self.hand = self.lists.newer(slot);
        }
        self.lists.remove(slot);
    }

    fn push(&mut self, place: Place, slot: Slot) {
        self.lists.node_mut(slot).set_since(self.now);
        self.lists.push(place, slot);
    }

    fn move_to(&mut self, place: Place, slot: Slot) {
        self.take(slot);
        self.push(place, slot);
    }

    fn age(&self, slot: Slot) -> u32 {
        self.lists.node(slot).age(self.now)
    }

    fn small(&self, filter: &Filter) -> u64 {
        (self.capacity as f64 * filter.small) as u64
    }
}
