//! The segments' files: names, making, removing.

use std::io;
use std::sync::Arc;

use super::format::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::disk::{Disk, File, OpenMode};

pub(super) fn file_name(segment: u64) -> String {
    format!("log-{segment:016}.lyre")
}

/// `None` for a file that is no segment.
fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("log-")?.strip_suffix(".lyre")?;
    let number = digits.parse().ok()?;
    (file_name(number) == name).then_some(number)
}

/// Numbers of all segments in the folder, in order.
pub(super) fn list(disk: &dyn Disk) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> = disk.list()?.iter().filter_map(|name| number_of(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// A segment with nothing but its header; with `recycled`, made of that old segment's file, whose blocks carry the old
/// number and are therefore never taken for blocks of the new one. The file and its length in bytes.
pub(super) fn prepare(
    disk: &dyn Disk,
    header: &SegmentHeader,
    recycled: Option<u64>,
) -> io::Result<(Arc<dyn File>, u64)> {
    let name = file_name(header.segment);
    if let Some(old) = recycled {
        disk.rename(&file_name(old), &name)?;
    }
    let file = disk.open(&name, OpenMode::Create)?;
    let mut length_bytes = file.len()?;
    if recycled.is_none() && length_bytes > 0 {
        // What a creation that was cut short left.
        file.set_len(0)?;
        length_bytes = 0;
    }
    file.write_at(&header.encode(), 0)?;
    Ok((file, length_bytes.max(SEGMENT_HEADER_BYTES)))
}

/// Makes it durable, name and all.
pub(super) fn sync(disk: &dyn Disk, file: &dyn File) -> io::Result<()> {
    file.sync()?;
    disk.sync_directory()
}

/// Takes back a `prepare` that failed: when this returns, nothing of the segment will ever be found.
pub(super) fn discard(disk: &dyn Disk, segment: u64, recycled: Option<u64>) -> io::Result<()> {
    for left in recycled.into_iter().chain([segment]) {
        match disk.remove(&file_name(left)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    disk.sync_directory()
}
