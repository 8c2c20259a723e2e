//! What can still be read of a damaged log: every block that is sound, and which versions are lost between them.

use std::path::{Path, PathBuf};

use super::format::{
    BLOCK_ALIGNMENT, BLOCK_HEADER_BYTES, BlockHeader, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES, u32_at, u64_at,
};
use super::reader::SegmentReader;
use super::segments;
use crate::disk::Disk;
use crate::{Error, Result};

/// Commits that are lost, or a place in the log that is damaged and holds none.
#[derive(Clone, Debug)]
pub struct LogLoss {
    pub path: PathBuf,
    pub offset: Option<u64>,
    /// The first and the last version; `None` for the last where nothing tells it.
    pub versions: Option<(u64, Option<u64>)>,
    /// Damage that costs no commit is told as well.
    pub is_lost: bool,
    pub what: String,
}

/// What to read of a log. `None` where the superblock that would say so is lost.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogWanted {
    pub identity: Option<u128>,
    pub from_segment: Option<u64>,
    pub after_version: Option<u64>,
}

/// Who is handed the records in the order of their versions, each of them once and whole, and is told of what is lost.
pub trait LogVisitor {
    fn record(&mut self, version: u64, payload: &[u8]) -> Result<()>;
    fn lost(&mut self, loss: LogLoss);
    /// False ends the reading with `Error::Interrupted`.
    fn go_on(&mut self, bytes: u64) -> bool;
}

/// Bytes of all segments together.
pub fn size(disk: &dyn Disk) -> u64 {
    let numbers = segments::list(disk).unwrap_or_default();
    let length = |number: &u64| disk.open(&segments::file_name(*number), crate::disk::OpenMode::Read).ok()?.len().ok();
    numbers.iter().filter_map(length).sum()
}

/// The first segment that is there, if it holds more than making a database leaves: commits, or a later number.
pub fn find_commits(disk: &dyn Disk) -> std::io::Result<Option<PathBuf>> {
    for number in segments::list(disk)? {
        let name = segments::file_name(number);
        let length = disk.open(&name, crate::disk::OpenMode::Read)?.len()?;
        if number > 1 || length > SEGMENT_HEADER_BYTES {
            return Ok(Some(disk.root().join(name)));
        }
    }
    Ok(None)
}

pub fn read(disk: &dyn Disk, wanted: &LogWanted, visitor: &mut dyn LogVisitor) -> Result<()> {
    let root = disk.root();
    let all = segments::list(disk).map_err(Error::io("list", root))?;
    let numbers = &all[wanted.from_segment.map_or(0, |from| all.partition_point(|number| *number < from))..];
    let identity = match wanted.identity {
        Some(identity) => identity,
        None => match SegmentReader::common_identity(disk, numbers)? {
            Some(identity) => identity,
            None => return Ok(()),
        },
    };
    let mut reading = Reading { visitor, next_version: wanted.after_version.map(|version| version.saturating_add(1)) };
    let mut expected = wanted.from_segment;
    let mut readers = Vec::new();
    for &number in numbers {
        if expected.is_some_and(|expected| expected < number) {
            reading.missing(root, expected.unwrap_or(number));
        }
        expected = Some(number + 1);
        match SegmentReader::distrusted(disk, number, identity) {
            Ok(reader) => readers.push(reader),
            Err(error) => reading.visitor.lost(LogLoss {
                path: root.join(segments::file_name(number)),
                offset: None,
                versions: None,
                is_lost: true,
                what: format!("the segment is left out: {error}"),
            }),
        }
    }
    if numbers.is_empty() && wanted.from_segment.is_some() {
        reading.missing(root, expected.unwrap_or(1));
    }
    // Where the next segment begins, what stands behind this one's end was never part of the log.
    let mut limits = vec![(None, None); readers.len()];
    for index in 1..readers.len() {
        limits[index - 1] = readers[index].begins()?;
    }
    let last = readers.len().saturating_sub(1);
    for (index, reader) in readers.iter_mut().enumerate() {
        reading.segment(reader, limits[index], index == last)?;
    }
    Ok(())
}

struct Reading<'a> {
    visitor: &'a mut dyn LogVisitor,
    /// `None` before the first record, where nothing says what it has to be.
    next_version: Option<u64>,
}

impl Reading<'_> {
    fn missing(&mut self, root: &Path, segment: u64) {
        self.visitor.lost(LogLoss {
            path: root.join(segments::file_name(segment)),
            offset: None,
            versions: None,
            is_lost: true,
            what: "this segment of the log is missing".into(),
        });
    }

    /// Tells of a gap before `first`, if there is one.
    fn gap(&mut self, path: &Path, offset: u64, first: u64) {
        let next = *self.next_version.get_or_insert(first);
        if first > next {
            let what = format!("the log is damaged here; the commits of versions {next} to {} are lost", first - 1);
            let versions = Some((next, Some(first - 1)));
            self.visitor.lost(LogLoss { path: path.into(), offset: Some(offset), versions, is_lost: true, what });
            self.next_version = Some(first);
        }
    }

    fn segment(&mut self, reader: &mut SegmentReader, limits: (Option<u64>, Option<u64>), is_last: bool) -> Result<()> {
        let (end, before_version) = limits;
        let path = reader.path.clone();
        if !reader.has_header && reader.sound_block_from(SEGMENT_HEADER_BYTES)?.is_some() {
            let what = "the segment's header is damaged; its blocks are read all the same".into();
            self.visitor.lost(LogLoss { path: path.clone(), offset: Some(0), versions: None, is_lost: false, what });
        }
        if reader.has_header && self.next_version.is_none() {
            self.next_version = Some(reader.header.first_version);
        }
        let mut at = SEGMENT_HEADER_BYTES;
        let mut damaged_at = None;
        while end.is_none_or(|end| at < end) {
            if !self.visitor.go_on(at) {
                return Err(Error::Interrupted);
            }
            let block = match reader.block_at(at)? {
                Some(block) => block,
                None => {
                    damaged_at = Some(damaged_at.unwrap_or(at));
                    if is_last && reader.has_header && reader.find_witness(at)?.is_none() {
                        // A torn end, as opening takes it.
                        return Ok(());
                    }
                    match reader.sound_block_from(at + BLOCK_ALIGNMENT)? {
                        Some(block) => block,
                        None => break,
                    }
                }
            };
            let Some(after) = block.end().filter(|after| end.is_none_or(|end| *after <= end)) else { break };
            self.block(reader, &block, damaged_at.unwrap_or(block.offset), before_version)?;
            damaged_at = None;
            at = after;
        }
        let lost_to = match before_version {
            Some(next) => next,
            None => reader.last_witnessed(at)?.unwrap_or(0),
        };
        self.gap(&path, damaged_at.unwrap_or(at), lost_to.max(self.next_version.unwrap_or(0)));
        Ok(())
    }

    fn block(
        &mut self,
        reader: &mut SegmentReader,
        block: &BlockHeader,
        damaged_at: u64,
        before_version: Option<u64>,
    ) -> Result<()> {
        let path = reader.path.clone();
        let Some(bytes) = reader.bytes(block.offset + BLOCK_HEADER_BYTES as u64, block.length_bytes)? else {
            return Ok(());
        };
        let Some(records) = records_of(bytes, block) else {
            let what = "a block whose checksum is right makes no sense, and is left out".into();
            self.visitor.lost(LogLoss { path, offset: Some(block.offset), versions: None, is_lost: true, what });
            return Ok(());
        };
        for (version, payload) in records {
            if before_version.is_some_and(|before| version >= before) {
                break;
            }
            self.gap(&path, damaged_at, version);
            if self.next_version == Some(version) {
                self.visitor.record(version, payload)?;
                self.next_version = Some(version + 1);
            }
        }
        Ok(())
    }
}

/// `None`: the records do not fill the block exactly, or their versions do not follow each other.
fn records_of<'a>(mut bytes: &'a [u8], block: &BlockHeader) -> Option<Vec<(u64, &'a [u8])>> {
    let mut records = Vec::new();
    for index in 0..u64::from(block.records) {
        let header = bytes.get(..RECORD_HEADER_BYTES)?;
        let (length, version) = (u32_at(header, 0) as usize, u64_at(header, 4));
        let payload = bytes.get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES.checked_add(length)?)?;
        if version != block.first_version.checked_add(index)? || version >= u64::MAX >> 1 {
            return None;
        }
        records.push((version, payload));
        bytes = &bytes[RECORD_HEADER_BYTES + length..];
    }
    bytes.is_empty().then_some(records)
}
