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
        let Some(filter) = self.filter() else { return (Place::Main, 0) };
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
        self.reserve_ghosts();
        self.fill_main();
        for looks in 1.. {
            let (place, slot) = self.next()?;
            let uses = used(self.identity(slot), slot).min(MOST_LIVES);
            if looks == MOST_LOOKS || !self.stays(place, slot, uses) {
                self.choose(place, slot);
                return Some(slot);
            }
        }
        None
    }

    fn filter(&self) -> Option<Filter> {
        match self.rule {
            Rule::Filtered(filter) => Some(filter),
            Rule::SecondChance | Rule::Sieve => None,
        }
    }

    fn reserve_ghosts(&mut self) {
        let times = match self.rule {
            Rule::Filtered(Filter { horizon: Horizon::OfEntries(times), .. }) => times,
            Rule::Filtered(_) => MOST_GHOSTS,
            Rule::SecondChance | Rule::Sieve => return,
        };
        self.ghosts.reserve((self.len() as f64 * times) as usize);
    }

    /// What is too much for the small list goes to the main one, a step at a time: after a change of the rule or the capacity.
    fn fill_main(&mut self) {
        if let Some(filter) = self.filter()
            && self.lists.bytes(Place::Main) + self.small(&filter) < self.capacity - self.capacity / 64
            && let Some(slot) = self.lists.oldest(Place::Small)
        {
            self.move_to(Place::Main, slot);
        }
    }

    /// The next to look at, and the list that it is in.
    fn next(&self) -> Option<(Place, Slot)> {
        if let Some(slot) = self.lists.oldest(Place::Probation) {
            return Some((Place::Probation, slot));
        }
        let main = self.hand.or_else(|| self.lists.oldest(Place::Main)).map(|slot| (Place::Main, slot));
        let small = self.lists.oldest(Place::Small).map(|slot| (Place::Small, slot));
        let is_due = self.filter().is_none_or(|filter| self.lists.bytes(Place::Small) >= self.small(&filter));
        if is_due { small.or(main) } else { main.or(small) }
    }

    /// Whether an entry that was looked at stays, and then where.
    fn stays(&mut self, place: Place, slot: Slot, uses: u8) -> bool {
        let filter = self.filter();
        match place {
            Place::Probation if uses > 0 => self.move_to(Place::Small, slot),
            Place::Small if uses >= filter.map_or(1, |filter| filter.uses) => self.move_to(Place::Main, slot),
            Place::Main => {
                let node = self.lists.node_mut(slot);
                let lives = (node.lives() + uses).min(if filter.is_some() { MOST_LIVES } else { 1 });
                if lives == 0 {
                    return false;
                }
                node.set_lives(lives - 1);
                match self.rule {
                    Rule::Sieve => self.hand = self.lists.newer(slot),
                    _ => self.move_to(Place::Main, slot),
                }
            }
            _ => return false,
        }
        true
    }

    /// Out of its list; its lives say from now on whether it is to be remembered when it has gone.
    fn choose(&mut self, place: Place, slot: Slot) {
        if place == Place::Main {
            let stayed = f64::from(self.lists.node(slot).age(self.now));
            let stay = self.stay.get_or_insert(self.lists.length(Place::Main) as f64);
            *stay += (stayed - *stay) * STAY_WEIGHT;
        }
        let remember = self.filter().is_some_and(|filter| match place {
            Place::Small => true,
            Place::Main => filter.remember_main,
            _ => false,
        });
        self.take(slot);
        self.lists.node_mut(slot).set_lives(u8::from(remember));
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

    fn small(&self, filter: &Filter) -> u64 {
        (self.capacity as f64 * filter.small) as u64
    }
}
