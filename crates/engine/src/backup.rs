//! Copying a database while it is in use.

use std::path::Path;
use std::sync::Arc;

use crate::core::Core;
use crate::disk::{Disk, OpenMode, OsDisk, read_fully};
use crate::error::{Error, Result};
use crate::open::create_log;
use crate::pagefile::{PAGE_FILE_NAME, Superblock, write_superblocks};
use crate::snapshot::Progress;

/// What the copy is called until it is whole; a folder that holds such a file and no database is refused.
const UNFINISHED_NAME: &str = "backup.unfinished";
const COPY_BYTES: usize = 1 << 20;

/// As `backup_on`, into the folder `destination`, which is made if it is not there.
pub fn backup(core: &Core, destination: &Path, progress: Progress<'_>) -> Result<()> {
    let disk = OsDisk::make(destination).map_err(Error::io("create", destination))?;
    backup_on(core, &(Arc::new(disk) as Arc<dyn Disk>), progress)
}

/// Checkpoints and copies the page file, in which nothing that the superblock leads to changes before the next checkpoint; the
/// copy starts with an empty log.
pub fn backup_on(core: &Core, target: &Arc<dyn Disk>, progress: Progress<'_>) -> Result<()> {
    let there = target.list().map_err(Error::io("list", target.root()))?;
    if let Some(name) = there.first() {
        let why = format!("a backup needs a new or an empty folder; this one holds {name:?}");
        return Err(Error::NotADatabase { path: target.root().into(), why });
    }
    let copied = copy(core, target, progress);
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
    let file = target.open(UNFINISHED_NAME, OpenMode::Create).map_err(io("create"))?;
    target.sync_directory().map_err(io("sync the folder of"))?;
    let total = source.len().map_err(Error::io("read", core.pages.path()))?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut done = 0;
    while done < total {
        let count = read_fully(&*source, &mut buffer, done).map_err(Error::io("read", core.pages.path()))?;
        if count == 0 {
            let ends = std::io::ErrorKind::UnexpectedEof.into();
            return Err(Error::io("read", core.pages.path())(ends));
        }
        file.write_at(&buffer[..count], done).map_err(io("write"))?;
        done += count as u64;
        if !progress(done, total) {
            return Err(Error::Interrupted);
        }
    }
    let superblock = core.pages.committed();
    drop(state);
    create_log(target, &superblock)?;
    let superblock = Superblock { sequence: superblock.sequence + 1, log_segment: 1, ..superblock };
    write_superblocks(&*file, &superblock).map_err(io("write the superblock of"))?;
    target.rename(UNFINISHED_NAME, PAGE_FILE_NAME).map_err(io("name"))?;
    target.sync_directory().map_err(io("sync the folder of"))
}
