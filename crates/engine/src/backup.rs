//! Copying a database while it is in use, and shrinking its page file.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::core::Core;
use crate::disk::{Disk, OpenMode, OsDisk, read_fully};
use crate::error::{Error, Result};
use crate::open::create_log;
use crate::pagefile::{PAGE_FILE_NAME, PageFile, Superblock};
use crate::snapshot::Progress;
use crate::sync::{Instant, Ordering, epoch, thread};

const COPY_BYTES: usize = 1 << 20;
/// For readers of pages that are to be given back.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Checkpoints and copies the page file, which only checkpoints write; the copy starts with an empty log.
pub fn backup(core: &Core, destination: &Path, progress: Progress<'_>) -> Result<()> {
    std::fs::create_dir_all(destination).map_err(Error::io("create", destination))?;
    let target: Arc<dyn Disk> = Arc::new(OsDisk::new(destination));
    let there = target.list().map_err(Error::io("list", destination))?;
    if let Some(name) = there.first() {
        let why = format!("a backup needs a new or an empty folder; this one holds {name:?}");
        return Err(Error::NotADatabase { path: destination.into(), why });
    }
    let copied = copy(core, &target, progress);
    if copied.is_err() {
        // Nothing was there before, so nothing but ours is removed; the first error is the one to tell.
        for name in target.list().unwrap_or_default() {
            let _ = target.remove(&name);
        }
    }
    copied
}

fn copy(core: &Core, target: &Arc<dyn Disk>, progress: Progress<'_>) -> Result<()> {
    let mut state = core.checkpoint.lock();
    core.checkpoint_locked(&mut state, None)?;
    let source = core.disk.open(PAGE_FILE_NAME, OpenMode::Read).map_err(Error::io("open", core.pages.path()))?;
    let path = target.root().join(PAGE_FILE_NAME);
    let io = |operation| Error::io(operation, &path);
    let file = target.open(PAGE_FILE_NAME, OpenMode::Create).map_err(io("create"))?;
    let total = source.len().map_err(Error::io("read", core.pages.path()))?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut done = 0;
    while done < total {
        let count = read_fully(&*source, &mut buffer, done).map_err(Error::io("read", core.pages.path()))?;
        if count == 0 {
            break;
        }
        file.write_at(&buffer[..count], done).map_err(io("write"))?;
        done += count as u64;
        if !progress(done, total) {
            return Err(Error::Interrupted);
        }
    }
    drop(state);
    file.sync().map_err(io("sync"))?;
    let (pages, superblock) = PageFile::open(Arc::clone(target), false)?;
    create_log(target, &superblock)?;
    pages.commit(&Superblock { log_segment: 1, ..superblock })?;
    target.sync_directory().map_err(io("sync the folder of"))
}

impl Core {
    /// Checkpoints that move the last pages into the free space before them, until nothing is won any more.
    pub fn compact(&self, progress: Progress<'_>) -> Result<()> {
        self.checkpoint(None)?;
        self.give_back()?;
        let first = self.pages.usage().file_bytes;
        let mut before = first;
        let mut in_vain = 0;
        while in_vain < 2 {
            let usage = self.pages.usage();
            let given_back = first.saturating_sub(usage.file_bytes);
            if !progress(given_back, usage.free_bytes + given_back) {
                return Err(Error::Interrupted);
            }
            // What is used fits below this byte, and so some more, as not every hole fits a page.
            let move_from = usage.used_bytes + usage.used_bytes / 64;
            if usage.file_bytes <= move_from + (64 << 10) {
                return Ok(());
            }
            self.checkpoint(Some(move_from))?;
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
}
