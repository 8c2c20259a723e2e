//! What the engine asks of the program around it, and tells it.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use crate::sync::Instant;

/// Where in a program something was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// As the program numbers its threads.
    pub thread: u64,
    /// A source file and a line in it.
    pub place: Option<(Arc<str>, u32)>,
}

/// A snapshot that is open, or one that a transaction or a scan stands on.
#[derive(Clone, Debug)]
pub struct OpenSnapshot {
    pub version: u64,
    pub since: Instant,
    /// `None`: the program does not tell.
    pub origin: Option<Origin>,
}

impl OpenSnapshot {
    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }
}

/// What somebody should know, though no call failed.
#[derive(Clone, Debug)]
pub enum Warning {
    /// A snapshot keeps old versions in memory: more bytes than the tunable `held_back_bytes` allows without a word.
    HeldBack { snapshot: OpenSnapshot, bytes: u64 },
    /// The maintenance thread failed; it tries again.
    Maintenance { why: String },
}

/// The program around the engine.
pub trait Host: Send + Sync + Debug {
    /// Who opens a snapshot; asked in its thread, for each.
    fn origin(&self) -> Option<Origin>;
    /// Called by the maintenance thread, which holds no lock.
    fn warn(&self, warning: &Warning);
    /// The budget is used up, and what is freed from now on should go back to the system soon. Called again and again, by
    /// the maintenance thread.
    fn memory_is_short(&self) {}
}

/// A program that does not tell and does not listen.
#[derive(Debug)]
pub struct Silent;

impl Host for Silent {
    fn origin(&self) -> Option<Origin> {
        None
    }

    fn warn(&self, _warning: &Warning) {}
}
