//! Copying a database while it is in use.

use std::path::Path;
use std::sync::Arc;

use crate::core::Core;
use crate::disk::{Disk, OpenMode, OsDisk, read_fully};
use crate::error::{Error, Result};
use crate::open::create_log;
use crate::pagefile::{PAGE_FILE_NAME, PageFile, Superblock};
use crate::snapshot::Progress;

const COPY_BYTES: usize = 1 << 20;

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
