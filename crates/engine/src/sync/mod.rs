//! The atomics, locks, threads, clocks and epochs that the engine is built on.
//!
//! They are the system's, parking_lot's and crossbeam's own, unless tests go through schedules: with feature `shuttle` all
//! of them, with feature `loom` the atomics in `checked`, belong to a model checker. What only counts, and decides nothing
//! between threads, stays with the system's atomics, so that schedules are not spent on it.

#[cfg(all(feature = "loom", feature = "shuttle"))]
compile_error!("one model checker at a time: feature `loom` or feature `shuttle`");

#[cfg(feature = "loom")]
#[path = "loom.rs"]
pub mod checked;
#[cfg(not(feature = "shuttle"))]
mod native;
#[cfg(feature = "shuttle")]
pub mod shuttle;

pub use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

#[cfg(not(feature = "shuttle"))]
pub use native::*;
#[cfg(feature = "shuttle")]
pub use shuttle::*;

#[cfg(not(feature = "loom"))]
pub use traced::Traced;

#[cfg(feature = "loom")]
pub use checked::Traced;

#[cfg(not(feature = "loom"))]
mod traced {
    /// Stands for memory that is not atomic and yet shared, so that loom sees who reads it while another writes it.
    #[derive(Default)]
    pub struct Traced(());

    impl Traced {
        #[inline(always)]
        pub fn written(&self, _index: usize) {}

        #[inline(always)]
        pub fn read(&self, _index: usize) {}
    }
}
