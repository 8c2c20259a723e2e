//! Puts blocks into segments. Only who leads a flush has it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::format::{BLOCK_ALIGNMENT, BLOCK_HEADER_BYTES, BlockHeader, SEGMENT_HEADER_BYTES, SegmentHeader, checksum};
use super::open::LogOptions;
use super::segments;
use super::tail::Gathered;
use crate::disk::{Disk, File};
use crate::histogram::Histogram;
use crate::sync::{AtomicU64, Mutex, Ordering, checked};
use crate::{Durability, Error, Result};

/// A segment that has grown past this is followed by another.
const SEGMENT_BYTES: u64 = 64 << 20;
/// Zeros are written ahead by as much as the segment is long, within these bounds: syncing a block that overwrites
/// them has no metadata to write, and there is room for it on the disk.
const AHEAD_BYTES: (u64, u64) = (64 << 10, 1 << 20);
/// When no more than this is left of them, more are written.
const LOW_BYTES: u64 = 16 << 10;

/// So much is handed to the disk at a time where nobody waits for it, so that the sync at a segment's end is a short one.
const WRITEBACK_BYTES: u64 = 4 << 20;

/// What a log did since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogCounters {
    pub blocks: u64,
    /// Headers included.
    pub bytes: u64,
    pub syncs: u64,
}

/// What others than the leader ask about.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Positions and versions up to which all was written, and synced.
    pub written_position: checked::AtomicU64,
    pub synced_position: checked::AtomicU64,
    pub synced_version: checked::AtomicU64,
    /// Bytes of all segments that were needed at opening and since.
    pub total_bytes: AtomicU64,
    pub files: Mutex<Files>,
    blocks: AtomicU64,
    bytes: AtomicU64,
    /// How long each sync took, in nanoseconds.
    pub sync_times: Histogram,
}

#[derive(Debug, Default)]
pub(super) struct Files {
    /// Number, and the total of bytes before it, of each segment that is still there.
    pub segments: Vec<(u64, u64)>,
    /// An old one whose file the next segment is made of.
    pub spare: Option<u64>,
}

impl Progress {
    pub(super) fn counters(&self) -> LogCounters {
        LogCounters {
            blocks: self.blocks.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            syncs: self.sync_times.read().count(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Writer {
    disk: Arc<dyn Disk>,
    identity: u128,
    preallocate: bool,
    /// `None` until opening has come to it.
    current: Option<Current>,
    last_version: u64,
    /// A block that did not fit on the disk; it goes first when there is room.
    pending: Option<Gathered>,
    pub progress: Arc<Progress>,
}

#[derive(Debug)]
struct Current {
    file: Arc<dyn File>,
    path: PathBuf,
    segment: u64,
    /// Where the next block goes.
    end: u64,
    synced_end: u64,
    /// Up to here the system was told to begin to write.
    started_end: u64,
    /// Bytes up to here are allocated: blocks, zeros, or blocks of an earlier use.
    filled: u64,
}

/// What a failed step means for the log.
#[derive(Debug)]
pub(super) enum Failure {
    /// No room on the disk, or no new segment; nothing is lost, and it may be tried again.
    Refused(Error),
    /// What is on disk is uncertain.
    Fatal(Error),
}

impl Failure {
    fn writing(error: io::Error, operation: &'static str, path: &std::path::Path) -> Failure {
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let error = Error::io(operation, path)(error);
        if full { Failure::Refused(error) } else { Failure::Fatal(error) }
    }

    fn into_error(self) -> Error {
        match self {
            Failure::Refused(error) | Failure::Fatal(error) => error,
        }
    }
}

impl Writer {
    pub(super) fn new(disk: Arc<dyn Disk>, options: &LogOptions, last_version: u64) -> Writer {
        let progress = Progress::default();
        progress.synced_version.store(last_version, Ordering::Relaxed);
        Writer {
            disk,
            identity: options.identity,
            // Writing zeros first doubles the bytes, which pays only where each block is synced.
            preallocate: options.durability == Durability::Sync,
            current: None,
            last_version,
            pending: None,
            progress: Arc::new(progress),
        }
    }

    /// Counts a segment that is there and `length_bytes` long.
    pub(super) fn add_segment(&mut self, segment: u64, length_bytes: u64) {
        let before = self.progress.total_bytes.fetch_add(length_bytes, Ordering::Relaxed);
        self.progress.files.lock().segments.push((segment, before));
    }

    /// The next block follows the segment's header, which is durable.
    pub(super) fn go_on_in(&mut self, file: Arc<dyn File>, segment: u64, length_bytes: u64) {
        let path = self.disk.root().join(segments::file_name(segment));
        self.current = Some(Current::new(file, path, segment, length_bytes));
    }

    pub(super) fn segment(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| current.segment)
    }

    pub(super) fn has_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Writes what waits for room and then `gathered`, which waits too if there is none. The buffer, for its next use.
    pub(super) fn write(&mut self, gathered: Option<Gathered>) -> Result<Option<Vec<u8>>, Failure> {
        let mut buffer = None;
        let mut following = gathered;
        while let Some(mut block) = self.pending.take().or_else(|| following.take()) {
            if let Err(failure) = self.write_block(&mut block) {
                self.pending = Some(join(block, following));
                return Err(failure);
            }
            buffer = Some(block.bytes);
        }
        Ok(buffer)
    }

    fn write_block(&mut self, block: &mut Gathered) -> Result<(), Failure> {
        if self.current().end >= SEGMENT_BYTES {
            match self.start_segment(block.bytes.len() as u64) {
                // It has its places in the present segment.
                Err(Failure::Refused(_)) if self.preallocate => {}
                started => started?,
            }
        }
        self.put(&mut block.bytes, block.records, block.first_version)?;
        self.last_version = block.last_version;
        self.progress.written_position.store(block.position, Ordering::Release);
        Ok(())
    }

    /// Writes an empty block that says how far the log is synced, so that damage to its very end is found.
    pub(super) fn write_end_mark(&mut self) -> Result<(), Failure> {
        let current = self.current();
        if current.end == SEGMENT_HEADER_BYTES {
            return Ok(());
        }
        let mut bytes = vec![0; BLOCK_HEADER_BYTES];
        self.put(&mut bytes, 0, self.last_version + 1)?;
        self.sync()
    }

    fn put(&mut self, bytes: &mut Vec<u8>, records: u32, first_version: u64) -> Result<(), Failure> {
        let identity = self.identity;
        let preallocate = self.preallocate;
        let Some(current) = self.current.as_mut() else { unreachable!("opening ends in a segment") };
        let unpadded = bytes.len();
        let header = BlockHeader {
            records_checksum: checksum(identity, &bytes[BLOCK_HEADER_BYTES..]),
            records,
            length_bytes: (unpadded - BLOCK_HEADER_BYTES) as u64,
            segment: current.segment,
            offset: current.end,
            first_version,
            synced_segment: current.segment,
            synced_offset: current.synced_end,
        };
        header.encode(identity, bytes);
        bytes.resize(unpadded.next_multiple_of(BLOCK_ALIGNMENT as usize), 0);
        let written = current.file.write_at(bytes, current.end);
        let length = bytes.len() as u64;
        bytes.truncate(unpadded);
        written.map_err(|error| Failure::writing(error, "write to", &current.path))?;
        current.end += length;
        self.progress.total_bytes.fetch_add(length, Ordering::Relaxed);
        self.progress.bytes.fetch_add(length, Ordering::Relaxed);
        self.progress.blocks.fetch_add(1, Ordering::Relaxed);
        if preallocate && records > 0 && current.end + LOW_BYTES > current.filled {
            match current.fill_ahead(AHEAD_BYTES.0) {
                // The block itself did fit.
                Ok(()) | Err(Failure::Refused(_)) => {}
                Err(fatal) => return Err(fatal),
            }
        }
        if !preallocate && current.end - current.started_end >= WRITEBACK_BYTES {
            current.file.start_writing(current.started_end, current.end - current.started_end);
            current.started_end = current.end;
        }
        Ok(())
    }

    /// Makes all that was written durable.
    pub(super) fn sync(&mut self) -> Result<(), Failure> {
        let written_position = self.progress.written_position.load(Ordering::Relaxed);
        let Some(current) = self.current.as_mut() else { unreachable!("opening ends in a segment") };
        if current.synced_end < current.end {
            let start = Instant::now();
            // Whatever the reason: after a failed sync nobody knows what is on disk.
            let synced = current.file.sync();
            synced.map_err(|error| Failure::Fatal(Error::io("sync", &current.path)(error)))?;
            let elapsed_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.progress.sync_times.record(elapsed_ns);
            current.synced_end = current.end;
        }
        self.progress.synced_version.store(self.last_version, Ordering::Release);
        self.progress.synced_position.store(written_position, Ordering::Release);
        Ok(())
    }

    /// Makes sure of places on the disk for blocks of `bytes` together.
    pub(super) fn reserve(&mut self, bytes: u64) -> Result<(), Failure> {
        let Some(current) = self.current.as_mut() else { unreachable!("opening ends in a segment") };
        current.fill_ahead(bytes.max(AHEAD_BYTES.0))
    }

    /// For how many bytes of blocks there are places; `None` where none are made ahead.
    pub(super) fn free_bytes(&self) -> Option<u64> {
        let current = self.current.as_ref().filter(|_| self.preallocate)?;
        Some(current.filled.saturating_sub(current.end))
    }

    /// Later blocks go to a new segment, where there are places for `bytes` of them if any are made ahead. It is durable
    /// on return, and all before it.
    pub(super) fn start_segment(&mut self, bytes: u64) -> Result<(), Failure> {
        self.sync()?;
        let current = self.current();
        let header = SegmentHeader {
            segment: current.segment + 1,
            identity: self.identity,
            first_version: self.last_version + 1,
            previous_end: current.end,
        };
        let path = self.disk.root().join(segments::file_name(header.segment));
        let fatal = |operation| {
            let path = &path;
            move |error| Failure::Fatal(Error::io(operation, path)(error))
        };
        let spare = self.progress.files.lock().spare.take();
        let prepared = segments::prepare(&*self.disk, &header, spare).map_err(Error::io("create", &path));
        let prepared = prepared.and_then(|(file, length_bytes)| {
            let mut next = Current::new(file, path.clone(), header.segment, length_bytes);
            if self.preallocate {
                next.fill_ahead(bytes.max(AHEAD_BYTES.0)).map_err(Failure::into_error)?;
            }
            Ok(next)
        });
        let next = prepared.or_else(|error| {
            // The log goes on in the present segment, which the header of the new one says has ended.
            segments::discard(&*self.disk, header.segment, spare).map_err(fatal("remove"))?;
            Err(Failure::Refused(error))
        })?;
        segments::sync(&*self.disk, &*next.file).map_err(fatal("create"))?;
        self.add_segment(header.segment, SEGMENT_HEADER_BYTES);
        self.current = Some(next);
        Ok(())
    }

    /// Removes the files of segments before `segment`; keeps one to be used again where that saves time.
    pub(super) fn remove_before(disk: &dyn Disk, progress: &Progress, segment: u64, keep: bool) -> Result<()> {
        loop {
            let removed = {
                let mut files = progress.files.lock();
                if files.segments.first().is_none_or(|(number, _)| *number >= segment) {
                    return Ok(());
                }
                let removed = files.segments.remove(0);
                if keep && files.spare.is_none() {
                    files.spare = Some(removed.0);
                    continue;
                }
                removed
            };
            // Without the lock: removing a large file takes time.
            if let Err(error) = remove_file(disk, removed.0) {
                progress.files.lock().segments.insert(0, removed);
                return Err(error);
            }
        }
    }

    fn current(&self) -> &Current {
        let Some(current) = self.current.as_ref() else { unreachable!("opening ends in a segment") };
        current
    }
}

impl Current {
    fn new(file: Arc<dyn File>, path: PathBuf, segment: u64, length_bytes: u64) -> Current {
        let end = SEGMENT_HEADER_BYTES;
        Current { file, path, segment, end, synced_end: end, started_end: end, filled: length_bytes }
    }

    /// Writes zeros until there are `least_bytes` or more of them behind the blocks.
    fn fill_ahead(&mut self, least_bytes: u64) -> Result<(), Failure> {
        static ZEROS: [u8; AHEAD_BYTES.1 as usize] = [0; AHEAD_BYTES.1 as usize];
        self.filled = self.filled.max(self.end);
        while self.filled < self.end + least_bytes {
            let length = self.end.clamp(AHEAD_BYTES.0, AHEAD_BYTES.1);
            let written = self.file.write_at(&ZEROS[..length as usize], self.filled);
            written.map_err(|error| Failure::writing(error, "write ahead in", &self.path))?;
            self.filled += length;
        }
        Ok(())
    }
}

pub(super) fn remove_file(disk: &dyn Disk, segment: u64) -> Result<()> {
    let name = segments::file_name(segment);
    disk.remove(&name).map_err(Error::io("remove", &disk.root().join(&name)))
}

/// Two blocks' worth of records as one, in order.
fn join(mut first: Gathered, second: Option<Gathered>) -> Gathered {
    let Some(second) = second else { return first };
    assert_eq!(first.last_version + 1, second.first_version, "blocks follow each other");
    first.bytes.extend_from_slice(&second.bytes[BLOCK_HEADER_BYTES..]);
    first.records += second.records;
    first.last_version = second.last_version;
    first.position = second.position;
    first
}
