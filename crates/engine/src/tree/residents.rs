//! What memory holds of leaves, in the order in which it may go.

use std::ptr;

use super::observer::LEAST_HALVINGS;
use super::page::{PageRef, RETIRED};
use crate::memory::Part;
use crate::replacement::{Policy, Queues, Slot};
use crate::sync::Mutex;
use crate::sync::epoch::Guard;

/// The parts of memory that leaves take, each with a queue of its own.
pub const QUEUED: [Part; 3] = [Part::Leaves, Part::Stored, Part::Excerpts];
/// A page's place: a slot and, in the upper bits, one more than the queue's number.
const SLOT_BITS: u32 = 30;

/// A page chosen to go, and the family it belongs to.
pub struct Victim<'g> {
    pub page: &'g PageRef,
    pub family: u32,
}

/// The queues of all families' leaves. A page is in the queue of what memory has of it, or about to be: whoever changes
/// that notes it afterwards.
pub struct Residents {
    /// Entries are identified by their pages' addresses, and carry their families' numbers.
    queues: Mutex<[Queues<u32>; QUEUED.len()]>,
}

fn queue_of(part: Part) -> Option<usize> {
    QUEUED.iter().position(|&queued| queued == part)
}

fn taken_apart(place: u32) -> Option<(usize, Slot)> {
    let queue = (place >> SLOT_BITS).checked_sub(1)?;
    Some((queue as usize, place & ((1 << SLOT_BITS) - 1)))
}

/// Somebody else may have done so, or noted the page anew, since it was chosen.
fn put_back(queue: &mut Queues<u32>, slot: Slot) {
    if queue.is_chosen(slot) {
        queue.put_back(slot);
    }
}

impl Residents {
    pub fn new(policy: Policy) -> Residents {
        Residents { queues: Mutex::new(QUEUED.map(|_| Queues::of_sample(policy, 0, LEAST_HALVINGS))) }
    }

    /// To be called after what memory has of the leaf has changed. What is on `probation` is among the first to go.
    pub fn note(&self, family: u32, page: &PageRef, probation: bool, _guard: &Guard) {
        let mut queues = self.queues.lock();
        // What the word leads to at this moment, so that the last to note it is right. Who retires the page marks it first
        // and forgets it under this lock.
        // SAFETY: the caller is pinned, so what the word leads to is still there.
        let footprint = if page.is(RETIRED) { None } else { unsafe { page.contents().footprint(0) } };
        let wanted = footprint.and_then(|(part, bytes)| Some((queue_of(part)?, bytes as u32)));
        let before = taken_apart(page.place());
        if let (Some((queue, bytes)), Some((same, slot))) = (wanted, before)
            && queue == same
        {
            queues[queue].resize(slot, bytes);
            return put_back(&mut queues[queue], slot);
        }
        if let Some((queue, slot)) = before {
            queues[queue].forget(slot);
        }
        let place = wanted.map_or(0, |(queue, bytes)| {
            let identity = ptr::from_ref(page).expose_provenance() as u64;
            let slot = queues[queue].admit(identity, bytes, probation, family);
            debug_assert!(slot >> SLOT_BITS == 0);
            (queue as u32 + 1) << SLOT_BITS | slot
        });
        page.set_place(place);
    }

    /// The page is about to be retired, and marked as such.
    pub fn forget(&self, page: &PageRef) {
        debug_assert!(page.is(RETIRED));
        let mut queues = self.queues.lock();
        if let Some((queue, slot)) = taken_apart(page.place()) {
            queues[queue].forget(slot);
            page.set_place(0);
        }
    }

    /// Up to `most` pages that should go of a part of memory. Each is then noted again, or put back.
    pub fn victims<'g>(&self, part: Part, most: usize, _guard: &'g Guard) -> Vec<Victim<'g>> {
        let mut queues = self.queues.lock();
        let Some(queue) = queue_of(part).map(|queue| &mut queues[queue]) else { return Vec::new() };
        let mut victims = Vec::with_capacity(most);
        // SAFETY: pages are forgotten under this lock before they are retired, so those in the queue are alive, and those
        // taken out of it now stay so for as long as the caller is pinned.
        let page_at = |identity: u64| unsafe { &*ptr::with_exposed_provenance::<PageRef>(identity as usize) };
        while victims.len() < most {
            let Some(slot) = queue.victim(&mut |identity, _| page_at(identity).take_uses()) else { break };
            victims.push(Victim { page: page_at(queue.identity(slot)), family: queue.payload(slot) });
        }
        victims
    }

    /// A victim that cannot go now is among the last to be chosen again.
    pub fn put_back(&self, page: &PageRef) {
        let mut queues = self.queues.lock();
        if let Some((queue, slot)) = taken_apart(page.place()) {
            put_back(&mut queues[queue], slot);
        }
    }

    /// A followed leaf was asked for; the policies learn from it what to keep. What has an image counts for those alone.
    /// Of leaves whose hash is below the number returned they want to know.
    pub fn access(&self, identity: u64, page: &PageRef, bytes: usize) -> u64 {
        let hot = page.address().is_some();
        let mut queues = self.queues.lock();
        let mut below = 0;
        for (part, queue) in QUEUED.into_iter().zip(queues.iter_mut()) {
            if part == Part::Leaves || !hot {
                queue.access(identity, bytes as u32);
            }
            below = below.max(queue.threshold());
        }
        below
    }

    /// How many pages a part of memory has.
    pub fn len(&self, part: Part) -> usize {
        queue_of(part).map_or(0, |queue| self.queues.lock()[queue].len())
    }

    pub fn set_policy(&self, policy: Policy) {
        // What has been learnt is lost with a change.
        self.queues
            .lock()
            .iter_mut()
            .filter(|queue| queue.policy() != policy)
            .for_each(|queue| queue.set_policy(policy));
    }

    /// How many bytes a part is to have.
    pub fn set_capacity(&self, part: Part, bytes: u64) {
        if let Some(queue) = queue_of(part) {
            self.queues.lock()[queue].set_capacity(bytes);
        }
    }

    /// What the queues take themselves.
    pub fn bytes(&self) -> u64 {
        self.queues.lock().iter().map(|queue| queue.memory_bytes() as u64).sum()
    }
}
