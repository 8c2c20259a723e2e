//! Giving space back: checkpoints that move what lies at the end of the page file to free places before it.

use std::time::Duration;

use crate::checkpoint::Moving;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::pagefile::Usage;
use crate::snapshot::Progress;
use crate::sync::{Instant, Ordering, epoch, thread};

/// For readers of pages that are to be given back.
const LONGEST_WAIT: Duration = Duration::from_secs(3);
/// Less at the end of the file is not worth another checkpoint.
const LEAST_GAIN_BYTES: u64 = 64 << 10;
/// Checkpoints without gain before holes are brought together: some of what the moved pages occupied is given back by the
/// checkpoint after only.
const PATIENCE: u32 = 2;
/// Holes are brought together where they are at least this part of the file.
const HOLES_SHARE: u64 = 8;

/// Moved in one quiet moment at most, so that a checkpoint that is needed does not wait long.
const STEP_BYTES: u64 = 64 << 20;
/// The folder may always take this much beyond its records and the slack.
const TRIFLE_BYTES: u64 = 4 << 20;
/// How long the rate of writing is measured.
const WINDOW: Duration = Duration::from_secs(1);
/// It is quiet when what could be given back would, at the rate of the last window, last for so many seconds.
const QUIET_SECONDS: u64 = 60;

impl Core {
    /// Moves pages until nothing is won any more.
    pub fn compact(&self, progress: Progress<'_>) -> Result<()> {
        self.checkpoint(None)?;
        let first = self.pages.usage().file_bytes;
        let mut sweep = Sweep::new(STEP_BYTES.max(first / HOLES_SHARE));
        while self.give_back()? {
            let usage = self.pages.usage();
            let given_back = first.saturating_sub(usage.file_bytes);
            if !progress(given_back, usage.free_bytes + given_back) {
                return Err(Error::Interrupted);
            }
            let Some(moving) = sweep.next(&usage) else { break };
            self.checkpoint(Some(moving))?;
        }
        Ok(())
    }

    /// Waits until no reader can be on its way to a freed extent, and gives the free end of the file back. A thread that is
    /// stopped in the middle of a read is not waited for longer than a moment: false, and the next time will do.
    pub fn give_back(&self) -> Result<bool> {
        let start = Instant::now();
        let is_waiting = || self.releases.load(Ordering::Acquire) > 0;
        while is_waiting() && start.elapsed() < LONGEST_WAIT {
            // Frees a few of the things that wait, oldest first; after heavy writing many stand before the extents.
            epoch::pin().flush();
            thread::yield_now();
        }
        self.pages.trim()?;
        Ok(!is_waiting())
    }

    /// For the end: brings a small database within its slack, and leaves a large one to the next opening's quiet moments.
    pub fn tidy_at_close(&self) -> Result<()> {
        let mut sweep = Sweep::new(STEP_BYTES);
        let is_small = self.pages.usage().file_bytes <= STEP_BYTES;
        while self.give_back()? && is_small {
            let usage = self.pages.usage();
            if usage.free_bytes <= self.slack_bytes(&usage) {
                break;
            }
            let Some(moving) = sweep.next(&usage) else { break };
            self.checkpoint(Some(moving))?;
        }
        Ok(())
    }

    /// What the folder may take beyond what its records need.
    fn slack_bytes(&self, usage: &Usage) -> u64 {
        usage.used_bytes / 100 * self.settings.slack_percent() + TRIFLE_BYTES
    }
}

/// Brings what the page file holds together at its front, a checkpoint at a time.
///
/// What lies at the end moves into holes before it, as long as that makes the file shorter. Where no hole is large enough
/// for it, the pages of a window are moved behind the end: then the window is one hole, and the end fits in. The windows
/// go through the file once, so this comes to an end whatever is written beside it.
struct Sweep {
    /// Moved by one checkpoint at most.
    stride: u64,
    /// The shortest that the file has been since a window was cleared.
    least: u64,
    in_vain: u32,
    /// Where the next window begins.
    window: u64,
}

impl Sweep {
    fn new(stride: u64) -> Sweep {
        Sweep { stride, least: u64::MAX, in_vain: 0, window: 0 }
    }

    /// What the next checkpoint is to move; `None`: there is nothing more to be won.
    fn next(&mut self, usage: &Usage) -> Option<Moving> {
        let end = usage.file_bytes;
        let gained = end + LEAST_GAIN_BYTES <= self.least;
        self.in_vain = if gained { 0 } else { self.in_vain + 1 };
        self.least = self.least.min(end);
        let packed = packed_bytes(usage);
        let is_packed = end <= packed + LEAST_GAIN_BYTES;
        if self.in_vain < PATIENCE && !(is_packed && self.in_vain > 0) {
            return Some(Moving::Forward { from: packed.max(end.saturating_sub(self.stride)) });
        }
        if is_packed || self.window >= packed || usage.free_bytes < end / HOLES_SHARE {
            return None;
        }
        let from = self.window;
        *self = Sweep { window: from + self.stride, ..Sweep::new(self.stride) };
        Some(Moving::Behind { from, until: self.window.min(end), end })
    }
}

/// What is used fits below this byte, and some more, as not every hole fits a page.
fn packed_bytes(usage: &Usage) -> u64 {
    usage.used_bytes + usage.used_bytes / 64
}

/// Uses quiet moments to give back what the folder takes beyond its slack: the log, by a checkpoint, and free places in
/// the page file, a few pages at a time. While much is written it leaves them alone: what is free will be needed.
pub struct Tidying {
    window: Instant,
    /// What had been logged when the window began.
    logged: u64,
    /// Bytes a second in the window before; `None` before the first has ended.
    rate: Option<u64>,
    /// Bytes that snapshots held back, until a sweep has dropped what they were of.
    held_back: u64,
    sweep: Option<Sweep>,
    /// When the last sweep came to its end without reaching the slack.
    ended: Option<Ended>,
}

struct Ended {
    /// What had been logged by then.
    logged: u64,
    /// The oldest version that somebody could read.
    oldest: u64,
}

impl Default for Tidying {
    fn default() -> Tidying {
        Tidying { window: Instant::now(), logged: 0, rate: None, held_back: 0, sweep: None, ended: None }
    }
}

impl Tidying {
    /// To be called every few milliseconds.
    pub fn step(&mut self, core: &Core) -> Result<()> {
        let logged = core.log.bytes_written();
        let elapsed = self.window.elapsed();
        if elapsed >= WINDOW {
            self.rate = Some(((logged - self.logged) as f64 / elapsed.as_secs_f64()) as u64);
            (self.window, self.logged) = (Instant::now(), logged);
        }
        let Some(rate) = self.rate else { return Ok(()) };
        let usage = core.pages.usage();
        let log = core.log.bytes_since(core.checkpointed.segment.load(Ordering::Relaxed));
        let held_back = core.maintenance.held_back();
        self.held_back = self.held_back.max(held_back);
        let let_go = if held_back == 0 { self.held_back } else { 0 };
        let excess = usage.free_bytes + log + let_go;
        if excess <= core.slack_bytes(&usage) {
            (self.sweep, self.ended) = (None, None);
            return Ok(());
        }
        // Freed extents that wait for readers are counted as used still.
        if rate * QUIET_SECONDS > excess || core.releases.load(Ordering::Acquire) > 0 {
            return Ok(());
        }
        let oldest = core.versions.active()[0];
        // What a snapshot saw that has been closed since was in the way.
        let is_as_it_was = |ended: &Ended| logged - ended.logged < excess / 4 && oldest == ended.oldest;
        if self.sweep.is_none() && self.ended.as_ref().is_some_and(is_as_it_was) {
            return Ok(());
        }
        core.pages.trim()?;
        if held_back == 0 {
            self.held_back = 0;
        }
        match self.sweep.get_or_insert_with(|| Sweep::new(STEP_BYTES)).next(&core.pages.usage()) {
            Some(moving) => core.checkpoint(Some(moving)),
            None => {
                (self.sweep, self.ended) = (None, Some(Ended { logged, oldest }));
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE_BYTES: u64 = 8 * STEP_BYTES;

    /// How often a sweep asks for a checkpoint, and what the file is in the end.
    fn swept(mut usage: Usage, mut checkpoint: impl FnMut(Moving, &mut Usage)) -> (usize, Usage) {
        let mut sweep = Sweep::new(STEP_BYTES);
        for step in 0..10_000 {
            let Some(moving) = sweep.next(&usage) else { return (step, usage) };
            checkpoint(moving, &mut usage);
            usage.free_bytes = usage.file_bytes - usage.used_bytes;
        }
        panic!("no end of it: {usage:?}");
    }

    #[test]
    fn a_sweep_ends_where_what_is_at_the_end_cannot_move() {
        let usage = Usage { file_bytes: FILE_BYTES, used_bytes: 1 << 20, ..Usage::default() };
        let (steps, _) = swept(usage, |moving, usage| match moving {
            Moving::Forward { .. } => usage.file_bytes = FILE_BYTES,
            Moving::Behind { .. } => usage.file_bytes = FILE_BYTES + STEP_BYTES,
        });
        assert!(steps < 10, "{steps} checkpoints for nothing");
    }

    #[test]
    fn each_window_is_cleared_once() {
        let mut windows = Vec::new();
        let usage = Usage { file_bytes: FILE_BYTES, used_bytes: FILE_BYTES / 4 * 3, ..Usage::default() };
        swept(usage, |moving, usage| {
            usage.file_bytes = FILE_BYTES;
            if let Moving::Behind { from, until, end } = moving {
                assert!(until <= end);
                windows.push(from..until);
                usage.file_bytes += STEP_BYTES;
            }
        });
        assert_eq!(windows.len(), 7);
        assert!(windows.windows(2).all(|pair| pair[0].end == pair[1].start), "{windows:?}");
    }

    proptest! {
        #[test]
        fn a_sweep_ends_whatever_is_written_beside_it(sizes in prop::collection::vec((0..=FILE_BYTES, 0..=FILE_BYTES), 64)) {
            let mut sizes = sizes.into_iter().cycle();
            let (steps, _) = swept(Usage::default(), |_, usage| {
                let (file_bytes, other) = sizes.next().expect("a cycle");
                (usage.file_bytes, usage.used_bytes) = (file_bytes, other.min(file_bytes));
            });
            prop_assert!(steps < 1_000, "{} checkpoints", steps);
        }
    }
}
