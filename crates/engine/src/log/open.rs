//! Opening a log: replay, judge how it ends, and make it ready to be written.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::format::{SEGMENT_HEADER_BYTES, SegmentHeader};
use super::reader::{self, SegmentEnd, SegmentReader};
use super::segments;
use super::writer::Writer;
use crate::disk::{Disk, File, OpenMode, read_fully};
use crate::{Durability, Error, Result};

/// No version and no segment ever gets as far, so counting on from one cannot overflow.
const LARGEST_NUMBER: u64 = 1 << 62;

#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The page file's.
    pub identity: u128,
    /// First segment that is needed; it has to be there.
    pub from_segment: u64,
    /// Records up to this version are in the page file already.
    pub after_version: u64,
    pub durability: Durability,
    /// How long an append may stay unsynced with `Durability::Group`.
    pub group_interval: Duration,
    pub read_only: bool,
}

/// What opening found.
pub(super) struct Opened {
    /// `None` when read-only.
    pub writer: Option<Writer>,
    pub last_version: u64,
}

pub(super) fn create(disk: Arc<dyn Disk>, options: &LogOptions) -> Result<Opened> {
    let header = SegmentHeader {
        segment: 1,
        identity: options.identity,
        first_version: options.after_version + 1,
        previous_end: 0,
    };
    let path = disk.root().join(segments::file_name(1));
    let make = || {
        for old in segments::list(&*disk)? {
            disk.remove(&segments::file_name(old))?;
        }
        let made = segments::prepare(&*disk, &header, None)?;
        segments::sync(&*disk, &*made.0)?;
        Ok(made)
    };
    let (file, length_bytes) = make().map_err(Error::io("create", &path))?;
    let mut writer = Writer::new(disk, options, options.after_version);
    writer.add_segment(1, SEGMENT_HEADER_BYTES);
    writer.go_on_in(file, 1, length_bytes);
    Ok(Opened { writer: Some(writer), last_version: options.after_version })
}

pub(super) fn open(
    disk: Arc<dyn Disk>,
    options: &LogOptions,
    replay: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
) -> Result<Opened> {
    let root = disk.root().to_path_buf();
    if options.after_version >= LARGEST_NUMBER || options.from_segment >= LARGEST_NUMBER {
        return Err(Error::corruption(&root, None, "the page file names an impossible version or log segment"));
    }
    let all = segments::list(&*disk).map_err(Error::io("list", &root))?;
    let (outdated, needed) = all.split_at(all.partition_point(|number| *number < options.from_segment));
    let readers = open_segments(&*disk, options, needed)?;
    let mut ends: Vec<(u64, u64)> = Vec::with_capacity(readers.len());
    let mut next_version = None;
    let mut last = None;
    let mut readers = readers.into_iter().peekable();
    while let Some(mut segment) = readers.next() {
        check_versions_join(&segment, next_version, options.after_version)?;
        let limit = readers.peek().map(|next| next.header.previous_end);
        let mut replay_new = |version: u64, payload: &[u8]| {
            if version > options.after_version { replay(version, payload) } else { Ok(()) }
        };
        let end = segment.replay(limit, &mut replay_new)?;
        judge_end(&mut segment, end, readers.peek().map(|next| &next.header))?;
        ends.push((segment.header.segment, end.offset));
        next_version = Some(end.next_version);
        last = Some((segment, end));
    }
    let Some((last, end)) = last else { unreachable!("the first segment is there or opening has failed") };
    // Without a sync, what the page file holds may have outlived the log's end.
    let last_version = options.after_version.max(end.next_version - 1);
    if options.read_only {
        return Ok(Opened { writer: None, last_version });
    }
    drop(readers);
    let mut writer = Writer::new(disk.clone(), options, last_version);
    for (segment, end) in ends {
        writer.add_segment(segment, end);
    }
    resume(&disk, &mut writer, &last, end, last_version).map_err(Error::io("resume", &last.path))?;
    for old in outdated {
        let name = segments::file_name(*old);
        disk.remove(&name).map_err(Error::io("remove", &root.join(&name)))?;
    }
    Ok(Opened { writer: Some(writer), last_version })
}

/// All segments that are needed, without a last one whose making was cut short.
fn open_segments(disk: &dyn Disk, options: &LogOptions, numbers: &[u64]) -> Result<Vec<SegmentReader>> {
    let mut readers = Vec::with_capacity(numbers.len());
    for (expected, number) in (options.from_segment..).zip(numbers) {
        if *number != expected {
            return Err(missing(disk.root(), expected));
        }
        match SegmentReader::open(disk, *number, options.identity)? {
            Some(reader) => readers.push(reader),
            None => {
                let last = numbers.last() == Some(number) && *number != options.from_segment;
                if !last || reader::holds_block(disk, *number, options.identity)? {
                    let path = disk.root().join(segments::file_name(*number));
                    let what = "the segment's header is damaged; all commits in it and after it are lost";
                    return Err(Error::corruption(&path, 0, what));
                }
            }
        }
    }
    if readers.is_empty() {
        return Err(missing(disk.root(), options.from_segment));
    }
    Ok(readers)
}

fn missing(root: &Path, segment: u64) -> Error {
    let path = root.join(segments::file_name(segment));
    Error::corruption(&path, None, "this segment of the log is missing, and the commits in it are lost")
}

/// A gap is sound only where the page file fills it.
fn check_versions_join(segment: &SegmentReader, expected: Option<u64>, after_version: u64) -> Result<()> {
    let first = segment.header.first_version;
    let joins = match expected {
        Some(expected) if first != expected => first > expected && first <= after_version.saturating_add(1),
        Some(_) => true,
        None => first <= after_version.saturating_add(1),
    };
    if joins && first > 0 {
        return Ok(());
    }
    let before = expected.unwrap_or(after_version.saturating_add(1));
    let what = format!("the segment starts with version {first} where {before} follows");
    Err(Error::corruption(&segment.path, 0, what))
}

/// The end of a segment that another follows is known; the last one's may be torn, but not before what was synced.
fn judge_end(segment: &mut SegmentReader, end: SegmentEnd, next: Option<&SegmentHeader>) -> Result<()> {
    let lost = match next {
        Some(next) if end.offset == next.previous_end => return Ok(()),
        Some(next) => versions(end.next_version, next.first_version),
        None => match segment.find_witness(end.offset)? {
            None => return Ok(()),
            Some(witness) => format!("{} or more", versions(end.next_version, witness.first_version)),
        },
    };
    let what = format!("the log is damaged here, where it had been synced; lost are the commits of {lost}");
    Err(Error::corruption(&segment.path, end.offset, what))
}

fn versions(from: u64, before: u64) -> String {
    format!("versions {from} to {}", before.saturating_sub(1))
}

/// What was read is made durable before anything builds on it, and nothing is ever appended behind a torn end.
fn resume(
    disk: &Arc<dyn Disk>,
    writer: &mut Writer,
    last: &SegmentReader,
    end: SegmentEnd,
    last_version: u64,
) -> io::Result<()> {
    let segment = last.header.segment;
    let file = disk.open(&segments::file_name(segment), OpenMode::ReadWrite)?;
    let empty = end.offset == SEGMENT_HEADER_BYTES && last.header.first_version == last_version + 1;
    if empty {
        file.set_len(SEGMENT_HEADER_BYTES)?;
    } else {
        rewrite(&*file, end.synced_offset, end.offset)?;
    }
    file.sync()?;
    disk.sync_directory()?;
    if empty {
        writer.go_on_in(file, segment, SEGMENT_HEADER_BYTES);
        return Ok(());
    }
    let header = SegmentHeader {
        segment: segment + 1,
        identity: last.header.identity,
        first_version: last_version + 1,
        previous_end: end.offset,
    };
    let (file, length_bytes) = segments::prepare(&**disk, &header, None)?;
    segments::sync(&**disk, &*file)?;
    writer.add_segment(segment + 1, SEGMENT_HEADER_BYTES);
    writer.go_on_in(file, segment + 1, length_bytes);
    Ok(())
}

/// After a failed sync the system may hold bytes as clean that never reached the disk: written again, they do.
fn rewrite(file: &dyn File, from: u64, to: u64) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    // Of a block that was cut short by less than its padding, all that counts is there.
    let to = to.min(file.len()?);
    let mut at = from;
    while at < to {
        let length = (to - at).min(buffer.len() as u64) as usize;
        let count = read_fully(file, &mut buffer[..length], at)?;
        if count < length {
            // It was longer when it was replayed.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.write_at(&buffer[..count], at)?;
        at += count as u64;
    }
    Ok(())
}
