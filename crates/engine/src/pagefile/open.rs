//! Making and opening a page file, and its superblocks.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::format::{FIRST_PAGE_OFFSET, FORMAT_VERSION, PAGE_FILE_NAME, SUPERBLOCK_BYTES, UNFINISHED_FILE_NAME};
use super::superblock::{Slot, Superblock};
use crate::disk::{Disk, File, OpenMode, read_fully};
use crate::{Error, Result};

pub(super) fn create(disk: &dyn Disk, superblock: &Superblock) -> Result<Arc<dyn File>> {
    let path = disk.root().join(PAGE_FILE_NAME);
    let make = || -> io::Result<Arc<dyn File>> {
        let file = disk.open(UNFINISHED_FILE_NAME, OpenMode::Create)?;
        file.set_len(FIRST_PAGE_OFFSET)?;
        write_superblocks(&*file, superblock)?;
        disk.rename(UNFINISHED_FILE_NAME, PAGE_FILE_NAME)?;
        disk.sync_directory()?;
        Ok(file)
    };
    make().map_err(Error::io("create", &path))
}

/// The file, its length in bytes and the newest superblock.
pub(super) fn open(disk: &dyn Disk, read_only: bool) -> Result<(Arc<dyn File>, u64, Superblock)> {
    let path = disk.root().join(PAGE_FILE_NAME);
    let mode = if read_only { OpenMode::Read } else { OpenMode::ReadWrite };
    let file = disk.open(PAGE_FILE_NAME, mode).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound { path: disk.root().to_path_buf() },
        _ => Error::io("open", &path)(error),
    })?;
    let slots = [read_slot(&*file, 0, &path)?, read_slot(&*file, 1, &path)?];
    let superblock = choose(slots, &path)?;
    // A single copy is what a commit that was cut short, or damage, leaves. The second has to be there before extents
    // that only the older superblock leads to are used again.
    if !read_only && slots != [Slot::Valid(superblock); 2] {
        write_superblocks(&*file, &superblock).map_err(Error::io("write the superblock of", &path))?;
    }
    let length_bytes = file.len().map_err(Error::io("measure", &path))?;
    Ok((file, length_bytes, superblock))
}

/// Writes one slot, syncs, and only then the other: one of the two is sound whenever the power fails. What was written
/// before is durable too.
pub fn write_superblocks(file: &dyn File, superblock: &Superblock) -> io::Result<()> {
    let slot = superblock.encode();
    file.write_at(&slot, Superblock::slot_offset(superblock.sequence))?;
    file.sync()?;
    file.write_at(&slot, Superblock::slot_offset(superblock.sequence + 1))?;
    file.sync()
}

/// What is wrong with which slot. Who only reads may find one that is older, from a commit that was cut short.
pub(super) fn check_slots(
    file: &dyn File,
    path: &Path,
    committed: &Superblock,
    read_only: bool,
) -> Result<Vec<(u64, String)>> {
    let mut problems = Vec::new();
    for slot in [0, 1] {
        let is_first = slot * SUPERBLOCK_BYTES as u64 == Superblock::slot_offset(committed.sequence);
        let what = match read_slot(file, slot, path)? {
            Slot::Valid(found) if found == *committed => continue,
            Slot::Valid(found) if read_only && !is_first && found.sequence < committed.sequence => continue,
            Slot::Valid(_) => "the superblock is not the one that was written last",
            _ => "the superblock is damaged; while the other one is sound, opening for writing writes it again",
        };
        problems.push((slot * SUPERBLOCK_BYTES as u64, what.to_owned()));
    }
    Ok(problems)
}

fn read_slot(file: &dyn File, slot: u64, path: &Path) -> Result<Slot> {
    let mut bytes = vec![0; SUPERBLOCK_BYTES];
    let count = read_fully(file, &mut bytes, slot * SUPERBLOCK_BYTES as u64)
        .map_err(Error::io("read the superblock of", path))?;
    Ok(Slot::decode(&bytes[..count]))
}

fn choose(slots: [Slot; 2], path: &Path) -> Result<Superblock> {
    let newer = |found| Error::NewerFormat { path: path.to_path_buf(), found, supported: FORMAT_VERSION };
    match slots {
        [Slot::Newer(found, true), _] | [_, Slot::Newer(found, true)] => Err(newer(found)),
        [Slot::Valid(first), Slot::Valid(second)] if second.sequence > first.sequence => Ok(second),
        [Slot::Valid(first), _] => Ok(first),
        [_, Slot::Valid(second)] => Ok(second),
        [Slot::Newer(found, _), _] | [_, Slot::Newer(found, _)] => Err(newer(found)),
        [Slot::NoMagic, Slot::NoMagic] => {
            let why = format!("{PAGE_FILE_NAME} does not start as one does");
            Err(Error::NotADatabase { path: path.to_path_buf(), why })
        }
        _ => Err(Error::corruption(path, 0, "both superblocks are damaged, and nothing else leads to the records")),
    }
}
