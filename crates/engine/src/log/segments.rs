//! The segments' files: names, making, removing.

use std::io;
use std::sync::Arc;

use super::format::SegmentHeader;
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

/// A segment with nothing but its header, durable; with `recycled`, made of that old segment's file, whose blocks
/// carry the old number and are therefore never taken for blocks of the new one. The file and its length in bytes.
pub(super) fn create(
    disk: &dyn Disk,
    header: &SegmentHeader,
    recycled: Option<u64>,
) -> io::Result<(Arc<dyn File>, u64)> {
    let name = file_name(header.segment);
    if let Some(old) = recycled {
        disk.rename(&file_name(old), &name)?;
    }
    let file = disk.open(&name, OpenMode::Create)?;
    if recycled.is_none() && file.len()? > 0 {
        // What a creation that was cut short left.
        file.set_len(0)?;
    }
    file.write_at(&header.encode(), 0)?;
    file.sync()?;
    disk.sync_directory()?;
    let length_bytes = file.len()?;
    Ok((file, length_bytes))
}
