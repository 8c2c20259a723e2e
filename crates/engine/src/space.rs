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

/// Moved in one quiet moment at most, so that a checkpoint that is needed does not wait long.
const STEP_BYTES: u64 = 64 << 20;
/// The folder may always take this much beyond its records and the slack.
const TRIFLE_BYTES: u64 = 4 << 20;
/// How long the rate of writing is measured.
const WINDOW: Duration = Duration::from_secs(1);
/// It is quiet when what could be given back would, at the rate of the last window, last for so many seconds.
const QUIET_SECONDS: u64 = 60;
/// Attempts without success before more has to be written first.
const ATTEMPTS: u32 = 6;

impl Core {
    /// Moves pages until nothing is won any more.
    pub fn compact(&self, progress: Progress<'_>) -> Result<()> {
        self.checkpoint(None)?;
        self.give_back()?;
        let first = self.pages.usage().file_bytes;
        let mut before = first;
        let mut in_vain = 0;
        while in_vain < ATTEMPTS {
            let usage = self.pages.usage();
            let given_back = first.saturating_sub(usage.file_bytes);
            if !progress(given_back, usage.free_bytes + given_back) {
                return Err(Error::Interrupted);
            }
            let move_from = packed_bytes(&usage);
            if usage.file_bytes <= move_from + LEAST_GAIN_BYTES {
                return Ok(());
            }
            if in_vain > 0 && usage.free_bytes < usage.file_bytes / 4 {
                return Ok(());
            }
            self.checkpoint(Some(moving(&usage, move_from, in_vain)))?;
            // Some of what the moved pages occupied is given back by the checkpoint after only.
            self.give_back()?;
            let now = self.pages.usage().file_bytes;
            in_vain = if now < before { 0 } else { in_vain + 1 };
            before = now;
        }
        Ok(())
    }

    /// Waits until no reader can be on its way to a freed extent, and gives the free end of the file back. A thread that is
    /// stopped in the middle of a read is not waited for longer than a moment: the next time will do.
    pub fn give_back(&self) -> Result<()> {
        let start = Instant::now();
        while self.releases.load(Ordering::Acquire) > 0 && start.elapsed() < LONGEST_WAIT {
            // Frees a few of the things that wait, oldest first; after heavy writing many stand before the extents.
            epoch::pin().flush();
            thread::yield_now();
        }
        self.pages.trim().map(drop)
    }

    /// For the end: brings a small database within its slack, and leaves a large one to the next opening's quiet moments.
    pub fn tidy_at_close(&self) -> Result<()> {
        for attempt in 0..ATTEMPTS {
            self.give_back()?;
            let usage = self.pages.usage();
            if usage.file_bytes > STEP_BYTES || usage.free_bytes <= self.slack_bytes(&usage) {
                break;
            }
            self.checkpoint(Some(moving(&usage, packed_bytes(&usage), attempt)))?;
        }
        self.give_back()
    }

    /// What the folder may take beyond what its records need.
    fn slack_bytes(&self, usage: &Usage) -> u64 {
        usage.used_bytes / 100 * self.settings.slack_percent() + TRIFLE_BYTES
    }
}

/// Where no hole was large enough for what is at the end, the second attempt brings the holes together.
fn moving(usage: &Usage, from: u64, attempt: u32) -> Moving {
    if attempt == 1 {
        Moving::Behind { until: usage.file_bytes.min(STEP_BYTES), end: usage.file_bytes }
    } else {
        Moving::Forward { from }
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
    /// What the folder took before the last attempt.
    before: Option<u64>,
    in_vain: u32,
    /// What had been logged at the last attempt.
    attempted_at: u64,
}

impl Default for Tidying {
    fn default() -> Tidying {
        Tidying { window: Instant::now(), logged: 0, rate: None, before: None, in_vain: 0, attempted_at: 0 }
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
        let excess = usage.free_bytes + log;
        if excess <= core.slack_bytes(&usage) {
            (self.before, self.in_vain) = (None, 0);
            return Ok(());
        }
        // Freed extents that wait for readers are counted as used still.
        if rate * QUIET_SECONDS > excess || core.releases.load(Ordering::Acquire) > 0 {
            return Ok(());
        }
        core.pages.trim()?;
        let usage = core.pages.usage();
        let takes = usage.file_bytes + log;
        self.in_vain = if self.before.is_some_and(|before| takes >= before) { self.in_vain + 1 } else { 0 };
        if self.in_vain >= ATTEMPTS && logged - self.attempted_at < excess / 4 {
            return Ok(());
        }
        (self.before, self.attempted_at) = (Some(takes), logged);
        let move_from = packed_bytes(&usage).max(usage.file_bytes.saturating_sub(STEP_BYTES));
        core.checkpoint(Some(moving(&usage, move_from, self.in_vain)))
    }
}
