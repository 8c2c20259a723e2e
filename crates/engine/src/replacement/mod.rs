//! Which entry of a cache goes first: queues of what is in memory, and fingerprints of what went lately.
//!
//! Reading an entry changes no queue. It raises a mark of use, 0 to 3, that the caller keeps beside the entry; the queues
//! take the marks away when they look at the entry. So all work is done at admission and eviction, each of constant cost
//! on the average, under a lock of the caller's.

mod duel;
mod ghosts;
mod line;
mod list;
mod queues;
mod rule;
mod simulation;
#[cfg(test)]
mod tests;

pub use list::Slot;
pub use queues::{Policy, Queues};
pub use simulation::Simulation;

/// Of an identity, each another. Samples are of those whose hash is below a threshold, so that one is a part of the other.
#[inline]
pub fn hash(identity: u64) -> u64 {
    let mixed = (identity ^ (identity >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
