//! The thread that keeps the log short and the memory within its budget, and the work it does.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::core::Core;
use crate::counters::Count;
use crate::error::Result;
use crate::family::FamilyCore;
use crate::pause::{Point, point};
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Instant, Mutex, epoch};
use crate::tree::{DIRTY, Found, retire_leaf};

const EVERY: Duration = Duration::from_millis(50);
const RECLAIM_STEPS: usize = 64;
/// After a failure (a full disk), before the next attempt.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

#[derive(Default)]
pub struct Maintenance {
    state: Mutex<State>,
    /// Where the evictor stopped: a family's number and a key.
    hand: Mutex<(u32, Vec<u8>)>,
}

#[derive(Default)]
struct State {
    stop: bool,
    thread: Option<JoinHandle<()>>,
    last_failure: Option<String>,
}

impl Maintenance {
    pub fn start(core: &Arc<Core>) -> std::io::Result<()> {
        let weak = Arc::downgrade(core);
        let thread = thread::Builder::new().name("lyredb-maintenance".into()).spawn(move || run(&weak))?;
        core.maintenance.state.lock().thread = Some(thread);
        Ok(())
    }

    pub fn stop(&self) {
        let thread = {
            let mut state = self.state.lock();
            state.stop = true;
            state.thread.take()
        };
        if let Some(thread) = thread {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }

    /// What the thread last failed at, if its newest attempt failed.
    pub fn last_failure(&self) -> Option<String> {
        self.state.lock().last_failure.clone()
    }

    /// Sleeps until it is time, memory is short, or the thread is to stop; false for the last.
    fn pause(&self, time: Duration) -> bool {
        if !self.state.lock().stop {
            thread::park_timeout(time);
        }
        !self.state.lock().stop
    }
}

fn run(weak: &Weak<Core>) {
    let mut pause = EVERY;
    loop {
        let Some(core) = weak.upgrade() else { return };
        core.memory.keep();
        core.memory.answer();
        let done = core.maintain();
        pause = if done.is_ok() { EVERY } else { AFTER_FAILURE.max(pause) };
        core.maintenance.state.lock().last_failure = done.err().map(|error| error.to_string());
        if !core.maintenance.pause(pause) {
            return;
        }
    }
}

impl Core {
    fn maintain(&self) -> Result<()> {
        self.versions.release_overdue(Instant::now());
        // Frees what was retired by threads that have gone quiet since; each time only some of it.
        (0..RECLAIM_STEPS).for_each(|_| epoch::pin().flush());
        self.memory.lower_mark();
        if self.memory.excess() > 0 {
            self.evict()?;
        }
        if self.read_only {
            return Ok(());
        }
        let segment = self.checkpoint.lock().segment;
        if self.log.bytes_since(segment) >= self.settings.checkpoint_log_bytes() {
            self.checkpoint(None)?;
        }
        Ok(())
    }

    /// For writers that fill the memory faster than the thread empties it.
    /// False: it takes a while, and `wait` was not allowed.
    #[inline]
    pub fn relieve_memory(&self, wait: bool) -> Result<bool> {
        let budget = self.memory.budget();
        if self.memory.used() <= budget + budget / 4 + (4 << 20) {
            return Ok(true);
        }
        if wait {
            self.evict()?;
        }
        Ok(wait)
    }

    /// Drops leaves that were not used lately until the memory is within its budget; if changed leaves stand in the way,
    /// a checkpoint writes them first.
    pub fn evict(&self) -> Result<()> {
        let mut hand = self.maintenance.hand.lock();
        let goal = self.memory.budget() - self.memory.budget() / 32;
        let round = |hand: &mut (u32, Vec<u8>)| {
            // Twice: the first pass takes away the marks of use.
            (0..2).any(|_| self.memory.used() <= goal || self.sweep(goal, hand))
        };
        if self.memory.excess() > 0 && !round(&mut hand) && !self.read_only {
            let state = self.checkpoint.lock();
            if state.version < self.versions.visible() {
                drop(state);
                self.checkpoint(None)?;
                round(&mut hand);
            }
        }
        epoch::pin().flush();
        Ok(())
    }

    /// One pass over all leaves, from where the last one ended; true when the goal is reached.
    fn sweep(&self, goal: u64, hand: &mut (u32, Vec<u8>)) -> bool {
        let mut families = self.all_families();
        families.sort_by_key(|family| family.id);
        let start = families.partition_point(|family| family.id < hand.0);
        families.rotate_left(start);
        if families.first().is_none_or(|family| family.id != hand.0) {
            hand.1.clear();
        }
        for family in &families {
            hand.0 = family.id;
            if self.sweep_family(family, goal, &mut hand.1) {
                return true;
            }
            hand.1.clear();
        }
        hand.0 = 0;
        false
    }

    fn sweep_family(&self, family: &FamilyCore, goal: u64, key: &mut Vec<u8>) -> bool {
        loop {
            let guard = epoch::pin();
            let mut writer = family.tree.writer.lock();
            point(Point::EvictionLocked);
            let bottom = family.tree.bottom(key, &guard);
            for (_, page) in bottom.leaves() {
                if page.is(DIRTY) || page.extent() == 0 || !matches!(page.leaf(&guard), Found::Hot(_)) {
                    continue;
                }
                if page.take_use() {
                    continue;
                }
                if let Found::Hot(leaf) = page.leaf(&guard)
                    && leaf.is_guarded()
                {
                    family.tree.consolidate(&mut writer, page, leaf, &[], &guard);
                }
                match page.leaf(&guard) {
                    // Old versions that a snapshot still needs are nowhere but in memory, and on disk may be what has expired.
                    Found::Hot(leaf) if leaf.holds_versions() || leaf.delta_len() > 0 || page.is(DIRTY) => {}
                    _ => {
                        family.tree.expect_cold();
                        if let Some(address) = page.evict() {
                            family.counters.add(Count::Evictions, 1);
                            point(Point::LeafEvicted);
                            // SAFETY: the page no longer names the image.
                            unsafe { retire_leaf(address, &self.memory, &guard) };
                        }
                    }
                }
            }
            drop(writer);
            match bottom.high {
                Some(high) => *key = high,
                None => return self.memory.used() <= goal,
            }
            guard.flush();
            if self.memory.used() <= goal {
                return true;
            }
        }
    }
}
