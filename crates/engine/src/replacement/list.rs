//! Doubly linked lists of slots that share one table of nodes.

/// The number of an entry. It is the caller's from admission until the caller forgets it.
pub type Slot = u32;

pub const NONE: Slot = Slot::MAX;

/// The list that a node is in, or why it is in none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Place {
    /// First to go: brought in by scans.
    Probation,
    /// New entries, which have to be used again before they may stay.
    Small,
    Main,
    /// Out of the lists: chosen to go.
    Chosen,
    Free,
}

const PLACES: [Place; 5] = [Place::Probation, Place::Small, Place::Main, Place::Chosen, Place::Free];
const LISTS: usize = 3;

/// 24 bytes and what is the caller's.
pub struct Node<T> {
    pub identity: u64,
    pub bytes: u32,
    newer: Slot,
    older: Slot,
    /// Since when it has its place, in the lowest 24 bits of the time of its queues.
    since: [u8; 3],
    place: u8,
    pub payload: T,
}

impl<T> Node<T> {
    pub fn place(&self) -> Place {
        PLACES[usize::from(self.place & 7)]
    }

    fn set_place(&mut self, place: Place) {
        self.place = self.place & !7 | place as u8;
    }

    /// Rounds that it may stay without being used, 0 to 3.
    pub fn lives(&self) -> u8 {
        self.place >> 3
    }

    pub fn set_lives(&mut self, lives: u8) {
        self.place = lives << 3 | self.place & 7;
    }

    pub fn set_since(&mut self, now: u32) {
        let [_, since @ ..] = now.to_be_bytes();
        self.since = since;
    }

    /// How long it has its place, if that is not long ago.
    pub fn age(&self, now: u32) -> u32 {
        let [high, middle, low] = self.since;
        now.wrapping_sub(u32::from_be_bytes([0, high, middle, low])) & 0x00ff_ffff
    }
}

#[derive(Clone, Copy)]
struct Ends {
    newest: Slot,
    oldest: Slot,
    bytes: u64,
    length: usize,
}

pub struct Lists<T> {
    nodes: Vec<Node<T>>,
    free: Slot,
    ends: [Ends; LISTS],
}

impl<T: Copy> Lists<T> {
    pub fn new() -> Lists<T> {
        let empty = Ends { newest: NONE, oldest: NONE, bytes: 0, length: 0 };
        Lists { nodes: Vec::new(), free: NONE, ends: [empty; LISTS] }
    }

    /// Of the slots that were ever in use; room beyond was never touched.
    pub fn memory_bytes(&self) -> usize {
        self.nodes.len() * size_of::<Node<T>>()
    }

    /// A slot that is in no list yet.
    pub fn allocate(&mut self, identity: u64, bytes: u32, payload: T) -> Slot {
        let place = Place::Chosen as u8;
        let node = Node { identity, bytes, newer: NONE, older: NONE, since: [0; 3], place, payload };
        let slot = self.free;
        if slot == NONE {
            assert!(self.nodes.len() < NONE as usize, "more entries than slots");
            self.nodes.push(node);
            return (self.nodes.len() - 1) as Slot;
        }
        self.free = self.nodes[slot as usize].older;
        self.nodes[slot as usize] = node;
        slot
    }

    /// The slot is in no list, and may be handed out again.
    pub fn release(&mut self, slot: Slot) {
        let free = self.free;
        let node = self.node_mut(slot);
        debug_assert_eq!(node.place(), Place::Chosen);
        node.set_place(Place::Free);
        node.older = free;
        self.free = slot;
    }

    pub fn node(&self, slot: Slot) -> &Node<T> {
        let node = &self.nodes[slot as usize];
        assert!(node.place() != Place::Free, "slot {slot} was forgotten");
        node
    }

    pub fn node_mut(&mut self, slot: Slot) -> &mut Node<T> {
        let node = &mut self.nodes[slot as usize];
        assert!(node.place() != Place::Free, "slot {slot} was forgotten");
        node
    }

    pub fn oldest(&self, place: Place) -> Option<Slot> {
        Some(self.ends[place as usize].oldest).filter(|slot| *slot != NONE)
    }

    pub fn newer(&self, slot: Slot) -> Option<Slot> {
        Some(self.node(slot).newer).filter(|slot| *slot != NONE)
    }

    pub fn bytes(&self, place: Place) -> u64 {
        self.ends[place as usize].bytes
    }

    pub fn length(&self, place: Place) -> usize {
        self.ends[place as usize].length
    }

    /// Puts a slot that is in no list at the newest end of one.
    pub fn push(&mut self, place: Place, slot: Slot) {
        let ends = self.ends[place as usize];
        let node = self.node_mut(slot);
        debug_assert_eq!(node.place(), Place::Chosen);
        node.set_place(place);
        (node.newer, node.older) = (NONE, ends.newest);
        let bytes = u64::from(node.bytes);
        if ends.newest != NONE {
            self.nodes[ends.newest as usize].newer = slot;
        }
        let oldest = if ends.oldest == NONE { slot } else { ends.oldest };
        self.ends[place as usize] = Ends { newest: slot, oldest, bytes: ends.bytes + bytes, length: ends.length + 1 };
    }

    /// Takes a slot out of its list.
    pub fn remove(&mut self, slot: Slot) {
        let node = self.node_mut(slot);
        let (place, newer, older, bytes) = (node.place(), node.newer, node.older, u64::from(node.bytes));
        node.set_place(Place::Chosen);
        let ends = &mut self.ends[place as usize];
        ends.bytes -= bytes;
        ends.length -= 1;
        if newer == NONE {
            ends.newest = older;
        }
        if older == NONE {
            ends.oldest = newer;
        }
        if newer != NONE {
            self.nodes[newer as usize].older = older;
        }
        if older != NONE {
            self.nodes[older as usize].newer = newer;
        }
    }

    pub fn resize(&mut self, slot: Slot, bytes: u32) {
        let node = self.node_mut(slot);
        let (place, before) = (node.place(), std::mem::replace(&mut node.bytes, bytes));
        if let Some(ends) = self.ends.get_mut(place as usize) {
            ends.bytes = ends.bytes - u64::from(before) + u64::from(bytes);
        }
    }
}
