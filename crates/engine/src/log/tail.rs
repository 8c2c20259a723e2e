//! Records that were appended and are not yet on their way to the disk.

use super::format::{BLOCK_ALIGNMENT, BLOCK_HEADER_BYTES, RECORD_HEADER_BYTES};

/// Room for records that are waiting, at most; a single record may be longer.
pub(super) const TAIL_BOUND_BYTES: usize = 4 << 20;
const LEAST_BOUND_BYTES: usize = 256 << 10;
/// What blocks take beside their records: of the one being written, of the next, and of the mark at the end.
const BLOCKS_BYTES: u64 = 3 * (BLOCK_HEADER_BYTES as u64 + BLOCK_ALIGNMENT);
/// A log that nobody writes to keeps no more than this in a buffer.
const IDLE_CAPACITY_BYTES: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub version: u64,
    /// For `wait_durable`: bytes of records appended so far, this one included.
    pub position: u64,
}

/// Why nothing may be appended.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    ReadOnly,
    Closed,
    Poisoned(String),
}

/// Behind the short lock that appending takes.
#[derive(Debug)]
pub(super) struct Tail {
    /// Room for a block's header, then records.
    buffer: Vec<u8>,
    /// Takes the place of `buffer` when that is taken.
    spare: Option<Vec<u8>>,
    /// From so many bytes on appending waits.
    bound: usize,
    /// The position when `rest` last looked.
    rested_at: u64,
    records: u32,
    last_version: u64,
    position: u64,
    pub refusal: Option<Refusal>,
    /// How many bytes of records may still be appended, as there are places on the disk for their blocks; `None` where
    /// that is not looked after.
    room: Option<u64>,
    /// Something that was taken earlier could not be written for want of space and has to be, before more is appended.
    pub stalled: bool,
}

/// A block's worth of records, with room for the header in front.
#[derive(Debug)]
pub(super) struct Gathered {
    pub bytes: Vec<u8>,
    pub records: u32,
    pub first_version: u64,
    pub last_version: u64,
    /// Of the last record.
    pub position: u64,
}

impl Tail {
    pub(super) fn new(last_version: u64) -> Tail {
        let buffer = vec![0; BLOCK_HEADER_BYTES];
        Tail {
            buffer,
            spare: None,
            bound: TAIL_BOUND_BYTES,
            rested_at: 0,
            records: 0,
            last_version,
            position: 0,
            room: None,
            refusal: None,
            stalled: false,
        }
    }

    /// There are `free_bytes` places behind the blocks that were written, for those of what is in here and comes.
    pub(super) fn set_room(&mut self, free_bytes: u64) {
        self.room = Some(free_bytes.saturating_sub(BLOCKS_BYTES + self.len_bytes() as u64));
    }

    /// Where records go to is about to change.
    pub(super) fn limit_room(&mut self, bytes: u64) {
        self.room = self.room.map(|room| room.min(bytes));
    }

    pub(super) fn has_room(&self, length: usize) -> bool {
        self.room.is_none_or(|room| room >= (RECORD_HEADER_BYTES + length) as u64)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.buffer.len() >= self.bound
    }

    /// About how many bytes may wait here, within bounds of its own.
    pub(super) fn set_bound(&mut self, bytes: usize) {
        self.bound = bytes.clamp(LEAST_BOUND_BYTES, TAIL_BOUND_BYTES);
    }

    /// A buffer that is full, with a last record of an eighth.
    fn largest_capacity(&self) -> usize {
        self.bound + self.bound / 8
    }

    pub(super) fn records(&self) -> u32 {
        self.records
    }

    pub(super) fn len_bytes(&self) -> usize {
        self.buffer.len() - BLOCK_HEADER_BYTES
    }

    pub(super) fn last_version(&self) -> u64 {
        self.last_version
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// `length` is the sum of the parts' lengths, which fits a record.
    #[inline]
    pub(super) fn push(&mut self, parts: &[&[u8]], length: usize) -> Ticket {
        self.last_version += 1;
        self.records += 1;
        self.position += (RECORD_HEADER_BYTES + length) as u64;
        self.room = self.room.map(|room| room.saturating_sub((RECORD_HEADER_BYTES + length) as u64));
        let mut header = [0; RECORD_HEADER_BYTES];
        header[..4].copy_from_slice(&(length as u32).to_le_bytes());
        header[4..].copy_from_slice(&self.last_version.to_le_bytes());
        let needed = RECORD_HEADER_BYTES + length;
        if self.buffer.len() + needed > self.buffer.capacity() {
            // Doubling would not stop before twice the bound.
            let most = self.largest_capacity().saturating_sub(self.buffer.len());
            self.buffer.reserve_exact(needed.max(self.buffer.capacity().min(most)));
        }
        self.buffer.extend_from_slice(&header);
        for part in parts {
            self.buffer.extend_from_slice(part);
        }
        Ticket { version: self.last_version, position: self.position }
    }

    pub(super) fn take(&mut self) -> Option<Gathered> {
        if self.is_empty() {
            return None;
        }
        let next = self.spare.take().unwrap_or_else(|| vec![0; BLOCK_HEADER_BYTES]);
        let bytes = std::mem::replace(&mut self.buffer, next);
        let records = std::mem::replace(&mut self.records, 0);
        Some(Gathered {
            bytes,
            records,
            first_version: self.last_version + 1 - u64::from(records),
            last_version: self.last_version,
            position: self.position,
        })
    }

    /// What the buffers take, whether or not there is something in them.
    pub(super) fn buffer_bytes(&self) -> usize {
        self.buffer.capacity() + self.spare.as_ref().map_or(0, Vec::capacity)
    }

    /// If nothing was appended since the last call, large buffers, for the caller to free without the lock.
    pub(super) fn rest(&mut self) -> Vec<Vec<u8>> {
        let quiet = std::mem::replace(&mut self.rested_at, self.position) == self.position;
        let mut large = Vec::new();
        if quiet && self.is_empty() && self.buffer.capacity() > IDLE_CAPACITY_BYTES {
            large.push(std::mem::replace(&mut self.buffer, vec![0; BLOCK_HEADER_BYTES]));
        }
        if quiet {
            large.extend(self.spare.take());
        }
        large
    }

    /// Takes a buffer that has been written back for use.
    pub(super) fn give_back(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= self.largest_capacity() {
            buffer.truncate(BLOCK_HEADER_BYTES);
            self.spare = Some(buffer);
        }
    }
}
