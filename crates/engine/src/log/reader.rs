//! Reading a log back, and telling a torn end from damage.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::format::{
    BLOCK_ALIGNMENT, BLOCK_HEADER_BYTES, BLOCK_MAGIC, BlockHeader, HeaderDefect, LOG_FORMAT, MAX_RECORD_BYTES,
    RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader, checksum, u32_at, u64_at,
};
use super::segments;
use super::tail::TAIL_BOUND_BYTES;
use crate::disk::{Disk, File, OpenMode, read_fully};
use crate::{Error, Result};

const WINDOW_BYTES: usize = 1 << 20;
/// A block that is longer was not written by us.
const MAX_BLOCK_BYTES: u64 = (TAIL_BOUND_BYTES + MAX_RECORD_BYTES + RECORD_HEADER_BYTES + BLOCK_HEADER_BYTES) as u64;

/// A segment's file as it is read.
pub(super) struct SegmentReader {
    pub file: Arc<dyn File>,
    pub path: PathBuf,
    pub header: SegmentHeader,
    /// Whether the header was read from the file.
    pub has_header: bool,
    length_bytes: u64,
    window: Vec<u8>,
    window_start: u64,
}

/// How far a segment could be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct SegmentEnd {
    /// Behind the last sound block.
    pub offset: u64,
    /// All before this is known to have been synced.
    pub synced_offset: u64,
    pub next_version: u64,
}

impl SegmentReader {
    /// `Ok(None)`: its header is not sound, so it is either unfinished or damaged.
    pub(super) fn open(disk: &dyn Disk, segment: u64, identity: u128) -> Result<Option<SegmentReader>> {
        let name = segments::file_name(segment);
        let path = disk.root().join(&name);
        let file = disk.open(&name, OpenMode::Read).map_err(Error::io("open", &path))?;
        let length_bytes = file.len().map_err(Error::io("measure", &path))?;
        let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
        let count = read_fully(&*file, &mut bytes, 0).map_err(Error::io("read", &path))?;
        let header = match SegmentHeader::decode(&bytes[..count]) {
            Ok(header) => header,
            Err(HeaderDefect::Damaged) => return Ok(None),
            Err(HeaderDefect::Newer(found)) => return Err(Error::NewerFormat { path, found, supported: LOG_FORMAT }),
        };
        if header.segment != segment {
            // A file that was to be used again and whose new header was not written yet.
            return Ok(None);
        }
        if header.identity != identity {
            return Err(Error::corruption(&path, 0, "the segment belongs to another database"));
        }
        Ok(Some(SegmentReader::new(file, path, header, true, length_bytes)))
    }

    fn new(
        file: Arc<dyn File>,
        path: PathBuf,
        header: SegmentHeader,
        has_header: bool,
        length_bytes: u64,
    ) -> SegmentReader {
        SegmentReader { file, path, header, has_header, length_bytes, window: Vec::new(), window_start: 0 }
    }

    /// As `open`; where the header is not sound, blocks are known by what they say themselves.
    pub(super) fn distrusted(disk: &dyn Disk, segment: u64, identity: u128) -> Result<SegmentReader> {
        match SegmentReader::open(disk, segment, identity)? {
            Some(reader) => Ok(reader),
            None => without_header(disk, segment, identity),
        }
    }

    /// Of the segments' headers, what most of them carry.
    pub(super) fn common_identity(disk: &dyn Disk, numbers: &[u64]) -> Result<Option<u128>> {
        let mut counts = BTreeMap::new();
        for &number in numbers {
            let name = segments::file_name(number);
            let path = disk.root().join(&name);
            let file = disk.open(&name, OpenMode::Read).map_err(Error::io("open", &path))?;
            let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
            let count = read_fully(&*file, &mut bytes, 0).map_err(Error::io("read", &path))?;
            if let Ok(header) = SegmentHeader::decode(&bytes[..count]) {
                *counts.entry(header.identity).or_insert(0) += 1;
            }
        }
        Ok(counts.into_iter().max_by_key(|(_, count)| *count).map(|(identity, _)| identity))
    }

    /// Where the segment before ended, and this one's first version, as far as they are known.
    pub(super) fn begins(&mut self) -> Result<(Option<u64>, Option<u64>)> {
        if self.has_header {
            return Ok((Some(self.header.previous_end), Some(self.header.first_version)));
        }
        let first = self.sound_block_from(SEGMENT_HEADER_BYTES)?;
        Ok((None, first.map(|block| block.first_version)))
    }

    /// The first block at or behind `offset` that is sound.
    pub(super) fn sound_block_from(&mut self, offset: u64) -> Result<Option<BlockHeader>> {
        let mut from = offset;
        while let Some(header) = self.find_header(from, &|_| true)? {
            if let Some(block) = self.block_at(header.offset)? {
                return Ok(Some(block));
            }
            from = header.offset + BLOCK_ALIGNMENT;
        }
        Ok(None)
    }

    /// The version behind those of the last block whose header is sound, at or behind `offset`.
    pub(super) fn last_witnessed(&mut self, offset: u64) -> Result<Option<u64>> {
        let mut last = None;
        let mut from = offset;
        while let Some(header) = self.find_header(from, &|_| true)? {
            last = Some(header.first_version.saturating_add(header.records.into()));
            from = header.offset + BLOCK_ALIGNMENT;
        }
        Ok(last)
    }

    /// Hands each record to `replay`. Stops at the first block that is not sound, or at `limit`.
    pub(super) fn replay(
        &mut self,
        limit: Option<u64>,
        replay: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<SegmentEnd> {
        let mut end = SegmentEnd {
            offset: SEGMENT_HEADER_BYTES,
            synced_offset: SEGMENT_HEADER_BYTES,
            next_version: self.header.first_version,
        };
        while limit.is_none_or(|limit| end.offset < limit) {
            let Some(block) = self.block_at(end.offset)? else { break };
            let after = block.end().filter(|after| limit.is_none_or(|limit| *after <= limit));
            let Some(after) = after else { break };
            if block.synced_segment == self.header.segment {
                end.synced_offset = end.synced_offset.max(block.synced_offset.min(end.offset));
            }
            self.replay_block(&block, &mut end.next_version, replay)?;
            end.offset = after;
        }
        Ok(end)
    }

    /// The header of the block at `offset`, if that and its records are sound.
    pub(super) fn block_at(&mut self, offset: u64) -> Result<Option<BlockHeader>> {
        let (identity, segment) = (self.header.identity, self.header.segment);
        let Some(bytes) = self.bytes(offset, BLOCK_HEADER_BYTES as u64)? else { return Ok(None) };
        let Some(block) = BlockHeader::decode(bytes, identity, segment, offset) else { return Ok(None) };
        if block.length_bytes > MAX_BLOCK_BYTES {
            return Ok(None);
        }
        let Some(bytes) = self.bytes(offset + BLOCK_HEADER_BYTES as u64, block.length_bytes)? else { return Ok(None) };
        Ok((checksum(identity, bytes) == block.records_checksum).then_some(block))
    }

    fn replay_block(
        &mut self,
        block: &BlockHeader,
        next_version: &mut u64,
        replay: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let path = self.path.clone();
        let wrong = |what: String| Err(Error::corruption(&path, block.offset, what));
        if block.first_version != *next_version {
            return wrong(format!("a block of versions from {} where {next_version} follows", block.first_version));
        }
        let Some(mut bytes) = self.bytes(block.offset + BLOCK_HEADER_BYTES as u64, block.length_bytes)? else {
            return wrong("the block became shorter while it was read".to_owned());
        };
        for _ in 0..block.records {
            if bytes.len() < RECORD_HEADER_BYTES {
                return wrong("the block is shorter than its records".to_owned());
            }
            let (length, version) = (u32_at(bytes, 0) as usize, u64_at(bytes, 4));
            let Some(payload) = bytes.get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + length) else {
                return wrong(format!("the record of version {version} is longer than its block"));
            };
            if version != *next_version || version == u64::MAX {
                return wrong(format!("a record of version {version} where {next_version} follows"));
            }
            replay(version, payload)?;
            *next_version += 1;
            bytes = &bytes[RECORD_HEADER_BYTES + length..];
        }
        if !bytes.is_empty() {
            return wrong(format!("{} bytes behind the block's last record", bytes.len()));
        }
        Ok(())
    }

    /// A sound block header behind `offset` which says that `offset` had been synced: what is there is damaged.
    pub(super) fn find_witness(&mut self, offset: u64) -> Result<Option<BlockHeader>> {
        let segment = self.header.segment;
        let is_witness = |block: &BlockHeader| block.synced_segment == segment && block.synced_offset > offset;
        self.find_header(offset + BLOCK_ALIGNMENT, &is_witness)
    }

    /// The first sound header of a block at or behind `from` that is `wanted`.
    fn find_header(&mut self, from: u64, wanted: &dyn Fn(&BlockHeader) -> bool) -> Result<Option<BlockHeader>> {
        let (identity, segment) = (self.header.identity, self.header.segment);
        let mut at = from;
        let magic = BLOCK_MAGIC.to_le_bytes();
        while at + BLOCK_HEADER_BYTES as u64 <= self.length_bytes {
            let length = (self.length_bytes - at).min(WINDOW_BYTES as u64);
            let Some(bytes) = self.bytes(at, length)? else { break };
            let headers = bytes.len() - BLOCK_HEADER_BYTES;
            for start in (0..=headers).step_by(BLOCK_ALIGNMENT as usize) {
                if bytes[start..start + 4] != magic {
                    continue;
                }
                let block = BlockHeader::decode(&bytes[start..], identity, segment, at + start as u64);
                if let Some(found) = block.filter(|block| wanted(block)) {
                    return Ok(Some(found));
                }
            }
            at += (headers as u64 / BLOCK_ALIGNMENT + 1) * BLOCK_ALIGNMENT;
        }
        Ok(None)
    }

    /// `None`: the file ends before.
    pub(super) fn bytes(&mut self, offset: u64, length: u64) -> Result<Option<&[u8]>> {
        if offset.checked_add(length).is_none_or(|end| end > self.length_bytes) {
            return Ok(None);
        }
        let inside = offset >= self.window_start && offset + length <= self.window_start + self.window.len() as u64;
        if !inside {
            self.load(offset, length).map_err(Error::io("read", &self.path))?;
        }
        let start = (offset - self.window_start) as usize;
        Ok(Some(&self.window[start..start + length as usize]))
    }

    /// Moves the window. A file that turns out to end before its length is no torn end of the log.
    fn load(&mut self, offset: u64, length: u64) -> io::Result<()> {
        let wanted = length.max(WINDOW_BYTES as u64).min(self.length_bytes - offset) as usize;
        self.window.clear();
        self.window_start = offset;
        // In steps, so that memory is asked for only as bytes arrive.
        while self.window.len() < wanted {
            let filled = self.window.len();
            let step = (wanted - filled).min(16 * WINDOW_BYTES);
            self.window.resize(filled + step, 0);
            let count = read_fully(&*self.file, &mut self.window[filled..], offset + filled as u64)?;
            self.window.truncate(filled + count);
            if count < step {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

/// Whether a segment whose own header is not sound holds a block: blocks are written only after the header is durable.
pub(super) fn holds_block(disk: &dyn Disk, segment: u64, identity: u128) -> Result<bool> {
    Ok(without_header(disk, segment, identity)?.find_witness(0)?.is_some())
}

fn without_header(disk: &dyn Disk, segment: u64, identity: u128) -> Result<SegmentReader> {
    let name = segments::file_name(segment);
    let path = disk.root().join(&name);
    let file = disk.open(&name, OpenMode::Read).map_err(Error::io("open", &path))?;
    let length_bytes = file.len().map_err(Error::io("measure", &path))?;
    let header = SegmentHeader { segment, identity, first_version: 0, previous_end: 0 };
    Ok(SegmentReader::new(file, path, header, false, length_bytes))
}
