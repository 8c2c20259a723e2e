//! Bytes of a log segment. All integers are little-endian; blocks start at multiples of eight.
//!
//! ```text
//! segment header, 64 bytes
//! 0      8       12    16       24        40             48            56    60       64
//! magic  format  zero  segment  identity  first version  previous end  zero  CRC-32C
//!
//! block header, 64 bytes
//! 0      4           8            12      16       24       32      40             48              56             64
//! magic  header CRC  records CRC  records length   segment  offset  first version  synced segment  synced offset
//!
//! record
//! 0       4        12
//! length  version  payload ...
//! ```
//! `previous end` is where the segment before ended, all of it synced before this header was written. `synced segment`
//! and `synced offset` say how far the log was known to be on disk when the block was written: damage before that is
//! no torn end. A block's checksums start from the identity of the database, and it carries its own place, so that
//! nothing that another log or an earlier use of the file left is taken for a block.

pub(super) const SEGMENT_MAGIC: [u8; 8] = *b"LYRELOG\x1a";
pub(super) const LOG_FORMAT: u32 = 1;
pub(super) const SEGMENT_HEADER_BYTES: u64 = 64;
pub(super) const BLOCK_MAGIC: u32 = 0x4B4C_B10C;
pub(super) const BLOCK_HEADER_BYTES: usize = 64;
pub(super) const BLOCK_ALIGNMENT: u64 = 8;
pub(super) const RECORD_HEADER_BYTES: usize = 12;
/// Longest payload of a record.
pub(super) const MAX_RECORD_BYTES: usize = u32::MAX as usize - 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub segment: u64,
    pub identity: u128,
    /// Version of the first record in here, or of the next one if there is none.
    pub first_version: u64,
    pub previous_end: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderDefect {
    Damaged,
    Newer(u32),
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES as usize] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
        bytes[0..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&LOG_FORMAT.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.segment.to_le_bytes());
        bytes[24..40].copy_from_slice(&self.identity.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.first_version.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.previous_end.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<SegmentHeader, HeaderDefect> {
        let sound = bytes.len() == SEGMENT_HEADER_BYTES as usize
            && bytes[0..8] == SEGMENT_MAGIC
            && u32_at(bytes, 60) == crc32c::crc32c(&bytes[..60]);
        if !sound {
            return Err(HeaderDefect::Damaged);
        }
        if u32_at(bytes, 8) > LOG_FORMAT {
            return Err(HeaderDefect::Newer(u32_at(bytes, 8)));
        }
        let identity = u128::from(u64_at(bytes, 24)) | u128::from(u64_at(bytes, 32)) << 64;
        Ok(SegmentHeader {
            segment: u64_at(bytes, 16),
            identity,
            first_version: u64_at(bytes, 40),
            previous_end: u64_at(bytes, 48),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockHeader {
    pub records_checksum: u32,
    pub records: u32,
    pub length_bytes: u64,
    pub segment: u64,
    pub offset: u64,
    pub first_version: u64,
    pub synced_segment: u64,
    pub synced_offset: u64,
}

impl BlockHeader {
    pub(super) fn encode(&self, identity: u128, bytes: &mut [u8]) {
        bytes[0..4].copy_from_slice(&BLOCK_MAGIC.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.records_checksum.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.records.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.length_bytes.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.segment.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.offset.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.first_version.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.synced_segment.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.synced_offset.to_le_bytes());
        let checksum = checksum(identity, &bytes[8..BLOCK_HEADER_BYTES]);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    }

    /// `None`: the bytes are no header of a block at this place of this log.
    pub(super) fn decode(bytes: &[u8], identity: u128, segment: u64, offset: u64) -> Option<BlockHeader> {
        let ours = bytes.len() >= BLOCK_HEADER_BYTES
            && u32_at(bytes, 0) == BLOCK_MAGIC
            && u64_at(bytes, 24) == segment
            && u64_at(bytes, 32) == offset
            && u32_at(bytes, 4) == checksum(identity, &bytes[8..BLOCK_HEADER_BYTES]);
        ours.then(|| BlockHeader {
            records_checksum: u32_at(bytes, 8),
            records: u32_at(bytes, 12),
            length_bytes: u64_at(bytes, 16),
            segment,
            offset,
            first_version: u64_at(bytes, 40),
            synced_segment: u64_at(bytes, 48),
            synced_offset: u64_at(bytes, 56),
        })
    }

    /// Where the next block starts; `None` for a length that no file has.
    pub(super) fn end(&self) -> Option<u64> {
        let end = self.offset.checked_add(BLOCK_HEADER_BYTES as u64)?.checked_add(self.length_bytes)?;
        end.checked_next_multiple_of(BLOCK_ALIGNMENT)
    }
}

pub(super) fn checksum(identity: u128, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&identity.to_le_bytes()), bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}
